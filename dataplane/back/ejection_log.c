#include "dataplane/back/ejection_log.h"

#include <pthread.h>

#include "common/alloc.h"
#include "common/log.h"
#include "dataplane/back/cluster.h"

enum { WAITING_MOST = 256 };

struct ejection_log {
    void          (*wake)(void *);
    void           *arg;
    pthread_mutex_t lock;                /* guards what follows */
    struct ejection_event waiting[WAITING_MOST];
    unsigned        count;
    uint64_t        lost;
};

static const char *const reasons[] = {
#define EJECTION_WORD(name, word) word,
    STATS_EJECTIONS(EJECTION_WORD)
#undef EJECTION_WORD
};

struct ejection_log *ejection_log_create(void (*wake)(void *), void *arg) {
    struct ejection_log *l = hg_calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->wake = wake;
    l->arg = arg;
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void ejection_log_put(struct ejection_log *l, const struct ejection_event *e) {
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    if (l->count < WAITING_MOST) {
        endpoint_shared_ref(e->endpoint);
        cluster_shared_ref(e->cluster);
        l->waiting[l->count++] = *e;
    } else {
        l->lost++;
    }
    pthread_mutex_unlock(&l->lock);
    l->wake(l->arg);
}

static void write_event(const struct ejection_event *e) {
    if (e->is_return)
        log_info("endpoint is used again", LOG_S("cluster", e->cluster->name), LOG_S("endpoint", e->endpoint->text));
    else
        log_warning("endpoint is ejected", LOG_S("cluster", e->cluster->name), LOG_S("endpoint", e->endpoint->text),
                    LOG_S("reason", reasons[e->reason]), LOG_U("for_ms", e->duration / 1000), LOG_U("in_row", e->in_row));
    endpoint_shared_unref(e->endpoint);
    cluster_shared_unref(e->cluster);
}

/* One at a time, so that the lock is not held over a write. */
static bool take_first(struct ejection_log *l, struct ejection_event *ret) {
    pthread_mutex_lock(&l->lock);
    bool is_there = l->count > 0;
    if (is_there) {
        *ret = l->waiting[0];
        memmove(l->waiting, l->waiting + 1, --l->count * sizeof *l->waiting);
    }
    pthread_mutex_unlock(&l->lock);
    return is_there;
}

static uint64_t take_lost(struct ejection_log *l) {
    pthread_mutex_lock(&l->lock);
    uint64_t lost = l->lost;
    l->lost = 0;
    pthread_mutex_unlock(&l->lock);
    return lost;
}

void ejection_log_write(struct ejection_log *l) {
    struct ejection_event e;
    for (unsigned i = 0; i < WAITING_MOST && take_first(l, &e); i++) /* the main thread has other work, too */
        write_event(&e);
    uint64_t lost = take_lost(l);
    if (lost)
        log_warning("more endpoints were ejected, or are used again", LOG_U("count", lost));
}

void ejection_log_destroy(struct ejection_log *l) {
    if (!l)
        return;
    ejection_log_write(l);
    pthread_mutex_destroy(&l->lock);
    hg_free(l);
}
