/* Balancers that hash: spread, weights, and what a change of the endpoints moves. */
#include "common/ring_points.h"
#include "tests/unit/dataplane/balance/choosers.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { KEYS = 100000, SLOTS = 65537 };

static struct choosers c, other;
static int before[KEYS];

static const enum balance_kind kinds[] = {BALANCE_RING_HASH, BALANCE_MAGLEV};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void note_choices(struct choosers *from) {
    for (unsigned k = 0; k < KEYS; k++)
        before[k] = choose_by_hash(from, key_at(k));
}

static void count_keys(struct choosers *from) {
    memset(from->counts, 0, sizeof from->counts);
    for (unsigned k = 0; k < KEYS; k++)
        from->counts[choose_by_hash(from, key_at(k))]++;
}

/* ---- spread */

/* Section 5.3 of the paper: but for the last round all have the same number of slots. */
static void maglev_slots_differ_by_one_at_most(void **state) {
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 10, 1000};
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        static uint32_t slots[CANDIDATES_MOST];
        choosers_make(&c, BALANCE_MAGLEV, counts[i], NULL);
        const struct balance_table *t = c.definition.table;
        memset(slots, 0, sizeof slots);
        assert_int_equal(t->size, 65537);
        for (uint32_t s = 0; s < t->size; s++)
            slots[t->members[s]]++;
        for (uint32_t m = 0; m < counts[i]; m++)
            assert_in_range(slots[m], t->size / counts[i], t->size / counts[i] + 1);
        choosers_finish(&c);
    }
}

/* By earliest deadline at time t, each of n has floor(t * w) slots, and t * W is between their sum and that plus n. */
static void maglev_slots_follow_the_weights(void **state) {
    (void)state;
    static const uint32_t weights[] = {1, 2, 3, 100, 1000, 50};
    uint32_t slots[6] = {0};
    choosers_make(&c, BALANCE_MAGLEV, 6, weights);
    const struct balance_table *t = c.definition.table;
    for (uint32_t s = 0; s < t->size; s++)
        slots[t->members[s]]++;
    for (unsigned m = 0; m < 6; m++)
        assert_true(fabs(slots[m] - (double)t->size * weights[m] / 1156) <= 1 + 6.0 * weights[m] / 1156);
    choosers_finish(&c);
}

struct permutation {
    uint32_t next;   /* slot */
    uint64_t skip;   /* to the one after */
};

/* Section 3.4 of the paper, without weights: one after the other takes the next of its slots that is free. */
static void take_turns(uint32_t table[SLOTS], struct permutation *permutations, const uint32_t *order, uint32_t count) {
    memset(table, 0xff, SLOTS * sizeof *table);
    for (uint32_t filled = 0; filled < SLOTS; filled++) {
        struct permutation *p = &permutations[order[filled % count]];
        while (table[p->next] != UINT32_MAX)
            p->next = (uint32_t)((p->next + p->skip) % SLOTS);
        table[p->next] = order[filled % count];
    }
}

/* By hash, so that the order of the list does not matter. */
static void maglev_takes_turns_as_in_the_paper(void **state) {
    (void)state;
    enum { MEMBERS = 37 };
    static uint32_t expected[SLOTS];
    struct permutation permutations[MEMBERS];
    uint32_t by_hash[MEMBERS];
    uint64_t hash[MEMBERS];
    choosers_make(&c, BALANCE_MAGLEV, MEMBERS, NULL);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        uint32_t at = i;
        hash[i] = XXH64(c.names[i], strlen(c.names[i]), 0);
        permutations[i] = (struct permutation){(uint32_t)(hash[i] % SLOTS),
                                               XXH64(c.names[i], strlen(c.names[i]), 1) % (SLOTS - 1) + 1};
        for (; at && hash[by_hash[at - 1]] > hash[i]; at--)
            by_hash[at] = by_hash[at - 1];
        by_hash[at] = i;
    }
    take_turns(expected, permutations, by_hash, MEMBERS);
    assert_memory_equal(c.definition.table->members, expected, sizeof expected);
    choosers_finish(&c);
}

