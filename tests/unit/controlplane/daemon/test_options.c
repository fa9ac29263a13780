/* The command line of headgate-controlplane: defaults, folders, what goes together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "controlplane/daemon/options.h"

struct result {
    struct daemon_options options;
    struct error_list errors;
    int status;
};

#define PARSE(...) parse((char *[]){"", __VA_ARGS__}, sizeof((char *[]){"", __VA_ARGS__}) / sizeof(char *))

static struct result parse(char **argv, size_t argc) {
    struct result r = {0};
    r.status = daemon_options_parse((int)argc - 1, argv + 1, &r.options, &r.errors);
    return r;
}

static void finish(struct result *r) {
    daemon_options_finish(&r->options);
    error_list_finish(&r->errors);
}

static int setup(void **state) {
    (void)state;
    setenv("HEADGATE_STATE_DIR", "/state", 1);
    setenv("HEADGATE_RUNTIME_DIR", "/runtime", 1);
    return 0;
}

static void defaults(void **state) {
    (void)state;
    struct result r = PARSE("--help");
    assert_int_equal(r.status, 0);
    assert_string_equal(r.options.store_dir, "/state/store");
    assert_string_equal(r.options.control_socket, "/runtime/control.sock");
    assert_string_equal(r.options.dataplane_socket, "/runtime/dataplane.sock");
    assert_int_equal(r.options.dataplane_group, -1);
    assert_string_equal(r.options.admin_listen, "127.0.0.1:9902");
    assert_null(r.options.config);
    assert_int_equal(r.options.keep_versions, 200);
    assert_int_equal(r.options.prepare_timeout, 30000000);
    assert_int_equal(r.options.xds_resources_max, 1000000);
    assert_int_equal(r.options.xds_bytes_max, 1 << 30);
    finish(&r);
}

static void what_is_given_counts(void **state) {
    (void)state;
    struct result r = PARSE("-s", "/s", "--runtime-dir=/r", "--control-socket", "/c.sock",
                            "--dataplane-group", "4711", "--admin-listen", "off", "-c", "f.yaml",
                            "--keep-versions", "7", "--commit-timeout", "2", "--xds-resources", "8", "--xds-memory", "9");
    assert_int_equal(r.status, 0);
    assert_int_equal(r.options.xds_resources_max, 8);
    assert_int_equal(r.options.xds_bytes_max, 9 << 20);
    assert_string_equal(r.options.store_dir, "/s/store");
    assert_string_equal(r.options.control_socket, "/c.sock");
    assert_string_equal(r.options.dataplane_socket, "/r/dataplane.sock");
    assert_int_equal(r.options.dataplane_group, 4711);
    assert_null(r.options.admin_listen);
    assert_string_equal(r.options.config, "f.yaml");
    assert_int_equal(r.options.keep_versions, 7);
    assert_int_equal(r.options.commit_timeout, 2000000);
    finish(&r);
}

static void every_fault_is_told(void **state) {
    (void)state;
    struct result r = PARSE("--dataplane-group", "no such group", "--admin-listen", "x", "--tls-cert", "a",
                            "--keep-versions", "0", "--metrics-token-file", "/nowhere/token", "argument");
    assert_int_equal(r.status, -1);
    assert_int_equal(r.errors.count, 6);
    finish(&r);
    r = PARSE("--dataplane-listen", "127.0.0.1:1", "--tls-cert", "a", "--tls-key", "b");
    assert_int_equal(r.status, -1);
    finish(&r);
    char long_path[300];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    r = PARSE("--control-socket", long_path);
    assert_int_equal(r.status, -1);
    finish(&r);
}

static void token_is_the_first_line(void **state) {
    char path[] = "/tmp/headgate-token-XXXXXX";
    (void)state;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "secret\r\nmore\n", 13), 13);
    close(fd);
    struct result r = PARSE("--metrics-token-file", path);
    assert_int_equal(r.status, 0);
    assert_string_equal(token_file_get(r.options.metrics_token), "secret");
    finish(&r);
    assert_int_equal(truncate(path, 0), 0);
    r = PARSE("--metrics-token-file", path);
    assert_int_equal(r.status, -1);
    finish(&r);
    unlink(path);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(what_is_given_counts),
        TEST(every_fault_is_told),
        TEST(token_is_the_first_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
