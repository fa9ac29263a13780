#include "proto/resource.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "tests/unit/common/cmocka_all.h"

/* ---- kinds and names ---- */

static void kinds_have_names_and_messages(void **state) {
    (void)state;
    size_t count;
    const Headgate__Kind *kinds = kind_all(&count);
    /* All that the schema has, except "unspecified", in order. */
    assert_int_equal(count + 1, headgate__kind__descriptor.n_values);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(kinds[i], headgate__kind__descriptor.values[i + 1].value);
        assert_non_null(kind_descriptor(kinds[i]));
        assert_int_equal(kind_from_name(str_of(kind_name(kinds[i]))), kinds[i]);
    }
    assert_null(kind_name(HEADGATE__KIND__KIND_UNSPECIFIED));
    assert_null(kind_name((Headgate__Kind)999));
    assert_null(kind_descriptor((Headgate__Kind)999));
    assert_int_equal(kind_from_name(STR("Listener")), HEADGATE__KIND__KIND_UNSPECIFIED);
    assert_int_equal(kind_from_name(STR("")), HEADGATE__KIND__KIND_UNSPECIFIED);
}

static void names_are_short_and_plain(void **state) {
    (void)state;
    static const char *const good[] = {"a", "default", "ns/name", "*.example.com", "A-Z_0.9:8080@x"};
    static const char *const bad[] = {"", " ", "a b", "a\n", "a\\b", "\xc3\xa4", "a%2f", "a?"};
    char longest[RESOURCE_NAME_MAX + 1];
    memset(longest, 'a', sizeof longest);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(resource_name_is_valid(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(resource_name_is_valid(str_of(bad[i])));
    assert_false(resource_name_is_valid((struct str){"a\0b", 3}));
    assert_true(resource_name_is_valid((struct str){longest, RESOURCE_NAME_MAX}));
    assert_false(resource_name_is_valid((struct str){longest, RESOURCE_NAME_MAX + 1}));
}

static void ids_are_sha256(void **state) {
    (void)state;
    struct resource_id id, other;
    char text[2 * RESOURCE_ID_SIZE + 1];
    assert_int_equal(resource_id_of("abc", 3, &id), 0); /* FIPS 180-2, appendix B.1 */
    resource_id_format(&id, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(resource_id_of(NULL, 0, &other), 0);
    resource_id_format(&other, text);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_false(resource_id_equal(&id, &other));
    assert_int_equal(resource_id_from_bytes(&(ProtobufCBinaryData){31, id.bytes}, &other), -1);
    assert_int_equal(resource_id_from_bytes(&(ProtobufCBinaryData){0, NULL}, &other), -1);
    assert_int_equal(resource_id_from_bytes(&(ProtobufCBinaryData){32, id.bytes}, &other), 0);
    assert_true(resource_id_equal(&id, &other));
}

/* ---- strict decoding ---- */

/* A route table with a rule of every action, in it a repeated message three levels down. */
static size_t pack_route_table(uint8_t *bytes) {
    Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    Headgate__Rule respond_rule = HEADGATE__RULE__INIT, forward_rule = HEADGATE__RULE__INIT;
    Headgate__Rule *rules[] = {&respond_rule, &forward_rule};
    Headgate__Respond respond = HEADGATE__RESPOND__INIT;
    Headgate__Forward forward = HEADGATE__FORWARD__INIT;
    Headgate__WeightedCluster cluster = HEADGATE__WEIGHTED_CLUSTER__INIT, *clusters[] = {&cluster};
    Headgate__Retry retry = HEADGATE__RETRY__INIT;
    Headgate__Retry__On on[] = {HEADGATE__RETRY__ON__RESET, HEADGATE__RETRY__ON__STATUS_503};
    char *domains[] = {"example.com"};
    table.n_hosts = 1;
    table.hosts = hosts;
    host.n_domains = 1;
    host.domains = domains;
    host.n_rules = 2;
    host.rules = rules;
    respond_rule.action_case = HEADGATE__RULE__ACTION_RESPOND;
    respond_rule.respond = &respond;
    forward_rule.action_case = HEADGATE__RULE__ACTION_FORWARD;
    forward_rule.forward = &forward;
    forward_rule.retry = &retry;
    forward.n_clusters = 1;
    forward.clusters = clusters;
    cluster.name = "web";
    retry.n_on = 2;
    retry.on = on;
    return protobuf_c_message_pack(&table.base, bytes);
}

static void what_is_encoded_is_decoded(void **state) {
    (void)state;
    uint8_t bytes[512], *again;
    size_t size = pack_route_table(bytes), again_size;
    struct error_list errors = {0};
    ProtobufCMessage *m = resource_decode(HEADGATE__KIND__KIND_ROUTE_TABLE, STR("site"), bytes, size,
                                          &errors);
    assert_non_null(m);
    assert_true(error_list_is_empty(&errors));
    const Headgate__RouteTable *table = (const Headgate__RouteTable *)m;
    assert_string_equal(table->hosts[0]->rules[1]->forward->clusters[0]->name, "web");
    assert_int_equal(table->hosts[0]->rules[0]->respond->status, 200);
    assert_int_equal(resource_encode(m, &again, &again_size), 0);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, bytes, size);
    hg_free(again);
    protobuf_c_message_free_unpacked(m, NULL);
}

static void nothing_is_a_message_too(void **state) {
    (void)state;
    size_t count, size;
    const Headgate__Kind *kinds = kind_all(&count);
    for (size_t i = 0; i < count; i++) {
        struct error_list errors = {0};
        uint8_t *bytes;
        ProtobufCMessage *m = resource_decode(kinds[i], STR("x"), NULL, 0, &errors);
        assert_non_null(m);
        assert_int_equal(resource_encode(m, &bytes, &size), 0);
        assert_int_equal(size, 0);
        assert_non_null(bytes);
        hg_free(bytes);
        protobuf_c_message_free_unpacked(m, NULL);
    }
}

static void expect_fault(Headgate__Kind kind, const char *name, const void *bytes, size_t size,
                         enum error_code code, const char *text) {
    struct error_list errors = {0};
    struct strbuf out = {0};
    assert_null(resource_decode(kind, str_of(name), bytes, size, &errors));
    assert_int_equal(errors.count, 1);
    assert_string_equal(error_code_name(errors.items[0].code), error_code_name(code));
    error_format(&errors.items[0], &out);
    assert_string_equal(out.p, text);
    strbuf_finish(&out);
    error_list_finish(&errors);
}

static void what_is_not_a_resource_is_named(void **state) {
    (void)state;
    const Headgate__Kind cluster = HEADGATE__KIND__KIND_CLUSTER;
    expect_fault((Headgate__Kind)77, "x", "", 0, ERROR_UNSUPPORTED, "kind 77: unknown kind of resource");
    expect_fault(HEADGATE__KIND__KIND_UNSPECIFIED, "x", "", 0, ERROR_UNSUPPORTED,
                 "kind 0: unknown kind of resource");
    expect_fault(cluster, "a b", "", 0, ERROR_SYNTAX, "cluster/a b: not a valid resource name");
    expect_fault(cluster, "", "", 0, ERROR_SYNTAX, "cluster/: not a valid resource name");
    expect_fault(cluster, "web", "\x08", 1, ERROR_SYNTAX,
                 "cluster/web: not a well-formed message of this kind");
    expect_fault(cluster, "web", "x", (size_t)RESOURCE_BYTES_MAX + 1, ERROR_RANGE,
                 "cluster/web: resource is too large");
    /* Field 1 (protocol), value 9. */
    expect_fault(cluster, "web", "\x08\x09", 2, ERROR_UNSUPPORTED,
                 "cluster/web: protocol: unknown value 9 of Protocol");
    /* Field 99, varint 1. */
    expect_fault(cluster, "web", "\x98\x06\x01", 3, ERROR_UNSUPPORTED,
                 "cluster/web: unknown field number 99 of Cluster");
}

static size_t put_nested(uint8_t *out, unsigned field, const void *inner, size_t size) {
    out[0] = (uint8_t)(field << 3 | 2);
    out[1] = (uint8_t)size;
    memcpy(out + 2, inner, size);
    return size + 2;
}

static void faults_deep_inside_have_a_path(void **state) {
    (void)state;
    static const char retry[] = "\x10\x01\x10\xe7\x07";
    uint8_t rule[32], host[64], table[128];
    /* retry.on (field 2) = 1 and 999; rule.retry is field 7; host.rules is 2; table.hosts is 1 */
    size_t n = put_nested(rule, 7, retry, 5);
    n = put_nested(host, 2, rule, n);
    n += put_nested(host + n, 2, "\xa0\x06\x01", 3); /* a second rule with field 100 */
    n = put_nested(table, 1, host, n);
    struct error_list errors = {0};
    assert_null(resource_decode(HEADGATE__KIND__KIND_ROUTE_TABLE, STR("site"), table, n, &errors));
    assert_int_equal(errors.count, 2);
    assert_string_equal(errors.items[0].path, "hosts[0].rules[0].retry.on[1]");
    assert_string_equal(errors.items[0].message, "unknown value 999 of On");
    assert_string_equal(errors.items[0].resource, "route-table/site");
    assert_string_equal(errors.items[1].path, "hosts[0].rules[1]");
    assert_string_equal(errors.items[1].message, "unknown field number 100 of Rule");
    error_list_finish(&errors);
}

static void paths_begin_where_the_caller_says(void **state) {
    (void)state;
    struct error_list errors = {0};
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    cluster.has_protocol = true;
    cluster.protocol = (Headgate__Cluster__Protocol)9;
    assert_int_equal(message_check_known(&cluster.base, "here", "bodies[3]", &errors), 1);
    assert_string_equal(errors.items[0].path, "bodies[3].protocol");
    assert_string_equal(errors.items[0].resource, "here");
    cluster.has_protocol = false;
    assert_int_equal(message_check_known(&cluster.base, NULL, NULL, &errors), 0);
    error_list_finish(&errors);
}

/* A schema that contains itself, which the project's own does not: the walk must end all the same. */
static ProtobufCFieldDescriptor endless_field;
static const ProtobufCMessageDescriptor endless = {
    .short_name = "Endless", .n_fields = 1, .fields = &endless_field, .sizeof_message = 64};
struct endless_message {
    ProtobufCMessage base;
    ProtobufCMessage *inner;
};

static void nesting_is_bounded(void **state) {
    (void)state;
    struct error_list errors = {0};
    struct endless_message m = {.base = {.descriptor = &endless}};
    m.inner = &m.base;
    endless_field = (ProtobufCFieldDescriptor){.name = "inner",
                                               .label = PROTOBUF_C_LABEL_OPTIONAL,
                                               .type = PROTOBUF_C_TYPE_MESSAGE,
                                               .offset = offsetof(struct endless_message, inner)};
    assert_int_equal(message_check_known(&m.base, "r", "", &errors), 1);
    assert_string_equal(errors.items[0].message, "nested too deeply");
    assert_int_equal(strlen(errors.items[0].path), 32 * 6 - 1);
    error_list_finish(&errors);
}

static void without_memory_it_says_so(void **state) {
    (void)state;
    uint8_t bytes[512];
    size_t size = pack_route_table(bytes);
    for (long nth = 0;; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 0);
        ProtobufCMessage *m = resource_decode(HEADGATE__KIND__KIND_ROUTE_TABLE, STR("site"), bytes, size,
                                              &errors);
        hg_alloc_fail_at(-1, 0);
        if (m) {
            assert_true(nth > 10);
            assert_true(error_list_is_empty(&errors));
            protobuf_c_message_free_unpacked(m, NULL);
            break;
        }
        assert_int_equal(errors.count, 1);
        assert_int_equal(errors.items[0].code, ERROR_MEMORY);
        assert_string_equal(errors.items[0].resource, "route-table/site");
        error_list_finish(&errors);
    }
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    uint8_t *packed;
    hg_alloc_fail_at(0, 0);
    assert_int_equal(resource_encode(&cluster.base, &packed, &size), -1);
}

/* A fault is a fault also when there is no memory to describe it. */
static void a_fault_without_memory_still_refuses(void **state) {
    (void)state;
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    cluster.has_protocol = true;
    cluster.protocol = (Headgate__Cluster__Protocol)9;
    for (long nth = 0; nth < 8; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 1);
        assert_int_equal(message_check_known(&cluster.base, "r", "", &errors), 1);
        hg_alloc_fail_at(-1, 0);
        assert_false(error_list_is_empty(&errors));
        error_list_finish(&errors);
    }
}

