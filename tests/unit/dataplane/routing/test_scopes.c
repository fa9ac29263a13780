/* Which scope a request belongs to. */
#include "tests/unit/common/cmocka_all.h"

#include <stdio.h>

#include "common/alloc.h"
#include "dataplane/routing/scopes.h"

enum { SCOPES = 1000, PARTS_MAX = 9 };

/* Scopes of one part of a key or two, and a request. */
struct scoped {
    Headgate__ScopedRoutes routes;
    Headgate__ScopeKeyPart parts[PARTS_MAX], *part_list[PARTS_MAX];
    Headgate__RouteScope   scopes[SCOPES], *scope_list[SCOPES];
    char                  *keys[SCOPES][2];
    struct arena           arena;
    struct error_list      errors;
    struct scope_table    *table;
    struct field           fields_of[4];
    struct fields          fields;
    struct route_request   request;
};

static struct scoped *make(void) {
    struct scoped *s = test_calloc(1, sizeof *s);
    headgate__scoped_routes__init(&s->routes);
    s->routes.key = s->part_list;
    s->routes.scopes = s->scope_list;
    s->fields.v = s->fields_of;
    s->fields.capacity = 4;
    s->request.fields = &s->fields;
    s->request.authority = STR("a.example:80");
    return s;
}

static void finish(struct scoped *s) {
    arena_finish(&s->arena);
    error_list_finish(&s->errors);
    test_free(s);
}

static Headgate__ScopeKeyPart *add_part(struct scoped *s, const char *header) {
    Headgate__ScopeKeyPart *p = &s->parts[s->routes.n_key];
    headgate__scope_key_part__init(p);
    p->header = (char *)(uintptr_t)header;
    s->part_list[s->routes.n_key++] = p;
    return p;
}

static void add_scope(struct scoped *s, const char *key, const char *second) {
    size_t i = s->routes.n_scopes++;
    headgate__route_scope__init(&s->scopes[i]);
    s->scope_list[i] = &s->scopes[i];
    s->keys[i][0] = (char *)(uintptr_t)key;
    s->keys[i][1] = (char *)(uintptr_t)second;
    s->scopes[i].key = s->keys[i];
    s->scopes[i].n_key = second ? 2 : 1;
}

static void build(struct scoped *s) {
    s->table = scope_table_build(&s->routes, "l", &s->arena, &s->errors);
    assert_non_null(s->table);
}

static void set_field(struct scoped *s, size_t i, const char *name, const char *value) {
    s->fields_of[i] = (struct field){.name = name, .value = value, .name_len = (uint16_t)strlen(name),
                                     .value_len = (uint32_t)strlen(value), .id = FIELD_OTHER};
    s->fields.count = i + 1 > s->fields.count ? (uint32_t)i + 1 : s->fields.count;
}

static int32_t find(struct scoped *s, const char *value) {
    set_field(s, 0, "x", value);
    return scope_table_find(s->table, &s->request);
}

static void whole_values(void **state) {
    struct scoped *s = make();
    (void)state;
    add_part(s, "x");
    add_scope(s, "one", NULL);
    add_scope(s, "a=b, c", NULL);
    add_scope(s, "", NULL);
    build(s);
    assert_int_equal(scope_table_find(s->table, &s->request), SCOPE_NONE);  /* there is no such field */
    assert_int_equal(find(s, "one"), 0);
    assert_int_equal(find(s, "a=b, c"), 1);
    assert_int_equal(find(s, ""), 2);
    assert_int_equal(find(s, "On"), SCOPE_NONE);
    assert_int_equal(find(s, "ONE"), SCOPE_NONE);
    set_field(s, 1, "x", "one"); /* the first counts */
    assert_int_equal(find(s, ""), 2);
    finish(s);
}

static void elements_by_number(void **state) {
    struct scoped *s = make();
    (void)state;
    Headgate__ScopeKeyPart *part = add_part(s, "x");
    part->separator = (char *)(uintptr_t)"::";
    part->has_index = true;
    part->index = 2;
    add_scope(s, "c", NULL);
    add_scope(s, "", NULL);
    build(s);
    assert_int_equal(find(s, "a::b::c"), 0);
    assert_int_equal(find(s, "::::c::d"), 0);
    assert_int_equal(find(s, "a::b::"), 1);
    assert_int_equal(find(s, "a::b:c"), SCOPE_NONE);
    assert_int_equal(find(s, ""), SCOPE_NONE);
    finish(s);
}

