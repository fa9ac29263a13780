/* What an exchange passes on of heads, and what it may hold. */
#include "dataplane/codec/h1/body.h"
#include "tests/unit/dataplane/http/bench.h"

/* ---- heads ---- */

/* Hop-by-hop fields of an interim head, and what its Connection names, end here. */
static void interim_heads_lose_what_concerns_the_connection(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 5);
    begin(&b);
    struct arena *arena = exchange_arena(b.exchange);
    struct str named[] = {STR("x-hop")};
    struct head early;
    head_init(&early);
    early.status = 103;
    early.nominated = named;
    early.nominated_count = 1;
    fields_add(&early.fields, arena, STR("connection"), STR("x-hop"));
    fields_add(&early.fields, arena, STR("x-hop"), STR("1"));
    fields_add(&early.fields, arena, STR("link"), STR("</a>"));
    exchange_on_head(&b.back.leg, &early, false);
    const struct fields *sent = &b.front.heads[0]->fields;
    assert_int_equal(sent->count, 1);
    assert_true(str_eq(field_name(&sent->v[0]), STR("link")));
    send_response_head(&b);
    run(&b);
    tear_down(&b);
}

static void assert_client(const char *forwarded_for, const char *client) {
    struct bench b;
    struct arena arena = {0};
    set_up(&b);
    b.settings.trusted_hops = 1;
    b.settings.x_real_ip = true;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 0);
    fields_add(&b.request.fields, &arena, STR("x-forwarded-for"), str_of(forwarded_for));
    begin(&b);
    assert_true(str_eq(b.exchange->client, str_of(client)));
    const struct field *real = fields_find(&b.back.heads[0]->fields, FIELD_X_REAL_IP);
    assert_true(str_eq(field_value(real), str_of(client)));
    send_response_head(&b);
    run(&b);
    tear_down(&b);
    arena_finish(&arena);
}

static void only_an_address_becomes_the_client(void **state) {
    (void)state;
    assert_client("198.51.100.7", "198.51.100.7");
    assert_client("203.0.113.1, 198.51.100.7:4711", "198.51.100.7");
    assert_client("2001:db8::7", "2001:db8::7");
    assert_client("[2001:db8::7]:4711", "2001:db8::7");
    assert_client("unknown", "192.0.2.1");
    assert_client("198.51.100.7, <script>", "192.0.2.1");
    assert_client("_hidden", "192.0.2.1");
}

/* ---- the worker's budget ---- */

enum { SMALL_CREDIT = 16 << 10, FIRST_CREDIT = 64 << 10, LARGE_BUFFER = 256 << 10 };

/* Requests that wait for their origins reserve little; more is reserved once a body is there. */
static void a_waiting_exchange_reserves_little(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    b.settings.limits.buffer = LARGE_BUFFER;
    b.worker.buffer_limit = 2 * SMALL_CREDIT; /* enough for it to begin */
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 1000);
    begin(&b);
    assert_int_equal(b.worker.buffer_used, SMALL_CREDIT);
    assert_int_equal(exchange_credit(&b.back.leg), SMALL_CREDIT);
    b.worker.buffer_limit = LARGE_BUFFER;
    send_response_head(&b);
    assert_int_equal(exchange_credit(&b.back.leg), FIRST_CREDIT);
    assert_int_equal(b.worker.buffer_used, FIRST_CREDIT);
    run(&b);
    assert_received(&b.front, b.response_body, 1000);
    tear_down(&b);
}

static uint64_t held_response(const struct bench *b) {
    return b->exchange->response.used + b->exchange->response.granted;
}

/* Of a response that its client does not take, part of the buffer is held; one that is taken may have all of it. */
static void the_buffer_is_for_clients_that_take(void **state) {
    (void)state;
    struct bench b;
    uint64_t most = 0;
    set_up(&b);
    b.settings.limits.buffer = LARGE_BUFFER;
    b.worker.buffer_limit = 2 * LARGE_BUFFER;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 5 * LARGE_BUFFER);
    begin(&b);
    send_response_head(&b);
    while (loopback_push(&b.back, LARGE_BUFFER))
        assert_true(held_response(&b) <= FIRST_CREDIT);
    assert_int_equal(b.exchange->response.used, FIRST_CREDIT);
    for (int i = 0; i < 64; i++) {
        loopback_pull(&b.front, 4096);
        loopback_push(&b.back, LARGE_BUFFER);
        most = held_response(&b) > most ? held_response(&b) : most;
        worker_end_turn(&b.worker);
    }
    assert_true(most > LARGE_BUFFER / 2 && most <= LARGE_BUFFER);
    run(&b);
    assert_received(&b.front, b.response_body, 5 * LARGE_BUFFER);
    tear_down(&b);
}

