/* clients.h — what tests do with the clients of network.h, and ask of them. */
#pragma once

#include "tests/unit/dataplane/quic/network.h"

static char large[1 << 20];

static inline void fill_large(void) {
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 2654435761u >> 24);
}

/* ---- conditions ---- */

static inline bool all_done(void) {
    for (size_t i = 0; i < net.peer_count; i++)
        if (!net.peers[i]->is_done)
            return false;
    return true;
}

static inline bool last_done(void) {
    return net.peers[net.peer_count - 1]->is_done;
}

static inline bool all_answered(void) {
    for (size_t i = 0; i < net.peer_count; i++)
        for (size_t j = 0; j < STREAMS; j++)
            if (net.peers[i]->sending[j].is_used && !net.peers[i]->ended[j])
                return false;
    return true;
}

/* ---- clients ---- */

static inline struct peer *open_one(const struct peer_wish *w) {
    struct peer *p = peer_connect(w);
    assert_true(net_run(last_done, 5000000));
    return p;
}

static inline void check_echo(const struct peer *p, size_t stream) {
    const struct sending *s = &p->sending[stream];
    assert_true(p->ended[stream]);
    assert_int_equal(p->got[stream].n, s->n);
    assert_memory_equal(p->got[stream].p, s->bytes, s->n);
}
