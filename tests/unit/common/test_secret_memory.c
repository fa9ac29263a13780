/* Memory for keys is zero at first, zero at last, and in no core file. */
#include "common/secret_memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/dumps.h"
#include "tests/unit/common/cmocka_all.h"

static void blocks_are_cleared(void **state) {
    (void)state;
    unsigned char *a = secret_alloc(100), *b = secret_alloc(100);
    assert_non_null(a);
    assert_non_null(b);
    for (int i = 0; i < 100; i++)
        assert_int_equal(a[i], 0);
    memset(a, 0x5a, 100);
    memset(b, 0xa5, 100);
    secret_free(a); /* b keeps the memory around it mapped */
    for (int i = 0; i < 100; i++)
        assert_int_equal(a[i], 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(b[i], 0xa5);
    secret_free(b);
    secret_free(NULL);
}

static void large_and_small_blocks_hold_what_is_written(void **state) {
    enum { COUNT = 300 };
    unsigned char *blocks[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = secret_alloc(i * 997);
        assert_non_null(blocks[i]);
        memset(blocks[i], (int)(i & 0xff), i * 997);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < i * 997; j += 31)
            assert_int_equal(blocks[i][j], i & 0xff);
        secret_free(blocks[i]);
    }
    assert_null(secret_alloc(SIZE_MAX));
}

/* "dd" among the flags of the mapping that the address is in: left out of core files. */
static bool is_left_out(const void *address) {
    char line[512];
    bool is_in = false, is_out = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        unsigned long from, until;
        if (sscanf(line, "%lx-%lx ", &from, &until) == 2)
            is_in = from <= (unsigned long)address && (unsigned long)address < until;
        else if (is_in && strncmp(line, "VmFlags:", 8) == 0)
            is_out = strstr(line, " dd") != NULL;
    }
    fclose(file);
    return is_out;
}

static void it_is_in_no_core_file(void **state) {
    (void)state;
    void *secret = secret_alloc(64), *other = malloc(64);
    assert_true(is_left_out(secret));
    assert_false(is_left_out(other));
    free(other);
    secret_free(secret);
}

static void dumps_can_be_forbidden(void **state) {
    int status;
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(dumps_forbid() == 0 ? prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) : 99);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 1)
        print_message("built with sanitizers, which look into their own process: dumps stay possible\n");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_cleared),
        cmocka_unit_test(large_and_small_blocks_hold_what_is_written),
        cmocka_unit_test(it_is_in_no_core_file),
        cmocka_unit_test(dumps_can_be_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
