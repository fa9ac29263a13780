/* Requests and responses of the xDS protocol as protobuf. */
#include "controlplane/xds/decode.h"
#include "controlplane/xds/wire.h"
#include "proto/envoy/service/discovery/v3/discovery.pb-c.h"
#include "tests/unit/controlplane/xds/machine.h"

#define WRAPPER "type.googleapis.com/envoy.service.discovery.v3.Resource"

static struct str packed(struct arena *arena, const ProtobufCMessage *m) {
    uint8_t *bytes = arena_alloc(arena, protobuf_c_message_get_packed_size(m) + 1);
    assert_non_null(bytes);
    return (struct str){(const char *)bytes, protobuf_c_message_pack(m, bytes)};
}

static char *text(const char *literal) {
    return (char *)(uintptr_t)literal;
}

static Google__Protobuf__Any any_of(const char *url, struct str bytes) {
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    any.type_url = text(url);
    any.value.data = (uint8_t *)(uintptr_t)bytes.p;
    any.value.len = bytes.n;
    return any;
}

static Envoy__Config__Core__V3__Node node_of(void) {
    Envoy__Config__Core__V3__Node node = ENVOY__CONFIG__CORE__V3__NODE__INIT;
    node.id = text("gateway-1");
    return node;
}

static void test_request_of_the_world(void **state) {
    (void)state;
    struct arena arena;
    ProtobufCMessage *message;
    Envoy__Config__Core__V3__Node node = node_of();
    struct str names[] = {STR("a"), STR("b")};
    struct xds_request r = {.type_url = STR(ENDPOINT_URL), .has_node = true, .response_nonce = STR("n"), .is_refusal = true,
                            .error = STR("a: no"), .version = STR("v"), .names = names, .name_count = 2};
    arena_init(&arena, NULL, 0, 0);
    struct str bytes = xds_encode_request(&arena, XDS_STATE_OF_THE_WORLD, &r, &node);
    assert_int_equal(xds_decode(&envoy__service__discovery__v3__discovery_request__descriptor, &arena, bytes, &message), 0);
    const Envoy__Service__Discovery__V3__DiscoveryRequest *m = (const void *)message;
    assert_string_equal(m->node->id, "gateway-1");
    assert_int_equal(m->node->n_client_features, 2);
    assert_string_equal(m->node->client_features[0], XDS_FEATURE_TTL);
    assert_string_equal(m->node->client_features[1], XDS_FEATURE_WRAPPED);
    assert_string_equal(m->type_url, ENDPOINT_URL);
    assert_string_equal(m->version_info, "v");
    assert_string_equal(m->response_nonce, "n");
    assert_int_equal(m->n_resource_names, 2);
    assert_string_equal(m->resource_names[1], "b");
    assert_int_equal(m->error_detail->code, 3);
    assert_string_equal(m->error_detail->message, "a: no");
    arena_finish(&arena);
}

static void test_request_of_delta(void **state) {
    (void)state;
    struct arena arena;
    ProtobufCMessage *message;
    struct str names[] = {STR("a"), STR("b"), STR("c")};
    struct xds_name_version held = {STR("a"), STR("7")};
    struct xds_request r = {.type_url = STR(ENDPOINT_URL), .names = names, .name_count = 2, .unsubscribe = names + 2,
                            .unsubscribe_count = 1, .initial_versions = &held, .initial_version_count = 1};
    arena_init(&arena, NULL, 0, 0);
    struct str bytes = xds_encode_request(&arena, XDS_DELTA, &r, NULL);
    int status = xds_decode(&envoy__service__discovery__v3__delta_discovery_request__descriptor, &arena, bytes, &message);
    assert_int_equal(status, 0);
    const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *m = (const void *)message;
    assert_null(m->node);
    assert_null(m->error_detail);
    assert_string_equal(m->response_nonce, "");
    assert_int_equal(m->n_resource_names_subscribe, 2);
    assert_int_equal(m->n_resource_names_unsubscribe, 1);
    assert_string_equal(m->resource_names_unsubscribe[0], "c");
    assert_int_equal(m->n_initial_resource_versions, 1);
    assert_string_equal(m->initial_resource_versions[0]->key, "a");
    assert_string_equal(m->initial_resource_versions[0]->value, "7");
    arena_finish(&arena);
}