/* ---- manifests ---- */

struct entries {
    Headgate__Entry items[3];
    Headgate__Entry *pointers[3];
    struct resource_id ids[3];
};

static void fill_entries(struct entries *e) {
    static const struct {
        Headgate__Kind kind;
        const char *name;
    } known[] = {{HEADGATE__KIND__KIND_LISTENER, "web"},
                 {HEADGATE__KIND__KIND_CLUSTER, "api"},
                 {HEADGATE__KIND__KIND_CLUSTER, "web"}};
    for (size_t i = 0; i < 3; i++) {
        memset(&e->ids[i], (int)i + 1, sizeof e->ids[i]);
        e->items[i] = (Headgate__Entry)HEADGATE__ENTRY__INIT;
        e->items[i].kind = known[i].kind;
        e->items[i].name = (char *)known[i].name;
        e->items[i].id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, e->ids[i].bytes};
        e->pointers[i] = &e->items[i];
    }
}

static void manifests_are_ordered_by_kind_then_name(void **state) {
    (void)state;
    struct entries e;
    fill_entries(&e);
    assert_true(entry_compare(e.pointers[0], e.pointers[1]) < 0);
    assert_true(entry_compare(e.pointers[1], e.pointers[2]) < 0);
    assert_true(entry_compare(e.pointers[2], e.pointers[0]) > 0);
    assert_int_equal(entry_compare(e.pointers[1], e.pointers[1]), 0);
    e.items[1].name = NULL;
    assert_true(entry_compare(e.pointers[1], e.pointers[2]) < 0);
    e.items[1].name = "\x80";
    assert_true(entry_compare(e.pointers[1], e.pointers[2]) > 0);
}

