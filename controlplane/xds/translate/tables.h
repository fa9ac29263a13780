/* tables.h — what is read of the server's messages (fields.h), by the file that reads it, and how a table is written.
 * docs/xds.md is made of these tables: notes and reasons are for people. */
#pragma once

#include "controlplane/xds/fields.h"

/* Rows. `XDS_READ("a"), XDS_NOTE("b", "whole percent"), XDS_INSIDE("c", &table), XDS_IGNORE("d", "why it can be")` */
#define XDS_READ(field)                     {.name = (field)}
#define XDS_NOTE(field, text)               {.name = (field), .note = (text)}
#define XDS_INSIDE(field, table)            {.name = (field), .inside = (table)}
#define XDS_INSIDE_NOTE(field, table, text) {.name = (field), .inside = (table), .note = (text)}
#define XDS_TYPES(field, ...)               {.name = (field), .types = (const struct xds_fields *const[]){__VA_ARGS__, NULL}}
#define XDS_IGNORE(field, why)              {.name = (field), .ignored = (why)}
/* A table of the message whose descriptor is PREFIX__descriptor. */
#define XDS_TABLE(prefix, ...)  {&prefix##__descriptor, (const struct xds_field[]){__VA_ARGS__, {0}}}
/* Of a message of which nothing is read, but that may be there. */
#define XDS_EMPTY_TABLE(prefix) {&prefix##__descriptor, (const struct xds_field[]){{0}}}

extern const struct xds_fields xds_read_cluster;                /* cluster.c */
extern const struct xds_fields xds_read_endpoints;              /* endpoints.c */
extern const struct xds_fields xds_read_static_endpoints;       /* endpoints.c: of a cluster's load_assignment */
extern const struct xds_fields xds_read_routes;                 /* routes.c */
extern const struct xds_fields xds_read_virtual_host;           /* routes.c */
extern const struct xds_fields xds_read_scope;                  /* scopes.c */
extern const struct xds_fields xds_read_listener;               /* listener.c */
extern const struct xds_fields xds_read_secret;                 /* secret.c */
extern const struct xds_fields xds_read_extension;              /* http_filters.c */
extern const struct xds_fields xds_read_runtime;                /* runtime.c */
extern const struct xds_fields xds_read_address;                /* address.c: to connect to */
extern const struct xds_fields xds_read_percent;                /* values.c */
extern const struct xds_fields xds_read_config_source;          /* source.c */
extern const struct xds_fields xds_read_http2_options;          /* http2.c */
extern const struct xds_fields xds_read_downstream_tls;         /* tls_server.c */
extern const struct xds_fields xds_read_upstream_tls;           /* tls_client.c */
