/* network.h — an endpoint and clients of plain ngtcp2, over a network of memory and a clock that the test moves.
 *
 * The functions of net/udp.h are these here, so the room's code runs without sockets. A datagram arrives after `delay`, or
 * never, as the test's `fate` says. */
#pragma once

#include "tests/unit/common/cmocka_all.h"

#include <arpa/inet.h>
#include <errno.h>

#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_ossl.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "dataplane/net/udp_forward.h"
#include "dataplane/quic/endpoint_private.h"
#include "dataplane/tls/replay.h"
#include "tests/unit/dataplane/quic/echo.h"
#include "tests/unit/dataplane/tls/fixture.h"

enum direction { TO_SERVER, TO_CLIENT };
enum { PACKETS_MAX = 8192, DELAY_US = 5000, PATH_RESPONSE = 0x1b };

struct parcel {
    enum direction direction;
    uint64_t       due;
    struct address from, to;
    uint8_t        ecn;
    size_t         n;
    uint8_t       *bytes;
};

struct peer;

struct network {
    struct worker          worker, other;       /* the second gets what is forwarded */
    struct quic_process   *process;
    struct quic_endpoint  *endpoint;
    struct quic_options    options;
    struct fixture         tls;
    struct address         server;
    struct parcel          parcels[PACKETS_MAX];
    size_t                 count;
    struct peer           *peers[PEERS_MAX];
    size_t                 peer_count;
    uint64_t               random;              /* of the network's own accidents */
    unsigned               loss_percent, disorder_percent, double_percent;
    size_t                 mtu[2];              /* of each direction: a longer datagram is lost; 0: none is */
    unsigned               marks[2];            /* so many of those that bear ECT get CE on their way */
    unsigned               too_long, windows_filled; /* of the server's, lost so; how many filled its congestion window */
    bool                   bleaches;            /* clears the bits of ECN */
    uint64_t               ecn[2][4];           /* datagrams sent in each direction, by their bits */
    size_t                 longest[2];          /* of them */
    uint64_t               bytes[2], packets[2]; /* sent in each direction */
    uint16_t               watched;             /* a client's port: what the server sends there is counted */
    uint64_t               watched_bytes, watched_packets;
    unsigned               answers_lost;        /* so many packets of clients with PATH_RESPONSE, the next ones */
    bool                   loses_next;          /* of a client's packets */
    unsigned               forwarded;
    bool                   is_blocked;          /* the server's socket takes nothing */
    unsigned               bursts_left;         /* after so many it is blocked; 0: it is not */
    struct strbuf          last;                /* the last datagram that the server sent */
};

static struct network net;

static inline uint32_t chance(void) {
    net.random = net.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(net.random >> 33) % 100;
}

/* The bits of ECN with which it arrives. */
static inline uint8_t net_mark(enum direction direction, uint8_t ecn) {
    net.ecn[direction][ecn & 3]++;
    if (net.bleaches)
        return ECN_NOT_ECT;
    if (ecn == ECN_NOT_ECT || net.marks[direction] == 0)
        return ecn;
    net.marks[direction]--;
    return ECN_CE;
}

static inline void net_note_too_long(enum direction direction) {
    const struct quic_server *s = net.endpoint->first;
    if (direction != TO_CLIENT || !s || !s->conn.ng)
        return;
    net.too_long++;
    net.windows_filled += ngtcp2_conn_get_cwnd_left(s->conn.ng) == 0;
}

