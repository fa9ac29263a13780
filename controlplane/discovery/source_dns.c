/* Names in DNS: addresses, or servers (SRV) with the addresses of each. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/map.h"
#include "controlplane/discovery/dns_endpoints.h"
#include "controlplane/discovery/source_state.h"

/* SERVERS_MAX: of one SRV answer that are used. ENDPOINTS_MAX: of all addresses of one round; the answers for that many
 * servers could have millions. */
enum { SERVERS_MAX = 1024, ENDPOINTS_MAX = 65536 };

static const uint64_t SECOND = 1000000;

/* One question, and what came of it. */
struct lookup {
    struct resolver_waiter waiter;
    struct dns             *dns;
    enum dns_type           type;
    const struct dns_record *srv;           /* whose target is asked for; NULL: the name itself */
    enum dns_outcome        outcome;
    char                    why[128];
    struct dns_endpoints    found;
};

/* One round: from the first question to what is said. */
struct round {
    struct lookup *lookups;
    size_t         count, open;             /* open: not answered yet */
    bool           asks_targets;            /* the second half of SRV */
    struct dns_record *servers;
    size_t         server_count, servers_left_out;
    size_t         endpoints;               /* that were found so far */
    uint64_t       expires;                 /* monotonic: when the first of the records does */
    struct arena   arena;
};

struct dns {
    struct source         base;
    struct source_config  config;
    Headgate__DnsDiscovery *m;              /* a copy of our own */
    char                 *servers;
    struct round          round;
    struct dns_endpoints  known;            /* what was said last */
    unsigned              failures;         /* in a row */
    uint64_t              draws;
    ev_timer              next;
    struct source_state   state;
};

/* ---- when to ask again ---- */

/* Up to a tenth more, so that those who began together do not stay together. */
static uint64_t with_jitter(struct dns *d, uint64_t us) {
    struct { const void *dns; uint64_t draw; } seed = {d, d->draws++};
    return us + map_hash((struct str){(const char *)&seed, sizeof seed}) % (us / 10 + 1);
}

static void wait_for_next(struct dns *d, uint64_t us) {
    us = with_jitter(d, us < SECOND ? SECOND : us);
    d->state.next_at = clock_realtime_us() + us;
    ev_timer_stop(d->config.loop, &d->next);
    ev_timer_set(&d->next, (double)us / 1e6, 0.);
    ev_timer_start(d->config.loop, &d->next);
}

static uint64_t after_answer(const struct dns *d, uint64_t expires) {
    uint64_t now = clock_monotonic_us(), left = expires > now ? expires - now : 0;
    if (left < d->m->min_refresh)
        left = d->m->min_refresh;
    return left < d->m->max_refresh ? left : d->m->max_refresh;
}

static uint64_t after_failure(const struct dns *d) {
    uint64_t most = d->m->max_refresh > d->m->failure_refresh ? d->m->max_refresh : d->m->failure_refresh;
    uint64_t us = d->m->failure_refresh;
    for (unsigned i = 1; i < d->failures && us < most; i++)
        us *= 2;
    return us < most ? us : most;
}

/* ---- the end of a round ---- */

static void finish_round(struct dns *d) {
    struct round *r = &d->round;
    for (size_t i = 0; i < r->count; i++) {
        resolver_leave(&r->lookups[i].waiter);
        dns_endpoints_finish(&r->lookups[i].found);
    }
    hg_free(r->lookups);
    arena_finish(&r->arena);
    *r = (struct round){0};
}

static void fail(struct dns *d, const char *what, const char *why) {
    char reason[sizeof d->state.failure];
    snprintf(reason, sizeof reason, "%s: %s; what was found last is kept", what, why);
    finish_round(d);
    d->failures++;
    wait_for_next(d, after_failure(d));
    source_note_failed(&d->state, reason);
    d->config.sink.failed(d->config.sink.context, reason);
}

/* Asking again sooner would not help. */
static void tell_left_out(size_t left_out, char *ret, size_t size) {
    if (left_out)
        snprintf(ret, size, "%zu server%s left out: of one SRV answer the first %d by priority and name are used", left_out,
                 left_out == 1 ? " is" : "s are", SERVERS_MAX);
}

