/* labels: threads
 * The access log's writer thread, with files, a full disk and a pipe that nobody reads. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/core/log_writer.h"

enum { WORKERS = 2, RECORDS = 20000 };

static struct log_writer *writer;
static struct log_rings *rings;
static char paths[2][64];

static int set_up(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        strcpy(paths[i], "/tmp/headgate-log-XXXXXX");
        int fd = mkstemp(paths[i]);
        if (fd < 0 || close(fd) < 0)
            return -1;
    }
    writer = log_writer_create();
    rings = writer ? log_rings_create(writer, WORKERS, 65536) : NULL;
    return rings ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    log_writer_destroy(writer);
    writer = NULL;
    return unlink(paths[0]) + unlink(paths[1]);
}

static int open_log(int which) {
    return open(paths[which], O_WRONLY | O_APPEND | O_CLOEXEC);
}

/* Stops the writer, so that all is on the file; returns the lines and checks that each is whole. */
static size_t lines_of(int which) {
    char line[128];
    unsigned worker, number;
    size_t lines = 0;
    log_writer_destroy(writer);
    writer = NULL;
    FILE *file = fopen(paths[which], "r");
    for (; fgets(line, sizeof line, file); lines++)
        assert_int_equal(sscanf(line, "worker %u record %u.", &worker, &number), 2);
    fclose(file);
    return lines;
}

static void put(unsigned worker, unsigned number) {
    char record[64];
    int n = snprintf(record, sizeof record, "worker %u record %u.\n", worker, number);
    log_ring_put(&rings->items[worker], record, (size_t)n);
}

static void *produce(void *arg) {
    unsigned worker = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < RECORDS; i++)
        put(worker, i);
    return NULL;
}

static void every_record_is_written_or_counted(void **state) {
    (void)state;
    pthread_t threads[WORKERS];
    uint64_t put_count = 0, dropped = 0;
    assert_int_equal(log_writer_set(writer, open_log(0), rings), 0);
    for (uintptr_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce, (void *)i), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < WORKERS; i++) {
        put_count += log_ring_records(&rings->items[i]);
        dropped += log_ring_dropped(&rings->items[i]);
    }
    assert_int_equal(put_count + dropped, WORKERS * RECORDS);
    assert_int_equal(lines_of(0), put_count);
}

static bool is_empty(int which) {
    struct stat st;
    return stat(paths[which], &st) == 0 && st.st_size == 0;
}

static void reopening_splits_at_a_record(void **state) {
    (void)state;
    size_t count = 0;
    log_writer_set(writer, open_log(0), rings);
    for (; is_empty(0); usleep(100))
        put(0, (unsigned)count++);
    log_writer_set(writer, open_log(1), rings);
    for (; is_empty(1); usleep(100))
        put(1, (unsigned)count++);
    size_t second = lines_of(1);
    writer = log_writer_create();
    assert_int_equal(lines_of(0) + second, count);
}

static void old_rings_are_emptied_into_the_old_file(void **state) {
    (void)state;
    log_writer_set(writer, open_log(0), rings);
    for (unsigned i = 0; i < 100; i++)
        put(1, i);
    rings = log_rings_create(writer, WORKERS, 4096);
    log_writer_set(writer, open_log(1), rings);
    put(0, 1);
    assert_int_equal(lines_of(1), 1);
    writer = log_writer_create();
    assert_int_equal(lines_of(0), 100);
}

static void full_disk_loses_and_counts(void **state) {
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        print_message("skipped: there is no /dev/full\n");
        log_rings_destroy(rings);
        skip();
    }
    for (unsigned i = 0; i < 100; i++)
        put(0, i);
    log_writer_set(writer, fd, rings);
    while (log_writer_counts(writer).failures == 0)
        usleep(1000); /* waits for the event, not for a time */
    assert_int_equal(log_writer_counts(writer).lost, 100);
    assert_int_equal(log_writer_counts(writer).bytes, 0);
    struct log_rings *more = log_rings_create(writer, WORKERS, 4096);
    log_writer_set(writer, open_log(0), more);
    rings = more;
    put(0, 1);
    assert_int_equal(lines_of(0), 1);
}

/* A reader that does not read: the producer goes on at once, and what does not fit is dropped. */
static void slow_reader_does_not_stop_the_producer(void **state) {
    (void)state;
    int pipe_fds[2];
    char bytes[65536];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    log_writer_set(writer, pipe_fds[1], rings);
    for (unsigned i = 0; i < RECORDS; i++)
        put(0, i);
    assert_true(log_ring_dropped(&rings->items[0]) > 0);
    uint64_t put_count = log_ring_records(&rings->items[0]), lines = 0;
    for (ssize_t n; lines < put_count && (n = read(pipe_fds[0], bytes, sizeof bytes)) > 0;)
        for (ssize_t i = 0; i < n; i++)
            lines += bytes[i] == '\n';
    assert_int_equal(lines, put_count);
    close(pipe_fds[0]);
}

static void lack_of_memory_is_told(void **state) {
    (void)state;
    for (long nth = 0; nth < 4; nth++) {
        hg_alloc_fail_at(nth, 0);
        struct log_rings *more = log_rings_create(writer, WORKERS, 4096);
        hg_alloc_fail_at(-1, 0);
        assert_null(more);
    }
    hg_alloc_fail_at(0, 0);
    assert_int_equal(log_writer_set(writer, -1, NULL), -1);
    hg_alloc_fail_at(0, 0);
    assert_null(log_writer_create());
    hg_alloc_fail_at(-1, 0);
    log_rings_destroy(rings);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_record_is_written_or_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reopening_splits_at_a_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(old_rings_are_emptied_into_the_old_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_disk_loses_and_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slow_reader_does_not_stop_the_producer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lack_of_memory_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
