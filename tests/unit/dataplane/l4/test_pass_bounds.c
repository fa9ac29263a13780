/* Listeners that pass QUIC through: bounds of clusters, of beginnings, and endpoints that leave. */
#include "tests/unit/dataplane/l4/passing.h"

#include <linux/sock_diag.h>
#include <sched.h>

#include "common/udp_options.h"
#include "dataplane/l4/pass_flow.h"

/* Another definition, in which that origin drains (-1: none). */
static void define_again(int which, int first, int count, int draining) {
    draining_origin = draining;
    define_cluster(which, first, count);
    draining_origin = -1;
    cluster_of(&worker, &clusters[which]);
}

static void answer(int origin, const struct address *to, int client_fd) {
    static const uint8_t bytes[] = "\x40 answer";
    assert_int_equal(sendto(origins[origin], bytes, sizeof bytes, 0, &to->u.any, to->length), sizeof bytes);
    expect_client(client_fd, bytes, sizeof bytes);
}

static void pass_time(uint64_t microseconds) {
    worker.now += microseconds;
    wheel_advance(&worker.wheel, worker.now);
    worker_end_turn(&worker);
}

static uint64_t connections_of(int which) {
    return atomic_load(&clusters[which].shared->connections);
}

static uint64_t connections_to(int which, int place) {
    return atomic_load(&clusters[which].members->endpoints[place].shared->connections);
}

/* ---- bounds of the cluster */

static void connections_of_a_cluster(void **state) {
    (void)state;
    struct address from;
    clusters[0].breakers.connections = 2;
    proven(client(), "origin-id-0", &from);
    proven(client(), "origin-id-1", &from);
    assert_int_equal(connections_of(0), 2);
    say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(dropped_overflow_total) == 1);
    assert_int_equal(COUNT(flows), 2);
    assert_int_equal(COUNT(dropped_no_endpoint_total), 0);
    listener_cut_all(listener);
    worker_end_turn(&worker);
    assert_int_equal(connections_of(0), 0);
    proven(client(), "origin-id-2", &from);
    assert_int_equal(connections_of(0), 1);
}

/* What anybody can begin is not counted: it would keep others out. */
static void flows_that_are_not_proven_do_not_count(void **state) {
    (void)state;
    struct address from;
    clusters[0].breakers.connections = 1;
    answered(client(), "origin-id-0", &from);
    answered(client(), "origin-id-1", &from);
    assert_int_equal(connections_of(0), 0);
    proven(client(), "origin-id-2", &from);
    assert_int_equal(connections_of(0), 1);
}

/* Those that were there already end when they would count. */
static void more_are_proven_than_there_may_be(void **state) {
    (void)state;
    struct address from;
    clusters[0].breakers.connections = 1;
    int late = client();
    answered(late, "origin-id-0", &from);
    proven(client(), "origin-id-1", &from);
    assert_int_equal(COUNT(flows), 2);
    say_short(late, "origin-id-0");
    TURN_UNTIL(COUNT(dropped_overflow_total) == 1);
    assert_int_equal(COUNT(flows), 1);
    assert_int_equal(connections_of(0), 1);
    assert_int_equal(connections_to(0, 0) + connections_to(0, 1), 1);
}

/* One that is full is passed over. */
static void connections_to_an_endpoint(void **state) {
    (void)state;
    struct address from;
    int count[2] = {0};
    clusters[0].breakers.endpoint_connections = 2;
    for (int i = 0; i < FLOWS; i++) {
        char id[] = "origin-id-0";
        id[10] = (char)('0' + i);
        count[proven(client(), id, &from)]++;
    }
    assert_int_equal(count[0], 2);
    assert_int_equal(count[1], 2);
    pass.max_flows = 2 * FLOWS;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(dropped_overflow_total) == 1);
    assert_int_equal(COUNT(flows), FLOWS);
}