/* Without room in the budget a response goes on with what it has. */
static void a_response_lives_on_little_when_the_budget_is_used_up(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    b.settings.limits.buffer = LARGE_BUFFER;
    b.worker.buffer_limit = 2 * SMALL_CREDIT;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 5 * LARGE_BUFFER);
    begin(&b);
    send_response_head(&b);
    assert_int_equal(exchange_credit(&b.back.leg), SMALL_CREDIT);
    run(&b);
    assert_received(&b.front, b.response_body, 5 * LARGE_BUFFER);
    tear_down(&b);
}

static void exchanges_have_a_budget_of_their_own(void **state) {
    (void)state;
    struct bench b;
    struct loopback other;
    set_up(&b);
    loopback_init(&other, &b.worker);
    b.worker.exchange_memory.limit = 2 * sizeof(struct exchange) - 1;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 10);
    begin(&b);
    assert_null(exchange_open(&b.worker, &other.leg, &b.origin));
    assert_null(arena_alloc(exchange_arena(b.exchange), sizeof(struct exchange)));
    b.worker.exchange_memory.limit = b.worker.exchange_memory.used; /* it ends all the same */
    send_response_head(&b);
    run(&b);
    assert_true(stats_read(&b.worker.stats->overload_total) > 0);
    loopback_finish(&other);
    tear_down(&b);
}

/* ---- no memory ---- */

/* The slice at the head of a queue is larger than what is pulled, and cannot be cut. Nothing would wake the sink again. */
static void a_slice_that_cannot_be_cut_ends_the_exchange(void **state) {
    (void)state;
    for (int of_response = 0; of_response < 2; of_response++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_POST, of_response ? 0 : 8000);
        make_response(&b, 200, 8000);
        begin(&b);
        if (of_response)
            send_response_head(&b);
        struct loopback *source = of_response ? &b.back : &b.front, *sink = of_response ? &b.front : &b.back;
        loopback_push(source, 8000);
        while (b.worker.pool.free_slices) { /* so that one is needed from the heap */
            struct slice *s = b.worker.pool.free_slices;
            b.worker.pool.free_slices = s->next;
            b.worker.pool.kept_slices--;
            hg_free(s);
        }
        hg_alloc_fail_at(0, 1);
        assert_true(loopback_pull(sink, 100));
        hg_alloc_fail_at(-1, 0);
        assert_true(sink->received_abort);
        if (!of_response) /* as a codec does that cannot complete its message */
            exchange_on_abort(&sink->leg, ABORT_CLIENT_PROTOCOL);
        run(&b);
        assert_int_equal(b.logged_abort, ABORT_MEMORY);
        assert_int_equal(b.logged_status, of_response ? 200 : 503);
        tear_down(&b);
    }
}

static unsigned count_slices(const struct slice_queue *q) {
    unsigned n = 0;
    for (const struct slice *s = q->first; s; s = s->next)
        n++;
    return n;
}

/* A client of HTTP/1.1 that sends chunks of one byte, to an origin that takes none: what was kept of the input until there
 * was credit is not turned into a block for each. */
static void tiny_pieces_share_memory(void **state) {
    (void)state;
    static const struct h1_limits limits = {.header_bytes = 1000};
    enum { CHUNKS = 10000, CHUNK = 6 };
    struct bench b;
    struct h1_body_reader reader;
    size_t used;
    enum h1_error error;
    char *input = malloc(CHUNKS * CHUNK);
    for (int i = 0; i < CHUNKS; i++)
        memcpy(input + (size_t)i * CHUNK, "1\r\na\r\n", CHUNK);
    set_up(&b);
    make_request(&b, METHOD_POST, CHUNKS);
    memset(b.request_body, 'a', CHUNKS);
    make_response(&b, 200, 5);
    begin(&b);
    assert_int_equal(h1_body_reader_init(&reader, H1_BODY_CHUNKED, 0, &limits, exchange_arena(b.exchange)), 0);
    assert_int_equal(h1_body_read(&reader, &b.front.leg, &b.worker, (const uint8_t *)input, CHUNKS * CHUNK, false, &used,
                                  &error), H1_READ_MORE);
    assert_int_equal(used, CHUNKS * CHUNK);
    assert_int_equal(b.exchange->request.queue.bytes, CHUNKS);
    assert_true(count_slices(&b.exchange->request.queue) <= 2);
    exchange_on_end(&b.front.leg, NULL);
    b.front.has_ended = true;
    while (loopback_pull(&b.back, CHUNKS))
        ;
    assert_received(&b.back, b.request_body, CHUNKS);
    send_response_head(&b);
    run(&b);
    tear_down(&b);
    free(input);
}

int main(void) {
    seed = 88172645463325252ULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interim_heads_lose_what_concerns_the_connection),
        cmocka_unit_test(only_an_address_becomes_the_client),
        cmocka_unit_test(a_waiting_exchange_reserves_little),
        cmocka_unit_test(the_buffer_is_for_clients_that_take),
        cmocka_unit_test(a_response_lives_on_little_when_the_budget_is_used_up),
        cmocka_unit_test(exchanges_have_a_budget_of_their_own),
        cmocka_unit_test(tiny_pieces_share_memory),
        cmocka_unit_test(a_slice_that_cannot_be_cut_ends_the_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
