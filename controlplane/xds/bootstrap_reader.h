/* bootstrap_reader.h — the parts of bootstrap.h. For bootstrap*.c alone. */
#pragma once

#include "controlplane/config/tree/tree.h"
#include "controlplane/xds/bootstrap.h"
#include "controlplane/xds/fields.h"
#include "controlplane/xds/translate/making.h"

struct bootstrap_reader {
    struct xds_bootstrap   *made;
    const struct tree_node *tree;           /* for places */
    struct error_list      *errors, *warnings;
    size_t                  faults;
    struct xds_server      *servers;        /* XDS_SERVERS_MAX; made->servers */
};

/* ---- telling; at NULL: the whole. Each counts a fault and returns -1 ---- */

int  bootstrap_fault(struct bootstrap_reader *r, const struct xds_at *at, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int  bootstrap_no_memory(struct bootstrap_reader *r);
/* Changes nothing here; told all the same. */
void bootstrap_warn(struct bootstrap_reader *r, const struct xds_at *at, const char *text);
/* Tells of what a message says that its table does not list, below `at`. */
void bootstrap_walk(struct bootstrap_reader *r, const struct xds_at *at, const struct xds_fields *table,
                    const ProtobufCMessage *m);

/* ---- making ---- */

/* Zeroed; NULL after a fault. */
void *bootstrap_alloc(struct bootstrap_reader *r, size_t count, size_t size);
/* One more server; NULL when there are too many, which is told. */
struct xds_server *bootstrap_add_server(struct bootstrap_reader *r, const struct xds_at *at);

/* ---- the two forms ---- */

void bootstrap_read_grpc(struct bootstrap_reader *r);
void bootstrap_read_envoy(struct bootstrap_reader *r);
/* A static cluster of Envoy's that is a management server: adds a server for each of its endpoints, in the order of their
 * priorities. */
void bootstrap_read_cluster(struct bootstrap_reader *r, const struct xds_at *at,
                            const Envoy__Config__Cluster__V3__Cluster *m, const struct xds_server *like);
/* A PEM text, or the file that has it. */
void bootstrap_read_source(struct bootstrap_reader *r, const struct xds_at *at,
                           const Envoy__Config__Core__V3__DataSource *source, struct rpc_pem *ret);

extern const struct xds_fields bootstrap_fields, bootstrap_cluster_fields;
