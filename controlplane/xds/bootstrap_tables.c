/* What of Envoy's bootstrap is read, and what of the rest changes nothing here. */
#include "controlplane/xds/bootstrap_reader.h"
#include "proto/envoy/config/bootstrap/v3/bootstrap.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "proto/envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"

#define ROWS (const struct xds_field[])
#define GATEWAY_OWN "the gateway has its own options for that"
#define ONE_CONNECTION "there is one connection to a management server"
#define CHOSEN "HTTP/2 to a management server chooses that itself"
#define STATED "the metrics of the gateway are its own"

/* ---- sources ---- */

static const struct xds_fields envoy_grpc = {
    &envoy__config__core__v3__grpc_service__envoy_grpc__descriptor,
    ROWS{
        {.name = "cluster_name"}, {.name = "authority"},
        {.name = "retry_policy", .ignored = "streams are opened again with waits of the client's own"},
        {.name = "max_receive_message_length", .ignored = "the client has a limit of its own"},
        {.name = "skip_envoy_headers", .ignored = "no such headers are sent"}, {0},
    },
};
static const struct xds_fields data_source = {
    &envoy__config__core__v3__data_source__descriptor,
    ROWS{
        {.name = "filename"}, {.name = "inline_bytes"}, {.name = "inline_string"}, {.name = "environment_variable"},
        {.name = "watched_directory", .ignored = "files are read for each connection"}, {0},
    },
};
static const struct xds_fields ssl_credentials = {
    &envoy__config__core__v3__grpc_service__google_grpc__ssl_credentials__descriptor,
    ROWS{
        {.name = "root_certs", .inside = &data_source}, {.name = "private_key", .inside = &data_source},
        {.name = "cert_chain", .inside = &data_source}, {0},
    },
};
static const struct xds_fields channel_credentials = {
    &envoy__config__core__v3__grpc_service__google_grpc__channel_credentials__descriptor,
    ROWS{{.name = "ssl_credentials", .inside = &ssl_credentials}, {0}},
};
static const struct xds_fields google_grpc = {
    &envoy__config__core__v3__grpc_service__google_grpc__descriptor,
    ROWS{
        {.name = "target_uri"}, {.name = "channel_credentials", .inside = &channel_credentials},
        {.name = "stat_prefix", .ignored = STATED},
        {.name = "per_stream_buffer_limit_bytes", .ignored = "the client has a limit of its own"}, {0},
    },
};
static const struct xds_fields header_value = {
    &envoy__config__core__v3__header_value__descriptor, ROWS{{.name = "key"}, {.name = "value"}, {0}},
};
static const struct xds_fields grpc_service = {
    &envoy__config__core__v3__grpc_service__descriptor,
    ROWS{
        {.name = "envoy_grpc", .inside = &envoy_grpc}, {.name = "google_grpc", .inside = &google_grpc},
        {.name = "initial_metadata", .inside = &header_value},
        {.name = "timeout", .ignored = "streams have no end of their own"},
        {.name = "retry_policy", .ignored = "streams are opened again with waits of the client's own"}, {0},
    },
};
static const struct xds_fields rate_limit = {
    &envoy__config__core__v3__rate_limit_settings__descriptor,
    ROWS{{.name = "max_tokens"}, {.name = "fill_rate"}, {0}},
};
static const struct xds_fields api_source = {
    &envoy__config__core__v3__api_config_source__descriptor,
    ROWS{
        {.name = "api_type"}, {.name = "transport_api_version"}, {.name = "grpc_services", .inside = &grpc_service},
        {.name = "rate_limit_settings", .inside = &rate_limit},
        {.name = "cluster_names"}, {.name = "refresh_delay"}, {.name = "request_timeout"},
        {.name = "set_node_on_first_message_only", .ignored = "the node goes with the first request of a stream"}, {0},
    },
};
static const struct xds_fields no_fields = {&envoy__config__core__v3__aggregated_config_source__descriptor, ROWS{{0}}};
static const struct xds_fields config_source = {
    &envoy__config__core__v3__config_source__descriptor,
    ROWS{
        {.name = "api_config_source", .inside = &api_source}, {.name = "ads", .inside = &no_fields},
        {.name = "initial_fetch_timeout"}, {.name = "resource_api_version"}, {0},
    },
};

