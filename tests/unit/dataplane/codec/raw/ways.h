/* ways.h — bytes both ways between a client and an endpoint, through the whole worker. */
#pragma once

#include "tests/unit/dataplane/codec/h1/dialogue.h"

enum { LARGE = 1 << 20, SCHEDULES = 60, CONNECTIONS_MAX = 16 };

static char patterns[2][LARGE];
static uint64_t seed = 88172645463325252u;

static inline uint32_t dice(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % below;
}

static inline void fill_patterns(void) {
    for (size_t i = 0; i < LARGE; i++) {
        patterns[0][i] = (char)(i * 7 + i / 251);
        patterns[1][i] = (char)(i * 13 + i / 241);
    }
}

static inline void expect_end(int fd) {
    struct strbuf rest = {0};
    settle();
    assert_true(receive(fd, &rest));
    assert_int_equal(rest.n, 0);
    close(fd);
}

/* Nobody reads: what is taken is bounded, and all of it arrives later. */
static inline void hold_up(int client, int origin) {
    const int ends[2][2] = {{client, origin}, {origin, client}};
    for (int way = 0; way < 2; way++) {
        struct strbuf got = {0};
        size_t sent = 0, more;
        while (sent < LARGE && (more = send_some(ends[way][0], patterns[way] + sent, LARGE - sent)) > 0) {
            sent += more;
            settle();
            assert_true(worker.buffer_used <= 2 * settings.limits.buffer + 2 * UNSENT_MAX);
        }
        for (int i = 0; got.n < sent && i < 1000; i++) {
            receive(ends[way][1], &got);
            settle();
        }
        assert_int_equal(got.n, sent);
        assert_memory_equal(got.p, patterns[way], sent);
        strbuf_finish(&got);
    }
    close(client);
    close(origin);
    settle();
}

struct way {
    int           from, to;
    const char   *bytes;
    size_t        size, sent;
    struct strbuf got;
    bool          has_ended, has_seen_end;
};

static inline void step(struct way *w) {
    if (dice(2)) {
        size_t left = w->size - w->sent, part = dice(60000);
        w->sent += send_some(w->from, w->bytes + w->sent, left < part ? left : part);
        if (w->sent == w->size && !w->has_ended)
            w->has_ended = shutdown(w->from, SHUT_WR) == 0;
    } else if (!w->has_seen_end) {
        w->has_seen_end = receive(w->to, &w->got);
    }
    if (dice(3) == 0)
        settle();
}

static inline bool has_unseen_end(const struct way *ways, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (!ways[i].has_seen_end)
            return true;
    return false;
}

/* On each connection both sides say something of a random length, and end; in steps of a random schedule. */
static inline void pass_all(const int (*ends)[2], unsigned count) {
    struct way ways[2 * CONNECTIONS_MAX];
    for (unsigned i = 0; i < 2 * count; i++)
        ways[i] = (struct way){.from = ends[i / 2][i % 2], .to = ends[i / 2][!(i % 2)], .bytes = patterns[i % 2],
                               .size = i % 2 == 0 || dice(4) ? dice(LARGE) : 0};
    while (has_unseen_end(ways, 2 * count))
        step(&ways[dice(2 * count)]);
    for (unsigned i = 0; i < 2 * count; i++) {
        assert_int_equal(ways[i].got.n, ways[i].size);
        assert_memory_equal(ways[i].got.p ? ways[i].got.p : "", ways[i].bytes, ways[i].size);
        strbuf_finish(&ways[i].got);
        close(ways[i].from);
    }
    settle();
}

/* Connections that are together more than the budget wait for each other, and none waits for ever. */
static inline void pass_all_with_little_memory(int (*open_one)(int *ret_origin)) {
    for (int i = 0; i < SCHEDULES / 4; i++) {
        int ends[CONNECTIONS_MAX][2];
        for (unsigned k = 0; k < CONNECTIONS_MAX; k++)
            ends[k][0] = open_one(&ends[k][1]);
        worker.buffer_limit = dice(3) ? dice(500000) : 0;
        pass_all((const int(*)[2])ends, CONNECTIONS_MAX);
        worker.buffer_limit = UINT64_MAX;
        assert_int_equal(worker.buffer_used, 0);
        assert_int_equal(stats_read(&worker.stats->exchanges), 0);
    }
}

static inline void pass_both_ways(int client, int origin) {
    pass_all(&(const int[2]){client, origin}, 1);
}
