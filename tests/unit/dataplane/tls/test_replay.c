/* Early data is taken once, whoever asks. labels: threads */
#include "tests/unit/common/cmocka_all.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "dataplane/tls/replay.c" /* to stand between the steps of two workers */

enum { THREADS = 4, HELLOS = 2000 };
#define LATER (1000ULL * SECOND)

static struct str name_of(unsigned i, char room[16]) {
    snprintf(room, 16, "hello %u", i);
    return str_of(room);
}

static void only_the_first(void **state) {
    (void)state;
    char room[16];
    tls_replay_begin(0);
    assert_true(tls_replay_is_first(name_of(1, room), LATER));
    assert_false(tls_replay_is_first(name_of(1, room), LATER));
    assert_false(tls_replay_is_first(name_of(1, room), LATER + REPLAY_WINDOW));
    assert_true(tls_replay_is_first(name_of(2, room), LATER));
    assert_true(tls_replay_is_first(name_of(1, room), LATER + REPLAY_WINDOW + 2 * SECOND));
}

static void not_at_the_start(void **state) {
    (void)state;
    char room[16];
    tls_replay_begin(LATER);
    assert_false(tls_replay_is_first(name_of(1, room), LATER));
    assert_false(tls_replay_is_first(name_of(1, room), LATER + REPLAY_WINDOW - 1));
    assert_true(tls_replay_is_first(name_of(1, room), LATER + REPLAY_WINDOW));
}

/* The count of seconds in an entry comes around. */
static void for_days(void **state) {
    (void)state;
    char room[16];
    tls_replay_begin(0);
    for (uint64_t second = 65500; second < 65600; second++) {
        assert_true(tls_replay_is_first(name_of((unsigned)second, room), second * SECOND));
        for (uint64_t after = 0; after <= REPLAY_WINDOW / SECOND; after++)
            assert_false(tls_replay_is_first(name_of((unsigned)second, room), (second + after) * SECOND));
    }
}

static void full_is_refused(void **state) {
    (void)state;
    char room[16];
    unsigned taken = 0;
    tls_replay_begin(0);
    for (unsigned i = 0; i < 3 * REPLAY_SLOTS; i++)
        taken += tls_replay_is_first(name_of(i, room), LATER);
    assert_in_range(taken, REPLAY_SLOTS / 2, REPLAY_SLOTS);
    unsigned again = 0;
    for (unsigned i = 0; i < 3 * REPLAY_SLOTS; i++)
        again += tls_replay_is_first(name_of(i, room), LATER + SECOND);
    assert_int_equal(again, 0);
    assert_true(tls_replay_is_first(name_of(1, room), LATER + REPLAY_WINDOW + 2 * SECOND));
}

/* The clocks of workers stand still for a turn. */
static void for_a_worker_that_is_behind(void **state) {
    (void)state;
    char room[16];
    tls_replay_begin(0);
    for (unsigned i = 0; i <= REPLAY_WINDOW / SECOND; i++) {
        assert_true(tls_replay_is_first(name_of(i, room), LATER + i * SECOND));
        assert_false(tls_replay_is_first(name_of(i, room), LATER));
    }
}

/* What is in the first place goes stale between the seconds of two workers: they choose two places. */
static void only_one_of_two_places(void **state) {
    (void)state;
    const uint64_t name = 1ULL << TIME_BITS, other = 2ULL << TIME_BITS, second = second_of(LATER);
    tls_replay_begin(0);
    uint64_t early = name | second, late = name | (second + 1), old_early = 0, old_late = 0;
    seen[0] = other | (second - REPLAY_WINDOW / SECOND);
    _Atomic uint64_t *of_early = find_room(seen, early, &old_early), *of_late = find_room(seen, late, &old_late);
    assert_true(of_early && of_late && of_early != of_late);
    bool is_first = note(seen, early, of_early, old_early);
    assert_true(is_first);
    assert_false(note(seen, late, of_late, old_late));
}

static _Atomic unsigned firsts[HELLOS];

static void *ask(void *arg) {
    char room[16];
    (void)arg;
    for (unsigned i = 0; i < HELLOS; i++)
        if (tls_replay_is_first(name_of(i, room), LATER))
            atomic_fetch_add(&firsts[i], 1);
    return NULL;
}

static void only_one_worker(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    tls_replay_begin(0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    unsigned taken = 0;
    for (unsigned i = 0; i < HELLOS; i++) {
        assert_in_range(firsts[i], 0, 1);
        taken += firsts[i];
    }
    assert_in_range(taken, HELLOS / 2, HELLOS); /* two that meet in a bucket may both be refused */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_first), cmocka_unit_test(not_at_the_start), cmocka_unit_test(for_days),
        cmocka_unit_test(full_is_refused), cmocka_unit_test(for_a_worker_that_is_behind),
        cmocka_unit_test(only_one_of_two_places), cmocka_unit_test(only_one_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