static void elements_by_name(void **state) {
    struct scoped *s = make();
    (void)state;
    Headgate__ScopeKeyPart *part = add_part(s, "x");
    part->separator = (char *)(uintptr_t)",";
    part->element = (char *)(uintptr_t)"vip";
    add_scope(s, "10.0.0.1", NULL);
    add_scope(s, "a=b", NULL);
    add_scope(s, "", NULL);
    build(s);
    assert_int_equal(find(s, "vip=10.0.0.1"), 0);
    assert_int_equal(find(s, "vipx=1,vip=10.0.0.1,vip=2"), 0);
    assert_int_equal(find(s, "z,vip=a=b"), 1);
    assert_int_equal(find(s, "vip"), 2);
    assert_int_equal(find(s, "vip="), 2);
    assert_int_equal(find(s, "vi=1"), SCOPE_NONE);
    assert_int_equal(find(s, " vip=10.0.0.1"), SCOPE_NONE);
    finish(s);
}

static void several_parts_and_the_host(void **state) {
    struct scoped *s = make();
    (void)state;
    add_part(s, "host");
    add_part(s, "x");
    add_scope(s, "A.example:80", "1");
    add_scope(s, "a.example:80", "2");
    add_scope(s, "1", "a.example:80");
    build(s);
    assert_int_equal(find(s, "1"), 0);
    assert_int_equal(find(s, "2"), 1);
    assert_int_equal(find(s, "a.example:80"), SCOPE_NONE);
    s->request.authority = STR("");
    assert_int_equal(find(s, "1"), SCOPE_NONE);
    finish(s);
}

static void many(void **state) {
    struct scoped *s = make();
    static char texts[SCOPES][16];
    (void)state;
    add_part(s, "x");
    for (size_t i = 0; i < SCOPES; i++) {
        snprintf(texts[i], sizeof texts[i], "%zu", i * 7);
        add_scope(s, texts[i], NULL);
    }
    build(s);
    for (size_t i = 0; i < SCOPES * 7; i++) {
        char text[16];
        snprintf(text, sizeof text, "%zu", i);
        assert_int_equal(find(s, text), i % 7 ? SCOPE_NONE : (int)(i / 7));
    }
    finish(s);
}

static void refused(struct scoped *s, const char *path) {
    assert_null(scope_table_build(&s->routes, "l", &s->arena, &s->errors));
    assert_string_equal(s->errors.items[0].resource, "listener/l");
    assert_string_equal(s->errors.items[0].path, path);
    finish(s);
}

static void what_cannot_be(void **state) {
    struct scoped *s = make();
    (void)state;
    refused(s, "scoped_routes.key[0].header");
    s = make();
    for (size_t i = 0; i < PARTS_MAX; i++)
        add_part(s, "x");
    refused(s, "scoped_routes.key[0].header");
    s = make();
    add_part(s, "");
    refused(s, "scoped_routes.key[0].header");
    s = make();
    add_part(s, "x");
    add_part(s, "y")->index = 1;
    refused(s, "scoped_routes.key[1].index");
    s = make();
    add_part(s, "x")->assignment = (char *)(uintptr_t)"";
    refused(s, "scoped_routes.key[0].assignment");
    s = make();
    add_part(s, "host");
    add_scope(s, "a", NULL);
    add_scope(s, "A", NULL);
    refused(s, "scoped_routes.scopes[1].key");
    s = make();
    add_part(s, "x");
    add_scope(s, "a", "b");
    refused(s, "scoped_routes.scopes[0].key");
}

static void allocations_may_fail(void **state) {
    (void)state;
    for (long nth = 0;; nth++) {
        struct scoped *s = make();
        add_part(s, "x");
        add_scope(s, "a", NULL);
        hg_alloc_fail_at(nth, 0);
        s->table = scope_table_build(&s->routes, "l", &s->arena, &s->errors);
        hg_alloc_fail_at(-1, 0);
        bool is_built = s->table != NULL;
        assert_true(is_built == error_list_is_empty(&s->errors));
        finish(s);
        if (is_built)
            return;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_values), cmocka_unit_test(elements_by_number), cmocka_unit_test(elements_by_name),
        cmocka_unit_test(several_parts_and_the_host), cmocka_unit_test(many), cmocka_unit_test(what_cannot_be),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
