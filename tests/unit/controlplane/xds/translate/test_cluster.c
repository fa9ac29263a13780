/* Clusters: where endpoints come from, balancing, limits, checks, protocols; and what is refused. */
#include "tests/unit/controlplane/xds/translate/translating_cluster.h"

#define MADE(yaml, text) check_cluster("{name: a, " yaml "}", "name: a\n" text)
#define REFUSED(yaml, text) check_cluster("{name: a, " yaml "}", "cluster/a: " text "\n")

/* ---- the cluster itself ---- */

static void what_envoy_does_by_default_is_explicit(void **state) {
    (void)state;
    char *text = translated(&whole_cluster, "{name: a}");
    assert_string_equal(text, "name: a\ncircuit-breakers:\n  connections: 1024\n  requests: 1024\n  pending: 1024\n"
                        "  retry-percent: 0\n  min-retries: 3\n  retry-tokens: 10000000\n  retry-tokens-percent: 100\n"
                        "  retry-tokens-per-second: 1000000\nconnect-timeout: 5s\n");
    hg_free(text);
}

static void names_are_mapped(void **state) {
    (void)state;
    check_cluster("{name: outbound|80||web}", "name: outbound@7c80@7c@7cweb\n");
    check_cluster("{}", "cluster/: name: is empty\n");
}

static void the_rest_of_a_cluster(void **state) {
    (void)state;
    MADE("alt_stat_name: b, metadata: {filter_metadata: {x: {}}}, per_connection_buffer_limit_bytes: 5, connect_timeout: "
         "0.25s,"
         " ignore_health_on_host_removal: true, track_cluster_stats: {}, upstream_connection_options: {tcp_keepalive:"
         " {keepalive_time: 5}}, wait_for_warm_on_init: false", "connect-timeout: 250ms\n");
    REFUSED("connect_timeout: 0s", "connect_timeout: is 0s; 1ms to 1d are possible");
}

static void what_has_no_meaning_here_is_refused(void **state) {
    static const char *const fields[] = {
        "transport_socket_matcher: {}", "filters: [{name: x}]",
        "lrs_server: {self: {}}", "preconnect_policy: {}", "connection_pool_per_downstream_connection: true",
        "close_connections_on_host_health_failure: true", "upstream_bind_config: {}", "upstream_config: {name: x}",
        "protocol_selection: USE_DOWNSTREAM_PROTOCOL", "cluster_type: {name: x}", "use_tcp_for_dns_lookups: true",
        "typed_dns_resolver_config: {name: x}", "original_dst_lb_config: {}", "lrs_report_endpoint_metrics: [x]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct strbuf yaml = {0}, expected = {0};
        strbuf_printf(&yaml, "{name: a, %s}", fields[i]);
        strbuf_printf(&expected, "cluster/a: %.*s: is not supported\n", (int)strcspn(fields[i], ":"), fields[i]);
        check_cluster(strbuf_str(&yaml).p, strbuf_str(&expected).p);
        strbuf_finish(&yaml);
        strbuf_finish(&expected);
    }
    REFUSED("type: ORIGINAL_DST", "type: is not supported: there are no clusters of this type");
    REFUSED("upstream_connection_options: {happy_eyeballs_config: {}}",
            "upstream_connection_options.happy_eyeballs_config: is not supported");
}

/* ---- where endpoints come from ---- */

#define ENDPOINT(host) "{endpoint: {address: {socket_address: {address: " host ", port_value: 80}}}}"
#define ASSIGNED(items) "load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [" items "]}]}"

static void static_endpoints(void **state) {
    (void)state;
    MADE("type: STATIC, " ASSIGNED(ENDPOINT("10.0.0.1") ", " ENDPOINT("10.0.0.2")),
         "endpoints: [10.0.0.1:80, 10.0.0.2:80]\n");
    MADE("load_assignment: {policy: {overprovisioning_factor: 200}}", "balancing: {overprovisioning: 200}\n");
    MADE("common_lb_config: {locality_weighted_lb_config: {}}, load_assignment: {endpoints: ["
         "{load_balancing_weight: 1, lb_endpoints: [" ENDPOINT("10.0.0.1") "]}, {load_balancing_weight: 2, lb_endpoints: ["
         ENDPOINT("10.0.0.2") "]}]}", "endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, weight: 2}]\n");
    REFUSED(ASSIGNED(ENDPOINT("10.0.0.1") ", " ENDPOINT("10.0.0.1")),
            "load_assignment.endpoints[0].lb_endpoints[1].endpoint.address: \"10.0.0.1:80\" stands there twice");
    REFUSED(ASSIGNED(ENDPOINT("web.internal")),
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address"
            ".address: is \"web.internal:80\": not an address (names are for discovery)");
    REFUSED("load_assignment: {policy: {overprovisioning_factor: 50}}",
            "load_assignment.policy.overprovisioning_factor: is 50; 100 to 10000 are possible");
}

