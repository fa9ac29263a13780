/* Messages of xDS from JSON and YAML: Envoy's configurations as people write them, each kind of value, and every fault with
 * its place and path. */
#include "tests/unit/common/cmocka_all.h"

#include <math.h>

#include "common/alloc.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/types.h"
#include "proto/envoy/config/cluster/v3/cluster.pb-c.h"
#include "proto/envoy/config/core/v3/base.pb-c.h"
#include "proto/envoy/config/core/v3/grpc_service.pb-c.h"
#include "proto/envoy/config/listener/v3/listener.pb-c.h"
#include "proto/envoy/config/route/v3/route.pb-c.h"
#include "proto/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "proto/envoy/service/discovery/v3/discovery.pb-c.h"
#include "proto/envoy/type/v3/range.pb-c.h"
#include "proto/google/protobuf/any.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"

static struct arena arena;

static int setup(void **state) {
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_finish(&arena);
    return 0;
}

static const void *read_text(const ProtobufCMessageDescriptor *type, const char *text) {
    struct error_list errors = {0};
    const ProtobufCMessage *m = xds_json_parse(type, "t.yaml", str_of(text), &arena, &errors);
    struct strbuf first = {0};
    if (errors.count)
        error_format(&errors.items[0], &first);
    if (!m)
        fail_msg("%s", strbuf_str(&first).p);
    assert_ptr_equal(m->descriptor, type);
    assert_int_equal(errors.count, 0);
    strbuf_finish(&first);
    error_list_finish(&errors);
    return m;
}

static const void *open_any(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *m = NULL;
    assert_ptr_equal(xds_type_of_url(str_of(any->type_url)), type);
    assert_int_equal(xds_decode(type, &arena, (struct str){(const char *)any->value.data, any->value.len}, &m), 0);
    return m;
}

/* All faults, one per line. */
static void assert_faults(const ProtobufCMessageDescriptor *type, const char *text, const char *expected) {
    struct error_list errors = {0};
    struct strbuf all = {0};
    assert_null(xds_json_parse(type, "t", str_of(text), &arena, &errors));
    for (size_t i = 0; i < errors.count; i++) {
        error_format(&errors.items[i], &all);
        strbuf_putc(&all, '\n');
    }
    assert_string_equal(strbuf_str(&all).p, expected);
    strbuf_finish(&all);
    error_list_finish(&errors);
}

#define ROUTES (&envoy__config__route__v3__route_configuration__descriptor)
#define VALUE (&google__protobuf__value__descriptor)

/* ---- configurations ---- */

static void a_listener_in_yaml(void **state) {
    (void)state;
    const Envoy__Config__Listener__V3__Listener *listener = read_text(&envoy__config__listener__v3__listener__descriptor,
        "name: listener_0\n"
        "address:\n"
        "  socket_address: { address: 0.0.0.0, port_value: 10000 }\n"
        "filter_chains:\n"
        "- filters:\n"
        "  - name: envoy.filters.network.http_connection_manager\n"
        "    typed_config:\n"
        "      \"@type\": "
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n"
        "      stat_prefix: ingress_http\n"
        "      codec_type: AUTO\n"
        "      route_config:\n"
        "        name: local_route\n"
        "        virtual_hosts:\n"
        "        - name: local_service\n"
        "          domains: [\"*\"]\n"
        "          routes:\n"
        "          - match: { prefix: \"/\" }\n"
        "            route: { cluster: some_service, timeout: 0.25s }\n"
        "      http_filters:\n"
        "      - name: envoy.filters.http.router\n"
        "        typed_config:\n"
        "          \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n");
    assert_string_equal(listener->name, "listener_0");
    assert_int_equal(listener->address->socket_address->port_value, 10000);
    const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager *http =
        open_any(listener->filter_chains[0]->filters[0]->typed_config,
                 &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor);
    assert_string_equal(http->stat_prefix, "ingress_http");
    const Envoy__Config__Route__V3__VirtualHost *host = http->route_config->virtual_hosts[0];
    assert_string_equal(host->domains[0], "*");
    assert_string_equal(host->routes[0]->match->prefix, "/");
    assert_string_equal(host->routes[0]->route->cluster, "some_service");
    assert_int_equal(host->routes[0]->route->timeout->seconds, 0);
    assert_int_equal(host->routes[0]->route->timeout->nanos, 250000000);
    assert_int_equal(http->n_http_filters, 1);
    assert_int_equal(http->http_filters[0]->typed_config->value.len, 0);
}

