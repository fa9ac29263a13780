/* What is generated from the schema is what is committed. */
#include "support.h"

static void json_schema_is_current(void **state)
{
    struct strbuf out = {0};
    (void)state;
    assert_int_equal(config_json_schema(&out), 0);
    assert_equals_file(strbuf_str(&out), "docs/headgate.schema.json");
    strbuf_finish(&out);
}

static void reference_is_current(void **state)
{
    struct strbuf out = {0};
    (void)state;
    assert_int_equal(config_reference_markdown(&out), 0);
    assert_equals_file(strbuf_str(&out), "docs/configuration.md");
    strbuf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_schema_is_current),
        cmocka_unit_test(reference_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
