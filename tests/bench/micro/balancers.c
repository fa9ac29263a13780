/* What a choice costs, how even the choices are, and what a change moves: each balancer with 10, 1,000 and 100,000
 * endpoints, on one core. Prints tables for docs/balancers.md; asserts nothing but that something was chosen. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "dataplane/back/cluster.h"

enum { SIZES = 3, ROUNDS = 20, TIMES = 20000, LOAD = 4, KEYS = 200000, SECOND = 1000000, SLICE = 256 };

static const uint32_t sizes[SIZES] = {10, 1000, 100000};

static const struct {
    const char       *name;
    enum balance_kind kind;
    uint32_t          load_bound;
    bool              is_sticky; /* clients have cookies */
} balancers[] = {
    {"round robin", BALANCE_ROUND_ROBIN, 0, false},
    {"random", BALANCE_RANDOM, 0, false},
    {"least request", BALANCE_LEAST_REQUEST, 0, false},
    {"least connections", BALANCE_LEAST_CONNECTIONS, 0, false},
    {"peak EWMA", BALANCE_PEAK_EWMA, 0, false},
    {"ring hash", BALANCE_RING_HASH, 0, false},
    {"ring hash, bound 125 %", BALANCE_RING_HASH, 125, false},
    {"Maglev, source address", BALANCE_MAGLEV, 0, false},
    {"Maglev, bound 125 %", BALANCE_MAGLEV, 125, false},
    {"first available", BALANCE_FIRST, 0, false},
    {"sticky cookie", BALANCE_ROUND_ROBIN, 0, true},
};
enum { BALANCERS = sizeof balancers / sizeof *balancers };

static void *need(void *p) {
    if (!p)
        abort();
    return p;
}

static uint64_t random_state = 88172645463325252u;

/* ---- a cluster on one worker ---- */

static struct worker worker;
static struct cluster_table table;
static struct cluster_shared shared = {.references = 1 << 20};
static struct cluster_definition definition = {.name = {"bench", 5}, .shared = &shared};

/* Without the one at `without`. The table of a hash balancer has at least ten slots or points for each endpoint. */
static struct cluster_members *make_members(size_t balancer, uint32_t count, uint32_t without,
                                            const struct cluster_members *previous) {
    struct cluster_members *m = need(cluster_members_create(count - (without < count)));
    m->rules = (struct balance_rules){.kind = balancers[balancer].kind, .load_bound = balancers[balancer].load_bound,
                                      .table_size = count > 1000 ? 1000003 : 65537,
                                      .ring_size = count > 1000 ? 1000000 : 65536, .choices = 2,
                                      .ewma_decay = 10 * SECOND, .overprovisioning = 140, .panic_threshold = 50};
    m->wants_ids = balancers[balancer].is_sticky;
    for (uint32_t i = 0, n = 0; i < count; i++) {
        char text[ADDRESS_TEXT_MAX];
        if (i == without)
            continue;
        struct endpoint_definition *e = &m->endpoints[n++];
        snprintf(text, sizeof text, "10.%u.%u.%u:8080", i / 65536, i / 256 % 256, i % 256);
        e->text = arena_str(&m->arena, str_of(text));
        e->weight = 1;
        e->is_usable = true;
        if (!e->text.p || address_parse(e->text, &e->address) < 0)
            abort();
    }
    if (cluster_members_complete(m, previous) < 0)
        abort();
    return m;
}

static struct cluster_runtime *bring(struct cluster_members *m) {
    static uint64_t serial;
    definition.members = m;
    definition.serial = ++serial;
    struct cluster_runtime *c = need(cluster_of(&worker, &definition));
    if (c->members != m)
        abort();
    return c;
}

/* What the worker does by and by, all of it. */
static void fill(const struct cluster_runtime *c) {
    worker_empty_mailbox(&worker);
    if (c->filling.missing)
        abort();
}

/* Of clients that have been served before, one for each endpoint; none: no client has a cookie. */
static struct {
    uint64_t *ids;
    uint32_t  count;
} cookies;

static void make_cookies(const struct cluster_members *m) {
    cookies.ids = need(hg_malloc(m->count * sizeof *cookies.ids));
    for (cookies.count = 0; cookies.count < m->count; cookies.count++)
        cookies.ids[cookies.count] = endpoint_id(m->endpoints[cookies.count].text);
}

static void forget_cookies(void) {
    hg_free(cookies.ids);
    cookies.ids = NULL;
    cookies.count = 0;
}