/* Each point is there, with its member, and they ascend. */
static void ring_has_all_points_in_order(void **state) {
    (void)state;
    static const uint32_t weights[] = {1, 2, 3, 100, 7};
    uint32_t points[5] = {0};
    choosers_make(&c, BALANCE_RING_HASH, 5, weights);
    const struct balance_table *t = c.definition.table;
    double scale = ring_scale(113, 1, c.rules.ring_size);
    for (uint32_t i = 0; i < t->size; i++) {
        uint32_t m = t->members[i], most = ring_points(weights[m], scale);
        uint64_t seed = XXH64(c.names[m], strlen(c.names[m]), 0), n = 1;
        while (n <= most && XXH64(&n, sizeof n, seed) != t->points[i])
            n++;
        assert_true(n <= most);
        assert_true(i == 0 || t->points[i - 1] < t->points[i]);
        points[m]++;
    }
    for (unsigned m = 0; m < 5; m++)
        assert_int_equal(points[m], ring_points(weights[m], scale));
    choosers_finish(&c);
}

/* A member with p points of a ring of many has a share that is distributed about as a mean of p exponentials: its relative
 * deviation is 1 / sqrt(p). Five of those, for the worst of ten. */
static void ring_shares_are_as_even_as_its_points(void **state) {
    (void)state;
    choosers_init(&c, BALANCE_RING_HASH);
    c.rules.ring_size = 10240;
    for (unsigned i = 0; i < 10; i++)
        choosers_add(&c, i, 1 + i % 2); /* 15 in all */
    choosers_ready(&c);
    count_keys(&c);
    for (unsigned i = 0; i < 10; i++) {
        double weight = 1 + i % 2, points = 1024 * weight; /* the power of two above 10240 / 15 */
        assert_true(fabs(c.counts[i] / (KEYS * weight / 15) - 1) < 5 / sqrt(points));
    }
    choosers_finish(&c);
}

/* ---- disruption */

/* Removes the one in the middle of a copy. */
static void make_without(struct choosers *from, enum balance_kind kind, uint32_t count, uint32_t without) {
    choosers_init(from, kind);
    for (uint32_t i = 0; i < count; i++)
        if (i != without)
            choosers_add(from, i, 1);
    choosers_ready(from);
}

static unsigned moved_to(struct choosers *to, uint32_t without, unsigned *ret_others) {
    unsigned own = 0;
    *ret_others = 0;
    for (unsigned k = 0; k < KEYS; k++) {
        int now = choose_by_hash(to, key_at(k));
        now += now >= (int)without;
        if (before[k] == (int)without)
            own++;
        else
            *ret_others += before[k] != now;
    }
    return own;
}

static void ring_moves_the_keys_of_the_removed_alone(void **state) {
    (void)state;
    unsigned others;
    choosers_make(&c, BALANCE_RING_HASH, 20, NULL);
    note_choices(&c);
    make_without(&other, BALANCE_RING_HASH, 20, 7);
    assert_int_equal(c.definition.table->size, 20 * 64);
    assert_int_equal(other.definition.table->size, 19 * 64);
    unsigned own = moved_to(&other, 7, &others);
    assert_in_range(own, KEYS / 20 / 2, KEYS / 20 * 2);
    assert_int_equal(others, 0);
    choosers_finish(&c);
    choosers_finish(&other);
}

/* The share of slots that change hands between those that stay, with permutations of chance. */
static double moved_by_chance(uint32_t count, uint32_t without) {
    static uint32_t tables[2][SLOTS];
    struct permutation first[CANDIDATES_MOST], again[CANDIDATES_MOST];
    uint32_t order[CANDIDATES_MOST], moved = 0;
    uint64_t random = 88172645463325252u;
    for (uint32_t i = 0; i < count; i++) {
        order[i] = i;
        first[i] = again[i] = (struct permutation){(uint32_t)(balance_random(&random) % SLOTS),
                                                   balance_random(&random) % (SLOTS - 1) + 1};
    }
    take_turns(tables[0], first, order, count);
    memmove(&order[without], &order[without + 1], (count - without - 1) * sizeof *order);
    take_turns(tables[1], again, order, count - 1);
    for (uint32_t s = 0; s < SLOTS; s++)
        moved += tables[0][s] != without && tables[0][s] != tables[1][s];
    return (double)moved / SLOTS;
}

/* Half as many again are allowed, as these are other permutations, and six deviations. */
static void maglev_moves_few_others(void **state) {
    (void)state;
    unsigned others;
    double expected = KEYS * moved_by_chance(20, 7);
    choosers_make(&c, BALANCE_MAGLEV, 20, NULL);
    note_choices(&c);
    make_without(&other, BALANCE_MAGLEV, 20, 7);
    unsigned own = moved_to(&other, 7, &others);
    assert_true(fabs(own - KEYS / 20.0) < 6 * sqrt(KEYS / 20.0));
    assert_true(others > 0 && others <= 1.5 * expected + 6 * sqrt(expected));
    choosers_finish(&c);
    choosers_finish(&other);
}

