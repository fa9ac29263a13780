/* A whole HTTP/3 connection to an origin: frames, the streams of QPACK, sections, messages and the exchange, on a transport
 * without packets, with clients that ask at the beginning and whenever a request of theirs is over. The first byte of the
 * input says whether requests have bodies or ask for tunnels, and what the transport allows. The rest is a list of events: a
 * byte that says which stream and what happens on it, a length, and bytes. Nothing may leak, no budget may be left used, and
 * what the transport was given may not move before it is acknowledged. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/codec/h3/client.h"
#include "dataplane/codec/h3/session.h"
#include "dataplane/codec/loopback/loopback.h"
#include "dataplane/quic/client.h"
#include "tests/fuzz/h2_feed.h"

#define FAKE_CHECK CHECK
#include "tests/unit/dataplane/codec/h3/fake_quic.h"

enum { CALLS = 4, CALLS_IN_ALL = 64, STREAMS = 8, FAKE_WINDOW = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct http3_options      http3;
static const struct quic_options quic = {.initial_stream_window = 65536, .max_concurrent_streams = 100};
static struct client_connection *the_link;      /* NULL: closed */
static char                      body[20000];
static bool                      has_bodies, asks_tunnels, is_set_up;

static struct call {
    struct loopback loop;
    struct head     head;
    bool            is_used;
} calls[CALLS];
static unsigned asked;

/* ---- dataplane/quic, the client's part */

struct quic_conn *quic_connect(struct worker *w, const struct quic_target *to, struct quic_user *user) {
    (void)w;
    (void)to;
    fake.user = user;
    user->conn = &fake;
    return &fake;
}

struct str quic_protocol(const struct quic_conn *c) {
    (void)c;
    return STR("h3");
}

uint64_t quic_streams_left(const struct quic_conn *c, bool bidirectional) {
    return bidirectional ? c->bidi_left : c->uni_left;
}


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
    struct leg *leg = !bad && is_usable ? h3_client_codec.open(the_link) : NULL;
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
    bool is_head = asked % 4 == 3, is_tunnel = asks_tunnels && asked % 2;
    *c = (struct call){.is_used = true};
    asked++;
    loopback_init(&c->loop, &worker);
    head_init(&c->head);
    c->head.method = is_tunnel ? METHOD_GET : has_bodies ? METHOD_POST : is_head ? METHOD_HEAD : METHOD_GET;
    c->head.method_text = method_name(c->head.method);
    c->head.host = c->head.authority = STR("example.com");
    c->head.target = c->head.path = STR("/");
    c->head.content_length = has_bodies && !is_tunnel ? (int64_t)sizeof body : -1;
    c->head.version = 11;
    c->head.upgrade = is_tunnel ? STR("websocket") : STR("");
    c->loop.to_send = (struct str){body, has_bodies || is_tunnel ? sizeof body : 0};
    c->loop.has_ended = !has_bodies && !is_tunnel;
    struct exchange *x = exchange_open(&worker, &c->loop.leg, &from);
    CHECK(x);
    exchange_on_head(&c->loop.leg, &c->head, c->loop.has_ended);
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
        if (calls[i].is_used && !calls[i].loop.leg.exchange) {
            loopback_finish(&calls[i].loop);
            calls[i].is_used = false;
        }
        if (!calls[i].is_used && the_link && !the_link->is_draining && asked < CALLS_IN_ALL)
            ask(&calls[i]);
    }
}

static void turn(void) {
    worker_end_turn(&worker);
    run_calls();
    worker_end_turn(&worker);
    renew_calls();
    worker_end_turn(&worker);
}

/* ---- events */

enum event { DATA, DATA_AND_END, RESET, STOP, CLOSE, ACKS, PASS, ALLOW };

static int64_t id_of(unsigned number) {
    return number < STREAMS / 2 ? 4 * (int64_t)number : 4 * ((int64_t)number - STREAMS / 2) + 3;
}

