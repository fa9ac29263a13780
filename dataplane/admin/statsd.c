#include "dataplane/admin/statsd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "dataplane/admin/statsd_tls.h"
#include "dataplane/http/http2_faults.h"
#include "dataplane/http/http3_faults.h"
#include "dataplane/snapshot/resource_set.h"

static void add_line(struct strbuf *out, const char *prefix, const char *name, uint64_t value, char type) {
    strbuf_printf(out, "%s%s%s:%" PRIu64 "|%c\n", prefix, prefix[0] ? "." : "", name, value, type);
}

/* With what are labels in /metrics behind the name: "h2_faults_total.clients.reset-flood". */
static void add_fault(const char *prefix, const char *metric, int side, const char *word, uint64_t added,
                      struct strbuf *out) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s.%s", metric, side == STATS_TLS_CLIENTS ? "clients" : "origins", word);
    if (added)
        add_line(out, prefix, name, added, 'c');
}

static void add_faults(const char *prefix, const struct totals *last, const struct totals *now, struct strbuf *out) {
#define STATSD_WORD(fault, scope, code, word) word,
    static const char *const h2_words[] = {H2_FAULTS(STATSD_WORD)}, *const h3_words[] = {H3_FAULTS(STATSD_WORD)};
#undef STATSD_WORD
    for (int side = 0; side < STATS_TLS_SIDES; side++) {
        for (int i = 1; i < H2_FAULT_COUNT; i++)
            add_fault(prefix, "h2_faults_total", side, h2_words[i], now->h2_faults[side][i] - last->h2_faults[side][i], out);
        for (int i = 1; i < H3_FAULT_COUNT; i++)
            add_fault(prefix, "h3_faults_total", side, h3_words[i], now->h3_faults[side][i] - last->h3_faults[side][i], out);
    }
}

static void add_ejections(const char *prefix, const struct totals *last, const struct totals *now, struct strbuf *out) {
    static const char *const names[] = {
#define STATSD_NAME(reason, word) "ejections_total." word,
        STATS_EJECTIONS(STATSD_NAME)
#undef STATSD_NAME
    };
    for (int i = 0; i < STATS_EJECTION_COUNT; i++)
        if (now->ejections[i] != last->ejections[i])
            add_line(out, prefix, names[i], now->ejections[i] - last->ejections[i], 'c');
}

void statsd_render(const char *prefix, const struct totals *last, const struct totals *now,
                   struct strbuf *out) {
#define STATSD_COUNTER(name, help)                                                                 \
    if (now->name != last->name)                                                                   \
        add_line(out, prefix, #name, now->name - last->name, 'c');
#define STATSD_GAUGE(name, help) add_line(out, prefix, #name, now->name, 'g');
    STATS_COUNTERS(STATSD_COUNTER)
    STATS_GAUGES(STATSD_GAUGE)
#undef STATSD_COUNTER
#undef STATSD_GAUGE
    statsd_render_tls(prefix, last->tls, now->tls, out);
    add_faults(prefix, last, now, out);
    add_ejections(prefix, last, now, out);
}

/* The end of the last whole line that fits into one datagram. */
static size_t fitting_lines(struct str rest) {
    if (rest.n <= STATSD_DATAGRAM_MAX)
        return rest.n;
    const char *end = memrchr(rest.p, '\n', STATSD_DATAGRAM_MAX);
    return end ? (size_t)(end + 1 - rest.p) : 0;
}

static void send_lines(int fd, struct str rest) {
    for (size_t n; (n = fitting_lines(rest)) > 0; rest = (struct str){rest.p + n, rest.n - n})
        if (send(fd, rest.p, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            continue; /* a receiver that is away misses it */
}

static void push(struct ev_loop *loop, ev_timer *timer, int events) {
    struct statsd *s = timer->data;
    struct totals now;
    struct strbuf lines = {0};
    (void)loop;
    (void)events;
    totals_read(s->dataplane, &now);
    statsd_render(s->prefix, &s->last, &now, &lines);
    if (!lines.failed) {
        send_lines(s->fd, strbuf_str(&lines));
        s->last = now;
    }
    strbuf_finish(&lines);
}

static void stop(struct statsd *s) {
    ev_timer_stop(s->loop, &s->timer);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->address = (struct address){0};
}

static void start(struct statsd *s, const struct address *address) {
    s->fd = socket(address->u.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0 || connect(s->fd, &address->u.any, address->length) < 0) {
        log_error("no socket for statsd");
        stop(s);
        return;
    }
    s->address = *address;
    totals_read(s->dataplane, &s->last);
    ev_timer_set(&s->timer, s->interval, s->interval);
    ev_timer_start(s->loop, &s->timer);
}

void statsd_configure(struct statsd *s, const struct resource_set *serving) {
    const struct resource *r = resource_set_find(serving, HEADGATE__KIND__KIND_SETTINGS, "default");
    const Headgate__Statsd *wish = r ? ((const Headgate__Settings *)r->message)->statsd : NULL;
    struct address address = {0};
    if (!wish || !wish->address || address_parse(str_of(wish->address), &address) < 0) {
        stop(s);
        return;
    }
    double interval = (double)wish->interval / 1000000;
    snprintf(s->prefix, sizeof s->prefix, "%s", wish->prefix ? wish->prefix : "");
    if (s->fd >= 0 && address_equal(&address, &s->address) && interval == s->interval)
        return;
    stop(s);
    s->interval = interval < 0.1 ? 0.1 : interval;
    start(s, &address);
}

void statsd_init(struct statsd *s, struct ev_loop *loop, const struct dataplane *dataplane) {
    *s = (struct statsd){.loop = loop, .dataplane = dataplane, .fd = -1};
    ev_timer_init(&s->timer, push, 0., 0.);
    s->timer.data = s;
}

void statsd_finish(struct statsd *s) {
    stop(s);
}
