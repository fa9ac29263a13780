/* banner.h — what `headgate run` says once everything is up: where it listens and what to try. Thread: main. */
#pragma once

#include <ev.h>

#include "controlplane/cli/cli.h"

struct banner {
    struct ev_loop *loop;
    struct cli *cli;
    const char *file;               /* that is watched, or NULL */
    ev_timer look;
    int looks;
};

/* Asks the control plane now and then until a data plane serves what there is to serve, and prints; gives up after a while,
 * and says what is wrong. */
void banner_start(struct banner *b, struct ev_loop *loop, struct cli *cli, const char *file);
void banner_stop(struct banner *b); /* a zeroed struct is allowed */
