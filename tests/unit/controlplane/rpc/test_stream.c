/* Calls as a client on a server by grpcio: streams, unary calls, TLS, back-pressure both ways, ends of every kind. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/rpc/stream.c" /* to see which operation has completed */
#include "tests/unit/controlplane/health/tls_material.h"
#include "tests/unit/controlplane/rpc/grpcio.h"

enum { MESSAGE_LIMIT = 1 << 20, SECOND = 1000000, DAY = 86400, FLOOD = 400, PIECE = 64 << 10 };

struct fixture {
    struct ev_loop *ev;
    struct rpc_loop loop;
    struct grpcio peer;
    struct rpc_channel *channel;
    struct error_list errors;
    char folder[64], target[96];
};

/* One stream and what its handlers were told. */
struct told {
    struct rpc_stream *stream;
    int connected, sent, messages, closed;
    bool reads_on;          /* asks for the next message from inside the handler */
    bool sends_on;          /* sends PIECE bytes again whenever it may */
    bool abandons;          /* goes away from inside the handler */
    size_t bytes;
    char last[128], text[256];
    grpc_status_code status;
};

#define RUN_UNTIL(f, condition) \
    while (!(condition))        \
    ev_run((f)->ev, EVRUN_ONCE)

/* ---- handlers ---- */

static char piece[PIECE];

static void on_connected(void *owner) {
    struct told *t = owner;
    assert_int_equal(t->closed, 0);
    t->connected++;
}

static void on_sent(void *owner) {
    struct told *t = owner;
    assert_int_equal(t->closed, 0);
    t->sent++;
    if (t->sends_on)
        assert_int_equal(rpc_stream_send(t->stream, (struct str){piece, sizeof piece}), 0);
}

static void on_message(void *owner, struct str bytes) {
    struct told *t = owner;
    t->messages++;
    t->bytes += bytes.n;
    snprintf(t->last, sizeof t->last, "%.*s", (int)(bytes.n < 100 ? bytes.n : 100), bytes.p);
    if (t->reads_on)
        rpc_stream_read(t->stream);
    if (t->abandons)
        rpc_stream_abandon(t->stream);
}

static void on_closed(void *owner, grpc_status_code status, struct str text) {
    struct told *t = owner;
    t->closed++;
    t->status = status;
    snprintf(t->text, sizeof t->text, "%.*s", (int)text.n, text.p);
}

static const struct rpc_stream_handlers handlers = {on_connected, on_sent, on_message, on_closed};

/* ---- the server ---- */

static struct grpcio start_peer(const char *address, const char *kind, const char *folder) {
    const char *const arguments[] = {
        "python3", "tests/unit/controlplane/rpc/stream_server.py", address, kind, folder, NULL};
    return grpcio_start(arguments);
}

/* ---- certificates ---- */

static void write_pem(const struct fixture *f, const char *name, const struct material *m, bool is_key) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(is_key ? PEM_write_PrivateKey(file, m->key, NULL, NULL, 0, NULL, NULL) : PEM_write_X509(file, m->x), 1);
    fclose(file);
}

static void write_certificates(const struct fixture *f) {
    struct material ca = material_make("authority", NULL, DAY), server = material_make("xds.example", &ca, DAY);
    struct material ours = material_make("gateway", &ca, DAY), other = material_make("stranger", NULL, DAY);
    write_pem(f, "ca.pem", &ca, false);
    write_pem(f, "server.pem", &server, false);
    write_pem(f, "server.key", &server, true);
    write_pem(f, "ours.pem", &ours, false);
    write_pem(f, "ours.key", &ours, true);
    write_pem(f, "other.pem", &other, false);
    material_finish(&ca);
    material_finish(&server);
    material_finish(&ours);
    material_finish(&other);
}

static void remove_folder(const struct fixture *f) {
    static const char *const names[] = {"ca.pem", "server.pem", "server.key", "ours.pem", "ours.key", "other.pem", "socket"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        unlink(path);
    }
    rmdir(f->folder);
}

