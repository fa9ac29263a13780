/* How long a change of a cluster of very many endpoints holds up those who run it: the main thread, which makes what all
 * workers share, and a worker, whose longest turn of the loop is what a request waits at worst. For each balancer, on one
 * core; asserts nothing but that all was done. Prints a table for docs/balancers.md. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/alloc.h"
#include "dataplane/back/cluster.h"

enum { COUNT = 100000, ROUNDS = 7, SECOND = 1000000, FIRST_PORT = 8080 };

static const struct {
    const char       *name;
    enum balance_kind kind;
} balancers[] = {
    {"round robin", BALANCE_ROUND_ROBIN},
    {"random", BALANCE_RANDOM},
    {"least request", BALANCE_LEAST_REQUEST},
    {"least connections", BALANCE_LEAST_CONNECTIONS},
    {"peak EWMA", BALANCE_PEAK_EWMA},
    {"ring hash", BALANCE_RING_HASH},
    {"Maglev, source address", BALANCE_MAGLEV},
    {"first available", BALANCE_FIRST},
};
enum { BALANCERS = sizeof balancers / sizeof *balancers };

enum change {
    NEW, GROWS, ONE_LEAVES, ALL_HAVE_ANOTHER_WEIGHT, ALL_ARE_REPLACED, ALL_LEAVE, DROPPED, /* of members */
    TENTH_IS_EJECTED, TENTH_COMES_BACK, OTHER_PROTOCOL,                                    /* seen to at all of them */
    INTERVAL_IS_JUDGED,
    CHANGES
};

static const char *const change_names[CHANGES] = {
    "the cluster is new", "ten become all", "one leaves", "all have another weight", "all are replaced", "all leave",
    "the cluster is dropped", "10,000 are ejected", "detection is switched off, they come back",
    "another protocol, 10,000 keep a connection", "an interval ends, 10,000 are ejected for it"};

static struct worker worker;
static struct cluster_table table;
static struct cluster_shared shared = {.references = 1 << 20};
static struct cluster_definition definition = {
    .name = {"bench", 5}, .shared = &shared, .idle_connections = 4, .requests_per_connection = 100,
    .outliers = {.interval = SECOND, .base_ejection = 100000000, .max_ejection = 100000000, .max_ejected_percent = 100,
                 .failure_percent = 50, .latency_factor = 300, .success_rate_factor = 1900, .min_requests = 1}};

/* Of this thread's work alone, so that other programs of the machine do not count. */
static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* What the change makes of the first `count`, of 10.0.0.0 and so on. */
static struct cluster_members *make_members(size_t balancer, uint32_t count, enum change change,
                                            const struct cluster_members *previous) {
    struct cluster_members *m = cluster_members_create(count);
    if (!m)
        abort();
    m->rules = (struct balance_rules){.kind = balancers[balancer].kind, .table_size = 1000003, .ring_size = 1000000,
                                      .choices = 2, .ewma_decay = 10 * SECOND, .overprovisioning = 140,
                                      .panic_threshold = 50};
    for (uint32_t i = 0; i < count; i++) {
        char text[ADDRESS_TEXT_MAX];
        struct endpoint_definition *e = &m->endpoints[i];
        uint32_t n = i + (change == ONE_LEAVES && i >= count / 2);
        snprintf(text, sizeof text, "10.%u.%u.%u:%d", n / 65536, n / 256 % 256, n % 256,
                 FIRST_PORT + (change == ALL_ARE_REPLACED));
        e->text = arena_str(&m->arena, str_of(text));
        e->weight = change == ALL_HAVE_ANOTHER_WEIGHT ? 2 + i % 2 : 1;
        e->is_usable = true;
        if (!e->text.p || address_parse(e->text, &e->address) < 0)
            abort();
    }
    if (cluster_members_complete(m, previous) < 0)
        abort();
    return m;
}

/* ---- what is seen to at every endpoint ---- */

static struct client_connection kept[COUNT / 10];

static struct client_connection *connect_kept(struct worker *w, const struct client_target *to,
                                              const struct client_options *o, const struct client_owner_ops *owner) {
    static size_t next;
    struct client_connection *c = &kept[next++ % (COUNT / 10)];
    (void)w, (void)o;
    *c = (struct client_connection){.codec = definition.codec, .owner = owner, .endpoint = to->endpoint, .capacity = 1};
    return c;
}

static void rest(struct client_connection *c, uint64_t idle_timeout) {
    (void)c, (void)idle_timeout;
}

static void close_kept(struct client_connection *c) {
    (void)c;
}

/* What closing costs a system is not in it. */
static const struct client_codec fake_codec = {.connect = connect_kept, .rest = rest, .close = close_kept};

static void keep_connection(struct endpoint_runtime *e) {
    struct client_waiter waiter = {0};
    if (pool_wait(e, SECOND, &waiter) < 0)
        abort();
    struct client_connection *c = waiter.connection;
    pool_forget_waiter(&waiter);
    c->is_connected = true;
    c->owner->on_connected(c);
}

static void ask(struct endpoint_runtime *e, enum endpoint_outcome outcome) {
    endpoint_began(e);
    endpoint_ended(e, outcome, 1);
}

