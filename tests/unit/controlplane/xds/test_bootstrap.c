/* Bootstrap files: gRPC's form and Envoy's, what they mean, and what is told of what they cannot. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "controlplane/xds/bootstrap.h"
#include "controlplane/xds/bootstrap_reader.h"

struct fixture {
    struct xds_bootstrap b;
    struct error_list errors, warnings;
    struct strbuf text;
};

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    *state = f;
    return 0;
}

static void forget(struct fixture *f) {
    xds_bootstrap_finish(&f->b);
    error_list_finish(&f->errors);
    error_list_finish(&f->warnings);
    strbuf_finish(&f->text);
    *f = (struct fixture){0};
}

static int teardown(void **state) {
    forget(*state);
    test_free(*state);
    return 0;
}

static const char *list_text(struct fixture *f, const struct error_list *list) {
    strbuf_reset(&f->text);
    for (size_t i = 0; i < list->count; i++) {
        error_format(&list->items[i], &f->text);
        strbuf_putc(&f->text, '\n');
    }
    return f->text.n ? f->text.p : "";
}

static void accept(struct fixture *f, const char *text) {
    forget(f);
    int status = xds_bootstrap_parse("b", str_of(text), &f->b, &f->errors, &f->warnings);
    assert_string_equal(list_text(f, &f->errors), "");
    assert_int_equal(status, 0);
}

static void refuse(struct fixture *f, const char *text, const char *errors) {
    forget(f);
    assert_int_equal(xds_bootstrap_parse("b", str_of(text), &f->b, &f->errors, &f->warnings), -1);
    assert_string_equal(list_text(f, &f->errors), errors);
}

static void warned(struct fixture *f, const char *warnings) {
    assert_string_equal(list_text(f, &f->warnings), warnings);
}

/* ---- gRPC's form ---- */

static void grpc_form(void **state) {
    struct fixture *f = *state;
    accept(f, "{\"xds_servers\": ["
              "{\"server_uri\": \"xds.example:443\", \"channel_creds\": [{\"type\": \"google_default\"}, "
              "{\"type\": \"tls\", \"config\": {\"ca_certificate_file\": \"ca.pem\", \"certificate_file\": \"c.pem\", "
              "\"private_key_file\": \"c.key\"}}], \"server_features\": [\"xds_v3\", \"fail_on_data_errors\"]},"
              "{\"server_uri\": \"unix:/run/x.sock\", \"channel_creds\": [{\"type\": \"insecure\"}],"
              "\"server_features\": [\"ignore_resource_deletion\", \"resource_timer_is_transient_error\", \"later\"]}],"
              "\"node\": {\"id\": \"gw-1\", \"cluster\": \"edge\", \"locality\": {\"zone\": \"a\"}, "
              "\"metadata\": {\"k\": \"v\"}},"
              "\"certificate_providers\": {\"p\": {\"plugin_name\": \"file_watcher\", "
              "\"config\": {\"certificate_file\": \"c.pem\", \"private_key_file\": \"c.key\", "
              "\"refresh_interval\": \"600s\"}}}}");
    assert_int_equal(f->b.server_count, 2);
    const struct xds_server *s = &f->b.servers[0];
    assert_string_equal(s->name, "xds.example:443");
    assert_string_equal(s->channel.target, "xds.example:443");
    assert_int_equal(s->channel.security, RPC_SECURITY_TLS);
    assert_string_equal(s->channel.authority.path, "ca.pem");
    assert_string_equal(s->channel.certificate.path, "c.pem");
    assert_string_equal(s->channel.key.path, "c.key");
    assert_true(s->fail_on_data_errors && !s->ignore_resource_deletion && !s->is_timer_transient);
    assert_int_equal(s->channel.keepalive_us, XDS_KEEPALIVE_US);
    s = &f->b.servers[1];
    assert_int_equal(s->channel.security, RPC_SECURITY_PLAINTEXT);
    assert_true(!s->fail_on_data_errors && s->ignore_resource_deletion && s->is_timer_transient);
    assert_true(f->b.is_aggregated && f->b.wants_listeners && f->b.wants_clusters);
    assert_int_equal(f->b.form, XDS_STATE_OF_THE_WORLD);
    assert_int_equal(f->b.resource_timeout, 15000000);
    assert_string_equal(f->b.node->id, "gw-1");
    assert_string_equal(f->b.node->user_agent_name, "headgate");
    assert_int_equal(f->b.provider_count, 1);
    assert_string_equal(f->b.providers[0].name, "p");
    assert_string_equal(f->b.providers[0].key, "c.key");
    warned(f, "b:1:70: xds_servers[0].channel_creds[0]: is passed over: known types are \"insecure\" and \"tls\"\n"
              "b:1:433: xds_servers[1].server_features[2]: is no feature that this program knows\n");
}