/* It was let in before. */
static void a_connection_that_moves_while_all_is_full(void **state) {
    (void)state;
    uint8_t bytes[65536] = {0x40};
    size_t n;
    struct address from;
    clusters[0].breakers.connections = 1;
    clusters[0].breakers.endpoint_connections = 1;
    int origin = proven(client(), "origin-id", &from), fd = client();
    say_short(fd, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(sendto(origins[origin], bytes, 1000, 0, &from.u.any, from.length), 1000); /* that proves it */
    expect_client(fd, bytes, 1000);
    assert_int_equal(COUNT(proven_total), 2);
    assert_int_equal(connections_of(0), 2);
    assert_int_equal(COUNT(dropped_overflow_total), 0);
    listener_cut_all(listener);
    worker_end_turn(&worker);
    assert_int_equal(connections_of(0), 0);
    assert_int_equal(connections_to(0, origin), 0);
}

/* Nor is a connection let in that begins under the name of one. */
static void a_connection_that_begins_where_one_has_moved(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    clusters[0].breakers.connections = 1;
    int origin = proven(client(), "origin-id", &from), fd = client();
    say_short(fd, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    say_long(fd, PASS_VERSION_1, "origin-id", "own");
    TURN_UNTIL(COUNT(dropped_overflow_total) > 0 || is_readable(origins[origin]));
    assert_int_equal(COUNT(dropped_overflow_total), 1);
    say_short(fd, "origin-id"); /* what has moved goes on */
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(n, 64);
    assert_int_equal(COUNT(flows), 2);
}

/* ---- beginnings */

static void so_many_begin_in_a_second(void **state) {
    (void)state;
    enum { RATE = 100, AT_ONCE = RATE / 10 + 1 };
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    pass.new_flows_per_second = RATE;
    worker.now++; /* it stands still from here on */
    int known = client(), origin = proven(known, "origin-id", &from);
    for (int i = 1; i < 3 * AT_ONCE; i++)
        say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(flows_total) + COUNT(dropped_rate_total) == 3 * AT_ONCE);
    assert_true(COUNT(flows_total) >= AT_ONCE);
    assert_true(COUNT(dropped_rate_total) > 0);
    uint64_t flows = COUNT(flows_total);
    say_short(client(), "origin-id"); /* from elsewhere */
    TURN_UNTIL(COUNT(moved_total) == 1);
    assert_int_equal(COUNT(flows_total), flows + 1);
    for (int i = 0; i < 2; i++) { /* and where it was */
        while (wait_origin(bytes, &n, &from) != origin || n == DATAGRAM)
            ;
        say_short(known, "origin-id");
    }
}

/* Others lose datagrams: what is known goes on, and nothing else begins for a moment. */
static void the_kernel_had_to_drop_some(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    struct pass *p = (struct pass *)listener->datagrams;
    int known = client(), origin = proven(known, "origin-id", &from);
    p->socket.overflows++;
    say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(dropped_rate_total) == 1);
    assert_int_equal(COUNT(flows), 1);
    say_short(known, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    p->next_beginning = 0; /* the moment is over */
    say_long(client(), SOME_VERSION, "first-id", "own");
    wait_origin(bytes, &n, &from);
    p->socket.overflows++;
    say_short(client(), "origin-id"); /* from elsewhere */
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(moved_total), 1);
    assert_int_equal(COUNT(dropped_rate_total), 1);
}

/* An endpoint is looked for when it may, not for each datagram of a flood: that nothing has room is not even noticed. */
static void nothing_is_chosen_for_what_may_not_begin(void **state) {
    (void)state;
    struct address from;
    clusters[0].breakers.connections = 1;
    proven(client(), "origin-id", &from);
    ((struct pass *)listener->datagrams)->socket.overflows++;
    say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(dropped_rate_total) + COUNT(dropped_overflow_total) > 0);
    assert_int_equal(COUNT(dropped_rate_total), 1);
    assert_int_equal(COUNT(dropped_overflow_total), 0);
}

