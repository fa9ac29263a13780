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

enum change { NEW, GROWS, ONE_LEAVES, ALL_HAVE_ANOTHER_WEIGHT, ALL_ARE_REPLACED, ALL_LEAVE, DROPPED, CHANGES };

static const char *const change_names[CHANGES] = {
    "the cluster is new", "ten become all", "one leaves", "all have another weight", "all are replaced", "all leave",
    "the cluster is dropped"};

static struct worker worker;
static struct cluster_table table;
static struct cluster_shared shared = {.references = 1 << 20};
static struct cluster_definition definition = {.name = {"bench", 5}, .shared = &shared};

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

static void change_worker(struct cluster_members *to) {
    static uint64_t serial;
    if (!to) {
        cluster_drop(&worker, definition.slot);
        return;
    }
    definition.members = to;
    definition.serial = ++serial;
    const struct cluster_runtime *c = cluster_of(&worker, &definition);
    if (!c || c->members != to)
        abort();
}

/* The longest turn until the worker has nothing left to do. */
static double longest_turn(struct cluster_members *to, uint32_t *ret_turns) {
    double began = now_ms(), longest;
    change_worker(to);
    longest = now_ms() - began;
    for (*ret_turns = 1; worker.mailbox_first; ++*ret_turns) {
        began = now_ms();
        ev_run(worker.loop, EVRUN_NOWAIT);
        double took = now_ms() - began;
        longest = took > longest ? took : longest;
    }
    return longest;
}

struct costs {
    double   make_ms, longest_ms, all_ms;
    uint32_t turns;
};

static void measure(size_t balancer, enum change change, struct costs *best) {
    uint32_t ignored, turns, count = change == ONE_LEAVES ? COUNT - 1 : change == ALL_LEAVE ? 0 : COUNT;
    struct cluster_members *before = change == NEW ? NULL : make_members(balancer, change == GROWS ? 10 : COUNT, NEW, NULL);
    if (before)
        longest_turn(before, &ignored);
    double began = now_ms();
    struct cluster_members *to = change == DROPPED ? NULL : make_members(balancer, count, change, before);
    double make = now_ms() - began;
    began = now_ms();
    double longest = longest_turn(to, &turns), all = now_ms() - began;
    best->make_ms = make < best->make_ms ? make : best->make_ms;
    best->longest_ms = longest < best->longest_ms ? longest : best->longest_ms;
    best->all_ms = all < best->all_ms ? all : best->all_ms;
    best->turns = turns;
    longest_turn(NULL, &ignored);
    cluster_members_unref(before);
    cluster_members_unref(to);
}

int main(void) {
    if (worker_init(&worker, 0, EVFLAG_AUTO) < 0)
        abort();
    worker.clusters = &table;
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