static void grpc_form_with_faults(void **state) {
    struct fixture *f = *state;
    refuse(f,
           "xds_servers:\n"
           "- server_uri: a:1\n"
           "  channel_creds: [{type: google_default}]\n"
           "- channel_creds: [{type: insecure}]\n"
           "- server_uri: b:1\n"
           "- server_uri: c:1\n"
           "  channel_creds: [{type: tls, config: {certificate_file: x}}]\n"
           "  call_creds: [{type: jwt}]\n"
           "authorities: {x: {}}\n"
           "certificate_providers: {m: {plugin_name: mesh_ca}, n: {plugin_name: file_watcher}}\n"
           "node: {id: x}\n",
           "b:3:19: xds_servers[0].channel_creds[0]: credentials of the type \"google_default\" are not supported, only "
           "\"insecure\" and \"tls\"\n"
           "b:4:3: xds_servers[1]: a server needs server_uri\n"
           "b:5:3: xds_servers[2]: a server needs channel_creds\n"
           "b:8:15: xds_servers[3].call_creds: credentials of calls are not supported\n"
           "b:7:39: xds_servers[3].channel_creds[0].config: certificate_file and private_key_file are given together\n"
           "b:10:28: certificate_providers[\"m\"]: the provider of certificates \"mesh_ca\" is not supported, only "
           "\"file_watcher\"\n"
           "b:10:55: certificate_providers[\"n\"]: a file_watcher needs a certificate_file or a ca_certificate_file\n"
           "b:9:14: authorities: names of several authorities are not supported\n");
    refuse(f, "xds_server: []", "b:1:1: a bootstrap file has either \"xds_servers\" (gRPC's form) or "
                                "\"dynamic_resources\" (Envoy's)\n");
    refuse(f, "{xds_servers: [], node: {id: x}}", "b:1:1: there is no management server\n");
    refuse(f, "{xds_servers: [{server_uri: a:1, channel_creds: [{type: insecure}]}], node: {cluster: x}}",
           "b:1:77: node: needs an id, by which servers know this gateway\n");
    refuse(f, "{xds_servers: [{server_urI: a}]}",
           "b:1:17: xds_servers[0].server_urI: is no field of headgate.xds.GrpcServer; did you mean \"server_uri\"?\n");
    refuse(f, "{xds_servers: [", "b:2:1: not well-formed: did not find expected node content, "
    "while parsing a flow node that "
                                 "begins on line 2\n");
}

/* ---- Envoy's form ---- */

#define NODE "node: {id: gw, cluster: edge}\n"
#define ADS(type)                                                                                                     \
    "dynamic_resources:\n"                                                                                            \
    "  ads_config: {api_type: " type ", transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: x}}]}\n" \
    "  lds_config: {resource_api_version: V3, ads: {}}\n"                                                             \
    "  cds_config: {resource_api_version: V3, ads: {}}\n"
#define SOCKET(address, port) "{endpoint: {address: {socket_address: {address: " address ", port_value: " port "}}}}"
#define CLUSTER(more)                                                                                 \
    "static_resources:\n"                                                                             \
    "  clusters:\n"                                                                                   \
    "  - name: x\n"                                                                                   \
    "    connect_timeout: 1.5s\n" more                                                                \
    "    load_assignment: {cluster_name: x, endpoints: [{lb_endpoints: [" SOCKET("127.0.0.1", "18000") "]}]}\n"

