/* The admin listener: parser, bounds, metrics token, and real connections over loopback driven by one loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/admin_http.c" /* reaches metrics_refusal */

struct fixture {
    struct ev_loop *loop;
    struct admin_http *http;
    int calls;
    struct token_file *token;
    char token_path[64];
};

static void answer_test(void *context, struct str path, struct admin_http_answer *answer) {
    struct fixture *f = context;
    f->calls++;
    if (str_eq(path, STR("/metrics"))) {
        answer->status = 200;
        strbuf_puts(&answer->body, "up 1\n");
    } else if (str_eq(path, STR("/large"))) {
        answer->status = 200;
        for (int i = 0; i < 100000; i++)
            strbuf_puts(&answer->body, "0123456789abcdef");
    }
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    struct error_list errors = {0};
    int fd = mkstemp(strcpy(f->token_path, "/tmp/headgate-token-XXXXXX"));
    assert_int_equal(write(fd, "secret\n", 7), 7);
    close(fd);
    f->token = token_file_open(f->token_path, &errors);
    assert_non_null(f->token);
    struct admin_http_config config = {
        .listen_fd = -1, .metrics_token = f->token, .answer = answer_test, .context = f};
    assert_int_equal(address_parse(STR("127.0.0.1:0"), &config.address), 0);
    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->http = admin_http_create(f->loop, &config, &errors);
    assert_non_null(f->http);
    error_list_finish(&errors);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    admin_http_destroy(f->http);
    token_file_close(f->token);
    unlink(f->token_path);
    ev_loop_destroy(f->loop);
    test_free(f);
    return 0;
}

static int connect_to(const struct fixture *f) {
    const struct address *a = admin_http_address(f->http);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &a->u.any, a->length), 0);
    return fd;
}

/* Turns the loop until the peer has closed or reset; what was received is in *ret. */
static void read_to_end(const struct fixture *f, int fd, struct strbuf *ret) {
    char bytes[65536];
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return;
        if (n > 0)
            strbuf_add(ret, bytes, (size_t)n);
        else
            ev_run(f->loop, EVRUN_ONCE);
    }
}

