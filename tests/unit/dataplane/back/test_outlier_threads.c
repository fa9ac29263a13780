/* labels: threads
 *
 * Workers on threads of their own eject from one cluster, while its definition changes under them. */
#include "tests/unit/dataplane/back/outlier_fixture.h"

#include <pthread.h>
#include <sched.h>

#include "common/log.h"
#include "dataplane/back/ejection_log.h"

enum { ENDPOINTS = 20, DEFINITIONS = 8, REQUESTS = 8000, STEP = 500 };

static struct site_definition definitions[DEFINITIONS];
static _Atomic uint64_t clock_now;
static _Atomic uint32_t wakes, most_seen;

struct seat {
    pthread_t thread;
    unsigned  index;
    uint64_t  random;
    unsigned  without_endpoint;
    unsigned  place;            /* of the endpoint that fails */
};

static void note_places(void) {
    uint32_t places = atomic_load(&site.shared->ejected), most = atomic_load(&most_seen);
    while (places > most && !atomic_compare_exchange_weak(&most_seen, &most, places))
        continue;
}

static void wake(void *arg) {
    (void)arg;
    atomic_fetch_add(&wakes, 1);
}

/* Ports that are multiples of three fail, so that more stand out than may be ejected. */
static enum endpoint_outcome outcome_of(struct seat *s, const struct endpoint_runtime *e) {
    bool is_bad = address_port(&e->address) % 3 == 0;
    uint64_t random = balance_random(&s->random);
    return random >> 40 & (is_bad ? 3 : 31) ? (is_bad ? ENDPOINT_RESET : ENDPOINT_SUCCESS) : ENDPOINT_5XX;
}

static void make_request(struct seat *s, struct cluster_runtime *c) {
    struct endpoint_runtime *e = cluster_pick(c, &(struct pick){0});
    if (!e) {
        s->without_endpoint++;
        return;
    }
    endpoint_began(e);
    endpoint_ended(e, outcome_of(s, e), 100);
}

/* No cmocka in here: its assertions belong to the main thread. */
static void *serve(void *arg) {
    struct seat *s = arg;
    for (unsigned i = 0; i < REQUESTS; i++) {
        uint64_t now = atomic_fetch_add(&clock_now, STEP);
        if (now > site.workers[s->index].now)
            site_set_worker_time(&site, s->index, now);
        struct cluster_runtime *c = cluster_of(&site.workers[s->index], &definitions[i * DEFINITIONS / REQUESTS].cluster);
        if (c)
            make_request(s, c);
        note_places();
    }
    return NULL;
}

static void define_all(void) {
    site.outliers.consecutive_5xx = site.outliers.consecutive_local_failures = 3;
    site.outliers.has_intervals = true;
    site.outliers.failure_percent = 50, site.outliers.min_endpoints = 2, site.outliers.min_requests = 10;
    site.outliers.interval = SECOND / 2, site.outliers.base_ejection = SECOND / 4, site.outliers.max_ejection = SECOND;
    site.outliers.max_ejected_percent = 20;
    for (unsigned i = 0; i < DEFINITIONS; i++) {
        if (i == 0) {
            site_define(&definitions[0], ENDPOINTS);
        } else {
            definitions[i] = definitions[i - 1];
            site_remove(&definitions[i], 3 * i); /* one that fails */
            site_add(&definitions[i], 30 + 3 * i, 0);
        }
        site_complete(&site, &definitions[i], i ? &definitions[i - 1] : NULL);
    }
}

