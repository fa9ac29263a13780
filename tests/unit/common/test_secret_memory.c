/* Memory for keys is zero at first, zero at last, and in no core file. */
#include "common/secret_memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/dumps.h"
#include "tests/unit/common/cmocka_all.h"

/* In place of the sanitizers', which locks nothing. */
int mlock(const void *address, size_t size) {
    return (int)syscall(SYS_mlock, address, size);
}

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

/* Whether the mapping that the address is in has the flag. */
static bool has_flag(const void *address, const char *flag) {
    char line[512];
    bool is_in = false, has = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        unsigned long from, until;
        if (sscanf(line, "%lx-%lx ", &from, &until) == 2)
            is_in = from <= (unsigned long)address && (unsigned long)address < until;
        else if (is_in && strncmp(line, "VmFlags:", 8) == 0)
            has = strstr(line, flag) != NULL;
    }
    fclose(file);
    return has;
}

static void it_is_in_no_core_file(void **state) {
    (void)state;
    void *secret = secret_alloc(64), *other = malloc(64);
    assert_true(has_flag(secret, " dd"));
    assert_false(has_flag(other, " dd"));
    free(other);
    secret_free(secret);
}

/* As far as RLIMIT_MEMLOCK allows, which another block as large as a secret's shows. */
static void it_is_locked(void **state) {
    enum { SIZE = 64 << 10 };
    (void)state;
    void *secret = secret_alloc(64), *other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    bool is_locked = has_flag(secret, " lo"), is_allowed = mlock(other, SIZE) == 0;
    munmap(other, SIZE);
    secret_free(secret);
    if (!is_allowed) {
        print_message("skipped: RLIMIT_MEMLOCK allows nothing\n");
        skip();
    }
    assert_true(is_locked);
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
        cmocka_unit_test(it_is_locked),
        cmocka_unit_test(dumps_can_be_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