static void a_cluster_in_json_with_either_kind_of_name(void **state) {
    (void)state;
    const Envoy__Config__Cluster__V3__Cluster *cluster = read_text(&envoy__config__cluster__v3__cluster__descriptor,
        "{\"name\": \"c\", \"type\": \"EDS\", \"connectTimeout\": \"1.000000001s\", \"lb_policy\": \"MAGLEV\",\n"
        " \"edsClusterConfig\": {\"edsConfig\": {\"ads\": {}, \"resourceApiVersion\": \"V3\"}, \"service_name\": \"s\"},\n"
        " \"perConnectionBufferLimitBytes\": 32768, \"maglevLbConfig\": {\"tableSize\": \"65537\"},\n"
        " \"circuitBreakers\": {\"thresholds\": [{\"maxRequests\": 5}, {\"priority\": 1, \"max_requests\": \"7\"}]},\n"
        " \"commonLbConfig\": {\"healthyPanicThreshold\": {\"value\": 12.5}, \"ignoreNewHostsUntilFirstHc\": true},\n"
        " \"transportSocket\": {\"name\": \"tls\", \"typedConfig\": {\n"
        "   \"@type\": \"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\",\n"
        "   \"sni\": \"\\u00e9.test\", \"commonTlsContext\": {\"validationContext\": {\"trustedCa\": "
        "{\"inlineBytes\": \"AAEC/w==\"}}}}},\n"
        " \"typedExtensionProtocolOptions\": {\"a\": {\"@type\": "
        "\"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"}},\n"
        " \"outlierDetection\": null}");
    assert_int_equal(cluster->type, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS);
    assert_int_equal(cluster->cluster_discovery_type_case, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE);
    assert_int_equal(cluster->connect_timeout->nanos, 1);
    assert_non_null(cluster->eds_cluster_config->eds_config->ads);
    assert_int_equal(cluster->per_connection_buffer_limit_bytes->value, 32768);
    assert_int_equal(cluster->maglev_lb_config->table_size->value, 65537);
    assert_int_equal(cluster->circuit_breakers->thresholds[1]->priority, ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__HIGH);
    assert_int_equal(cluster->circuit_breakers->thresholds[1]->max_requests->value, 7);
    assert_true(cluster->common_lb_config->healthy_panic_threshold->value == 12.5);
    assert_true(cluster->common_lb_config->ignore_new_hosts_until_first_hc);
    assert_string_equal(cluster->typed_extension_protocol_options[0]->key, "a");
    assert_null(cluster->outlier_detection);
    const Envoy__Extensions__TransportSockets__Tls__V3__UpstreamTlsContext *tls =
        open_any(cluster->transport_socket->typed_config,
                 &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor);
    assert_string_equal(tls->sni, "\xc3\xa9.test");
    const ProtobufCBinaryData *ca = &tls->common_tls_context->validation_context->trusted_ca->inline_bytes;
    assert_int_equal(ca->len, 4);
    assert_memory_equal(ca->data, "\x00\x01\x02\xff", 4);
}

