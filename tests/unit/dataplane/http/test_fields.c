/* Names and their ids, lists of fields, members of values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dataplane/http/fields.h"

static void every_known_name_is_found(void **state) {
    (void)state;
    size_t before = 0;
    for (unsigned id = FIELD_OTHER + 1; id < FIELD_ID_COUNT; id++) {
        struct str name = field_id_name(id);
        assert_true(field_name_is_valid(name));
        assert_int_equal(field_lookup(name.p, name.n), id);
        assert_true(name.n >= before); /* the lookup relies on it */
        before = name.n;
    }
}

static void near_misses_are_other(void **state) {
    (void)state;
    for (unsigned id = FIELD_OTHER + 1; id < FIELD_ID_COUNT; id++) {
        struct str name = field_id_name(id);
        char copy[64];
        memcpy(copy, name.p, name.n);
        for (size_t i = 0; i < name.n; i++) {
            copy[i] ^= 1;
            enum field_id found = field_lookup(copy, name.n);
            assert_true(found == FIELD_OTHER || str_eq(field_id_name(found), (struct str){copy, name.n}));
            copy[i] ^= 1;
        }
    }
    assert_int_equal(field_lookup("", 0), FIELD_OTHER);
    assert_int_equal(field_lookup("a-name-longer-than-all-known-ones", 33), FIELD_OTHER);
    assert_int_equal(field_id_name(FIELD_OTHER).n, 0);
    assert_false(field_id_has(FIELD_OTHER, ~0u));
}

static void flags_of_names(void **state) {
    (void)state;
    assert_true(field_id_has(FIELD_CONNECTION, FIELD_HOP_BY_HOP));
    assert_true(field_id_has(FIELD_TRANSFER_ENCODING, FIELD_BAD_TRAILER));
    assert_true(field_id_has(FIELD_HOST, FIELD_PINNED));
    assert_false(field_id_has(FIELD_TRAILER, FIELD_HOP_BY_HOP));
    assert_true(field_id_has(FIELD_SET_COOKIE, FIELD_NO_TRAILER));
}

static void names_and_values_are_checked(void **state) {
    (void)state;
    assert_true(field_name_is_valid(STR("x-a_b!")));
    assert_false(field_name_is_valid(STR("")));
    assert_false(field_name_is_valid(STR("X-A")));
    assert_false(field_name_is_valid(STR("a b")));
    assert_false(field_name_is_valid(STR("a:")));
    assert_false(field_name_is_valid(STR("a\0")));
    assert_true(field_value_is_valid(STR("")));
    assert_true(field_value_is_valid(STR("a\tb \xe9")));
    assert_false(field_value_is_valid(STR(" a")));
    assert_false(field_value_is_valid(STR("a\t")));
    assert_false(field_value_is_valid(STR("a\r\nb: c")));
    assert_false(field_value_is_valid(STR("a\0b")));
    assert_false(field_value_is_valid(STR("\x7f")));
}

static void check_fields(const struct fields *fields, const char *expected) {
    struct strbuf text = {0};
    strbuf_puts(&text, "");
    for (uint32_t i = 0; i < fields->count; i++)
        strbuf_printf(&text, "%.*s=%.*s;", STR_FMT(field_name(&fields->v[i])), STR_FMT(field_value(&fields->v[i])));
    assert_string_equal(text.p, expected);
    strbuf_finish(&text);
}

static void lists_change(void **state) {
    (void)state;
    struct arena arena;
    struct fields fields = {0}, more = {0};
    arena_init(&arena, NULL, 0, 0);
    assert_null(fields_find(&fields, FIELD_VIA));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fields_add_id(&fields, &arena, FIELD_VIA, STR("v")), 0);
        assert_int_equal(fields_add(&fields, &arena, STR("x-a"), STR("a")), 0);
        assert_int_equal(fields_add(&fields, &arena, STR("te"), STR("t")), 0);
    }
    assert_int_equal(fields.v[2].id, FIELD_TE);
    assert_ptr_equal(fields_next(&fields, fields_find(&fields, FIELD_VIA), FIELD_VIA), &fields.v[3]);
    assert_ptr_equal(fields_next_name(&fields, fields_find_name(&fields, STR("x-a")), STR("x-a")), &fields.v[4]);
    assert_null(fields_next(&fields, &fields.v[6], FIELD_VIA));
    assert_int_equal(fields_set_id(&fields, &arena, FIELD_VIA, STR("w")), 0);
    check_fields(&fields, "via=w;x-a=a;te=t;x-a=a;te=t;x-a=a;te=t;");
    assert_int_equal(fields_remove_name(&fields, STR("x-a")), 3);
    assert_int_equal(fields_set(&fields, &arena, STR("x-b"), STR("b")), 0);
    assert_int_equal(fields_remove(&fields, FIELD_TE), 3);
    assert_int_equal(fields_remove(&fields, FIELD_TE), 0);
    check_fields(&fields, "via=w;x-b=b;");
    assert_int_equal(fields_append(&more, &arena, &fields), 0);
    assert_int_equal(fields_append(&more, &arena, &fields), 0);
    assert_int_equal(fields_remove_ids(&more, FIELD_BIT(FIELD_VIA) | FIELD_BIT(FIELD_HOST)), 2);
    check_fields(&more, "x-b=b;x-b=b;");
    fields_remove_at(&more, 0);
    check_fields(&more, "x-b=b;");
    arena_finish(&arena);
}

static void grows_and_fails(void **state) {
    (void)state;
    struct arena arena;
    struct fields fields = {0};
    arena_init(&arena, NULL, 0, 17 * 24 * 3);
    unsigned added = 0;
    while (fields_add(&fields, &arena, STR("a"), STR("b")) == 0)
        added++;
    assert_int_equal(added, 32);
    assert_int_equal(fields.count, 32);
    assert_int_equal(fields_reserve(&fields, &arena, UINT32_MAX), -1);
    assert_int_equal(fields_append(&fields, &arena, &fields), -1);
    arena_finish(&arena);
}

static void members(void **state) {
    (void)state;
    struct str rest = STR(" a ,,b\t, c d,"), member;
    assert_true(field_list_next(&rest, &member));
    assert_true(str_eq(member, STR("a")));
    assert_true(field_list_next(&rest, &member));
    assert_true(str_eq(member, STR("b")));
    assert_true(field_list_next(&rest, &member));
    assert_true(str_eq(member, STR("c d")));
    assert_false(field_list_next(&rest, &member));
    rest = STR("");
    assert_false(field_list_next(&rest, &member));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_name_is_found),
        cmocka_unit_test(near_misses_are_other),
        cmocka_unit_test(flags_of_names),
        cmocka_unit_test(names_and_values_are_checked),
        cmocka_unit_test(lists_change),
        cmocka_unit_test(grows_and_fails),
        cmocka_unit_test(members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
