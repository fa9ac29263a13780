/* Any protobuf message as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

#include "controlplane/cli/json.h"
#include "proto/admin.pb-c.h"

static char *json_of(const void *message) {
    static struct strbuf text;
    strbuf_reset(&text);
    json_add_message(&text, message);
    cJSON *parsed = cJSON_Parse(text.p);
    assert_non_null(parsed);
    cJSON_Delete(parsed);
    return text.p;
}

static void empty_message(void **state) {
    Headgate__Problem p = HEADGATE__PROBLEM__INIT;
    (void)state;
    assert_string_equal(json_of(&p), "{}");
}

static void every_type(void **state) {
    uint8_t hash[] = {0x00, 0xff, 0x1a};
    char *nodes[] = {(char *)"a", (char *)"b\"\n"};
    Headgate__Version v = HEADGATE__VERSION__INIT;
    (void)state;
    v.has_version = v.has_hash = v.has_current = v.has_resources = true;
    v.version = UINT64_MAX;
    v.hash = (ProtobufCBinaryData){sizeof hash, hash};
    v.n_nodes = 2;
    v.nodes = nodes;
    v.current = true;
    v.resources = 7;
    assert_string_equal(
        json_of(&v), "{\"version\":18446744073709551615,\"hash\":\"00ff1a\",\"nodes\":[\"a\",\"b\\\"\\n\"],"
                     "\"current\":true,\"resources\":7}");
}

static void names_of_kinds_and_values(void **state) {
    Headgate__FieldChange f = HEADGATE__FIELD_CHANGE__INIT, *fields = &f;
    Headgate__Change c = HEADGATE__CHANGE__INIT, *changes = &c;
    Headgate__DiffReply d = HEADGATE__DIFF_REPLY__INIT;
    (void)state;
    f.path = (char *)"x[0]";
    c.has_kind = c.has_what = true;
    c.kind = HEADGATE__KIND__KIND_ROUTE_TABLE;
    c.what = HEADGATE__CHANGE__WHAT__CHANGED;
    c.n_fields = 1;
    c.fields = &fields;
    d.n_changes = 1;
    d.changes = &changes;
    assert_string_equal(
        json_of(&d),
        "{\"changes\":[{\"kind\":\"route-table\",\"what\":\"changed\",\"fields\":[{\"path\":\"x[0]\"}]}],"
        "\"problems\":[]}");
}

static void one_of_several(void **state) {
    Headgate__PushRequest r = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__Rollback back = HEADGATE__ROLLBACK__INIT;
    (void)state;
    back.has_version = true;
    back.version = 3;
    r.change_case = HEADGATE__PUSH_REQUEST__CHANGE_ROLLBACK;
    r.rollback = &back;
    assert_string_equal(json_of(&r), "{\"rollback\":{\"version\":3}}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_message),
        cmocka_unit_test(every_type),
        cmocka_unit_test(names_of_kinds_and_values),
        cmocka_unit_test(one_of_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
