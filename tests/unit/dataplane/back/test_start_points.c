/* Each worker begins elsewhere, so that they do not march in step: with the same definition, and random numbers of their own
 * from worker_init. */
#include "tests/unit/dataplane/back/fake_codec.h"

enum { SECOND = 1000000, WORKERS = 16, COUNT = 64, MANY = 5000 };

/* Of 16 draws of 64 more than 14 are different on average; less than 6 not once in a thousand million times. */
enum { DIFFERENT_LEAST = 6 };

static const uint32_t one[] = {1};
static const enum balance_kind kinds[] = {BALANCE_ROUND_ROBIN,       BALANCE_RANDOM,    BALANCE_LEAST_REQUEST,
                                          BALANCE_LEAST_CONNECTIONS, BALANCE_PEAK_EWMA, BALANCE_RING_HASH,
                                          BALANCE_MAGLEV};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct worker workers[WORKERS];
static struct cluster_table tables[WORKERS];
static struct definition d;
static struct endpoint_definition endpoints[MANY];
static char texts[MANY][32];

static int set_up(void **state) {
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        if (worker_init(&workers[i], i, EVFLAG_AUTO) < 0)
            return -1;
        workers[i].clusters = &tables[i];
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        clusters_finish(&workers[i]);
        worker_finish(&workers[i]);
    }
    members_finish();
    return 0;
}

static void define_as(enum balance_kind kind, uint32_t count) {
    define(&d, 1, one);
    d.rules.kind = kind;
    d.rules.choices = 2;
    d.rules.table_size = 1009;
    d.rules.ring_size = 1024;
    d.rules.ewma_decay = 10 * SECOND;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "127.0.0.1:%u", i + 1);
        endpoints[i] = (struct endpoint_definition){.text = str_of(texts[i]), .weight = 1, .is_usable = true};
        assert_int_equal(address_parse(endpoints[i].text, &endpoints[i].address), 0);
    }
    d.cluster.members = make_members(&d.rules, endpoints, count, NULL);
}

static unsigned different(const uint32_t *numbers, unsigned count) {
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++) {
        bool is_first = true;
        for (unsigned j = 0; j < i; j++)
            is_first = is_first && numbers[j] != numbers[i];
        found += is_first;
    }
    return found;
}

/* The port that each worker picks first; then the cluster is as it was before it was first used. */
static void pick_first(const struct pick *p, uint32_t ret[WORKERS]) {
    for (unsigned i = 0; i < WORKERS; i++) {
        ret[i] = port_of(cluster_pick(cluster_of(&workers[i], &d.cluster), p));
        cluster_drop(&workers[i], d.cluster.slot);
        assert_true(ret[i] > 0);
    }
}

static void workers_pick_different_endpoints_first(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        uint32_t first[WORKERS];
        define_as(kinds[k], COUNT);
        pick_first(&any_endpoint, first);
        assert_true(different(first, WORKERS) >= DIFFERENT_LEAST);
    }
}

/* And not always the same on one worker, as after a restart. */
static void a_worker_that_begins_again_begins_elsewhere(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        uint32_t first[WORKERS], of_one[WORKERS];
        define_as(kinds[k], COUNT);
        for (unsigned i = 0; i < WORKERS; i++) {
            pick_first(&any_endpoint, first);
            of_one[i] = first[0];
        }
        assert_true(different(of_one, WORKERS) >= DIFFERENT_LEAST);
    }
}

/* What must be the same everywhere is: where keys go, and who is the first of all. */
static void keys_and_the_first_are_the_same_for_all(void **state) {
    (void)state;
    static const enum balance_kind same[] = {BALANCE_RING_HASH, BALANCE_MAGLEV, BALANCE_FIRST};
    for (unsigned k = 0; k < sizeof same / sizeof *same; k++) {
        uint32_t first[WORKERS];
        define_as(same[k], COUNT);
        pick_first(&(struct pick){.hash = 0x9e3779b97f4a7c15u, .has_hash = true}, first);
        assert_int_equal(different(first, WORKERS), 1);
    }
}

/* Of very many endpoints each worker first makes other ones, since it chooses among those first. */
static void workers_make_different_endpoints_first(void **state) {
    (void)state;
    uint32_t at[WORKERS];
    define_as(BALANCE_ROUND_ROBIN, MANY);
    for (unsigned i = 0; i < WORKERS; i++)
        at[i] = cluster_of(&workers[i], &d.cluster)->filling.at;
    assert_true(different(at, WORKERS) >= DIFFERENT_LEAST);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(workers_pick_different_endpoints_first),
        TEST(a_worker_that_begins_again_begins_elsewhere),
        TEST(keys_and_the_first_are_the_same_for_all),
        TEST(workers_make_different_endpoints_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