/* ---- the whole ---- */

static const struct xds_fields static_resources = {
    &envoy__config__bootstrap__v3__bootstrap__static_resources__descriptor,
    ROWS{{.name = "clusters", .inside = &xds_everything}, {0}},
};
static const struct xds_fields dynamic_resources = {
    &envoy__config__bootstrap__v3__bootstrap__dynamic_resources__descriptor,
    ROWS{
        {.name = "lds_config", .inside = &config_source}, {.name = "cds_config", .inside = &config_source},
        {.name = "ads_config", .inside = &api_source}, {0},
    },
};
static const struct xds_fields rtds_layer = {
    &envoy__config__bootstrap__v3__runtime_layer__rtds_layer__descriptor,
    ROWS{{.name = "name"}, {.name = "rtds_config", .inside = &config_source}, {0}},
};
static const struct xds_fields runtime_layer = {
    &envoy__config__bootstrap__v3__runtime_layer__descriptor,
    ROWS{
        {.name = "name"}, {.name = "rtds_layer", .inside = &rtds_layer},
        {.name = "static_layer", .inside = &xds_everything},
        {.name = "disk_layer", .ignored = "values come from this file and from servers, by RTDS"},
        {.name = "admin_layer", .ignored = "no command changes values"}, {0},
    },
};
static const struct xds_fields layered_runtime = {
    &envoy__config__bootstrap__v3__layered_runtime__descriptor,
    ROWS{{.name = "layers", .inside = &runtime_layer}, {0}},
};

const struct xds_fields bootstrap_fields = {
    &envoy__config__bootstrap__v3__bootstrap__descriptor,
    ROWS{
        {.name = "node", .inside = &xds_everything}, {.name = "static_resources", .inside = &static_resources},
        {.name = "dynamic_resources", .inside = &dynamic_resources},
        {.name = "layered_runtime", .inside = &layered_runtime},
        {.name = "admin", .ignored = GATEWAY_OWN}, {.name = "stats_sinks", .ignored = STATED},
        {.name = "stats_config", .ignored = STATED}, {.name = "stats_flush_interval", .ignored = STATED},
        {.name = "stats_flush_on_admin", .ignored = STATED}, {.name = "stats_eviction_interval", .ignored = STATED},
        {.name = "stats_server_version_override", .ignored = STATED}, {.name = "deferred_stat_options", .ignored = STATED},
        {.name = "enable_dispatcher_stats", .ignored = STATED}, {.name = "watchdog", .ignored = GATEWAY_OWN},
        {.name = "watchdogs", .ignored = GATEWAY_OWN}, {.name = "overload_manager", .ignored = GATEWAY_OWN},
        {.name = "flags_path", .ignored = GATEWAY_OWN}, {.name = "perf_tracing_file_path", .ignored = GATEWAY_OWN},
        {.name = "application_log_config", .ignored = GATEWAY_OWN},
        {.name = "memory_allocator_manager", .ignored = GATEWAY_OWN},
        {.name = "grpc_async_client_manager_config", .ignored = ONE_CONNECTION},
        {.name = "node_context_params", .ignored = "names of the form xdstp: are not used"}, {0},
    },
};

/* ---- the cluster of a management server ---- */