static inline void net_post(enum direction direction, const struct address *from, const struct address *to,
                            const uint8_t *bytes, size_t n, uint8_t ecn) {
    net.bytes[direction] += n;
    net.packets[direction]++;
    if (direction == TO_CLIENT) {
        net.last.n = 0;
        strbuf_add(&net.last, (const char *)bytes, n);
        net.watched_bytes += address_port(to) == net.watched ? n : 0;
        net.watched_packets += address_port(to) == net.watched;
    }
    unsigned copies = chance() < net.double_percent ? 2 : 1;
    if (direction == TO_SERVER && net.loses_next) {
        copies = 0;
        net.loses_next = false;
    }
    ecn = net_mark(direction, ecn);
    net.longest[direction] = n > net.longest[direction] ? n : net.longest[direction];
    if (net.mtu[direction] && n > net.mtu[direction]) {
        copies = 0;
        net_note_too_long(direction);
    }
    for (; copies > 0; copies--) {
        if (chance() < net.loss_percent)
            continue;
        assert_true(net.count < PACKETS_MAX);
        struct parcel *p = &net.parcels[net.count++];
        uint64_t late = chance() < net.disorder_percent ? DELAY_US * 2 : 0;
        *p = (struct parcel){direction, net.worker.now + DELAY_US + late, *from, *to, ecn, n, malloc(n ? n : 1)};
        assert_non_null(p->bytes);
        memcpy(p->bytes, bytes, n);
    }
}

/* ---- net/udp.h ---- */

int udp_open(struct udp_socket *s, struct worker *w, int fd, const struct udp_ops *ops) {
    *s = (struct udp_socket){.worker = w, .ops = ops, .fd = fd, .is_open = true, .local = net.server};
    return 0;
}

int udp_connect(struct udp_socket *s, struct worker *w, const struct address *remote, size_t receive_buffer,
                size_t send_buffer, const struct udp_ops *ops) {
    (void)s, (void)w, (void)remote, (void)receive_buffer, (void)send_buffer, (void)ops;
    return ENETUNREACH;
}

struct udp_socket *udp_find_held(const struct worker *w, const struct address *bound) {
    (void)w, (void)bound;
    return NULL;
}

void udp_close(struct udp_socket *s) {
    s->is_open = false;
}

int udp_send(struct udp_socket *s, const struct address *remote, const struct address *local, const uint8_t *bytes, size_t n,
             size_t segment, uint8_t ecn) {
    assert_true(s->is_open && n > 0 && segment > 0);
    s->sent = 0;
    s->is_blocked = net.is_blocked;
    if (net.is_blocked)
        return EAGAIN;
    for (size_t at = 0; at < n; at += segment)
        net_post(TO_CLIENT, local, remote, bytes + at, n - at < segment ? n - at : segment, ecn);
    s->sent = n;
    net.is_blocked = net.bursts_left > 0 && --net.bursts_left == 0;
    return 0;
}

static inline void net_unblock(unsigned bursts) {
    struct udp_socket *s = &net.endpoint->socket;
    net.bursts_left = bursts;
    net.is_blocked = s->is_blocked = false;
    s->ops->on_writable(s);
}

bool udp_forward(struct udp_socket *s, struct worker *to, const struct udp_datagram *d) {
    (void)s;
    assert_ptr_equal(to, &net.other);
    assert_false(d->is_forwarded);
    net.forwarded++;
    return true;
}

/* ---- a client ---- */

struct sending {
    int64_t     id;
    const char *bytes;
    size_t      n, taken;
    bool        is_used, end_taken, is_blocked;
};

struct peer {
    ngtcp2_conn            *conn;
    SSL_CTX                *context;
    SSL                    *ssl;
    ngtcp2_crypto_ossl_ctx *crypto;
    ngtcp2_crypto_conn_ref  ref;
    struct address          local, inner;       /* as the network sees it, and as it sees itself */
    struct sending          sending[STREAMS];
    struct strbuf           got[STREAMS];       /* by the number of the stream */
    bool                    ended[STREAMS];
    struct strbuf           token;              /* of NEW_TOKEN */
    SSL_SESSION            *session;            /* of the last ticket */
    uint64_t                closed_streams;
    bool                    holds_window;       /* the connection's is never opened by itself */
    bool                    is_done, was_reset, is_over, is_mute, got_retry, early_rejected;
    int                     error;              /* of the library; 0: none */
    uint64_t                heard_ect0, heard_ce; /* what the server says to have received: its last ACK of 1-RTT packets */
};

