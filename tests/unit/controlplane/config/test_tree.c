/* The tree: positions, core-schema scalars, bounds, variables, writing and comparing. */
#include "support.h"

#include "controlplane/config/tree/tree.h"

struct reading {
    struct arena      arena;
    struct error_list errors;
    struct tree_node *root;
};

static const struct tree_variables variables = {test_variable, NULL};

static struct reading read_bytes(struct str text, const struct tree_variables *with)
{
    struct reading r = {0};
    struct tree_budget budget = {TREE_NODES_MAX, TREE_EXPANSION_MAX};
    arena_init(&r.arena, NULL, 0, 0);
    r.root = tree_read(&r.arena, "t", text, with, &budget, &r.errors);
    return r;
}

static struct reading read_tree(const char *text)
{
    return read_bytes(str_of(text), &variables);
}

static void reading_finish(struct reading *r)
{
    arena_finish(&r->arena);
    error_list_finish(&r->errors);
}

/* The value of a key at the top. */
static const struct tree_node *value(const struct reading *r, const char *key)
{
    const struct tree_item *item = r->root ? tree_find(r->root, key) : NULL;
    assert_non_null(item);
    return item->node;
}

static void assert_value(const struct reading *r, const char *key, const char *expected)
{
    const struct tree_node *node = value(r, key);
    assert_int_equal(node->type, TREE_SCALAR);
    assert_string_equal(node->text.p, expected);
    assert_int_equal(node->text.n, strlen(expected));
}

static void assert_refused(const char *text, const char *message, unsigned line, unsigned column)
{
    struct reading r = read_tree(text);
    assert_int_equal(r.errors.count, 1);
    assert_non_null(strstr(r.errors.items[0].message, message));
    assert_int_equal(r.errors.items[0].line, line);
    assert_int_equal(r.errors.items[0].column, column);
    reading_finish(&r);
}

static void places_count_characters(void **state)
{
    (void)state;
    struct reading r = read_tree("a: 1\n\xc3\xa9t\xc3\xa9:  {b: [x, yy]}\n");
    const struct tree_item *second = r.root->first->next;
    assert_int_equal(second->key_place.line, 2);
    assert_int_equal(second->key_place.column, 1);
    const struct tree_node *list = second->node->first->node;
    assert_int_equal(list->first->next->node->place.line, 2);
    assert_int_equal(list->first->next->node->place.column, 15);
    assert_int_equal(list->first->next->index, 1);
    reading_finish(&r);
}

static void scalars_follow_the_core_schema(void **state)
{
    bool yes = false;
    (void)state;
    struct reading r = read_tree("a: yes\nb: on\nc: 012\nd: true\ne: \"true\"\nf: ~\ng: \"null\"\nh:\ni: !!str true\nj: "
                                 "False\n");
    assert_value(&r, "a", "yes");
    assert_false(tree_is_bool(value(&r, "a"), &yes));
    assert_false(tree_is_bool(value(&r, "b"), &yes));
    assert_value(&r, "c", "012");
    assert_true(tree_is_bool(value(&r, "d"), &yes));
    assert_true(yes);
    assert_false(tree_is_bool(value(&r, "e"), &yes));
    assert_true(tree_is_null(value(&r, "f")));
    assert_false(tree_is_null(value(&r, "g")));
    assert_true(tree_is_null(value(&r, "h")));
    assert_false(tree_is_bool(value(&r, "i"), &yes));
    assert_true(tree_is_bool(value(&r, "j"), &yes));
    assert_false(yes);
    reading_finish(&r);
}

static void json_is_read_as_it_is_meant(void **state)
{
    (void)state;
    struct reading r = read_tree("{\n\t\"a\":\"x\\/y \\u00e9 \\ud83d\\ude00 \\\\ud83d\",\n\t\"b\": [1,true,null], \"c\": "
                                 "\"\\\"\\ud83d\\ude00\"}\n");
    assert_int_equal(r.errors.count, 0);
    assert_value(&r, "a", "x/y \xc3\xa9 \xf0\x9f\x98\x80 \\ud83d");
    assert_value(&r, "c", "\"\xf0\x9f\x98\x80");
    assert_int_equal(value(&r, "b")->count, 3);
    assert_true(tree_is_null(value(&r, "b")->last->node));
    reading_finish(&r);
    assert_refused("{\"a\": \"\\ud83d\"}", "not well-formed", 1, 10);
}