/* All is well, but perhaps some servers have no address: `why` then. Takes the list over. */
static void say(struct dns *d, struct dns_endpoints *list, const char *why) {
    uint64_t expires = d->round.expires;
    char reason[sizeof d->state.failure];
    snprintf(reason, sizeof reason, "%s", why);
    d->state.left_out = (uint32_t)d->round.servers_left_out;
    if (!why[0])
        tell_left_out(d->round.servers_left_out, reason, sizeof reason);
    finish_round(d);
    dns_endpoints_finish(&d->known);
    d->known = *list;
    d->failures = why[0] ? d->failures + 1 : 0;
    wait_for_next(d, why[0] ? after_failure(d) : after_answer(d, expires));
    source_note_found(&d->state, d->known.count);
    if (reason[0])
        source_note_failed(&d->state, reason);
    d->config.sink.found(d->config.sink.context, &d->known.set);
    if (reason[0])
        d->config.sink.failed(d->config.sink.context, reason);
}

/* ---- addresses ---- */

static int join(struct dns_endpoints *to, const struct lookup *from) {
    for (size_t i = 0; i < from->found.count; i++) {
        if (hg_grow(&to->items, &to->capacity, to->count + 1, sizeof *to->items) < 0)
            return -1;
        struct dns_endpoint *e = &to->items[to->count++];
        *e = from->found.items[i];
        if (e->hostname && !(e->hostname = arena_strdup(&to->arena, e->hostname)))
            return -1;
    }
    return 0;
}

static void say_or_fail(struct dns *d, struct dns_endpoints *list, int status, const char *why) {
    if (status == 0)
        status = dns_endpoints_finish_set(list);
    if (status == 0) {
        say(d, list, why);
        return;
    }
    dns_endpoints_finish(list);
    fail(d, d->m->name, "no memory");
}

/* Of A and AAAA one may have nothing, but neither may be unknown: half an answer would take endpoints away. */
static void end_addresses(struct dns *d) {
    const struct round *r = &d->round;
    const struct lookup *failed = NULL, *empty = NULL;
    struct dns_endpoints list = {0};
    int status = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct lookup *l = &r->lookups[i];
        failed = l->outcome == DNS_FAILED ? l : failed;
        empty = l->outcome == DNS_NOTHING ? l : empty;
        status |= join(&list, l);
    }
    const struct lookup *why = failed ? failed : list.count == 0 ? empty : NULL;
    if (status == 0 && why) {
        char text[sizeof why->why];
        memcpy(text, why->why, sizeof text);
        dns_endpoints_finish(&list);
        fail(d, d->m->name, text);
        return;
    }
    say_or_fail(d, &list, status, "");
}

/* ---- servers ---- */

/* The two lookups of a server, A and AAAA, stand beside each other. */
static int add_server(struct dns *d, const struct lookup pair[2], struct dns_endpoints *list,
                      const struct lookup **ret_missing) {
    const struct lookup *failed = pair[0].outcome == DNS_FAILED   ? &pair[0]
                                  : pair[1].outcome == DNS_FAILED ? &pair[1]
                                                                  : NULL;
    bool is_empty = pair[0].found.count + pair[1].found.count == 0;
    int status = join(list, &pair[0]) | join(list, &pair[1]);
    if (status < 0 || (!failed && !is_empty))
        return status;
    int taken = dns_endpoints_take_over(list, &d->known, pair[0].srv);
    if (taken == 0 && (failed || is_empty))
        *ret_missing = failed ? failed : &pair[0];
    return taken < 0 ? -1 : 0;
}

/* A server whose addresses cannot be found keeps those that it had. One that never had any is left out when DNS says that
 * there are none, and keeps the whole answer back when that is not known. */
static void end_servers(struct dns *d) {
    const struct round *r = &d->round;
    struct dns_endpoints list = {0};
    const struct lookup *left_out = NULL, *unknown = NULL;
    char what[DNS_NAME_MAX + 32] = "", why[sizeof d->state.failure] = "";
    int status = 0;
    for (size_t i = 0; i + 1 < r->count && status == 0; i += 2) {
        const struct lookup *missing = NULL;
        status = add_server(d, &r->lookups[i], &list, &missing);
        if (missing && missing->outcome == DNS_FAILED)
            unknown = missing;
        else if (missing)
            left_out = missing;
    }
    const struct lookup *shown = unknown ? unknown : left_out;
    if (shown) {
        snprintf(what, sizeof what, "%s (a server of SRV)", shown->srv->target);
        snprintf(why, sizeof why, "%s: %s", what, shown->why);
    }
    if (status == 0 && (unknown || (left_out && list.count == 0))) {
        char text[sizeof shown->why];
        memcpy(text, shown->why, sizeof text);
        dns_endpoints_finish(&list);
        fail(d, what, text);
        return;
    }
    say_or_fail(d, &list, status, why);
}