static void envoy_form_in_each_mode(void **state) {
    struct fixture *f = *state;
    accept(f, NODE ADS("GRPC") CLUSTER(""));
    assert_true(f->b.is_aggregated && f->b.form == XDS_STATE_OF_THE_WORLD);
    assert_true(f->b.wants_listeners && f->b.wants_clusters);
    assert_int_equal(f->b.server_count, 1);
    assert_string_equal(f->b.servers[0].channel.target, "127.0.0.1:18000");
    assert_int_equal(f->b.servers[0].channel.security, RPC_SECURITY_PLAINTEXT);
    assert_int_equal(f->b.servers[0].channel.connect_timeout_us, 1500000);
    accept(f, NODE ADS("DELTA_GRPC") CLUSTER(""));
    assert_true(f->b.is_aggregated && f->b.form == XDS_DELTA);
#define OWN(type) "{api_config_source: {api_type: " type ", grpc_services: {envoy_grpc: {cluster_name: x}}}}\n"
    accept(f, NODE "dynamic_resources:\n  lds_config: " OWN("GRPC") "  cds_config: " OWN("GRPC") CLUSTER(""));
    assert_true(!f->b.is_aggregated && f->b.form == XDS_STATE_OF_THE_WORLD);
    accept(f, NODE "dynamic_resources:\n  cds_config: " OWN("DELTA_GRPC") CLUSTER(""));
    assert_true(!f->b.is_aggregated && f->b.form == XDS_DELTA);
    assert_true(f->b.wants_clusters && !f->b.wants_listeners);
    accept(f, NODE "dynamic_resources:\n  cds_config: " OWN("AGGREGATED_DELTA_GRPC") CLUSTER(""));
    assert_true(f->b.is_aggregated && f->b.form == XDS_DELTA);
    accept(f, NODE "dynamic_resources:\n  cds_config: " OWN("AGGREGATED_GRPC") CLUSTER(""));
    assert_true(f->b.is_aggregated && f->b.form == XDS_STATE_OF_THE_WORLD);
}

static void what_else_stands_in_envoys_examples(void **state) {
    struct fixture *f = *state;
    accept(f, "admin: {access_log_path: /dev/null}\n" NODE
              "dynamic_resources:\n"
              "  lds_config: {initial_fetch_timeout: 20s, api_config_source: {api_type: GRPC, "
              "set_node_on_first_message_only: true, rate_limit_settings: {max_tokens: 7, fill_rate: 2.5}, "
              "grpc_services: {envoy_grpc: {cluster_name: x}}}}\n"
              "  cds_config: {initial_fetch_timeout: 3s, api_config_source: {api_type: GRPC, "
              "grpc_services: {envoy_grpc: {cluster_name: x}}}}\n"
              "static_resources:\n"
              "  clusters:\n"
              "  - name: logs\n"
              "    load_assignment: {cluster_name: logs}\n"
              "  - name: x\n"
              "    type: STRICT_DNS\n"
              "    http2_protocol_options: {connection_keepalive: {interval: 30s, timeout: 5s}}\n"
              "    load_assignment:\n"
              "      endpoints:\n"
              "      - {priority: 1, lb_endpoints: [" SOCKET("second.example", "2") "]}\n"
              "      - {lb_endpoints: [" SOCKET("\"::1\"", "1") ", {endpoint: {address: {pipe: {path: /run/x}}}}]}\n"
              "layered_runtime:\n"
              "  layers:\n"
              "  - {name: r, static_layer: {a: 1}}\n"
              "  - {name: d, disk_layer: {symlink_root: /srv}}\n"
              "  - {name: l, rtds_layer: {name: runtime-0, rtds_config: {api_config_source: {api_type: GRPC, "
              "grpc_services: {envoy_grpc: {cluster_name: x}}}}}}\n");
    assert_int_equal(f->b.server_count, 3);
    assert_string_equal(f->b.servers[0].channel.target, "[::1]:1");
    assert_string_equal(f->b.servers[1].channel.target, "unix:/run/x");
    assert_string_equal(f->b.servers[2].channel.target, "second.example:2");
    assert_int_equal(f->b.servers[2].channel.keepalive_us, 30000000);
    assert_int_equal(f->b.servers[2].channel.keepalive_timeout_us, 5000000);
    assert_int_equal(f->b.resource_timeout, 20000000);
    assert_int_equal(f->b.request_tokens, 7);
    assert_int_equal(f->b.requests_per_second, 2);
    assert_int_equal(f->b.layer_count, 2);
    assert_string_equal(f->b.layers[0].name, "r");
    assert_string_equal(f->b.layers[0].values->fields[0]->key, "a");
    assert_string_equal(f->b.layers[1].name, "runtime-0");
    assert_null(f->b.layers[1].values);
    assert_int_equal(f->b.cluster_count, 1);
    assert_string_equal(f->b.clusters[0]->name, "logs");
    warned(f, "b:4:112: dynamic_resources.lds_config.api_config_source.set_node_on_first_message_only: is ignored: the node "
              "goes with the first request of a stream\n"
              "b:1:8: admin: is ignored: the gateway has its own options for that\n"
              "b:20:27: layered_runtime.layers[1].disk_layer: is ignored: values come from this file and from servers, by "
              "RTDS\n");
}

