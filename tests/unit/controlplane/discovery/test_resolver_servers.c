/* Which sets of DNS servers are kept. Nobody is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/discovery/resolver_servers.h"

static long later_seconds; /* by which the clock of this process is ahead */

int clock_gettime(clockid_t clock, struct timespec *ret) {
    int status = (int)syscall(SYS_clock_gettime, clock, ret);
    if (status == 0)
        ret->tv_sec += later_seconds;
    return status;
}

static struct ev_loop *loop;
static struct resolver_servers *list;

static int set_up(void **state) {
    (void)state;
    list = NULL;
    loop = ev_loop_new(EVFLAG_AUTO);
    return loop ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    resolver_servers_destroy_all(&list);
    ev_loop_destroy(loop);
    return 0;
}

static struct resolver_servers *find(const char *text, uint64_t timeout) {
    struct resolver_servers *s = resolver_servers_find(&list, loop, text, timeout);
    assert_non_null(s);
    return s;
}

static size_t count(void) {
    size_t n = 0;
    for (const struct resolver_servers *s = list; s; s = s->next)
        n++;
    return n;
}

static void one_set_for_each_servers_and_timeout(void **state) {
    (void)state;
    struct resolver_servers *s = find("127.0.0.1:53", 1000000);
    assert_ptr_equal(find("127.0.0.1:53", 1000000), s);
    assert_ptr_not_equal(find("127.0.0.1:53", 2000000), s);
    assert_ptr_not_equal(find("127.0.0.2:53", 1000000), s);
    assert_int_equal(count(), 3);
}

/* Configurations come and go, and each may name others. */
static void what_nobody_wants_any_more_goes(void **state) {
    (void)state;
    struct resolver_servers *asked = find("127.0.0.1:53", 1000000), *kept = find("127.0.0.2:53", 1000000);
    find("127.0.0.3:53", 1000000);
    asked->under_way = 1;
    later_seconds += 400;
    assert_ptr_equal(find("127.0.0.2:53", 1000000), kept);
    assert_int_equal(count(), 3);
    later_seconds += 400;
    assert_ptr_equal(find("127.0.0.2:53", 1000000), kept);
    assert_int_equal(count(), 2); /* the one that is asked stays */
    asked->under_way = 0;
    assert_ptr_equal(find("127.0.0.2:53", 1000000), kept);
    assert_int_equal(count(), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_set_for_each_servers_and_timeout),
        TEST(what_nobody_wants_any_more_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
