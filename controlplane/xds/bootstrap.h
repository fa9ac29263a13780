/* bootstrap.h — who this client is and which management servers it asks: the file of --xds-bootstrap.
 *
 * Two forms are read, as JSON or YAML: the one of gRPC's clients ("xds_servers": gRFC A27, A29, A53, A65, A71, A88), and of
 * Envoy's own bootstrap the parts that name node, servers and clusters. What is set and has no meaning here is told with its
 * place: an error, or a warning where nothing depends on it. Thread: one at a time. */
#pragma once

#include "common/arena.h"
#include "common/error.h"
#include "controlplane/rpc/stream.h"
#include "controlplane/xds/message.h"
#include "controlplane/xds/translate/translate.h"
#include "proto/envoy/config/cluster/v3/cluster.pb-c.h"
#include "proto/envoy/config/core/v3/base.pb-c.h"

enum {
    XDS_BOOTSTRAP_MAX = 4 << 20,        /* bytes of the file */
    XDS_SERVERS_MAX = 32,
    XDS_KEEPALIVE_US = 330000000,       /* where none is given: servers that nobody told else bear a ping in 5 minutes */
};

/* Times are microseconds; 0 is what rpc_channel_options say. */
struct xds_server {
    const char                *name;    /* for people: "127.0.0.1:18000" */
    struct rpc_channel_options channel; /* but for message_max and user_agent; always with a keepalive */
    const struct rpc_metadata *metadata;
    size_t                     metadata_count;
    const char                *host;    /* polled: the Host of a request */
    bool                       is_http2;
    /* What protocol.h calls so (gRFC A53, A88). */
    bool                       fail_on_data_errors, ignore_resource_deletion, is_timer_transient;
};

/* A provider of certificates that resources name (gRFC A29): files. */
struct xds_provider {
    const char *name;
    const char *certificate, *key;      /* both or none */
    const char *authority;              /* may be NULL */
};

/* All in the arena. */
struct xds_bootstrap {
    struct arena                            arena;
    const Envoy__Config__Core__V3__Node    *node;       /* with an id */
    enum xds_form                           form;
    bool                                    is_aggregated;
    bool                                    is_polled;  /* REST: JSON over HTTP; state of the world, type by type */
    uint64_t                                refresh_delay, request_timeout; /* of polls */
    bool                                    wants_listeners, wants_clusters;
    const struct xds_server                *servers;    /* at least one; the first that can be reached is asked */
    size_t                                  server_count;
    uint64_t                                resource_timeout;   /* 0: for ever */
    uint32_t                                request_tokens, requests_per_second;    /* 0 tokens: no limit */
    const struct xds_runtime_layer         *layers;     /* of runtime values, in their order */
    size_t                                  layer_count;
    const struct xds_provider              *providers;
    size_t                                  provider_count;
    /* Static clusters of Envoy's form that are no management servers: resources like those that a server sends. */
    const Envoy__Config__Cluster__V3__Cluster *const *clusters;
    size_t                                  cluster_count;
};

/* Reads a text; `file` is kept by reference, for places. Returns 0, or -1 after adding at least one error. `*ret` is to be
 * finished when 0 was returned. */
int  xds_bootstrap_parse(const char *file, struct str text, struct xds_bootstrap *ret, struct error_list *errors,
                         struct error_list *warnings);
/* The same from the file itself. */
int  xds_bootstrap_read(const char *file, struct xds_bootstrap *ret, struct error_list *errors, struct error_list *warnings);
void xds_bootstrap_finish(struct xds_bootstrap *b);     /* a zeroed struct is allowed */