static void endpoints_of_the_servers(void **state) {
    (void)state;
    MADE("type: EDS, eds_cluster_config: {eds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}}",
         "discovery: {xds: a}\nneeds envoy.config.endpoint.v3.ClusterLoadAssignment a\n");
    check_cluster("{name: a|b, type: EDS, eds_cluster_config: {eds_config: {self: {}}}}",
         "name: a@7cb\ndiscovery: {xds: \"a|b\"}\nneeds envoy.config.endpoint.v3.ClusterLoadAssignment a|b\n");
    MADE("type: EDS, eds_cluster_config: {eds_config: {api_config_source: {api_type: DELTA_GRPC, grpc_services: "
         "[{envoy_grpc:"
         " {cluster_name: xds}}], transport_api_version: V3}}, service_name: s},"
         " common_lb_config: {locality_weighted_lb_config: {}}",
         "discovery: {xds: {service: s, locality-weighted: true}}\nneeds envoy.config.endpoint.v3.ClusterLoadAssignment "
         "s\n");
    REFUSED("type: EDS", "eds_cluster_config: is missing");
    REFUSED("type: EDS, eds_cluster_config: {}", "eds_cluster_config.eds_config: is missing");
    REFUSED("type: EDS, eds_cluster_config: {eds_config: {}}", "eds_cluster_config.eds_config: names no source");
    REFUSED("type: EDS, eds_cluster_config: {eds_config: {path: /x}}",
            "eds_cluster_config.eds_config.path: is not supported");
    REFUSED("type: EDS, eds_cluster_config: {eds_config: {self: {transport_api_version: V2}, resource_api_version: V2}}",
            "eds_cluster_config.eds_config.resource_api_version: is not supported: only V3 is\n"
            "cluster/a: eds_cluster_config.eds_config.self.transport_api_version: is not supported: only V3 is");
    REFUSED("type: EDS, load_assignment: {}, eds_cluster_config: {eds_config: {ads: {}}}", "load_assignment: is not "
            "supported: the endpoints of a cluster of type EDS are discovered");
    REFUSED("eds_cluster_config: {eds_config: {ads: {}}}", "eds_cluster_config: is not supported: the cluster is not of "
            "type EDS");
}

#define NAMED(rest) \
    "discovery:\n  dns:\n    name: web.internal\n    port: 80\n" rest

