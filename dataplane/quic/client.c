#include "dataplane/quic/client.h"

#include <errno.h>

#include "common/alloc.h"
#include "dataplane/quic/conn_private.h"
#include "dataplane/quic/origin_tokens.h"
#include "dataplane/tls/quic_client.h"

enum {
    FIRST_ID_SIZE = 16,                    /* of the ID that the first packets are sent to; at least 8 (section 7.2) */
    SOCKET_BUFFER = 1 << 20,               /* asked of the system */
    TOKEN_KEY_MAX = 8 + ADDRESS_TEXT_MAX,
};

struct quic_client {
    struct quic_conn  conn;                /* first */
    struct udp_socket socket;
    char              origin[TOKEN_KEY_MAX];
    size_t            origin_n;            /* by which tokens are remembered: the endpoint and its address */
};

static struct quic_client *client_of(struct quic_conn *c) {
    return (struct quic_client *)c;
}

static struct quic_client *of_socket(struct udp_socket *s) {
    return (struct quic_client *)((char *)s - offsetof(struct quic_client, socket));
}

/* ---- the socket ---- */

static void on_datagram(struct udp_socket *s, const struct udp_datagram *d) {
    quic_conn_receive(&of_socket(s)->conn, d);
}

static void on_writable(struct udp_socket *s) {
    quic_mark_dirty(&of_socket(s)->conn);
}

/* A port that nobody listens on is worth knowing before time is up. Once the handshake is done only the peer has a say: what
 * the network says is not authentic (RFC 9000 section 14.2.1). */
static void on_error(struct udp_socket *s, int error) {
    struct quic_conn *c = &of_socket(s)->conn;
    bool is_broken = error == EBADF || error == EIO;
    if (is_broken || c->state == QUIC_HANDSHAKE)
        quic_cut(c);
}

static const struct udp_ops socket_ops = {.on_datagram = on_datagram, .on_writable = on_writable, .on_error = on_error};

/* ---- the role ---- */

static void on_token(struct quic_conn *c, const uint8_t *token, size_t n) {
    const struct quic_client *client = client_of(c);
    origin_tokens_put(&c->room->origin_tokens, (struct str){client->origin, client->origin_n}, token, n);
}

static void on_over(struct quic_conn *c) {
    udp_close(&client_of(c)->socket);
}

static const struct quic_role client_role = {.on_token = on_token, .on_over = on_over, .release = quic_free_conn};

/* ---- connecting ---- */

static void note_origin(struct quic_client *c, const struct quic_target *to) {
    struct str address = address_key(to->address);
    size_t n = address.n < TOKEN_KEY_MAX - sizeof to->endpoint ? address.n : TOKEN_KEY_MAX - sizeof to->endpoint;
    memcpy(c->origin, &to->endpoint, sizeof to->endpoint);
    memcpy(c->origin + sizeof to->endpoint, address.p, n);
    c->origin_n = sizeof to->endpoint + n;
}

static void random_id(struct quic_conn *c, ngtcp2_cid *ret) {
    uint8_t bytes[FIRST_ID_SIZE];
    quic_random(c->room, bytes, sizeof bytes);
    ngtcp2_cid_init(ret, bytes, sizeof bytes);
}

static int make_ng(struct quic_client *client, const struct quic_target *to) {
    struct quic_conn *c = &client->conn;
    const ngtcp2_path path = quic_path(&client->socket.local, to->address);
    uint8_t token[ORIGIN_TOKEN_BYTES_MAX];
    ngtcp2_cid first, own = {.datalen = 0};
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    random_id(c, &first);
    quic_fill_settings(c, to->options, to->address, &settings);
    quic_fill_params(to->options, &params);
    if (to->handshake_timeout)
        settings.handshake_timeout = to->handshake_timeout * NGTCP2_MICROSECONDS;
    settings.token = token;
    settings.tokenlen = origin_tokens_take(&c->room->origin_tokens, (struct str){client->origin, client->origin_n}, token);
    params.initial_max_streams_bidi = 0; /* origins open none (RFC 9114 section 6.1) */
    params.initial_max_streams_uni = QUIC_PEER_UNI_STREAMS;
    return ngtcp2_conn_client_new(&c->ng, &first, &own, &path, NGTCP2_PROTO_VER_V1, &quic_callbacks, &settings, &params,
                                  quic_memory(c), c) == 0 ? 0 : ENOMEM;
}

static int begin(struct quic_client *client, const struct quic_target *to) {
    struct quic_conn *c = &client->conn;
    int error = make_ng(client, to);
    if (error)
        return error;
    c->tls = tls_quic_connect(c->worker, to->tls, to->hostname, to->endpoint, c->ng);
    return c->tls ? 0 : errno;
}

/* Nothing has been sent, and nobody knows of it. */
static void give_up(struct quic_client *client) {
    struct quic_conn *c = &client->conn;
    tls_session_free(c->tls);
    ngtcp2_conn_del(c->ng);
    udp_close(&client->socket);
    quic_free_conn(c);
}

struct quic_conn *quic_connect(struct worker *w, const struct quic_target *to, struct quic_user *user) {
    if (to->address->u.any.sa_family == AF_UNIX) { /* of discovery; the library has no room for it */
        errno = EAFNOSUPPORT;
        return NULL;
    }
    struct quic_client *client = quic_room_of(w) ? (struct quic_client *)quic_alloc_conn(w, sizeof *client) : NULL;
    int error = client ? udp_connect(&client->socket, w, to->address, SOCKET_BUFFER, SOCKET_BUFFER, &socket_ops) : ENOMEM;
    if (!client) {
        errno = error;
        return NULL;
    }
    quic_conn_init(&client->conn, &client_role, w, &client->socket);
    note_origin(client, to);
    if (error == 0)
        error = begin(client, to);
    if (error) {
        give_up(client);
        errno = error;
        return NULL;
    }
    quic_set_user(&client->conn, user);
    quic_mark_dirty(&client->conn);
    return &client->conn;
}
