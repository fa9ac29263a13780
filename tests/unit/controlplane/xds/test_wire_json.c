/* Messages as JSON: what is written is read as the same message; polls and their answers. */
#include "common/alloc.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/json_write.h"
#include "controlplane/xds/wire_json.h"
#include "proto/envoy/config/cluster/v3/cluster.pb-c.h"
#include "proto/envoy/config/core/v3/grpc_service.pb-c.h"
#include "proto/envoy/service/discovery/v3/discovery.pb-c.h"
#include "proto/google/protobuf/duration.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"
#include "proto/google/protobuf/wrappers.pb-c.h"
#include "tests/unit/controlplane/xds/machine.h"

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

/* ---- writing ---- */

static void assert_writes(const ProtobufCMessageDescriptor *type, const char *text, const char *expected) {
    struct error_list errors = {0};
    struct strbuf out = {0};
    const ProtobufCMessage *m = xds_json_parse(type, "t", str_of(text), &arena, &errors);
    assert_non_null(m);
    assert_int_equal(xds_json_write(m, &out), 0);
    assert_string_equal(out.p, expected);
    strbuf_finish(&out);
}

#define CLUSTER (&envoy__config__cluster__v3__cluster__descriptor)
#define STRUCT (&google__protobuf__struct__descriptor)

static void fields(void **state) {
    (void)state;
    assert_writes(CLUSTER, "{}", "{}");
    assert_writes(CLUSTER, "{name: \"a\\\"b\", lbPolicy: MAGLEV, connectTimeout: 1.5s, maglevLbConfig: {tableSize: 65537}}",
                  "{\"name\":\"a\\\"b\",\"connect_timeout\":\"1.500s\",\"lb_policy\":\"MAGLEV\","
                  "\"maglev_lb_config\":{\"table_size\":\"65537\"}}");
    assert_writes(CLUSTER, "{type: 99, perConnectionBufferLimitBytes: 0, "
                  "circuitBreakers: {thresholds: [{}, {priority: HIGH}]}}",
                  "{\"type\":99,\"per_connection_buffer_limit_bytes\":0,"
                  "\"circuit_breakers\":{\"thresholds\":[{},{\"priority\":\"HIGH\"}]}}");
}

static void types_with_a_json_of_their_own(void **state) {
    (void)state;
    assert_writes(STRUCT, "{a: 1, b: [1.5, -1e100, \"1\", true, null, {}], c: {d: {}}}",
                  "{\"a\":1,\"b\":[1.5,-1e+100,\"1\",true,null,{}],\"c\":{\"d\":{}}}");
    assert_writes(STRUCT, "{x: 0.1, y: 123456789012345678, z: -0.0}", "{\"x\":0.1,\"y\":1.2345678901234568e+17,\"z\":-0}");
    assert_writes(&google__protobuf__duration__descriptor, "-0.000001s", "\"-0.000001s\"");
    assert_writes(&google__protobuf__duration__descriptor, "3.000000001s", "\"3.000000001s\"");
    assert_writes(&google__protobuf__timestamp__descriptor, "2026-01-31T10:00:00.25+02:00", "\"2026-01-31T08:00:00.250Z\"");
    assert_writes(&google__protobuf__int64_value__descriptor, "-9223372036854775808", "\"-9223372036854775808\"");
    assert_writes(&google__protobuf__uint64_value__descriptor, "18446744073709551615", "\"18446744073709551615\"");
    assert_writes(&google__protobuf__uint32_value__descriptor, "4294967295", "4294967295");
    assert_writes(&google__protobuf__double_value__descriptor, "NaN", "\"NaN\"");
    assert_writes(&google__protobuf__double_value__descriptor, "-Infinity", "\"-Infinity\"");
    assert_writes(&google__protobuf__float_value__descriptor, "3.4028235e38", "3.4028235e+38");
    assert_writes(&google__protobuf__bytes_value__descriptor, "\"aGVsbG8\"", "\"aGVsbG8=\"");
    assert_writes(&google__protobuf__bytes_value__descriptor, "\"__8\"", "\"//8=\"");
    assert_writes(&google__protobuf__string_value__descriptor, "\"\\u00e4\\n\"", "\"\xc3\xa4\\n\"");
}

static void any_messages(void **state) {
    (void)state;
    assert_writes(&google__protobuf__any__descriptor,
                  "{\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}",
                  "{\"@type\":\"type.googleapis.com/envoy.config.cluster.v3.Cluster\",\"name\":\"a\"}");
    assert_writes(&google__protobuf__any__descriptor,
                  "{\"@type\": type.googleapis.com/google.protobuf.Struct, value: {a: 1}}",
                  "{\"@type\":\"type.googleapis.com/google.protobuf.Struct\",\"value\":{\"a\":1}}");
}

static void maps(void **state) {
    (void)state;
    assert_writes(&envoy__config__core__v3__metadata__descriptor, "{filterMetadata: {envoy.lb: {a: b}, x: {}}}",
                  "{\"filter_metadata\":{\"envoy.lb\":{\"a\":\"b\"},\"x\":{}}}");
}

