#include "dataplane/l4/train.h"

#include <errno.h>
#include <string.h>

#include "dataplane/core/stats.h"

static bool has_room(const struct train *t, size_t n) {
    return !t->is_closed && t->count < UDP_BURST_SEGMENTS && n <= t->segment && t->n + n <= sizeof t->bytes;
}

static bool goes_the_same_way(const struct train *t, const struct udp_socket *s, const struct address *remote, uint8_t ecn) {
    return t->socket == s && t->remote == remote && t->ecn == ecn;
}

/* What this host lacks for a moment says nothing of the peer. */
static bool is_of_peer(int error) {
    return error && error != EAGAIN && error != EMSGSIZE && error != ENOBUFS && error != ENOMEM;
}

void train_send(struct train *t) {
    struct udp_socket *s = t->socket;
    t->socket = NULL;
    if (!s || !s->is_open)
        return;
    int error = udp_send(s, t->remote, t->local, t->bytes, t->n, t->segment, t->ecn);
    size_t sent = error == 0 ? t->n : error == EAGAIN ? s->sent : 0;
    stats_add(&s->worker->stats->quic_pass_dropped_unsent_total, (t->n - sent + t->segment - 1) / t->segment);
    if (is_of_peer(error) && !t->remote)
        s->ops->on_error(s, error); /* of a connected socket it is told once, here or there */
}

void train_send_of(struct train *t, const struct udp_socket *s, const struct address *remote) {
    if (t->socket && (t->socket == s || t->remote == remote))
        train_send(t);
}

static void begin(struct train *t, struct udp_socket *s, const struct address *remote, const struct address *local,
                  uint8_t ecn, size_t n) {
    t->socket = s;
    t->remote = remote;
    t->local = local;
    t->ecn = ecn;
    t->is_closed = false;
    t->n = t->count = 0;
    t->segment = n;
}

void train_add(struct train *t, struct udp_socket *s, const struct address *remote, const struct address *local, uint8_t ecn,
               const uint8_t *bytes, size_t n) {
    if (n == 0)
        return;
    if (n > sizeof t->bytes || !goes_the_same_way(t, s, remote, ecn) || !has_room(t, n)) {
        train_send(t);
        if (n > sizeof t->bytes || !s->is_open) { /* what was before it may have ended the flow */
            stats_add(&s->worker->stats->quic_pass_dropped_unsent_total, 1);
            return;
        }
        begin(t, s, remote, local, ecn, n);
    }
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->count++;
    t->is_closed = n < t->segment;
}
