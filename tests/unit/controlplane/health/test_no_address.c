/* A machine without IPv6, as containers are: endpoints with such addresses cannot be reached from here, by nobody, and are
 * not taken for well. labels: threads */
#include "tests/unit/controlplane/health/checked.h"

#include <sched.h>

static bool has_network_of_its_own;

/* Before there is any thread. */
static bool switch_off_ipv6(void) {
    static const char path[] = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return false;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_off = fd >= 0 && write(fd, "1", 1) == 1;
    if (fd >= 0)
        close(fd);
    return is_off;
}

static int setup(void **state) {
    *state = checked_create();
    return 0;
}

static int teardown(void **state) {
    checked_destroy(*state);
    return 0;
}

static void test_no_address(void **state) {
    struct checked *c = *state;
    const char *const addresses[] = {"[2001:db8::1]:80"};
    if (!has_network_of_its_own) {
        print_message("skipped: this kernel does not let a process have a network of its own\n");
        skip();
    }
    assert_int_equal(checked_try(c, addresses, 1, false), 0);
    RUN_UNTIL(c, c->count == 1);
    assert_int_equal(c->changes[0].health, UNHEALTHY);
    assert_string_equal(c->changes[0].reason, "no address here to connect from");
    assert_int_equal(health_counters(c->health)->put_off, 0);
}

int main(void) {
    has_network_of_its_own = switch_off_ipv6();
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_no_address, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
