/* parts.h — parts of messages that more than one kind of resource has. Each is given a place and adds errors there.
 * Thread: one at a time. */
#pragma once

#include "controlplane/xds/translate/making.h"
#include "proto/envoy/config/core/v3/address.pb-c.h"
#include "proto/envoy/config/core/v3/base.pb-c.h"
#include "proto/envoy/config/core/v3/config_source.pb-c.h"
#include "proto/envoy/config/core/v3/protocol.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"

/* Types of the resources that may be needed. */
#define XDS_TYPE_EXTENSION "envoy.config.core.v3.TypedExtensionConfig"
#define XDS_TYPE_ENDPOINTS "envoy.config.endpoint.v3.ClusterLoadAssignment"
#define XDS_TYPE_ROUTES    "envoy.config.route.v3.RouteConfiguration"
#define XDS_TYPE_HOSTS     "envoy.config.route.v3.VirtualHost"
#define XDS_TYPE_SCOPES    "envoy.config.route.v3.ScopedRouteConfiguration"
#define XDS_TYPE_SECRET    "envoy.extensions.transport_sockets.tls.v3.Secret"

/* The transport socket that needs no typed_config. */
#define XDS_RAW_BUFFER "envoy.transport_sockets.raw_buffer"

/* "10.0.0.1:80", "[::1]:80" or "unix:/run/x": to connect to, so without port 0. NULL after an error. */
char *part_address(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Address *address);

/* Whether it is one that the servers of the bootstrap stand for; NULL is an error, too. Returns 0 or -1. */
int part_config_source(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__ConfigSource *source);

/* Limits and windows of HTTP/2, without allow_connect, which is for listeners to read; NULL after an error. */
Headgate__Http2Options *part_http2(struct making *m, const struct xds_at *at,
                                   const Envoy__Config__Core__V3__Http2ProtocolOptions *options);

/* What "envoy.lb" says, by which endpoints are chosen; `metadata` may be NULL. Sorted by key. *ret_items is NULL where there
 * is nothing. */
void part_metadata(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Metadata *metadata,
                   Headgate__MetadataEntry ***ret_items, size_t *ret_count);
/* The subset of a cluster's endpoints: what the route asks for (`outer`), and beside it what is asked of this cluster, which
 * wins. Either may be NULL; `outer_at` and `at` are the places of the messages in which they stand. */
void part_subset(struct making *m, const struct xds_at *outer_at, const Envoy__Config__Core__V3__Metadata *outer,
                 const struct xds_at *at, const Envoy__Config__Core__V3__Metadata *own, Headgate__WeightedCluster *to);
/* Of an endpoint: beside that what "envoy.transport_socket_match" says, under keys that begin so. */
void part_endpoint_metadata(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Metadata *metadata,
                            Headgate__MetadataEntry ***ret_items, size_t *ret_count);
/* What a cluster matches it with. */
void part_transport_match(struct making *m, const struct xds_at *at, const Google__Protobuf__Struct *match,
                          Headgate__MetadataEntry ***ret_items, size_t *ret_count);
/* Whether it says anything of transport sockets. */
bool part_metadata_is_of_transport(const Envoy__Config__Core__V3__Metadata *metadata);
/* One value of it as a text, in the arena: "v2", "true", "8"; NULL after an error. */
char *part_metadata_value(struct making *m, const struct xds_at *at, const Google__Protobuf__Value *value);
