/* service.h — the Admin service: what the `headgate` program and other tools may ask, on control.sock.
 * Thread: the loop's. */
#pragma once

#include "controlplane/engine/engine.h"
#include "controlplane/engine/file_source.h"
#include "controlplane/etcd/layer.h"
#include "controlplane/rpc/server.h"
#include "controlplane/xds/client.h"

enum admin_method {
    ADMIN_PUSH,
    ADMIN_LOG,
    ADMIN_SHOW,
    ADMIN_DIFF,
    ADMIN_STATUS,
    ADMIN_EXPLAIN,
    ADMIN_VERIFY,
    ADMIN_GC,
    ADMIN_TOP,
    ADMIN_METHODS,
};

struct xds_csds;

struct admin {
    struct engine *engine;
    const struct file_source *file_source; /* NULL: no file is watched */
    const struct xds_csds *csds;    /* NULL: no management server is configured */
    const struct xds_client *xds;   /* NULL: no management server is asked */
    const struct etcd_layer *etcd;  /* NULL: none is followed */
    const struct etcd_registry *registry; /* likewise */
    uint64_t keep_versions;         /* what Gc keeps unless told otherwise */
    uint64_t started_at;            /* microseconds since 1970 */
    uint64_t calls[ADMIN_METHODS];
};

/* For an rpc_server whose context is a `struct admin`. */
extern const struct rpc_method admin_methods[];
const char *admin_method_name(enum admin_method method); /* "push" */
