/* certificates.h — certificates and their expiry, for people. Thread: main. */
#pragma once

#include "controlplane/cli/cli.h"
#include "proto/admin.pb-c.h"

void print_certificates(const struct cli *cli, const Headgate__StatusReply *r);