static void assert_cannot_be_written(const ProtobufCMessage *m) {
    struct strbuf out = {0};
    assert_int_equal(xds_json_write(m, &out), -1);
    strbuf_finish(&out);
}

static void what_has_no_json(void **state) {
    (void)state;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    Google__Protobuf__Value value = GOOGLE__PROTOBUF__VALUE__INIT;
    Google__Protobuf__Duration duration = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Protobuf__StringValue text = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    any.type_url = (char *)(uintptr_t)"type.googleapis.com/x.Y";
    assert_cannot_be_written(&any.base);
    assert_cannot_be_written(&value.base);
    value.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
    value.number_value = 1 / (value.number_value + 0.0);
    assert_cannot_be_written(&value.base);
    duration.seconds = 1;
    duration.nanos = -1;
    assert_cannot_be_written(&duration.base);
    text.value = (char *)(uintptr_t)"\xff";
    assert_cannot_be_written(&text.base);
}

/* ---- polls ---- */

static void a_poll(void **state) {
    (void)state;
    struct error_list errors = {0};
    struct strbuf out = {0};
    const struct str names[] = {STR("a"), STR("b")};
    const struct xds_request request = {.type_url = STR(ENDPOINT_URL), .version = STR("7"), .names = names, .name_count = 2,
                                        .is_refusal = true, .error = STR("a: \"no\"")};
    const ProtobufCMessage *node = xds_json_parse(
        &envoy__config__core__v3__node__descriptor, "t",
        STR("{id: gw, cluster: edge, metadata: {a: [1, {b: true}]}, locality: {zone: z}, userAgentName: headgate}"), &arena,
        &errors);
    assert_non_null(node);
    assert_int_equal(xds_write_poll(&request, (const Envoy__Config__Core__V3__Node *)node, &out), 0);
    assert_string_equal(out.p, "{\"version_info\":\"7\",\"node\":{\"id\":\"gw\",\"cluster\":\"edge\","
                               "\"metadata\":{\"a\":[1,{\"b\":true}]},\"locality\":{\"zone\":\"z\"},"
                               "\"user_agent_name\":\"headgate\",\"client_features\":[\"" XDS_FEATURE_WRAPPED "\"]},"
                               "\"resource_names\":[\"a\",\"b\"],\"type_url\":\"" ENDPOINT_URL "\","
                               "\"error_detail\":{\"code\":3,\"message\":\"a: \\\"no\\\"\"}}");
    strbuf_finish(&out);
}

static struct xds_response read_answer(const char *text) {
    struct error_list errors = {0};
    struct xds_response response = {0};
    int status = xds_read_poll(&arena, str_of(text), &response, &errors);
    if (status)
        fail_msg("%s", errors.items[0].message);
    return response;
}

#define ANY_OF(type, more) "{\"@type\": \"type.googleapis.com/envoy." type "\", " more "}"

static void an_answer(void **state) {
    (void)state;
    struct xds_response r = read_answer(
        "{\"versionInfo\": \"3\", \"nonce\": \"n\", \"typeUrl\": \"" ENDPOINT_URL "\", \"canary\": true, \"newer\": {},\n"
        " \"resources\": [" ANY_OF("config.endpoint.v3.ClusterLoadAssignment", "\"cluster_name\": \"a\"") ",\n"
        ANY_OF("service.discovery.v3.Resource", "\"name\": \"b\", \"version\": \"9\", \"ttl\": \"5s\", \"resource\": "
               ANY_OF("config.endpoint.v3.ClusterLoadAssignment", "\"clusterName\": \"b\"")) "],\n"
        " \"resource_errors\": [{\"resource_name\": {\"name\": \"c\"}, "
        "\"error_detail\": {\"code\": 5, \"message\": \"no\"}}]}");
    assert_str(r.version, "3");
    assert_str(r.nonce, "n");
    assert_str(r.type_url, ENDPOINT_URL);
    assert_int_equal(r.resource_count, 2);
    assert_str(r.resources[0].name, "a");
    assert_str(r.resources[0].type_url, ENDPOINT_URL);
    assert_str(r.resources[0].bytes, "\n\1a");
    assert_true(r.resources[0].has_body);
    assert_str(r.resources[1].name, "b");
    assert_str(r.resources[1].version, "9");
    assert_str(r.resources[1].bytes, "\n\1b");
    assert_false(r.resources[1].has_ttl);
    assert_int_equal(r.error_count, 1);
    assert_str(r.errors[0].name, "c");
    assert_int_equal(r.errors[0].code, 5);
}