static void places_are_never_more_than_there_are(void **state) {
    (void)state;
    static struct seat seats[OUTLIER_WORKERS];
    uint64_t ejections = 0;
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(site_set_up(&site), 0);
    struct ejection_log *log = ejection_log_create(wake, NULL);
    define_all();
    for (unsigned i = 0; i < OUTLIER_WORKERS; i++) {
        site.tables[i].ejection_log = log;
        seats[i] = (struct seat){.index = i, .random = i + 1};
        assert_int_equal(pthread_create(&seats[i].thread, NULL, serve, &seats[i]), 0);
    }
    for (unsigned i = 0; i < OUTLIER_WORKERS; i++) {
        pthread_join(seats[i].thread, NULL);
        assert_int_equal(seats[i].without_endpoint, 0);
    }
    for (int reason = 0; reason < STATS_EJECTION_COUNT; reason++)
        ejections += site_ejections(&site, (enum ejection_reason)reason);
    assert_true(ejections > 10 && atomic_load(&wakes) >= ejections);
    assert_int_equal(atomic_load(&most_seen), outliers_most(&site.outliers, ENDPOINTS)); /* reached, and kept */
    assert_int_equal(atomic_load(&site.shared->ejected), site_ejected(&site));
    site.now = atomic_load(&clock_now);
    site_pass(&site, 2 * SECOND); /* the last interval is judged */
    site_pass(&site, 2 * SECOND);
    site_pass(&site, 10 * SECOND);
    assert_int_equal(atomic_load(&site.shared->ejected), 0);
    assert_int_equal(site_ejected(&site), 0);
    ejection_log_destroy(log);
    site_tear_down(&site);
}

/* ---- all at the same moment ---- */

enum { ROUNDS = 30000, ROUND = 20000, RACERS = 2 };

static _Atomic uint32_t arrived, rounds_without_one;

/* Spinning lets them go closer together than a barrier that wakes them one by one. */
static void meet(uint32_t *meetings) {
    atomic_fetch_add(&arrived, 1);
    ++*meetings;
    for (unsigned spins = 1; atomic_load(&arrived) < *meetings * RACERS; spins++)
        if (spins % 1024 == 0)
            sched_yield();
}

/* The endpoint fails on each worker at once; where there is one place or one endpoint, one ejection comes of it, which is
 * over in the next round. Timers come after that, so that those who find it over race to end it, too. */
static void *race(void *arg) {
    struct seat *s = arg;
    struct worker *w = &site.workers[s->index];
    struct cluster_runtime *c = cluster_of(w, &definitions[0].cluster);
    struct endpoint_runtime *e = (struct endpoint_runtime *)c->endpoints[s->place];
    uint32_t meetings = 0;
    for (unsigned i = 1; i <= ROUNDS; i++) {
        w->now = (uint64_t)i * ROUND;
        w->turn++;
        meet(&meetings);
        endpoint_began(e);
        endpoint_ended(e, ENDPOINT_RESET, 0);
        meet(&meetings);
        if (atomic_load(&site.shared->ejected) != 1)
            atomic_fetch_add(&rounds_without_one, 1);
        meet(&meetings);
        wheel_advance(&w->wheel, w->now);
        meet(&meetings);
    }
    return NULL;
}

/* Two endpoints, of which so many percent may be out, one of them always. */
static void let_race(const unsigned places[RACERS], uint32_t percent) {
    static struct seat seats[RACERS];
    assert_int_equal(site_set_up(&site), 0);
    site.outliers.consecutive_local_failures = 1;
    site.outliers.max_ejected_percent = percent;
    site.outliers.base_ejection = site.outliers.max_ejection = OUTLIER_TIME_LEAST;
    site_define(&definitions[0], RACERS);
    site_complete(&site, &definitions[0], NULL);
    atomic_store(&arrived, 0);
    for (unsigned i = 0; i < RACERS; i++) {
        seats[i] = (struct seat){.index = i, .place = places[i]};
        assert_int_equal(pthread_create(&seats[i].thread, NULL, race, &seats[i]), 0);
    }
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(seats[i].thread, NULL);
    assert_int_equal(rounds_without_one, 0);
    assert_int_equal(site_ejections(&site, EJECTION_CONSECUTIVE_LOCAL_FAILURES), ROUNDS);
    site_tear_down(&site);
}

/* Its count is taken by comparison: who loses has taken nothing. */
static void one_of_those_that_race_for_a_place_gets_it(void **state) {
    (void)state;
    let_race((const unsigned[RACERS]){0, 1}, 0);
}

/* There is room for both, but an endpoint is ejected once, and its place given back once. */
static void one_of_those_that_race_for_an_endpoint_ejects_it(void **state) {
    (void)state;
    let_race((const unsigned[RACERS]){0, 0}, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_never_more_than_there_are),
        cmocka_unit_test(one_of_those_that_race_for_a_place_gets_it),
        cmocka_unit_test(one_of_those_that_race_for_an_endpoint_ejects_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
