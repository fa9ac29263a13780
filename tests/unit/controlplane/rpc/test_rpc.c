/* A server and the blocking client in one process: unary calls, streams' ends, limits, sockets. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "controlplane/rpc/client.h"
#include "controlplane/rpc/credentials.h"
#include "controlplane/rpc/message.h"
#include "controlplane/rpc/server.h"
#include "proto/admin.pb-c.h"
#include "tests/unit/controlplane/rpc/grpcio.h"

enum { MESSAGE_LIMIT = 1 << 20, SECOND = 1000000 };

struct fixture {
    struct ev_loop *ev;
    struct rpc_loop loop;
    struct rpc_server *server;
    char folder[64], path[96], address[128];
    struct rpc_call *held; /* by the method that never answers */
    int closed;
    bool is_stopped;
    /* What the client's thread is asked to do, and what came of it. */
    pthread_t thread;
    const char *method;
    size_t request_size;
    uint64_t timeout_us;
    int ticks;
    grpc_status_code status;
    char reply[64], error[256];
    ev_async finished;
    bool has_finished;       /* the client's thread is done; kept, since any turn of the loop may see it */
};

/* ---- methods of the server ---- */

struct echo {
    struct fixture *fixture;
    struct rpc_call *call;
};

static void on_echo(void *owner, const ProtobufCMessage *m) {
    struct echo *e = owner;
    const Headgate__TextReply *request = (const Headgate__TextReply *)m;
    char text[64];
    Headgate__TextReply reply = HEADGATE__TEXT_REPLY__INIT;
    snprintf(text, sizeof text, "%zu bytes", strlen(request->text));
    reply.text = text;
    rpc_call_reply(e->call, &reply.base);
}

static void ignore_half_close(void *owner) {
    (void)owner;
}

static void on_echo_closed(void *owner) {
    struct echo *e = owner;
    e->fixture->closed++;
    free(e); /* not the test's: it may outlive it until the server has stopped */
}

static const struct rpc_call_handlers echo_handlers = {.type = &headgate__text_reply__descriptor,
                                                       .message = on_echo,
                                                       .half_closed = ignore_half_close,
                                                       .closed = on_echo_closed};

static void start_echo(void *context, const struct rpc_method *method, struct rpc_call *call) {
    struct echo *e = malloc(sizeof *e);
    assert_non_null(e);
    assert_string_equal(method->detail, "detail");
    *e = (struct echo){context, call};
    rpc_call_accept(call, &echo_handlers, e);
}

static void ignore_message(void *owner, const ProtobufCMessage *m) {
    (void)owner;
    (void)m;
}

static void on_held_closed(void *owner) {
    struct fixture *f = owner;
    f->closed++;
    f->held = NULL;
}

static const struct rpc_call_handlers held_handlers = {.type = &headgate__text_reply__descriptor,
                                                       .message = ignore_message,
                                                       .half_closed = ignore_half_close,
                                                       .closed = on_held_closed};

static void start_held(void *context, const struct rpc_method *method, struct rpc_call *call) {
    struct fixture *f = context;
    (void)method;
    f->held = call;
    rpc_call_accept(call, &held_handlers, f);
}

static void start_refused(void *context, const struct rpc_method *method, struct rpc_call *call) {
    (void)context;
    (void)method;
    rpc_call_finish(call, GRPC_STATUS_PERMISSION_DENIED, "not you");
}

static const struct rpc_method methods[] = {{"/test/Echo", start_echo, "detail"},
                                            {"/test/Hold", start_held, NULL},
                                            {"/test/Refuse", start_refused, NULL},
                                            {0}};

/* ---- the client's thread ---- */

static void on_tick(void *context, uint64_t elapsed_us) {
    struct fixture *f = context;
    (void)elapsed_us;
    f->ticks++;
}