static void a_discovery_response_of_a_rest_server(void **state) {
    (void)state;
    const Envoy__Service__Discovery__V3__DiscoveryResponse *response =
        read_text(&envoy__service__discovery__v3__discovery_response__descriptor,
        "{\"versionInfo\": \"3\", \"typeUrl\": "
        "\"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\", \"resources\": [{\n"
        "\t\"@type\": \"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\", \"clusterName\": \"c\",\n"
        "\t\"endpoints\": [{\"lbEndpoints\": [{\"endpoint\": {\"address\": {\"socketAddress\": {\"address\": "
        "\"::1\", \"portValue\": 80}}},\n"
        "\t\"healthStatus\": \"DRAINING\"}]}]}]}");
    assert_string_equal(response->version_info, "3");
    assert_int_equal(response->n_resources, 1);
    const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment =
        open_any(response->resources[0], &envoy__config__endpoint__v3__cluster_load_assignment__descriptor);
    assert_string_equal(assignment->cluster_name, "c");
    assert_int_equal(assignment->endpoints[0]->lb_endpoints[0]->health_status,
                     ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DRAINING);
}

/* ---- kinds of values ---- */

static void texts_keep_what_looks_like_a_variable(void **state) {
    (void)state;
    const Envoy__Config__Route__V3__RouteConfiguration *routes = read_text(ROUTES, "name: \"a${b}$${c}\"\n");
    assert_string_equal(routes->name, "a${b}$${c}");
}

static void numbers_in_every_way_of_writing(void **state) {
    (void)state;
    const Envoy__Type__V3__Int64Range *range =
        read_text(&envoy__type__v3__int64_range__descriptor, "{start: '-9223372036854775808', end: 1e3}");
    assert_true(range->start == INT64_MIN);
    assert_true(range->end == 1000);
    const Envoy__Type__V3__DoubleRange *doubles =
        read_text(&envoy__type__v3__double_range__descriptor, "{start: -1.5e-3, end: Infinity}");
    assert_true(doubles->start == -0.0015);
    assert_true(isinf(doubles->end));
    const Envoy__Type__V3__Int32Range *small = read_text(&envoy__type__v3__int32_range__descriptor, "{start: -5, end: 7.0}");
    assert_int_equal(small->start, -5);
    assert_int_equal(small->end, 7);
}