/* What part of all keys comes up at each slot or point. */
static double part_at(const struct balance_table *t, uint32_t at) {
    if (!t->points)
        return 1;
    return (double)(t->points[at] - t->points[at ? at - 1 : t->size - 1]); /* around the ring */
}

/* By what parts keys go to members. `of`: those of this one, when it is passed over; of a table they are spread as all are,
 * on a ring they go on to the next point. */
static void find_parts(const struct choosers *from, uint32_t of, double *ret) {
    const struct balance_table *t = from->definition.table;
    memset(ret, 0, from->count * sizeof *ret);
    for (uint32_t at = 0; at < t->size; at++) {
        uint32_t to = at;
        while (t->points && t->members[to] == of)
            to = to + 1 == t->size ? 0 : to + 1;
        if (!t->points || of == UINT32_MAX || t->members[at] == of)
            ret[t->members[to]] += part_at(t, at);
    }
    if (of != UINT32_MAX)
        ret[of] = 0;
}

/* Unwell is not removed: no other key moves at all, those of it are spread, and all come back. */
static void the_unavailable_moves_its_own_keys_alone(void **state) {
    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        double parts[10];
        choosers_make(&c, kinds[i], 10, NULL);
        note_choices(&c);
        set_usable(&c, 3, false);
        memset(c.counts, 0, sizeof c.counts);
        for (unsigned k = 0; k < KEYS; k++) {
            int now = choose_by_hash(&c, key_at(k));
            if (before[k] != 3)
                assert_int_equal(now, before[k]);
            else
                c.counts[now]++;
            assert_int_equal(now, choose_by_hash(&c, key_at(k))); /* the same each time */
        }
        find_parts(&c, 3, parts);
        assert_drawn_by(c.counts, parts, 10);
        set_usable(&c, 3, true);
        for (unsigned k = 0; k < KEYS; k++)
            assert_int_equal(choose_by_hash(&c, key_at(k)), before[k]);
        choosers_finish(&c);
    }
}

static void the_order_of_the_list_does_not_matter(void **state) {
    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        choosers_make(&c, kinds[i], 50, NULL);
        note_choices(&c);
        choosers_init(&other, kinds[i]);
        for (unsigned n = 50; n-- > 0;)
            choosers_add(&other, n, 1);
        choosers_ready(&other);
        for (unsigned k = 0; k < KEYS; k++)
            assert_int_equal(49 - choose_by_hash(&other, key_at(k)), before[k]);
        choosers_finish(&c);
        choosers_finish(&other);
    }
}

static void without_a_key_chance_decides(void **state) {
    (void)state;
    static const uint32_t weights[] = {1, 2, 3, 1, 2, 3, 1, 2, 3, 4};
    for (unsigned i = 0; i < KINDS; i++) {
        double parts[10];
        choosers_make(&c, kinds[i], 10, weights);
        count_choices(&c, 10000);
        find_parts(&c, UINT32_MAX, parts);
        assert_drawn_by(c.counts, parts, 10);
        choosers_finish(&c);
    }
}

/* ---- bounded load */

/* Requests of so many keys, none of which ends: an endpoint has at most the bound times its share of them, rounded up. */
static void assert_bounded(uint32_t load_bound, unsigned requests, unsigned keys) {
    uint64_t total = 0;
    c.rules.load_bound = load_bound;
    for (uint32_t m = 0; m < c.count; m++)
        total += c.candidates[m].weight;
    for (unsigned n = 0; n < requests; n++) {
        struct candidate *e = &c.candidates[choose_by_hash(&c, key_at(n % keys))];
        candidate_began(e, &c.rules);
        assert_true(e->active <= ceil(load_bound / 100.0 * (n + 1) * e->weight / (double)total));
    }
}

static void nobody_has_more_than_the_bound(void **state) {
    (void)state;
    static const uint32_t weights[] = {1, 2, 3, 10, 50, 7};
    for (unsigned i = 0; i < KINDS; i++) {
        choosers_make(&c, kinds[i], 10, NULL);
        assert_bounded(125, 5000, 3);
        choosers_finish(&c);
        choosers_make(&c, kinds[i], 6, weights);
        assert_bounded(125, 5000, 3);
        choosers_finish(&c);
    }
}

