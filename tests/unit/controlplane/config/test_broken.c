/* Every file of tests/config/broken is refused with exactly the errors of the .expected file beside it. */
#include <glob.h>

#include "support.h"

static void check_file(const char *path)
{
    struct config_sources sources = {0};
    struct outcome o = {0};
    struct strbuf text = {0};
    char expected[512];
    config_load(path, &sources, &o.errors);
    o.status = config_compile(&sources, &test_options, &o.set, &o.errors, &o.warnings);
    if (o.status == 0 || o.set.count || error_list_is_empty(&o.errors)) {
        fail_msg("%s was not refused", path);
    }
    for (size_t i = 0; i < o.errors.count; i++) {
        if (!o.errors.items[i].file) {
            fail_msg("%s: an error without a file: %s", path, o.errors.items[i].message);
        }
    }
    format_problems(&o, &text);
    snprintf(expected, sizeof expected, "%.*s.expected", (int)(strlen(path) - strlen(".yaml")), path);
    assert_equals_file(strbuf_str(&text), expected);
    strbuf_finish(&text);
    outcome_finish(&o);
    config_sources_finish(&sources);
}

static void every_broken_file_is_refused(void **state)
{
    glob_t found = {0};
    (void)state;
    assert_int_equal(glob("tests/config/broken/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 30);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        check_file(found.gl_pathv[i]);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_broken_file_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