static void times(void **state) {
    const struct { const char *text; int64_t seconds; int32_t nanos; } cases[] = {
        {"1970-01-01T00:00:00Z", 0, 0}, {"2000-02-29T12:00:00.5+02:00", 951818400, 500000000},
        {"1969-12-31T23:59:59.000000001-00:30", 1799, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Google__Protobuf__Timestamp *stamp = read_text(&google__protobuf__timestamp__descriptor,
            arena_printf(&arena, "'%s'", cases[i].text));
        assert_int_equal(stamp->seconds, cases[i].seconds);
        assert_int_equal(stamp->nanos, cases[i].nanos);
    }
}

/* What is in Envoy's own examples. */
static void forms_that_only_some_write(void **state) {
    (void)state;
    const Google__Protobuf__Duration *duration =
        (const void *)read_text(&google__protobuf__duration__descriptor, "{seconds: 1, nanos: 500000000}");
    assert_int_equal(duration->seconds, 1);
    assert_int_equal(duration->nanos, 500000000);
    const Envoy__Config__Route__V3__RouteConfiguration *routes =
        (const void *)read_text(ROUTES, "virtual_hosts: {name: only}");
    assert_int_equal(routes->n_virtual_hosts, 1);
    assert_string_equal(routes->virtual_hosts[0]->name, "only");
}

static void bytes_of_either_alphabet(void **state) {
    static const char *const texts[] = {"+/8=", "-_8", "-_8=", "+/8"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const Envoy__Config__Core__V3__DataSource *source = read_text(&envoy__config__core__v3__data_source__descriptor,
            arena_printf(&arena, "inline_bytes: \"%s\"", texts[i]));
        assert_int_equal(source->inline_bytes.len, 2);
        assert_memory_equal(source->inline_bytes.data, "\xfb\xff", 2);
    }
    const Envoy__Config__Core__V3__DataSource *none =
        read_text(&envoy__config__core__v3__data_source__descriptor, "inline_bytes: \"\"");
    assert_int_equal(none->specifier_case, ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES);
    assert_int_equal(none->inline_bytes.len, 0);
}

static void a_struct_holds_any_value(void **state) {
    (void)state;
    const Google__Protobuf__Value *value = read_text(VALUE, "a: null\nb: [1, '1', true, {c: []}]\nd: -2.5\n");
    const Google__Protobuf__Struct *object = value->struct_value;
    assert_int_equal(object->n_fields, 3);
    assert_int_equal(object->fields[0]->value->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE);
    const Google__Protobuf__ListValue *list = object->fields[1]->value->list_value;
    assert_true(list->values[0]->number_value == 1);
    assert_string_equal(list->values[1]->string_value, "1");
    assert_true(list->values[2]->bool_value);
    assert_int_equal(list->values[3]->struct_value->fields[0]->value->list_value->n_values, 0);
    assert_true(object->fields[2]->value->number_value == -2.5);
}

static void an_any_of_a_well_known_type_has_a_value(void **state) {
    (void)state;
    const Google__Protobuf__Any *any = read_text(&google__protobuf__any__descriptor,
        "{'@type': 'type.googleapis.com/google.protobuf.Duration', value: '-1.5s'}");
    assert_int_equal(any->value.len, 22);   /* two negative numbers of ten bytes, each with its tag */
    any = read_text(&google__protobuf__any__descriptor, "{'@type': "
        "'type.googleapis.com/google.protobuf.Struct', value: {a: b}}");
    assert_memory_equal(any->value.data, "\x0a\x08\x0a\x01" "a\x12\x03\x1a\x01" "b", any->value.len);
}

static void one_member_may_be_set_and_be_its_default(void **state) {
    (void)state;
    const Envoy__Config__Route__V3__RouteConfiguration *routes =
        read_text(ROUTES, "virtual_hosts: [{routes: [{match: {prefix: ''}, route: {cluster: c, "
        "auto_host_rewrite: false}}]}]");
    const Envoy__Config__Route__V3__Route *route = routes->virtual_hosts[0]->routes[0];
    assert_int_equal(route->match->path_specifier_case, ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX);
    assert_int_equal(route->action_case, ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE);
    assert_false(route->route->auto_host_rewrite->value);
}

/* ---- faults ---- */

static void every_fault_has_its_place_and_path(void **state) {
    (void)state;
    assert_faults(ROUTES,
        "name: 7\n"
        "virtual_host:\n"
        "- name: a\n"
        "virtual_hosts:\n"
        "- domains: '*'\n"
        "  require_tls: SOME\n"
        "  routes:\n"
        "  - match: {prefix: /, path: /a}\n"
        "    route: {cluster: c, timeout: 5}\n"
        "  - match: {case_sensitive: yes}\n"
        "    direct_response: {status: -1}\n"
        "  typed_per_filter_config: {f: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute}}\n",
        "t:1:7: name: cannot be \"7\"; expected a text; what looks like a number needs quotes\n"
        "t:2:1: virtual_host: is no field of envoy.config.route.v3.RouteConfiguration; did you mean \"virtual_hosts\"?\n"
        "t:5:12: virtual_hosts[0].domains: cannot be the quoted text \"*\"; expected a list\n"
        "t:6:16: virtual_hosts[0].require_tls: \"SOME\" is no value of "
        "envoy.config.route.v3.VirtualHost.TlsRequirementType; did you mean \"NONE\"?\n"
        "t:8:30: virtual_hosts[0].routes[0].match.path: cannot stand beside prefix: one of them only\n"
        "t:9:34: virtual_hosts[0].routes[0].route.timeout: cannot be \"5\"; expected a duration such as 1.5s\n"
        "t:10:29: virtual_hosts[0].routes[1].match.case_sensitive: cannot be \"yes\"; expected true or false\n"
        "t:11:31: virtual_hosts[0].routes[1].direct_response.status: is out of range: \"-1\"; expected a "
        "whole number, not negative\n"
        "t:12:42: virtual_hosts[0].typed_per_filter_config[\"f\"].@type: the type "
        "\"type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute\" is not known\n");
}

static void faults_of_single_values(void **state) {
    const struct { const ProtobufCMessageDescriptor *type; const char *text, *message; } cases[] = {
        {ROUTES, "[]",
         "t:1:1: cannot be a list; expected an object\n"},
        {ROUTES, "virtual_hosts: x",
         "t:1:16: virtual_hosts: cannot be \"x\"; expected a list\n"},
        {ROUTES, "internal_only_headers: {}",
         "t:1:24: internal_only_headers: cannot be a mapping; expected a list\n"},
        {ROUTES, "virtual_hosts: {nam: x}",
         "t:1:17: virtual_hosts.nam: is no field of envoy.config.route.v3.VirtualHost; did you mean \"name\"?\n"},
        {&google__protobuf__duration__descriptor, "{second: 1}",
         "t:1:2: second: is no field of google.protobuf.Duration; did you mean \"seconds\"?\n"},
        {ROUTES, "{virtual_hosts: [null]}",
         "t:1:18: virtual_hosts[0]: cannot be nothing; expected an object\n"},
        {ROUTES, "{virtual_hosts: [], virtualHosts: []}",
         "t:1:35: virtual_hosts: stands here twice, under both of its names\n"},
        {ROUTES, "{name: \"a\\0b\"}",
         "t:1:8: name: has a NUL character\n"},
        {ROUTES, "{internal_only_headers: [1]}",
         "t:1:26: internal_only_headers[0]: cannot be \"1\"; expected a text; what looks like a number needs quotes\n"},
        {&envoy__type__v3__int32_range__descriptor, "{start: 2147483648}",
         "t:1:9: start: is out of range: \"2147483648\"; expected a whole number\n"},
        {&envoy__type__v3__int32_range__descriptor, "{start: 1.5}",
         "t:1:9: start: cannot be \"1.5\"; expected a whole number\n"},
        {&envoy__type__v3__int64_range__descriptor, "{start: 9223372036854775808}",
         "t:1:9: start: is out of range: \"9223372036854775808\"; expected a whole number\n"},
        {&envoy__type__v3__double_range__descriptor, "{start: 1e999}",
         "t:1:9: start: is out of range: \"1e999\"; expected a number\n"},
        {&envoy__type__v3__double_range__descriptor, "{start: 0x10}",
         "t:1:9: start: cannot be \"0x10\"; expected a number\n"},
        {&envoy__config__core__v3__data_source__descriptor, "inline_bytes: 'A'",
         "t:1:15: inline_bytes: is not base64; expected bytes in base64\n"},
        {&envoy__config__core__v3__data_source__descriptor, "inline_bytes: 'A==='",
         "t:1:15: inline_bytes: is not base64; expected bytes in base64\n"},
        {&envoy__config__core__v3__data_source__descriptor, "inline_bytes: 'AAE*'",
         "t:1:15: inline_bytes: is not base64; expected bytes in base64\n"},
        {&envoy__config__core__v3__data_source__descriptor, "inline_bytes: 'AAF'",
         "t:1:15: inline_bytes: is not base64; expected bytes in base64\n"},
        {&envoy__type__v3__int64_range__descriptor, "{start: 1e17}",
         "t:1:9: start: cannot be \"1e17\"; expected a whole number\n"},
        {&google__protobuf__any__descriptor, "{'@type': a/google.protobuf.FloatValue, value: 1e39}",
         "t:1:48: value: is out of range: \"1e39\"; expected a number\n"},
        {&envoy__config__route__v3__virtual_host__descriptor, "require_tls: \"ALL\\0x\"",
         "t:1:14: require_tls: has a NUL character\n"},
        {&google__protobuf__any__descriptor, "{'@type': a/google.protobuf.Duration, value: 315576000001s}",
         "t:1:46: value: is too long; expected a duration such as 1.5s\n"},
        {&google__protobuf__any__descriptor, "{}",
         "t:1:1: cannot be a mapping; expected an object with \"@type\": \"type.googleapis.com/...\"\n"},
        {&google__protobuf__any__descriptor, "{'@type': 'type.googleapis.com/google.protobuf.Duration'}",
         "t:1:1: has no value of its type google.protobuf.Duration; expected the key \"value\"\n"},
        {&google__protobuf__any__descriptor, "{'@type': 'a/google.protobuf.Duration', value: 1s, x: 1}",
         "t:1:1: has more than \"@type\" and \"value\"\n"},
        {&google__protobuf__any__descriptor, "{'@type': 'a/envoy.config.listener.v3.Listner'}",
         "t:1:11: @type: the type \"a/envoy.config.listener.v3.Listner\" is not known; did you mean "
        "\"envoy.config.listener.v3.Listener\"?\n"},
        {&google__protobuf__timestamp__descriptor, "'2023-02-29T00:00:00Z'",
         "t:1:1: cannot be the quoted text \"2023-02-29T00:00:00Z\"; expected a time such as 2026-01-31T10:00:00Z\n"},
        {&google__protobuf__timestamp__descriptor, "'2023-02-28 00:00:00Z'",
         "t:1:1: cannot be the quoted text \"2023-02-28 00:00:00Z\"; expected a time such as 2026-01-31T10:00:00Z\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_faults(cases[i].type, cases[i].text, cases[i].message);
}

static void nesting_is_bounded(void **state) {
    struct strbuf text = {0};
    (void)state;
    /* Each anchor holds what stands before it 20 levels deeper, so that the whole is deeper than the text. */
    strbuf_puts(&text, "x0: &a0 1\n");
    for (int i = 1; i <= 5; i++)
        strbuf_printf(&text, "x%d: &a%d [[[[[[[[[[[[[[[[[[[[*a%d]]]]]]]]]]]]]]]]]]]]\n", i, i, i - 1);
    struct error_list errors = {0};
    assert_null(xds_json_parse(&google__protobuf__struct__descriptor, "t", strbuf_str(&text), &arena, &errors));
    assert_non_null(strstr(errors.items[0].message, "nested too deeply"));
    error_list_finish(&errors);
    strbuf_finish(&text);
}

/* Whatever depth is read can be encoded and decoded: entries of maps count as messages, too. */
static void what_is_read_is_not_too_deep_to_decode(void **state) {
    const ProtobufCMessageDescriptor *type = &google__protobuf__struct__descriptor;
    int read = 0, refused = 0;
    (void)state;
    for (int levels = 1; levels < 60; levels++) {
        struct error_list errors = {0};
        struct strbuf text = {0};
        for (int i = 0; i < levels; i++)
            strbuf_puts(&text, "{a: ");
        strbuf_puts(&text, "1");
        for (int i = 0; i < levels; i++)
            strbuf_puts(&text, "}");
        ProtobufCMessage *m = xds_json_parse(type, "t", strbuf_str(&text), &arena, &errors), *again;
        size_t size = m ? protobuf_c_message_get_packed_size(m) : 0;
        char *bytes = arena_alloc(&arena, size + 1);
        if (m)
            protobuf_c_message_pack(m, (uint8_t *)bytes);
        assert_int_equal(m ? xds_decode(type, &arena, (struct str){bytes, size}, &again) : 0, 0);
        *(m ? &read : &refused) += 1;
        error_list_finish(&errors);
        strbuf_finish(&text);
    }
    assert_true(read > 15 && refused > 15);
}

static void any_messages_within_each_other_are_counted(void **state) {
    struct strbuf text = {0};
    struct error_list errors = {0};
    (void)state;
    strbuf_puts(&text, "typed_filter_metadata:\n");
    for (int chain = 0; chain < 2; chain++) {
        strbuf_printf(&text, "  k%d: %s", chain, chain ? "" : "&a ");
        for (int i = 0; i < 50; i++)
            strbuf_puts(&text, "{'@type': a/google.protobuf.Any, value: ");
        strbuf_puts(&text, chain ? "*a" : "{'@type': a/google.protobuf.BoolValue, value: true}");
        for (int i = 0; i < 50; i++)
            strbuf_puts(&text, "}");
        strbuf_puts(&text, "\n");
    }
    assert_null(xds_json_parse(&envoy__config__core__v3__metadata__descriptor, "t", strbuf_str(&text), &arena, &errors));
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.items[0].message, "is nested too deeply");
    assert_int_equal(errors.items[0].line, 2);
    error_list_finish(&errors);
    strbuf_finish(&text);
}

static void faults_are_bounded_and_memory_is_told(void **state) {
    struct strbuf text = {0};
    struct error_list errors = {0}, list = {0}, other = {0};
    struct arena small;
    (void)state;
    for (int i = 0; i < 3 * ERROR_LIST_MAX; i++)
        strbuf_printf(&text, "k%d: 1\n", i);
    assert_null(xds_json_parse(ROUTES, "t", strbuf_str(&text), &arena, &errors));
    assert_int_equal(errors.count, ERROR_LIST_MAX);
    assert_int_equal(errors.dropped, 0);    /* the reading has ended */
    strbuf_reset(&text);
    strbuf_puts(&text, "internal_only_headers: [");
    for (int i = 0; i < 3 * ERROR_LIST_MAX; i++)
        strbuf_puts(&text, "1, ");
    strbuf_puts(&text, "1]");
    assert_null(xds_json_parse(ROUTES, "t", strbuf_str(&text), &arena, &list));
    assert_int_equal(list.count, ERROR_LIST_MAX);
    assert_int_equal(list.dropped, 0);
    error_list_finish(&list);
    arena_init(&small, NULL, 0, 4096);
    assert_null(xds_json_parse(ROUTES, "t", STR("virtual_hosts: [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, "
        "{}]"), &small, &other));
    assert_int_equal(other.items[0].code, ERROR_MEMORY);
    arena_finish(&small);
    strbuf_finish(&text);
    error_list_finish(&errors);
    error_list_finish(&other);
}

/* Each allocation fails once: the reading fails with a reason, and nothing is left behind. */
static void reading_survives_every_failed_allocation(void **state) {
    static const char text[] =
        "name: a\nvirtual_hosts: [{name: b, routes: [{match: {prefix: /}, metadata: {filter_metadata: {x: {y: [1, {}]}}},\n"
        "  typed_per_filter_config: {f: {'@type': a/google.protobuf.Any, value: {'@type': a/google.protobuf.Duration,\n"
        "  value: 1s}}}, direct_response: {status: 200, body: {inline_bytes: AAEC}}}]}]\n";
    bool is_read = false;
    long failures = 0;
    (void)state;
    for (; !is_read && failures < 10000; failures++) {
        struct error_list errors = {0};
        struct arena own;
        arena_init(&own, NULL, 0, 0);
        hg_alloc_fail_at(failures, 0);
        is_read = xds_json_parse(ROUTES, "t", STR(text), &own, &errors) != NULL;
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(is_read, error_list_is_empty(&errors));
        error_list_finish(&errors);
        arena_finish(&own);
    }
    assert_true(is_read);
    assert_true(failures > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listener_in_yaml),
        cmocka_unit_test(a_cluster_in_json_with_either_kind_of_name),
        cmocka_unit_test(a_discovery_response_of_a_rest_server),
        cmocka_unit_test(texts_keep_what_looks_like_a_variable),
        cmocka_unit_test(numbers_in_every_way_of_writing),
        cmocka_unit_test(times),
        cmocka_unit_test(forms_that_only_some_write),
        cmocka_unit_test(bytes_of_either_alphabet),
        cmocka_unit_test(a_struct_holds_any_value),
        cmocka_unit_test(an_any_of_a_well_known_type_has_a_value),
        cmocka_unit_test(one_member_may_be_set_and_be_its_default),
        cmocka_unit_test(every_fault_has_its_place_and_path),
        cmocka_unit_test(faults_of_single_values),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(what_is_read_is_not_too_deep_to_decode),
        cmocka_unit_test(any_messages_within_each_other_are_counted),
        cmocka_unit_test(faults_are_bounded_and_memory_is_told),
        cmocka_unit_test(reading_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