static void an_empty_text_is_an_empty_map(void **state)
{
    static const char *const texts[] = {"", "\n", "# nothing\n", "---\n", "~\n", "\xef\xbb\xbf# mark\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct reading r = read_tree(texts[i]);
        assert_non_null(r.root);
        assert_int_equal(r.root->type, TREE_MAP);
        assert_int_equal(r.root->count, 0);
        assert_int_equal(r.errors.count, 0);
        reading_finish(&r);
    }
}

static void aliases_share_what_they_name(void **state)
{
    (void)state;
    struct reading r = read_tree("a: &x [1, 2]\nb: *x\nc: [*x, *x]\n");
    assert_int_equal(r.errors.count, 0);
    assert_ptr_equal(value(&r, "a"), value(&r, "b"));
    assert_int_equal(value(&r, "c")->weight, 7);
    reading_finish(&r);
    assert_refused("a: *x\n", "not set before", 1, 4);
    assert_refused("a: &x [*x]\n", "inside of what it repeats", 1, 8);
}

static void expansion_of_aliases_is_bounded(void **state)
{
    struct strbuf text = {0};
    (void)state;
    strbuf_puts(&text, "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
    for (int i = 1; i < 12; i++) {
        strbuf_printf(&text, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++) {
            strbuf_printf(&text, "%s*a%d", j ? ", " : "", i - 1);
        }
        strbuf_puts(&text, "]\n");
    }
    struct reading r = read_bytes(strbuf_str(&text), NULL);
    assert_null(r.root);
    assert_int_equal(r.errors.count, 1);
    assert_int_equal(r.errors.items[0].code, ERROR_RANGE);
    reading_finish(&r);
    strbuf_finish(&text);
}

static void repeated_keys_are_found_in_small_and_large_maps(void **state)
{
    struct strbuf text = {0};
    (void)state;
    assert_refused("a: 1\nb: 2\na: 3\n", "\"a\" stands here twice; the first is on line 1", 3, 1);
    for (int i = 0; i < 100; i++) {
        strbuf_printf(&text, "k%d: %d\n", i, i);
    }
    strbuf_puts(&text, "k3: x\nk99: y\nk100: z\n");
    struct reading r = read_bytes(strbuf_str(&text), NULL);
    assert_int_equal(r.errors.count, 2);
    assert_int_equal(r.errors.items[0].line, 101);
    assert_int_equal(r.errors.items[1].line, 102);
    assert_value(&r, "k3", "3");
    assert_int_equal(r.root->count, 101);
    reading_finish(&r);
    strbuf_finish(&text);
}

static void what_is_not_yaml_is_refused_with_its_place(void **state)
{
    struct strbuf deep = {0};
    (void)state;
    assert_refused("a:\n\tb: 1\n", "a tab in the indentation", 2, 1);
    assert_refused("a: 1\n---\nb: 2\n", "second document", 2, 1);
    assert_refused("a: !!int 3\n", "tags are not used", 1, 4);
    assert_refused("? [a]\n: 1\n", "a key must be plain text", 1, 3);
    assert_refused("a: [1\nb: 2\n", "not well-formed", 2, 2);
    for (int i = 0; i < 65; i++) {
        strbuf_putc(&deep, '[');
    }
    assert_refused(deep.p, "nested too deeply", 1, 65);
    strbuf_finish(&deep);
}

static void bytes_that_no_text_has_are_refused(void **state)
{
    static const struct str texts[] = {
        {"a: b\xff\n", 6}, {"a: \xc0\x80\n", 6}, {"a: \xed\xa0\x80\n", 7},
        {"a: \x00\n", 5},  {"a: \x1b\n", 5},     {"a: \x7f\n", 5},
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct reading r = read_bytes(texts[i], NULL);
        assert_null(r.root);
        assert_int_equal(r.errors.count, 1);
        assert_int_equal(r.errors.items[0].column, i == 0 ? 5 : 4);
        reading_finish(&r);
    }
}

static void variables_are_values_and_never_structure(void **state)
{
    (void)state;
    struct reading r = read_tree("a: ${PORT}\nb: x${PORT}y\nc: ${NONE:-d e}\nd: ${EMPTY:-full}\ne: ${EMPTY}\n"
                                 "f: $${PORT}\ng: ${YAML}\nh: $5 $ ${PORT}$\n${PORT}: key\ni: $$${PORT}\n");
    assert_int_equal(r.errors.count, 0);
    assert_value(&r, "a", "9001");
    assert_false(value(&r, "a")->is_quoted);
    assert_value(&r, "b", "x9001y");
    assert_value(&r, "c", "d e");
    assert_value(&r, "d", "full");
    assert_value(&r, "e", "");
    assert_value(&r, "f", "${PORT}");
    assert_value(&r, "g", "a]\nclusters: [x");
    assert_value(&r, "h", "$5 $ 9001$");
    assert_value(&r, "${PORT}", "key");
    assert_value(&r, "i", "$${PORT}");
    assert_int_equal(r.root->count, 10);
    reading_finish(&r);
    assert_refused("a: 1\nb: x ${NONE}\n", "not set and has no default", 2, 4);
    assert_refused("b: ${PORT\n", "closing brace", 1, 4);
    assert_refused("b: ${}\n", "not a variable", 1, 4);
}

static void variables_can_be_forbidden_and_are_bounded(void **state)
{
    struct tree_budget budget = {TREE_NODES_MAX, 5};
    (void)state;
    struct reading r = read_bytes(STR("a: ${PORT}\n"), NULL);
    assert_int_equal(r.errors.count, 1);
    assert_int_equal(r.errors.items[0].code, ERROR_UNSUPPORTED);
    reading_finish(&r);
    arena_init(&r.arena, NULL, 0, 0);
    tree_read(&r.arena, "t", STR("a: ${N:-12345}\nb: ${YAML}\n"), &variables, &budget, &r.errors);
    assert_int_equal(r.errors.count, 1);
    assert_int_equal(r.errors.items[0].code, ERROR_RANGE);
    reading_finish(&r);
}

/* ---- writing ---- */

static void assert_same_tree(const struct tree_node *a, const struct tree_node *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->text.n, b->text.n);
    assert_memory_equal(a->text.p ? a->text.p : "", b->text.p ? b->text.p : "", a->text.n);
    for (const struct tree_item *i = a->first, *j = b->first; i; i = i->next, j = j->next) {
        assert_true(str_eq(i->key, j->key));
        assert_same_tree(i->node, j->node);
    }
}

