/* From a cluster's endpoints to one: priorities, zones, subsets, ejections, and what a change of the list leaves alone. */
#include <math.h>

#include "tests/unit/dataplane/back/fake_codec.h"

enum { SECOND = 1000000, MANY = 10000 };

static const uint32_t equal[] = {1, 1, 1, 1, 1, 1, 1, 1};
static const enum balance_kind kinds[] = {BALANCE_ROUND_ROBIN,       BALANCE_RANDOM,    BALANCE_LEAST_REQUEST,
                                          BALANCE_LEAST_CONNECTIONS, BALANCE_PEAK_EWMA, BALANCE_RING_HASH,
                                          BALANCE_MAGLEV,            BALANCE_FIRST};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct definition d;

static void define_as(enum balance_kind kind, unsigned count) {
    define(&d, count, equal);
    d.rules.kind = kind;
    d.rules.choices = 2;
    d.rules.table_size = 1009;
    d.rules.ring_size = 1024;
    d.rules.ewma_decay = 10 * SECOND;
}

static struct cluster_runtime *change(void) {
    d.cluster.serial = ++next_serial;
    return bring(&d);
}

/* How often each port is picked, by requests that end at once. */
static void count_picks(struct cluster_runtime *c, const struct pick *p, unsigned picks, unsigned counts[ENDPOINTS_MOST]) {
    memset(counts, 0, ENDPOINTS_MOST * sizeof *counts);
    for (unsigned i = 0; i < picks; i++) {
        struct endpoint_runtime *e = cluster_pick(c, p);
        assert_non_null(e);
        counts[port_of(e)]++;
        endpoint_began(e);
        endpoint_ended(e, ENDPOINT_SUCCESS, 100);
    }
}

/* Puts one in the place of another. */
static void replace(unsigned at, unsigned with) {
    memcpy(d.texts[at], d.texts[with], sizeof d.texts[at]);
    d.endpoints[at] = d.endpoints[with];
    d.endpoints[at].text = str_of(d.texts[at]);
}

static struct endpoint_runtime *find_port(struct cluster_runtime *c, unsigned port) {
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        if (port_of((struct endpoint_runtime *)c->endpoints[i]) == port)
            return (struct endpoint_runtime *)c->endpoints[i];
    fail_msg("there is no port %u", port);
    return NULL;
}

static void eject(struct cluster_runtime *c, unsigned port, uint64_t until) {
    atomic_store(&find_port(c, port)->shared->ejected_until, until);
    atomic_fetch_add(&c->shared->ejections, 1);
}

/* ---- priorities */

static void lower_priorities_wait_for_their_turn(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    for (unsigned k = 0; k < KINDS; k++) {
        define_as(kinds[k], 6);
        for (unsigned i = 3; i < 6; i++)
            d.endpoints[i].priority = 1;
        struct cluster_runtime *c = bring(&d);
        count_picks(c, &any_endpoint, 300, counts);
        assert_int_equal(counts[4] + counts[5] + counts[6], 0);
        d.endpoints[0].is_usable = d.endpoints[1].is_usable = false; /* 1 of 3, times 1.4: 46.7 percent */
        count_picks(change(), &any_endpoint, 10000, counts);
        assert_in_range(counts[3], 4667 - 250, 4667 + 250); /* five deviations of sqrt(n p q) */
        assert_int_equal(counts[1] + counts[2], 0);
        d.endpoints[2].is_usable = false;
        count_picks(change(), &any_endpoint, 300, counts);
        assert_int_equal(counts[4] + counts[5] + counts[6], 300);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* Whose priority or zone was tried as a whole goes on to the next; what is not available is no choice. */
static void who_was_tried_is_passed_over_for_other_groups(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned by_zone = 0; by_zone < 2; by_zone++) {
            struct pick p = {.is_repeated = true};
            define_as(kinds[k], 4);
            for (unsigned i = 1; i < 4; i++)
                d.endpoints[i].is_remote = by_zone, d.endpoints[i].priority = !by_zone;
            d.endpoints[3].is_usable = false;
            struct cluster_runtime *c = bring(&d);
            unsigned seen = 0;
            for (unsigned n = 0; n < 3; n++) {
                struct endpoint_runtime *e = cluster_pick(c, &p);
                assert_true(n == 0 ? port_of(e) == 1 : port_of(e) > 1);
                seen |= 1u << port_of(e);
                pick_note_tried(&p, e);
            }
            assert_int_equal(seen, 0xe); /* 1 to 3 */
            assert_int_equal(port_of(cluster_pick(c, &p)), 1);
            cluster_drop(&worker, d.cluster.slot);
        }
}

/* All are unwell. */
static void who_was_tried_is_passed_over_in_panic(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        struct pick p = {.is_repeated = true};
        define_as(kinds[k], 2);
        d.endpoints[1].priority = 1;
        d.endpoints[0].is_usable = d.endpoints[1].is_usable = false;
        struct cluster_runtime *c = bring(&d);
        for (unsigned port = 1; port <= 2; port++) {
            struct endpoint_runtime *e = cluster_pick(c, &p);
            assert_int_equal(port_of(e), port);
            pick_note_tried(&p, e);
        }
        assert_int_equal(port_of(cluster_pick(c, &p)), 1);
        cluster_drop(&worker, d.cluster.slot);
    }
}