struct peer_wish {
    uint32_t       version, first_version;      /* 0: version 1; the second: said to have been tried before */
    const char    *protocol, *name;
    const struct strbuf *token;
    SSL_SESSION   *session;
    bool           early;
    const struct certificate *certificate;
    uint64_t       window;                      /* of its streams; 0: plenty */
    uint64_t       connection_window;           /* that it holds; 0: plenty, and more in time */
    uint64_t       idle_timeout;                /* microseconds; 0: none */
    const char    *host;                        /* NULL: loopback */
    uint16_t       port;                        /* 0: 40000 and the number */
    bool           wants_v2;
    const char    *groups;                      /* NULL: X25519, so that the first flight is one datagram */
    const uint8_t *remembered;                  /* transport parameters, for early data */
    size_t         remembered_n;
};

static ngtcp2_conn *peer_conn(ngtcp2_crypto_conn_ref *ref) {
    return ((struct peer *)ref->user_data)->conn;
}

static struct peer *peer_of(const SSL *ssl) {
    return ((ngtcp2_crypto_conn_ref *)SSL_get_app_data(ssl))->user_data;
}

static int peer_ticket(SSL *ssl, SSL_SESSION *session) {
    struct peer *p = peer_of(ssl);
    SSL_SESSION_free(p->session);
    p->session = session;
    return 1;
}

static int peer_data(ngtcp2_conn *c, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *bytes, size_t n, void *user,
                     void *of_stream) {
    struct peer *p = user;
    (void)offset, (void)of_stream;
    size_t i = (size_t)id / 4 % STREAMS;
    strbuf_add(&p->got[i], (const char *)bytes, n);
    p->ended[i] |= (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
    ngtcp2_conn_extend_max_stream_offset(c, id, n);
    if (!p->holds_window)
        ngtcp2_conn_extend_max_offset(c, n);
    return 0;
}

static int peer_done(ngtcp2_conn *c, void *user) {
    struct peer *p = user;
    p->is_done = true;
    p->early_rejected = SSL_get_early_data_status(p->ssl) == SSL_EARLY_DATA_REJECTED;
    if (p->early_rejected)
        return ngtcp2_conn_tls_early_data_rejected(c);
    return 0;
}

static int peer_closed_stream(ngtcp2_conn *c, uint32_t flags, int64_t id, uint64_t code, void *user, void *of_stream) {
    (void)c, (void)flags, (void)id, (void)code, (void)of_stream;
    ((struct peer *)user)->closed_streams++;
    return 0;
}

static int peer_token(ngtcp2_conn *c, const uint8_t *token, size_t n, void *user) {
    struct peer *p = user;
    (void)c;
    p->token.n = 0;
    strbuf_add(&p->token, (const char *)token, n);
    return 0;
}

static int peer_reset(ngtcp2_conn *c, const ngtcp2_pkt_stateless_reset2 *reset, void *user) {
    (void)c, (void)reset;
    ((struct peer *)user)->was_reset = true;
    return 0;
}

static int peer_retry(ngtcp2_conn *c, const ngtcp2_pkt_hd *hd, void *user) {
    ((struct peer *)user)->got_retry = true;
    return ngtcp2_crypto_recv_retry_cb(c, hd, user);
}

static void peer_random(uint8_t *bytes, size_t n, const ngtcp2_rand_ctx *context) {
    (void)context;
    RAND_bytes(bytes, (int)n);
}

static int peer_id(ngtcp2_conn *c, ngtcp2_cid *id, ngtcp2_stateless_reset_token *token, size_t n, void *user) {
    (void)c, (void)user;
    RAND_bytes(id->data, (int)n);
    id->datalen = n;
    RAND_bytes(token->data, sizeof token->data);
    return 0;
}

static int peer_window(ngtcp2_conn *c, int64_t id, uint64_t most, void *user, void *of_stream) {
    struct peer *p = user;
    (void)c, (void)most, (void)of_stream;
    p->sending[(size_t)id / 4 % STREAMS].is_blocked = false;
    return 0;
}

/* The bits of a first octet that tell packets of version 1 apart. */
enum packet_form { IN_1RTT = 0, IN_INITIAL = 0x80, IN_0RTT = 0x90, IN_HANDSHAKE = 0xa0 };

/* The next packet of a client that has this form and is long enough says this instead, and PADDING. */
static struct {
    uint8_t          bytes[1024];
    size_t           n;
    enum packet_form form;
} instead;

static int peer_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *context,
                        const uint8_t *plain, size_t plain_n, const uint8_t *nonce, size_t nonce_n, const uint8_t *header,
                        size_t header_n) {
    uint8_t changed[2048] = {0};
    enum packet_form form = header[0] & 0x80 ? header[0] & 0xb0 : IN_1RTT;
    if (form == instead.form && instead.n > 0 && plain_n >= instead.n && plain_n <= sizeof changed) {
        memcpy(changed, instead.bytes, instead.n);
        plain = changed;
        instead.n = 0;
    }
    if (form == IN_1RTT && plain_n > 0 && plain[0] == PATH_RESPONSE && net.answers_lost > 0) {
        net.answers_lost--;
        net.loses_next = true;
    }
    return ngtcp2_crypto_encrypt_cb(dest, aead, context, plain, plain_n, nonce, nonce_n, header, header_n);
}

