/* The walk over what a message says and nothing reads; decoding within bounds; types by URL. */
#include "tests/unit/common/cmocka_all.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/types.h"
#include "proto/envoy/config/accesslog/v3/accesslog.pb-c.h"
#include "proto/envoy/config/cluster/v3/cluster.pb-c.h"
#include "proto/envoy/config/core/v3/extension.pb-c.h"
#include "proto/envoy/config/core/v3/health_check.pb-c.h"
#include "proto/envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/tls/v3/secret.pb-c.h"
#include "proto/envoy/service/discovery/v3/discovery.pb-c.h"
#include "proto/google/protobuf/any.pb-c.h"
#include "tests/unit/controlplane/xds/read_tables.h"

/* ---- help ---- */

struct notes {
    struct strbuf text;     /* "path description\n" of each finding */
    int           most;     /* findings to take before the walk is ended; 0: all */
    int           count;
};

static bool note(void *context, const struct xds_finding *finding) {
    struct notes *notes = context;
    strbuf_printf(&notes->text, "%s ", finding->path);
    xds_finding_describe(finding, &notes->text);
    strbuf_putc(&notes->text, '\n');
    return ++notes->count != notes->most;
}

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

static ProtobufCMessage *read_text(const ProtobufCMessageDescriptor *type, const char *text) {
    struct error_list errors = {0};
    ProtobufCMessage *m = xds_json_parse(type, "t.yaml", str_of(text), &arena, &errors);
    struct strbuf first = {0};
    if (errors.count)
        error_format(&errors.items[0], &first);
    if (!m)
        fail_msg("%s", strbuf_str(&first).p);
    strbuf_finish(&first);
    error_list_finish(&errors);
    return m;
}

static void assert_findings(const struct xds_fields *table, const ProtobufCMessage *m, const char *expected) {
    struct notes notes = {0};
    int count = xds_fields_walk(table, m, &(struct xds_findings){note, &notes});
    assert_string_equal(strbuf_str(&notes.text).p, expected);
    assert_int_equal(count, notes.count);
    strbuf_finish(&notes.text);
}

static int decode(const ProtobufCMessageDescriptor *type, struct str bytes, ProtobufCMessage **ret) {
    return xds_decode(type, &arena, bytes, ret);
}

/* ---- the walk ---- */

static const struct xds_fields metadata = {
    &envoy__config__core__v3__metadata__descriptor,
    (const struct xds_field[]){
        {.name = "filter_metadata"},
        {.name = "typed_filter_metadata", .types = (const struct xds_fields *const[]){&read_router, NULL}}, {0},
    },
};
static const struct xds_fields no_table = {
    &envoy__config__route__v3__route_configuration__descriptor, (const struct xds_field[]){{.name = "virtual_hosts"}, {0}},
};

static void tables_are_sound(void **state) {
    (void)state;
    for (size_t i = 0; i < READ_TABLES; i++)
        assert_null(xds_fields_fault(read_tables[i]));
}

