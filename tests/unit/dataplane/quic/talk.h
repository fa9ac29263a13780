/* talk.h — QUIC between an endpoint and connections to it, in one worker, over real sockets. Users talk on one stream: what
 * the client says comes back. */
#pragma once

#include "tests/unit/dataplane/net/loop.h"
#include "tests/unit/dataplane/tls/fixture.h"

#include <netinet/in.h>

#include "dataplane/quic/client.h"
#include "dataplane/quic/endpoint.h"

enum { TALK_BYTES = 1 << 16, TALKERS = 16 };

/* Who speaks on one end of a connection. */
struct talker {
    struct quic_user user; /* first */
    struct talk     *talk;
    bool             is_server, is_open, is_done, is_closed, is_gone, is_resumed;
    enum quic_cause  cause;
    uint64_t         code;
    char             tls_failure[64];
    int64_t          id; /* of the stream; -1: none */
    char             got[TALK_BYTES], says[TALK_BYTES];
    size_t           got_n, says_n, said;
    bool             got_end, says_end, said_end;
};

struct talk {
    struct fixture        *tls;
    struct quic_options    options, client_options;
    struct quic_process   *process;
    struct quic_endpoint  *endpoint;
    int                    fd;
    struct address         address;
    struct talker          talkers[TALKERS];
    unsigned               count;
};

/* ---- users */

static inline struct talker *talker_of(struct quic_user *user) {
    return (struct talker *)user;
}

static inline void talk_on_open(struct quic_user *user) {
    talker_of(user)->is_open = true;
}

static inline void talk_on_done(struct quic_user *user) {
    struct talker *t = talker_of(user);
    t->is_done = true;
    t->is_resumed = tls_is_resumed(quic_tls(user->conn));
}

static inline int talk_on_data(struct quic_user *user, int64_t id, const uint8_t *bytes, size_t n, bool fin, bool early) {
    struct talker *t = talker_of(user);
    (void)early;
    assert_true(t->got_n + n <= TALK_BYTES);
    memcpy(t->got + t->got_n, bytes, n);
    t->got_n += n;
    t->got_end |= fin;
    t->id = id;
    quic_consume_stream(user->conn, id, n);
    quic_consume_connection(user->conn, n);
    if (t->is_server) {
        memcpy(t->says + t->says_n, bytes, n);
        t->says_n += n;
        t->says_end = fin;
        quic_mark_dirty(user->conn);
    }
    return 0;
}

static inline void talk_on_bytes_of(struct quic_user *user, int64_t id, uint64_t n) {
    (void)user, (void)id, (void)n;
}

static inline void talk_on_stream(struct quic_user *user, int64_t id) {
    (void)user, (void)id;
}

static inline void talk_on_streams(struct quic_user *user) {
    (void)user;
}

static inline size_t talk_next(struct quic_user *user, int64_t *ret_id, bool *ret_fin, struct iovec *vec, size_t most) {
    struct talker *t = talker_of(user);
    size_t left = t->says_n - t->said;
    *ret_id = -1;
    if (t->id < 0 || (left == 0 && (!t->says_end || t->said_end)) || (left > 0 && most == 0))
        return 0;
    *ret_id = t->id;
    *ret_fin = t->says_end;
    if (left == 0)
        return 0;
    vec[0] = (struct iovec){t->says + t->said, left};
    return 1;
}

static inline void talk_on_taken(struct quic_user *user, int64_t id, size_t n) {
    struct talker *t = talker_of(user);
    (void)id;
    t->said += n;
    t->said_end = t->says_end && t->said == t->says_n;
}

static inline void talk_on_closed(struct quic_user *user, const struct quic_closing *why) {
    struct talker *t = talker_of(user);
    assert_false(t->is_closed);
    t->is_closed = true;
    t->cause = why->cause;
    t->code = why->code;
    snprintf(t->tls_failure, sizeof t->tls_failure, "%s", why->tls_failure);
}

static inline void talk_destroy(struct quic_user *user) {
    assert_true(talker_of(user)->is_closed && !talker_of(user)->is_gone);
    talker_of(user)->is_gone = true;
}

static const struct quic_ops talk_ops = {
    .on_open = talk_on_open, .on_handshake_done = talk_on_done, .on_stream_data = talk_on_data,
    .on_stream_acked = talk_on_bytes_of, .on_stream_reset = talk_on_bytes_of, .on_stop_sending = talk_on_bytes_of,
    .on_stream_close = talk_on_bytes_of, .on_stream_window = talk_on_stream, .on_streams = talk_on_streams,
    .next = talk_next, .on_taken = talk_on_taken, .on_blocked = talk_on_stream, .on_shut = talk_on_stream,
    .on_closed = talk_on_closed, .destroy = talk_destroy,
};