#define TEXT(literal) {literal, sizeof(literal) - 1}

static const struct str odd_texts[] = {
    TEXT(""), TEXT(" "), TEXT("a"), TEXT("yes"), TEXT("null"), TEXT("~"), TEXT("12"), TEXT("1e5"), TEXT("0x1f"), TEXT("-"),
    TEXT("- a"), TEXT("a: b"), TEXT("a #b"), TEXT("#"), TEXT("*"), TEXT("*a"), TEXT("&a"), TEXT("!a"), TEXT("%a"),
    TEXT("@a"), TEXT("`a"), TEXT("|"), TEXT(">"), TEXT("{}"), TEXT("[]"), TEXT(","), TEXT("?"), TEXT("'"), TEXT("\""),
    TEXT("\\"), TEXT("a\nb"), TEXT("a\tb"), TEXT("\r"), TEXT("a\0b"), TEXT("\x1b"), TEXT("\x7f"), TEXT("\xc2\x85"),
    TEXT("\xe2\x80\xa8"), TEXT("\xef\xbb\xbf"), TEXT("\xef\xbf\xbe"), TEXT("\xf0\x9f\x98\x80"), TEXT("${A}"),
    TEXT("$${A}"), TEXT("$"), TEXT("$$$${"), TEXT("a:"), TEXT(":a"), TEXT("127.0.0.1:80"), TEXT("[::1]:80"),
    TEXT("http://x/?a=b"), TEXT(".inf"), TEXT("1_000"), TEXT("12:30:45"), TEXT("2026-01-01"), TEXT("="), TEXT("<<"),
};

static struct tree_node *tree_of_odd_texts(struct arena *arena)
{
    struct tree_node *root = tree_create(arena, TREE_MAP), *list = tree_create(arena, TREE_LIST);
    for (size_t i = 0; i < sizeof odd_texts / sizeof *odd_texts; i++) {
        struct tree_node *map = tree_create(arena, TREE_MAP);
        assert_int_equal(tree_append(arena, list, tree_create_scalar(arena, odd_texts[i], true)), 0);
        if (!memchr(odd_texts[i].p, '\0', odd_texts[i].n)) {
            assert_int_equal(tree_set(arena, map, odd_texts[i].p, tree_create_scalar(arena, odd_texts[i], true)), 0);
        }
        assert_int_equal(tree_append(arena, list, map), 0);
    }
    assert_int_equal(tree_append(arena, list, tree_create(arena, TREE_LIST)), 0);
    assert_int_equal(tree_set(arena, root, "list", list), 0);
    assert_int_equal(tree_set(arena, root, "none", tree_create(arena, TREE_MAP)), 0);
    return root;
}