#define TLS(inside)                                                                                                  \
    "    transport_socket:\n"                                                                                        \
    "      name: tls\n"                                                                                              \
    "      typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, " \
    inside "}\n"

static void tls_of_envoys_form(void **state) {
    struct fixture *f = *state;
    setenv("HEADGATE_TEST_CA", "text of an authority", 1);
    accept(f, NODE ADS("GRPC") CLUSTER(TLS(
        "sni: xds.example, common_tls_context: {tls_certificates: [{certificate_chain: {filename: c.pem}, "
        "private_key: {inline_string: secret}}], validation_context: {trusted_ca: {environment_variable: HEADGATE_TEST_CA}, "
        "match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: xds.example}}]}}")));
    const struct rpc_channel_options *o = &f->b.servers[0].channel;
    assert_int_equal(o->security, RPC_SECURITY_TLS);
    assert_string_equal(o->server_name, "xds.example");
    assert_string_equal(o->certificate.path, "c.pem");
    assert_string_equal(o->key.text, "secret");
    assert_string_equal(o->authority.text, "text of an authority");
    warned(f, "");
    unsetenv("HEADGATE_TEST_CA");
    refuse(f, NODE ADS("GRPC") CLUSTER(TLS("common_tls_context: {validation_context: "
                                           "{trusted_ca: {environment_variable: HEADGATE_TEST_CA}}}")),
           "b:12:167: static_resources.clusters[0].transport_socket.typed_config.common_tls_context.validation_context."
           "trusted_ca: the variable HEADGATE_TEST_CA is not set\n");
    accept(f, NODE ADS("GRPC") CLUSTER(TLS("sni: x")));
    assert_null(f->b.servers[0].channel.authority.path);
    accept(f, NODE ADS("GRPC") CLUSTER(TLS("common_tls_context: {}")));
    warned(f, "b:12:133: static_resources.clusters[0].transport_socket.typed_config.common_tls_context: has no trusted_ca: "
              "the server's certificate is verified with what the system trusts\n");
    refuse(f, NODE ADS("GRPC") CLUSTER(TLS("common_tls_context: {tls_params: {}, validation_context: "
                                           "{match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: x}}]}}")),
           "b:12:146: static_resources.clusters[0].transport_socket.typed_config.common_tls_context.tls_params: is not "
           "supported\n"
           "b:12:202: static_resources.clusters[0].transport_socket.typed_config.common_tls_context.validation_context."
           "match_typed_subject_alt_names: only one exact name of the type DNS is supported\n");
}

