/* A whole HTTP/2 connection to an origin, whose bytes are the input: the check of frames, the library, streams, heads and
 * the exchange, with clients that ask at the beginning and whenever a request of theirs is over. The first byte of the
 * input says how the rest is cut, and whether requests have bodies; a byte of 0xff at the beginning of a piece lets an hour
 * pass. Nothing may leak, and no budget may be left used. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "dataplane/codec/h2/client.h"
#include "dataplane/codec/h2/session.h"
#include "dataplane/codec/loopback/loopback.h"
#include "tests/fuzz/h2_feed.h"

enum { CALLS = 4, CALLS_IN_ALL = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct http2_options       http2;
static struct client_connection  *the_link;      /* NULL: closed */
static int                        listening = -1;
static struct address             address;
static char                       body[20000];
static bool                       has_bodies;

static struct call {
    struct loopback loop;
    struct head     head;
    bool            is_used;
} calls[CALLS];
static unsigned asked;

/* ---- the owner of the connection, which is a pool else */

static void ignore_link(struct client_connection *link) {
    (void)link;
}

static void forget_link(struct client_connection *link) {
    CHECK(link == the_link);
    the_link = NULL;
}

static void on_connect_failed(struct client_connection *link, int error) {
    (void)error;
    forget_link(link);
}

static void on_draining(struct client_connection *link) {
    link->is_draining = true;
}

static const struct client_owner_ops owner = {
    .on_connected = ignore_link, .on_connect_failed = on_connect_failed, .on_available = ignore_link,
    .on_capacity = ignore_link, .on_draining = on_draining, .on_closed = forget_link,
};

/* ---- exchanges */

static void terminal_start(struct exchange *x) {
    enum abort_code bad = exchange_prepare_forward(x);
    bool is_usable = the_link && the_link->is_connected && !the_link->is_draining;
    struct leg *leg = !bad && is_usable ? h2_client_codec.open(the_link) : NULL;
    if (leg)
        exchange_attach_back(x, leg);
    else
        exchange_fail(x, bad ? bad : ABORT_NO_ENDPOINT);
}

static bool terminal_retry(struct exchange *x, enum abort_code code) {
    (void)x;
    (void)code;
    return false;
}

static void terminal_deadline(struct exchange *x) {
    exchange_fail(x, ABORT_ORIGIN_TIMEOUT);
}

static const struct terminal_ops terminal = {
    .name = "one connection", .start = terminal_start, .retry = terminal_retry, .on_deadline = terminal_deadline};

static void ask(struct call *c) {
    static const struct exchange_origin from = {.listener = &definition, .peer = STR("192.0.2.1"), .version = 11};
    bool is_head = asked % 4 == 3;
    *c = (struct call){.is_used = true};
    asked++;
    loopback_init(&c->loop, &worker);
    head_init(&c->head);
    c->head.method = has_bodies ? METHOD_POST : is_head ? METHOD_HEAD : METHOD_GET;
    c->head.method_text = method_name(c->head.method);
    c->head.host = c->head.authority = STR("example.com");
    c->head.target = c->head.path = STR("/");
    c->head.content_length = has_bodies ? (int64_t)sizeof body : -1;
    c->head.version = 11;
    c->loop.to_send = (struct str){body, has_bodies ? sizeof body : 0};
    c->loop.has_ended = !has_bodies;
    c->loop.holds_head = asked % 2;
    struct exchange *x = exchange_open(&worker, &c->loop.leg, &from);
    CHECK(x);
    exchange_on_head(&c->loop.leg, &c->head, !has_bodies);
}

static void drop(struct call *c) {
    CHECK(!c->loop.holds_head || c->loop.aborted == ABORT_NONE); /* it got another answer instead */
    loopback_finish(&c->loop);
    c->is_used = false;
}

static void run_calls(void) {
    for (int i = 0; i < CALLS; i++) {
        struct call *c = &calls[i];
        while (c->is_used && (loopback_push(&c->loop, 5000) || loopback_pull(&c->loop, 5000)))
            ;
    }
}