static struct peer *hearing;

static uint64_t take_number(const uint8_t **at) {
    size_t n = (size_t)1 << (**at >> 6);
    uint64_t value = *(*at)++ & 0x3f;
    while (--n > 0)
        value = value << 8 | *(*at)++;
    return value;
}

/* ACK is the first frame in packets of the library's; of type 3 it ends with the counts of ECN (RFC 9000 section 19.3.2). */
static int peer_decrypt(uint8_t *plain, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *context,
                        const uint8_t *sealed, size_t n, const uint8_t *nonce, size_t nonce_n, const uint8_t *header,
                        size_t header_n) {
    int status = ngtcp2_crypto_decrypt_cb(plain, aead, context, sealed, n, nonce, nonce_n, header, header_n);
    if (status != 0 || header[0] & 0x80 || plain[0] != 3)
        return status;
    const uint8_t *at = plain + 1;
    take_number(&at), take_number(&at);
    uint64_t numbers = 1 + 2 * take_number(&at);
    while (numbers-- > 0)
        take_number(&at);
    hearing->heard_ect0 = take_number(&at);
    take_number(&at);
    hearing->heard_ce = take_number(&at);
    return status;
}

static const ngtcp2_callbacks peer_callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .handshake_completed = peer_done,
    .encrypt = peer_encrypt,
    .decrypt = peer_decrypt,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_stream_data = peer_data,
    .stream_close = peer_closed_stream,
    .recv_retry = peer_retry,
    .rand = peer_random,
    .update_key = ngtcp2_crypto_update_key_cb,
    .extend_max_stream_data = peer_window,
    .recv_new_token = peer_token,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .recv_stateless_reset2 = peer_reset,
    .get_new_connection_id2 = peer_id,
    .get_path_challenge_data2 = ngtcp2_crypto_get_path_challenge_data2_cb,
};

static inline struct address loopback_address(uint16_t port) {
    struct address a = {.length = sizeof a.u.v4};
    a.u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}

