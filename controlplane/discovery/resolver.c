#include "controlplane/discovery/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/map.h"
#include "controlplane/discovery/resolver_servers.h"

enum { FLOOR_US = 1000000, SWEEP_US = 60000000 };

struct resolver_question {
    struct resolver          *resolver;
    char                     *key;          /* in the map; name follows its last space */
    const char               *name;
    enum dns_type             type;
    struct resolver_servers  *servers;      /* under way: who was asked; NULL: nobody */
    struct resolver_question *next_queued;
    bool                      is_queued, is_serving;
    uint64_t                  timeout;
    struct resolver_waiter   *first, *served;
    struct dns_answer         answer;
    uint64_t                  answered_at;  /* monotonic; 0: never */
    ev_timer                  serve;        /* fires at once: answers outside of everybody's calls */
};

struct resolver {
    struct ev_loop           *loop;
    struct map                questions;
    struct resolver_servers  *servers;      /* each set of servers in use */
    struct resolver_question *queue, **queue_end;
    unsigned                  under_way;
    uint64_t                  swept_at;
    bool                      is_ending;
    struct resolver_counters  counters;
};

/* ---- waiters ---- */

static void enlist(struct resolver_waiter **list, struct resolver_waiter *w) {
    w->next = *list;
    w->place = list;
    if (w->next)
        w->next->place = &w->next;
    *list = w;
}

void resolver_leave(struct resolver_waiter *w) {
    if (!w->place)
        return;
    *w->place = w->next;
    if (w->next)
        w->next->place = w->place;
    w->next = NULL;
    w->place = NULL;
}

static void ask_queued(struct resolver *r);

/* Those who wait now; who asks meanwhile is served at the next turn. */
static void on_serve(struct ev_loop *loop, ev_timer *timer, int events) {
    struct resolver_question *q = timer->data;
    uint64_t age = clock_monotonic_us() - q->answered_at;
    (void)loop;
    (void)events;
    ask_queued(q->resolver);
    q->is_serving = true;
    q->served = q->first;
    q->first = NULL;
    if (q->served)
        q->served->place = &q->served;
    while (q->served) {
        struct resolver_waiter *w = q->served;
        resolver_leave(w);
        w->answered(w->context, &q->answer, age);
    }
    q->is_serving = false;
}

static void serve_soon(struct resolver_question *q) {
    ev_timer_stop(q->resolver->loop, &q->serve);
    ev_timer_set(&q->serve, 0., 0.);
    ev_timer_start(q->resolver->loop, &q->serve);
}

/* ---- queries ---- */

static const char *reason(int status, size_t servers) {
    switch (status) {
    case ARES_ENOTFOUND: return "the name does not exist (NXDOMAIN)";
    case ARES_ENODATA: return "the name has no such records";
    case ARES_ESERVFAIL: return "the DNS server failed (SERVFAIL)";
    case ARES_EREFUSED: return "the DNS server refused to answer (REFUSED)";
    case ARES_ENOTIMP: return "the DNS server does not know such queries (NOTIMP)";
    case ARES_EFORMERR: return "the DNS server did not understand (FORMERR)";
    case ARES_ETIMEOUT: return "no DNS server answered in time";
    case ARES_ECONNREFUSED:
        return servers > 1 ? "every DNS server failed, refused to answer, or cannot be reached"
                           : "the DNS server cannot be reached";
    default: return ares_strerror(status);
    }
}

static void keep_answer(struct resolver_question *q, int status, size_t servers, const uint8_t *bytes, int size) {
    struct resolver_counters *c = &q->resolver->counters;
    dns_answer_finish(&q->answer);
    if (status == ARES_SUCCESS)
        dns_answer_read(bytes, (size_t)size, q->name, q->type, &q->answer);
    else
        dns_answer_none(&q->answer, status == ARES_ENOTFOUND || status == ARES_ENODATA ? DNS_NOTHING : DNS_FAILED,
                        reason(status, servers));
    c->answers += q->answer.outcome == DNS_FOUND;
    c->nothing += q->answer.outcome == DNS_NOTHING;
    c->failures += q->answer.outcome == DNS_FAILED;
    q->answered_at = clock_monotonic_us();
    serve_soon(q);
}

static void on_answer(void *context, int status, int timeouts, unsigned char *bytes, int size) {
    struct resolver_question *q = context;
    struct resolver *r = q->resolver;
    (void)timeouts;
    if (r->is_ending)
        return;
    struct resolver_servers *s = q->servers;
    r->under_way--;
    s->under_way--;
    q->servers = NULL;
    keep_answer(q, status, s->count, bytes, size);
}

/* The text in front of the name in the key. */
static char *servers_text(const struct resolver_question *q) {
    return hg_strndup(q->key, strcspn(q->key, " "));
}