static void the_hash_of_a_manifest_is_as_documented(void **state) {
    (void)state;
    struct entries e;
    struct resource_id found, expected;
    struct strbuf bytes = {0};
    fill_entries(&e);
    for (size_t i = 0; i < 3; i++) {
        uint8_t head[8] = {0, 0, 0, (uint8_t)e.items[i].kind, 0, 0, 0, 3};
        strbuf_add(&bytes, head, sizeof head);
        strbuf_puts(&bytes, e.items[i].name);
        strbuf_add(&bytes, e.ids[i].bytes, RESOURCE_ID_SIZE);
    }
    assert_int_equal(resource_id_of(bytes.p, bytes.n, &expected), 0);
    assert_int_equal(manifest_hash_matches(e.pointers, 3, &expected), 1); /* of schema levels up to 4 */
    struct resource_id group = expected;
    assert_int_equal(resource_id_of(group.bytes, sizeof group.bytes, &expected), 0);
    assert_int_equal(manifest_hash(e.pointers, 3, &found), 0);
    assert_true(resource_id_equal(&found, &expected));
    assert_int_equal(manifest_hash_matches(e.pointers, 3, &found), 1);
    assert_int_equal(manifest_hash_matches(e.pointers, 2, &found), 0);
    strbuf_finish(&bytes);
    assert_int_equal(manifest_hash(NULL, 0, &found), 0);
    assert_int_equal(resource_id_of(NULL, 0, &expected), 0);
    assert_true(resource_id_equal(&found, &expected));
}