static void google_grpc_service(void **state) {
    struct fixture *f = *state;
    accept(f, NODE "dynamic_resources:\n"
                   "  lds_config: {ads: {}}\n"
                   "  ads_config: {api_type: GRPC, grpc_services: [{google_grpc: {target_uri: 'dns:///a:1', stat_prefix: x, "
                   "channel_credentials: {ssl_credentials: {root_certs: {filename: r.pem}}}}, "
                   "initial_metadata: [{key: Token, value: t}]}, {google_grpc: {target_uri: 'b:1'}}]}\n");
    assert_int_equal(f->b.server_count, 2);
    assert_string_equal(f->b.servers[0].channel.target, "dns:///a:1");
    assert_string_equal(f->b.servers[0].channel.authority.path, "r.pem");
    assert_string_equal(f->b.servers[0].metadata[0].key, "token");
    assert_string_equal(f->b.servers[0].metadata[0].value, "t");
    assert_int_equal(f->b.servers[1].channel.security, RPC_SECURITY_PLAINTEXT);
    refuse(f, NODE "dynamic_resources:\n"
                   "  lds_config: {ads: {}}\n"
                   "  ads_config: {api_type: GRPC, grpc_services: [{google_grpc: {target_uri: a, channel_credentials: "
                   "{google_default: {}}}}]}\n",
           "b:4:116: dynamic_resources.ads_config.grpc_services[0].google_grpc.channel_credentials.google_default: "
           "is not supported\n");
}

#define REST(more) \
    NODE "dynamic_resources:\n" \
         "  cds_config: {api_config_source: {api_type: REST, cluster_names: [x], " more "}}\n"

static void servers_that_are_polled(void **state) {
    struct fixture *f = *state;
    accept(f, REST("refresh_delay: {nanos: 500000000}") CLUSTER(""));
    assert_true(f->b.is_polled && !f->b.is_aggregated);
    assert_int_equal(f->b.form, XDS_STATE_OF_THE_WORLD);
    assert_int_equal(f->b.refresh_delay, 500000);
    assert_int_equal(f->b.request_timeout, 1000000);
    assert_int_equal(f->b.server_count, 1);
    assert_string_equal(f->b.servers[0].host, "x");
    assert_false(f->b.servers[0].is_http2);
    assert_int_equal(f->b.cluster_count, 0);
    accept(f, REST("refresh_delay: 30s, request_timeout: 0.25s") CLUSTER("    http2_protocol_options: {}\n"));
    assert_int_equal(f->b.request_timeout, 250000);
    assert_true(f->b.servers[0].is_http2);
    accept(f, NODE ADS("GRPC") CLUSTER(""));
    assert_false(f->b.is_polled);
}

static void faults_of_polled_servers(void **state) {
    struct fixture *f = *state;
    refuse(f, REST("") CLUSTER(""), "b:3:35: dynamic_resources.cds_config.api_config_source: needs refresh_delay\n");
    refuse(f, REST("refresh_delay: 0.009s") CLUSTER(""), "b:3:87: dynamic_resources.cds_config.api_config_source."
                                                        "refresh_delay: is not between 10 ms and one day\n");
    refuse(f, REST("refresh_delay: 1s, request_timeout: 86400.1s") CLUSTER(""),
           "b:3:108: dynamic_resources.cds_config.api_config_source.request_timeout: is not between 10 ms and one day\n");
    refuse(f, REST("refresh_delay: 1s"), "b:3:68: dynamic_resources.cds_config.api_config_source.cluster_names[0]: "
                                         "there is no static cluster \"x\"\n");
    refuse(f, NODE "dynamic_resources:\n  cds_config: {api_config_source: {api_type: REST, refresh_delay: 1s}}\n",
           "b:3:35: dynamic_resources.cds_config.api_config_source: needs cluster_names\n");
    refuse(f, REST("refresh_delay: 1s, grpc_services: [{envoy_grpc: {cluster_name: x}}]") CLUSTER(""),
           "b:3:106: dynamic_resources.cds_config.api_config_source.grpc_services: REST has cluster_names\n");
    refuse(f, NODE "dynamic_resources:\n"
                   "  cds_config: {api_config_source: {api_type: REST, refresh_delay: 1s, cluster_names: [x]}}\n"
                   "  lds_config: {api_config_source: {api_type: REST, refresh_delay: 1s, cluster_names: [y]}}\n"
                   CLUSTER(""),
           "b:3:15: dynamic_resources.cds_config: all resources come from the same servers in the same way: this differs "
           "from the source before it\n"
           "b:4:87: dynamic_resources.lds_config.api_config_source.cluster_names[0]: there is no static cluster \"y\"\n");
}