/* ---- the fixture ---- */

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/headgate-stream-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->ev = ev_loop_new(EVFLAG_AUTO);
    assert_int_equal(rpc_loop_init(&f->loop, f->ev), 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    rpc_channel_destroy(f->channel);
    rpc_loop_finish(&f->loop);
    ev_loop_destroy(f->ev);
    grpcio_kill(&f->peer);
    remove_folder(f);
    error_list_finish(&f->errors);
    test_free(f);
    return 0;
}

static const struct rpc_channel_options plain = {.security = RPC_SECURITY_PLAINTEXT, .message_max = MESSAGE_LIMIT};

static void use(struct fixture *f, struct rpc_channel_options o) {
    rpc_channel_destroy(f->channel);
    o.target = f->target;
    o.message_max = MESSAGE_LIMIT;
    f->channel = rpc_channel_create(&f->loop, &o, &f->errors);
}

/* At the target, if one is set. */
static void serve(struct fixture *f, const char *kind) {
    bool has_target = f->target[0];
    f->peer = start_peer(has_target ? f->target : "127.0.0.1:0", kind, f->folder);
    if (!has_target)
        snprintf(f->target, sizeof f->target, "127.0.0.1:%u", f->peer.port);
    use(f, plain);
}

static void open_stream(struct fixture *f, struct told *t, const char *method, uint64_t timeout_us) {
    const struct rpc_stream_options o = {.method = method, .timeout_us = timeout_us};
    t->stream = rpc_stream_open(f->channel, &o, &handlers, t, &f->errors);
    assert_non_null(t->stream);
}

static struct told call(struct fixture *f, const char *method, const char *request) {
    const struct rpc_metadata token = {"token", "s3cret"};
    const struct rpc_stream_options o = {
        .method = method, .metadata = &token, .metadata_count = 1, .timeout_us = 60 * SECOND};
    struct told t = {0};
    t.stream = rpc_stream_call(f->channel, &o, str_of(request), &handlers, &t, &f->errors);
    assert_non_null(t.stream);
    RUN_UNTIL(f, t.closed);
    return t;
}

static void say(struct told *t, const char *text) {
    assert_int_equal(rpc_stream_send(t->stream, str_of(text)), 0);
}

/* ---- calls ---- */

static void messages_go_both_ways(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Echo", 0);
    say(&t, "one");
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.messages == 1 && t.sent == 1);
    assert_string_equal(t.last, "one");
    assert_int_equal(t.connected, 1);
    assert_true(rpc_channel_is_connected(f->channel));
    say(&t, "");
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.messages == 2 && t.sent == 2);
    assert_string_equal(t.last, "");
    rpc_stream_half_close(t.stream);
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.status, GRPC_STATUS_OK);
    assert_int_equal(t.closed, 1);
}

static void unary_call_with_metadata(void **state) {
    struct fixture *f = *state;
    serve(f, "plain");
    struct rpc_channel_options o = plain;
    o.user_agent = "headgate/test";
    use(f, o);
    struct told t = call(f, "/test.Streams/Unary", "hello");
    assert_int_equal(t.status, GRPC_STATUS_OK);
    assert_int_equal(t.messages, 1);
    assert_non_null(strstr(t.last, "hello|nobody|"));
    assert_non_null(strstr(t.last, "|s3cret"));
    assert_non_null(strstr(t.last, "headgate/test"));
}

static void status_and_text_of_the_server(void **state) {
    struct fixture *f = *state;
    struct told t = {0}, u = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Fail", 0);
    t.reads_on = true;
    rpc_stream_read(t.stream);
    say(&t, "x");
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.messages, 1);
    assert_int_equal(t.status, GRPC_STATUS_PERMISSION_DENIED);
    assert_string_equal(t.text, "not you: \u2603");
    open_stream(f, &u, "/test.Streams/AtOnce", 0); /* nothing is read: the end comes all the same */
    RUN_UNTIL(f, u.closed);
    assert_int_equal(u.status, GRPC_STATUS_UNAUTHENTICATED);
    t = call(f, "/test.Streams/Nothing", "");
    assert_int_equal(t.status, GRPC_STATUS_UNIMPLEMENTED);
}