static void panic_brings_the_unwell_back_but_not_those_that_drain(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    define_as(BALANCE_ROUND_ROBIN, 4);
    d.endpoints[0].is_usable = d.endpoints[1].is_usable = d.endpoints[2].is_usable = false;
    d.endpoints[2].is_draining = true;
    struct cluster_runtime *c = bring(&d); /* one of three */
    count_picks(c, &any_endpoint, 400, counts);
    assert_true(counts[1] > 90 && counts[2] > 90 && counts[4] > 90);
    assert_int_equal(counts[3], 0);
    d.rules.panic_threshold = 0;
    count_picks(change(), &any_endpoint, 400, counts);
    assert_int_equal(counts[4], 400);
}

static void drained_endpoint_keeps_what_is_under_way(void **state) {
    (void)state;
    define_as(BALANCE_ROUND_ROBIN, 2);
    struct cluster_runtime *c = bring(&d);
    struct endpoint_runtime *e = find_port(c, 2);
    struct client_connection *busy = connect_for_nobody(e, 17);
    report_connected(busy);
    assert_ptr_equal(take(e), busy);
    endpoint_began(e);
    d.endpoints[1].is_usable = false, d.endpoints[1].is_draining = true;
    change();
    for (int i = 0; i < 100; i++)
        assert_int_equal(port_of(cluster_pick(c, &any_endpoint)), 1);
    assert_true(is_open(busy));
    d.count = 1; /* and then it is gone */
    change();
    assert_true(is_open(busy));
    report_closed(busy);
    assert_int_equal(c->gone, 1); /* its request has not ended */
    endpoint_ended(e, ENDPOINT_RESET, 0);
    assert_int_equal(c->gone, 0);
}

/* ---- zones */

static void other_zones_take_what_ours_cannot(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    define_as(BALANCE_RANDOM, 6);
    for (unsigned i = 2; i < 6; i++)
        d.endpoints[i].is_remote = true;
    struct cluster_runtime *c = bring(&d);
    assert_int_equal(c->group_count, 2);
    count_picks(c, &any_endpoint, 100, counts);
    assert_int_equal(counts[1] + counts[2], 100);
    d.endpoints[0].is_usable = false; /* one of two, times 1.4 */
    count_picks(change(), &any_endpoint, 10000, counts);
    assert_in_range(counts[2], 7000 - 230, 7000 + 230);
    for (unsigned port = 3; port <= 6; port++)
        assert_in_range(counts[port], 750 - 150, 750 + 150);
}

/* ---- subsets */