static void endpoints_of_names(void **state) {
    (void)state;
    MADE("type: STRICT_DNS, " ASSIGNED(ENDPOINT("Web.internal")),
         NAMED("    hostname: web.internal\n") "    min-refresh: 5s\n    max-refresh: 5s\n    failure-refresh: 5s\n");
    MADE("type: LOGICAL_DNS, dns_lookup_family: V6_ONLY, respect_dns_ttl: true, dns_failure_refresh_rate: {base_interval:"
         " 2s, max_interval: 9s}, dns_resolvers: [{socket_address: {address: 10.0.0.53, port_value: 53}}], "
         ASSIGNED(ENDPOINT("web.internal")),
         NAMED("    records: aaaa\n    hostname: web.internal\n") "    failure-refresh: 2s\n    servers: [10.0.0.53:53]\n");
    MADE("type: STRICT_DNS, dns_refresh_rate: 60s, dns_lookup_family: V4_ONLY, dns_resolution_config: {resolvers:"
         " [{socket_address: {address: '::1', port_value: 53}}, {socket_address: {address: '::1', port_value: 53}}],"
         " dns_resolver_options: {no_default_search_domain: true}}, " ASSIGNED(ENDPOINT("web.internal")),
         NAMED("    records: a\n    hostname: web.internal\n") "    min-refresh: 1m\n"
         "    max-refresh: 1m\n    failure-refresh: 1m\n    servers: [\"[::1]:53\"]\n");
    MADE("type: STRICT_DNS, respect_dns_ttl: true, " ASSIGNED("{endpoint: {hostname: site.test, address: {socket_address:"
         " {address: web.internal, port_value: 80}}}}"),
         "discovery:\n  dns: {name: web.internal, port: 80, hostname: site.test, failure-refresh: 5s}\n");
    MADE("type: STRICT_DNS, " ASSIGNED(ENDPOINT("10.0.0.1") ", " ENDPOINT("10.0.0.2")),
         "endpoints: [10.0.0.1:80, 10.0.0.2:80]\n");
    REFUSED("type: STRICT_DNS, " ASSIGNED(ENDPOINT("web.internal") ", " ENDPOINT("10.0.0.2")),
            "load_assignment.endpoints: is not supported: a cluster has one name in DNS, and nothing beside it");
    MADE("type: STRICT_DNS, respect_dns_ttl: true, " ASSIGNED("{health_status: HEALTHY, metadata: {filter_metadata: "
         "{envoy.lb: {v: '1'}}}, endpoint: {address: {socket_address: {address: web.internal, port_value: 80}}}}"),
         NAMED("    hostname: web.internal\n") "    failure-refresh: 5s\n");
    REFUSED("type: STRICT_DNS, transport_socket_matches: [{name: plain, match: {}}], " ASSIGNED("{health_status: DRAINING, "
            "metadata: {filter_metadata: {envoy.transport_socket_match: {tls: 'yes'}}}, endpoint: {address: {socket_address:"
            " {address: web.internal, port_value: 80}}}}"),
            "load_assignment.endpoints[0].lb_endpoints[0].metadata: is not supported: endpoints of a name in DNS have none "
            "to be chosen by\n"
            "cluster/a: load_assignment.endpoints[0].lb_endpoints[0].health_status: is not supported: of endpoints of a "
            "name in DNS only checks know it");
    REFUSED("type: STRICT_DNS, dns_refresh_rate: 0.5s, " ASSIGNED(ENDPOINT("web.internal")),
            "dns_refresh_rate: is 500ms; 1s to 1d are possible");
    REFUSED("type: STRICT_DNS, dns_resolution_config: {dns_resolver_options: {use_tcp_for_dns_lookups: true}}",
            "dns_resolution_config.dns_resolver_options.use_tcp_for_dns_lookups: is not supported");
}

/* ---- limits ---- */

static void outliers_are_those_of_envoy(void **state) {
    (void)state;
    MADE("outlier_detection: {}", "outlier-detection:\n  consecutive-gateway-failures: off\n  consecutive-local-failures: "
         "off\n"
         "  success-rate-factor: 1900\n  min-endpoints: 5\n  min-requests: 100\n");
    MADE("outlier_detection: {consecutive_5xx: 7, interval: 1s, base_ejection_time: 400s, max_ejection_percent: 50,"
         " enforcing_success_rate: 0, consecutive_gateway_failure: 3, enforcing_consecutive_gateway_failure: 100,"
         " split_external_local_origin_errors: true, consecutive_local_origin_failure: 2}",
         "outlier-detection:\n  consecutive-5xx: 7\n  consecutive-gateway-failures: 3\n  consecutive-local-failures: 2\n"
         "  interval: 1s\n  base-ejection: 400s\n  max-ejection: 400s\n  max-ejected-percent: 50\n");
    MADE("outlier_detection: {enforcing_consecutive_5xx: 0, enforcing_success_rate: 0, enforcing_failure_percentage: 100,"
         " failure_percentage_threshold: 30, failure_percentage_minimum_hosts: 9}",
         "outlier-detection:\n  consecutive-5xx: off\n  consecutive-gateway-failures: off\n  consecutive-local-failures: "
         "off\n"
         "  failure-percent: 30\n  min-endpoints: 9\n  min-requests: 50\n");
    REFUSED("outlier_detection: {enforcing_consecutive_5xx: 50, enforcing_failure_percentage: 100}",
            "outlier_detection.enforcing_consecutive_5xx: is not supported: only 0 and 100 percent are\n"
            "cluster/a: outlier_detection.failure_percentage_request_volume: is not supported: it is the same for both "
            "rates "
            "here, and both are enforced");
    REFUSED("outlier_detection: {success_rate_minimum_hosts: 3, success_rate_request_volume: 50, "
            "enforcing_failure_percentage: 100}",
            "outlier_detection.failure_percentage_minimum_hosts: is not supported: it is the same for both rates here, and "
            "both are enforced");
    REFUSED("outlier_detection: {consecutive_5xx: 0, monitors: []}",
            "outlier_detection.consecutive_5xx: is 0; 1 to 1000000 are possible");
}

