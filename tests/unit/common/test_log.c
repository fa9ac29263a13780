#include "common/log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "tests/unit/common/cmocka_all.h"

/* What is written to standard error between the two calls. */
static int saved_stderr, end_to_read;

static void begin_capture(void) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    saved_stderr = dup(STDERR_FILENO);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    end_to_read = ends[0];
}

static void end_capture(char *text, size_t size) {
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    ssize_t n = read(end_to_read, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(end_to_read);
}

static void start(const char *form, const char *level) {
    setenv("HEADGATE_LOG", form, 1);
    if (level)
        setenv("HEADGATE_LOG_LEVEL", level, 1);
    else
        unsetenv("HEADGATE_LOG_LEVEL");
    log_set_level(LOG_LEVEL_INFO);
    log_init("tester");
}

static void json_records(void **state) {
    char text[1024];
    (void)state;
    start("json", NULL);
    begin_capture();
    log_warning("it \"happened\"", LOG_S("name", "a\nb"), LOG_I("low", -5), LOG_U("high", UINT64_MAX),
                LOG_S("none", NULL));
    end_capture(text, sizeof text);
    assert_memory_equal(text, "{\"time\":\"2", 10);
    assert_non_null(
        strstr(text, "Z\",\"level\":\"warning\",\"component\":\"tester\",\"message\":\"it \\\"happened\\\"\","
                     "\"name\":\"a\\nb\",\"low\":-5,\"high\":18446744073709551615,\"none\":\"\"}\n"));
}

static void text_records(void **state) {
    char text[1024];
    (void)state;
    start("text", NULL);
    begin_capture();
    log_info("bound", LOG_S("name", "web\x1b[0m"), LOG_U("workers", 2));
    log_info("plain");
    end_capture(text, sizeof text);
    assert_non_null(strstr(text, "Z info    tester: bound name=\"web\\u001b[0m\" workers=2\n"));
    assert_non_null(strstr(text, "Z info    tester: plain\n"));
}

static unsigned written_levels(void) {
    char text[1024];
    begin_capture();
    log_debug("record 0");
    log_info("record 1");
    log_warning("record 2");
    log_error("record 3");
    end_capture(text, sizeof text);
    unsigned levels = 0;
    for (unsigned i = 0; i < 4; i++) {
        char part[16];
        snprintf(part, sizeof part, "record %u\n", i);
        levels |= strstr(text, part) ? 1u << i : 0;
    }
    return levels;
}

static void levels_below_the_threshold_are_not_written(void **state) {
    (void)state;
    start("text", NULL);
    assert_int_equal(written_levels(), 0xe);
    start("text", "debug");
    assert_int_equal(written_levels(), 0xf);
    start("text", "error");
    assert_int_equal(written_levels(), 0x8);
    start("text", "nonsense");
    assert_int_equal(written_levels(), 0xe);
}

static void a_record_without_memory_is_left_out(void **state) {
    char text[1024];
    (void)state;
    start("text", NULL);
    begin_capture();
    hg_alloc_fail_at(0, 1);
    log_info("lost");
    hg_alloc_fail_at(-1, 0);
    log_info("written");
    hg_alloc_fail_at(1, 1);
    log_info("lost too, since it does not fit into what there is", LOG_S("name", "value"));
    hg_alloc_fail_at(-1, 0);
    log_info("written too");
    end_capture(text, sizeof text);
    assert_null(strstr(text, "lost"));
    assert_non_null(strstr(text, "dropped count=1\n"));
    assert_non_null(strstr(text, "written\n"));
    assert_non_null(strstr(text, "written too\n"));
}

/* The end of a pipe that is written to: from here on there is no room, as if the reader had stalled. */
static void fill(int fd) {
    static const char page[PIPE_BUF];
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while (write(fd, page, sizeof page) > 0)
        continue;
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* as it is given to a daemon: a write waits */
}

static void discard(int fd) {
    char page[PIPE_BUF];
    while (read(fd, page, sizeof page) > 0)
        continue;
}

static void nobody_waits_for_a_reader_that_stalls(void **state) {
    char text[1024];
    (void)state;
    start("text", NULL);
    begin_capture();
    fill(STDERR_FILENO);
    alarm(60); /* ends a write that waits */
    for (int i = 0; i < 3; i++)
        log_info("too many");
    alarm(0);
    discard(end_to_read);
    log_info("after");
    log_info("once");
    end_capture(text, sizeof text);
    assert_null(strstr(text, "too many"));
    const char *told = strstr(text, " warning tester: records before this one were dropped count=3\n");
    assert_non_null(told);
    const char *after = strstr(told, "after\n");
    assert_non_null(after);
    assert_null(strstr(after, "dropped"));
}

static void log_long_record(void) {
    static char value[2 * PIPE_BUF + 1];
    memset(value, 'x', sizeof value - 1);
    log_info("long", LOG_S("name", value));
    log_info("next");
}

static void long_records_are_cut_in_a_pipe(void **state) {
    char text[4 * PIPE_BUF];
    (void)state;
    start("text", NULL);
    begin_capture();
    log_long_record();
    end_capture(text, sizeof text);
    assert_int_equal(strcspn(text, "\n") + 1, PIPE_BUF);
    assert_non_null(strstr(text + PIPE_BUF, "next\n"));
}

static void long_records_are_whole_in_a_file(void **state) {
    char text[4 * PIPE_BUF] = "", nothing[1];
    (void)state;
    start("text", NULL);
    begin_capture();
    int file = memfd_create("log", MFD_CLOEXEC);
    assert_int_equal(dup2(file, STDERR_FILENO), STDERR_FILENO);
    log_long_record();
    assert_true(pread(file, text, sizeof text - 1, 0) > 0);
    close(file);
    end_capture(nothing, sizeof nothing);
    assert_true(strcspn(text, "\n") > 2 * PIPE_BUF);
    assert_non_null(strstr(text, "x\"\n"));
    assert_non_null(strstr(text, "next\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_records),
        cmocka_unit_test(text_records),
        cmocka_unit_test(levels_below_the_threshold_are_not_written),
        cmocka_unit_test(a_record_without_memory_is_left_out),
        cmocka_unit_test(nobody_waits_for_a_reader_that_stalls),
        cmocka_unit_test(long_records_are_cut_in_a_pipe),
        cmocka_unit_test(long_records_are_whole_in_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