static void call_once(struct fixture *f, struct rpc_client *client) {
    Headgate__TextReply request = HEADGATE__TEXT_REPLY__INIT;
    struct error_list errors = {0};
    request.text = malloc(f->request_size + 1);
    memset(request.text, 'x', f->request_size);
    request.text[f->request_size] = '\0';
    const struct rpc_client_call call = {.method = f->method,
                                         .request = &request.base,
                                         .reply_type = &headgate__text_reply__descriptor,
                                         .timeout_us = f->timeout_us,
                                         .waiting = on_tick,
                                         .context = f};
    Headgate__TextReply *reply = (Headgate__TextReply *)rpc_client_call(client, &call, &f->status, &errors);
    snprintf(f->reply, sizeof f->reply, "%s", reply ? reply->text : "");
    snprintf(f->error, sizeof f->error, "%s", errors.count ? errors.items[0].message : "");
    if (reply)
        headgate__text_reply__free_unpacked(reply, NULL);
    error_list_finish(&errors);
    free(request.text);
}

static void *client_thread(void *arg) {
    struct fixture *f = arg;
    struct rpc_client *client = rpc_client_create(f->address, MESSAGE_LIMIT);
    call_once(f, client);
    rpc_client_destroy(client);
    ev_async_send(f->ev, &f->finished);
    return NULL;
}

static void on_finished(struct ev_loop *ev, ev_async *watcher, int events) {
    (void)events;
    ((struct fixture *)watcher->data)->has_finished = true;
    ev_break(ev, EVBREAK_ALL);
}

static void start_call(struct fixture *f, const char *method, size_t size, uint64_t timeout_us) {
    f->method = method;
    f->request_size = size;
    f->timeout_us = timeout_us;
    f->has_finished = false;
    assert_int_equal(pthread_create(&f->thread, NULL, client_thread, f), 0);
}

static void finish_call(struct fixture *f) {
    while (!f->has_finished)
        ev_run(f->ev, EVRUN_ONCE);
    pthread_join(f->thread, NULL);
}

static void call(struct fixture *f, const char *method, size_t size, uint64_t timeout_us) {
    start_call(f, method, size, timeout_us);
    finish_call(f);
}

/* ---- the fixture ---- */

static struct rpc_server *make_server(struct fixture *f) {
    const struct rpc_server_config config = {.methods = methods,
                                             .context = f,
                                             .message_max = MESSAGE_LIMIT,
                                             .calls_max = 4,
                                             .memory_max = 64 << 20};
    struct error_list errors = {0};
    struct rpc_server *server = rpc_server_create(&f->loop, &config, &errors);
    assert_non_null(server);
    return server;
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    struct error_list errors = {0};
    snprintf(f->folder, sizeof f->folder, "/tmp/headgate-rpc-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/s.sock", f->folder);
    snprintf(f->address, sizeof f->address, "unix:%s", f->path);
    f->ev = ev_loop_new(EVFLAG_AUTO);
    ev_async_init(&f->finished, on_finished);
    f->finished.data = f;
    ev_async_start(f->ev, &f->finished);
    assert_int_equal(rpc_loop_init(&f->loop, f->ev), 0);
    f->server = make_server(f);
    assert_int_equal(rpc_server_listen_unix(f->server, f->path, 0640, -1, &errors), 0);
    rpc_server_start(f->server);
    *state = f;
    return 0;
}

static void on_stopped(void *context) {
    struct fixture *f = context;
    f->is_stopped = true;
}

static void stop(struct fixture *f, struct rpc_server *server, bool cancel) {
    f->is_stopped = false;
    rpc_server_stop(server, cancel, on_stopped, f);
    while (!f->is_stopped)
        ev_run(f->ev, EVRUN_ONCE);
    rpc_server_destroy(server);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    if (f->server)
        stop(f, f->server, true);
    rpc_loop_finish(&f->loop);
    ev_loop_destroy(f->ev);
    unlink(f->path);
    rmdir(f->folder);
    test_free(f);
    return 0;
}