static void allow(unsigned n) {
    fake.bidi_left += n;
    fake.uni_left += n;
    fake.user->ops->on_streams(fake.user);
}

static void happen(enum event event, int64_t id, const uint8_t *bytes, size_t n) {
    struct fake_stream *s = id & 2 ? fake_stream(id) : fake_find(id); /* of ours only what we have opened */
    if (event <= STOP && (!s || s->is_closed))
        return;
    switch (event) {
    case DATA: case DATA_AND_END:
        if (!s->peer_ended)
            fake_receive(id, bytes, n, event == DATA_AND_END);
        break;
    case RESET:
        if (!s->peer_ended)
            fake.user->ops->on_stream_reset(fake.user, id, n ? H3_REQUEST_REJECTED : H3_INTERNAL_ERROR);
        s->peer_ended = true;
        break;
    case STOP: fake.user->ops->on_stop_sending(fake.user, id & 2 ? id - 1 : id, H3_NO_ERROR); break;
    case CLOSE: fake_close_finished(); break;
    case ACKS: fake_ack_all(); break;
    case PASS: expire(); break;
    case ALLOW: allow(n % 4); break;
    }
}

static void feed(const uint8_t *at, const uint8_t *end) {
    while (end - at >= 2 && the_link && !fake.is_gone && !fake.is_closed) {
        enum event event = (enum event)(at[0] >> 3 & 7);
        int64_t id = id_of(at[0] & 7);
        size_t n = at[1];
        at += 2;
        n = n < (size_t)(end - at) ? n : (size_t)(end - at);
        happen(event, id, at, n);
        at += n;
        turn();
    }
}

/* ---- one connection */

static void begin(uint8_t kind) {
    fake_begin();
    fake.next_uni = 2;
    fake.next_bidi = 0;
    has_bodies = kind & 1;
    fake.most = kind & 2 ? 1200 : 0;
    fake.first_window = kind & 4 ? 1000 : FAKE_WINDOW;
    fake.bidi_left = kind & 8 ? 1 : 100;
    fake.uni_left = kind & 16 ? 0 : 3;
    asks_tunnels = kind & 32;
    fake.window = FAKE_WINDOW;
    asked = 0;
}

static void open_connection(void) {
    const struct client_target target = {.address = &(struct address){0}};
    const struct client_options options = {.write_timeout = 30000000, .header_bytes = settings.limits.header_bytes,
                                           .headers = settings.limits.headers, .http3 = &http3, .quic = &quic,
                                           .trailer_bytes = settings.limits.trailer_bytes};
    the_link = h3_client_codec.connect(&worker, &target, &options, &owner);
    CHECK(the_link);
    fake.user->ops->on_open(fake.user);
    CHECK(the_link && the_link->is_connected);
    renew_calls();
}

static void end_all(void) {
    if (the_link) {
        struct client_connection *link = the_link;
        the_link = NULL;
        h3_client_codec.close(link);
    }
    asked = CALLS_IN_ALL;
    for (int i = 0; i < CALLS; i++)
        if (calls[i].is_used && calls[i].loop.leg.exchange)
            exchange_on_abort(&calls[i].loop.leg, ABORT_CLIENT_GONE);
    turn();
    if (!fake.is_gone)
        fake_ack_all();
    fake_end();
    turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (!is_set_up) {
        set_up_worker(&terminal);
        http3_options_init(&http3, NULL, settings.limits.header_bytes);
        is_set_up = true;
    }
    if (size < 1 || size > SIZE_MOST)
        return 0;
    begin(bytes[0]);
    open_connection();
    turn();
    feed(bytes + 1, bytes + size);
    end_all();
    CHECK(worker.buffer_used == 0 && worker.session_memory.used == 0);
    CHECK(stats_read(&worker.stats->exchanges) == 0 && stats_read(&worker.stats->origin_connections) == 0);
    return 0;
}
