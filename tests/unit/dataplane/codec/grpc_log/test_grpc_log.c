/* Logs for access log services: what is written, in which messages, and what becomes of it when streams break. */
#include "tests/unit/common/cmocka_all.h"

#include "dataplane/codec/grpc_log/entry.h"
#include "dataplane/codec/grpc_log/grpc_log.h"
#include "tests/unit/dataplane/http/bench.h"

enum { MS = 1000, SECOND = 1000000, BUFFER = 64 << 10 };

/* ---- what was sent, read again ---- */

struct reader {
    const uint8_t *at, *end;
};

static uint64_t read_varint(struct reader *r) {
    uint64_t value = 0;
    unsigned shift = 0;
    do {
        assert_true(r->at < r->end && shift < 64);
        value |= (uint64_t)(*r->at & 0x7f) << shift;
        shift += 7;
    } while (*r->at++ & 0x80);
    return value;
}

/* The next field; of a number *ret_inside is empty. 0: there is none. */
static unsigned read_field(struct reader *r, struct reader *ret_inside, uint64_t *ret_value) {
    *ret_inside = *r;
    if (r->at == r->end)
        return 0;
    uint64_t key = read_varint(r);
    *ret_value = read_varint(r);
    *ret_inside = (struct reader){r->at, r->at};
    if ((key & 7) == 2) {
        assert_true(*ret_value <= (size_t)(r->end - r->at));
        ret_inside->end = r->at += *ret_value;
    } else {
        assert_int_equal(key & 7, 0);
    }
    return (unsigned)(key >> 3);
}

/* What is under the last of these fields, each within the one before. */
static struct reader find(struct reader r, const unsigned *path) {
    struct reader inside = r;
    uint64_t value;
    for (; *path; path++) {
        unsigned field;
        r = inside;
        while ((field = read_field(&r, &inside, &value)) != *path)
            assert_int_not_equal(field, 0);
    }
    return inside;
}

#define FIND(r, ...) find((r), (const unsigned[]){__VA_ARGS__, 0})
#define assert_text(r, text)                                          \
    do {                                                              \
        assert_int_equal((r).end - (r).at, sizeof(text) - 1);         \
        assert_memory_equal((r).at, (text), sizeof(text) - 1);        \
    } while (0)

/* ---- a worker with one log ---- */

static struct bench b;
static struct log_service service;
static const struct log_service *services[] = {&service};
static struct listener_definition site;

static int start(void **state) {
    (void)state;
    set_up(&b);
    b.worker.now = SECOND;
    wheel_init(&b.worker.wheel, b.worker.now);
    b.listener.is_internal = true;
    service = (struct log_service){.key = STR("key"), .cluster = STR("logs"), .log_name = STR("site"),
                                   .listener = &b.listener, .flush_interval = 100 * MS, .flush_bytes = 8000,
                                   .buffer = BUFFER};
    site = b.listener;
    site.log_services = services;
    site.log_service_count = 1;
    b.worker.log_services = grpc_logs_create(&b.worker);
    assert_non_null(b.worker.log_services);
    grpc_logs_set_node("node");
    grpc_logs_renew(b.worker.log_services, services, 1, SECOND);
    return 0;
}

static int stop(void **state) {
    (void)state;
    grpc_logs_end(b.worker.log_services);
    worker_end_turn(&b.worker);
    grpc_logs_destroy(b.worker.log_services);
    assert_null(b.worker.log_services);
    worker_end_turn(&b.worker);
    assert_int_equal(stats_read(&b.worker.stats->access_log_service_waiting_bytes), 0);
    tear_down(&b);
    return 0;
}

static void fill(struct exchange *x, const char *target) {
    *x = (struct exchange){.worker = &b.worker, .listener = &site, .client = STR("192.0.2.1"), .peer = STR("192.0.2.1"),
                           .log_method = STR("GET"), .log_host = STR("host"), .log_version = 11, .status = 200};
    x->log_target = str_of(target);
    x->began = x->done_at = b.worker.now;
}

static void ask(const char *target) {
    static struct exchange x;
    fill(&x, target);
    grpc_logs_write(&x);
}

/* So much later, in steps that timers see. */
static void wait(uint64_t us) {
    for (uint64_t until = b.worker.now + us; b.worker.now < until;) {
        b.worker.now += 10 * MS;
        wheel_advance(&b.worker.wheel, b.worker.now);
        worker_end_turn(&b.worker);
    }
}

static void take_all(void) {
    while (loopback_pull(&b.back, 5000))
        worker_end_turn(&b.worker);
}

static uint64_t dropped(void) {
    return stats_read(&b.worker.stats->access_log_service_dropped_total);
}

static uint64_t sent(void) {
    return stats_read(&b.worker.stats->access_log_service_entries_total);
}

