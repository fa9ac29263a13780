/* The world with the real translations: Envoy's own messages, names that ours cannot have, and many of them. */
#include "controlplane/xds/json.h"
#include "tests/unit/controlplane/xds/world_play.h"

enum { CLUSTERS_MANY = 1000, ENDPOINTS_MANY = 20 };

static const ProtobufCMessageDescriptor *const types[XDS_ROLES] = {
    [XDS_CLUSTERS] = &envoy__config__cluster__v3__cluster__descriptor,
    [XDS_ENDPOINTS] = &envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
    [XDS_LISTENERS] = &envoy__config__listener__v3__listener__descriptor,
    [XDS_SCOPES] = &envoy__config__route__v3__scoped_route_configuration__descriptor,
    [XDS_ROUTES] = &envoy__config__route__v3__route_configuration__descriptor,
    [XDS_HOSTS] = &envoy__config__route__v3__virtual_host__descriptor,
    [XDS_SECRETS] = &envoy__extensions__transport_sockets__tls__v3__secret__descriptor,
    [XDS_EXTENSIONS] = &envoy__config__core__v3__typed_extension_config__descriptor,
    [XDS_RUNTIMES] = &envoy__service__runtime__v3__runtime__descriptor,
};

/* ---- messages ---- */

struct sent {
    struct xds_response_resource items[CLUSTERS_MANY + 1];
    size_t                       count;
    struct arena                 arena;
};

static void send_add(struct sent *s, enum xds_role role, const char *name, const char *yaml) {
    struct error_list errors = {0};
    ProtobufCMessage *m = xds_json_parse(types[role], "t.yaml", str_of(yaml), &s->arena, &errors);
    if (!m)
        fail_msg("%s: %s", yaml, errors.items[0].message);
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = arena_alloc(&s->arena, size + 1);
    protobuf_c_message_pack(m, bytes);
    s->items[s->count++] = (struct xds_response_resource){
        .name = str_of(arena_strdup(&s->arena, name)), .type_url = str_of(role_urls[role]),
        .bytes = {(const char *)bytes, size}, .has_body = true};
    error_list_finish(&errors);
}

static void send(struct play *y, enum xds_role role, struct sent *s) {
    char nonce[16];
    snprintf(nonce, sizeof nonce, "%u", ++y->nonces);
    struct xds_response r = {.type_url = str_of(role_urls[role]), .version = str_of(nonce), .nonce = str_of(nonce),
                             .resources = s->items, .resource_count = s->count};
    assert_int_equal(xds_protocol_receive(y->p, 0, &r, y->now), XDS_OK);
    follow(y);
    arena_finish(&s->arena);
    *s = (struct sent){0};
}

static void send_one(struct play *y, enum xds_role role, const char *name, const char *yaml) {
    static struct sent s;
    send_add(&s, role, name, yaml);
    send(y, role, &s);
}

static void begin_real(struct play *y) {
    play_options(y, XDS_STATE_OF_THE_WORLD, true);
    y->o.translations = xds_translations;
    assert_true(play_begin(y));
    follow(y);
}

#define ROUTED_LISTENER IDLE_LISTENER("300s")
#define IDLE_LISTENER(idle) "name: l\n" \
    "address: {socket_address: {address: 127.0.0.1, port_value: 8080}}\n" \
    "filter_chains:\n- filters:\n  - name: hcm\n    typed_config:\n" \
    "      '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3" \
    ".HttpConnectionManager\n" \
    "      stat_prefix: l\n      stream_idle_timeout: " idle "\n" \
    "      rds: {route_config_name: r, config_source: {ads: {}}}\n" \
    "      http_filters:\n      - name: router\n        typed_config:\n" \
    "          '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
#define ROUTES_TO(cluster) "name: r\nvirtual_hosts:\n- name: all\n  domains: ['*']\n  routes:\n" \
    "  - match: {prefix: /}\n    route: {cluster: '" cluster "'}\n"
#define EDS_CLUSTER(name, service) "name: '" name "'\ntype: EDS\neds_cluster_config:\n  eds_config: {ads: {}}\n" \
    "  service_name: '" service "'\n"
#define ASSIGNMENT(service, port) "cluster_name: '" service "'\nendpoints:\n- lb_endpoints:\n" \
    "  - endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: " port "}}}\n"

/* ---- tests ---- */

static void test_what_a_server_sends(void **state) {
    struct play y;
    struct joined j;
    struct error_list errors = {0};
    (void)state;
    begin_real(&y);
    send_one(&y, XDS_CLUSTERS, "outbound|80||web", EDS_CLUSTER("outbound|80||web", "web|80"));
    assert_string_equal(y.names[XDS_ENDPOINTS], "web|80");
    send_one(&y, XDS_LISTENERS, "l", ROUTED_LISTENER);
    assert_string_equal(y.names[XDS_ROUTES], "r");
    send_one(&y, XDS_ROUTES, "r", ROUTES_TO("outbound|80||web"));
    assert_int_equal(y.e.layers, 0);
    send_one(&y, XDS_ENDPOINTS, "web|80", ASSIGNMENT("web|80", "9001"));
    assert_int_equal(y.e.layers, 1);
    assert_int_equal(port_of(&y, "listener/l"), 8079);
    assert_non_null(in_use(&y, "route-table/r"));
    assert_non_null(in_use(&y, "cluster/outbound@7c80@7c@7cweb"));
    assert_int_equal(config_check_resources(&y.e.set, &errors, NULL), 0);
    join(&y, &j, "web|80", false);
    Headgate__EndpointSet *set = endpoint_feed_known(y.feed, "web|80", false);
    assert_string_equal(set->endpoints[0]->address, "10.0.0.1:9001");
    headgate__endpoint_set__free_unpacked(set, NULL);
    send_one(&y, XDS_ENDPOINTS, "web|80", ASSIGNMENT("web|80", "9002"));
    assert_string_equal(j.address, "10.0.0.1:9002");
    endpoint_feed_leave(y.feed, &j.member);
    play_end(&y);
}