static void breakers_are_those_of_the_default_priority(void **state) {
    (void)state;
    MADE("circuit_breakers: {thresholds: [{priority: HIGH}, {max_connections: 10, max_pending_requests: 20, max_requests: "
         "4294967295, max_retries: 0, track_remaining: true, max_connection_pools: 3}, {max_connections: 99}]}",
         "circuit-breakers:\n  connections: 10\n  requests: 10000000\n  pending: 20\n  retry-percent: 0\n  min-retries: 0\n"
         "  retry-tokens: 10000000\n  retry-tokens-percent: 100\n  retry-tokens-per-second: 1000000\n");
    MADE("circuit_breakers: {thresholds: [{max_retries: 9, retry_budget: {budget_percent: {value: 30}}}]}",
         "circuit-breakers:\n  connections: 1024\n  requests: 1024\n  pending: 1024\n  retry-percent: 30\n  min-retries: 3\n"
         "  retry-tokens: 10000000\n  retry-tokens-percent: 100\n  retry-tokens-per-second: 1000000\n");
    MADE("circuit_breakers: {thresholds: [{max_retries: 3}, {priority: HIGH, max_retries: 3}],"
         " per_host_thresholds: [{max_connections: 5, max_requests: 6}]}",
         "circuit-breakers:\n  connections: 1024\n  requests: 1024\n  pending: 1024\n  retry-percent: 0\n  min-retries: 3\n"
         "  retry-tokens: 10000000\n  retry-tokens-percent: 100\n  retry-tokens-per-second: 1000000\n"
         "  endpoint-requests: 6\n  endpoint-connections: 5\n");
    REFUSED("circuit_breakers: {thresholds: [{max_retries: 3}, {priority: HIGH, max_retries: 4}]}", "circuit_breakers."
            "thresholds[1].priority: is not supported: all requests have the same priority, DEFAULT");
    REFUSED("circuit_breakers: {thresholds: [{max_requests: 0}]}",
            "circuit_breakers.thresholds[0].max_requests: is 0; 1 to 10000000 are possible");
    REFUSED("circuit_breakers: {per_host_thresholds: [{max_retries: 1}]}",
            "circuit_breakers.per_host_thresholds[0].max_retries: is not supported");
    REFUSED("circuit_breakers: {thresholds: [{retry_budget: {budget_percent: {value: 12.5}}}]}", "circuit_breakers."
            "thresholds[0].retry_budget.budget_percent: is 12.5 percent; whole numbers of 0 to 100 are possible");
}

/* ---- checks ---- */

#define CHECKED(kind) "health_checks: [{timeout: 1s, interval: 5s, unhealthy_threshold: 3, healthy_threshold: 2, " kind "}]"
#define TIMES "health:\n  interval: 5s\n  unhealthy-interval: 5s\n  timeout: 1s\n  healthy-after: 2\n  unhealthy-after: 3\n"

static void checks_by_http(void **state) {
    (void)state;
    MADE(CHECKED("http_health_check: {path: /up?x}"), TIMES "  http: {path: \"/up?x\", host: a, statuses: [200]}\n");
    check_cluster("{name: o|a, " CHECKED("http_health_check: {path: /}") "}",
                  "name: o@7ca\n" TIMES "  http: {path: /, statuses: [200]}\n");
    MADE(CHECKED("alt_port: 9, unhealthy_interval: 1s, no_traffic_interval: 9s, interval_jitter_percent: 5, "
                 "reuse_connection:"
         " true, http_health_check: {path: /, host: Web.test, method: HEAD, codec_client_type: HTTP1, receive: [{text: "
         "4f4B}],"
         " expected_statuses: [{start: 204, end: 206}, {start: 200, end: 201}], retriable_statuses: [{start: 500, end: "
         "600}],"
         " request_headers_to_add: [{header: {key: X-Check, value: 'yes'}, append: false}]}"),
         "health:\n  interval: 5s\n  unhealthy-interval: 1s\n  timeout: 1s\n  healthy-after: 2\n  unhealthy-after: 3\n  "
         "http:\n"
         "    path: /\n    host: web.test\n    method: HEAD\n    headers: {x-check: \"yes\"}\n    statuses: [200, 204, "
         "205]\n"
         "    body-contains: OK\n  port: 9\n");
}

