#include "dataplane/net/udp_forward.h"

#include <string.h>

#include "common/alloc.h"

struct forwarded {
    struct worker_message message;       /* first */
    struct address        bound, remote, local;
    uint8_t               ecn;
    size_t                n;
    uint8_t               bytes[];
};

static size_t size_of(size_t n) {
    return sizeof(struct forwarded) + n;
}

static void arrive(struct worker *w, struct worker_message *message) {
    struct forwarded *f = (struct forwarded *)message;
    struct udp_socket *s = udp_find_held(w, &f->bound);
    if (s) {
        s->ops->on_datagram(s, &(struct udp_datagram){.bytes = f->bytes, .n = f->n, .remote = &f->remote, .local = &f->local,
                                                      .ecn = f->ecn, .is_forwarded = true});
        if (s->is_open && s->ops->on_batch_end)
            s->ops->on_batch_end(s);
    } else {
        stats_add(&w->stats->udp_forwards_dropped_total, 1);
    }
    atomic_fetch_sub_explicit(&w->udp_forwarded, size_of(f->n), memory_order_relaxed);
    hg_free(f);
}

static struct forwarded *take_room(struct worker *to, size_t n) {
    size_t size = size_of(n), before = atomic_fetch_add_explicit(&to->udp_forwarded, size, memory_order_relaxed);
    struct forwarded *f = before + size <= UDP_FORWARDED_MAX ? hg_malloc(size) : NULL;
    if (!f)
        atomic_fetch_sub_explicit(&to->udp_forwarded, size, memory_order_relaxed);
    return f;
}

bool udp_forward(struct udp_socket *s, struct worker *to, const struct udp_datagram *d) {
    struct forwarded *f = take_room(to, d->n);
    if (!f) {
        stats_add(&s->worker->stats->udp_forwards_dropped_total, 1);
        return false;
    }
    f->message.handle = arrive;
    f->bound = s->local;
    f->remote = *d->remote;
    f->local = *d->local;
    f->ecn = d->ecn;
    f->n = d->n;
    memcpy(f->bytes, d->bytes, d->n);
    stats_add(&s->worker->stats->udp_forwarded_total, 1);
    worker_post(to, &f->message);
    return true;
}