static struct endpoint_runtime *pick(struct cluster_runtime *c, uint64_t hash) {
    struct pick p = {.hash = hash, .has_hash = true};
    if (cookies.count)
        p.sticky = cookies.ids[hash % cookies.count];
    return need(cluster_pick(c, &p));
}

/* ---- cost ---- */

/* The best of some rounds, in nanoseconds: a choice, the beginning of the oldest request's successor, and its end. */
static double measure_pick(struct cluster_runtime *c) {
    enum { OPEN = 64 };
    struct endpoint_runtime *open[OPEN] = {NULL};
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t began = clock_monotonic_us();
        for (unsigned i = 0; i < TIMES; i++) {
            if (open[i % OPEN])
                endpoint_ended(open[i % OPEN], ENDPOINT_SUCCESS, 1000 + i % 64);
            endpoint_began(open[i % OPEN] = pick(c, balance_random(&random_state)));
        }
        double ns = (double)(clock_monotonic_us() - began) * 1000 / TIMES;
        best = ns < best ? ns : best;
        worker.now += 1000;
    }
    for (unsigned i = 0; i < OPEN; i++)
        if (open[i])
            endpoint_ended(open[i], ENDPOINT_SUCCESS, 1000);
    return best;
}

/* ---- evenness: the fullest endpoint, as a multiple of the mean, while LOAD requests for each are under way ---- */

static double measure_fullest(struct cluster_runtime *c, uint32_t count) {
    size_t open_count = (size_t)count * LOAD;
    struct endpoint_runtime **open = need(hg_malloc(open_count * sizeof(struct endpoint_runtime *)));
    uint32_t most = 0;
    for (size_t i = 0; i < open_count; i++)
        endpoint_began(open[i] = pick(c, balance_random(&random_state)));
    for (size_t i = 0; i < 4 * open_count; i++) {
        size_t at = (balance_random(&random_state) >> 32) * open_count >> 32;
        endpoint_ended(open[at], ENDPOINT_SUCCESS, 1000);
        endpoint_began(open[at] = pick(c, balance_random(&random_state)));
    }
    for (uint32_t i = 0; i < count; i++)
        most = c->endpoints[i]->active > most ? c->endpoints[i]->active : most;
    for (size_t i = 0; i < open_count; i++)
        endpoint_ended(open[i], ENDPOINT_SUCCESS, 1000);
    hg_free(open);
    return (double)most / LOAD;
}

/* ---- disruption: keys that move though their endpoint stays, when another one leaves, in percent ---- */

static double measure_moved(size_t balancer, struct cluster_members *m, uint32_t count) {
    struct endpoint_runtime **before = need(hg_malloc(KEYS * sizeof(struct endpoint_runtime *)));
    uint64_t keys = 1, moved = 0, stay = 0;
    struct cluster_runtime *c = bring(m);
    fill(c);
    const struct endpoint_runtime *gone = (const struct endpoint_runtime *)c->endpoints[count / 2];
    for (unsigned i = 0; i < KEYS; i++)
        before[i] = pick(c, balance_random(&keys));
    struct cluster_members *less = make_members(balancer, count, count / 2, m);
    bring(less);
    keys = 1;
    for (unsigned i = 0; i < KEYS; i++) {
        const struct endpoint_runtime *now = pick(c, balance_random(&keys));
        stay += before[i] != gone;
        moved += before[i] != gone && before[i] != now;
    }
    hg_free(before);
    cluster_drop(&worker, definition.slot);
    cluster_members_unref(less);
    return stay ? (double)moved * 100 / (double)stay : 0;
}

/* ---- a change of one endpoint ---- */

struct costs {
    double make_ms, first_ms, slice_ms, change_make_ms, change_ms;
};

static double ms_since(uint64_t began) {
    return (double)(clock_monotonic_us() - began) / 1000;
}

