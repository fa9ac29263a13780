/* A connection that carries nothing makes room for one that is needed elsewhere: which one is known without looking at
 * endpoints, however many there are. */
#define MANY_ENDPOINTS 100000
#define CONNECTIONS_MOST 4096
#include "tests/unit/dataplane/back/many_endpoints.h"

enum { KEPT = 1000, STEPS = 20000, SOME = 200 };

static struct cluster_runtime *bring_bounded(uint32_t count, uint32_t connections_most) {
    define_many(BALANCE_RANDOM);
    d.cluster.breakers.connections = connections_most;
    struct cluster_runtime *c = bring_count(count);
    worker_empty_mailbox(&worker);
    return c;
}

/* While the cluster's lists are out of reach. */
static struct client_connection *keep_without_a_look(struct cluster_runtime *c, struct endpoint_runtime *e) {
    struct candidate **all = c->endpoints;
    struct endpoint_list *leaving = c->leaving;
    c->endpoints = NULL;
    c->leaving = (struct endpoint_list *)1;
    struct client_connection *link = try_to_keep(e);
    c->endpoints = all;
    c->leaving = leaving;
    return link;
}

static uint32_t scattered(uint32_t i) {
    return (uint32_t)(i * UINT64_C(7919) % MANY);
}

static void who_has_rested_longest_makes_room(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_bounded(MANY, KEPT);
    for (uint32_t i = 0; i < KEPT; i++)
        keep(endpoint_of(c, scattered(i)));
    for (uint32_t i = 0; i < KEPT; i++) {
        assert_non_null(keep_without_a_look(c, endpoint_of(c, scattered(KEPT + i))));
        for (uint32_t k = 0; k < KEPT; k += 100)
            assert_int_equal(connections[k].is_open, k > i);
        assert_false(connections[i].is_open);
        assert_int_equal(atomic_load(&cluster_shared.connections), KEPT);
    }
}

static void what_carries_something_makes_no_room(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_bounded(MANY, KEPT);
    for (uint32_t i = 0; i < KEPT; i++) {
        keep(endpoint_of(c, scattered(i)));
        assert_non_null(take(endpoint_of(c, scattered(i))));
    }
    assert_null(keep_without_a_look(c, endpoint_of(c, scattered(KEPT))));
    assert_int_equal(errno, EUSERS);
    connections[KEPT / 2].link.owner->on_available(&connections[KEPT / 2].link);
    assert_non_null(keep_without_a_look(c, endpoint_of(c, scattered(KEPT))));
    assert_false(connections[KEPT / 2].is_open);
    for (uint32_t i = 0; i < KEPT; i++)
        if (i != KEPT / 2)
            connections[i].link.owner->on_available(&connections[i].link);
}

/* Of an endpoint whose connections carry many at a time: that one, not one that is in use. */
static void one_in_use_beside_it_stays(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_bounded(MANY, 3);
    struct client_connection *link[3];
    fake_capacity = 10;
    for (unsigned i = 0; i < 3; i++) {
        link[i] = keep(endpoint_of(c, 5));
        assert_ptr_equal(take(endpoint_of(c, 5)), link[i]);
    }
    link[1]->owner->on_available(link[1]);
    assert_non_null(keep_without_a_look(c, endpoint_of(c, MANY - 1)));
    assert_true(is_open(link[0]) && is_open(link[2]) && !is_open(link[1]));
    link[0]->owner->on_available(link[0]);
    link[2]->owner->on_available(link[2]);
    fake_capacity = 1;
}

/* ---- chance ---- */

static void check_list(const struct cluster_runtime *c) {
    uint32_t listed = 0, with_idle = 0;
    const struct endpoint_runtime *before = NULL;
    for (const struct endpoint_runtime *e = c->idle_first; e; before = e, e = e->next_idle, listed++) {
        assert_ptr_equal(e->prev_idle, before);
        assert_true(e->idle_count > 0);
    }
    assert_ptr_equal(c->idle_last, before);
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        with_idle += endpoint_of(c, i)->idle_count > 0;
    assert_int_equal(listed, with_idle);
}

static void do_something(struct cluster_runtime *c, struct client_connection **used, unsigned *used_count) {
    struct endpoint_runtime *e = endpoint_of(c, worker_random(&worker) % c->endpoint_count);
    unsigned what = worker_random(&worker) % 8, which = *used_count ? worker_random(&worker) % *used_count : 0;
    if (what < 2 && connection_count < CONNECTIONS_MOST) {
        try_to_keep(e);
    } else if (what < 5) {
        struct client_connection *link = take(e);
        if (link)
            used[(*used_count)++] = link;
    } else if (*used_count) {
        struct client_connection *link = used[which];
        used[which] = used[--*used_count];
        if (what == 7)
            report_closed(link);
        else
            link->owner->on_available(link);
    }
}

static void the_list_is_right_whatever_happens(void **state) {
    (void)state;
    static struct client_connection *used[CONNECTIONS_MOST];
    unsigned used_count = 0;
    struct cluster_runtime *c = bring_bounded(SOME, 100);
    for (unsigned step = 0; step < STEPS; step++) {
        do_something(c, used, &used_count);
        if (step % 1000 == 999) { /* ten leave, and are others */
            memmove(many, many + 10, (SOME - 10) * sizeof *many);
            for (unsigned i = 0; i < 10; i++)
                many[SOME - 10 + i] = many[SOME + step / 1000 * 10 + i];
            bring_count(SOME);
            worker_empty_mailbox(&worker);
        }
        check_list(c);
    }
    for (unsigned i = 0; i < used_count; i++)
        used[i]->owner->on_available(used[i]);
    check_list(c);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, back_set_up, back_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(who_has_rested_longest_makes_room),
        TEST(what_carries_something_makes_no_room),
        TEST(one_in_use_beside_it_stays),
        TEST(the_list_is_right_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