static const struct metadata v1[] = {{{"stage", 5}, {"prod", 4}}, {{"version", 7}, {"1", 1}}};
static const struct metadata v2[] = {{{"stage", 5}, {"prod", 4}}, {{"version", 7}, {"2", 1}}};
static const struct str version_key[] = {{"version", 7}};
static const struct str both_keys[] = {{"stage", 5}, {"version", 7}};
static const struct subset_selector selectors[] = {{version_key, 1}, {both_keys, 2}};

static struct cluster_runtime *bring_with_subsets(bool fallback) {
    struct cluster_members *m = cluster_members_create(d.count);
    d.cluster.serial = ++next_serial;
    m->rules = d.rules;
    m->selectors = selectors, m->selector_count = 2;
    m->subset_fallback = fallback;
    m->wants_ids = true;
    memcpy(m->endpoints, d.endpoints, d.count * sizeof *m->endpoints);
    assert_int_equal(cluster_members_complete(m, d.cluster.members), 0);
    made_members[made_members_count++] = m;
    d.cluster.members = m;
    return cluster_of(&worker, &d.cluster);
}

static void subset_is_chosen_by_metadata(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    for (unsigned k = 0; k < KINDS; k++) {
        define_as(kinds[k], 6);
        for (unsigned i = 0; i < 5; i++)
            d.endpoints[i].metadata = i < 2 ? v1 : v2, d.endpoints[i].metadata_count = 2;
        struct cluster_runtime *c = bring_with_subsets(false);
        struct pick one = {.subset = cluster_subset(&v1[1], 1)}, two = {.subset = cluster_subset(v2, 2)};
        struct pick none = {.subset = cluster_subset(&(struct metadata){STR("version"), STR("3")}, 1)};
        count_picks(c, &one, 400, counts);
        assert_int_equal(counts[1] + counts[2], 400);
        count_picks(c, &two, 400, counts);
        assert_int_equal(counts[3] + counts[4] + counts[5], 400);
        assert_null(cluster_pick(c, &none));
        assert_ptr_equal(bring_with_subsets(true), c);
        assert_non_null(cluster_pick(c, &none));
        d.endpoints[1].metadata = v2; /* it changes sides, with all that it has */
        struct endpoint_runtime *e = find_port(c, 2);
        bring_with_subsets(false);
        assert_ptr_equal(find_port(c, 2), e);
        count_picks(c, &one, 100, counts);
        assert_int_equal(counts[1], 100);
        count_picks(c, &two, 400, counts);
        assert_int_equal(counts[1], 0);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* ---- sticky */

static void the_endpoint_of_the_cookie_is_chosen_while_it_is_available(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    define_as(BALANCE_ROUND_ROBIN, 6);
    for (unsigned i = 0; i < 5; i++)
        d.endpoints[i].metadata = i < 2 ? v1 : v2, d.endpoints[i].metadata_count = 2;
    struct cluster_runtime *c = bring_with_subsets(false);
    struct pick p = {.sticky = endpoint_id(d.endpoints[3].text)};
    count_picks(c, &p, 100, counts);
    assert_int_equal(counts[4], 100);
    p.subset = cluster_subset(&v1[1], 1); /* it is none of those */
    count_picks(c, &p, 100, counts);
    assert_int_equal(counts[1] + counts[2], 100);
    p.subset = 0;
    pick_note_tried(&p, find_port(c, 4));
    count_picks(c, &p, 100, counts);
    assert_int_equal(counts[4], 0);
    p.tried_count = 0;
    eject(c, 4, worker.now + SECOND);
    count_picks(c, &p, 100, counts);
    assert_int_equal(counts[4], 0);
    worker.now += SECOND;
    count_picks(c, &p, 100, counts);
    assert_int_equal(counts[4], 100);
    p.sticky = 1; /* of one that is gone */
    count_picks(c, &p, 60, counts);
    assert_in_range(counts[4], 9, 11);
}

/* ---- ejections */

static void ejected_endpoint_gets_nothing_from_then_on(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    for (unsigned k = 0; k < KINDS; k++) {
        define_as(kinds[k], 4);
        struct cluster_runtime *c = bring(&d);
        cluster_pick(c, &any_endpoint);
        eject(c, 1, worker.now + 5 * SECOND);
        assert_false(endpoint_is_available(find_port(c, 1)));
        count_picks(c, &any_endpoint, 400, counts);
        assert_int_equal(counts[1], 0);
        worker.now += 5 * SECOND;
        count_picks(c, &any_endpoint, 400, counts);
        assert_true(counts[1] > 0);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* Ejected on another worker, or here, in quick succession: all of it is counted in the end. */
static void ejections_count_for_priorities(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    define_as(BALANCE_ROUND_ROBIN, 4);
    d.endpoints[2].priority = d.endpoints[3].priority = 1;
    struct cluster_runtime *c = bring(&d);
    cluster_pick(c, &any_endpoint);
    eject(c, 1, worker.now + 30 * SECOND);
    cluster_pick(c, &any_endpoint);
    eject(c, 2, worker.now + 60 * SECOND);
    count_picks(c, &any_endpoint, 10, counts); /* none is lost before it is counted */
    assert_int_equal(counts[3] + counts[4], 10);
    worker.now += SECOND / 10;
    count_picks(c, &any_endpoint, 100, counts);
    assert_int_equal(counts[3] + counts[4], 100);
    assert_int_equal(c->groups[0]->available, 0);
    worker.now += 30 * SECOND;
    count_picks(c, &any_endpoint, 1000, counts);
    assert_int_equal(c->groups[0]->available, 1);
    assert_in_range(counts[1], 700 - 75, 700 + 75);
    worker.now += 30 * SECOND;
    count_picks(c, &any_endpoint, 100, counts);
    assert_int_equal(counts[1] + counts[2], 100);
}

static void ejection_outlives_a_change(void **state) {
    (void)state;
    define_as(BALANCE_ROUND_ROBIN, 3);
    struct cluster_runtime *c = bring(&d);
    struct endpoint_runtime *e = find_port(c, 2);
    eject(c, 2, worker.now + SECOND);
    d.endpoints[0].weight = 2;
    add_endpoint(&d, 9, 1);
    change();
    assert_ptr_equal(find_port(c, 2), e);
    assert_false(endpoint_is_available(e));
    assert_int_equal(atomic_load(&d.cluster.members->endpoints[1].shared->ejected_until), worker.now + SECOND);
}

/* Another worker knew the newcomer earlier and has ejected it, and that was noticed here before it came. */
static void end_of_an_ejection_before_the_arrival_is_noticed(void **state) {
    (void)state;
    define_as(BALANCE_ROUND_ROBIN, 1);
    struct cluster_runtime *c = bring(&d);
    add_endpoint(&d, 2, 1);
    d.cluster.serial = ++next_serial;
    complete(&d);
    atomic_store(&d.cluster.members->endpoints[1].shared->ejected_until, worker.now + SECOND);
    atomic_fetch_add(&c->shared->ejections, 1);
    assert_int_equal(port_of(cluster_pick(c, &any_endpoint)), 1);
    assert_ptr_equal(bring(&d), c);
    worker.now += SECOND / 2;
    assert_int_equal(port_of(cluster_pick(c, &any_endpoint)), 1);
    assert_int_equal(c->groups[0]->available, 1);
    worker.now += SECOND;
    assert_non_null(cluster_pick(c, &any_endpoint));
    assert_int_equal(c->groups[0]->available, 2);
}

/* ---- slow start */

static void those_that_come_later_begin_slowly(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    define_as(BALANCE_ROUND_ROBIN, 2);
    d.rules.slow_start = 10 * SECOND, d.rules.slow_start_power = 1, d.rules.slow_start_least = 0.1;
    struct cluster_runtime *c = bring(&d);
    count_picks(c, &any_endpoint, 1000, counts);
    assert_in_range(counts[1], 498, 502); /* who is there from the beginning is not fresh */
    add_endpoint(&d, 3, 1);
    change();
    worker.now += 5 * SECOND;
    count_picks(c, &any_endpoint, 1000, counts);
    assert_in_range(counts[3], 190, 202); /* half a weight of two and a half; its first turn came later */
    worker.now += 5 * SECOND;
    count_picks(c, &any_endpoint, 900, counts);
    assert_in_range(counts[3], 298, 302);
    d.endpoints[0].is_usable = false;
    change();
    d.endpoints[0].is_usable = true;
    change();
    worker.now += 5 * SECOND;
    count_picks(c, &any_endpoint, 1000, counts);
    assert_in_range(counts[1], 195, 205);
    cluster_pick(c, &any_endpoint);
    eject(c, 2, worker.now + SECOND);
    cluster_pick(c, &any_endpoint);
    worker.now += SECOND;
    cluster_pick(c, &any_endpoint); /* sees that it is back */
    assert_true(find_port(c, 2)->candidate.fresh_since == worker.now);
}

/* ---- changes of the list */

static struct endpoint_definition *many;
static char (*many_texts)[32];

static void make_many(void) {
    many = calloc(MANY + 1, sizeof *many);
    many_texts = calloc(MANY + 1, sizeof *many_texts);
    assert_true(many && many_texts);
    for (unsigned i = 0; i <= MANY; i++) {
        snprintf(many_texts[i], sizeof many_texts[i], "10.0.%u.%u:80", i / 256, i % 256);
        many[i] = (struct endpoint_definition){.text = str_of(many_texts[i]), .weight = 1, .is_usable = true};
        assert_int_equal(address_parse(many[i].text, &many[i].address), 0);
    }
}

static void bring_many(const struct cluster_members *previous, uint32_t count, struct cluster_members **ret) {
    *ret = d.cluster.members = make_members(&d.rules, many, count, previous);
    d.cluster.serial = ++next_serial;
}

/* One goes, one comes, one is weighted anew, and all others have another place. What the definition says of the unchanged
 * is made unreadable, and so is what they could be looked up by. */
static void unchanged_endpoints_are_not_looked_at(void **state) {
    (void)state;
    struct cluster_members *first, *second;
    make_many();
    for (unsigned k = 0; k < KINDS; k++) {
        define_as(kinds[k], 0);
        bring_many(NULL, MANY, &first);
        struct cluster_runtime *c = cluster_of(&worker, &d.cluster);
        worker_empty_mailbox(&worker); /* all of them are made */
        struct candidate *untouched = c->endpoints[5000], *last = c->endpoints[MANY - 1];
        struct endpoint_definition gone = many[0];
        memmove(many, many + 1, MANY * sizeof *many); /* 1 to MANY */
        many[17].weight = 2;
        bring_many(first, MANY, &second);
        assert_int_equal(second->changed_count, 2);
        assert_int_equal(second->removed_count, 1);
        for (uint32_t i = 0; i < MANY; i++) {
            if (i != 17 && i != MANY - 1)
                second->endpoints[i].text.p = second->endpoints[i].hostname.p = (const char *)16;
            memset(((struct endpoint_runtime *)c->endpoints[i])->text, '?', 8);
        }
        uint64_t allocations = hg_alloc_count();
        assert_ptr_equal(cluster_of(&worker, &d.cluster), c);
        assert_in_range(hg_alloc_count() - allocations, 1, 10);
        assert_ptr_equal(c->endpoints[4999], untouched);
        assert_ptr_equal(c->endpoints[MANY - 2], last);
        assert_int_equal(c->endpoints[17]->weight, 2);
        assert_int_equal(c->groups[0]->available, MANY);
        assert_non_null(cluster_pick(c, &any_endpoint));
        cluster_drop(&worker, d.cluster.slot);
        memmove(many + 1, many, MANY * sizeof *many);
        many[0] = gone;
        many[18].weight = 1;
    }
    free(many);
    free(many_texts);
}

/* What a request has of a group goes on: the turn that each is due, what is under way, the latency that is expected. */
static void turns_and_loads_outlive_changes(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        define_as(kinds[k], 6);
        struct cluster_runtime *c = bring(&d);
        double keys[7] = {0};
        for (unsigned i = 0; i < 50; i++)
            endpoint_began(cluster_pick(c, &any_endpoint));
        for (unsigned port = 1; port <= 6; port++) {
            struct endpoint_runtime *e = find_port(c, port);
            e->candidate.latency = port * 1000;
            if (c->groups[0]->heap_count)
                keys[port] = c->groups[0]->heap[e->candidate.placements->heap_index].key;
        }
        uint32_t active = c->groups[0]->active;
        replace(2, 5); /* 3 leaves, 6 takes its place in the list */
        d.count = 5;
        add_endpoint(&d, 9, 3);
        uint32_t left = find_port(c, 3)->candidate.active;
        struct endpoint_runtime *gone = find_port(c, 3);
        change();
        for (unsigned port = 1; port <= 6; port++) {
            if (port == 3)
                continue;
            struct endpoint_runtime *e = find_port(c, port);
            assert_true(e->candidate.latency == port * 1000);
            if (c->groups[0]->heap_count)
                assert_true(c->groups[0]->heap[e->candidate.placements->heap_index].key == keys[port]);
        }
        assert_int_equal(c->groups[0]->active, active - left);
        while (left--)
            endpoint_ended(gone, ENDPOINT_SUCCESS, 100);
        for (uint32_t i = 0; i < c->endpoint_count; i++)
            while (c->endpoints[i]->active)
                endpoint_ended((struct endpoint_runtime *)c->endpoints[i], ENDPOINT_SUCCESS, 100);
        assert_int_equal(c->groups[0]->active, 0);
        cluster_drop(&worker, d.cluster.slot);
    }
}

enum { PORTS = 4096, CHANGES_OF_A_KIND = 125, OPEN_MOST = 60 }; /* 1,000 changes in all */

static struct {
    struct endpoint_runtime *at;
    double   key, latency;
    uint64_t ejected_until;
    bool     is_touched;
} known[PORTS];
static struct endpoint_runtime *open_requests[OPEN_MOST];
static unsigned open_count, next_port;

static unsigned random_below(unsigned n) {
    return (unsigned)((uint64_t)worker_random(&worker) * n >> 32);
}

static unsigned port_at(unsigned i) {
    return address_port(&d.endpoints[i].address);
}

static void change_something(void) {
    unsigned i = random_below(d.count);
    known[port_at(i)].is_touched = true;
    switch (random_below(6)) {
    case 0: d.endpoints[i].is_usable = !d.endpoints[i].is_usable; break;
    case 1: d.endpoints[i].weight = 1 + random_below(5); break;
    case 2: d.endpoints[i].priority ^= 1; break;
    case 3: d.endpoints[i].is_remote = !d.endpoints[i].is_remote; break;
    case 4:
        if (d.count > 3)
            replace(i, --d.count);
        break;
    default:
        if (d.count < ENDPOINTS_MOST)
            add_endpoint(&d, next_port++, 1 + random_below(3));
    }
}

static void note_all(struct cluster_runtime *c) {
    memset(known, 0, sizeof known);
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        struct endpoint_runtime *e = (struct endpoint_runtime *)c->endpoints[i];
        unsigned port = port_of(e);
        known[port].at = e;
        known[port].key = turn_of(e);
        known[port].latency = e->candidate.latency;
        known[port].ejected_until = atomic_load(&e->shared->ejected_until);
    }
}

/* Who was not touched is who it was; the key of least connections is that of its load. */
static void assert_untouched(struct cluster_runtime *c) {
    assert_int_equal(c->endpoint_count, d.count);
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        struct endpoint_runtime *e = (struct endpoint_runtime *)c->endpoints[i];
        unsigned port = port_of(e);
        assert_int_equal(port, port_at(i));
        if (known[port].is_touched || !known[port].at)
            continue;
        assert_ptr_equal(e, known[port].at);
        assert_true(turn_of(e) == known[port].key || isinf(known[port].key));
        assert_true(e->candidate.latency == known[port].latency);
        assert_int_equal(atomic_load(&e->shared->ejected_until), known[port].ejected_until);
    }
}

/* What groups have counted is what a look at everybody gives. */
static void assert_counts(struct cluster_runtime *c) {
    for (uint32_t i = 0; i < c->group_count; i++) {
        const struct group *g = c->groups[i];
        uint32_t available = 0, active = 0;
        uint64_t weight = 0;
        for (uint32_t k = 0; k < g->definition->count; k++) {
            const struct candidate *e = c->endpoints[g->definition->members[k]];
            bool is_available = candidate_is_available(e, worker.now);
            assert_ptr_equal(e->placements[0].group, g);
            available += is_available;
            weight += is_available ? e->weight : 0;
            active += e->active;
        }
        assert_int_equal(g->eligible, g->definition->count);
        assert_int_equal(g->available, available);
        assert_int_equal(g->available_weight, weight);
        assert_int_equal(g->active, active);
    }
}

static void make_traffic(struct cluster_runtime *c) {
    for (unsigned i = 0; i < 40; i++) {
        unsigned at = open_count ? random_below(open_count) : 0;
        if (open_count == OPEN_MOST || (open_count && random_below(2))) {
            endpoint_ended(open_requests[at], random_below(4) ? ENDPOINT_SUCCESS : ENDPOINT_RESET, 1 + random_below(5000));
            open_requests[at] = open_requests[--open_count];
            continue;
        }
        struct endpoint_runtime *e = cluster_pick(c, &(struct pick){.hash = worker_random(&worker), .has_hash = true});
        if (!e)
            continue; /* none is available */
        assert_true(endpoint_is_available(e));
        endpoint_began(open_requests[open_count++] = e);
    }
    worker.now += 1 + random_below(SECOND / 10);
    if (random_below(4) == 0)
        eject(c, port_at(random_below(d.count)), worker.now + random_below(SECOND));
    cluster_pick(c, &any_endpoint);
    worker.now += 2000; /* and what was ejected meanwhile has been counted */
    cluster_pick(c, &any_endpoint);
}

static void thousand_random_changes_leave_the_untouched_alone(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        define_as(kinds[k], 8);
        d.rules.panic_threshold = 0;
        next_port = 100;
        struct cluster_runtime *c = bring(&d);
        for (unsigned n = 0; n < CHANGES_OF_A_KIND; n++) {
            make_traffic(c);
            note_all(c);
            for (unsigned i = 0; i <= random_below(3); i++)
                change_something();
            assert_ptr_equal(change(), c);
            assert_untouched(c);
            assert_counts(c);
        }
        while (open_count)
            endpoint_ended(open_requests[--open_count], ENDPOINT_CANCELLED, 0);
        assert_int_equal(c->gone, 0);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* From each balancer to each other, with requests under way. */
static void the_balancer_changes_under_way(void **state) {
    (void)state;
    for (unsigned from = 0; from < KINDS; from++)
        for (unsigned to = 0; to < KINDS; to++) {
            unsigned counts[ENDPOINTS_MOST];
            define_as(kinds[from], 5);
            struct cluster_runtime *c = bring(&d);
            struct endpoint_runtime *busy = cluster_pick(c, &any_endpoint);
            endpoint_began(busy);
            d.rules.kind = kinds[to];
            d.endpoints[4].is_usable = false;
            change();
            count_picks(c, &any_endpoint, 200, counts);
            assert_int_equal(counts[5], 0);
            assert_int_equal(c->groups[0]->active, 1);
            endpoint_ended(busy, ENDPOINT_SUCCESS, 1);
            assert_int_equal(c->groups[0]->active, 0);
            cluster_drop(&worker, d.cluster.slot);
        }
}

/* A worker that has missed a definition has nothing but addresses to go by. */
static void a_missed_definition_is_made_up_for(void **state) {
    (void)state;
    define_as(BALANCE_ROUND_ROBIN, 4);
    struct cluster_runtime *c = bring(&d);
    struct endpoint_runtime *e = find_port(c, 4);
    d.cluster.serial = ++next_serial;
    replace(0, 3), d.count = 3;
    complete(&d);
    d.cluster.serial = ++next_serial;
    add_endpoint(&d, 7, 1);
    assert_ptr_equal(bring(&d), c);
    assert_int_equal(c->endpoint_count, 4);
    assert_ptr_equal(find_port(c, 4), e);
    assert_int_equal(port_of((struct endpoint_runtime *)c->endpoints[0]), 4);
}

/* An address that was gone meanwhile is another endpoint; what the one before still has under way is counted where it
 * was. */
static void counts_of_an_endpoint_that_was_gone_end_with_it(void **state) {
    (void)state;
    define_as(BALANCE_ROUND_ROBIN, 2);
    struct cluster_runtime *c = bring(&d);
    struct endpoint_shared *before = endpoint_shared_ref(find_port(c, 2)->shared);
    struct client_connection *link = connect_for_nobody(find_port(c, 2), 17);
    assert_int_equal(atomic_load(&before->connections), 1);
    report_connected(link);
    assert_non_null(take(link->endpoint));
    d.cluster.serial = ++next_serial, d.count = 1;
    complete(&d);
    d.cluster.serial = ++next_serial;
    add_endpoint(&d, 2, 1);
    assert_ptr_equal(bring(&d), c);
    const struct endpoint_shared *after = d.cluster.members->endpoints[1].shared;
    assert_ptr_not_equal(after, before);
    assert_ptr_equal(find_port(c, 2)->shared, after);
    report_closed(link);
    assert_int_equal(atomic_load(&after->connections), 0);
    assert_int_equal(atomic_load(&before->connections), 0);
    endpoint_shared_unref(before);
}

static void an_address_that_stands_twice_counts_once(void **state) {
    (void)state;
    unsigned counts[ENDPOINTS_MOST];
    define_as(BALANCE_ROUND_ROBIN, 2);
    add_endpoint(&d, 1, 1);
    struct cluster_runtime *c = bring(&d);
    assert_int_equal(c->endpoint_count, 2);
    count_picks(c, &any_endpoint, 100, counts);
    assert_in_range(counts[1], 49, 51);
}

static void members_without_memory(void **state) {
    (void)state;
    bool failed = true;
    define_as(BALANCE_MAGLEV, 6);
    d.endpoints[3].priority = 1;
    const struct cluster_members *previous = complete(&d)->members;
    replace(0, 5), d.count = 5;
    for (long nth = 0; failed; nth++) {
        uint64_t count = hg_alloc_count();
        hg_alloc_fail_at(nth, 0);
        struct cluster_members *m = cluster_members_create(d.count);
        if (m) {
            m->rules = d.rules;
            memcpy(m->endpoints, d.endpoints, d.count * sizeof *m->endpoints);
        }
        int status = m ? cluster_members_complete(m, previous) : -1;
        hg_alloc_fail_at(-1, 0);
        failed = hg_alloc_count() - count > (uint64_t)nth;
        assert_true(failed == (status < 0));
        cluster_members_unref(m);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, back_set_up, back_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(lower_priorities_wait_for_their_turn),
        TEST(who_was_tried_is_passed_over_for_other_groups),
        TEST(who_was_tried_is_passed_over_in_panic),
        TEST(panic_brings_the_unwell_back_but_not_those_that_drain),
        TEST(drained_endpoint_keeps_what_is_under_way),
        TEST(other_zones_take_what_ours_cannot),
        TEST(subset_is_chosen_by_metadata),
        TEST(the_endpoint_of_the_cookie_is_chosen_while_it_is_available),
        TEST(ejected_endpoint_gets_nothing_from_then_on),
        TEST(ejections_count_for_priorities),
        TEST(ejection_outlives_a_change),
        TEST(end_of_an_ejection_before_the_arrival_is_noticed),
        TEST(those_that_come_later_begin_slowly),
        TEST(unchanged_endpoints_are_not_looked_at),
        TEST(turns_and_loads_outlive_changes),
        TEST(thousand_random_changes_leave_the_untouched_alone),
        TEST(the_balancer_changes_under_way),
        TEST(a_missed_definition_is_made_up_for),
        TEST(counts_of_an_endpoint_that_was_gone_end_with_it),
        TEST(an_address_that_stands_twice_counts_once),
        TEST(members_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