static void answers_without_resources(void **state) {
    static const char *const texts[] = {"{}", "{\"resources\": null}", "{\"resources\": [], \"version_info\": \"\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(read_answer(texts[i]).resource_count, 0);
}

static void a_resource_that_cannot_be_read_is_one_with_a_fault(void **state) {
    (void)state;
    struct xds_response r = read_answer(
        "{\"resources\": ["
        ANY_OF("config.cluster.v3.Cluster", "\"name\": \"a\", \"connect_timeout\": 5, \"newer\": 1") ",\n"
        ANY_OF("config.cluster.v3.Cluster", "\"name\": \"b\"") ",\n"
        ANY_OF("service.discovery.v3.Resource", "\"resource\": "
               ANY_OF("config.endpoint.v3.ClusterLoadAssignment", "\"clusterName\": \"c\", \"endpoints\": 1")) ",\n"
        "{\"name\": \"d\"}, {\"@type\": \"type.googleapis.com/x.Y\", \"name\": \"e\"}, 7]}");
    assert_int_equal(r.resource_count, 6);
    assert_str(r.resources[0].name, "a");
    assert_str(r.resources[0].fault, "connect_timeout: cannot be \"5\"; expected a duration such as 1.5s; "
                                     "newer: is no field of envoy.config.cluster.v3.Cluster");
    assert_str(r.resources[1].fault, "");
    assert_str(r.resources[2].name, "c");
    assert_true(r.resources[2].fault.n > 0);
    assert_str(r.resources[3].name, "d");
    assert_true(r.resources[3].fault.n > 0);
    assert_str(r.resources[4].name, "e");
    assert_str(r.resources[5].name, "");
    assert_true(r.resources[5].fault.n > 0);
}

/* As over gRPC, where nobody looks into an Any before its field is read. A NUL would make it an Any of another type. */
static void types_within_a_resource_may_be_unknown(void **state) {
    (void)state;
#define MARKED(type) ANY_OF("config.cluster.v3.Cluster", "\"name\": \"a\", \"metadata\": {\"typed_filter_metadata\": " \
                            "{\"f\": {\"@type\": \"" type "\", \"more\": [1]}}}")
    struct xds_response r = read_answer("{\"resources\": [" MARKED("t/x.Y") ", "
                                        MARKED("t/envoy.config.cluster.v3.Cluster\\u0000") "]}");
    assert_str(r.resources[0].fault, "");
    assert_str(r.resources[0].bytes, "\n\1a\xca\1\x0e\x12\x0c\n\1f\x12\7\n\5t/x.Y");
    assert_str(r.resources[1].name, "a");
    assert_str(r.resources[1].fault, "metadata.typed_filter_metadata[\"f\"].@type: has a NUL character");
}

static void answers_that_are_none(void **state) {
    static const char *const texts[] = {
        "", "null", "[]", "\"a\"", "{", "{\"resources\": {}}", "{\"resources\": 1}", "{\"version_info\": 1}",
        "{\"version_info\": \"\xff\"}", "{\"version_info\": NaN}", "version_info: a", "{\"nonce\": [\"a\"]}",
        "{\"resources\": []} x", "{\"nonce\": \"a\\u0000b\"}", "{\"resource_errors\": 7}"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct error_list errors = {0};
        struct xds_response response;
        if (xds_read_poll(&arena, str_of(texts[i]), &response, &errors) == 0)
            fail_msg("%s was read", texts[i]);
        assert_false(error_list_is_empty(&errors));
        error_list_finish(&errors);
    }
}

/* Deeper than messages may be nested, and than anything may be. */
static void a_nested_answer_ends(void **state) {
    (void)state;
    for (int depth = 60; depth <= 100000; depth *= 40) {
        struct strbuf text = {0};
        struct error_list errors = {0};
        struct xds_response response;
        strbuf_puts(&text, "{\"resources\": [{\"@type\": \"type.googleapis.com/google.protobuf.Struct\", \"name\": \"a\", "
                           "\"value\": {\"a\": ");
        for (int i = 0; i < depth; i++)
            strbuf_puts(&text, "[");
        for (int i = 0; i < depth; i++)
            strbuf_puts(&text, "]");
        strbuf_puts(&text, "}}]}");
        int status = xds_read_poll(&arena, strbuf_str(&text), &response, &errors);
        assert_int_equal(status, depth == 60 ? 0 : -1);
        if (status == 0)
            assert_true(response.resources[0].fault.n > 0);
        strbuf_finish(&text);
        error_list_finish(&errors);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    const char *text = "{\"version_info\": \"1\", \"resources\": ["
        ANY_OF("config.cluster.v3.Cluster", "\"name\": \"a\", \"newer\": 1") ", "
        ANY_OF("config.cluster.v3.Cluster", "\"name\": \"b\", \"connect_timeout\": \"5s\"") "]}";
    int status = -1;
    for (size_t limit = 64; status < 0; limit += 64) {
        struct arena small;
        struct error_list errors = {0};
        struct xds_response response;
        arena_init(&small, NULL, 0, limit);
        status = xds_read_poll(&small, str_of(text), &response, &errors);
        assert_int_equal(status == 0, error_list_is_empty(&errors));
        if (status == 0)
            assert_true(response.resources[0].fault.n > 0 && response.resources[1].has_body);
        error_list_finish(&errors);
        arena_finish(&small);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(fields), TEST(types_with_a_json_of_their_own), TEST(any_messages), TEST(maps), TEST(what_has_no_json),
        TEST(a_poll), TEST(an_answer), TEST(answers_without_resources),
        TEST(a_resource_that_cannot_be_read_is_one_with_a_fault), TEST(types_within_a_resource_may_be_unknown),
        TEST(answers_that_are_none), TEST(a_nested_answer_ends), TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