static inline void peer_tls(struct peer *p, const struct peer_wish *w) {
    const char *protocol = w->protocol ? w->protocol : "h3";
    unsigned char offer[16] = {(unsigned char)strlen(protocol)};
    memcpy(offer + 1, protocol, offer[0]);
    p->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(p->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(p->context, peer_ticket);
    p->ssl = SSL_new(p->context);
    p->ref = (ngtcp2_crypto_conn_ref){peer_conn, p};
    SSL_set_app_data(p->ssl, &p->ref);
    SSL_set_connect_state(p->ssl);
    assert_int_equal(SSL_set1_groups_list(p->ssl, w->groups ? w->groups : "X25519"), 1);
    SSL_set_alpn_protos(p->ssl, offer, 1u + offer[0]);
    SSL_set_tlsext_host_name(p->ssl, (char *)(uintptr_t)(w->name ? w->name : "site.example"));
    if (w->certificate)
        assert_int_equal(SSL_use_cert_and_key(p->ssl, w->certificate->x, w->certificate->key, NULL, 1), 1);
    if (w->session)
        SSL_set_session(p->ssl, w->session);
    assert_int_equal(ngtcp2_crypto_ossl_configure_client_session(p->ssl), 0);
    if (w->early)
        SSL_set_quic_tls_early_data_enabled(p->ssl, 1);
    assert_int_equal(ngtcp2_crypto_ossl_ctx_new(&p->crypto, p->ssl), 0);
}

static inline struct peer *peer_connect(const struct peer_wish *w) {
    static const uint32_t both[] = {NGTCP2_PROTO_VER_V2, NGTCP2_PROTO_VER_V1};
    struct peer *p = calloc(1, sizeof *p);
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid dcid = {.datalen = 16}, scid = {.datalen = 8};
    RAND_bytes(dcid.data, 16);
    RAND_bytes(scid.data, 8);
    p->local = loopback_address(w->port ? w->port : (uint16_t)(40000 + net.peer_count));
    if (w->host)
        assert_int_equal(inet_pton(AF_INET, w->host, &p->local.u.v4.sin_addr), 1);
    p->inner = p->local;
    peer_tls(p, w);
    ngtcp2_settings_default(&settings);
    settings.initial_ts = net.worker.now * 1000;
    if (w->wants_v2) {
        settings.available_versions = settings.preferred_versions = both;
        settings.available_versionslen = settings.preferred_versionslen = 2;
    }
    if (w->token) {
        settings.token = (const uint8_t *)w->token->p;
        settings.tokenlen = w->token->n;
    }
    ngtcp2_transport_params_default(&params);
    params.initial_max_stream_data_bidi_local = params.initial_max_stream_data_bidi_remote = w->window ? w->window : 1 << 20;
    params.initial_max_stream_data_uni = 1 << 20;
    params.initial_max_data = w->connection_window ? w->connection_window : 8 << 20;
    p->holds_window = w->connection_window > 0;
    params.initial_max_streams_uni = 16;
    params.active_connection_id_limit = 7;
    params.max_idle_timeout = w->idle_timeout * 1000;
    ngtcp2_path path = quic_path(&p->local, &net.server);
    assert_int_equal(ngtcp2_conn_client_new(&p->conn, &dcid, &scid, &path, w->version ? w->version : NGTCP2_PROTO_VER_V1,
                                            &peer_callbacks, &settings, &params, NULL, p), 0);
    ngtcp2_conn_set_tls_native_handle(p->conn, p->crypto);
    if (w->remembered)
        assert_int_equal(ngtcp2_conn_decode_and_set_0rtt_transport_params(p->conn, w->remembered, w->remembered_n), 0);
    net.peers[net.peer_count++] = p;
    return p;
}

/* Its library does not know: a NAT has forgotten it. Nobody can find a client that has nothing to say at that moment (its
 * windows are closed, and all it sent is acknowledged), so it says now and then that it is there (RFC 9000 section
 * 10.1.2). */
static inline void peer_move(struct peer *p, uint16_t port) {
    p->local = loopback_address(port);
    ngtcp2_conn_set_keep_alive_timeout(p->conn, 500000000);
}

static inline void peer_fail(struct peer *p, int error) {
    p->error = error;
    p->is_over = true;
}

static inline struct sending *peer_next(struct peer *p) {
    for (size_t i = 0; i < STREAMS; i++) {
        struct sending *s = &p->sending[i];
        if (s->is_used && !s->is_blocked && !s->end_taken)
            return s;
    }
    return NULL;
}

/* One packet; 0: nothing. */
static inline size_t peer_write_packet(struct peer *p, uint8_t *room, size_t n, ngtcp2_path_storage *path,
                                       ngtcp2_pkt_info *info) {
    for (;;) {
        struct sending *s = peer_next(p);
        ngtcp2_ssize taken = -1, written;
        ngtcp2_vec vec = {(uint8_t *)(uintptr_t)(s ? s->bytes + s->taken : NULL), s ? s->n - s->taken : 0};
        written = ngtcp2_conn_writev_stream(p->conn, &path->path, info, room, n, &taken,
                                            s ? NGTCP2_WRITE_STREAM_FLAG_FIN | NGTCP2_WRITE_STREAM_FLAG_MORE : 0,
                                            s ? s->id : -1, &vec, s != NULL, net.worker.now * 1000);
        if (s && taken >= 0) {
            s->taken += (size_t)taken;
            s->end_taken = s->taken == s->n;
        }
        if (written == NGTCP2_ERR_WRITE_MORE)
            continue;
        if (s && (written == NGTCP2_ERR_STREAM_DATA_BLOCKED || written == NGTCP2_ERR_STREAM_SHUT_WR)) {
            s->is_blocked = true;
            continue;
        }
        if (written < 0)
            peer_fail(p, (int)written);
        return written > 0 ? (size_t)written : 0;
    }
}

static inline void peer_write(struct peer *p) {
    uint8_t room[1500];
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info;
    size_t n;
    ngtcp2_path_storage_zero(&path);
    while (!p->is_over && !p->is_mute && (n = peer_write_packet(p, room, sizeof room, &path, &info)) > 0)
        net_post(TO_SERVER, &p->local, &net.server, room, n, (uint8_t)info.ecn);
    if (!p->is_over)
        ngtcp2_conn_update_pkt_tx_time(p->conn, net.worker.now * 1000);
}

static inline void peer_receive(struct peer *p, const struct parcel *parcel) {
    ngtcp2_path path = quic_path(&p->inner, &net.server);
    ngtcp2_pkt_info info = {.ecn = parcel->ecn};
    if (p->is_over)
        return;
    hearing = p;
    int status = ngtcp2_conn_read_pkt(p->conn, &path, &info, parcel->bytes, parcel->n, net.worker.now * 1000);
    if (status != 0)
        peer_fail(p, status);
}

static inline void peer_send(struct peer *p, const char *bytes, size_t n) {
    int64_t id;
    assert_int_equal(ngtcp2_conn_open_bidi_stream(p->conn, &id, NULL), 0);
    p->sending[(size_t)id / 4 % STREAMS] = (struct sending){.id = id, .bytes = bytes, .n = n, .is_used = true};
}

static inline void peer_free(struct peer *p) {
    SSL_set_app_data(p->ssl, NULL);
    ngtcp2_conn_del(p->conn);
    SSL_free(p->ssl);
    SSL_CTX_free(p->context);
    SSL_SESSION_free(p->session);
    ngtcp2_crypto_ossl_ctx_del(p->crypto);
    for (size_t i = 0; i < STREAMS; i++)
        strbuf_finish(&p->got[i]);
    strbuf_finish(&p->token);
    free(p);
    ERR_clear_error();
}

/* ---- time ---- */

static inline void net_deliver(const struct parcel *p) {
    if (p->direction == TO_SERVER) {
        struct udp_datagram d = {.bytes = p->bytes, .n = p->n, .remote = &p->from, .local = &p->to, .ecn = p->ecn};
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
        return;
    }
    for (size_t i = 0; i < net.peer_count; i++)
        if (address_equal(&net.peers[i]->local, &p->to))
            peer_receive(net.peers[i], p);
}

static inline void net_deliver_due(void) {
    for (size_t i = 0; i < net.count;) {
        struct parcel p = net.parcels[i];
        if (p.due > net.worker.now) {
            i++;
            continue;
        }
        memmove(&net.parcels[i], &net.parcels[i + 1], (net.count - i - 1) * sizeof p);
        net.count--;
        net_deliver(&p);
        free(p.bytes);
    }
}

static inline uint64_t peer_expiry(const struct peer *p) {
    ngtcp2_tstamp t = p->is_over ? UINT64_MAX : ngtcp2_conn_get_expiry(p->conn);
    return t == UINT64_MAX ? UINT64_MAX : t / 1000 + 1;
}

static inline uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t net_next_event(void) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < net.count; i++)
        next = earlier(next, net.parcels[i].due);
    for (struct quic_server *s = net.endpoint->first; s; s = s->next)
        next = earlier(next, s->conn.expiry);
    for (size_t i = 0; i < net.peer_count; i++)
        next = earlier(next, peer_expiry(net.peers[i]));
    return next;
}