/* Looks through all that the service got: whole messages, the first alone with an identifier. Returns how many entries. */
static unsigned count_entries(unsigned *ret_messages) {
    struct reader all = {(const uint8_t *)b.back.received.p, (const uint8_t *)b.back.received.p + b.back.received.n};
    unsigned entries = 0, messages = 0;
    for (; all.at < all.end; messages++) {
        assert_true(all.end - all.at >= 5);
        assert_int_equal(all.at[0], 0);
        size_t size = (size_t)all.at[1] << 24 | (size_t)all.at[2] << 16 | (size_t)all.at[3] << 8 | all.at[4];
        struct reader message = {all.at + 5, all.at + 5 + size}, inside;
        uint64_t value;
        assert_true(size <= (size_t)(all.end - all.at) - 5);
        all.at = message.end;
        if (messages == 0) {
            assert_int_equal(read_field(&message, &inside, &value), 1);
            assert_text(FIND(inside, 1, 1), "node");
            assert_text(FIND(inside, 2), "site");
        }
        assert_int_equal(read_field(&message, &inside, &value), 2);
        assert_true(message.at == message.end);
        for (struct reader entry; inside.at < inside.end; entries++)
            assert_int_equal(read_field(&inside, &entry, &value), 1);
    }
    if (ret_messages)
        *ret_messages = messages;
    return entries;
}

/* ---- entries ---- */

static void texts_are_always_valid(void **state) {
    (void)state;
    static char target[3000];
    uint8_t room[LOG_ENTRY_MAX];
    struct exchange x;
    fill(&x, "/caf\xc3\xa9/\xe9\xff");
    size_t n = log_entry_write(&x, room, sizeof room);
    struct reader r = {room, room + n};
    assert_text(FIND(r, 1, 3, 5), "/caf\xc3\xa9/!!");
    memset(target, '\xe9', sizeof target - 1);
    fill(&x, target);
    x.log_user_agent = x.log_referer = x.log_host = x.request_id = x.client = x.cluster = x.route_name = str_of(target);
    n = log_entry_write(&x, room, sizeof room);
    r.end = room + n;
    struct reader path = FIND(r, 1, 3, 5);
    assert_int_equal(path.end - path.at, WIRE_TEXT_MAX);
    assert_int_equal(*path.at, '!');
}

static void what_does_not_fit_is_no_entry(void **state) {
    (void)state;
    uint8_t room[LOG_ENTRY_MAX];
    struct exchange x;
    fill(&x, "/");
    x.log_user_agent = STR("a user agent of some length, so that lengths take a byte more than one here and there: "
                           "the quick brown fox jumps over the lazy dog, and over the fence, and over the hill");
    size_t n = log_entry_write(&x, room, sizeof room);
    assert_true(n > 200);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(log_entry_write(&x, room, i), 0);
}

/* ---- messages ---- */

static void entries_wait_for_others(void **state) {
    (void)state;
    unsigned messages;
    ask("/a"), ask("/b"), ask("/c");
    wait(50 * MS);
    assert_int_equal(b.attempts, 0); /* no stream yet */
    wait(60 * MS);
    assert_int_equal(b.attempts, 1);
    take_all();
    assert_int_equal(count_entries(&messages), 3);
    assert_int_equal(messages, 1);
    ask("/d");
    wait(120 * MS);
    take_all();
    wait(20 * MS);
    assert_int_equal(count_entries(&messages), 4);
    assert_int_equal(messages, 2);
    assert_int_equal(b.attempts, 1);
    assert_int_equal(sent(), 4);
}

static void enough_go_at_once(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++)
        ask("/a/path/of/some/length/so/that/there/are/enough/bytes");
    worker_end_turn(&b.worker);
    take_all();
    assert_int_equal(count_entries(NULL), 200);
}

static void requests_take_no_memory_once_warm(void **state) {
    (void)state;
    ask("/first");
    wait(120 * MS);
    take_all();
    wait(20 * MS);
    uint64_t before = hg_alloc_count();
    for (int i = 0; i < 100; i++)
        ask("/next");
    assert_int_equal(hg_alloc_count(), before);
    wait(120 * MS);
    take_all();
    assert_int_equal(count_entries(NULL), 101);
}

static void what_finds_no_room_is_dropped(void **state) {
    (void)state;
    for (int i = 0; i < 2000; i++) {
        ask("/a/path/of/some/length");
        worker_end_turn(&b.worker);
    }
    assert_true(dropped() > 0 && dropped() < 2000);
    assert_true(stats_read(&b.worker.stats->access_log_service_waiting_bytes) <= BUFFER);
    take_all();
    for (int i = 0; i < 20; i++) {
        wait(120 * MS);
        take_all();
    }
    assert_int_equal(count_entries(NULL), 2000 - dropped());
    assert_int_equal(sent(), 2000 - dropped());
}

/* ---- streams ---- */

static void a_stream_that_breaks_is_begun_anew(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++)
        ask("/a/path/of/some/length/so/that/there/are/enough/bytes");
    worker_end_turn(&b.worker);
    assert_true(loopback_pull(&b.back, 100));
    exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
    worker_end_turn(&b.worker);
    assert_int_equal(stats_read(&b.worker.stats->access_log_service_failures_total), 1);
    assert_int_equal(b.attempts, 1); /* not at once */
    wait(200 * MS);
    assert_int_equal(b.attempts, 2);
    take_all();
    assert_int_equal(count_entries(NULL), 100); /* the whole message again */
    wait(20 * MS);
    assert_int_equal(sent(), 100);
    assert_int_equal(dropped(), 0);
}