/* ---- questions ---- */

static void end_part(struct dns *d);

static int keep_addresses(struct lookup *l, const struct dns_answer *answer) {
    const struct dns_record *srv = l->srv;
    return dns_endpoints_add(&l->found, answer, l->type, srv ? srv->port : l->dns->m->port,
                             srv ? srv->target : l->dns->m->hostname, srv);
}

static int by_rank(const void *a, const void *b) {
    const struct dns_record *x = a, *y = b;
    int order = (x->priority > y->priority) - (x->priority < y->priority);
    if (order == 0)
        order = strcasecmp(x->target, y->target);
    return order ? order : (x->port > y->port) - (x->port < y->port);
}

/* Sorted first: where there are too many, the same ones are used each time, in whatever order they come. */
static int keep_servers(struct round *r, const struct dns_answer *answer) {
    r->servers = arena_memdup(&r->arena, answer->records, answer->count * sizeof *r->servers);
    if (!r->servers)
        return -1;
    qsort(r->servers, answer->count, sizeof *r->servers, by_rank);
    for (size_t i = 0; i < answer->count; i++) {
        if (r->server_count == SERVERS_MAX) {
            r->servers_left_out = answer->count - i;
            break;
        }
        struct dns_record *s = &r->servers[r->server_count];
        *s = r->servers[i];
        s->target = arena_strdup(&r->arena, s->target);
        if (!s->target)
            return -1;
        r->server_count += s->target[0] != '\0'; /* RFC 2782: "." is no server */
    }
    return 0;
}

/* Nothing of one that has too many; what becomes of the others is as if it was not known. */
static int keep_found(struct lookup *l, const struct dns_answer *answer) {
    struct round *r = &l->dns->round;
    if (l->type == DNS_SRV)
        return keep_servers(r, answer);
    if (answer->count <= ENDPOINTS_MAX - r->endpoints) {
        r->endpoints += answer->count;
        return keep_addresses(l, answer);
    }
    l->outcome = DNS_FAILED;
    snprintf(l->why, sizeof l->why, "more than %d endpoints in all", ENDPOINTS_MAX);
    return 0;
}

static void on_answered(void *context, const struct dns_answer *answer, uint64_t age) {
    struct lookup *l = context;
    struct round *r = &l->dns->round;
    uint64_t expires = clock_monotonic_us() - age + (uint64_t)answer->ttl * SECOND;
    int status = 0;
    l->outcome = answer->outcome;
    memcpy(l->why, answer->why, sizeof l->why);
    if (answer->outcome == DNS_FOUND) {
        r->expires = expires < r->expires ? expires : r->expires;
        status = keep_found(l, answer);
    }
    if (status < 0) {
        l->outcome = DNS_FAILED;
        snprintf(l->why, sizeof l->why, "no memory");
    }
    if (--r->open == 0)
        end_part(l->dns);
}

static int ask(struct dns *d, struct lookup *l, const char *name) {
    const struct resolver_request request = {.name = name,
                                             .type = l->type,
                                             .servers = d->servers,
                                             .timeout = d->m->timeout,
                                             .max_age = d->m->max_refresh};
    l->dns = d;
    l->waiter.answered = on_answered;
    l->waiter.context = l;
    if (resolver_ask(d->config.resolver, &request, &l->waiter) < 0)
        return -1;
    d->round.open++;
    return 0;
}

static int make_lookups(struct dns *d, size_t count) {
    d->round.lookups = hg_calloc(count, sizeof *d->round.lookups);
    d->round.count = d->round.lookups ? count : 0;
    return d->round.lookups ? 0 : -1;
}

/* The addresses of every server. */
static void ask_for_servers(struct dns *d) {
    struct round *r = &d->round;
    hg_free(r->lookups);
    r->asks_targets = true;
    int status = make_lookups(d, 2 * r->server_count);
    for (size_t i = 0; status == 0 && i < r->count; i++) {
        struct lookup *l = &r->lookups[i];
        l->srv = &r->servers[i / 2];
        l->type = i % 2 ? DNS_AAAA : DNS_A;
        status = ask(d, l, l->srv->target);
    }
    if (status < 0)
        fail(d, d->m->name, "no memory");
}