static inline void net_expire(void) {
    for (struct quic_server *s = net.endpoint->first, *next; s; s = next) {
        next = s->next;
        if (s->conn.expiry <= net.worker.now)
            quic_check_timer(&s->conn);
    }
    for (size_t i = 0; i < net.peer_count; i++) {
        struct peer *p = net.peers[i];
        if (peer_expiry(p) > net.worker.now)
            continue;
        int status = ngtcp2_conn_handle_expiry(p->conn, net.worker.now * 1000);
        if (status != 0)
            peer_fail(p, status);
    }
}

static inline void net_end_turn(void) {
    worker_end_turn(&net.worker);
    while (net.worker.put_off.first) { /* the next turn, at the same moment */
        struct flushable *f = net.worker.put_off.first;
        worker_forget_dirty(&net.worker, f);
        worker_mark_dirty(&net.worker, f);
        worker_end_turn(&net.worker);
    }
    for (size_t i = 0; i < net.peer_count; i++)
        peer_write(net.peers[i]);
}

/* Runs until `done` says so, or for `us` of the network's time. True: it was done. */
static inline bool net_run(bool (*done)(void), uint64_t us) {
    uint64_t until = net.worker.now + us;
    net_end_turn();
    while (!done || !done()) {
        uint64_t next = net_next_event();
        if (next > until) {
            net.worker.now = until;
            return false;
        }
        net.worker.now = next > net.worker.now ? next : net.worker.now;
        net_deliver_due();
        net_expire();
        net_end_turn();
    }
    return true;
}