static void faults_of_envoys_form(void **state) {
    struct fixture *f = *state;
#define ENDPOINTS "static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints"
    refuse(f, NODE ADS("REST") CLUSTER(""),
           "b:3:26: dynamic_resources.ads_config.api_type: REST has no aggregated form\n");
    refuse(f, NODE "dynamic_resources: {}\n", "b:2:20: dynamic_resources: needs lds_config or cds_config\n");
    refuse(f, NODE "dynamic_resources: {lds_config: {ads: {}}}\n",
           "b:2:39: dynamic_resources.lds_config.ads: there is no dynamic_resources.ads_config\n");
    refuse(f, NODE "dynamic_resources: {lds_config: {path: /x}}\n",
           "b:2:40: dynamic_resources.lds_config.path: is not supported\n"
           "b:2:33: dynamic_resources.lds_config: needs ads or api_config_source\n");
    refuse(f, NODE ADS("GRPC"),
           "b:3:103: dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name: "
           "there is no static cluster \"x\"\n");
    refuse(f, NODE ADS("GRPC") CLUSTER("    type: EDS\n"),
           "b:10:11: static_resources.clusters[0].type: a management server's cluster is "
           "STATIC, STRICT_DNS or LOGICAL_DNS\n");
    refuse(f, NODE ADS("GRPC") CLUSTER("    filters: [{name: f}]\n"),
           "b:10:14: static_resources.clusters[0].filters: is not supported\n");
    refuse(f, NODE ADS("GRPC") "static_resources: {listeners: [{name: l}], clusters: [{name: x}]}\n",
           "b:6:31: static_resources.listeners: is not supported\n"
           "b:6:55: static_resources.clusters[0].load_assignment: a management server needs an endpoint\n");
    refuse(f, NODE ADS("GRPC") "static_resources: {clusters: [{name: x, load_assignment: {endpoints: [{lb_endpoints: [{}, "
                               "{endpoint: {}}, {endpoint_name: n}, " SOCKET("127.0.0.1", "18000") "]}]}}]}\n",
           "b:6:123: " ENDPOINTS "[2].endpoint_name: is not supported\n"
           "b:6:87: " ENDPOINTS "[0]: needs an endpoint with a socket_address or a pipe\n"
           "b:6:91: " ENDPOINTS "[1]: needs an endpoint with a socket_address or a pipe\n");
    refuse(f, NODE "dynamic_resources:\n  lds_config: " OWN("GRPC") "  cds_config: " OWN("DELTA_GRPC") CLUSTER(""),
           "b:4:15: dynamic_resources.cds_config: all resources come from the same servers in the same way: this differs "
           "from the source before it\n");
    refuse(f, ADS("GRPC") CLUSTER(""), "b:1:1: node: needs an id, by which servers know this gateway\n");
    refuse(f, NODE ADS("GRPC") CLUSTER("    connect_timeou: 1s\n"),
           "b:10:5: static_resources.clusters[0].connect_timeou: is no field of envoy.config.cluster.v3.Cluster; "
           "did you mean "
           "\"connect_timeout\"?\n");
    refuse(f, NODE "dynamic_resources: {lds_config: {resource_api_version: V2, ads: {}}, ads_config: {api_type: GRPC, "
                   "transport_api_version: V2, grpc_services: [{}], rate_limit_settings: {max_tokens: 0}}}\n",
           "b:2:56: dynamic_resources.lds_config.resource_api_version: only V3 is supported\n"
           "b:2:122: dynamic_resources.ads_config.transport_api_version: only V3 is supported\n"
           "b:2:181: dynamic_resources.ads_config.rate_limit_settings.max_tokens: is 0: nothing could be asked for\n"
           "b:2:142: dynamic_resources.ads_config.grpc_services[0]: needs envoy_grpc or google_grpc\n");
}

