/* options.h — the holder's command line. Thread: main. */
#pragma once

#include "common/error.h"
#include "common/options.h"
#include "dataplane/holder/resolver.h"
#include "xdp/steering.h"

enum { PASSED_OPTIONS_MAX = 16 };

struct holder_options {
    struct options given;             /* keeps what the texts point to */
    const char    *dataplane;         /* program to run */
    struct resolver_name control_plane;
    const char    *state_dir;         /* the data plane's part is its folder "dataplane" */
    char           default_state_dir[256]; /* what state_dir points to when none was given */
    const char *user; /* NULL: "headgate" if there is one, otherwise "nobody"; only when started as root */
    enum steering_form steering; /* the best form that is allowed */
    const char    *passed[2 * PASSED_OPTIONS_MAX + 1]; /* for the data plane: "--name", value, ..., NULL */
};

extern const struct option_spec holder_option_specs[];

/* argv without the program's name. Returns 0, or -1 with reasons in `errors`; finish in both cases. */
int  holder_options_parse(int argc, char *const *argv, struct holder_options *ret, struct error_list *errors);
void holder_options_finish(struct holder_options *o);