static void other_checks(void **state) {
    (void)state;
    MADE(CHECKED("tcp_health_check: {}"), TIMES "  tcp: {}\n");
    MADE(CHECKED("tcp_health_check: {send: {text: '50494e47'}, receive: [{binary: UE9ORw==}]}"),
         TIMES "  tcp: {send: PING, expect: PONG}\n");
    MADE(CHECKED("grpc_health_check: {service_name: s}"), TIMES "  grpc: {service: s, authority: a}\n");
}

static void checks_that_mean_nothing_here_are_refused(void **state) {
    (void)state;
    REFUSED("health_checks: [{}, {}]", "health_checks[1]: is not supported: an endpoint has one check");
    REFUSED("health_checks: [{}]", "health_checks[0].timeout: is missing\ncluster/a: health_checks[0].interval: is missing\n"
            "cluster/a: health_checks[0].unhealthy_threshold: is missing\n"
            "cluster/a: health_checks[0].healthy_threshold: is missing\ncluster/a: health_checks[0]: says not what is "
            "asked");
    REFUSED(CHECKED("custom_health_check: {name: x}"), "health_checks[0].custom_health_check: is not supported");
    REFUSED(CHECKED("tcp_health_check: {receive: [{text: '00'}, {text: '01'}]}"),
            "health_checks[0].tcp_health_check.receive: "
            "is not supported: one text is looked for, not several");
    REFUSED(CHECKED("tcp_health_check: {send: {text: xyz}}"),
            "health_checks[0].tcp_health_check.send.text: is not hexadecimal");
    REFUSED(CHECKED("reuse_connection: false, healthy_edge_interval: 1s, tcp_health_check: {}"),
            "health_checks[0].healthy_edge_interval: is not supported");
    REFUSED(CHECKED("reuse_connection: false, tcp_health_check: {}"),
            "health_checks[0].reuse_connection: is not supported: connections of checks are kept");
    REFUSED(CHECKED("http_health_check: {path: x, method: CONNECT, codec_client_type: HTTP2, expected_statuses: [{start: "
                    "1}],"
            " request_headers_to_add: [{header: {key: Host, value: a}}, {header: {key: x, value: '%A%'}}]}"),
            "health_checks[0].http_health_check.path: is \"x\": a path begins with a slash\n"
            "cluster/a: health_checks[0].http_health_check.request_headers_to_add[0].header.key: is \"Host\": the Host of a "
            "check is the key host, beside headers\n"
            "cluster/a: health_checks[0].http_health_check.request_headers_to_add[1].header.value: is not supported: "
            "there are "
            "no variables in checks\n"
            "cluster/a: health_checks[0].http_health_check.expected_statuses[0]: is no range within 100 to below 600\n"
            "cluster/a: health_checks[0].http_health_check.method: is not supported: a check is no tunnel\n"
            "cluster/a: health_checks[0].http_health_check.codec_client_type: is not supported: checks speak the protocol "
            "of "
            "the cluster, which is HTTP/1");
}

/* ---- protocols ---- */

#define TYPED(options) \
    "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {'@type': " \
    "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, " options "}}"
#define TYPED_PATH "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"]"