static inline struct talker *talker_make(struct talk *talk, bool is_server) {
    assert_true(talk->count < TALKERS);
    struct talker *t = &talk->talkers[talk->count++];
    memset(t, 0, sizeof *t);
    t->user.ops = &talk_ops;
    t->talk = talk;
    t->is_server = is_server;
    t->id = -1;
    return t;
}

static inline struct quic_user *talk_accept(void *owner, struct quic_conn *c) {
    (void)c;
    return &talker_make(owner, true)->user;
}

/* ---- the two ends */

static inline void talk_listen(struct talk *talk) {
    static const struct quic_endpoint_ops ops = {.accept = talk_accept};
    talk->endpoint = quic_endpoint_create(&worker, talk->fd, &talk->options, talk->tls->server, &ops, talk);
    assert_non_null(talk->endpoint);
}

static inline void talk_bind(struct talk *talk) {
    const int on = 1;
    talk->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    talk->address = (struct address){.length = sizeof talk->address.u.v4};
    talk->address.u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(setsockopt(talk->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on), 0);
    assert_int_equal(setsockopt(talk->fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof on), 0);
    assert_int_equal(bind(talk->fd, &talk->address.u.any, talk->address.length), 0);
    assert_int_equal(getsockname(talk->fd, &talk->address.u.any, &talk->address.length), 0);
}

/* A connection to the endpoint; NULL: errno. */
static inline struct talker *talk_connect(struct talk *talk, const char *hostname) {
    struct talker *t = talker_make(talk, false);
    const struct quic_target to = {.address = &talk->address, .options = &talk->client_options, .tls = talk->tls->client,
                                   .hostname = str_of(hostname), .endpoint = talk};
    return quic_connect(&worker, &to, &t->user) ? t : NULL;
}

/* Says it on a stream of its own, and ends that. */
static inline void talk_say(struct talker *t, const char *words) {
    assert_int_equal(quic_open_stream(t->user.conn, true, &t->id), 0);
    t->says_n = strlen(words);
    memcpy(t->says, words, t->says_n);
    t->says_end = true;
    quic_mark_dirty(t->user.conn);
}

/* The client's words have come back. */
static inline bool talk_has_echo(const struct talker *t) {
    return t->got_end && t->got_n == t->says_n && memcmp(t->got, t->says, t->got_n) == 0;
}

/* The other end of the newest connection; NULL: none. */
static inline struct talker *talk_server(struct talk *talk) {
    for (unsigned i = talk->count; i-- > 0;)
        if (talk->talkers[i].is_server)
            return &talk->talkers[i];
    return NULL;
}

static inline void talk_close(struct talker *t) {
    if (!t->is_closed)
        quic_close(t->user.conn, QUIC_APPLICATION, 0x100, "");
    TURN_UNTIL(t->is_gone);
}

/* ---- set-up */

static inline int talk_set_up(void **state) {
    struct talk *talk = calloc(1, sizeof *talk);
    const struct quic_process_options process = {.generation = 1, .secret = "thirty-two octets of a secret.."};
    assert_non_null(talk);
    *state = talk;
    talk->tls = calloc(1, sizeof *talk->tls);
    assert_non_null(talk->tls);
    fixture_init(talk->tls);
    fixture_build(talk->tls, TLS_HTTP3, TLS_HTTP3);
    talk->options = talk->client_options = (struct quic_options){
        .retry = QUIC_RETRY_NEVER, .retry_above = 100, .max_handshakes = 100, .handshake_timeout = 10000000,
        .idle_timeout = 30000000, .initial_stream_window = TALK_BYTES,
        .initial_connection_window = 1 << 20, .max_concurrent_streams = 16, .active_migration = true};
    if (worker_set_up(state) < 0)
        return -1;
    *state = talk;
    talk->process = quic_process_create(&process);
    assert_non_null(talk->process);
    assert_int_equal(quic_process_add_worker(talk->process, &worker), 0);
    talk_bind(talk);
    talk_listen(talk);
    return 0;
}

static inline int talk_tear_down(void **state) {
    struct talk *talk = *state;
    hg_alloc_fail_at(-1, 0);
    quic_endpoint_destroy(talk->endpoint);
    for (unsigned i = 0; i < talk->count; i++)
        if (!talk->talkers[i].is_server && talk->talkers[i].user.conn && !talk->talkers[i].is_closed)
            quic_close(talk->talkers[i].user.conn, QUIC_APPLICATION, 0x100, "");
    worker_end_turn(&worker);
    quic_worker_free(&worker);
    for (unsigned i = 0; i < talk->count; i++)
        assert_true(!talk->talkers[i].user.conn || talk->talkers[i].is_gone);
    assert_int_equal(worker.session_memory.used, 0);
    quic_process_destroy(talk->process);
    tls_io_free(&worker);
    worker_finish(&worker);
    close(talk->fd);
    fixture_finish(talk->tls);
    free(talk->tls);
    free(talk);
    return 0;
}
