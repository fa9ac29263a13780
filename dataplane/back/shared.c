/* shared.c — what workers share of clusters and endpoints: counted blocks of atomics. */
#include "common/alloc.h"
#include "dataplane/back/cluster.h"

static bool is_last(_Atomic uint32_t *references) {
    return atomic_fetch_sub_explicit(references, 1, memory_order_acq_rel) == 1;
}

struct endpoint_shared *endpoint_shared_create(struct str text) {
    struct endpoint_shared *s = hg_calloc(1, sizeof *s + text.n + 1);
    if (!s)
        return NULL;
    atomic_init(&s->references, 1);
    memcpy(s->text, text.p, text.n);
    return s;
}

struct endpoint_shared *endpoint_shared_ref(struct endpoint_shared *s) {
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void endpoint_shared_unref(struct endpoint_shared *s) {
    if (s && is_last(&s->references))
        hg_free(s);
}

struct cluster_shared *cluster_shared_create(struct str name) {
    struct cluster_shared *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    atomic_init(&s->references, 1);
    memcpy(s->name, name.p, name.n < sizeof s->name ? name.n : sizeof s->name - 1);
    return s;
}

struct cluster_shared *cluster_shared_ref(struct cluster_shared *s) {
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void cluster_shared_unref(struct cluster_shared *s) {
    if (!s || !is_last(&s->references))
        return;
    cluster_counts_finish(&s->counts);
    hg_free(s);
}