/* Memory of the listener's socket, in bytes: what waits there, and what may. */
static uint32_t waiting(int which) {
    uint32_t figures[SK_MEMINFO_VARS] = {0};
    assert_int_equal(getsockopt(held.fd, SOL_SOCKET, SO_MEMINFO, figures, &(socklen_t){sizeof figures}), 0);
    return figures[which];
}

/* Nothing is read meanwhile; loopback may deliver a little later. */
static void queue(int fd, const uint8_t *bytes, size_t n) {
    uint32_t before = waiting(SK_MEMINFO_RMEM_ALLOC);
    say(fd, bytes, n);
    while (waiting(SK_MEMINFO_RMEM_ALLOC) <= before)
        sched_yield();
}

/* Nearly all that there is room for. */
static void fill_queue(int fd, const uint8_t *bytes, size_t n) {
    udp_set_buffer(held.fd, SO_RCVBUF, 1 << 17);
    while (waiting(SK_MEMINFO_RMEM_ALLOC) < waiting(SK_MEMINFO_RCVBUF) / 8 * 7)
        queue(fd, bytes, n);
}

static void wait_for(const struct address *flow, size_t size) {
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    do
        wait_origin(bytes, &n, &from);
    while (n != size || !address_equal(&from, flow));
}

/* More comes than the worker takes: strangers give way to who is served, but not all of them. Then there is room again. */
static void half_of_the_queue_is_for_who_is_served(void **state) {
    (void)state;
    enum { NEWCOMERS = 20, SMALL = 64 };
    uint8_t first[DATAGRAM], unknown[SMALL] = "\x40unknown-id", known[SMALL] = "\x40origin-id";
    struct address mine, theirs;
    pass.max_flows = 2 + NEWCOMERS;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    for (int i = 0; i < ORIGINS; i++)
        udp_set_buffer(origins[i], SO_RCVBUF, 1 << 20);
    int served = client(), stranger = client();
    proven(served, "origin-id", &mine);
    answered(stranger, "other-id", &theirs);
    long_packet(first, SOME_VERSION, "first-id", "own", sizeof first);
    for (int i = 0; i < NEWCOMERS; i++)
        queue(client(), first, sizeof first);
    fill_queue(stranger, unknown, sizeof unknown);
    queue(served, known, sizeof known);
    wait_for(&mine, sizeof known);
    uint64_t dropped = COUNT(dropped_crowded_total);
    assert_true(dropped > NEWCOMERS); /* those of the stranger, too */
    assert_in_range(COUNT(flows), 2 + 1, 2 + NEWCOMERS - 1);
    say(stranger, first, sizeof first);
    wait_for(&theirs, sizeof first);
    assert_int_equal(COUNT(dropped_crowded_total), dropped);
    assert_int_equal(COUNT(proven_total), 1);
}

/* An ID that a proven client has used speaks for who has moved; one that names an endpoint anybody can make up. */
static void who_is_no_stranger_by_an_id(void **state) {
    (void)state;
    enum { SMALL = 64 };
    static const struct quic_lb_form form = {.config = 2, .id_n = 2, .nonce_n = 5};
    static const struct pass_server server = {.cluster = &clusters[0], .place = 0};
    const uint8_t noted[SMALL] = "\x40origin-id", named[SMALL] = "\x40\x40" "AAnonce";
    struct address from;
    assert_int_equal(map_set(&pass.by_server, STR("\002" "AA"), (void *)(uintptr_t)&server), 0);
    pass.lb[2] = &form;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    proven(client(), "origin-id", &from);
    int moved = client(), crafted = client();
    say(moved, noted, sizeof noted);
    say(crafted, named, sizeof named);
    TURN_UNTIL(COUNT(moved_total) == 2);
    fill_queue(moved, noted, sizeof noted);
    TURN_UNTIL(waiting(SK_MEMINFO_RMEM_ALLOC) == 0);
    assert_int_equal(COUNT(dropped_crowded_total), 0);
    fill_queue(crafted, named, sizeof named);
    TURN_UNTIL(waiting(SK_MEMINFO_RMEM_ALLOC) == 0);
    assert_true(COUNT(dropped_crowded_total) > 0);
}

