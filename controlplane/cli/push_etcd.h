/* push_etcd.h — a configuration into an etcd, for all nodes that follow it. Thread: main. */
#pragma once

#include "controlplane/cli/cli.h"

/* `headgate push --to etcd://... FILE`; the exit code. */
int push_to_etcd(struct cli *cli, const struct options *options);
/* `headgate rollback --to etcd://... [VERSION]`: the version before, which etcd keeps, as a new one. */
int rollback_in_etcd(struct cli *cli, const struct options *options);