static void protocols(void **state) {
    (void)state;
    MADE("http_protocol_options: {enable_trailers: true}", "");
    MADE("http2_protocol_options: {}", "protocol: http2\nhttp2: {}\n");
    MADE(TYPED("explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {idle_timeout: 30s,"
         " max_connection_duration: 600s, max_requests_per_connection: 7}"),
         "idle-timeout: 30s\nconnection-lifetime: 10m\nrequests-per-connection: 7\n");
    MADE("max_requests_per_connection: 0, " TYPED("explicit_http_config: {http2_protocol_options: {max_concurrent_streams:"
         " 2147483647, initial_stream_window_size: 65536, initial_connection_window_size: 1048576, hpack_table_size: 100000,"
         " max_outbound_frames: 5, connection_keepalive: {interval: 30s, timeout: 5s}}}"),
         "protocol: http2\nrequests-per-connection: 1000000000\nhttp2:\n  max-concurrent-streams: 100000\n"
         "  initial-stream-window: 64KiB\n  initial-connection-window: 1MiB\n  header-table-size: 64KiB\n"
         "  ping-interval: 30s\n");
    MADE("max_requests_per_connection: 9", "requests-per-connection: 9\n");
    REFUSED("max_requests_per_connection: 0, " TYPED("explicit_http_config: {http_protocol_options: {}}, "
            "common_http_protocol_options: {max_requests_per_connection: 7}"),
            "max_requests_per_connection: stands in common_http_protocol_options, too");
    REFUSED(TYPED(""), TYPED_PATH ".explicit_http_config: is missing");
    REFUSED(TYPED("explicit_http_config: {}"), TYPED_PATH ".explicit_http_config: names no protocol");
    REFUSED("http2_protocol_options: {}, " TYPED("explicit_http_config: {http_protocol_options: {}}"),
            TYPED_PATH ": stands beside options of HTTP in the cluster itself");
    REFUSED("http2_protocol_options: {allow_metadata: true, initial_stream_window_size: 1}",
            "http2_protocol_options.allow_metadata: is not supported");
    REFUSED("http2_protocol_options: {initial_stream_window_size: 1}",
            "http2_protocol_options.initial_stream_window_size: is 1; 65535 to 67108864 are possible");
    REFUSED("typed_extension_protocol_options: {x: {'@type': type.googleapis.com/google.protobuf.Empty, value: {}}}",
            "typed_extension_protocol_options[\"x\"]: is of the type \"type.googleapis.com/google.protobuf.Empty\", which "
            "is "
            "not supported here");
    REFUSED("typed_extension_protocol_options: {http: {'@type': type.googleapis.com/envoy.extensions.upstreams.http.v3."
            "HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}",
            "typed_extension_protocol_options[\"http\"]: is not supported: only "
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions is");
}

/* ---- HTTP/3 ---- */

#define QUIC(context) "transport_socket: {name: quic, typed_config: {'@type': type.googleapis.com/envoy.extensions." \
    "transport_sockets.quic.v3.QuicUpstreamTransport" context "}}"
#define QUIC_TLS QUIC(", upstream_tls_context: {sni: a.test, common_tls_context: {alpn_protocols: [h3], " \
    "validation_context: {system_root_certs: {}}}}")
#define HTTP3(options) TYPED("explicit_http_config: {http3_protocol_options: {" options "}}")
#define TLS_OF_HTTP3 "tls: {sni: a.test, any-name: true}\n"
#define TRUSTS "trusts system-ca\n"

static void http3_over_quic(void **state) {
    (void)state;
    MADE(HTTP3("") ", " QUIC_TLS, "protocol: http3\n" TLS_OF_HTTP3 TRUSTS);
    MADE(HTTP3("override_stream_error_on_invalid_http_message: true, allow_extended_connect: true, disable_qpack: true, "
               "quic_protocol_options: {max_concurrent_streams: 5, initial_stream_window_size: 100000, "
               "initial_connection_window_size: 2147483647, connection_keepalive: {max_interval: 7s, initial_interval: 1s},"
               " idle_network_timeout: 30s, max_packet_length: 1300}") ", " QUIC_TLS,
         "protocol: http3\n" TLS_OF_HTTP3
         "http3:\n  max-concurrent-streams: 5\n  initial-stream-window: 100000B\n  initial-connection-window: 1GiB\n"
         "  qpack-table-capacity: 0B\n  qpack-blocked-streams: 0\n"
         "quic: {idle-timeout: 30s, keep-alive: 7s, max-udp-payload: 1300B}\n" TRUSTS);
}

static void http3_with_http2_behind_it(void **state) {
    (void)state;
    MADE(TYPED("auto_config: {http_protocol_options: {}, http3_protocol_options: {}, alternate_protocols_cache_options: "
               "{name: x}}") ", " QUIC_TLS,
         "protocol: http3\n" TLS_OF_HTTP3 "http3-fallback: {}\n" TRUSTS);
    MADE(TYPED("auto_config: {http2_protocol_options: {max_concurrent_streams: 9}, http3_protocol_options: {}}") ", "
         QUIC_TLS,
         "protocol: http3\n" TLS_OF_HTTP3 "http2: {max-concurrent-streams: 9}\nhttp3-fallback: {}\n" TRUSTS);
}

