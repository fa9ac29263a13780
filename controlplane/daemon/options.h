/* options.h — the command line of headgate-controlplane. Thread: main. */
#pragma once

#include "common/error.h"
#include "common/options.h"
#include "common/token_file.h"
#include "controlplane/etcd/client.h"
#include "controlplane/kubernetes/kubernetes.h"
#include "controlplane/rpc/credentials.h"

struct daemon_options {
    struct options given;           /* keeps what the texts below point to */
    char store_dir[256];
    char dataplane_socket[128], control_socket[128];
    long dataplane_group, control_group;    /* group ids that may use the sockets; -1: the owner alone */
    const char *config;             /* file to watch; NULL: none */
    const char *xds_bootstrap; /* file; NULL: no management server is asked */
    uint64_t xds_resources_max, xds_bytes_max; /* that it may hold */
    const char *files_root;         /* below which files of certificates are read */
    char files_base[512];           /* where their names start */
    const char *admin_listen;       /* NULL: off */
    struct token_file *metrics_token; /* token_file_close; NULL: none */
    const char *dataplane_listen;   /* "host:port" for data planes over TLS; NULL: none */
    struct rpc_tls_files tls;       /* all or none */
    bool tls_any_name;              /* a data plane's certificate need not be for its node name */
    struct kubernetes_config kubernetes; /* without loop */
    struct etcd_options etcd;       /* address NULL: none is followed */
    uint64_t keep_versions;
    uint64_t prepare_timeout, commit_timeout; /* microseconds */
    uint64_t data_planes_max;
};

extern const struct option_spec daemon_option_specs[];

/* Returns 0, or -1 with reasons in `errors`. Finish in both cases. */
int daemon_options_parse(int argc, char *const *argv, struct daemon_options *ret, struct error_list *errors);
void daemon_options_finish(struct daemon_options *o);