/* Everything that was asked is answered. */
static void end_part(struct dns *d) {
    const struct round *r = &d->round;
    const struct lookup *first = &r->lookups[0];
    if (first->type != DNS_SRV && !r->asks_targets) {
        end_addresses(d);
    } else if (r->asks_targets) {
        end_servers(d);
    } else if (first->outcome == DNS_FOUND && r->server_count) {
        ask_for_servers(d);
    } else {
        char why[sizeof first->why];
        memcpy(why, first->why, sizeof why);
        fail(d, d->m->name, first->outcome == DNS_FOUND ? "its SRV record says that there is no server" : why);
    }
}

static void begin(struct dns *d) {
    static const enum dns_type both[] = {DNS_A, DNS_AAAA}, v4[] = {DNS_A}, v6[] = {DNS_AAAA}, srv[] = {DNS_SRV};
    const enum dns_type *types = both;
    size_t count = 1;
    switch (d->m->records) {
    case HEADGATE__DNS_DISCOVERY__RECORDS__A: types = v4; break;
    case HEADGATE__DNS_DISCOVERY__RECORDS__AAAA: types = v6; break;
    case HEADGATE__DNS_DISCOVERY__RECORDS__SRV: types = srv; break;
    default: count = 2;
    }
    source_note_asked(&d->state);
    d->state.next_at = 0;
    d->round.expires = UINT64_MAX;
    int status = make_lookups(d, count);
    for (size_t i = 0; status == 0 && i < count; i++) {
        d->round.lookups[i].type = types[i];
        status = ask(d, &d->round.lookups[i], d->m->name);
    }
    if (status < 0)
        fail(d, d->m->name, "no memory");
}

static void on_next(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    begin(timer->data);
}

/* ---- life ---- */

static void dns_refresh(struct source *s) {
    struct dns *d = (struct dns *)s;
    if (d->round.count)
        return; /* it is being asked */
    ev_timer_stop(d->config.loop, &d->next);
    begin(d);
}

static void dns_state(const struct source *s, struct source_state *ret) {
    *ret = ((const struct dns *)s)->state;
}

static void dns_destroy(struct source *s) {
    struct dns *d = (struct dns *)s;
    ev_timer_stop(d->config.loop, &d->next);
    finish_round(d);
    dns_endpoints_finish(&d->known);
    if (d->m)
        headgate__dns_discovery__free_unpacked(d->m, NULL);
    hg_free(d->servers);
    hg_free(d);
}

static char *join_servers(const Headgate__DnsDiscovery *m) {
    struct strbuf text = {0};
    strbuf_puts(&text, "");
    for (size_t i = 0; i < m->n_servers; i++)
        strbuf_printf(&text, "%s%s", i ? "," : "", m->servers[i]);
    return text.p || text.failed ? strbuf_take(&text) : hg_strdup("");
}

static Headgate__DnsDiscovery *copy(const Headgate__DnsDiscovery *m) {
    size_t size = headgate__dns_discovery__get_packed_size(m);
    uint8_t *bytes = hg_malloc(size + 1);
    if (!bytes)
        return NULL;
    Headgate__DnsDiscovery *own =
        headgate__dns_discovery__unpack(NULL, headgate__dns_discovery__pack(m, bytes), bytes);
    hg_free(bytes);
    return own;
}

static void describe(const struct dns *d, char *ret, size_t size) {
    bool is_srv = d->m->records == HEADGATE__DNS_DISCOVERY__RECORDS__SRV;
    if (is_srv)
        snprintf(ret, size, "SRV %s", d->m->name);
    else
        snprintf(ret, size, "%s:%u", d->m->name, d->m->port);
}

static struct source *dns_create(const struct source_config *config, const Headgate__Discovery *m,
                                 struct error_list *errors) {
    struct dns *d = hg_calloc(1, sizeof *d);
    if (d) {
        d->base.kind = &source_dns;
        d->config = *config;
        d->m = copy(m->dns);
        d->servers = join_servers(m->dns);
        ev_timer_init(&d->next, on_next, 0., 0.);
        d->next.data = d;
    }
    if (!d || !d->m || !d->servers) {
        error_addf(errors, ERROR_MEMORY, "no memory to ask DNS for %s", m->dns->name);
        if (d)
            dns_destroy(&d->base);
        return NULL;
    }
    d->state.kind = source_dns.name;
    describe(d, d->state.target, sizeof d->state.target);
    ev_timer_start(config->loop, &d->next);
    return &d->base;
}

const struct source_kind source_dns = {
    .name = "dns", .create = dns_create, .refresh = dns_refresh, .state = dns_state, .destroy = dns_destroy};