/* ---- endpoints that leave */

static void an_endpoint_that_drains(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client(), other = client();
    pass.max_flows = 4 * FLOWS;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    int origin = proven(fd, "origin-id", &from);
    define_again(0, 0, 2, origin);
    assert_int_equal(COUNT(leaving), 0);
    say_short(fd, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(leaving), 1);
    say_short(other, "origin-id"); /* its client may still move */
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    for (int i = 0; i < 8; i++) { /* nobody else comes */
        say_long(client(), SOME_VERSION, "first-id", "own");
        assert_int_equal(wait_origin(bytes, &n, &from), 1 - origin);
    }
    define_again(0, 0, 2, -1);
    say_short(fd, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(leaving), 1); /* of the other one nothing was heard since */
    say_short(other, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(leaving), 0);
    assert_int_equal(COUNT(drained_total), 0);
}

/* However much its client says. After that its ID leads nowhere. */
static void it_has_drained_for_too_long(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client(), origin = proven(fd, "origin-id", &from);
    define_again(0, 0, 2, origin);
    say_short(fd, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    pass.drain_timeout = 1;
    say_short(fd, "origin-id");
    TURN_UNTIL(COUNT(drained_total) == 1);
    assert_int_equal(COUNT(flows), 0);
    assert_int_equal(COUNT(unanswered_total), 0);
    assert_int_equal(COUNT(leaving), 0);
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    say_short(client(), "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), 1 - origin);
    assert_int_equal(COUNT(moved_total), 0);
}

/* Nor does an ID that names it, or one that is still known of a client that has been silent. */
static void ids_of_one_that_has_drained(void **state) {
    (void)state;
    static const struct quic_lb_form form = {.config = 2, .id_n = 2, .nonce_n = 5};
    static const struct pass_server servers[] = {{.cluster = &clusters[0], .place = 0},
                                                 {.cluster = &clusters[0], .place = 1}};
    static const char *const ids[] = {"\x40" "AAnonce", "\x40" "BBnonce"};
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    assert_int_equal(map_set(&pass.by_server, STR("\002" "AA"), (void *)(uintptr_t)&servers[0]), 0);
    assert_int_equal(map_set(&pass.by_server, STR("\002" "BB"), (void *)(uintptr_t)&servers[1]), 0);
    pass.lb[2] = &form;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    int origin = proven(client(), "origin-id", &from);
    define_again(0, 0, 2, origin);
    say_short(client(), ids[origin]);
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    pass.drain_timeout = 1;
    say_short(client(), ids[origin]);
    assert_int_equal(wait_origin(bytes, &n, &from), 1 - origin);
    say_short(client(), "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), 1 - origin);
    assert_int_equal(COUNT(moved_total), 1);
}

/* One that falls silent does not wait for that. */
static void silence_while_it_drains(void **state) {
    (void)state;
    struct address from;
    int origin = proven(client(), "origin-id", &from);
    define_again(0, 0, 2, origin);
    pass_time(pass.idle_timeout + SECOND);
    assert_int_equal(COUNT(flows), 0);
    assert_int_equal(COUNT(drained_total), 0);
}

/* The cluster has it no more. What has begun there stays, and moves. */
static void an_endpoint_that_is_gone(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client(), moved = client(), origin = proven(fd, "origin-id", &from);
    define_again(0, 1 - origin, 1, -1);
    say_short(fd, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(leaving), 1);
    say_short(moved, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(leaving), 2);
    assert_int_equal(COUNT(moved_total), 1);
    answer(origin, &from, moved);
    pass_time(pass.drain_timeout + SECOND);
    assert_int_equal(COUNT(flows), 0);
    assert_int_equal(COUNT(leaving), 0);
    assert_int_equal(COUNT(drained_total), 2);
}

/* Who moves there does not begin anew: the end stays where it was. */
static void an_endpoint_that_is_gone_for_too_long(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int origin = proven(client(), "origin-id", &from);
    define_again(0, 1 - origin, 1, -1);
    pass.drain_timeout = 1;
    say_short(client(), "origin-id");
    TURN_UNTIL(COUNT(drained_total) == 1);
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(moved_total), 1);
    for (int i = 0; i < 3; i++) {
        say_short(client(), "origin-id");
        assert_int_equal(wait_origin(bytes, &n, &from), 1 - origin);
    }
    assert_int_equal(COUNT(moved_total), 1);
}

/* Its cluster, too. */
static void a_cluster_that_is_gone(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    clusters[0].breakers.connections = 5;
    int fd = client(), origin = proven(fd, "origin-id", &from);
    cluster_drop(&worker, clusters[0].slot);
    pass.fallback = &clusters[1];
    say_short(fd, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(leaving), 1);
    assert_int_equal(connections_of(0), 1);
    pass_time(pass.idle_timeout + SECOND);
    assert_int_equal(COUNT(flows), 0);
    assert_int_equal(connections_of(0), 0);
}

/* ---- IDs of several configurations */

static void several_configurations(void **state) {
    (void)state;
    static const struct quic_lb_form forms[] = {
        {.config = 0, .id_n = 2, .nonce_n = 5},
        {.config = 5, .id_n = 1, .nonce_n = 8, .has_key = true, .key = "sixteen octets."},
    };
    static const struct pass_server servers[] = {{.cluster = &clusters[0], .place = 0},
                                                 {.cluster = &clusters[0], .place = 1}};
    uint8_t bytes[65536], id[12] = {0};
    size_t n;
    struct address from;
    assert_int_equal(map_set(&pass.by_server, (struct str){"\0AA", 3}, (void *)(uintptr_t)&servers[0]), 0);
    assert_int_equal(map_set(&pass.by_server, STR("\005B"), (void *)(uintptr_t)&servers[1]), 0);
    pass.lb[0] = &forms[0];
    pass.lb[5] = &forms[1];
    pass.fallback = NULL;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    struct quic_lb *lb = quic_lb_create(&forms[1]);
    assert_true(quic_lb_encode(lb, (const uint8_t *)"B", (const uint8_t *)"eightoct", sizeof id - 2, id));
    quic_lb_destroy(lb);
    say_short(client(), (char *)id);
    assert_int_equal(wait_origin(bytes, &n, &from), 1);
    say_short(client(), "\x07" "AAnonce");
    assert_int_equal(wait_origin(bytes, &n, &from), 0);
    say_short(client(), "\x27" "AAnonce"); /* of a third one */
    TURN_UNTIL(COUNT(dropped_unroutable_total) == 1);
    pass.lb[0] = NULL; /* it is not used any more */
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    say_short(client(), "\x07" "AAnonce");
    TURN_UNTIL(COUNT(dropped_unroutable_total) == 2);
    say_short(client(), (char *)id);
    assert_int_equal(wait_origin(bytes, &n, &from), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(connections_of_a_cluster), TEST(flows_that_are_not_proven_do_not_count),
        TEST(more_are_proven_than_there_may_be), TEST(connections_to_an_endpoint),
        TEST(a_connection_that_moves_while_all_is_full), TEST(a_connection_that_begins_where_one_has_moved),
        TEST(so_many_begin_in_a_second), TEST(the_kernel_had_to_drop_some),
        TEST(nothing_is_chosen_for_what_may_not_begin), TEST(half_of_the_queue_is_for_who_is_served),
        TEST(who_is_no_stranger_by_an_id), TEST(an_endpoint_that_drains),
        TEST(it_has_drained_for_too_long),
        TEST(ids_of_one_that_has_drained), TEST(silence_while_it_drains), TEST(an_endpoint_that_is_gone),
        TEST(an_endpoint_that_is_gone_for_too_long), TEST(a_cluster_that_is_gone), TEST(several_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