static void end_behind_messages_that_nobody_reads(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Fail", 0);
    t.sends_on = true; /* the failure of sending is what shows the end */
    say(&t, "x");
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.messages, 0);
    assert_int_equal(t.status, GRPC_STATUS_PERMISSION_DENIED);
}

/* Whether that operation has completed, and is about to be told of. */
static bool is_due(struct rpc_loop *loop, const struct rpc_completion *completion) {
    pthread_mutex_lock(&loop->lock);
    const struct rpc_completion *c = loop->first;
    while (c && c != completion)
        c = c->next;
    pthread_mutex_unlock(&loop->lock);
    return c != NULL;
}

/* The server ends the call behind its message; here it is known first that nothing can be sent any more. */
static void message_that_is_asked_for_as_sending_fails(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Fail", 0);
    t.sends_on = true;
    say(&t, "x");
    for (;;) {
        while (!is_due(&f->loop, &t.stream->write))
            usleep(1000);
        if (!t.stream->write.ok)
            break;
        ev_run(f->ev, EVRUN_NOWAIT);
    }
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.messages, 1);
    assert_string_equal(t.last, "x");
    assert_int_equal(t.status, GRPC_STATUS_PERMISSION_DENIED);
}

static void deadline(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Hang", SECOND / 2);
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.status, GRPC_STATUS_DEADLINE_EXCEEDED);
}

static void cancelled_by_us(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Hang", 0);
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.connected);
    rpc_stream_cancel(t.stream);
    assert_int_equal(t.closed, 0); /* not from inside */
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.status, GRPC_STATUS_CANCELLED);
}

static void owners_that_go_away(void **state) {
    struct fixture *f = *state;
    struct told before = {0}, during = {.abandons = true};
    serve(f, "plain");
    open_stream(f, &before, "/test.Streams/Echo", 0);
    rpc_stream_abandon(before.stream); /* before it is connected */
    open_stream(f, &during, "/test.Streams/Echo", 0);
    say(&during, "bye");
    rpc_stream_read(during.stream);
    RUN_UNTIL(f, during.messages);
    assert_int_equal(call(f, "/test.Streams/Unary", "still").status, GRPC_STATUS_OK);
    assert_int_equal(before.connected + before.closed + during.closed, 0);
}

/* The rest of the clean end is the teardown's: loop and channel go while completions are still to come. */
static void going_away_at_the_end_of_all(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Hang", 0);
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.connected);
    rpc_stream_abandon(t.stream);
}

/* ---- back-pressure ---- */

static void server_sends_no_more_than_is_read(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Flood", 0);
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.messages == 1);
    struct told made = {0};
    for (int i = 0; i < 20; i++) /* time for a server that would not stop to show it */
        made = call(f, "/test.Streams/Count", "");
    assert_true(strtol(made.last, NULL, 10) < FLOOD / 2);
    assert_int_equal(t.messages, 1);
    t.reads_on = true;
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.status, GRPC_STATUS_OK);
    assert_int_equal(t.messages, FLOOD);
    assert_int_equal(t.bytes, FLOOD * PIECE);
}

static void sent_waits_for_a_server_that_does_not_read(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    open_stream(f, &t, "/test.Streams/Swallow", 0);
    t.sends_on = true;
    say(&t, "first");
    for (int i = 0; i < 20; i++)
        call(f, "/test.Streams/Count", "");
    assert_true(rpc_stream_is_sending(t.stream));
    int stuck_at = t.sent;
    assert_true(stuck_at < FLOOD / 2);
    call(f, "/test.Streams/Open", "");
    RUN_UNTIL(f, t.sent >= FLOOD);
    t.sends_on = false;
    rpc_stream_half_close(t.stream);
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.closed);
    assert_int_equal(strtol(t.last, NULL, 10), t.sent);
}

