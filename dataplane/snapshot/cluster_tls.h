/* cluster_tls.h — the TLS of a cluster: its own, and what it has for endpoints that are marked for something else.
 * Thread: main. */
#pragma once

#include "dataplane/back/cluster.h"
#include "dataplane/snapshot/resource_set.h"

/* A zeroed struct is plaintext for all. */
struct cluster_tls {
    struct tls_client *tcp, *quic;      /* of HTTP/3 the first is for its fallback and for tunnels */
    struct tls_choice *choices;
    uint32_t           choice_count;
};

/* 0, or -1 with errors; then there is nothing to finish. */
int  cluster_tls_make(const struct resource *cluster, const struct resource_set *resources, struct cluster_tls *ret,
                      struct error_list *errors);
/* Whether the definition has the very same. */
bool cluster_tls_is_of(const struct cluster_tls *, const struct cluster_definition *);
/* It is the definition's from here on. */
void cluster_tls_move(struct cluster_tls *, struct cluster_definition *);
void cluster_tls_finish(struct cluster_tls *);
/* That of a definition. */
void cluster_tls_drop(struct cluster_definition *);

/* What tells the choices of a cluster apart, for tls_choice.id and endpoint_definition.tls_choice. Never 0. */
uint64_t cluster_tls_id(const Headgate__TlsChoice *);