static const struct xds_fields socket_address = {
    &envoy__config__core__v3__socket_address__descriptor,
    ROWS{
        {.name = "address"}, {.name = "port_value"}, {.name = "ipv4_compat", .ignored = "an address is used as it is"}, {0},
    },
};
static const struct xds_fields pipe_address = {
    &envoy__config__core__v3__pipe__descriptor,
    ROWS{{.name = "path"}, {.name = "mode", .ignored = "it is of sockets that are listened on"}, {0}},
};
static const struct xds_fields address = {
    &envoy__config__core__v3__address__descriptor,
    ROWS{{.name = "socket_address", .inside = &socket_address}, {.name = "pipe", .inside = &pipe_address}, {0}},
};
static const struct xds_fields endpoint = {
    &envoy__config__endpoint__v3__endpoint__descriptor,
    ROWS{
        {.name = "address", .inside = &address}, {.name = "hostname", .ignored = ONE_CONNECTION},
        {.name = "health_check_config", .ignored = ONE_CONNECTION}, {0},
    },
};
static const struct xds_fields lb_endpoint = {
    &envoy__config__endpoint__v3__lb_endpoint__descriptor,
    ROWS{
        {.name = "endpoint", .inside = &endpoint}, {.name = "health_status", .ignored = ONE_CONNECTION},
        {.name = "metadata", .ignored = ONE_CONNECTION}, {.name = "load_balancing_weight", .ignored = ONE_CONNECTION}, {0},
    },
};
static const struct xds_fields locality_endpoints = {
    &envoy__config__endpoint__v3__locality_lb_endpoints__descriptor,
    ROWS{
        {.name = "lb_endpoints", .inside = &lb_endpoint}, {.name = "priority"},
        {.name = "locality", .ignored = ONE_CONNECTION}, {.name = "load_balancing_weight", .ignored = ONE_CONNECTION},
        {.name = "metadata", .ignored = ONE_CONNECTION}, {.name = "proximity", .ignored = ONE_CONNECTION}, {0},
    },
};
static const struct xds_fields load_assignment = {
    &envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
    ROWS{
        {.name = "cluster_name"}, {.name = "endpoints", .inside = &locality_endpoints},
        {.name = "policy", .ignored = ONE_CONNECTION}, {0},
    },
};
static const struct xds_fields keepalive = {
    &envoy__config__core__v3__keepalive_settings__descriptor,
    ROWS{
        {.name = "interval"}, {.name = "timeout"}, {.name = "interval_jitter", .ignored = ONE_CONNECTION},
        {.name = "connection_idle_interval", .ignored = ONE_CONNECTION}, {0},
    },
};
static const struct xds_fields http2_options = {
    &envoy__config__core__v3__http2_protocol_options__descriptor,
    ROWS{
        {.name = "connection_keepalive", .inside = &keepalive}, {.name = "hpack_table_size", .ignored = CHOSEN},
        {.name = "max_concurrent_streams", .ignored = CHOSEN}, {.name = "initial_stream_window_size", .ignored = CHOSEN},
        {.name = "initial_connection_window_size", .ignored = CHOSEN}, {.name = "allow_connect", .ignored = CHOSEN},
        {.name = "max_outbound_frames", .ignored = CHOSEN}, {.name = "max_outbound_control_frames", .ignored = CHOSEN},
        {.name = "override_stream_error_on_invalid_http_message", .ignored = CHOSEN},
        {.name = "use_oghttp2_codec", .ignored = CHOSEN}, {.name = "max_metadata_size", .ignored = CHOSEN}, {0},
    },
};
static const struct xds_fields explicit_http = {
    &envoy__extensions__upstreams__http__v3__http_protocol_options__explicit_http_config__descriptor,
    ROWS{
        {.name = "http2_protocol_options", .inside = &http2_options},
        {.name = "http_protocol_options", .ignored = "HTTP/1.1 is spoken to a server that is polled alone"}, {0},
    },
};
static const struct xds_fields protocol_options = {
    &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor,
    ROWS{
        {.name = "explicit_http_config", .inside = &explicit_http},
        {.name = "common_http_protocol_options", .ignored = ONE_CONNECTION}, {0},
    },
};
static const struct xds_fields raw_buffer = {
    &envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor, ROWS{{0}},
};
static const struct xds_fields tls_certificate = {
    &envoy__extensions__transport_sockets__tls__v3__tls_certificate__descriptor,
    ROWS{
        {.name = "certificate_chain", .inside = &data_source}, {.name = "private_key", .inside = &data_source},
        {.name = "watched_directory", .ignored = "files are read for each connection"}, {0},
    },
};
static const struct xds_fields subject_name = {
    &envoy__extensions__transport_sockets__tls__v3__subject_alt_name_matcher__descriptor,
    ROWS{{.name = "san_type"}, {.name = "matcher", .inside = &xds_everything}, {0}},
};
static const struct xds_fields validation = {
    &envoy__extensions__transport_sockets__tls__v3__certificate_validation_context__descriptor,
    ROWS{
        {.name = "trusted_ca", .inside = &data_source}, {.name = "match_typed_subject_alt_names", .inside = &subject_name},
        {.name = "system_root_certs", .inside = &xds_everything},
        {.name = "watched_directory", .ignored = "files are read for each connection"}, {0},
    },
};
static const struct xds_fields common_tls = {
    &envoy__extensions__transport_sockets__tls__v3__common_tls_context__descriptor,
    ROWS{
        {.name = "tls_certificates", .inside = &tls_certificate}, {.name = "validation_context", .inside = &validation},
        {.name = "alpn_protocols", .ignored = "gRPC offers h2"}, {0},
    },
};
static const struct xds_fields upstream_tls = {
    &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor,
    ROWS{
        {.name = "common_tls_context", .inside = &common_tls}, {.name = "sni"},
        {.name = "max_session_keys", .ignored = ONE_CONNECTION},
        {.name = "allow_renegotiation", .ignored = "HTTP/2 has no renegotiation"}, {0},
    },
};
static const struct xds_fields transport_socket = {
    &envoy__config__core__v3__transport_socket__descriptor,
    ROWS{
        {.name = "name"},
        {.name = "typed_config", .types = (const struct xds_fields *const[]){&upstream_tls, &raw_buffer, NULL}}, {0},
    },
};

