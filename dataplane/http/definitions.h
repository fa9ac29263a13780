/* definitions.h — the immutable half of a snapshot that the HTTP core reads: settings and listeners.
 *
 * Built on the main thread by snapshot/build.c, shared by all workers, never changed afterwards. A definition lives as long
 * as a view (core/view.h) of its snapshot is referenced. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/address.h"
#include "common/str.h"
#include "dataplane/http/fields.h"
#include "dataplane/http/http2_options.h"
#include "dataplane/http/http3_options.h"
#include "dataplane/net/listener.h"
#include "dataplane/quic/options.h"
#include "dataplane/routing/path.h"
#include "dataplane/routing/route.h"
#include "proto/resources.pb-c.h"

struct cluster_definition;
struct filter;
struct pass_definition;
struct scope_table;

struct limits {                        /* bytes, counts */
    uint64_t body, buffer;
    uint32_t min_body_rate, header_bytes, headers, uri_bytes, trailer_bytes, requests_per_connection;
};

/* The version in which a message came, as an index. */
enum via_version { VIA_1_0, VIA_1_1, VIA_2, VIA_3, VIA_VERSIONS };

/* The settings resource with its defaults filled in. */
struct settings {
    struct limits   limits;
    struct timeouts timeouts;
    uint64_t        worker_buffer, worker_sessions; /* bytes */
    uint32_t        connections_per_ip, connections;
    uint32_t        trusted_hops;
    struct path_policy path;
    bool            x_forwarded, x_real_ip, forwarded;
    struct str      via[VIA_VERSIONS]; /* what Via says of a message that came in this version; NULL: nothing */
    struct str      server_name;
    struct str      request_id_header; /* lower-case */
    enum field_id   request_id_field;  /* the same name; FIELD_OTHER: it has no id */
    Headgate__AccessLog__Format access_log_format;
    const Headgate__Settings *message; /* the rest: path policy, access log path, statsd */
};

/* A route table with the clusters of this snapshot in its slots (routing/route.h numbers them). */
struct bound_table {
    const struct route_table                 *table;
    const struct cluster_definition *const   *clusters;  /* NULL entries: no such cluster */
    const uint64_t                           *subsets;   /* beside them, as in struct pick; NULL: all endpoints */
};

/* Where a listener sends access log entries (codec/grpc_log). */
struct log_service {
    struct str                        key;            /* of all that users can say: tells it from others */
    struct str                        cluster, log_name;
    bool                              is_tcp;         /* entries of connections, not of requests */
    uint64_t                          flush_interval; /* microseconds */
    uint64_t                          flush_bytes, buffer;
    const struct listener_definition *listener;       /* of its streams: one rule, for everything; NULL: it has none */
};

struct listener_definition {
    struct str                name;
    const struct settings    *settings;
    struct timeouts           timeouts;      /* header, idle, write of the listener; the rest from the settings */
    struct listener_opening   opening;
    struct http2_options      http2;
    struct http3_options      http3;         /* this and quic: with opening.http3 */
    struct quic_options       quic;
    struct str                alt_svc;       /* what responses over HTTP/1 and HTTP/2 say; empty: nothing */
    const struct bound_table *routes;                /* NULL: by scope */
    const struct scope_table *scopes;                /* NULL: `routes` is for all */
    const struct bound_table *const *scope_routes;   /* by the number of the scope */
    const struct filter      *filters;       /* outermost first */
    unsigned                  filter_count;
    const struct log_service *const *log_services;
    unsigned                  log_service_count;
    const struct pass_definition *pass;      /* QUIC is passed through (l4/definition.h); NULL: it is not */
    bool                      is_internal;   /* its requests are ours: they are no traffic, for counters and logs */
};
