/* What is printed: texts of servers, and of other people, as what they are. */
#include "tests/unit/common/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include "controlplane/cli/cli.h"

/* What has been printed on a stream meanwhile. */
struct capture {
    FILE **stream, *before;
    char  *text;
    size_t n;
};

static void begin(struct capture *c, FILE **stream) {
    *c = (struct capture){.stream = stream, .before = *stream};
    *stream = open_memstream(&c->text, &c->n);
    assert_non_null(*stream);
}

static void assert_printed(struct capture *c, const char *expected) {
    assert_int_equal(fclose(*c->stream), 0);
    *c->stream = c->before;
    assert_string_equal(c->text, expected);
    free(c->text); /* of the C library */
}

#define HOSTILE "a\033[2Jb\x9b\r\xc2\x9b" "c\177\xc3\xa9"
#define HARMLESS "a?[2Jb???c?\xc3\xa9"

static const struct cli plain = {.has_colour = false}, coloured = {.has_colour = true, .has_error_colour = true};

static void nothing_that_is_printed_steers_the_terminal(void **state) {
    struct capture c;
    (void)state;
    begin(&c, &stdout);
    cli_print(&plain, STYLE_BAD, "%s\tand\n", HOSTILE);
    assert_printed(&c, HARMLESS "\tand\n");
    begin(&c, &stdout);
    cli_print(&coloured, STYLE_BAD, "%s", HOSTILE);
    assert_printed(&c, "\033[31m" HARMLESS "\033[0m");
}

static void nor_does_what_is_wrong(void **state) {
    struct capture c;
    struct error_list errors = {0};
    Headgate__Problem problem = HEADGATE__PROBLEM__INIT, *problems = &problem;
    (void)state;
    error_addf(&errors, ERROR_IO, "%s", HOSTILE);
    problem.message = (char *)HOSTILE;
    problem.is_warning = true;
    begin(&c, &stderr);
    cli_error(&plain, "%s", HOSTILE);
    cli_fail(&coloured, &errors, EXIT_REFUSED);
    cli_print_problems(&plain, &problems, 1);
    assert_printed(&c, "headgate: " HARMLESS "\n\033[31merror: \033[0m" HARMLESS "\nwarning: " HARMLESS "\n");
    error_list_finish(&errors);
}

/* A character takes one place, whatever stands for it. */
static void columns_stand_below_each_other(void **state) {
    struct capture c;
    struct table t;
    (void)state;
    table_init(&t, 2);
    table_add(&t, STYLE_PLAIN, "\xc3\xa9\xc2\x9b");
    table_add(&t, STYLE_PLAIN, "x");
    table_add(&t, STYLE_PLAIN, "abc");
    table_add(&t, STYLE_PLAIN, "y");
    begin(&c, &stdout);
    table_print(&plain, &t);
    assert_printed(&c, "\xc3\xa9?   x\nabc  y\n");
    table_finish(&t);
}

/* So many resources, of which the first has so many fields: one of each is shown. */
static void print_changes_of(size_t fields, uint64_t total) {
    Headgate__FieldChange field = HEADGATE__FIELD_CHANGE__INIT, *field_list[] = {&field};
    Headgate__Change change = HEADGATE__CHANGE__INIT, *changes[] = {&change};
    change.kind = HEADGATE__KIND__KIND_CLUSTER;
    change.what = HEADGATE__CHANGE__WHAT__REMOVED;
    change.name = (char *)"web";
    field.path = (char *)"weight";
    field.before = (char *)"1";
    change.fields = field_list;
    change.n_fields = 1;
    change.field_count = fields;
    cli_print_changes(&plain, changes, 1, total, 1);
}

static void one_is_no_plural(void **state) {
    struct capture c;
    (void)state;
    begin(&c, &stdout);
    print_changes_of(2, 2);
    assert_printed(&c, "  - cluster/web\n    - weight: 1\n    and 1 more field\n  and 1 more resource\n");
    begin(&c, &stdout);
    print_changes_of(3, 3);
    assert_printed(&c, "  - cluster/web\n    - weight: 1\n    and 2 more fields\n  and 2 more resources\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_that_is_printed_steers_the_terminal),
        cmocka_unit_test(nor_does_what_is_wrong),
        cmocka_unit_test(columns_stand_below_each_other),
        cmocka_unit_test(one_is_no_plural),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