const struct xds_fields bootstrap_cluster_fields = {
    &envoy__config__cluster__v3__cluster__descriptor,
    ROWS{
        {.name = "name"}, {.name = "type"}, {.name = "connect_timeout"},
        {.name = "load_assignment", .inside = &load_assignment},
        {.name = "transport_socket", .inside = &transport_socket},
        {.name = "http2_protocol_options", .inside = &http2_options},
        {.name = "typed_extension_protocol_options",
         .types = (const struct xds_fields *const[]){&protocol_options, NULL}},
        {.name = "alt_stat_name", .ignored = STATED}, {.name = "lb_policy", .ignored = ONE_CONNECTION},
        {.name = "load_balancing_policy", .ignored = ONE_CONNECTION},
        {.name = "common_lb_config", .ignored = ONE_CONNECTION},
        {.name = "circuit_breakers", .ignored = ONE_CONNECTION}, {.name = "health_checks", .ignored = ONE_CONNECTION},
        {.name = "outlier_detection", .ignored = ONE_CONNECTION}, {.name = "metadata", .ignored = ONE_CONNECTION},
        {.name = "per_connection_buffer_limit_bytes", .ignored = ONE_CONNECTION},
        {.name = "upstream_connection_options", .ignored = ONE_CONNECTION},
        {.name = "max_requests_per_connection", .ignored = ONE_CONNECTION},
        {.name = "cleanup_interval", .ignored = ONE_CONNECTION},
        {.name = "dns_lookup_family", .ignored = "gRPC looks names up"},
        {.name = "dns_refresh_rate", .ignored = "gRPC looks names up"},
        {.name = "dns_failure_refresh_rate", .ignored = "gRPC looks names up"},
        {.name = "respect_dns_ttl", .ignored = "gRPC looks names up"}, {0},
    },
};