/* ---- setting up ---- */

static inline void net_open(void) {
    net.endpoint = quic_endpoint_create(&net.worker, -1, &net.options, net.tls.server, &echo_endpoint, &net);
    assert_non_null(net.endpoint);
}

static inline int net_setup(void **state) {
    (void)state;
    net = (struct network){.random = 1, .server = loopback_address(4433)};
    echo_count = empty_calls = 0;
    echo_owner = &net;
    instead.n = 0;
    instead.form = IN_1RTT;
    refuses = false;
    fixture_init(&net.tls);
    fixture_build(&net.tls, TLS_HTTP3, TLS_HTTP1);
    assert_int_equal(worker_init(&net.worker, 0, EVFLAG_AUTO), 0);
    net.worker.now = 1000000;
    net.other.index = 1;
    net.options = (struct quic_options){
        .retry = QUIC_RETRY_UNDER_LOAD, .retry_above = 1000, .max_handshakes = 1000, .handshake_timeout = 10000000,
        .idle_timeout = 30000000, .initial_stream_window = 256 << 10,
        .initial_connection_window = 1 << 20, .max_concurrent_streams = 100, .active_migration = true,
    };
    struct quic_process_options process = {
        .ids_key = "12345678", .generation = 3, .secret = "a secret of thirty-two bytes....",
    };
    net.process = quic_process_create(&process);
    assert_non_null(net.process);
    tls_replay_begin(0);                        /* long ago */
    assert_int_equal(quic_process_add_worker(net.process, &net.worker), 0);
    net.process->workers[1] = &net.other;
    net_open();
    return 0;
}

static inline void net_drop_all(void) {
    for (size_t i = 0; i < net.count; i++)
        free(net.parcels[i].bytes);
    net.count = 0;
}

static inline int net_teardown(void **state) {
    (void)state;
    for (size_t i = 0; i < net.peer_count; i++)
        peer_free(net.peers[i]);
    net_drop_all();
    quic_endpoint_destroy(net.endpoint);
    worker_end_turn(&net.worker);
    quic_worker_free(&net.worker);
    assert_int_equal(net.worker.session_memory.used, 0);
    assert_int_equal(net.worker.stats->quic_connections, 0);
    assert_int_equal(net.worker.stats->quic_handshakes, 0);
    for (unsigned i = 0; i < echo_count; i++)
        assert_true(echoes[i].is_destroyed);
    tls_io_free(&net.worker);
    worker_finish(&net.worker);
    quic_process_destroy(net.process);
    fixture_finish(&net.tls);
    strbuf_finish(&net.last);
    return 0;
}

#define NET_TEST(function) cmocka_unit_test_setup_teardown(function, net_setup, net_teardown)