/* ---- calls ---- */

static void unary_call(void **state) {
    struct fixture *f = *state;
    call(f, "/test/Echo", 1000, 30 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_OK);
    assert_string_equal(f->reply, "1000 bytes");
    for (int i = 0; i < 20; i++)
        call(f, "/test/Echo", (size_t)i, 30 * SECOND);
    assert_string_equal(f->reply, "19 bytes");
    while (f->closed < 21) /* the server may learn of the end after the client */
        ev_run(f->ev, EVRUN_ONCE);
    assert_int_equal(f->closed, 21);
}

static void unknown_method(void **state) {
    struct fixture *f = *state;
    call(f, "/test/Nothing", 1, 30 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_UNIMPLEMENTED);
    assert_string_equal(f->error, "no such method on this socket");
}

static void refusal_has_its_text(void **state) {
    struct fixture *f = *state;
    call(f, "/test/Refuse", 1, 30 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_PERMISSION_DENIED);
    assert_string_equal(f->error, "not you");
}

static void message_over_the_limit(void **state) {
    struct fixture *f = *state;
    call(f, "/test/Echo", MESSAGE_LIMIT + 1, 30 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_RESOURCE_EXHAUSTED);
    call(f, "/test/Echo", MESSAGE_LIMIT - 100, 30 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_OK);
}

static void *compressing_thread(void *arg) {
    struct fixture *f = arg;
    char command[512];
    snprintf(command, sizeof command, "exec /usr/bin/python3 tests/unit/controlplane/rpc/compressing_client.py %s %s %u",
             f->address, f->method, 64U << 20);
    int status = system(command);
    f->status = WIFEXITED(status) ? (grpc_status_code)WEXITSTATUS(status) : GRPC_STATUS_UNKNOWN;
    ev_async_send(f->ev, &f->finished);
    return NULL;
}

/* It would be 64 times as large as one may be. */
static void compressed_message(void **state) {
    struct fixture *f = *state;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    f->method = "/test/Echo";
    f->has_finished = false;
    assert_int_equal(pthread_create(&f->thread, NULL, compressing_thread, f), 0);
    finish_call(f);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(f->status, GRPC_STATUS_UNIMPLEMENTED);
    assert_true(after.ru_maxrss - before.ru_maxrss < 30 << 10); /* KiB */
}

static void client_that_gives_up(void **state) {
    struct fixture *f = *state;
    call(f, "/test/Hold", 1, 2 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_DEADLINE_EXCEEDED);
    assert_true(f->ticks > 0);
    while (f->closed == 0)
        ev_run(f->ev, EVRUN_ONCE);
    assert_null(f->held);
}

static void wait_for_held(struct fixture *f) {
    while (!f->held)
        ev_run(f->ev, EVRUN_ONCE);
}

static void call_cancelled_by_us(void **state) {
    struct fixture *f = *state;
    start_call(f, "/test/Hold", 1, 30 * SECOND);
    wait_for_held(f);
    rpc_call_cancel(f->held, GRPC_STATUS_ABORTED, "enough");
    finish_call(f);
    assert_int_not_equal(f->status, GRPC_STATUS_OK);
    while (f->closed == 0)
        ev_run(f->ev, EVRUN_ONCE);
}

static void owner_that_goes_away(void **state) {
    struct fixture *f = *state;
    start_call(f, "/test/Hold", 1, 30 * SECOND);
    wait_for_held(f);
    rpc_call_finish(f->held, GRPC_STATUS_UNAVAILABLE, "gone");
    rpc_call_detach(f->held);
    finish_call(f);
    assert_int_equal(f->status, GRPC_STATUS_UNAVAILABLE);
    assert_string_equal(f->error, "gone");
    assert_int_equal(f->closed, 0);
}