/* Between two pieces of a body, in seconds, of the only rule of the table "r". */
static uint64_t seconds_idle(const struct play *y) {
    const struct config_resource *r = in_use(y, "route-table/r");
    assert_non_null(r);
    Headgate__RouteTable *m = headgate__route_table__unpack(NULL, r->size, r->bytes);
    assert_non_null(m);
    uint64_t seconds = m->hosts[0]->rules[0]->timeouts->body / SECOND;
    headgate__route_table__free_unpacked(m, NULL);
    return seconds;
}

/* Said by the listener, whose routes come by themselves. */
static void test_streams_that_are_idle(void **state) {
    static const struct { const char *listener; uint64_t seconds; } cases[] = {
        {IDLE_LISTENER("0s"), 86400}, {IDLE_LISTENER("600s"), 600}, {IDLE_LISTENER("7s"), 7}, {ROUTED_LISTENER, 300}};
    struct play y;
    (void)state;
    begin_real(&y);
    send_one(&y, XDS_CLUSTERS, "c", EDS_CLUSTER("c", "c"));
    send_one(&y, XDS_LISTENERS, "l", IDLE_LISTENER("60s"));
    send_one(&y, XDS_ROUTES, "r", ROUTES_TO("c"));
    send_one(&y, XDS_ENDPOINTS, "c", ASSIGNMENT("c", "9001"));
    assert_int_equal(seconds_idle(&y), 60);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        send_one(&y, XDS_LISTENERS, "l", cases[i].listener);
        assert_int_equal(seconds_idle(&y), cases[i].seconds);
    }
    play_end(&y);
}

/* What is not supported is refused by the path of its field in the server's message. */
static void test_refused_by_path(void **state) {
    struct play y;
    (void)state;
    begin_real(&y);
    send_one(&y, XDS_CLUSTERS, "c", "name: c\ntype: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED\n");
    assert_true(y.was_refused[XDS_CLUSTERS]);
    assert_non_null(strstr(y.reason[XDS_CLUSTERS], "type: is not supported: there are no clusters of this type"));
    play_end(&y);
}

static void add_cluster(struct sent *s, unsigned i, unsigned timeout) {
    char name[32], yaml[256];
    snprintf(name, sizeof name, "c%u", i);
    snprintf(yaml, sizeof yaml, "{name: %s, type: EDS, eds_cluster_config: {eds_config: {ads: {}}}, connect_timeout: %us}",
             name, timeout);
    send_add(s, XDS_CLUSTERS, name, yaml);
}

static void send_clusters(struct play *y, unsigned timeout_of_the_last) {
    static struct sent s;
    for (unsigned i = 0; i < CLUSTERS_MANY; i++)
        add_cluster(&s, i, i + 1 == CLUSTERS_MANY ? timeout_of_the_last : 1);
    send(y, XDS_CLUSTERS, &s);
}

static void add_assignment(struct sent *s, unsigned i) {
    char name[32];
    struct strbuf yaml = {0};
    snprintf(name, sizeof name, "c%u", i);
    strbuf_printf(&yaml, "{cluster_name: %s, endpoints: [{lb_endpoints: [", name);
    for (unsigned k = 0; k < ENDPOINTS_MANY; k++)
        strbuf_printf(&yaml, "%s{endpoint: {address: {socket_address: {address: 10.%u.%u.%u, port_value: 80}}}}",
                      k ? ", " : "", k, i / 256, i % 256);
    strbuf_puts(&yaml, "]}]}");
    send_add(s, XDS_ENDPOINTS, name, yaml.p);
    strbuf_finish(&yaml);
}

/* A change among many is translated alone, however they come. */
static void test_many(void **state) {
    static struct sent s;
    struct play y;
    (void)state;
    begin_real(&y);
    send_clusters(&y, 1);
    send(&y, XDS_LISTENERS, &s);
    for (unsigned i = 0; i < CLUSTERS_MANY; i++)
        add_assignment(&s, i);
    send(&y, XDS_ENDPOINTS, &s);
    assert_int_equal(y.e.layers, 1);
    assert_int_equal(y.e.set.count, 2 * CLUSTERS_MANY);
    uint64_t before = xds_world_counters(y.w)->translations;
    assert_int_equal(before, 2 * CLUSTERS_MANY);
    send_clusters(&y, 2);
    assert_int_equal(y.e.layers, 2);
    assert_int_equal(xds_world_counters(y.w)->translations, before + 1);
    add_assignment(&s, 7);
    send(&y, XDS_ENDPOINTS, &s);
    assert_int_equal(xds_world_counters(y.w)->translations, before + 1);     /* the same again */
    assert_int_equal(y.e.layers, 2);
    play_end(&y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_server_sends),
        cmocka_unit_test(test_streams_that_are_idle),
        cmocka_unit_test(test_refused_by_path),
        cmocka_unit_test(test_many),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
