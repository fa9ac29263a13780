#include "common/error.h"

#include <stdio.h>

#include "common/alloc.h"
#include "tests/unit/common/cmocka_all.h"

static void assert_formats(const struct error *e, const char *text, const char *json) {
    struct strbuf out = {0};
    error_format(e, &out);
    assert_string_equal(out.p, text);
    strbuf_reset(&out);
    error_format_json(e, &out);
    assert_string_equal(out.p, json);
    strbuf_finish(&out);
}

static void every_code_has_a_name_of_its_own(void **state) {
    (void)state;
    for (int a = ERROR_NONE; a <= ERROR_INTERNAL; a++) {
        assert_string_not_equal(error_code_name((enum error_code)a), "unknown");
        for (int b = ERROR_NONE; b < a; b++)
            assert_string_not_equal(error_code_name((enum error_code)a), error_code_name((enum error_code)b));
    }
    assert_string_equal(error_code_name((enum error_code)1000), "unknown");
}

static void formats(void **state) {
    (void)state;
    assert_formats(&(struct error){.code = ERROR_IO, .message = "no"}, "no",
                   "{\"code\":\"io\",\"message\":\"no\"}");
    assert_formats(
        &(struct error){.code = ERROR_UNKNOWN_KEY,
                        .message = "unknown key",
                        .file = "site.yaml",
                        .line = 12,
                        .column = 7,
                        .path = "hosts[0].rulez",
                        .expected = "one of rules, domains",
                        .nearest = "rules"},
        "site.yaml:12:7: hosts[0].rulez: unknown key; expected one of rules, domains; did you mean "
        "\"rules\"?",
        "{\"code\":\"unknown-key\",\"message\":\"unknown key\",\"file\":\"site.yaml\","
        "\"line\":12,\"column\":7,"
        "\"path\":\"hosts[0].rulez\",\"expected\":\"one of rules, domains\",\"nearest\":\"rules\"}");
    assert_formats(
        &(struct error){
            .code = ERROR_RANGE, .message = "m", .file = "f", .resource = "cluster/a", .path = ""},
        "f: cluster/a: m",
        "{\"code\":\"range\",\"message\":\"m\",\"file\":\"f\",\"resource\":\"cluster/a\",\"path\":\"\"}");
}

static void texts_are_the_lists_own(void **state) {
    (void)state;
    struct error_list list = {0};
    char text[] = "message";
    assert_true(error_list_is_empty(&list));
    struct error *e = error_list_add(&list, &(struct error){.code = ERROR_TYPE,
                                                            .message = text,
                                                            .file = text,
                                                            .resource = text,
                                                            .path = text,
                                                            .expected = text,
                                                            .nearest = text});
    memset(text, 'x', sizeof text - 1);
    assert_string_equal(e->message, "message");
    assert_string_equal(e->file, "message");
    assert_string_equal(e->resource, "message");
    assert_string_equal(e->path, "message");
    assert_string_equal(e->expected, "message");
    assert_string_equal(e->nearest, "message");
    assert_false(error_list_is_empty(&list));
    error_list_finish(&list);
    error_list_finish(NULL);
}

static void parts_are_set_later(void **state) {
    (void)state;
    struct error_list list = {0};
    struct error *e = error_addf(&list, ERROR_TYPE, "%s %d", "number", 7);
    error_set_place(&list, e, "f", 1, 2);
    error_set_resource(&list, e, "cluster/a", "p");
    error_set_expected(&list, e, "x", "y");
    assert_formats(
        e, "f:1:2: cluster/a: p: number 7; expected x; did you mean \"y\"?",
        "{\"code\":\"type\",\"message\":\"number 7\",\"file\":\"f\",\"line\":1,\"column\":2,\"resource\":"
        "\"cluster/a\",\"path\":\"p\",\"expected\":\"x\",\"nearest\":\"y\"}");
    error_set_place(&list, NULL, "f", 1, 2);
    error_set_resource(&list, NULL, "r", "p");
    error_set_expected(&list, NULL, "x", "y");
    error_list_finish(&list);
}

static void a_long_message_is_cut(void **state) {
    (void)state;
    struct error_list list = {0};
    struct error *e = error_addf(&list, ERROR_TYPE, "%5000d", 1);
    assert_int_equal(strlen(e->message), 1023);
    error_list_finish(&list);
}

static void the_list_is_bounded(void **state) {
    (void)state;
    struct error_list list = {0};
    for (int i = 0; i < ERROR_LIST_MAX; i++)
        assert_non_null(error_addf(&list, ERROR_TYPE, "%d", i));
    assert_null(error_addf(&list, ERROR_TYPE, "one more"));
    assert_int_equal(list.count, ERROR_LIST_MAX);
    assert_int_equal(list.dropped, 1);
    assert_string_equal(list.items[ERROR_LIST_MAX - 1].message, "999");
    error_list_finish(&list);
}

/* Adds up to `count` errors with the nth allocation and all later ones failing; says what the list looks like
 * then. */
static void add_without_memory(long nth, int count) {
    struct error_list list = {0};
    hg_alloc_fail_at(nth, 1);
    for (int i = 0; i < count; i++)
        error_set_resource(&list, error_addf(&list, ERROR_TYPE, "%d", i), "cluster/a", "p");
    hg_alloc_fail_at(-1, 0);
    assert_false(error_list_is_empty(&list));
    for (size_t i = 0; i < list.count; i++)
        assert_non_null(list.items[i].message);
    if (nth == 0)
        assert_int_equal(list.count, 0);
    else if (list.dropped)
        assert_int_equal(list.items[list.count - 1].code, ERROR_MEMORY);
    error_list_finish(&list);
}

static void running_out_of_memory_is_said(void **state) {
    (void)state;
    for (long nth = 0; nth < 12; nth++)
        add_without_memory(nth, 40);
    add_without_memory(0, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(formats),
        cmocka_unit_test(texts_are_the_lists_own),
        cmocka_unit_test(parts_are_set_later),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(the_list_is_bounded),
        cmocka_unit_test(running_out_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
