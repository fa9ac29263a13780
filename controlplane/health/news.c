/* What the checker tells the loop's thread: collected over a turn, and for as long as the batch before has not been
 * taken. So however long that thread is busy, an endpoint is in one batch at most once, and no more than one batch waits. */
#include "common/alloc.h"
#include "controlplane/health/checker.h"

void news_add(struct checker *c, struct endpoint *e) {
    if (e->has_news)
        return;
    e->has_news = true;
    e->next_news = NULL;
    *c->last_news = e;
    c->last_news = &e->next_news;
}

/* Drops what was removed, or flipped back; returns how many are left, and the bytes of their texts. */
static size_t sift(struct checker *c, size_t *ret_bytes) {
    size_t count = 0;
    struct endpoint **link = &c->news, *e;
    *ret_bytes = 0;
    while ((e = *link)) {
        if (!e->is_removed && (e->health != e->told || e->has_failure_news)) {
            count++;
            *ret_bytes += strlen(e->cluster->plan->cluster) + strlen(e->address) + (e->reason ? strlen(e->reason) : 0) + 3;
            link = &e->next_news;
            continue;
        }
        *link = e->next_news;
        e->has_news = false;
        if (e->is_removed && !e->is_queued)
            endpoint_destroy(e);
    }
    c->last_news = link;
    return count;
}

static const char *put_text(char **at, const char *text) {
    size_t n = strlen(text) + 1;
    char *put = memcpy(*at, text, n);
    *at += n;
    return put;
}

static void put(struct batch *b, struct endpoint *e, char **at) {
    struct news *n = &b->news[b->count++];
    *n = (struct news){.cluster = put_text(at, e->cluster->plan->cluster), .address = put_text(at, e->address), .id = e->id,
                       .failed_at = e->failed_at, .changed_at = e->changed_at, .health = e->health};
    bool is_unhealthy = e->health == HEADGATE__ENDPOINT__HEALTH__UNHEALTHY;
    if ((e->has_failure_news || is_unhealthy) && e->reason)
        n->reason = put_text(at, e->reason);
    e->told = e->health;
    e->has_news = e->has_failure_news = false;
}

/* NULL: no memory; the news are kept. */
static struct batch *make_batch(struct checker *c) {
    size_t bytes, count = sift(c, &bytes);
    struct batch *b = hg_calloc(1, sizeof *b + count * (sizeof *b->news + sizeof *b->changes) + bytes);
    if (!b)
        return NULL;
    b->changes = (struct health_change *)&b->news[count];
    char *at = (char *)&b->changes[count];
    for (struct endpoint *e = c->news; e; e = e->next_news)
        put(b, e, &at);
    c->news = NULL;
    c->last_news = &c->news;
    b->counters = c->counters;
    b->counters.connects = c->probes.connects;
    b->counters.reused = c->probes.reused;
    b->counters.connections = c->probes.open;
    return b;
}

void news_send(struct checker *c, bool is_always) {
    if (!c->news && !is_always)
        return;
    pthread_mutex_lock(&c->lock);
    bool is_waiting = c->batch != NULL; /* only this thread sets it */
    pthread_mutex_unlock(&c->lock);
    struct batch *b = is_waiting ? NULL : make_batch(c);
    if (!b)
        return;
    pthread_mutex_lock(&c->lock);
    c->batch = b;
    pthread_mutex_unlock(&c->lock);
    ev_async_send(c->owner, c->owner_wake);
}

struct batch *checker_take(struct checker *c) {
    pthread_mutex_lock(&c->lock);
    struct batch *b = c->batch;
    c->batch = NULL;
    pthread_mutex_unlock(&c->lock);
    return b;
}

void news_forget(struct checker *c) {
    size_t ignored;
    sift(c, &ignored);
}
