/* options.h — the holder's command line. Thread: main. */
#pragma once

#include <stdbool.h>

#include "common/address.h"

struct holder_options {
    const char    *dataplane;         /* program to run */
    struct address control_plane;
    const char    *state_dir;         /* the data plane's part is its folder "dataplane" */
    const char    *user;              /* NULL: "headgate" if there is one, otherwise "nobody"; only when started as root */
    const char    *node;              /* NULL: the data plane chooses; likewise below */
    const char    *workers;
    const char    *admin_listen;
};

enum options_result { OPTIONS_RUN, OPTIONS_EXIT_OK, OPTIONS_EXIT_USAGE };

/* Texts of *ret point into argv or the environment, or are static. What is wrong is told on standard error. */
enum options_result holder_options_parse(int argc, char **argv, struct holder_options *ret);