static void what_is_written_is_read_back(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    struct tree_node *root = tree_of_odd_texts(&arena);
    void (*const writers[])(const struct tree_node *, struct strbuf *) = {tree_write_yaml, tree_write_json, tree_write_flow};
    for (size_t i = 0; i < 3; i++) {
        struct strbuf text = {0};
        writers[i](root, &text);
        struct reading r = read_bytes(strbuf_str(&text), &variables);
        if (r.errors.count) {
            fail_msg("%s in\n%s", r.errors.items[0].message, text.p);
        }
        assert_same_tree(root, r.root);
        reading_finish(&r);
        strbuf_finish(&text);
    }
    arena_finish(&arena);
}

/* ---- comparing ---- */

static void note_change(void *context, const char *path, const struct tree_node *before, const struct tree_node *after)
{
    struct strbuf *out = context;
    strbuf_printf(out, "%s: ", path);
    if (before) {
        tree_write_flow(before, out);
    }
    strbuf_puts(out, " -> ");
    if (after) {
        tree_write_flow(after, out);
    }
    strbuf_putc(out, '\n');
}

static void assert_diff(const char *before, const char *after, const char *expected)
{
    struct reading a = read_tree(before), b = read_tree(after);
    struct strbuf out = {0};
    struct tree_diff_sink sink = {note_change, &out};
    assert_int_equal(tree_diff(a.root, b.root, &sink), 0);
    assert_string_equal(strbuf_str(&out).p, expected);
    strbuf_finish(&out);
    reading_finish(&a);
    reading_finish(&b);
}

static void differences_are_told_by_path(void **state)
{
    (void)state;
    assert_diff("{a: 1, b: {c: [1, 2]}}", "{a: 1, b: {c: [1, 2]}}", "");
    assert_diff("{a: 1, b: 2}", "{a: 3, c: 4}", "a: 1 -> 3\nb: 2 -> \nc:  -> 4\n");
    assert_diff("{a: {b: {c: 1}}}", "{a: {b: 1}}", "a.b: {c: 1} -> 1\n");
    assert_diff("{\"a b\": 1}", "{\"a b\": 2}", "[\"a b\"]: 1 -> 2\n");
}

static void lists_are_compared_by_name_where_there_are_names(void **state)
{
    (void)state;
    assert_diff("l: [a, b, c]", "l: [b, c, d]", "l[0]: a -> \nl[2]:  -> d\n");
    assert_diff("l: [{name: a, x: 1}, {name: b, x: 2}]", "l: [{name: z}, {name: a, x: 3}, {name: b, x: 2}]",
                "l[0]:  -> {name: z}\nl[1].x: 1 -> 3\n");
    assert_diff("l: [1.1.1.1:1, {address: 1.1.1.2:1, weight: 2}]", "l: [1.1.1.1:1, 1.1.1.2:1]",
                "l[1]: {address: 1.1.1.2:1, weight: 2} -> 1.1.1.2:1\n");
    assert_diff("l: [a, b]", "l: [b, a]", "l: [a, b] -> [b, a]\n");
}

static void lists_without_names_are_compared_by_position(void **state)
{
    (void)state;
    assert_diff("l: [{x: 1}, {x: 2}, {x: 3}]", "l: [{x: 1}, {y: 9}, {x: 2}, {x: 3}]", "l[1]:  -> {y: 9}\n");
    assert_diff("l: [{x: 1}, {x: 2}, {x: 3}]", "l: [{x: 1}, {x: 3}]", "l[1]: {x: 2} -> \n");
    assert_diff("l: [{x: 1}, {x: 2}, {x: 3}]", "l: [{x: 1}, {x: 5}, {x: 3}]", "l[1].x: 2 -> 5\n");
    assert_diff("l: [{x: 1}, {x: 1}]", "l: [{x: 1}]", "l[1]: {x: 1} -> \n");
    assert_diff("l: []", "l: [{x: 1}]", "l[0]:  -> {x: 1}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_count_characters),
        cmocka_unit_test(scalars_follow_the_core_schema),
        cmocka_unit_test(json_is_read_as_it_is_meant),
        cmocka_unit_test(an_empty_text_is_an_empty_map),
        cmocka_unit_test(aliases_share_what_they_name),
        cmocka_unit_test(expansion_of_aliases_is_bounded),
        cmocka_unit_test(repeated_keys_are_found_in_small_and_large_maps),
        cmocka_unit_test(what_is_not_yaml_is_refused_with_its_place),
        cmocka_unit_test(bytes_that_no_text_has_are_refused),
        cmocka_unit_test(variables_are_values_and_never_structure),
        cmocka_unit_test(variables_can_be_forbidden_and_are_bounded),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(differences_are_told_by_path),
        cmocka_unit_test(lists_are_compared_by_name_where_there_are_names),
        cmocka_unit_test(lists_without_names_are_compared_by_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
