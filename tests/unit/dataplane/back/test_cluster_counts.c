/* Counts of a cluster: one block for each worker, whoever comes first, and sums that miss nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>

#include "common/alloc.h"
#include "dataplane/back/cluster_counts.h"

enum { WORKERS = 4, ATTEMPTS = 20000 };

static struct cluster_counts_list list;

static void *work(void *worker) {
    for (int i = 0; i < ATTEMPTS; i++) {
        struct cluster_counts *c = cluster_counts_of(&list, worker);
        cluster_counts_began(c);
        cluster_counts_ended(c, (unsigned)i % CLUSTER_OUTCOMES);
        cluster_counts_latency(c, i % 2 ? 1000 : 0);
    }
    return NULL;
}

static void workers_count_apart(void **state) {
    static char workers[WORKERS];
    pthread_t threads[WORKERS];
    struct cluster_totals t;
    uint64_t ended = 0;
    (void)state;
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    cluster_counts_read(&list, &t);
    for (int i = 0; i < CLUSTER_OUTCOMES; i++)
        ended += t.ended[i];
    assert_int_equal(t.began, WORKERS * ATTEMPTS);
    assert_int_equal(ended, WORKERS * ATTEMPTS);
    assert_int_equal(t.latencies[histogram_bucket(1000)], WORKERS * ATTEMPTS / 2);
    assert_int_equal(t.latency_us, (uint64_t)1000 * WORKERS * ATTEMPTS / 2);
    unsigned blocks = 0;
    for (struct cluster_counts *c = list.first; c; c = c->next)
        blocks++;
    assert_int_equal(blocks, WORKERS);
    cluster_counts_finish(&list);
    list = (struct cluster_counts_list){0};
}

static void without_memory(void **state) {
    struct cluster_totals t;
    (void)state;
    hg_alloc_fail_at(0, 0);
    assert_null(cluster_counts_of(&list, &t));
    assert_non_null(cluster_counts_of(&list, &t));
    cluster_counts_read(&list, &t);
    assert_int_equal(t.began, 0);
    cluster_counts_finish(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(workers_count_apart), cmocka_unit_test(without_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