/* It fills more endpoints than are tried by the table. */
static void one_key_fills_nobody_beyond_the_bound(void **state) {
    (void)state;
    static const uint32_t bounds[] = {100, 101, 125, 1000};
    for (unsigned i = 0; i < KINDS; i++)
        for (unsigned b = 0; b < sizeof bounds / sizeof *bounds; b++) {
            choosers_make(&c, kinds[i], 500, NULL);
            assert_bounded(bounds[b], 3000, 1);
            choosers_finish(&c);
        }
}

/* What was tried is passed over, though it alone has room. */
static void a_retry_goes_beyond_the_bound_rather_than_back(void **state) {
    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        choosers_make(&c, kinds[i], 2, NULL);
        c.rules.load_bound = 100;
        candidate_began(&c.candidates[1], &c.rules);
        const void *tried[] = {&c.candidates[0]};
        assert_int_equal(choose_with(&c, (struct choice){.has_hash = true, .tried = tried, .tried_count = 1}), 1);
        choosers_finish(&c);
    }
}

static void below_the_bound_each_key_stays(void **state) {
    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        choosers_make(&c, kinds[i], 10, NULL);
        note_choices(&c);
        c.rules.load_bound = 150;
        for (unsigned m = 0; m < 10; m++)
            for (unsigned n = 0; n < 100; n++)
                candidate_began(&c.candidates[m], &c.rules);
        for (unsigned k = 0; k < KEYS; k++)
            assert_int_equal(choose_by_hash(&c, key_at(k)), before[k]);
        choosers_finish(&c);
    }
}

/* ---- tables */

static void the_same_members_have_the_same_table(void **state) {
    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        struct balance_table *again, *heavier;
        choosers_make(&c, kinds[i], 10, NULL);
        assert_int_equal(balance_table_make(&c.rules, c.members, 10, c.definition.table, &again), 0);
        assert_ptr_equal(again, c.definition.table);
        c.members[3].weight = 2;
        assert_int_equal(balance_table_make(&c.rules, c.members, 10, c.definition.table, &heavier), 0);
        assert_ptr_not_equal(heavier, again);
        balance_table_unref(again);
        balance_table_unref(heavier);
        choosers_finish(&c);
    }
}

static void tables_need_memory(void **state) {
    (void)state;
    static const enum balance_kind all[] = {BALANCE_RING_HASH, BALANCE_MAGLEV, BALANCE_RANDOM};
    choosers_init(&c, BALANCE_MAGLEV);
    for (unsigned i = 0; i < 10; i++)
        choosers_add(&c, i, 1 + i);
    for (unsigned i = 0; i < 3; i++) {
        bool failed = true;
        c.rules.kind = all[i];
        for (long nth = 0; failed; nth++) {
            struct balance_table *t = NULL;
            uint64_t count = hg_alloc_count();
            hg_alloc_fail_at(nth, 0);
            int status = balance_table_make(&c.rules, c.members, 10, NULL, &t);
            hg_alloc_fail_at(-1, 0);
            failed = hg_alloc_count() - count > (uint64_t)nth;
            assert_int_equal(status, failed ? -1 : 0);
            assert_true(failed == (t == NULL));
            balance_table_unref(t);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maglev_slots_differ_by_one_at_most),
        cmocka_unit_test(maglev_slots_follow_the_weights),
        cmocka_unit_test(maglev_takes_turns_as_in_the_paper),
        cmocka_unit_test(ring_has_all_points_in_order),
        cmocka_unit_test(ring_shares_are_as_even_as_its_points),
        cmocka_unit_test(ring_moves_the_keys_of_the_removed_alone),
        cmocka_unit_test(maglev_moves_few_others),
        cmocka_unit_test(the_unavailable_moves_its_own_keys_alone),
        cmocka_unit_test(the_order_of_the_list_does_not_matter),
        cmocka_unit_test(without_a_key_chance_decides),
        cmocka_unit_test(nobody_has_more_than_the_bound),
        cmocka_unit_test(one_key_fills_nobody_beyond_the_bound),
        cmocka_unit_test(a_retry_goes_beyond_the_bound_rather_than_back),
        cmocka_unit_test(below_the_bound_each_key_stays),
        cmocka_unit_test(the_same_members_have_the_same_table),
        cmocka_unit_test(tables_need_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