static void faults_of_layers(void **state) {
    struct fixture *f = *state;
#define LAYERS(items) NODE ADS("GRPC") CLUSTER("") "layered_runtime: {layers: [" items "]}\n"
    accept(f, LAYERS("{name: '*', static_layer: {a: 1}}, {name: l, rtds_layer: {}}"));
    refuse(f, LAYERS("{static_layer: {a: 1}}"), "b:11:28: layered_runtime.layers[0].name: is empty\n");
    refuse(f, LAYERS("{rtds_layer: {name: r}}"), "b:11:28: layered_runtime.layers[0].name: is empty\n");
    refuse(f, LAYERS("{name: '*', rtds_layer: {}}, {name: l, rtds_layer: {name: '*'}}"),
           "b:11:35: layered_runtime.layers[0].name: cannot be \"*\": a layer is one resource\n"
           "b:11:86: layered_runtime.layers[1].rtds_layer.name: cannot be \"*\": a layer is one resource\n");
    refuse(f, LAYERS("{name: a, rtds_layer: {}}, {name: a, static_layer: {}}"),
           "b:11:62: layered_runtime.layers[1].name: is the name of two layers\n");
    refuse(f, LAYERS("{name: a}"),
           "b:11:28: layered_runtime.layers[0]: needs one of static_layer, rtds_layer, disk_layer and admin_layer\n");
}

static void tables_are_sound(void **state) {
    (void)state;
    assert_null(xds_fields_fault(&bootstrap_fields));
    assert_null(xds_fields_fault(&bootstrap_cluster_fields));
}

/* ---- files, memory ---- */

static void from_a_file(void **state) {
    struct fixture *f = *state;
    char path[] = "/tmp/headgate-bootstrap-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "{xds_servers: [{server_uri: a:1, channel_creds: [{type: insecure}]}], node: {id: x}}";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    assert_int_equal(xds_bootstrap_read(path, &f->b, &f->errors, &f->warnings), 0);
    assert_string_equal(f->b.servers[0].name, "a:1");
    xds_bootstrap_finish(&f->b);
    f->b = (struct xds_bootstrap){0};
    assert_int_equal(ftruncate(fd, XDS_BOOTSTRAP_MAX + 1), 0);
    assert_int_equal(xds_bootstrap_read(path, &f->b, &f->errors, &f->warnings), -1);
    assert_non_null(strstr(list_text(f, &f->errors), "too large"));
    close(fd);
    unlink(path);
    assert_int_equal(xds_bootstrap_read(path, &f->b, &f->errors, &f->warnings), -1);
    assert_non_null(strstr(list_text(f, &f->errors), "No such file"));
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes into it */
    assert_int_equal(xds_bootstrap_read(path, &f->b, &f->errors, &f->warnings), -1);
    assert_non_null(strstr(list_text(f, &f->errors), "it is a pipe"));
    unlink(path);
}

static void every_allocation_fails_once(void **state) {
    struct fixture *f = *state;
    static const char text[] = NODE ADS("GRPC") CLUSTER(TLS(
        "sni: x, common_tls_context: {tls_certificates: [{certificate_chain: "
        "{inline_bytes: AAAA}, private_key: {filename: k}}]}"));
    long failures = 0;
    int status = -1;
    for (; status < 0; failures++) {
        forget(f);
        hg_alloc_fail_at(failures, 0);
        status = xds_bootstrap_parse("b", str_of(text), &f->b, &f->errors, &f->warnings);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(status == 0, error_list_is_empty(&f->errors));
        assert_true(failures < 10000);
    }
    assert_true(failures > 20);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(grpc_form),
        TEST(grpc_form_with_faults),
        TEST(envoy_form_in_each_mode),
        TEST(what_else_stands_in_envoys_examples),
        TEST(tls_of_envoys_form),
        TEST(google_grpc_service),
        TEST(servers_that_are_polled),
        TEST(faults_of_polled_servers),
        TEST(faults_of_envoys_form),
        TEST(faults_of_layers),
        TEST(tables_are_sound),
        TEST(from_a_file),
        TEST(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