static void message_over_the_limit(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    char *large = calloc(1, MESSAGE_LIMIT + 1);
    assert_non_null(large);
    open_stream(f, &t, "/test.Streams/Echo", 0);
    assert_int_equal(rpc_stream_send(t.stream, (struct str){large, MESSAGE_LIMIT}), 0);
    t.reads_on = true;
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.messages == 1 && t.sent == 1);
    assert_int_equal(t.bytes, MESSAGE_LIMIT);
    assert_int_equal(rpc_stream_send(t.stream, (struct str){large, MESSAGE_LIMIT + 1}), 0);
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.status, GRPC_STATUS_RESOURCE_EXHAUSTED);
    free(large);
}

/* Of one message that is small on the wire, and would be 256 MiB. */
static void compressed_message(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    open_stream(f, &t, "/test.Streams/Bomb", 0);
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.closed || t.messages);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(t.messages, 0);
    assert_int_equal(t.status, GRPC_STATUS_UNIMPLEMENTED);
    assert_true(after.ru_maxrss - before.ru_maxrss < 100 << 10); /* KiB */
}

/* It is stopped and not ended: its connection stays, and nothing comes of it. */
static void a_server_that_hangs_is_noticed(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    struct rpc_channel_options o = plain;
    serve(f, "plain");
    o.keepalive_us = o.keepalive_timeout_us = SECOND / 5;
    use(f, o);
    open_stream(f, &t, "/test.Streams/Hang", 0);
    say(&t, "x");
    RUN_UNTIL(f, t.connected && t.sent);
    assert_int_equal(kill(f->peer.pid, SIGSTOP), 0);
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.status, GRPC_STATUS_UNAVAILABLE);
}

/* ---- servers that are not there ---- */

static struct told try_once(struct fixture *f) {
    struct told t = {0};
    open_stream(f, &t, "/test.Streams/Echo", 60 * SECOND);
    say(&t, "x");
    rpc_stream_read(t.stream);
    RUN_UNTIL(f, t.closed || t.messages);
    if (!t.closed)
        rpc_stream_abandon(t.stream);
    return t;
}

/* At a socket that nobody else can take while its server is away. */
static void nobody_there_then_somebody(void **state) {
    struct fixture *f = *state;
    snprintf(f->target, sizeof f->target, "unix:%s/socket", f->folder);
    serve(f, "plain");
    assert_int_equal(try_once(f).messages, 1);
    struct told open = {0};
    open_stream(f, &open, "/test.Streams/Hang", 0);
    rpc_stream_read(open.stream);
    RUN_UNTIL(f, open.connected);
    grpcio_kill(&f->peer);
    RUN_UNTIL(f, open.closed);
    assert_int_equal(open.status, GRPC_STATUS_UNAVAILABLE);
    for (int i = 0; i < 3; i++) { /* each tries at once, and nothing was ever sent */
        struct told t = try_once(f);
        assert_int_equal(t.status, GRPC_STATUS_UNAVAILABLE);
        assert_int_equal(t.sent + t.connected, 0);
        assert_true(strlen(t.text) > 0);
    }
    assert_false(rpc_channel_is_connected(f->channel));
    f->peer = start_peer(f->target, "plain", f->folder);
    assert_int_equal(try_once(f).messages, 1);
}

/* A connection that is still there, as gRPC has it: it may be that of a server that has just died. */
static void unavailable_server_is_connected_to_anew(void **state) {
    struct fixture *f = *state;
    serve(f, "plain");
    struct told first = call(f, "/test.Streams/Peer", ""), again = call(f, "/test.Streams/Peer", "");
    assert_string_equal(first.last, again.last);
    assert_int_equal(call(f, "/test.Streams/Unavailable", "").status, GRPC_STATUS_UNAVAILABLE);
    assert_true(rpc_channel_is_connected(f->channel));
    again = call(f, "/test.Streams/Peer", "");
    assert_int_equal(again.status, GRPC_STATUS_OK);
    assert_string_not_equal(first.last, again.last);
}