/* What has ended makes room for another request. */
static void renew_calls(void) {
    for (int i = 0; i < CALLS; i++) {
        if (calls[i].is_used && !calls[i].loop.leg.exchange)
            drop(&calls[i]);
        if (!calls[i].is_used && the_link && !the_link->is_draining && asked < CALLS_IN_ALL)
            ask(&calls[i]);
    }
}

/* ---- the gateway */

static void set_up(void) {
    set_up_worker(&terminal);
    http2_options_init(&http2, NULL, settings.limits.header_bytes);
    address = (struct address){.length = sizeof(sa_family_t), .u.un.sun_family = AF_UNIX}; /* the kernel picks a name */
    listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listening >= 0 && bind(listening, &address.u.any, address.length) == 0 && listen(listening, 4) == 0);
    address.length = sizeof address.u.un;
    CHECK(getsockname(listening, &address.u.any, &address.length) == 0);
}

/* ---- one connection */

static void turn(int origin) {
    static char room[1 << 18];
    worker_end_turn(&worker);
    run_calls();
    worker_end_turn(&worker);
    renew_calls();
    worker_end_turn(&worker);
    while (recv(origin, room, sizeof room, MSG_DONTWAIT) > 0)
        ;
}

/* The connection's, from one of its streams; NULL: no stream is open. */
static struct conn *connection(void) {
    for (int i = 0; the_link && i < CALLS; i++)
        if (calls[i].is_used && calls[i].loop.leg.exchange && calls[i].loop.leg.exchange->back)
            return &h2_stream_of(calls[i].loop.leg.exchange->back)->session->conn;
    return NULL;
}

static void feed(struct conn *c, int origin, size_t cut, const uint8_t *bytes, size_t n) {
    while (n && the_link) {
        size_t piece = cut && cut < n ? cut : n;
        if (*bytes == 0xff)
            expire();
        if (!the_link || c->is_closed)
            return;
        uint8_t *room = worker_read_room(&worker);
        memcpy(room, bytes, piece);
        slice_pool_read_done(&worker.pool, piece);
        c->ops->on_bytes(c, room, piece);
        bytes += piece;
        n -= piece;
        turn(origin);
    }
}

static void open_connection(void) {
    const struct client_target target = {.address = &address};
    const struct client_options options = {.write_timeout = 30000000, .header_bytes = settings.limits.header_bytes,
                                           .headers = settings.limits.headers, .http2 = &http2,
                                           .trailer_bytes = settings.limits.trailer_bytes};
    the_link = h2_client_codec.connect(&worker, &target, &options, &owner);
    CHECK(the_link);
    for (int i = 0; i < 10 && the_link && !the_link->is_connected; i++)
        ev_run(worker.loop, EVRUN_NOWAIT);
    CHECK(the_link && the_link->is_connected);
}

static void end_all(int origin) {
    if (the_link) {
        struct client_connection *link = the_link;
        the_link = NULL;
        h2_client_codec.close(link);
    }
    asked = CALLS_IN_ALL;
    for (int i = 0; i < CALLS; i++) {
        if (calls[i].is_used && calls[i].loop.leg.exchange)
            exchange_on_abort(&calls[i].loop.leg, ABORT_CLIENT_GONE);
    }
    turn(origin);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (listening < 0)
        set_up();
    if (size < 1 || size > SIZE_MOST)
        return 0;
    asked = 0;
    has_bodies = bytes[0] & 8;
    open_connection();
    int origin = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(origin >= 0);
    turn(origin);
    struct conn *c = connection();
    CHECK(c);
    feed(c, origin, cuts[bytes[0] % 8], bytes + 1, size - 1);
    end_all(origin);
    close(origin);
    CHECK(worker.buffer_used == 0 && worker.session_memory.used == 0);
    CHECK(stats_read(&worker.stats->exchanges) == 0 && stats_read(&worker.stats->origin_connections) == 0);
    return 0;
}
