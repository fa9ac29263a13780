/* A whole HTTP/2 connection from a client: the check of frames, the library, streams, heads and the exchange, with an
 * origin that answers GET from memory and sends back what it is sent otherwise. The first byte of the input says how it
 * is cut; a byte of 0xff at the beginning of a piece lets an hour pass. Nothing may leak, and no budget may be left
 * used. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "dataplane/codec/h2/server.h"
#include "dataplane/codec/h2/session.h"
#include "dataplane/codec/loopback/loopback.h"
#include "dataplane/net/ip_caps.h"
#include "tests/fuzz/h2_feed.h"

enum { ECHOES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct listener_runtime   *listener;
static char                       large[100000];

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

/* What it gave is copied by now. */
static void drop_if_over(struct echo *e) {
    if (!e->is_used || e->loop.leg.exchange)
        return;
    loopback_finish(&e->loop);
    e->is_used = false;
}

/* ---- the gateway */

static void set_up(void) {
    static const struct server_codecs codecs = {.http2 = h2_server_accept};
    set_up_worker(&terminal);
    http2_options_init(&definition.http2, NULL, settings.limits.header_bytes);
    CHECK(listener_create(&worker, &listener, &(struct address){0}, NULL, 0, &codecs, ip_caps_create()));
    listener_set_definition(listener, &definition, &definition.opening, 1000, 1000);
}

/* ---- one connection */

static void turn(int client) {
    static char room[1 << 18];
    worker_end_turn(&worker);
    memset(worker.frame_buffer, 0xa5, H2_FRAME_BUFFER); /* as if another connection had its turn */
    for (int i = 0; i < ECHOES; i++)
        if (echoes[i].is_used)
            run_echo(&echoes[i]);
    worker_end_turn(&worker);
    for (int i = 0; i < ECHOES; i++)
        drop_if_over(&echoes[i]);
    while (recv(client, room, sizeof room, MSG_DONTWAIT) > 0)
        ;
}

static void feed(struct conn *c, int client, size_t cut, const uint8_t *bytes, size_t n) {
    while (n) {
        size_t piece = cut && cut < n ? cut : n;
        if (*bytes == 0xff)
            expire();
        if (c->is_closed || c->ops->read_limit(c) == 0)
            return;
        uint8_t *room = worker_read_room(&worker);
        memcpy(room, bytes, piece);
        slice_pool_read_done(&worker.pool, piece);
        c->ops->on_bytes(c, room, piece);
        bytes += piece;
        n -= piece;
        if (c->is_closed)
            return;
        turn(client);
    }
}

/* A destroyed connection leaves the listener's list. */
static bool is_open(void) {
    return listener->open > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    int ends[2];
    if (!listener)
        set_up();
    if (size < 1 || size > SIZE_MOST)
        return 0;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    const struct accepted accepted = {.transport = {.fd = ends[0]},
                                      .peer = {.length = sizeof(sa_family_t), .u.un.sun_family = AF_UNIX},
                                      .cap_slot = IP_CAP_UNCOUNTED};
    struct conn *c = h2_server_accept(listener, &accepted);
    CHECK(c);
    turn(ends[1]);
    feed(c, ends[1], cuts[bytes[0] % 8], bytes + 1, size - 1);
    if (is_open())
        listener_cut_all(listener);
    turn(ends[1]);
    close(ends[1]);
    CHECK(!is_open() && worker.buffer_used == 0 && worker.session_memory.used == 0);
    CHECK(stats_read(&worker.stats->exchanges) == 0);
    return 0;
}