static void query(struct resolver_question *q) {
    struct resolver *r = q->resolver;
    char *text = servers_text(q);
    struct resolver_servers *s = text ? resolver_servers_find(&r->servers, r->loop, text, q->timeout) : NULL;
    hg_free(text);
    if (!s) {
        keep_answer(q, ARES_ENOMEM, 1, NULL, 0);
        return;
    }
    q->servers = s;
    s->under_way++;
    r->under_way++;
    r->counters.queries++;
    ares_query(s->channel, q->name, ns_c_in, (int)q->type, on_answer, q);
    resolver_servers_wait(s);
}

static void ask_queued(struct resolver *r) {
    while (r->queue && r->under_way < RESOLVER_QUERIES_MAX) {
        struct resolver_question *q = r->queue;
        r->queue = q->next_queued;
        if (!r->queue)
            r->queue_end = &r->queue;
        q->is_queued = false;
        query(q);
    }
}

static void enqueue(struct resolver_question *q) {
    struct resolver *r = q->resolver;
    if (q->is_queued || q->servers)
        return;
    q->is_queued = true;
    q->next_queued = NULL;
    *r->queue_end = q;
    r->queue_end = &q->next_queued;
    ask_queued(r);
}

/* ---- questions ---- */

static void question_destroy(struct resolver_question *q) {
    ev_timer_stop(q->resolver->loop, &q->serve);
    dns_answer_finish(&q->answer);
    hg_free(q->key);
    hg_free(q);
}

static struct resolver_question *question_create(struct resolver *r, char *key, enum dns_type type) {
    struct resolver_question *q = hg_calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->resolver = r;
    q->key = key;
    q->name = strrchr(key, ' ') + 1;
    q->type = type;
    ev_init(&q->serve, on_serve);
    q->serve.data = q;
    if (map_set(&r->questions, str_of(key), q) == 0)
        return q;
    hg_free(q);
    return NULL;
}

static struct resolver_question *find_question(struct resolver *r, const struct resolver_request *request) {
    struct strbuf key = {0};
    strbuf_printf(&key, "%s %d %" PRIu64 " %s", request->servers, (int)request->type, request->timeout, request->name);
    char *text = strbuf_take(&key);
    struct resolver_question *q = text ? map_get(&r->questions, str_of(text)) : NULL;
    if (!q && text && (q = question_create(r, text, request->type)) != NULL)
        return q;
    hg_free(text);
    return q;
}

static bool is_idle(const struct resolver_question *q, uint64_t now) {
    return !q->servers && !q->is_queued && !q->is_serving && !q->first && now - q->answered_at > SWEEP_US;
}

/* Forgets what nobody has asked for in a while, though the answer may count for longer: who names servers of SRV could fill
 * the memory with ever new ones that count for years. */
static void sweep(struct resolver *r, uint64_t now) {
    const struct map_entry *e;
    struct resolver_question *gone = NULL, *next;
    size_t position = 0;
    if (now - r->swept_at < SWEEP_US)
        return;
    r->swept_at = now;
    while ((e = map_next(&r->questions, &position)) != NULL) {
        struct resolver_question *q = e->value;
        if (!is_idle(q, now))
            continue;
        q->next_queued = gone;
        gone = q;
    }
    for (; gone; gone = next) {
        next = gone->next_queued;
        map_remove(&r->questions, str_of(gone->key));
        question_destroy(gone);
    }
}

static bool is_fresh(const struct resolver_question *q, uint64_t max_age, uint64_t now) {
    uint64_t age = now - q->answered_at;
    bool is_good = q->answer.outcome == DNS_FOUND && age < max_age && age < (uint64_t)q->answer.ttl * 1000000;
    return q->answered_at && (age < FLOOR_US || is_good);
}

int resolver_ask(struct resolver *r, const struct resolver_request *request, struct resolver_waiter *waiter) {
    uint64_t now = clock_monotonic_us();
    sweep(r, now);
    struct resolver_question *q = find_question(r, request);
    if (!q)
        return -1;
    q->timeout = request->timeout;
    waiter->question = q;
    enlist(&q->first, waiter);
    if (is_fresh(q, request->max_age, now))
        serve_soon(q);
    else
        enqueue(q);
    return 0;
}

/* ---- life ---- */

const struct resolver_counters *resolver_counters(const struct resolver *r) {
    return &r->counters;
}

struct resolver *resolver_create(struct ev_loop *loop) {
    struct resolver *r = hg_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->loop = loop;
    r->queue_end = &r->queue;
    r->swept_at = clock_monotonic_us();
    return r;
}

void resolver_destroy(struct resolver *r) {
    const struct map_entry *e;
    size_t position = 0;
    if (!r)
        return;
    r->is_ending = true;
    resolver_servers_destroy_all(&r->servers);
    while ((e = map_next(&r->questions, &position)) != NULL)
        question_destroy(e->value);
    map_finish(&r->questions);
    hg_free(r);
}