/* Bare, wrapped, a heartbeat, and a wrapper that is none. */
static void test_response_of_the_world(void **state) {
    (void)state;
    struct arena arena;
    struct xds_response r;
    arena_init(&arena, NULL, 0, 0);
    Google__Protobuf__Any bare = any_of(ENDPOINT_URL, STR("\x0a\x03one\x10\x01")), inner = bare, anys[3];
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Envoy__Service__Discovery__V3__Resource wrapped = ENVOY__SERVICE__DISCOVERY__V3__RESOURCE__INIT, heartbeat = wrapped;
    ttl.seconds = 2;
    ttl.nanos = 500000000;
    wrapped.name = text("two");
    wrapped.version = text("v2");
    wrapped.resource = &inner;
    heartbeat.name = text("three");
    heartbeat.ttl = &ttl;
    anys[0] = any_of(WRAPPER, packed(&arena, &wrapped.base));
    anys[1] = any_of(WRAPPER, packed(&arena, &heartbeat.base));
    anys[2] = any_of(WRAPPER, STR("\xff\xff"));
    Google__Protobuf__Any *all[] = {&bare, &anys[0], &anys[1], &anys[2]};
    Envoy__Service__Discovery__V3__DiscoveryResponse m = ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_RESPONSE__INIT;
    m.type_url = text(ENDPOINT_URL);
    m.version_info = text("v");
    m.nonce = text("n");
    m.resources = all;
    m.n_resources = 4;
    assert_int_equal(xds_decode_response(&arena, XDS_STATE_OF_THE_WORLD, packed(&arena, &m.base), &r), 0);
    assert_str(r.type_url, ENDPOINT_URL);
    assert_str(r.version, "v");
    assert_str(r.nonce, "n");
    assert_int_equal(r.resource_count, 4);
    assert_str(r.resources[0].name, "one");
    assert_str(r.resources[0].type_url, ENDPOINT_URL);
    assert_str(r.resources[0].bytes, "\x0a\x03one\x10\x01");
    assert_str(r.resources[1].name, "two");
    assert_str(r.resources[1].version, "v2");
    assert_str(r.resources[1].bytes, "\x0a\x03one\x10\x01");
    assert_str(r.resources[2].name, "three");
    assert_false(r.resources[2].has_body);
    assert_true(r.resources[2].has_ttl && r.resources[2].ttl == 2500000);
    assert_int_equal(r.resources[3].name.n, 0);
    arena_finish(&arena);
}

static void test_response_of_delta(void **state) {
    (void)state;
    struct arena arena;
    struct xds_response r;
    arena_init(&arena, NULL, 0, 0);
    Envoy__Service__Discovery__V3__ResourceName name = ENVOY__SERVICE__DISCOVERY__V3__RESOURCE_NAME__INIT;
    Envoy__Service__Discovery__V3__ResourceName *names[] = {&name};
    Envoy__Service__Discovery__V3__ResourceError error = ENVOY__SERVICE__DISCOVERY__V3__RESOURCE_ERROR__INIT;
    Envoy__Service__Discovery__V3__ResourceError *errors[] = {&error};
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    char *removed[] = {text("gone")};
    Envoy__Service__Discovery__V3__DeltaDiscoveryResponse m = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;
    name.name = text("denied");
    status.code = 7;
    status.message = text("not yours");
    error.resource_name = &name;
    error.error_detail = &status;
    m.resource_errors = errors;
    m.n_resource_errors = 1;
    m.removed_resources = removed;
    m.n_removed_resources = 1;
    m.removed_resource_names = names;
    m.n_removed_resource_names = 1;
    assert_int_equal(xds_decode_response(&arena, XDS_DELTA, packed(&arena, &m.base), &r), 0);
    assert_true(has_names(r.removed, r.removed_count, "gone denied"));
    assert_int_equal(r.error_count, 1);
    assert_str(r.errors[0].name, "denied");
    assert_int_equal(r.errors[0].code, 7);
    assert_str(r.errors[0].message, "not yours");
    assert_true(xds_decode_response(&arena, XDS_DELTA, STR("\xff\xff"), &r) != 0);
    assert_int_equal(r.error_count, 1);
    arena_finish(&arena);
}

/* Names whose length is a lie, or is not there, are no names. */
static void test_names_that_cannot_be_read(void **state) {
    (void)state;
    static const char *const bodies[] = {"", "\x0a", "\x0a\x05one", "\x12\x03one", "\x0a\xff\xff\xff\xff\xff", "\x0a\xff"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct arena arena;
        struct xds_response r;
        arena_init(&arena, NULL, 0, 0);
        Google__Protobuf__Any any = any_of(ENDPOINT_URL, str_of(bodies[i])), *all[] = {&any};
        Envoy__Service__Discovery__V3__DiscoveryResponse m = ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_RESPONSE__INIT;
        m.resources = all;
        m.n_resources = 1;
        assert_int_equal(xds_decode_response(&arena, XDS_STATE_OF_THE_WORLD, packed(&arena, &m.base), &r), 0);
        assert_int_equal(r.resource_count, 1);
        assert_int_equal(r.resources[0].name.n, 0);
        arena_finish(&arena);
    }
}

static void test_without_memory(void **state) {
    (void)state;
    struct str names[] = {STR("a"), STR("b")};
    struct xds_request r = {.type_url = STR(ENDPOINT_URL), .has_node = true, .is_refusal = true, .error = STR("a: no"),
                            .names = names, .name_count = 2};
    for (int form = 0; form < 2; form++)
        for (size_t limit = 0; limit < 4000; limit += 16) {
            struct arena arena;
            Envoy__Config__Core__V3__Node node = node_of();
            arena_init(&arena, NULL, 0, limit ? limit : 1);
            struct str bytes = xds_encode_request(&arena, (enum xds_form)form, &r, &node);
            assert_true(bytes.p == NULL || bytes.n > 60);
            arena_finish(&arena);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_of_the_world),
        cmocka_unit_test(test_request_of_delta),
        cmocka_unit_test(test_response_of_the_world),
        cmocka_unit_test(test_response_of_delta),
        cmocka_unit_test(test_names_that_cannot_be_read),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