/* No DNS server is asked for a label of 64 bytes, so none can keep us waiting. */
static void name_that_cannot_be_resolved(void **state) {
    struct fixture *f = *state;
    snprintf(f->target, sizeof f->target, "%064d.invalid:1", 0);
    use(f, plain);
    struct told t = try_once(f);
    assert_int_equal(t.status, GRPC_STATUS_UNAVAILABLE);
}

/* ---- TLS ---- */

static struct rpc_channel_options tls_options(const struct fixture *f, char paths[3][96]) {
    static const char *const names[] = {"ca.pem", "ours.pem", "ours.key"};
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], 96, "%s/%s", f->folder, names[i]);
    return (struct rpc_channel_options){
        .security = RPC_SECURITY_TLS, .authority.path = paths[0], .server_name = "xds.example"};
}

static void tls_with_an_authority_of_our_own(void **state) {
    struct fixture *f = *state;
    char paths[3][96];
    write_certificates(f);
    serve(f, "tls");
    struct rpc_channel_options o = tls_options(f, paths);
    use(f, o);
    assert_int_equal(call(f, "/test.Streams/Unary", "x").status, GRPC_STATUS_OK);
    o.server_name = "another.example";
    use(f, o);
    assert_int_equal(call(f, "/test.Streams/Unary", "x").status, GRPC_STATUS_UNAVAILABLE);
    o.server_name = "xds.example";
    o.authority = (struct rpc_pem){0}; /* the system's, who do not know this server */
    use(f, o);
    assert_int_equal(call(f, "/test.Streams/Unary", "x").status, GRPC_STATUS_UNAVAILABLE);
    use(f, plain);
    assert_int_equal(call(f, "/test.Streams/Unary", "x").status, GRPC_STATUS_UNAVAILABLE);
}

static void mutual_tls(void **state) {
    struct fixture *f = *state;
    char paths[3][96];
    write_certificates(f);
    serve(f, "mtls");
    struct rpc_channel_options o = tls_options(f, paths);
    use(f, o);
    assert_int_equal(call(f, "/test.Streams/Unary", "x").status, GRPC_STATUS_UNAVAILABLE);
    o.certificate.path = paths[1];
    o.key.path = paths[2];
    use(f, o);
    struct told t = call(f, "/test.Streams/Unary", "x");
    assert_int_equal(t.status, GRPC_STATUS_OK);
    assert_non_null(strstr(t.last, "x|gateway|"));
}

static void files_are_read_again_for_a_new_connection(void **state) {
    struct fixture *f = *state;
    char paths[3][96], old[128], new[128];
    write_certificates(f);
    serve(f, "tls");
    use(f, tls_options(f, paths));
    snprintf(old, sizeof old, "%s/other.pem", f->folder);
    snprintf(new, sizeof new, "%s/ca.pem", f->folder);
    assert_int_equal(rename(old, new), 0); /* an authority that has not issued the server's */
    assert_int_equal(call(f, "/test.Streams/Unary", "x").status, GRPC_STATUS_UNAVAILABLE);
    unlink(new);
    const struct rpc_stream_options none = {.method = "/test.Streams/Unary"};
    assert_null(rpc_stream_open(f->channel, &none, &handlers, NULL, &f->errors));
    assert_non_null(strstr(f->errors.items[0].message, "ca.pem"));
}

/* ---- what is refused before anything is connected ---- */

static void expect_refused(struct fixture *f, const struct rpc_channel_options *o, const char *text) {
    error_list_finish(&f->errors);
    f->errors = (struct error_list){0};
    assert_null(rpc_channel_create(&f->loop, o, &f->errors));
    assert_int_equal(f->errors.count, 1);
    assert_non_null(strstr(f->errors.items[0].message, text));
}

