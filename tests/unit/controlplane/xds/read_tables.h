/* read_tables.h — tables of what is read, for tests of the walk: a listener down to its routes. */
#pragma once

#include "controlplane/xds/fields.h"
#include "proto/envoy/config/core/v3/address.pb-c.h"
#include "proto/envoy/config/core/v3/base.pb-c.h"
#include "proto/envoy/config/listener/v3/listener.pb-c.h"
#include "proto/envoy/config/route/v3/route.pb-c.h"
#include "proto/envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "proto/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"

static const struct xds_fields read_match = {
    &envoy__config__route__v3__route_match__descriptor,
    (const struct xds_field[]){{.name = "prefix"}, {.name = "path"}, {.name = "case_sensitive"}, {0}},
};
static const struct xds_fields read_action = {
    &envoy__config__route__v3__route_action__descriptor,
    (const struct xds_field[]){
        {.name = "cluster"}, {.name = "timeout"},
        {.name = "priority", .ignored = "all requests have the same priority"}, {0},
    },
};
static const struct xds_fields read_route = {
    &envoy__config__route__v3__route__descriptor,
    (const struct xds_field[]){
        {.name = "name"}, {.name = "match", .inside = &read_match}, {.name = "route", .inside = &read_action},
        {.name = "metadata", .inside = &xds_everything}, {0},
    },
};
static const struct xds_fields read_host = {
    &envoy__config__route__v3__virtual_host__descriptor,
    (const struct xds_field[]){
        {.name = "name"}, {.name = "domains"}, {.name = "routes", .inside = &read_route}, {.name = "require_tls"}, {0},
    },
};
static const struct xds_fields read_routes = {
    &envoy__config__route__v3__route_configuration__descriptor,
    (const struct xds_field[]){
        {.name = "name"}, {.name = "virtual_hosts", .inside = &read_host}, {0},
    },
};
static const struct xds_fields read_router = {
    &envoy__extensions__filters__http__router__v3__router__descriptor,
    (const struct xds_field[]){{0}},
};
static const struct xds_fields read_http_filter = {
    &envoy__extensions__filters__network__http_connection_manager__v3__http_filter__descriptor,
    (const struct xds_field[]){
        {.name = "name"}, {.name = "typed_config", .types = (const struct xds_fields *const[]){&read_router, NULL}}, {0},
    },
};
static const struct xds_fields read_http = {
    &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
    (const struct xds_field[]){
        {.name = "stat_prefix", .ignored = "names of metrics are those of the gateway"}, {.name = "codec_type"},
        {.name = "route_config", .inside = &read_routes}, {.name = "http_filters", .inside = &read_http_filter}, {0},
    },
};
static const struct xds_fields read_filter = {
    &envoy__config__listener__v3__filter__descriptor,
    (const struct xds_field[]){
        {.name = "name"}, {.name = "typed_config", .types = (const struct xds_fields *const[]){&read_http, NULL}}, {0},
    },
};
static const struct xds_fields read_chain = {
    &envoy__config__listener__v3__filter_chain__descriptor,
    (const struct xds_field[]){{.name = "filters", .inside = &read_filter}, {0}},
};
static const struct xds_fields read_socket = {
    &envoy__config__core__v3__socket_address__descriptor,
    (const struct xds_field[]){{.name = "address"}, {.name = "port_value"}, {0}},
};
static const struct xds_fields read_address = {
    &envoy__config__core__v3__address__descriptor,
    (const struct xds_field[]){{.name = "socket_address", .inside = &read_socket}, {0}},
};
static const struct xds_fields read_listener = {
    &envoy__config__listener__v3__listener__descriptor,
    (const struct xds_field[]){
        {.name = "name"}, {.name = "address", .inside = &read_address}, {.name = "filter_chains", .inside = &read_chain},
        {.name = "per_connection_buffer_limit_bytes"}, {0},
    },
};

static const struct xds_fields *const read_tables[] = {
    &read_match, &read_action, &read_route, &read_host, &read_routes, &read_router, &read_http_filter, &read_http,
    &read_filter, &read_chain, &read_socket, &read_address, &read_listener,
};
enum { READ_TABLES = sizeof read_tables / sizeof *read_tables };