/* Data planes and control planes of other releases must find the same, and so must who reads what they stored. */
static void the_hash_of_many_entries_stays_what_it_is(void **state) {
    (void)state;
    enum { COUNT = 300 };
    static Headgate__Entry entries[COUNT], *list[COUNT];
    static char names[COUNT][16];
    static uint8_t id[RESOURCE_ID_SIZE] = {1, 2, 3};
    struct resource_id found;
    char text[2 * RESOURCE_ID_SIZE + 1];
    size_t groups = 1;
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "cluster-%03zu", i);
        entries[i] = (Headgate__Entry)HEADGATE__ENTRY__INIT;
        entries[i].kind = HEADGATE__KIND__KIND_CLUSTER;
        entries[i].name = names[i];
        entries[i].id = (ProtobufCBinaryData){sizeof id, id};
        list[i] = &entries[i];
        groups += i && entry_begins_group(&(struct entry_key){HEADGATE__KIND__KIND_CLUSTER, names[i], id});
    }
    assert_int_equal(manifest_hash(list, COUNT, &found), 0);
    resource_id_format(&found, text);
    assert_string_equal(text, "c8231d430a4b2530138501dcc0d520e77c5c3f984ed5e6eb1a336076643a6588");
    assert_int_equal(groups, 10);
}

static void a_manifest_out_of_order_has_no_hash(void **state) {
    (void)state;
    struct entries e;
    struct resource_id found = {{7}}, before = found;
    fill_entries(&e);
    Headgate__Entry *swapped[] = {e.pointers[1], e.pointers[0], e.pointers[2]};
    Headgate__Entry *twice[] = {e.pointers[0], e.pointers[1], e.pointers[1]};
    assert_int_equal(manifest_hash(swapped, 3, &found), -1);
    assert_int_equal(manifest_hash(twice, 3, &found), -1);
    e.items[2].id.len = 31;
    assert_int_equal(manifest_hash(e.pointers, 3, &found), -1);
    e.items[2].id.len = 32;
    e.items[0].name = NULL;
    assert_int_equal(manifest_hash(e.pointers, 3, &found), -1);
    assert_true(resource_id_equal(&found, &before));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_have_names_and_messages),
        cmocka_unit_test(names_are_short_and_plain),
        cmocka_unit_test(ids_are_sha256),
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(nothing_is_a_message_too),
        cmocka_unit_test(what_is_not_a_resource_is_named),
        cmocka_unit_test(faults_deep_inside_have_a_path),
        cmocka_unit_test(paths_begin_where_the_caller_says),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(without_memory_it_says_so),
        cmocka_unit_test(a_fault_without_memory_still_refuses),
        cmocka_unit_test(manifests_are_ordered_by_kind_then_name),
        cmocka_unit_test(the_hash_of_a_manifest_is_as_documented),
        cmocka_unit_test(the_hash_of_many_entries_stays_what_it_is),
        cmocka_unit_test(a_manifest_out_of_order_has_no_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
