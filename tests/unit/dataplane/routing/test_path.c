/* The table of paths.txt, and what holds for every path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dataplane/routing/path.h"

#define TABLE "tests/unit/dataplane/routing/paths.txt"

static void set_policy(struct path_policy *policy, struct str word) {
    if (str_eq(word, STR("slash=reject")))
        policy->escaped_slash = HEADGATE__PATH_POLICY__ESCAPE__REJECT;
    else if (str_eq(word, STR("slash=decode")))
        policy->escaped_slash = HEADGATE__PATH_POLICY__ESCAPE__DECODE;
    else if (str_eq(word, STR("backslash=keep")))
        policy->backslash = HEADGATE__PATH_POLICY__BACKSLASH__KEEP_BACKSLASH;
    else if (str_eq(word, STR("backslash=slash")))
        policy->backslash = HEADGATE__PATH_POLICY__BACKSLASH__TO_SLASH;
    else if (str_eq(word, STR("dots=refuse")))
        policy->dot_segments = HEADGATE__PATH_POLICY__DOTS__REFUSE;
    else if (str_eq(word, STR("double=preserve")))
        policy->double_slash = HEADGATE__PATH_POLICY__SLASHES__PRESERVE;
    else if (str_eq(word, STR("semicolon=reject")))
        policy->semicolon = HEADGATE__PATH_POLICY__PARAMETERS__REJECT_PARAMETERS;
    else
        assert_true(str_eq(word, STR("-")));
}

/* \xHH in the table. In place; returns the new length. */
static size_t unescape(char *text) {
    size_t n = 0;
    for (const char *p = text; *p; n++) {
        unsigned byte;
        if (sscanf(p, "\\x%2x", &byte) == 1 && p[1] == 'x') {
            text[n] = (char)byte;
            p += 4;
        } else {
            text[n] = *p++;
        }
    }
    return n;
}

static void canonicalize(const struct path_policy *policy, const char *path, size_t n, struct strbuf *shown) {
    struct arena arena;
    struct str canonical;
    char *copy = malloc(n ? n : 1); /* exactly its size */
    assert_non_null(copy);
    memcpy(copy, path, n);
    arena_init(&arena, NULL, 0, 0);
    enum path_error error = path_canonicalize(policy, (struct str){copy, n}, &arena, &canonical);
    strbuf_reset(shown);
    if (error)
        strbuf_printf(shown, "!%s", path_error_word(error));
    else
        strbuf_add_str(shown, canonical);
    arena_finish(&arena);
    free(copy);
}

static void check_line(char *line) {
    char words[128], path[256], expected[256];
    struct path_policy policy = path_policy_of(NULL);
    struct strbuf shown = {0}, again = {0};
    assert_int_equal(sscanf(line, "%127s %255s => %255s", words, path, expected), 3);
    struct str rest = str_of(words);
    while (rest.p)
        set_policy(&policy, str_cut(&rest, ','));
    size_t n = unescape(path);
    canonicalize(&policy, path, n, &shown);
    if (strcmp(shown.p, expected) != 0)
        fail_msg("%s gives %s", line, shown.p);
    if (expected[0] != '!') {
        canonicalize(&policy, shown.p, shown.n, &again);
        assert_string_equal(again.p, expected);
    }
    strbuf_finish(&shown);
    strbuf_finish(&again);
}

static void every_path_of_the_table(void **state) {
    (void)state;
    char line[1024];
    unsigned count = 0;
    FILE *table = fopen(TABLE, "r");
    assert_non_null(table);
    while (fgets(line, sizeof line, table)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        check_line(line);
        count++;
    }
    fclose(table);
    assert_true(count > 300);
}

static void policies_from_messages(void **state) {
    (void)state;
    Headgate__PathPolicy message = HEADGATE__PATH_POLICY__INIT;
    message.has_escaped_slash = 1;
    message.escaped_slash = HEADGATE__PATH_POLICY__ESCAPE__REJECT;
    struct path_policy set = path_policy_of(&message), defaults = path_policy_of(NULL);
    assert_int_equal(set.escaped_slash, HEADGATE__PATH_POLICY__ESCAPE__REJECT);
    assert_int_equal(defaults.escaped_slash, HEADGATE__PATH_POLICY__ESCAPE__KEEP);
    assert_int_equal(defaults.backslash, HEADGATE__PATH_POLICY__BACKSLASH__REJECT_BACKSLASH);
    assert_int_equal(defaults.double_slash, HEADGATE__PATH_POLICY__SLASHES__MERGE);
}

static void canonical_paths_are_not_copied(void **state) {
    (void)state;
    struct path_policy policy = path_policy_of(NULL);
    struct arena none;
    struct str raw = STR("/a/b.c/d-e_f~"), canonical;
    arena_init(&none, NULL, 0, 1); /* gives nothing */
    assert_int_equal(path_canonicalize(&policy, raw, &none, &canonical), PATH_OK);
    assert_ptr_equal(canonical.p, raw.p);
    assert_int_equal(path_canonicalize(&policy, STR("/%41"), &none, &canonical), PATH_MEMORY);
    arena_finish(&none);
}

/* An empty path and a long one of nothing but steps up, which must not take longer than its length. */
static void odd_sizes(void **state) {
    (void)state;
    struct path_policy policy = path_policy_of(NULL);
    struct strbuf path = {0}, shown = {0};
    canonicalize(&policy, "", 0, &shown);
    assert_string_equal(shown.p, "!relative");
    for (int i = 0; i < 5000; i++)
        strbuf_puts(&path, "/a");
    for (int i = 0; i < 5001; i++)
        strbuf_puts(&path, "/%2e%2E");
    strbuf_puts(&path, "/b");
    canonicalize(&policy, path.p, path.n, &shown);
    assert_string_equal(shown.p, "/b");
    strbuf_reset(&path);
    strbuf_putc(&path, '/');
    for (int i = 0; i < 3000; i++)
        strbuf_putc(&path, '|');
    canonicalize(&policy, path.p, path.n, &shown);
    assert_int_equal(shown.n, 9001);
    strbuf_finish(&path);
    strbuf_finish(&shown);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_of_the_table),
        cmocka_unit_test(policies_from_messages),
        cmocka_unit_test(canonical_paths_are_not_copied),
        cmocka_unit_test(odd_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
