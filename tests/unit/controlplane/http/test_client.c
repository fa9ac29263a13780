/* HTTP calls on the loop: how they end, and that nothing is heard after that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "controlplane/http/client.h"

struct fixture {
    struct ev_loop *loop;
    struct http_client *client;
    struct http_call *call;
    int listener, peer;                 /* the server's sockets; -1: none */
    ev_io accepting;
    const char *answer;                 /* what it says to each connection */
    char url[64];
    char body[256];
    unsigned heads, status, dones;
    char reason[256];                   /* empty: the answer was whole */
    bool refuses, cancels;
};

static void on_head(void *context, unsigned status) {
    struct fixture *f = context;
    f->heads++;
    f->status = status;
}

static bool on_data(void *context, unsigned status, struct str piece) {
    struct fixture *f = context;
    (void)status;
    size_t n = strlen(f->body);
    snprintf(f->body + n, sizeof f->body - n, "%.*s", STR_FMT(piece));
    if (f->cancels) {
        http_call_cancel(f->call);
        ev_break(f->loop, EVBREAK_ALL);
    }
    return !f->refuses;
}

static void on_done(void *context, unsigned status, const char *reason) {
    struct fixture *f = context;
    f->dones++;
    f->status = status;
    snprintf(f->reason, sizeof f->reason, "%s", reason ? reason : "");
    ev_break(f->loop, EVBREAK_ALL);
}

static const struct http_call_ops ops = {.head = on_head, .data = on_data, .done = on_done};

static void on_accept(struct ev_loop *loop, ev_io *io, int events) {
    (void)loop;
    (void)events;
    struct fixture *f = io->data;
    char request[4096];
    f->peer = accept(io->fd, NULL, NULL);
    assert_true(f->peer >= 0 && read(f->peer, request, sizeof request) > 0);
    assert_int_equal(write(f->peer, f->answer, strlen(f->answer)), (ssize_t)strlen(f->answer));
    shutdown(f->peer, SHUT_WR);
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->client = http_client_create(f->loop);
    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    f->peer = -1;
    assert_non_null(f->client);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(f->listener, 8), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&a, &size), 0);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u/x", ntohs(a.sin_port));
    ev_io_init(&f->accepting, on_accept, f->listener, EV_READ);
    f->accepting.data = f;
    ev_io_start(f->loop, &f->accepting);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    http_client_destroy(f->client);
    ev_io_stop(f->loop, &f->accepting);
    close(f->listener);
    if (f->peer >= 0)
        close(f->peer);
    ev_loop_destroy(f->loop);
    test_free(f);
    return 0;
}

static void run(struct fixture *f, const char *answer) {
    const char *const fields[] = {"Accept: application/json", NULL};
    const struct http_request request = {.method = "GET", .url = f->url, .fields = fields};
    f->answer = answer;
    f->call = http_call_start(f->client, &request, &ops, f);
    assert_non_null(f->call);
    ev_run(f->loop, 0);
}

static void an_answer_is_handed_over(void **state) {
    struct fixture *f = *state;
    run(f, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(f->heads, 1);
    assert_int_equal(f->status, 200);
    assert_string_equal(f->body, "hello");
    assert_string_equal(f->reason, "");
}

static void a_bad_status_is_an_answer(void **state) {
    struct fixture *f = *state;
    run(f, "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(f->status, 410);
    assert_string_equal(f->reason, "");
}

static void an_answer_that_is_cut_has_failed(void **state) {
    struct fixture *f = *state;
    run(f, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
    assert_int_equal(f->status, 200);
    assert_string_equal(f->body, "hello");
    assert_non_null(strstr(f->reason, "4 bytes"));
}

/* The URL has the name, the request who is connected to. */
static void another_place_may_be_reached(void **state) {
    struct fixture *f = *state;
    const char *reach = strchr(f->url + strlen("http://"), ':') + 1;
    char place[64];
    snprintf(place, sizeof place, "127.0.0.1:%.*s", (int)strcspn(reach, "/"), reach);
    const struct http_request request = {.method = "GET", .url = "http://no-such-name.test:7/", .reach = place};
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    f->call = http_call_start(f->client, &request, &ops, f);
    assert_non_null(f->call);
    ev_run(f->loop, 0);
    assert_int_equal(f->status, 200);
}

static void a_local_socket_may_be_reached(void **state) {
    struct fixture *f = *state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/headgate-http-XXXXXX";
    assert_non_null(mkdtemp(folder));
    snprintf(a.sun_path, sizeof a.sun_path, "%s/s", folder);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    ev_io_stop(f->loop, &f->accepting);
    ev_io_set(&f->accepting, listener, EV_READ);
    ev_io_start(f->loop, &f->accepting);
    const struct http_request request = {.method = "GET", .url = "http://localhost/", .socket = a.sun_path};
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    f->call = http_call_start(f->client, &request, &ops, f);
    assert_non_null(f->call);
    ev_run(f->loop, 0);
    assert_int_equal(f->status, 200);
    close(listener);
    unlink(a.sun_path);
    rmdir(folder);
}

static void nobody_listens(void **state) {
    struct fixture *f = *state;
    ev_io_stop(f->loop, &f->accepting);
    close(f->listener);
    f->listener = -1;
    run(f, "");
    assert_int_equal(f->status, 0);
    assert_non_null(strstr(f->reason, "connect"));
}

static void its_reader_may_refuse_the_rest(void **state) {
    struct fixture *f = *state;
    f->refuses = true;
    run(f, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_string_equal(f->reason, "refused by its reader");
}

static void nothing_is_heard_of_a_call_that_was_cancelled(void **state) {
    struct fixture *f = *state;
    f->cancels = true;
    run(f, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(f->dones, 0);
    const struct http_request request = {.method = "GET", .url = f->url};
    http_call_cancel(http_call_start(f->client, &request, &ops, f)); /* before anything has happened */
    ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(f->dones, 0);
}

static void parts_of_urls_are_escaped(void **state) {
    (void)state;
    struct strbuf text = {0};
    http_escape(STR("a/b c=~\xff"), &text);
    assert_string_equal(text.p, "a%2Fb%20c%3D~%FF");
    strbuf_finish(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_handed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_status_is_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_that_is_cut_has_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(another_place_may_be_reached, setup, teardown),
        cmocka_unit_test_setup_teardown(a_local_socket_may_be_reached, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(its_reader_may_refuse_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_heard_of_a_call_that_was_cancelled, setup, teardown),
        cmocka_unit_test(parts_of_urls_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
