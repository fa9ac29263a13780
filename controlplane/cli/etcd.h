/* etcd.h — an etcd that a command reads and writes by itself, without a control plane. Thread: main. */
#pragma once

#include "common/options.h"
#include "controlplane/cli/cli.h"
#include "controlplane/etcd/client.h"
#include "controlplane/etcd/intent.h"

/* The options that say where it is and who asks, besides "to". */
#define ETCD_OPTIONS                                                                                            \
    {"etcd-ca", '\0', "FILE", "PEM authorities of etcd's certificate, for etcds:// (the system's)"},            \
        {"etcd-cert", '\0', "FILE", "PEM certificate to show to etcd"},                                         \
        {"etcd-key", '\0', "FILE", "its PEM key"}, {"etcd-user", '\0', "NAME", "who asks etcd"}, {              \
        "etcd-password-file", '\0', "FILE", "the password of that user ($" ETCD_PASSWORD_VARIABLE ")"           \
    }

struct etcd_session {
    struct cli     *cli;
    struct ev_loop *ev;
    struct rpc_loop rpc;
    bool            has_rpc;
    struct etcd    *etcd;
};

/* Of the options above; `address` is that of the etcd. Returns an exit code; the reasons have been printed. Close it in
 * every case. */
int  etcd_session_open(struct etcd_session *s, struct cli *cli, const struct options *options, const char *address);
void etcd_session_close(struct etcd_session *s);

/* Makes one call and waits for its end. `take` has the reply while it runs. An exit code, as above. */
int etcd_session_call(struct etcd_session *s, enum etcd_method method, const ProtobufCMessage *request,
                      void (*take)(void *context, const ProtobufCMessage *reply), void *context);

/* All that is below PREFIX/config/, at one revision. `ret` is zeroed; finish it in every case. An exit code, as above. */
int etcd_session_fetch(struct etcd_session *s, struct etcd_intent *ret);
