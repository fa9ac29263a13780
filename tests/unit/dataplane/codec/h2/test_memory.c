/* What an HTTP/2 connection keeps while nothing is asked on it. */
#include "tests/unit/dataplane/codec/h2/peer.h"

#include <sys/mman.h>

enum { LARGE_FIELDS = 6, LARGE_FIELD = 7000, LARGE_BODY = 60000, CLIENTS = 3 };

static struct client clients[CLIENTS];
static char          bytes[LARGE_BODY];

static int set_up(void **state) {
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)('!' + i * 31 % 90); /* of most the code of Huffman is longer than eight bits */
    return gateway_set_up(state);
}

static void open_clients(int count) {
    for (int i = 0; i < count; i++) {
        client_init(&clients[i], connect_gateway(), 1 << 20);
        settle(&clients[i]);
    }
}

static void close_clients(int count) {
    for (int i = 0; i < count; i++)
        client_finish(&clients[i]);
    turn();
}

static void ask(struct client *c) {
    struct call *call = get(c, "/");
    settle(c);
    answer_with(&backs[back_count - 1], STR("x"));
    settle(c);
    assert_true(call->closed && call->status == 200);
}

/* Of the only connection: pages are taken from the lowest address on. */
static bool table_has_memory(void) {
    struct page next;
    unsigned char is_resident;
    assert_true(page_take(&worker.pages, &next));
    assert_int_equal(mincore((char *)next.bytes - PAGE_BYTES, PAGE_BYTES, &is_resident), 0);
    page_drop(&worker.pages, &next);
    return is_resident & 1;
}

static void the_table_of_streams_rests_and_comes_back(void **state) {
    (void)state;
    open_clients(1);
    for (int round = 0; round < 3; round++) {
        ask(&clients[0]);
        assert_true(table_has_memory());
        struct call *open = get(&clients[0], "/");
        settle(&clients[0]);
        pass_seconds(2);
        assert_true(table_has_memory()); /* a stream is open */
        answer_with(&backs[back_count - 1], STR("x"));
        settle(&clients[0]);
        assert_true(open->closed);
        pass_seconds(2);
        assert_true(!table_has_memory() || sysconf(_SC_PAGESIZE) != PAGE_BYTES);
    }
    ask(&clients[0]);
    close_clients(1);
}

/* More streams than the page has room for: the library takes a larger table, and the page is free. */
static void a_table_may_outgrow_its_page(void **state) {
    (void)state;
    enum { MANY = 250 };
    definition.http2.max_concurrent_streams = 1000;
    open_clients(1);
    size_t used = worker.session_memory.used;
    for (int i = 0; i < MANY; i++)
        get(&clients[0], "/");
    for (int i = 0; i < MANY && back_count < MANY; i++)
        exchange_bytes(&clients[0]);
    assert_int_equal(back_count, MANY);
    assert_true(worker.session_memory.used > used + PAGE_BYTES);
    for (int i = 0; i < MANY; i++)
        answer_with(&backs[i], STR("x"));
    settle(&clients[0]);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(clients[0].calls[i].status, 200);
    pass_seconds(2);
    ask(&clients[0]);
    close_clients(1);
}

static void large_head(struct back *b) {
    const struct str value = {bytes, LARGE_FIELD};
    head_init(&b->response);
    b->response.status = 200;
    b->response.version = 11;
    b->response.content_length = LARGE_BODY;
    for (int i = 0; i < LARGE_FIELDS; i++)
        assert_int_equal(fields_add(&b->response.fields, exchange_arena(b->x), STR("x-large"), value), 0);
    b->loop.to_send = (struct str){bytes, LARGE_BODY};
    exchange_on_head(&b->loop.leg, &b->response, false);
}

static void check_large(const struct call *call) {
    const char *at = call->fields.p;
    int found = 0;
    for (; at && (at = strstr(at, "x-large: ")); found++, at += 9)
        assert_memory_equal(at + 9, bytes, LARGE_FIELD);
    assert_int_equal(found, LARGE_FIELDS);
    assert_int_equal(call->body.n, LARGE_BODY);
    assert_memory_equal(call->body.p, bytes, LARGE_BODY);
}

/* Heads of several frames and bodies, of connections that write by turns while their clients read little: what one has
 * left unfinished does not stand in the buffer that they share. */
static void connections_share_a_frame_buffer(void **state) {
    (void)state;
    enum { CALLS_EACH = 4 };
    open_clients(CLIENTS);
    assert_non_null(worker.frame_buffer);
    for (int i = 0; i < CLIENTS * CALLS_EACH; i++) {
        get(&clients[i % CLIENTS], "/");
        settle(&clients[i % CLIENTS]);
    }
    assert_int_equal(back_count, CLIENTS * CALLS_EACH);
    for (unsigned i = 0; i < back_count; i++)
        large_head(&backs[i]);
    for (int i = 0; i < 400; i++) {
        for (unsigned k = 0; k < back_count; k++)
            if (backs[k].loop.leg.exchange)
                push_all(&backs[k]);
        overwrite_frame_buffer();
        ev_run(worker.loop, EVRUN_NOWAIT);
        if (i % 3 == 0)
            exchange_bytes(&clients[i / 3 % CLIENTS]);
    }
    for (int i = 0; i < CLIENTS * CALLS_EACH; i++)
        check_large(&clients[i % CLIENTS].calls[i / CLIENTS]);
    close_clients(CLIENTS);
}

static void without_memory_for_the_buffer_there_is_no_connection(void **state) {
    (void)state;
    open_clients(1);
    close_clients(1); /* all other blocks are kept */
    hg_free(worker.frame_buffer);
    worker.frame_buffer = NULL;
    hg_alloc_fail_at(1, 0); /* behind that of our own struct */
    assert_int_equal(connect_gateway(), -1);
    hg_alloc_fail_at(-1, 0);
    assert_null(worker.frame_buffer);
    open_clients(1);
    ask(&clients[0]);
    assert_non_null(worker.frame_buffer);
    close_clients(1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_table_of_streams_rests_and_comes_back, set_up, gateway_tear_down),
        cmocka_unit_test_setup_teardown(a_table_may_outgrow_its_page, set_up, gateway_tear_down),
        cmocka_unit_test_setup_teardown(connections_share_a_frame_buffer, set_up, gateway_tear_down),
        cmocka_unit_test_setup_teardown(without_memory_for_the_buffer_there_is_no_connection, set_up, gateway_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
