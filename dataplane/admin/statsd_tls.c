#include "dataplane/admin/statsd_tls.h"

#include <inttypes.h>
#include <stdio.h>

/* One side's. */
struct push {
    const char              *prefix, *side;
    const struct tls_totals *last, *now;
    struct strbuf           *out;
};

static void add(const struct push *p, const char *name, const char *label, uint64_t last, uint64_t now) {
    if (now != last)
        strbuf_printf(p->out, "%s%s%s.%s%s%s:%" PRIu64 "|c\n", p->prefix, p->prefix[0] ? "." : "", name, p->side,
                      label[0] ? "." : "", label, now - last);
}

static void add_failures(const struct push *p) {
    static const char *const words[] = {
#define STATSD_WORD(failure, word) word,
        STATS_TLS_FAILURES(STATSD_WORD)
#undef STATSD_WORD
    };
    for (int i = 1; i < STATS_TLS_FAILURE_COUNT; i++)
        add(p, "tls_failures_total", words[i], p->last->failures[i], p->now->failures[i]);
}

static void add_times(const struct push *p) {
    static const uint64_t bounds[] = STATS_TLS_BOUNDS;
    uint64_t last = 0, now = 0;
    char label[32];
    for (int i = 0; i < STATS_TLS_BUCKETS; i++) {
        last += p->last->buckets[i];
        now += p->now->buckets[i];
        if (i < STATS_TLS_BUCKETS - 1)
            snprintf(label, sizeof label, "le_%" PRIu64, bounds[i]);
        else
            snprintf(label, sizeof label, "le_inf");
        add(p, "tls_handshake_us_bucket", label, last, now);
    }
    add(p, "tls_handshake_us_sum", "", p->last->handshake_us, p->now->handshake_us);
    add(p, "tls_handshake_us_count", "", last, now);
}

static void add_side(const struct push *p) {
    add(p, "tls_handshakes_total", "full", p->last->full, p->now->full);
    add(p, "tls_handshakes_total", "resumed", p->last->resumed, p->now->resumed);
    add(p, "tls_connections_total", "1_2", p->last->version_1_2, p->now->version_1_2);
    add(p, "tls_connections_total", "1_3", p->last->version_1_3, p->now->version_1_3);
    add_failures(p);
    add(p, "tls_tickets_total", "issued", p->last->tickets_issued, p->now->tickets_issued);
    add(p, "tls_tickets_total", "rejected", p->last->tickets_rejected, p->now->tickets_rejected);
    add_times(p);
    add(p, "tls_kernel_connections_total", "", p->last->in_kernel, p->now->in_kernel);
}

void statsd_render_tls(const char *prefix, const struct tls_totals *last, const struct tls_totals *now, struct strbuf *out) {
    static const char *const sides[STATS_TLS_SIDES] = {"clients", "origins"};
    for (int side = 0; side < STATS_TLS_SIDES; side++)
        add_side(&(struct push){prefix, sides[side], &last[side], &now[side], out});
}
