/* Command lines from a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "common/options.h"

static const struct option_spec specs[] = {
    {"message", 'm', "TEXT", "why"},     {"listen", '\0', "ADDRESS", "where"},
    {"keep", 'k', "N", "how many"},      {"dry-run", 'n', NULL, "change nothing"},
    {"quiet", 'q', NULL, "say nothing"}, {0},
};

struct result {
    struct options options;
    struct error_list errors;
    int status;
};

#define PARSE(...) parse((char *[]){__VA_ARGS__}, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *))

static struct result parse(char **argv, size_t argc) {
    struct result r = {0};
    r.status = options_parse(specs, (int)argc, argv, &r.options, &r.errors);
    return r;
}

static void finish(struct result *r) {
    options_finish(&r->options);
    error_list_finish(&r->errors);
}

static void takes_every_form(void **state) {
    (void)state;
    struct result r = PARSE("a", "--message", "one", "--listen=x", "-mtwo", "--listen", "--y", "-nq", "-",
                            "--", "--z");
    assert_int_equal(r.status, 0);
    assert_string_equal(options_get(&r.options, "message"), "two");
    assert_string_equal(options_get_nth(&r.options, "message", 0), "one");
    assert_string_equal(options_get_nth(&r.options, "listen", 1), "--y");
    assert_null(options_get_nth(&r.options, "listen", 2));
    assert_true(options_has(&r.options, "dry-run"));
    assert_true(options_has(&r.options, "quiet"));
    assert_false(options_has(&r.options, "keep"));
    assert_int_equal(r.options.argument_count, 3);
    assert_string_equal(r.options.arguments[0], "a");
    assert_string_equal(r.options.arguments[1], "-");
    assert_string_equal(r.options.arguments[2], "--z");
    finish(&r);
}

static void reports_every_fault(void **state) {
    (void)state;
    struct result r = PARSE("--mesage", "-x", "--dry-run=1", "--keep");
    assert_int_equal(r.status, -1);
    assert_int_equal(r.errors.count, 4);
    assert_string_equal(r.errors.items[0].nearest, "message");
    assert_string_equal(r.errors.items[1].message, "unknown option -x");
    assert_string_equal(r.errors.items[2].message, "--dry-run takes no value");
    assert_string_equal(r.errors.items[3].message, "--keep wants N");
    finish(&r);
}

static int number(struct result *r, const char *name, uint64_t least, uint64_t most, uint64_t *ret) {
    return options_number(&r->options, name, &(struct options_range){least, most, 5}, ret, &r->errors);
}

static void numbers_have_bounds(void **state) {
    uint64_t n = 7;
    (void)state;
    struct result r = PARSE("-k", "12");
    assert_int_equal(number(&r, "keep", 12, 12, &n), 0);
    assert_int_equal(n, 12);
    assert_int_equal(number(&r, "keep", 0, 11, &n), -1);
    assert_int_equal(number(&r, "keep", 13, 20, &n), -1);
    assert_int_equal(n, 12);
    assert_string_equal(r.errors.items[1].message, "--keep wants a number from 13 to 20, not 12");
    assert_int_equal(number(&r, "quiet", 0, 11, &n), 0);
    assert_int_equal(n, 5);
    finish(&r);
    r = PARSE("-k", "1x");
    assert_int_equal(number(&r, "keep", 0, 100, &n), -1);
    finish(&r);
}

static void help_is_aligned(void **state) {
    struct strbuf text = {0};
    (void)state;
    options_describe(specs, &text);
    assert_string_equal(text.p, "  -m, --message TEXT    why\n"
                                "      --listen ADDRESS  where\n"
                                "  -k, --keep N          how many\n"
                                "  -n, --dry-run         change nothing\n"
                                "  -q, --quiet           say nothing\n");
    strbuf_finish(&text);
}

static void want_of_memory_is_an_error(void **state) {
    (void)state;
    hg_alloc_fail_at(0, 1);
    struct result r = PARSE("-n");
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(r.status, -1);
    finish(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_form),           cmocka_unit_test(reports_every_fault),
        cmocka_unit_test(numbers_have_bounds),        cmocka_unit_test(help_is_aligned),
        cmocka_unit_test(want_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