static void send_text(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void exchange(const struct fixture *f, const char *request, struct strbuf *ret) {
    int fd = connect_to(f);
    send_text(fd, request);
    read_to_end(f, fd, ret);
    close(fd);
}

static void expect_status(void **state, const char *request, const char *status_line) {
    struct strbuf reply = {0};
    exchange(*state, request, &reply);
    assert_true(str_starts(strbuf_str(&reply), str_of(status_line)));
    strbuf_finish(&reply);
}

static void answers_get(void **state) {
    struct strbuf reply = {0};
    exchange(*state, "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_true(str_starts(strbuf_str(&reply), STR("HTTP/1.1 200 OK\r\n")));
    assert_true(str_ends(strbuf_str(&reply), STR("Connection: close\r\n\r\nup 1\n")));
    strbuf_finish(&reply);
}

static void answers_head_without_body(void **state) {
    struct strbuf reply = {0};
    exchange(*state, "HEAD /metrics HTTP/1.0\r\n\r\n", &reply);
    assert_non_null(strstr(reply.p, "Content-Length: 5\r\n"));
    assert_true(str_ends(strbuf_str(&reply), STR("\r\n\r\n")));
    strbuf_finish(&reply);
}

static void answers_large_body(void **state) {
    struct strbuf reply = {0};
    exchange(*state, "GET /large HTTP/1.1\r\n\r\n", &reply);
    const char *body = strstr(reply.p, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(reply.n - (size_t)(body + 4 - reply.p), 1600000);
    strbuf_finish(&reply);
}

static void answers_in_pieces(void **state) {
    struct fixture *f = *state;
    struct strbuf reply = {0};
    int fd = connect_to(f);
    const char *pieces[] = {"GE", "T /met", "rics HTTP/1.1\r", "\n\r", "\n"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        send_text(fd, pieces[i]);
        ev_run(f->loop, EVRUN_NOWAIT);
    }
    read_to_end(f, fd, &reply);
    assert_true(str_starts(strbuf_str(&reply), STR("HTTP/1.1 200 ")));
    strbuf_finish(&reply);
    close(fd);
}

static void refuses_what_it_does_not_speak(void **state) {
    expect_status(state, "GET /nowhere HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ");
    expect_status(state, "POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ");
    expect_status(state, "GET /metrics HTTP/2.0\r\n\r\n", "HTTP/1.1 505 ");
    expect_status(state, "GET metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ");
    expect_status(state, "GET  /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ");
    expect_status(state, "GET /metrics HTTP/1.1\nHost: x\r\n\r\n", "HTTP/1.1 400 ");
    expect_status(state, "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", "HTTP/1.1 400 ");
    expect_status(state, "GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", "HTTP/1.1 400 ");
    expect_status(state, "hello\r\n\r\n", "HTTP/1.1 400 ");
}

static void refuses_large_heads(void **state) {
    struct strbuf request = {0};
    strbuf_puts(&request, "GET /");
    for (int i = 0; i < ADMIN_HTTP_TARGET_MAX; i++)
        strbuf_putc(&request, 'a');
    strbuf_puts(&request, " HTTP/1.1\r\n\r\n");
    expect_status(state, request.p, "HTTP/1.1 414 ");
    strbuf_reset(&request);
    strbuf_puts(&request, "GET / HTTP/1.1\r\nX: ");
    for (int i = 0; i < ADMIN_HTTP_HEAD_MAX; i++)
        strbuf_putc(&request, 'a');
    expect_status(state, request.p, "HTTP/1.1 431 ");
    strbuf_finish(&request);
}

static void oldest_connection_gives_way(void **state) {
    struct fixture *f = *state;
    int silent[ADMIN_HTTP_CONNECTIONS_MAX];
    struct strbuf reply = {0};
    for (int i = 0; i < ADMIN_HTTP_CONNECTIONS_MAX; i++) {
        silent[i] = connect_to(f);
        ev_run(f->loop, EVRUN_ONCE);
    }
    assert_int_equal(f->http->count, ADMIN_HTTP_CONNECTIONS_MAX);
    exchange(f, "GET /metrics HTTP/1.1\r\n\r\n", &reply);
    assert_true(str_starts(strbuf_str(&reply), STR("HTTP/1.1 200 ")));
    assert_int_equal(recv(silent[0], &(char){0}, 1, 0), 0);
    assert_int_equal(recv(silent[1], &(char){0}, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < ADMIN_HTTP_CONNECTIONS_MAX; i++)
        close(silent[i]);
    strbuf_finish(&reply);
}

static unsigned refusal_for(struct admin_http *h, bool is_local, const char *authorization) {
    struct connection c = {.owner = h, .is_local = is_local};
    struct admin_http_request request = {.authorization = str_of(authorization)};
    return metrics_refusal(&c, &request);
}

static void metrics_want_a_token_off_loopback(void **state) {
    struct fixture *f = *state;
    struct admin_http without = {0};
    assert_int_equal(refusal_for(f->http, true, ""), 0);
    assert_int_equal(refusal_for(f->http, false, ""), 401);
    assert_int_equal(refusal_for(f->http, false, "Bearer"), 401);
    assert_int_equal(refusal_for(f->http, false, "Bearer secret1"), 401);
    assert_int_equal(refusal_for(f->http, false, "Bearer secre"), 401);
    assert_int_equal(refusal_for(f->http, false, "Basic secret"), 401);
    assert_int_equal(refusal_for(f->http, false, "bearer  secret"), 0);
    assert_int_equal(refusal_for(&without, false, "Bearer secret"), 403);
    assert_int_equal(refusal_for(&without, true, ""), 0);
}

static void token_that_was_replaced_counts(void **state) {
    struct fixture *f = *state;
    FILE *file = fopen(f->token_path, "we");
    assert_true(fputs("another\n", file) >= 0);
    fclose(file);
    assert_int_equal(refusal_for(f->http, false, "Bearer secret"), 401);
    assert_int_equal(refusal_for(f->http, false, "Bearer another"), 0);
}

static void reports_address_in_use(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    struct admin_http_config config = {
        .listen_fd = -1, .address = *admin_http_address(f->http), .answer = answer_test};
    assert_null(admin_http_create(f->loop, &config, &errors));
    assert_int_equal(errors.count, 1);
    assert_int_equal(errors.items[0].code, ERROR_ADDRESS_IN_USE);
    error_list_finish(&errors);
}

static void survives_failing_allocations(void **state) {
    struct fixture *f = *state;
    for (long nth = 0; nth < 12; nth++) {
        struct strbuf reply = {0};
        int fd = connect_to(f);
        send_text(fd, "GET /metrics HTTP/1.1\r\n\r\n");
        hg_alloc_fail_at(nth, 0);
        while (recv(fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
            ev_run(f->loop, EVRUN_ONCE);
        hg_alloc_fail_at(-1, 0);
        read_to_end(f, fd, &reply);
        close(fd);
        strbuf_finish(&reply);
    }
    answers_get(state);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answers_get),
        TEST(answers_head_without_body),
        TEST(answers_large_body),
        TEST(answers_in_pieces),
        TEST(refuses_what_it_does_not_speak),
        TEST(refuses_large_heads),
        TEST(oldest_connection_gives_way),
        TEST(metrics_want_a_token_off_loopback),
        TEST(token_that_was_replaced_counts),
        TEST(reports_address_in_use),
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
