#include "dataplane/back/cluster_counts.h"

#include "common/alloc.h"

struct cluster_counts *cluster_counts_of(struct cluster_counts_list *list, const void *worker) {
    struct cluster_counts *first = atomic_load_explicit(&list->first, memory_order_acquire);
    for (struct cluster_counts *c = first; c; c = c->next)
        if (c->worker == worker)
            return c;
    struct cluster_counts *made = hg_calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->worker = worker;
    do
        made->next = first;
    while (!atomic_compare_exchange_weak_explicit(&list->first, &first, made, memory_order_release, memory_order_acquire));
    return made;
}

void cluster_counts_finish(struct cluster_counts_list *list) {
    for (struct cluster_counts *c = atomic_load_explicit(&list->first, memory_order_acquire), *next; c; c = next) {
        next = c->next;
        hg_free(c);
    }
}

static void add(struct cluster_totals *sum, const struct cluster_counts *c) {
    for (int i = 0; i < CLUSTER_OUTCOMES; i++)
        sum->ended[i] += stats_read(&c->ended[i]);
    sum->requests += stats_read(&c->requests);
    sum->began += stats_read(&c->began);
    sum->refused += stats_read(&c->refused);
    sum->latency_us += stats_read(&c->latency_us);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum->latencies[i] += stats_read(&c->latencies[i]);
}

void cluster_counts_read(struct cluster_counts_list *list, struct cluster_totals *ret) {
    struct cluster_totals sum = {0};
    for (const struct cluster_counts *c = atomic_load_explicit(&list->first, memory_order_acquire); c; c = c->next)
        add(&sum, c);
    *ret = sum;
}

uint64_t cluster_counts_requests(struct cluster_counts_list *list) {
    uint64_t sum = 0;
    for (const struct cluster_counts *c = atomic_load_explicit(&list->first, memory_order_acquire); c; c = c->next)
        sum += stats_read(&c->requests);
    return sum;
}