static void faults_of_tables_are_found(void **state) {
    static const struct xds_field misspelt[] = {{.name = "nmae"}, {0}}, bare[] = {{.name = "virtual_hosts"}, {0}},
        wrong_table[] = {{.name = "virtual_hosts", .inside = &read_route}, {0}},
        twice[] = {{.name = "name"}, {.name = "name"}, {0}},
        needless[] = {{.name = "name", .inside = &read_route}, {0}}, no_types[] = {{.name = "typed_config"}, {0}};
    const struct { const ProtobufCMessageDescriptor *type; const struct xds_field *items; const char *fault; } cases[] = {
        {read_routes.type, misspelt, "nmae"}, {read_routes.type, bare, "virtual_hosts"},
        {read_routes.type, wrong_table, "virtual_hosts"}, {read_routes.type, twice, "name"},
        {read_routes.type, needless, "name"}, {read_filter.type, no_types, "typed_config"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(xds_fields_fault(&(struct xds_fields){cases[i].type, cases[i].items}), cases[i].fault);
}

static void what_is_read_is_not_told(void **state) {
    (void)state;
    assert_findings(&read_routes, read_text(read_routes.type,
        "name: site\nvirtual_hosts:\n- name: a\n  domains: ['*']\n  require_tls: ALL\n  routes:\n  - match: {prefix: /}\n"
        "    route: {cluster: web, timeout: 1.5s}\n    metadata: {filter_metadata: {x: {y: [1, {z: null}]}}}\n"), "");
}

static void every_field_that_nothing_reads_is_told(void **state) {
    (void)state;
    assert_findings(&read_routes, read_text(read_routes.type,
        "virtual_hosts:\n- name: a\n  routes:\n  - match: {prefix: /}\n    route: {cluster: web}\n"
        "  - match: {safe_regex: {regex: a}, headers: [{name: x}, {name: y}]}\n"
        "    route: {cluster_specifier_plugin: p, priority: HIGH}\n"
        "- name: b\n  routes:\n  - redirect: {path_redirect: /x}\n"
        "  typed_per_filter_config: {f: {'@type': a/google.protobuf.Empty, value: {}}}\n"
        "validate_clusters: false\n"),
        "virtual_hosts[0].routes[1].match.headers is not supported\n"
        "virtual_hosts[0].routes[1].match.safe_regex is not supported\n"
        "virtual_hosts[0].routes[1].route.priority is ignored: all requests have the same priority\n"
        "virtual_hosts[0].routes[1].route.cluster_specifier_plugin is not supported\n"
        "virtual_hosts[1].routes[0].redirect is not supported\n"
        "virtual_hosts[1].typed_per_filter_config is not supported\n"
        "validate_clusters is not supported\n");
}

#define HTTP_TYPE "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

static void an_any_is_opened_and_its_type_named(void **state) {
    (void)state;
    assert_findings(&read_listener, read_text(read_listener.type,
        "name: l\naddress: {socket_address: {address: 0.0.0.0, port_value: 0}}\nper_connection_buffer_limit_bytes: 1\n"
        "filter_chains:\n- filters:\n  - name: h\n    typed_config:\n      '@type': " HTTP_TYPE "\n      stat_prefix: s\n"
        "      http_filters:\n"
        "      - typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, "
        "start_child_span: true}\n"
        "      - typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}\n"
        "      server_name: x\n  - config_discovery: {type_urls: [a]}\n"),
        "filter_chains[0].filters[0].typed_config.stat_prefix is ignored: names of metrics are those of the gateway\n"
        "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.start_child_span is not supported\n"
        "filter_chains[0].filters[0].typed_config.http_filters[1].typed_config is of the type "
        "\"type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors\", which is not supported here\n"
        "filter_chains[0].filters[0].typed_config.server_name is not supported\n"
        "filter_chains[0].filters[1].config_discovery is not supported\n");
}

static void an_any_that_cannot_be_decoded_is_told(void **state) {
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    Envoy__Config__Listener__V3__Filter filter = ENVOY__CONFIG__LISTENER__V3__FILTER__INIT;
    (void)state;
    any.type_url = HTTP_TYPE;
    any.value = (ProtobufCBinaryData){3, (uint8_t *)"\x0a\x7fx"};
    filter.config_type_case = ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter.typed_config = &any;
    assert_findings(&read_filter, &filter.base, "typed_config is not a well-formed message of this type\n");
}

static void numbers_without_a_name_are_told(void **state) {
    ProtobufCMessage *m;
    (void)state;
    /* virtual_hosts { require_tls: 9, field 1000: 1, domains: "a" }, field 99: "x" */
    struct str bytes = STR("\x12\x08\x20\x09\xc0\x3e\x01\x12\x01""a\x9a\x06\x01x");
    assert_int_equal(decode(read_routes.type, bytes, &m), 0);
    assert_findings(&read_routes, m,
        " has the unknown field number 99 of envoy.config.route.v3.RouteConfiguration\n"
        "virtual_hosts[0] has the unknown field number 1000 of envoy.config.route.v3.VirtualHost\n"
        "virtual_hosts[0].require_tls is 9, which is no known value of "
        "envoy.config.route.v3.VirtualHost.TlsRequirementType\n");
}

static void keys_of_maps_stand_in_the_path(void **state) {
    (void)state;
    assert_null(xds_fields_fault(&metadata));
    assert_findings(&metadata, read_text(metadata.type,
        "filter_metadata: {a: {b: c}}\n"
        "typed_filter_metadata: {'x \"y': {'@type': a/google.protobuf.StringValue, value: v}}\n"),
        "typed_filter_metadata[\"x \\\"y\"] is of the type \"a/google.protobuf.StringValue\", "
        "which is not supported here\n");
}

static void a_message_without_a_table_is_not_taken_for_read(void **state) {
    (void)state;
    assert_findings(&no_table, read_text(no_table.type, "virtual_hosts: [{name: a}]"),
                    "virtual_hosts[0] is not supported\n");
}

static void the_walk_ends_at_its_bounds_and_when_told(void **state) {
    struct strbuf text = {0};
    struct notes notes = {.most = 3}, all = {0};
    (void)state;
    strbuf_puts(&text, "virtual_hosts:\n");
    for (int i = 0; i < 2 * XDS_WALK_FINDINGS_MAX; i++)
        strbuf_puts(&text, "- {name: a, hedge_policy: {}}\n");
    ProtobufCMessage *m = read_text(read_routes.type, text.p);
    assert_int_equal(xds_fields_walk(&read_routes, m, &(struct xds_findings){note, &notes}), 3);
    assert_int_equal(notes.count, 3);
    assert_int_equal(xds_fields_walk(&read_routes, m, &(struct xds_findings){note, &all}), XDS_WALK_FINDINGS_MAX);
    assert_true(str_ends(strbuf_str(&all.text), STR("virtual_hosts[98].hedge_policy is not supported\n"
                                                     " there is more that is not supported\n")));
    strbuf_finish(&text);
    strbuf_finish(&notes.text);
    strbuf_finish(&all.text);
}

/* Nor does it hide what is not supported behind it. */
static void what_is_ignored_does_not_end_the_walk(void **state) {
    struct strbuf text = {0};
    struct notes notes = {0};
    (void)state;
    strbuf_puts(&text, "virtual_hosts: [{name: a, routes: [");
    for (int i = 0; i < 2 * XDS_WALK_FINDINGS_MAX; i++)
        strbuf_puts(&text, "{route: {priority: HIGH}}, ");
    strbuf_puts(&text, "{route: {cors: {}}}]}]");
    ProtobufCMessage *m = read_text(read_routes.type, text.p);
    assert_int_equal(xds_fields_walk(&read_routes, m, &(struct xds_findings){note, &notes}), XDS_WALK_FINDINGS_MAX + 1);
    assert_true(str_ends(strbuf_str(&notes.text),
                         STR("virtual_hosts[0].routes[99].route.priority is ignored: all requests have the same priority\n"
                             "virtual_hosts[0].routes[200].route.cors is not supported\n")));
    strbuf_finish(&text);
    strbuf_finish(&notes.text);
}

/* An Any within an Any: each is decoded alone, so only the walk can count them. */
static void any_messages_within_each_other_are_counted(void **state) {
    static struct xds_fields extension;
    static const struct xds_fields *const itself[] = {&extension, NULL};
    static const struct xds_field items[] = {{.name = "typed_config", .types = itself}, {0}};
    Envoy__Config__Core__V3__TypedExtensionConfig m = ENVOY__CONFIG__CORE__V3__TYPED_EXTENSION_CONFIG__INIT;
    struct notes notes = {0};
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    (void)state;
    extension = (struct xds_fields){&envoy__config__core__v3__typed_extension_config__descriptor, items};
    any.type_url = "a/envoy.config.core.v3.TypedExtensionConfig";
    m.typed_config = &any;
    for (int i = 0; i < XDS_DEPTH_MAX + 5; i++) {
        size_t size = protobuf_c_message_get_packed_size(&m.base);
        uint8_t *bytes = arena_alloc(&arena, size);
        protobuf_c_message_pack(&m.base, bytes);
        any.value = (ProtobufCBinaryData){size, bytes};
    }
    assert_int_equal(xds_fields_walk(&extension, &m.base, &(struct xds_findings){note, &notes}), 1);
    assert_true(str_ends(strbuf_str(&notes.text), STR("typed_config.typed_config is nested too deeply\n")));
    assert_int_equal(notes.text.n, sizeof " is nested too deeply" + XDS_DEPTH_MAX * sizeof "typed_config" - 1);
    strbuf_finish(&notes.text);
}

static void the_work_of_a_walk_is_bounded(void **state) {
    static const struct xds_field items[] = {{.name = "statuses"}, {0}};
    static const struct xds_fields statuses = {&envoy__config__core__v3__health_status_set__descriptor, items};
    Envoy__Config__Core__V3__HealthStatusSet set = ENVOY__CONFIG__CORE__V3__HEALTH_STATUS_SET__INIT;
    (void)state;
    set.n_statuses = XDS_WALK_VALUES_MAX - 1;
    set.statuses = calloc(set.n_statuses + 1, sizeof *set.statuses);
    assert_non_null(set.statuses);
    assert_findings(&statuses, &set.base, "");
    set.n_statuses++;
    assert_findings(&statuses, &set.base, " the message holds too many values\n");
    free(set.statuses);
}

static void plain_fields_are_set_when_they_are_not_their_default(void **state) {
    static const struct xds_field none[] = {{0}};
    static const struct xds_fields value = {&envoy__config__core__v3__header_value__descriptor, none};
    Envoy__Config__Core__V3__HeaderValue header = ENVOY__CONFIG__CORE__V3__HEADER_VALUE__INIT;
    (void)state;
    header.raw_value = (ProtobufCBinaryData){0, (uint8_t *)"x"};
    assert_findings(&value, &header.base, "");
    header.raw_value.len = 1;
    header.value = "v";
    assert_findings(&value, &header.base, "value is not supported\nraw_value is not supported\n");
}

static void a_walk_without_memory_fails(void **state) {
    struct notes notes = {0};
    ProtobufCMessage *m = read_text(read_filter.type, "typed_config: {'@type': " HTTP_TYPE ", server_name: x}");
    (void)state;
    hg_alloc_fail_at(0, 1);
    int count = xds_fields_walk(&read_filter, m, &(struct xds_findings){note, &notes});
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(count, -1);
    strbuf_finish(&notes.text);
}

/* Fields of two bytes, each of which takes some dozens when it is decoded. */
static void what_an_any_may_take_is_bounded(void **state) {
    enum { FIELDS = 9 << 20 };
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    Envoy__Config__Listener__V3__Filter filter = ENVOY__CONFIG__LISTENER__V3__FILTER__INIT;
    uint8_t *bytes = arena_alloc(&arena, FIELDS * 2);
    (void)state;
    for (size_t i = 0; i < FIELDS; i++)
        memcpy(bytes + 2 * i, "\x12\0", 2);
    any.type_url = HTTP_TYPE;
    any.value = (ProtobufCBinaryData){FIELDS * 2, bytes};
    filter.config_type_case = ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter.typed_config = &any;
    assert_findings(&read_filter, &filter.base,
                    "typed_config takes more than 256 MiB when it is decoded, which is the bound\n");
}

/* ---- decoding ---- */

/* `levels` messages, each in field 4 (1 byte of tag) of DynamicParameterConstraints of the one before; 0 is an empty
 * message. */
static struct str nest(size_t levels) {
    char *p = arena_alloc(&arena, levels * 6 + 1), *end = p + levels * 6, *at = end;
    for (size_t i = 0; i < levels; i++) {
        size_t n = (size_t)(end - at);
        char head[6];
        size_t size = 0;
        head[size++] = 0x22;
        for (; n > 0x7f; n >>= 7)
            head[size++] = (char)(n | 0x80);
        head[size++] = (char)n;
        at -= size;
        memcpy(at, head, size);
    }
    return (struct str){at, (size_t)(end - at)};
}

static void nesting_is_bounded(void **state) {
    const ProtobufCMessageDescriptor *type = &envoy__service__discovery__v3__dynamic_parameter_constraints__descriptor;
    ProtobufCMessage *m;
    (void)state;
    assert_int_equal(decode(type, nest(XDS_DEPTH_MAX - 1), &m), 0);
    assert_int_equal(decode(type, nest(XDS_DEPTH_MAX), &m), XDS_TOO_DEEP);
    assert_int_equal(decode(type, nest(1000000), &m), XDS_TOO_DEEP);
}

static void texts_are_whole_and_utf8(void **state) {
    const ProtobufCMessageDescriptor *type = read_routes.type;
    ProtobufCMessage *m;
    (void)state;
    assert_int_equal(decode(type, STR("\x0a\x03" "a\xc3\xa9"), &m), 0);
    assert_int_equal(decode(type, STR("\x0a\x03" "a\0b"), &m), MESSAGE_MALFORMED);
    assert_int_equal(decode(type, STR("\x0a\x02" "a\xc3"), &m), MESSAGE_MALFORMED);
    assert_int_equal(decode(type, STR("\x0a\x05" "ab"), &m), MESSAGE_MALFORMED);
    assert_int_equal(decode(type, STR("\x12\x05\x0a\x03" "a\0b"), &m), MESSAGE_MALFORMED);
    assert_int_equal(decode(type, STR("\x0b"), &m), MESSAGE_MALFORMED);
    assert_int_equal(decode(type, STR("\x80\x00\x03"), &m), MESSAGE_MALFORMED);
}

static void what_it_may_take_is_bounded(void **state) {
    struct arena small;
    ProtobufCMessage *m;
    char bytes[2000];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i += 2)
        memcpy(bytes + i, "\x12\0", 2);
    arena_init(&small, NULL, 0, 4096);
    assert_int_equal(xds_decode(read_routes.type, &small, (struct str){bytes, sizeof bytes}, &m), MESSAGE_LARGE);
    arena_finish(&small);
    arena_init(&small, NULL, 0, 4096);
    hg_alloc_fail_at(0, 1);
    int status = xds_decode(read_routes.type, &small, (struct str){bytes, 2}, &m);
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(status, MESSAGE_MEMORY);
    arena_finish(&small);
}

/* The bytes follow from the published field numbers, not from what this program encodes. */
static void the_wire_is_that_of_the_published_messages(void **state) {
    ProtobufCMessage *m;
    (void)state;
    /* version_info=1, type_url=4, nonce=5, control_plane=6 {identifier=1} */
    assert_int_equal(decode(&envoy__service__discovery__v3__discovery_response__descriptor,
        STR("\x0a\x01" "7" "\x22\x01t" "\x2a\x01n" "\x32\x03\x0a\x01" "c"), &m), 0);
    const Envoy__Service__Discovery__V3__DiscoveryResponse *response = (const void *)m;
    assert_string_equal(response->version_info, "7");
    assert_string_equal(response->type_url, "t");
    assert_string_equal(response->nonce, "n");
    assert_string_equal(response->control_plane->identifier, "c");
    assert_int_equal(m->n_unknown_fields, 0);
    /* name=1, type=2 EDS, eds_cluster_config=3 {service_name=2}, connect_timeout=4 {seconds=1}, lb_policy=6 MAGLEV */
    assert_int_equal(decode(&envoy__config__cluster__v3__cluster__descriptor,
        STR("\x0a\x01" "c" "\x10\x03" "\x1a\x03\x12\x01s" "\x22\x02\x08\x05" "\x30\x05"), &m), 0);
    const Envoy__Config__Cluster__V3__Cluster *cluster = (const void *)m;
    assert_int_equal(cluster->type, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS);
    assert_string_equal(cluster->eds_cluster_config->service_name, "s");
    assert_int_equal(cluster->connect_timeout->seconds, 5);
    assert_int_equal(cluster->lb_policy, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__MAGLEV);
    /* cluster_name=1, endpoints=2 {lb_endpoints=2 {endpoint=1 {address=1 {socket_address=1 {address=2, port_value=3}}},
     * health_status=2, load_balancing_weight=4 {value=1}}, priority=5} */
    assert_int_equal(decode(&envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
        STR("\x0a\x01" "c" "\x12\x18\x12\x14\x0a\x0c\x0a\x0a\x0a\x08\x12\x03" "::1" "\x18\xb5\x03"
            "\x10\x02\x22\x02\x08\x07" "\x28\x01"),
        &m), 0);
    const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment = (const void *)m;
    const Envoy__Config__Endpoint__V3__LbEndpoint *endpoint = assignment->endpoints[0]->lb_endpoints[0];
    assert_string_equal(endpoint->endpoint->address->socket_address->address, "::1");
    assert_int_equal(endpoint->endpoint->address->socket_address->port_value, 437);
    assert_int_equal(endpoint->health_status, ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY);
    assert_int_equal(endpoint->load_balancing_weight->value, 7);
    assert_int_equal(assignment->endpoints[0]->priority, 1);
}

/* ---- types ---- */

static void types_are_found_by_their_url(void **state) {
    size_t count;
    const ProtobufCMessageDescriptor *const *types = xds_types(&count);
    (void)state;
    assert_ptr_equal(xds_type_of_url(STR(HTTP_TYPE)), read_http.type);
    assert_ptr_equal(xds_type_of_url(STR("https://a.test/b/envoy.config.listener.v3.Listener")), read_listener.type);
    assert_null(xds_type_of_url(STR("envoy.config.listener.v3.Listener")));
    assert_null(xds_type_of_url(STR("type.googleapis.com/")));
    assert_null(xds_type_of_url(STR("")));
    assert_string_equal(xds_type_nearest(STR("type.googleapis.com/envoy.config.listener.v3.Listner")),
                        "envoy.config.listener.v3.Listener");
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(xds_type_of_url(str_of(arena_printf(&arena, "x/%s", types[i]->name))), types[i]);
        assert_true(i == 0 || strcmp(types[i - 1]->name, types[i]->name) < 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_sound),
        cmocka_unit_test(faults_of_tables_are_found),
        cmocka_unit_test(what_is_read_is_not_told),
        cmocka_unit_test(every_field_that_nothing_reads_is_told),
        cmocka_unit_test(an_any_is_opened_and_its_type_named),
        cmocka_unit_test(an_any_that_cannot_be_decoded_is_told),
        cmocka_unit_test(numbers_without_a_name_are_told),
        cmocka_unit_test(keys_of_maps_stand_in_the_path),
        cmocka_unit_test(a_message_without_a_table_is_not_taken_for_read),
        cmocka_unit_test(the_walk_ends_at_its_bounds_and_when_told),
        cmocka_unit_test(what_is_ignored_does_not_end_the_walk),
        cmocka_unit_test(any_messages_within_each_other_are_counted),
        cmocka_unit_test(the_work_of_a_walk_is_bounded),
        cmocka_unit_test(plain_fields_are_set_when_they_are_not_their_default),
        cmocka_unit_test(a_walk_without_memory_fails),
        cmocka_unit_test(what_an_any_may_take_is_bounded),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(texts_are_whole_and_utf8),
        cmocka_unit_test(what_it_may_take_is_bounded),
        cmocka_unit_test(the_wire_is_that_of_the_published_messages),
        cmocka_unit_test(types_are_found_by_their_url),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