static void http3_that_cannot_be(void **state) {
    (void)state;
    REFUSED(TYPED("auto_config: {}"), TYPED_PATH ".auto_config: is not supported: without http3_protocol_options; "
            "explicit_http_config says one protocol");
    REFUSED(TYPED("use_downstream_protocol_config: {}"), TYPED_PATH ".use_downstream_protocol_config: is not supported");
    REFUSED(HTTP3(""), "transport_socket: is missing: HTTP/3 needs a QuicUpstreamTransport");
    REFUSED(HTTP3("") ", transport_socket: {name: envoy.transport_sockets.raw_buffer}",
            "transport_socket.typed_config: is missing");
    REFUSED(HTTP3("") ", transport_socket: {name: x, typed_config: {'@type': type.googleapis.com/envoy.extensions."
            "transport_sockets.tls.v3.UpstreamTlsContext}}",
            "transport_socket.typed_config: is not supported: HTTP/3 needs a QuicUpstreamTransport");
    REFUSED(HTTP3("") ", " QUIC(""), "transport_socket.typed_config.upstream_tls_context: is missing");
    REFUSED(QUIC_TLS, "transport_socket.typed_config: is not supported: over QUIC HTTP/3 is spoken, which the options of "
            "HTTP have to say");
    REFUSED(HTTP3("") ", " QUIC(", upstream_tls_context: {common_tls_context: {alpn_protocols: [h2]}}"),
            "transport_socket.typed_config.upstream_tls_context.common_tls_context.alpn_protocols: has no \"h3\", which is "
            "what the cluster speaks");
    REFUSED(HTTP3("allow_metadata: true, quic_protocol_options: {connection_options: x, initial_stream_window_size: 1}") ", "
            QUIC_TLS,
            TYPED_PATH ".explicit_http_config.http3_protocol_options.quic_protocol_options.connection_options: is not "
            "supported\ncluster/a: "
            TYPED_PATH ".explicit_http_config.http3_protocol_options.allow_metadata: is not supported");
    REFUSED(HTTP3("quic_protocol_options: {initial_stream_window_size: 1}") ", " QUIC_TLS,
            TYPED_PATH ".explicit_http_config.http3_protocol_options.quic_protocol_options.initial_stream_window_size: "
            "is 1; 65535 to 67108864 are possible");
}

/* ---- all of it ---- */

static void every_allocation_may_fail(void **state) {
    (void)state;
    assert_survives_failures(&whole_cluster, "{name: a|b, type: STRICT_DNS, dns_resolvers: [{socket_address: {address:"
        " 10.0.0.53, port_value: 53}}], " ASSIGNED(ENDPOINT("web.internal")) ", " CHECKED("http_health_check: {path: /,"
        " receive: [{text: 4f}], request_headers_to_add: [{header: {key: x, value: y}}]}") ", outlier_detection: {},"
        TYPED("explicit_http_config: {http2_protocol_options: {}}") ", lb_subset_config: {subset_selectors: [{keys: "
            "[v]}]}}");
    assert_survives_failures(&whole_cluster, "{name: a, " TYPED("auto_config: {http2_protocol_options: {}, "
        "http3_protocol_options: {quic_protocol_options: {max_concurrent_streams: 5}}}") ", " QUIC_TLS "}");
    assert_survives_failures(&whole_cluster, "{name: a, type: EDS, eds_cluster_config: {eds_config: {ads: {}}}}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_envoy_does_by_default_is_explicit),
        cmocka_unit_test(names_are_mapped),
        cmocka_unit_test(the_rest_of_a_cluster),
        cmocka_unit_test(what_has_no_meaning_here_is_refused),
        cmocka_unit_test(static_endpoints),
        cmocka_unit_test(endpoints_of_the_servers),
        cmocka_unit_test(endpoints_of_names),
        cmocka_unit_test(outliers_are_those_of_envoy),
        cmocka_unit_test(breakers_are_those_of_the_default_priority),
        cmocka_unit_test(checks_by_http),
        cmocka_unit_test(other_checks),
        cmocka_unit_test(checks_that_mean_nothing_here_are_refused),
        cmocka_unit_test(protocols),
        cmocka_unit_test(http3_over_quic),
        cmocka_unit_test(http3_with_http2_behind_it),
        cmocka_unit_test(http3_that_cannot_be),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
