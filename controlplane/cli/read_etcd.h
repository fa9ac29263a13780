/* read_etcd.h — what an etcd has, and what a file would change of it, without a control plane. Thread: main. */
#pragma once

#include "controlplane/cli/cli.h"
#include "proto/admin.pb-c.h"

/* `headgate show --to etcd://... [VERSION] [KIND/NAME]`; the exit code. Of versions etcd has the present one and the one
 * before. */
int show_of_etcd(struct cli *cli, const struct options *options, const Headgate__ShowRequest *what);
/* `headgate diff --to etcd://... [FILE]`: from the version before to the present one, or from that to the file. */
int diff_of_etcd(struct cli *cli, const struct options *options);
