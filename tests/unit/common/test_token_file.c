/* Tokens in files that change, and the stamps that tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/file_stamp.h"
#include "common/log.h"
#include "common/token_file.h"

struct fixture {
    char folder[64], path[96];
};

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/headgate-token-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/token", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    unlink(f->path);
    assert_int_equal(rmdir(f->folder), 0);
    test_free(f);
    return 0;
}

static void token_is_the_first_line(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    write_file(f->path, "secret \r\nmore\n");
    struct token_file *t = token_file_open(f->path, &errors);
    assert_non_null(t);
    assert_string_equal(token_file_get(t), "secret");
    token_file_close(t);
}

static void file_without_a_token_is_refused(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    char text[TOKEN_MAX + 2];
    assert_null(token_file_open(f->path, &errors));
    write_file(f->path, "");
    assert_null(token_file_open(f->path, &errors));
    write_file(f->path, " \nsecret\n");
    assert_null(token_file_open(f->path, &errors));
    memset(text, 'x', TOKEN_MAX + 1);
    text[TOKEN_MAX + 1] = '\0';
    write_file(f->path, text);
    assert_null(token_file_open(f->path, &errors));
    assert_int_equal(errors.count, 4);
    for (size_t i = 0; i < errors.count; i++)
        assert_non_null(strstr(errors.items[i].message, f->path));
    error_list_finish(&errors);
    text[TOKEN_MAX] = '\0';
    write_file(f->path, text);
    struct token_file *t = token_file_open(f->path, &errors);
    assert_non_null(t);
    assert_string_equal(token_file_get(t), text);
    token_file_close(t);
}

/* Nobody writes into it: it is not waited for, nor when it takes the place of the file later. */
static void pipe_is_no_token_file(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    char text[160];
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_null(token_file_open(f->path, &errors));
    snprintf(text, sizeof text, "no token in %s: it is a pipe, a socket or a device", f->path);
    assert_string_equal(errors.items[0].message, text);
    error_list_finish(&errors);
    unlink(f->path);
    write_file(f->path, "first\n");
    struct token_file *t = token_file_open(f->path, &errors);
    unlink(f->path);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_string_equal(token_file_get(t), "first");
    token_file_close(t);
}

static void new_token_counts_at_once(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    char other[96];
    write_file(f->path, "first\n");
    struct token_file *t = token_file_open(f->path, &errors);
    snprintf(other, sizeof other, "%s/o", f->folder);
    write_file(other, "other\n"); /* of the same size */
    assert_int_equal(rename(other, f->path), 0);
    assert_string_equal(token_file_get(t), "other");
    write_file(f->path, "\n");
    assert_string_equal(token_file_get(t), "other");
    unlink(f->path);
    assert_string_equal(token_file_get(t), "other");
    write_file(f->path, "third\n");
    assert_string_equal(token_file_get(t), "third");
    token_file_close(t);
}

static void link_that_points_elsewhere_is_a_change(void **state) {
    struct fixture *f = *state;
    char a[80], b[80], link[80];
    snprintf(a, sizeof a, "%s/a", f->folder);
    snprintf(b, sizeof b, "%s/b", f->folder);
    snprintf(link, sizeof link, "%s/l", f->folder);
    write_file(a, "1");
    write_file(b, "1");
    assert_int_equal(symlink(a, link), 0);
    struct file_stamp first = file_stamp_of(link), again = file_stamp_of(link);
    assert_true(file_stamp_equal(&first, &again));
    assert_int_equal(unlink(link), 0);
    struct file_stamp none = file_stamp_of(link);
    assert_int_equal(none.inode, 0);
    assert_int_equal(symlink(b, link), 0);
    struct file_stamp second = file_stamp_of(link);
    assert_false(file_stamp_equal(&first, &second));
    unlink(a);
    unlink(b);
    unlink(link);
}

static void survives_failing_allocations(void **state) {
    struct fixture *f = *state;
    struct token_file *t = NULL;
    write_file(f->path, "secret\n");
    for (long nth = 0; !t; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 0);
        t = token_file_open(f->path, &errors);
        hg_alloc_fail_at(-1, 0);
        error_list_finish(&errors);
    }
    token_file_close(t);
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(token_is_the_first_line),
        TEST(file_without_a_token_is_refused),
        TEST(pipe_is_no_token_file),
        TEST(new_token_counts_at_once),
        TEST(link_that_points_elsewhere_is_a_change),
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