static void a_service_that_ends_streams_is_asked_less_and_less(void **state) {
    (void)state;
    for (int i = 0; i < 2000; i++) {
        ask("/");
        wait(10 * MS);
        if (b.back.leg.exchange)
            exchange_on_abort(&b.back.leg, ABORT_ORIGIN_REFUSED);
    }
    assert_true(b.attempts >= 4 && b.attempts <= 9);
}

static void a_new_snapshot_ends_streams_in_good_order(void **state) {
    (void)state;
    struct log_service newer = service;
    const struct log_service *list[] = {&newer};
    ask("/a");
    wait(120 * MS);
    take_all();
    grpc_logs_renew(b.worker.log_services, list, 1, SECOND);
    wait(120 * MS);
    take_all();
    assert_true(b.back.received_end);
    assert_int_equal(count_entries(NULL), 1);
    make_response(&b, 200, 0);
    send_response_head(&b);
    while (loopback_push(&b.back, 1))
        worker_end_turn(&b.worker);
    ask("/b"); /* of an exchange that began before */
    wait(120 * MS);
    assert_int_equal(b.attempts, 2);
    take_all();
    wait(20 * MS);
    assert_int_equal(count_entries(NULL), 1);
    assert_int_equal(sent(), 2);
    grpc_logs_renew(b.worker.log_services, NULL, 0, SECOND);
    ask("/c");
    wait(120 * MS);
    take_all();
    assert_int_equal(count_entries(NULL), 2); /* its stream is still there, for those that began before */
    wait(SECOND);
    ask("/d");
    assert_int_equal(dropped(), 1);
    assert_int_equal(stats_read(&b.worker.stats->access_log_service_failures_total), 0);
}

static uint64_t streams(void) {
    return stats_read(&b.worker.stats->access_log_service_streams);
}

static void the_end_waits_for_those_who_are_served_and_for_the_service(void **state) {
    (void)state;
    ask("/a");
    wait(120 * MS);
    take_all();
    stats_add(&b.worker.stats->connections, 1);
    grpc_logs_hurry(b.worker.log_services);
    wait(50 * MS);
    take_all();
    assert_false(b.back.received_end);
    ask("/b");
    stats_sub(&b.worker.stats->connections, 1);
    wait(50 * MS);
    take_all();
    wait(50 * MS);
    take_all();
    assert_true(b.back.received_end);
    assert_int_equal(count_entries(NULL), 2);
    assert_int_equal(sent(), 2);
    assert_int_equal(streams(), 1); /* it has not said that it has them */
    make_response(&b, 200, 0);
    send_response_head(&b);
    while (loopback_push(&b.back, 1))
        worker_end_turn(&b.worker);
    wait(10 * MS);
    assert_int_equal(streams(), 0);
    assert_int_equal(b.attempts, 1);
}

static void who_does_not_take_the_end_is_cut(void **state) {
    (void)state;
    ask("/a");
    wait(120 * MS);
    grpc_logs_renew(b.worker.log_services, NULL, 0, SECOND);
    wait(2 * SECOND);
    assert_non_null(b.back.leg.exchange);
    wait(11 * SECOND);
    assert_null(b.back.leg.exchange);
}

static void memory_may_be_short(void **state) {
    unsigned survived = 0;
    for (long nth = 0; nth < 12; nth++) {
        hg_alloc_fail_at(nth, 0);
        ask("/a");
        wait(120 * MS);
        hg_alloc_fail_at(-1, 0);
        for (int i = 0; i < 20; i++) {
            wait(100 * MS);
            take_all();
        }
        wait(20 * MS);
        assert_int_equal(sent() + dropped(), 1);
        survived += sent() == 1;
        stop(state);
        start(state);
    }
    assert_true(survived >= 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(texts_are_always_valid, start, stop),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_no_entry, start, stop),
        cmocka_unit_test_setup_teardown(entries_wait_for_others, start, stop),
        cmocka_unit_test_setup_teardown(enough_go_at_once, start, stop),
        cmocka_unit_test_setup_teardown(requests_take_no_memory_once_warm, start, stop),
        cmocka_unit_test_setup_teardown(what_finds_no_room_is_dropped, start, stop),
        cmocka_unit_test_setup_teardown(a_stream_that_breaks_is_begun_anew, start, stop),
        cmocka_unit_test_setup_teardown(a_service_that_ends_streams_is_asked_less_and_less, start, stop),
        cmocka_unit_test_setup_teardown(a_new_snapshot_ends_streams_in_good_order, start, stop),
        cmocka_unit_test_setup_teardown(the_end_waits_for_those_who_are_served_and_for_the_service, start, stop),
        cmocka_unit_test_setup_teardown(who_does_not_take_the_end_is_cut, start, stop),
        cmocka_unit_test_setup_teardown(memory_may_be_short, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
