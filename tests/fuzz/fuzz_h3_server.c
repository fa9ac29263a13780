/* A whole HTTP/3 connection from a client: frames, the streams of QPACK, sections, messages and the exchange, on a transport
 * without packets, with an origin that answers GET from memory and sends back what it is sent otherwise. The input is a list
 * of events: a byte that says which stream and what happens on it, a length, and bytes. Nothing may leak, no budget may be
 * left used, and what the transport was given may not move before it is acknowledged. */
#include <stdlib.h>

#include "dataplane/codec/h3/server.h"
#include "dataplane/codec/h3/session.h"
#include "dataplane/codec/loopback/loopback.h"
#include "dataplane/net/ip_caps.h"
#include "tests/fuzz/h2_feed.h"

#define FAKE_CHECK CHECK
#include "tests/unit/dataplane/codec/h3/fake_quic.h"

enum { ECHOES = 64, STREAMS = 8, FAKE_WINDOW = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct listener_runtime *listener;
static char                     large[100000];

static struct echo {
    struct loopback loop;
    struct head     head;
    bool            is_used, has_answered;
} echoes[ECHOES];

/* ---- the origin */

static struct echo *free_echo(void) {
    for (int i = 0; i < ECHOES; i++)
        if (!echoes[i].is_used)
            return &echoes[i];
    return NULL;
}

static void answer_from_memory(struct exchange *x) {
    struct head *head = arena_alloc(exchange_arena(x), sizeof *head);
    CHECK(head);
    head_init(head);
    head->status = 200;
    exchange_answer(x, head, (struct str){large, sizeof large});
}

static void terminal_start(struct exchange *x) {
    enum abort_code bad = exchange_prepare_forward(x);
    struct echo *e = x->request.head->method == METHOD_GET ? NULL : free_echo();
    if (bad) {
        exchange_fail(x, bad);
    } else if (e) {
        *e = (struct echo){.is_used = true};
        loopback_init(&e->loop, &worker);
        exchange_attach_back(x, &e->loop.leg);
    } else {
        answer_from_memory(x);
    }
}

static void terminal_deadline(struct exchange *x) {
    exchange_fail(x, ABORT_ORIGIN_TIMEOUT);
}

static const struct terminal_ops terminal = {.name = "echo", .start = terminal_start, .on_deadline = terminal_deadline};

static void run_echo(struct echo *e) {
    while (loopback_pull(&e->loop, 5000))
        ;
    if (e->loop.received_end && !e->has_answered && e->loop.leg.exchange) {
        e->has_answered = true;
        head_init(&e->head);
        e->head.status = 200;
        e->loop.to_send = strbuf_str(&e->loop.received);
        e->loop.trailers = e->loop.received_trailers;
        exchange_on_head(&e->loop.leg, &e->head, false);
    }
    while (e->has_answered && loopback_push(&e->loop, 5000))
        ;
}

static void run_origin(void) {
    worker_end_turn(&worker);
    for (int i = 0; i < ECHOES; i++)
        if (echoes[i].is_used)
            run_echo(&echoes[i]);
    worker_end_turn(&worker);
    for (int i = 0; i < ECHOES; i++) {
        if (!echoes[i].is_used || echoes[i].loop.leg.exchange)
            continue;
        loopback_finish(&echoes[i].loop);
        echoes[i].is_used = false;
    }
}

/* ---- the gateway */

static void set_up(void) {
    static const struct server_codecs codecs = {0};
    set_up_worker(&terminal);
    http3_options_init(&definition.http3, NULL, settings.limits.header_bytes);
    definition.quic = (struct quic_options){.initial_stream_window = 65536, .max_concurrent_streams = 100};
    CHECK(listener_create(&worker, &listener, &(struct address){0}, NULL, 0, &codecs, ip_caps_create()));
    listener_set_definition(listener, &definition, &definition.opening, 1000, 1000);
}

/* ---- events */

enum event { DATA, DATA_AND_END, RESET, STOP, CLOSE, ACKS, PASS, EARLY };

static int64_t id_of(unsigned number) {
    return number < STREAMS / 2 ? 4 * (int64_t)number : 4 * ((int64_t)number - STREAMS / 2) + 2;
}

static void reset(int64_t id, uint64_t code) {
    struct fake_stream *s = fake_stream(id);
    if (!s->peer_ended)
        fake.user->ops->on_stream_reset(fake.user, id, code);
    s->peer_ended = true;
}

static void happen(enum event event, int64_t id, const uint8_t *bytes, size_t n) {
    switch (event) {
    case DATA: case DATA_AND_END:
        if (!fake_stream(id)->peer_ended && !fake_stream(id)->is_closed)
            fake_receive(id, bytes, n, event == DATA_AND_END);
        break;
    case RESET: reset(id, H3_REQUEST_CANCELLED); break;
    case STOP: fake.user->ops->on_stop_sending(fake.user, id & 2 ? id + 1 : id, H3_REQUEST_CANCELLED); break;
    case CLOSE: fake_close_finished(); break;
    case ACKS: fake_ack_all(); break;
    case PASS: expire(); break;
    case EARLY:
        fake.is_done = true;
        fake.user->ops->on_handshake_done(fake.user);
        break;
    }
}

static void feed(const uint8_t *at, const uint8_t *end) {
    while (end - at >= 2 && !fake.is_gone && !fake.is_closed) {
        enum event event = (enum event)(at[0] >> 3 & 7);
        int64_t id = id_of(at[0] & 7);
        size_t n = at[1];
        at += 2;
        n = n < (size_t)(end - at) ? n : (size_t)(end - at);
        happen(event, id, at, n);
        at += n;
        run_origin();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (!listener)
        set_up();
    if (size < 1 || size > SIZE_MOST)
        return 0;
    fake_begin();
    fake.is_done = !(bytes[0] & 1);
    fake.most = bytes[0] & 2 ? 1200 : 0;
    fake.first_window = bytes[0] & 4 ? 1000 : FAKE_WINDOW;
    fake.window = FAKE_WINDOW;
    fake.user = h3_server_accept(listener, &fake, IP_CAP_UNCOUNTED);
    CHECK(fake.user);
    fake.user->ops->on_open(fake.user);
    feed(bytes + 1, bytes + size);
    if (!fake.is_gone)
        fake_ack_all();
    fake_end();
    run_origin();
    CHECK(listener->open == 0 && worker.buffer_used == 0 && worker.session_memory.used == 0);
    CHECK(stats_read(&worker.stats->exchanges) == 0);
    return 0;
}
