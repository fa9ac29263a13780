/* options.h — the command line of headgate-dataplane, which its holder makes. Thread: main. */
#pragma once

#include <stdbool.h>

#include "common/address.h"
#include "common/error.h"
#include "common/options.h"
#include "common/token_file.h"
#include "dataplane/snapshot/tls_stream.h"

enum { WORKERS_MAX = 128 };

struct dataplane_options {
    struct options          given;            /* keeps what the texts point to */
    char                    node[256];
    char                    zone[256];        /* "": none */
    unsigned                workers;
    bool                    has_admin;
    struct address          admin_listen;
    struct token_file      *metrics_token;    /* token_file_close; NULL: none */
    bool                    may_use_kernel_tls;
    struct channel_tls_files tls;             /* certificate NULL: plaintext */
};

extern const struct option_spec dataplane_option_specs[];

/* argv without the program's name. Returns 0, or -1 with reasons in `errors`; finish in both cases. */
int dataplane_options_parse(int argc, char *const *argv, struct dataplane_options *ret,
                            struct error_list *errors);
void dataplane_options_finish(struct dataplane_options *o);