/* Has every tenth endpoint fail, or keep a connection. */
static void prepare(struct cluster_runtime *c, enum change change) {
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        struct endpoint_runtime *e = (struct endpoint_runtime *)c->endpoints[i];
        bool is_tenth = i % 10 == 0;
        if (change == OTHER_PROTOCOL && is_tenth)
            keep_connection(e);
        else if ((change == TENTH_IS_EJECTED || change == TENTH_COMES_BACK) && is_tenth)
            ask(e, ENDPOINT_5XX);
        else if (change == INTERVAL_IS_JUDGED)
            ask(e, is_tenth ? ENDPOINT_5XX : ENDPOINT_SUCCESS);
    }
    worker.now += SECOND;
}

/* ---- turns ---- */

static struct cluster_runtime *bring(struct cluster_members *to) {
    static uint64_t serial;
    definition.members = to;
    definition.serial = ++serial;
    struct cluster_runtime *c = cluster_of(&worker, &definition);
    if (!c || c->members != to)
        abort();
    return c;
}

/* As the wheel does when it is time. */
static void fire(struct timer *t) {
    worker_set_timer(&worker, t, 0);
    t->fire(t);
}

static void set_rules(enum change change) {
    definition.outliers.is_on = true;
    definition.outliers.has_intervals = change == INTERVAL_IS_JUDGED;
    definition.outliers.consecutive_5xx = change != INTERVAL_IS_JUDGED;
    definition.options.proxy_version = 0;
}

static void begin(enum change change, struct cluster_members *to) {
    if (change == DROPPED) {
        cluster_drop(&worker, definition.slot);
        return;
    }
    if (change == INTERVAL_IS_JUDGED) {
        fire(&bring(to)->gathering.end);
        return;
    }
    definition.outliers.is_on = change != TENTH_COMES_BACK;
    definition.options.proxy_version = change == OTHER_PROTOCOL;
    struct cluster_runtime *c = bring(to);
    if (change == TENTH_IS_EJECTED && !cluster_pick(c, &(struct pick){0}))
        abort();
}

static uint32_t empty_mailbox(double *longest) {
    uint32_t turns = 0;
    for (; worker.mailbox_first; turns++) {
        double began = now_ms();
        ev_run(worker.loop, EVRUN_NOWAIT);
        double took = now_ms() - began;
        *longest = took > *longest ? took : *longest;
    }
    return turns;
}

struct costs {
    double   make_ms, longest_ms, all_ms;
    uint32_t turns;
};

static void keep_best(struct costs *best, const struct costs *c) {
    best->make_ms = c->make_ms < best->make_ms ? c->make_ms : best->make_ms;
    best->longest_ms = c->longest_ms < best->longest_ms ? c->longest_ms : best->longest_ms;
    best->all_ms = c->all_ms < best->all_ms ? c->all_ms : best->all_ms;
    best->turns = c->turns;
}

static void clear(struct cluster_members *before, struct cluster_members *to) {
    double ignored = 0;
    begin(DROPPED, NULL);
    empty_mailbox(&ignored);
    outliers_finish_worker(&worker);
    atomic_store(&shared.judged_until, 0);
    cluster_members_unref(before);
    cluster_members_unref(to);
}

/* The worker's costs are those of this call and of all turns until it has nothing left to do. */
static void measure(size_t balancer, enum change change, struct costs *best) {
    struct costs costs = {0};
    double ignored = 0;
    uint32_t count = change == ONE_LEAVES ? COUNT - 1 : change == ALL_LEAVE ? 0 : COUNT;
    struct cluster_members *before = change == NEW ? NULL : make_members(balancer, change == GROWS ? 10 : COUNT, NEW, NULL);
    set_rules(change);
    if (before) {
        bring(before);
        empty_mailbox(&ignored);
        prepare(bring(before), change);
    }
    double began = now_ms();
    struct cluster_members *to = change == DROPPED ? NULL : change > DROPPED ? cluster_members_ref(before)
                                                          : make_members(balancer, count, change, before);
    costs.make_ms = now_ms() - began;
    began = now_ms();
    begin(change, to);
    costs.longest_ms = now_ms() - began;
    costs.turns = 1 + empty_mailbox(&costs.longest_ms);
    if (change == INTERVAL_IS_JUDGED) {
        fire(&bring(to)->gathering.judgement);
        costs.turns += empty_mailbox(&costs.longest_ms);
        if (stats_read(&worker.stats->endpoints_ejected) != COUNT / 10)
            abort();
    }
    costs.all_ms = now_ms() - began;
    keep_best(best, &costs);
    clear(before, to);
}

int main(void) {
    if (worker_init(&worker, 0, EVFLAG_AUTO) < 0)
        abort();
    worker.clusters = &table;
    definition.codec = &fake_codec;
    printf("| of 100,000 endpoints | balancer | main thread: all, ms | worker: longest turn, ms | all, ms | turns |\n"
           "|---|---|---|---|---|---|\n");
    for (enum change change = NEW; change < CHANGES; change++)
        for (size_t b = 0; b < BALANCERS; b++) {
            struct costs best = {1e9, 1e9, 1e9, 0};
            for (int round = 0; round < ROUNDS; round++)
                measure(b, change, &best);
            printf("| %s | %s | %.0f | %.2f | %.1f | %u |\n", change_names[change], balancers[b].name, best.make_ms,
                   best.longest_ms, best.all_ms, best.turns);
            fflush(stdout);
        }
    clusters_finish(&worker);
    worker_finish(&worker);
    return 0;
}
