/* The holder's own options, and those that it passes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/holder/options.h"

static struct holder_options options;
static struct error_list errors;

static int tear_down(void **state) {
    (void)state;
    holder_options_finish(&options);
    error_list_finish(&errors);
    return 0;
}

static int parse(const char *name, const char *value) {
    char *argv[] = {"--dataplane", "/bin/true", "--runtime-dir", "/tmp", "--state-dir", "/tmp", (char *)name, (char *)value};
    holder_options_finish(&options);
    return holder_options_parse(name ? 8 : 6, argv, &options, &errors);
}

static void steering_is_the_best_unless_said(void **state) {
    (void)state;
    assert_int_equal(parse(NULL, NULL), 0);
    assert_int_equal(options.steering, STEERING_EBPF);
    assert_int_equal(parse("--udp-steering", "auto"), 0);
    assert_int_equal(options.steering, STEERING_EBPF);
    assert_int_equal(parse("--udp-steering", "classic"), 0);
    assert_int_equal(options.steering, STEERING_CLASSIC);
    assert_int_equal(parse("--udp-steering", "hash"), 0);
    assert_int_equal(options.steering, STEERING_HASH);
    assert_null(options.passed[0]); /* it is the holder's alone */
}

static void unknown_steering_is_refused(void **state) {
    (void)state;
    assert_int_equal(parse("--udp-steering", "ebpf"), -1);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.items[0].message, "auto, classic or hash, not ebpf"));
}

static void options_of_the_data_plane_are_passed_on(void **state) {
    (void)state;
    assert_int_equal(parse("--workers", "3"), 0);
    assert_string_equal(options.passed[0], "--workers");
    assert_string_equal(options.passed[1], "3");
    assert_null(options.passed[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(steering_is_the_best_unless_said, tear_down),
        cmocka_unit_test_teardown(unknown_steering_is_refused, tear_down),
        cmocka_unit_test_teardown(options_of_the_data_plane_are_passed_on, tear_down),
    };
    return cmocka_run_group_tests_name("holder/options", tests, NULL, NULL);
}