static struct costs measure_change(size_t balancer, uint32_t count) {
    struct costs best = {1e9, 1e9, 1e9, 1e9, 1e9};
    for (int round = 0; round < 5; round++) {
        uint64_t began = clock_monotonic_us();
        struct cluster_members *m = make_members(balancer, count, UINT32_MAX, NULL);
        double make = ms_since(began);
        began = clock_monotonic_us();
        const struct cluster_runtime *c = bring(m);
        double first = ms_since(began);
        uint32_t slices = (c->filling.missing + SLICE - 1) / SLICE;
        began = clock_monotonic_us();
        fill(c);
        double slice = ms_since(began) / slices;
        began = clock_monotonic_us();
        struct cluster_members *less = make_members(balancer, count, count / 2, m);
        double change_make = ms_since(began);
        began = clock_monotonic_us();
        bring(less);
        double change = ms_since(began);
        best.make_ms = make < best.make_ms ? make : best.make_ms;
        best.first_ms = first < best.first_ms ? first : best.first_ms;
        best.slice_ms = slice < best.slice_ms ? slice : best.slice_ms;
        best.change_make_ms = change_make < best.change_make_ms ? change_make : best.change_make_ms;
        best.change_ms = change < best.change_ms ? change : best.change_ms;
        cluster_drop(&worker, definition.slot);
        cluster_members_unref(m);
        cluster_members_unref(less);
    }
    return best;
}

/* ---- tables ---- */

static void print_choices(void) {
    printf("| balancer | ns per choice: 10 | 1,000 | 100,000 | fullest / mean: 10 | 1,000 | 100,000 "
           "| others moved: 10 | 1,000 | 100,000 |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t b = 0; b < BALANCERS; b++) {
        double ns[SIZES], fullest[SIZES], moved[SIZES];
        bool hashes = balancers[b].kind == BALANCE_RING_HASH || balancers[b].kind == BALANCE_MAGLEV;
        bool keeps_keys = hashes || balancers[b].is_sticky;
        for (unsigned s = 0; s < SIZES; s++) {
            struct cluster_members *m = make_members(b, sizes[s], UINT32_MAX, NULL);
            struct cluster_runtime *c = bring(m);
            fill(c);
            if (balancers[b].is_sticky)
                make_cookies(m);
            ns[s] = measure_pick(c);
            fullest[s] = balancers[b].kind == BALANCE_FIRST ? sizes[s] : measure_fullest(c, sizes[s]);
            moved[s] = keeps_keys ? measure_moved(b, m, sizes[s]) : 0;
            cluster_drop(&worker, definition.slot);
            cluster_members_unref(m);
            forget_cookies();
        }
        printf("| %s | %.0f | %.0f | %.0f | %.2f | %.2f | %.2f |", balancers[b].name, ns[0], ns[1], ns[2], fullest[0],
               fullest[1], fullest[2]);
        if (keeps_keys)
            printf(" %.2f %% | %.2f %% | %.2f %% |\n", moved[0], moved[1], moved[2]);
        else
            printf(" – | – | – |\n");
    }
}

static const uint32_t changed_sizes[SIZES] = {1000, 10000, 100000};
static struct costs costs[BALANCERS][SIZES];

/* Of one that is there, with the same costs. */
static bool is_variant(size_t b) {
    return balancers[b].load_bound || balancers[b].is_sticky;
}

static void measure_changes(void) {
    for (size_t b = 0; b < BALANCERS; b++)
        for (unsigned s = 0; s < SIZES && !is_variant(b); s++)
            costs[b][s] = measure_change(b, changed_sizes[s]);
}

static void print_changes(void) {
    printf("\n| one of 100,000 leaves | main thread: all anew, ms | the change, ms | worker: first use, ms | each slice, ms "
           "| the change, ms |\n|---|---|---|---|---|---|\n");
    for (size_t b = 0; b < BALANCERS; b++) {
        const struct costs *cost = &costs[b][SIZES - 1];
        if (!is_variant(b))
            printf("| %s | %.0f | %.0f | %.2f | %.2f | %.2f |\n", balancers[b].name, cost->make_ms, cost->change_make_ms,
                   cost->first_ms, cost->slice_ms, cost->change_ms);
    }
}

static void print_growth(void) {
    printf("\n| one of so many leaves | main thread: 1,000, ms | 10,000 | 100,000 | worker: 1,000, ms | 10,000 | 100,000 |\n"
           "|---|---|---|---|---|---|---|\n");
    for (size_t b = 0; b < BALANCERS; b++) {
        const struct costs *c = costs[b];
        if (!is_variant(b))
            printf("| %s | %.2f | %.2f | %.2f | %.3f | %.3f | %.3f |\n", balancers[b].name, c[0].change_make_ms,
                   c[1].change_make_ms, c[2].change_make_ms, c[0].change_ms, c[1].change_ms, c[2].change_ms);
    }
}

int main(void) {
    if (worker_init(&worker, 0, EVFLAG_AUTO) < 0)
        abort();
    worker.clusters = &table;
    print_choices();
    measure_changes();
    print_changes();
    print_growth();
    clusters_finish(&worker);
    worker_finish(&worker);
    return 0;
}