static void options_that_make_no_sense(void **state) {
    struct fixture *f = *state;
    char paths[3][96], other[96];
    write_certificates(f);
    snprintf(other, sizeof other, "%s/server.key", f->folder);
    struct rpc_channel_options o = {.target = "x:1"};
    expect_refused(f, &o, "TLS, or to be said to have none");
    o = (struct rpc_channel_options){.security = RPC_SECURITY_PLAINTEXT};
    expect_refused(f, &o, "an address");
    o = (struct rpc_channel_options){.target = "x:1", .security = RPC_SECURITY_PLAINTEXT, .authority.path = "/x"};
    expect_refused(f, &o, "no certificates without TLS");
    o = tls_options(f, paths);
    o.target = "x:1";
    o.certificate.path = paths[1];
    expect_refused(f, &o, "given together");
    o.key.path = other;
    expect_refused(f, &o, "is not the key of the certificate");
    o.key.path = paths[0];
    expect_refused(f, &o, "no PEM key");
    o.key.path = paths[2];
    o.authority = (struct rpc_pem){.text = "nothing"};
    expect_refused(f, &o, "no PEM certificate in the text that was given");
}

static void metadata_that_cannot_be_sent(void **state) {
    struct fixture *f = *state;
    const struct rpc_metadata bad[] = {{"token", "a\nb"}, {"Token", "x"}};
    snprintf(f->target, sizeof f->target, "127.0.0.1:1");
    use(f, plain);
    for (size_t i = 0; i < 2; i++) {
        const struct rpc_stream_options o = {.method = "/x/Y", .metadata = &bad[i], .metadata_count = 1};
        assert_null(rpc_stream_open(f->channel, &o, &handlers, NULL, &f->errors));
        assert_int_equal(f->errors.count, i + 1);
    }
}

/* ---- without memory ---- */

static struct rpc_channel *call_without(struct fixture *f, long nth, struct told *t) {
    const struct rpc_stream_options call_options = {.method = "/test.Streams/Unary"};
    struct rpc_channel_options o = plain;
    o.target = f->target;
    hg_alloc_fail_at(nth, 0);
    struct rpc_channel *c = rpc_channel_create(&f->loop, &o, &f->errors);
    t->stream = c ? rpc_stream_call(c, &call_options, STR("x"), &handlers, t, &f->errors) : NULL;
    hg_alloc_fail_at(-1, 0);
    return c;
}

static void every_allocation_fails_once(void **state) {
    struct fixture *f = *state;
    struct told t = {0};
    serve(f, "plain");
    uint64_t before = hg_alloc_count();
    struct rpc_channel *c = call_without(f, -1, &t);
    long count = (long)(hg_alloc_count() - before);
    RUN_UNTIL(f, t.closed);
    assert_int_equal(t.status, GRPC_STATUS_OK);
    rpc_channel_destroy(c);
    assert_true(count >= 5);
    for (long i = 0; i < count; i++) {
        error_list_finish(&f->errors);
        f->errors = (struct error_list){0};
        c = call_without(f, i, &t);
        assert_null(t.stream);
        assert_int_equal(f->errors.items[0].code, ERROR_MEMORY);
        rpc_channel_destroy(c);
    }
    assert_int_equal(t.closed, 1);
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(messages_go_both_ways),
        TEST(unary_call_with_metadata),
        TEST(status_and_text_of_the_server),
        TEST(end_behind_messages_that_nobody_reads),
        TEST(message_that_is_asked_for_as_sending_fails),
        TEST(deadline),
        TEST(cancelled_by_us),
        TEST(owners_that_go_away),
        TEST(going_away_at_the_end_of_all),
        TEST(server_sends_no_more_than_is_read),
        TEST(sent_waits_for_a_server_that_does_not_read),
        TEST(message_over_the_limit),
        TEST(compressed_message),
        TEST(a_server_that_hangs_is_noticed),
        TEST(nobody_there_then_somebody),
        TEST(unavailable_server_is_connected_to_anew),
        TEST(name_that_cannot_be_resolved),
        TEST(tls_with_an_authority_of_our_own),
        TEST(mutual_tls),
        TEST(files_are_read_again_for_a_new_connection),
        TEST(options_that_make_no_sense),
        TEST(metadata_that_cannot_be_sent),
        TEST(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
