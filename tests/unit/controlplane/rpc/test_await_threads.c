/* The end of a program waits for threads that are about to end, and not for ever for one that stays. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/rpc/loop.h"

static void *wait_for_end_of(void *pipe) {
    char byte;
    return read(((int *)pipe)[0], &byte, 1) == 0 ? NULL : pipe;
}

static unsigned long links_of_tasks(void) {
    struct stat tasks;
    assert_int_equal(stat("/proc/self/task", &tasks), 0);
    return tasks.st_nlink;
}

static void threads_end_before_it_returns(void **state) {
    int ends[2];
    pthread_t thread;
    (void)state;
    unsigned long alone = links_of_tasks();
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_end_of, ends), 0);
    assert_int_equal(links_of_tasks(), alone + 1);
    rpc_await_threads(); /* in vain: this one stays */
    assert_int_equal(links_of_tasks(), alone + 1);
    close(ends[1]);
    rpc_await_threads();
    assert_int_equal(links_of_tasks(), alone);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(ends[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_end_before_it_returns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
