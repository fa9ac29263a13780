/* Whole dialogues between a client and an origin in orders that only a hand-turned loop brings about each time: a snapshot
 * that changes in the middle of a head, bytes that cross a deadline, answers that come before the question, both directions
 * blocked. */
#include "tests/unit/dataplane/codec/h1/dialogue.h"

#include "dataplane/codec/loopback/loopback.h"

enum { BUFFER = 16384, ROUNDS_MAX = 2000 };

static struct loopback front; /* a client without a socket */
static struct head question;

/* ---- a loopback client */

static void make_question(enum method method, int64_t length) {
    static const struct exchange_origin from = {.listener = &definition, .peer = STR("192.0.2.1"), .version = 11};
    loopback_finish(&front);
    loopback_init(&front, &worker);
    head_init(&question);
    question.method = method;
    question.method_text = method_name(method);
    question.host = question.authority = STR("example.com");
    question.target = question.path = STR("/");
    question.content_length = length;
    assert_non_null(exchange_open(&worker, &front.leg, &from));
}

static void ask(void) {
    make_question(METHOD_GET, -1);
    front.has_ended = true;
    exchange_on_head(&front.leg, &question, true);
}

/* An upload that the origin does not read, until the gateway takes no more of it. */
static void upload_until_blocked(const char *body, size_t n) {
    make_question(METHOD_POST, (int64_t)n);
    front.to_send = (struct str){body, n};
    exchange_on_head(&front.leg, &question, false);
    settle();
    for (bool has_moved = true; has_moved; settle())
        for (has_moved = false; loopback_push(&front, BUFFER);)
            has_moved = true;
    assert_true(front.to_send.n > 0);
}

/* Pulls the response to its end. What does not come after many turns never comes. */
static void pull_all(void) {
    for (int idle = 0; !front.received_end && !front.received_abort && idle < SETTLED; idle++) {
        settle();
        while (loopback_pull(&front, 3000))
            idle = 0;
    }
    assert_true(front.received_end);
}

static void assert_pulled(const char *text) {
    pull_all();
    assert_int_equal(front.received.n, strlen(text));
    assert_memory_equal(front.received.p, text, strlen(text));
}

/* ---- the definition of an earlier snapshot */

static struct settings newer_settings;
static struct listener_definition newer;

/* A push: from now on nothing may be read from the definition before, which would refuse everything. */
static void push_snapshot(void) {
    newer_settings = settings;
    newer = definition;
    newer.settings = &newer_settings;
    listener_set_definition(listener, &newer, &newer.opening, 1000, 1000);
    settings = (struct settings){0};
    definition = (struct listener_definition){0};
}