static void nobody_listens(void **state) {
    struct fixture *f = *state;
    snprintf(f->address, sizeof f->address, "unix:%s/nobody.sock", f->folder);
    call(f, "/test/Echo", 1, 30 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_UNAVAILABLE);
}

static void stopping_waits_for_calls_or_cuts_them(void **state) {
    struct fixture *f = *state;
    start_call(f, "/test/Hold", 1, 30 * SECOND);
    wait_for_held(f);
    f->is_stopped = false;
    rpc_server_stop(f->server, false, on_stopped, f);
    for (int i = 0; i < 5; i++)
        ev_run(f->ev, EVRUN_NOWAIT);
    assert_false(f->is_stopped);
    rpc_server_cancel(f->server);
    while (!f->is_stopped)
        ev_run(f->ev, EVRUN_ONCE);
    finish_call(f);
    assert_int_equal(f->closed, 1);
    rpc_server_destroy(f->server);
    f->server = NULL;
}

/* A signal while a start that has failed closes what there is. */
static void a_server_that_never_was_is_cut_and_destroyed(void **state) {
    (void)state;
    rpc_server_cancel(NULL);
    rpc_server_destroy(NULL);
}

/* ---- sockets ---- */

static void socket_has_its_mode(void **state) {
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void live_socket_is_not_taken(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    struct rpc_server *second = make_server(f);
    assert_int_equal(rpc_server_listen_unix(second, f->path, 0600, -1, &errors), -1);
    assert_int_equal(errors.items[0].code, ERROR_ADDRESS_IN_USE);
    rpc_server_destroy(second);
    call(f, "/test/Echo", 1, 30 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_OK);
    error_list_finish(&errors);
}

/* A socket file whose process has died. */
static void leave_stale_socket(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(fd);
}

static void stale_socket_is_taken(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    snprintf(f->path, sizeof f->path, "%s/t.sock", f->folder);
    snprintf(f->address, sizeof f->address, "unix:%s", f->path);
    leave_stale_socket(f->path);
    struct rpc_server *second = make_server(f);
    assert_int_equal(rpc_server_listen_unix(second, f->path, 0600, -1, &errors), 0);
    rpc_server_start(second);
    call(f, "/test/Echo", 1, 30 * SECOND);
    assert_int_equal(f->status, GRPC_STATUS_OK);
    stop(f, second, true);
}

static void other_files_are_left_alone(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    char path[96];
    snprintf(path, sizeof path, "%s/file", f->folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    struct rpc_server *second = make_server(f);
    assert_int_equal(rpc_server_listen_unix(second, path, 0600, -1, &errors), -1);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    char long_path[200];
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    assert_int_equal(rpc_server_listen_unix(second, long_path, 0600, -1, &errors), -1);
    assert_int_equal(errors.items[1].code, ERROR_RANGE);
    rpc_server_destroy(second);
    error_list_finish(&errors);
}

static void unusable_certificates_are_told(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    const struct rpc_tls_files files = {
        .certificate = "/nowhere/cert.pem", .key = "/nowhere/key.pem", .authority = f->folder};
    assert_null(rpc_tls_create(&files, &errors));
    assert_int_equal(errors.count, 3);
    assert_non_null(strstr(errors.items[0].message, "/nowhere/cert.pem"));
    error_list_finish(&errors);
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(unary_call),
        TEST(unknown_method),
        TEST(refusal_has_its_text),
        TEST(message_over_the_limit),
        TEST(compressed_message),
        TEST(client_that_gives_up),
        TEST(call_cancelled_by_us),
        TEST(owner_that_goes_away),
        TEST(nobody_listens),
        TEST(a_server_that_never_was_is_cut_and_destroyed),
        TEST(stopping_waits_for_calls_or_cuts_them),
        TEST(socket_has_its_mode),
        TEST(live_socket_is_not_taken),
        TEST(stale_socket_is_taken),
        TEST(other_files_are_left_alone),
        TEST(unusable_certificates_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
