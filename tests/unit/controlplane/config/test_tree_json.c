/* JSON by the letter: what is read, and every fault with its place. */
#include "tests/unit/common/cmocka_all.h"

#include "common/alloc.h"
#include "controlplane/config/tree/tree.h"

static struct tree_node *read_text(struct arena *arena, struct str text, struct error_list *errors) {
    struct tree_budget budget = {1000, 0};
    return tree_read_json(arena, "f", text, &budget, errors);
}

/* The text as a tree writes it, without its line end. */
static void assert_reads(const char *text, const char *written) {
    struct arena arena = {0};
    struct error_list errors = {0};
    struct strbuf out = {0};
    const struct tree_node *node = read_text(&arena, str_of(text), &errors);
    assert_non_null(node);
    assert_true(error_list_is_empty(&errors));
    tree_write_flow(node, &out);
    assert_string_equal(out.p, written);
    strbuf_finish(&out);
    arena_finish(&arena);
}

static void assert_fault(struct str text, const char *expected) {
    struct arena arena = {0};
    struct error_list errors = {0};
    struct strbuf all = {0};
    assert_null(read_text(&arena, text, &errors));
    assert_int_equal(errors.count, 1);
    error_format(&errors.items[0], &all);
    assert_string_equal(all.p, expected);
    strbuf_finish(&all);
    error_list_finish(&errors);
    arena_finish(&arena);
}

#define FAULT(text, expected) assert_fault(STR(text), expected)

static void values(void **state) {
    (void)state;
    assert_reads(" { } ", "{}");
    assert_reads("[\n]\t", "[]");
    assert_reads("{\"a\":1,\"b\":[true,false,null,-0.5e+3,0],\"c\":{\"\":\"x\"}}",
                 "{a: 1, b: [true, false, null, -0.5e+3, 0], c: {\"\": x}}");
    assert_reads("[\"1\", 1, \"true\", \"null\", null]", "[\"1\", 1, \"true\", \"null\", null]");
}

static void texts(void **state) {
    (void)state;
    struct arena arena = {0};
    struct error_list errors = {0};
    const struct tree_node *node = read_text(
        &arena, STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u0041\\u00e4\\u20ac\\ud83d\\ude00\\u0000 \xc3\xa4\""), &errors);
    struct str expected = STR("\"\\/\b\f\n\r\t A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\0 \xc3\xa4");
    assert_non_null(node);
    assert_true(node->is_quoted && str_eq(node->text, expected));
    arena_finish(&arena);
}

static void places_are_those_of_characters(void **state) {
    (void)state;
    struct arena arena = {0};
    struct error_list errors = {0};
    const struct tree_node *node = read_text(&arena, STR("{\n \"\xc3\xa4\": 1, \"b\": [\n  2]}"), &errors);
    assert_non_null(node);
    const struct tree_item *second = node->first->next;
    assert_int_equal(node->first->node->place.line, 2);
    assert_int_equal(node->first->node->place.column, 7);
    assert_int_equal(second->key_place.column, 10);
    assert_int_equal(second->node->first->node->place.line, 3);
    assert_int_equal(second->node->first->node->place.column, 3);
    arena_finish(&arena);
}

static void faults(void **state) {
    (void)state;
    FAULT("", "f:1:1: the text ends where a value is expected");
    FAULT("{\"a\": 1", "f:1:8: expected \",\" or \"}\"");
    FAULT("{\"a\" 1}", "f:1:6: expected \":\"");
    FAULT("{a: 1}", "f:1:2: expected a key in quotes");
    FAULT("{\"a\": 1,}", "f:1:9: expected a key in quotes");
    FAULT("{\"a\": 1, \"a\": 2}", "f:1:13: the key before this place stands there twice");
    FAULT("[1,]", "f:1:4: not a value of JSON");
    FAULT("[1 2]", "f:1:4: expected \",\" or \"]\"");
    FAULT("[] []", "f:1:4: more than one value");
    FAULT("[\n1,\n# no\n2]", "f:3:1: not a value of JSON");
    FAULT("[&a 1, *a]", "f:1:2: not a value of JSON");
    FAULT("'a'", "f:1:1: not a value of JSON");
    FAULT("\"a", "f:1:2: a text without an end");
    FAULT("\"a\\\"", "f:1:2: a text without an end");
    FAULT("\"\\x\"", "f:1:4: not an escape of JSON");
    FAULT("\"\\ud83d\"", "f:1:8: not an escape of JSON");
    FAULT("\"\\ude00\\ud83d\"", "f:1:8: not an escape of JSON");
    FAULT("\"\\u12g4\"", "f:1:4: not an escape of JSON");
    FAULT("\"a\nb\"", "f:1:3: a control character");
    FAULT("\"\xc3(\"", "f:1:2: not UTF-8");
    FAULT("[\"a\", \"\xed\xa0\x80\"]", "f:1:8: not UTF-8");
    FAULT("\0", "f:1:1: not a value of JSON");
}

static void numbers(void **state) {
    static const char *const bad[] = {"01",  "-",    "+1",  ".5",       "1.",        "1e",
                                      "1e+", "0x10", "NaN", "Infinity", "-Infinity", "1_0"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct arena arena = {0};
        struct error_list errors = {0};
        assert_null(read_text(&arena, str_of(bad[i]), &errors));
        error_list_finish(&errors);
        arena_finish(&arena);
    }
}

/* So many brackets, with a closing one for each. */
static bool is_read_at_depth(size_t depth) {
    struct arena arena = {0};
    struct error_list errors = {0};
    char text[1024];
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    bool is_read = read_text(&arena, (struct str){text, 2 * depth}, &errors);
    assert_int_equal(errors.count, is_read ? 0 : 1);
    error_list_finish(&errors);
    arena_finish(&arena);
    return is_read;
}

static void bounds(void **state) {
    (void)state;
    struct strbuf many = {0};
    assert_true(is_read_at_depth(TREE_JSON_DEPTH_MAX));
    assert_false(is_read_at_depth(TREE_JSON_DEPTH_MAX + 1));
    strbuf_puts(&many, "[0");
    for (int i = 0; i < 999; i++)
        strbuf_puts(&many, ",0");
    strbuf_putc(&many, ']');
    assert_fault(strbuf_str(&many), "f:1:2000: too many values in one text");
    strbuf_finish(&many);
}

/* From some number on, keys are found by a map. */
static void many_keys(void **state) {
    (void)state;
    struct strbuf text = {0};
    struct arena arena = {0};
    struct error_list errors = {0};
    strbuf_putc(&text, '{');
    for (int i = 0; i < 100; i++)
        strbuf_printf(&text, "\"k%d\": %d,", i, i);
    struct str without_end = strbuf_str(&text);
    strbuf_puts(&text, "\"k77\": 0}");
    assert_null(read_text(&arena, strbuf_str(&text), &errors));
    assert_non_null(strstr(errors.items[0].message, "twice"));
    error_list_finish(&errors);
    text.n = without_end.n;
    text.p[text.n - 1] = '}';
    const struct tree_node *node = read_text(&arena, strbuf_str(&text), &errors);
    assert_non_null(node);
    assert_int_equal(node->count, 100);
    strbuf_finish(&text);
    arena_finish(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values), cmocka_unit_test(texts), cmocka_unit_test(places_are_those_of_characters),
        cmocka_unit_test(faults), cmocka_unit_test(numbers), cmocka_unit_test(bounds), cmocka_unit_test(many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