static void a_head_that_spans_a_push_is_read_by_the_new_definition(void **state) {
    (void)state;
    int client = connect_client();
    send_text(client, "GET / HTTP/1.1\r\nHo");
    settle();
    push_snapshot();
    send_text(client, "st: a\r\nX: 1\r\nY: 2\r\n\r\n");
    int origin = accept_as_origin();
    assert_begins(received(origin), "GET / HTTP/1.1\r\n");
    send_text(origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_begins(received(client), "HTTP/1.1 200 OK\r\n");
    assert_ptr_equal(logged.listener, &newer);
    close(client);
    close(origin);
}

static void a_head_that_spans_a_push_and_stays_incomplete_is_answered_by_the_new_definition(void **state) {
    (void)state;
    int client = connect_client();
    send_text(client, "GET / HTTP/1.1\r\nHo");
    settle();
    push_snapshot();
    expire();
    assert_begins(received(client), "HTTP/1.1 408 ");
    assert_ptr_equal(logged.listener, &newer);
    close(client);
}

/* It serves the snapshot that it was last defined by, and keeps that one alive no longer than its connections. */
static void a_listener_that_drains_serves_its_own_snapshot(void **state) {
    (void)state;
    struct snapshot_view next = {.references = 1, .quiet = ignore_quiet};
    int client = connect_client();
    worker.view = &next;
    send_text(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    int origin = accept_as_origin();
    send_text(origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_begins(received(client), "HTTP/1.1 200 OK\r\n");
    assert_ptr_equal(logged.view, &view);
    assert_int_equal(next.references, 1);
    worker.view = &view;
    close(client);
    close(origin);
}

/* ---- an origin that speaks unasked */

static int kept_origin;

static void ask_first(void) {
    ask();
    assert_int_equal(stats_read(&worker.stats->origin_reuses_total), 1);
}

static void keep_a_connection(void) {
    ask();
    kept_origin = accept_as_origin();
    send_text(kept_origin, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    settle();
    assert_pulled("first");
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 1);
}

/* In a turn that has no time left to read. */
static void ask_late(void) {
    ask_first();
    worker.turn_work = (size_t)4 * TURN_WORK;
}

/* The bytes are there when the next request takes the connection, and are read before it is written. */
static void check_unasked_answer(void (*ask_again)(void)) {
    keep_a_connection();
    send_text(kept_origin, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    settle_after(ask_again);
    int other = accept_as_origin();
    assert_begins(received(other), "GET / HTTP/1.1\r\n");
    send_text(other, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond");
    assert_pulled("second");
    assert_int_equal(logged.attempts, 2);
    close(kept_origin);
    close(other);
}

static void an_answer_before_the_question_answers_nobody(void **state) {
    (void)state;
    check_unasked_answer(ask_first);
}

static void an_answer_before_the_question_never_waits(void **state) {
    (void)state;
    check_unasked_answer(ask_late);
}

static void unasked_bytes_close_a_kept_connection(void **state) {
    (void)state;
    keep_a_connection();
    send_text(kept_origin, "HTTP/1.1 200 OK\r\n");
    settle();
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
    close(kept_origin);
}

static void bytes_behind_a_response_end_the_connection(void **state) {
    (void)state;
    ask();
    int origin = accept_as_origin();
    send_text(origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    assert_pulled("ok");
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
    close(origin);
}

/* ---- both directions at once */

static char upload[1 << 20];

/* A chunked response of several times the credit. What is kept of it between two grants is read no more by new bytes, so it
 * has to be delivered by the grants alone. */
static void send_large_response(int origin, struct strbuf *ret_body) {
    char chunk[6000];
    struct strbuf text = {0};
    strbuf_puts(&text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 12; i++) {
        memset(chunk, 'a' + i, sizeof chunk);
        strbuf_printf(&text, "%zx\r\n", sizeof chunk);
        strbuf_add(&text, chunk, sizeof chunk);
        strbuf_puts(&text, "\r\n");
        strbuf_add(ret_body, chunk, sizeof chunk);
    }
    strbuf_puts(&text, "0\r\n\r\n");
    assert_int_equal(send_some(origin, text.p, text.n), text.n);
    strbuf_finish(&text);
}

static void assert_pulled_all(const struct strbuf *body) {
    pull_all();
    assert_int_equal(front.received.n, body->n);
    assert_memory_equal(front.received.p, body->p, body->n);
}

static void a_response_beyond_the_credit_arrives_while_the_upload_is_blocked(void **state) {
    (void)state;
    struct strbuf body = {0};
    settings.limits.buffer = BUFFER;
    upload_until_blocked(upload, sizeof upload);
    int origin = accept_as_origin();
    send_large_response(origin, &body);
    assert_pulled_all(&body);
    strbuf_finish(&body);
    close(origin);
}

static void a_response_beyond_the_credit_arrives_after_the_upload_was_cut(void **state) {
    (void)state;
    struct strbuf body = {0};
    settings.limits.buffer = BUFFER;
    cluster.options.write_timeout = 30000000;
    upload_until_blocked(upload, sizeof upload);
    int origin = accept_as_origin();
    shutdown(origin, SHUT_RD);
    send_large_response(origin, &body);
    close(origin); /* its end stands behind the kept bytes */
    settle();
    expire(); /* nothing is left to be written */
    assert_pulled_all(&body);
    strbuf_finish(&body);
}

/* ---- a request of which the kernel took only a part */

/* An upload whose first flush blocks, and which would be kept for another attempt. */
static int begin_partly_sent_upload(void) {
    static Headgate__Retry retry = HEADGATE__RETRY__INIT;
    retry.body = sizeof upload;
    rule.retry = &retry;
    rebuild_table();
    settings.limits.buffer = sizeof upload;
    make_question(METHOD_POST, sizeof upload);
    front.to_send = (struct str){upload, sizeof upload};
    exchange_on_head(&front.leg, &question, false);
    while (loopback_push(&front, BUFFER))
        ;
    assert_int_equal(front.to_send.n, 0);
    return accept_as_origin();
}

/* This answer comes, and no second connection. */
static void assert_answered_once(unsigned status) {
    settle();
    assert_int_equal(accept(origin_listens, NULL, NULL), -1);
    assert_int_equal(front.head_count, 1);
    assert_int_equal(front.heads[0]->status, status);
    pull_all();
    assert_int_equal(logged.count, 1);
    assert_int_equal(logged.attempts, 1);
}

static void a_request_that_was_sent_in_part_is_not_sent_again(void **state) {
    char some[4096];
    (void)state;
    int origin = begin_partly_sent_upload();
    assert_true(recv(origin, some, sizeof some, 0) > 0);
    close(origin); /* with the rest unread: a reset */
    assert_answered_once(502);
    assert_int_equal(logged.abort, ABORT_ORIGIN_RESET);
}

static void an_early_answer_to_what_was_sent_in_part_arrives(void **state) {
    (void)state;
    struct strbuf part = {0};
    int origin = begin_partly_sent_upload();
    receive(origin, &part); /* there is room again */
    assert_true(part.n < sizeof upload);
    shutdown(origin, SHUT_RD);
    settle(); /* writing fails */
    send_text(origin, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    assert_answered_once(413);
    assert_pulled("large");
    strbuf_finish(&part);
    close(origin);
}

/* Moves what goes: an upload in small chunks from the client, to be counted by the origin. */
static void upload_in_chunks(int client, int origin, unsigned chunks, struct strbuf *ret_seen) {
    struct strbuf text = {0};
    size_t sent = 0;
    for (unsigned i = 0; i < chunks; i++)
        strbuf_printf(&text, "3e8\r\n%01000u\r\n", i);
    strbuf_puts(&text, "0\r\n\r\n");
    for (int round = 0; round < ROUNDS_MAX; round++) {
        sent += send_some(client, text.p + sent, text.n - sent);
        settle();
        receive(origin, ret_seen);
    }
    assert_int_equal(sent, text.n);
    strbuf_finish(&text);
}

static void an_upload_beyond_the_credit_arrives_while_the_response_is_blocked(void **state) {
    (void)state;
    struct strbuf seen = {0};
    settings.limits.buffer = BUFFER;
    int client = connect_client();
    send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    int origin = accept_as_origin();
    send_text(origin, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n");
    for (size_t sent = 0, more = 1; more; settle())
        sent += more = send_some(origin, upload, sizeof upload - sent); /* nobody reads it */
    upload_in_chunks(client, origin, 300, &seen);
    assert_true(seen.n > 300 * 1000);
    assert_memory_equal(seen.p + seen.n - 5, "0\r\n\r\n", 5);
    strbuf_finish(&seen);
    close(client);
    close(origin);
}

/* ---- without memory */

static void an_upload_without_memory_is_cut(void **state) {
    struct strbuf answer = {0};
    (void)state;
    int client = connect_client();
    send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    int origin = accept_as_origin();
    send_text(client, "12345");
    hg_alloc_fail_at(0, 1);
    settle();
    hg_alloc_fail_at(-1, 0);
    assert_true(receive(client, &answer));
    assert_int_equal(answer.n, 0);
    assert_int_equal(logged.abort, ABORT_MEMORY);
    close(client);
    close(origin);
}

/* ---- deadlines */

static void an_origin_that_stops_reading_and_keeps_silent_is_not_waited_for(void **state) {
    (void)state;
    int client = connect_client();
    send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    int origin = accept_as_origin();
    shutdown(origin, SHUT_RD);
    send_text(client, "part of it");
    settle();
    expire();
    assert_begins(received(client), "HTTP/1.1 504 ");
    assert_int_equal(logged.abort, ABORT_ORIGIN_TIMEOUT);
    close(client);
    close(origin);
}

static void body_bytes_that_cross_the_deadline_are_dropped(void **state) {
    static const char *const rests[] = {"67890", "67890GET / HTTP/1.1\r\nHost: a\r\n\r\n", "6"};
    (void)state;
    for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
        int client = connect_client();
        send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
        int origin = accept_as_origin();
        send_text(client, rests[i]);
        settle_after(expire);
        const char *answer = received(client);
        assert_begins(answer, "HTTP/1.1 408 ");
        assert_non_null(strcasestr(answer, "\r\nConnection: close\r\n"));
        assert_null(strstr(answer + 1, "HTTP/1.1 "));
        assert_int_equal(logged.abort, ABORT_CLIENT_BODY_TIMEOUT);
        close(client);
        close(origin);
    }
}

/* ---- what a client may send */

static void a_body_over_the_limit_in_tiny_chunks_is_413(void **state) {
    (void)state;
    struct strbuf text = {0};
    rule_limits.has_body = true;
    rule_limits.body = 1000;
    rebuild_table();
    int client = connect_client();
    strbuf_puts(&text, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 4000; i++)
        strbuf_puts(&text, "1\r\nx\r\n");
    strbuf_puts(&text, "0\r\n\r\n");
    assert_int_equal(send_some(client, text.p, text.n), text.n);
    const char *answer = received(client);
    assert_begins(answer, "HTTP/1.1 413 ");
    assert_null(strstr(answer + 1, "HTTP/1.1 "));
    assert_int_equal(logged.abort, ABORT_BODY_TOO_LARGE);
    strbuf_finish(&text);
    close(client);
}

/* What is refused before it is routed is still known to be HEAD. */
static void a_head_request_that_is_refused_is_answered_without_a_body(void **state) {
    (void)state;
    int client = connect_client();
    send_text(client, "HEAD / HTTP/1.1\r\n\r\n");
    const char *answer = received(client);
    assert_begins(answer, "HTTP/1.1 400 ");
    assert_ends(answer, "\r\n\r\n");
    close(client);
}

static void assert_no_line_begins(const char *text, const char *name) {
    for (const char *line = text; line; line = strstr(line, "\r\n")) {
        line += line == text ? 0 : 2;
        if (strncasecmp(line, name, strlen(name)) == 0)
            fail_msg("%s went to the origin: \"%s\"", name, text);
    }
}

/* Programs behind CGI cannot tell "_" from "-" in a name. */
static void names_that_alias_fields_of_the_gateway_are_dropped(void **state) {
    static const char *const names[] = {
        "X_Forwarded_For", "x_forwarded_for", "X-Forwarded_For", "X_Forwarded-Proto", "X_FORWARDED_HOST", "X_Real_IP",
        "Content_Length", "Transfer_Encoding",
    };
    (void)state;
    int client = connect_client();
    send_text(client, "GET / HTTP/1.1\r\nHost: a\r\nX_Custom: kept\r\n");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        send_text(client, names[i]);
        send_text(client, ": 6\r\n");
    }
    send_text(client, "\r\n");
    int origin = accept_as_origin();
    const char *request = received(origin);
    assert_non_null(strcasestr(request, "\r\nX_Custom: kept\r\n"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_no_line_begins(request, names[i]);
    close(client);
    close(origin);
}

/* ---- */

static int set_up(void **state) {
    loopback_init(&front, &worker);
    memset(upload, 'u', sizeof upload);
    return dialogue_set_up(state);
}

static int tear_down(void **state) {
    loopback_finish(&front);
    return dialogue_tear_down(state);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_listener_that_drains_serves_its_own_snapshot),
        TEST(a_head_that_spans_a_push_is_read_by_the_new_definition),
        TEST(a_head_that_spans_a_push_and_stays_incomplete_is_answered_by_the_new_definition),
        TEST(an_answer_before_the_question_answers_nobody),
        TEST(an_answer_before_the_question_never_waits),
        TEST(unasked_bytes_close_a_kept_connection),
        TEST(bytes_behind_a_response_end_the_connection),
        TEST(a_response_beyond_the_credit_arrives_while_the_upload_is_blocked),
        TEST(a_response_beyond_the_credit_arrives_after_the_upload_was_cut),
        TEST(a_request_that_was_sent_in_part_is_not_sent_again),
        TEST(an_early_answer_to_what_was_sent_in_part_arrives),
        TEST(an_upload_beyond_the_credit_arrives_while_the_response_is_blocked),
        TEST(an_upload_without_memory_is_cut),
        TEST(an_origin_that_stops_reading_and_keeps_silent_is_not_waited_for),
        TEST(body_bytes_that_cross_the_deadline_are_dropped),
        TEST(a_body_over_the_limit_in_tiny_chunks_is_413),
        TEST(a_head_request_that_is_refused_is_answered_without_a_body),
        TEST(names_that_alias_fields_of_the_gateway_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
