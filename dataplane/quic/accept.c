/* accept.c — the first packet of a client: who gets a connection, a Retry, a refusal or nothing. endpoint_private.h
 *
 * Nothing is kept before it is decided, and of a connection that begins with a packet that nobody can read nothing is left.
 * */
#include <string.h>

#include <ngtcp2/ngtcp2_crypto.h>
#include <xxhash.h>

#include "common/clock.h"
#include "dataplane/quic/endpoint_private.h"
#include "dataplane/tls/quic.h"

enum {
    INITIAL_LEAST = 1200,          /* RFC 9000 section 14.1 */
    ID_TRIES = 4,
};

static struct quic_server *server_of(struct quic_conn *c) {
    return (struct quic_server *)c;
}

/* ---- answers without a connection ---- */

void quic_send_versions(struct quic_endpoint *e, const struct quic_arrival *a) {
    uint8_t packet[NGTCP2_MAX_UDP_PAYLOAD_SIZE], noise;
    /* one of those that mean nothing, so that clients get used to unknown ones (section 15) */
    uint32_t versions[] = {0, NGTCP2_PROTO_VER_V1, NGTCP2_PROTO_VER_V2};
    if (a->datagram->n < INITIAL_LEAST) {
        stats_add(&e->worker->stats->quic_malformed_total, 1);
        return;
    }
    if (!quic_take_stateless(e->room, QUIC_STATELESS_VERSIONS))
        return;
    quic_random(e->room, &noise, 1);
    versions[0] = 0x0a0a0a0au | (uint32_t)(noise & 0xf0) << 8;
    if (versions[0] == a->ids.version)
        versions[0] ^= 0x10;
    ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(packet, sizeof packet, noise, a->ids.scid, a->ids.scidlen,
                                                          a->ids.dcid, a->ids.dcidlen, versions,
                                                          sizeof versions / sizeof *versions);
    if (n <= 0)
        return;
    quic_answer(e, a->datagram, packet, (size_t)n);
    stats_add(&e->worker->stats->quic_version_negotiations_total, 1);
}

static void send_retry(struct quic_endpoint *e, const struct udp_datagram *d, const ngtcp2_pkt_hd *initial) {
    uint8_t packet[NGTCP2_MAX_UDP_PAYLOAD_SIZE], token[QUIC_TOKEN_MAX], nonce[QUIC_TOKEN_NONCE];
    const struct quic_ids *ids = &e->issuer->ids;
    ngtcp2_cid id = {.datalen = ids->n};
    if (!quic_take_retry(e->room, d->remote, &initial->dcid) ||
        !quic_ids_make(ids, (uint8_t)e->worker->index, id.data))
        return;
    quic_random(e->room, nonce, sizeof nonce);
    size_t token_n = quic_token_retry(&e->room->tokens, initial->version, d->remote, &id, &initial->dcid,
                                      clock_realtime_us(), nonce, token);
    ngtcp2_ssize n = token_n ? ngtcp2_crypto_write_retry(packet, sizeof packet, initial->version, &initial->scid, &id,
                                                         &initial->dcid, token, token_n)
                             : 0;
    if (n <= 0)
        return;
    quic_answer(e, d, packet, (size_t)n);
    stats_add(&e->worker->stats->quic_retries_total, 1);
}

static void refuse(struct quic_endpoint *e, const struct udp_datagram *d, const ngtcp2_pkt_hd *initial, uint64_t code) {
    uint8_t packet[NGTCP2_MAX_UDP_PAYLOAD_SIZE];
    if (!quic_take_stateless(e->room, QUIC_STATELESS_REFUSAL))
        return;
    ngtcp2_ssize n = ngtcp2_crypto_write_connection_close(packet, sizeof packet, initial->version, &initial->scid,
                                                          &initial->dcid, code, NULL, 0);
    if (n > 0)
        quic_answer(e, d, packet, (size_t)n);
}

/* ---- the role ---- */

static struct quic_user *take_user(struct quic_conn *c) {
    struct quic_endpoint *e = c->endpoint;
    struct quic_user *user = e->is_stopped ? NULL : e->ops->accept(e->owner, c);
    stats_add(&c->worker->stats->quic_refused_total, user == NULL);
    return user;
}

/* The limits that a client may go by in 0-RTT packets; never 0. The same in every process. */
static uint64_t hash_limits(const struct quic_options *o) {
    const uint64_t limits[] = {
        o->initial_stream_window, o->initial_connection_window, o->max_concurrent_streams, QUIC_PEER_UNI_STREAMS,
        o->early_context,
    };
    return XXH3_64bits(limits, sizeof limits) | 1;
}

static struct tls_session *make_tls(struct quic_conn *c) {
    const struct quic_options *o = c->endpoint->options;
    return tls_quic_accept(c->worker, c->endpoint->tls, c->ng, o->early_data ? hash_limits(o) : 0);
}

/* One that no connection of the worker has: QUIC-LB leaves as little as four random octets. 0 or -1. */
static int invent_id(const struct quic_server *s, ngtcp2_cid *ret) {
    const struct quic_ids *ids = &s->issuer->ids;
    ngtcp2_cid made = {.datalen = ids->n};
    for (int tries = 0; tries < ID_TRIES; tries++) {
        if (!quic_ids_make(ids, (uint8_t)s->conn.worker->index, made.data))
            return -1;
        if (quic_name_find(s->conn.room, made.data, made.datalen))
            continue;
        *ret = made;
        return 0;
    }
    return -1;
}

static int make_id(struct quic_conn *c, ngtcp2_cid *id, ngtcp2_stateless_reset_token *token) {
    ngtcp2_cid made;
    if (invent_id(server_of(c), &made) < 0 || quic_token_reset(&c->room->tokens, &made, token) < 0 ||
        quic_name_add(c, made.data, made.datalen) < 0)
        return -1;
    *id = made;
    return 0;
}

/* For its next connection, so that it is not asked for its address again. */
static void give_token(struct quic_conn *c) {
    uint8_t token[QUIC_TOKEN_MAX], nonce[QUIC_TOKEN_NONCE];
    struct conn_ends ends;
    if (!quic_get_ends(c, &ends))
        return;
    quic_random(c->room, nonce, sizeof nonce);
    size_t n = quic_token_regular(&c->room->tokens, &ends.remote, clock_realtime_us(), nonce, token);
    if (n > 0)
        ngtcp2_conn_submit_new_token(c->ng, token, n); /* without memory it gets none */
}

static void end_handshake(struct quic_conn *c) {
    struct quic_server *s = server_of(c);
    if (!s->is_handshaking)
        return;
    s->is_handshaking = false;
    c->endpoint->handshakes--;
    stats_sub(&c->worker->stats->quic_handshakes, 1);
}

static void on_done(struct quic_conn *c) {
    end_handshake(c);
    stats_add(&c->worker->stats->quic_handshakes_total, 1);
    give_token(c);
}

static void on_blocked(struct quic_conn *c) {
    struct quic_endpoint *e = c->endpoint;
    if (c->waiting_link)
        return;
    c->next_waiting = e->waiting;
    c->waiting_link = &e->waiting;
    if (e->waiting)
        e->waiting->waiting_link = &c->next_waiting;
    e->waiting = c;
}

/* The library wants an address to be shown: the crypto data of the first flight came in too many pieces. */
static void on_refused(struct quic_conn *c, const struct udp_datagram *d, bool retry) {
    ngtcp2_pkt_hd initial;
    if (retry && ngtcp2_accept(&initial, d->bytes, d->n) == 0)
        send_retry(c->endpoint, d, &initial);
    else
        stats_add(&c->worker->stats->quic_malformed_total, 1);
}

static void on_ending(struct quic_conn *c) {
    end_handshake(c);
    stats_sub(&c->worker->stats->quic_connections, 1);
}

static void release(struct quic_conn *c) {
    quic_server_drop(server_of(c));
    quic_issuer_drop(server_of(c)->issuer);
    quic_free_conn(c);
}

static const struct quic_role server_role = {
    .is_server = true,
    .take_user = take_user,
    .make_tls = make_tls,
    .make_id = make_id,
    .on_done = on_done,
    .on_new_path = give_token,
    .on_blocked = on_blocked,
    .on_refused = on_refused,
    .on_ending = on_ending,
    .release = release,
};

/* ---- a connection ---- */

/* What a first packet has shown. */
struct admission {
    const ngtcp2_pkt_hd   *initial;
    enum quic_token_state  token;
    ngtcp2_cid             original;   /* QUIC_TOKEN_RETRY */
};

static void fill_params(const struct quic_server *s, const struct admission *a, const ngtcp2_cid *id,
                        ngtcp2_transport_params *p) {
    const struct quic_options *o = s->conn.endpoint->options;
    ngtcp2_stateless_reset_token token;
    quic_fill_params(o, p);
    p->initial_max_streams_bidi = o->max_concurrent_streams;
    p->initial_max_streams_uni = QUIC_PEER_UNI_STREAMS;
    p->disable_active_migration = !o->active_migration;
    p->original_dcid = a->initial->dcid;
    p->original_dcid_present = 1;
    if (a->token == QUIC_TOKEN_RETRY) {
        p->original_dcid = a->original;
        p->retry_scid = a->initial->dcid;
        p->retry_scid_present = 1;
    }
    if (quic_token_reset(&s->conn.room->tokens, id, &token) == 0) {
        memcpy(p->stateless_reset_token, token.data, sizeof token.data);
        p->stateless_reset_token_present = 1;
    }
}

/* Version 2 for who says in its handshake that it speaks both (RFC 9368: without another round trip); whatever a client that
 * says nothing begins with. */
static void fill_settings(const struct quic_server *s, const struct admission *a, const struct address *remote,
                          ngtcp2_settings *to) {
    static const uint32_t preferred[] = {NGTCP2_PROTO_VER_V2, NGTCP2_PROTO_VER_V1};
    quic_fill_settings(&s->conn, s->conn.endpoint->options, remote, to);
    to->preferred_versions = preferred;
    to->preferred_versionslen = sizeof preferred / sizeof *preferred;
    if (a->token != QUIC_TOKEN_RETRY && a->token != QUIC_TOKEN_REGULAR)
        return;
    to->token = a->initial->token;
    to->tokenlen = a->initial->tokenlen;
    to->token_type = a->token == QUIC_TOKEN_RETRY ? NGTCP2_TOKEN_TYPE_RETRY : NGTCP2_TOKEN_TYPE_NEW_TOKEN;
}

static int make_library(struct quic_server *s, const struct admission *a, const struct udp_datagram *d) {
    struct quic_conn *c = &s->conn;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid id;
    ngtcp2_path path = quic_path(d->local, d->remote);
    if (invent_id(s, &id) < 0)
        return -1;
    fill_settings(s, a, d->remote, &settings);
    fill_params(s, a, &id, &params);
    if (ngtcp2_conn_server_new(&c->ng, &a->initial->scid, &id, &path, a->initial->version, &quic_callbacks, &settings,
                               &params, quic_memory(c), c) != 0)
        return -1;
    return quic_name_add(c, id.data, id.datalen) | quic_name_add(c, a->initial->dcid.data, a->initial->dcid.datalen);
}

static void enlist(struct quic_server *s, struct quic_endpoint *e) {
    s->link = &e->first;
    s->next = e->first;
    if (s->next)
        s->next->link = &s->next;
    e->first = s;
    e->count++;
    e->handshakes++;
    s->is_handshaking = true;
    stats_add(&e->worker->stats->quic_connections, 1);
    stats_add(&e->worker->stats->quic_handshakes, 1);
    stats_add(&e->worker->stats->quic_connections_total, 1);
}

static void begin(struct quic_endpoint *e, const struct admission *a, const struct udp_datagram *d) {
    struct quic_conn *c = quic_alloc_conn(e->worker, sizeof(struct quic_server));
    if (!c) {
        stats_add(&e->worker->stats->quic_overload_total, 1);
        return;
    }
    quic_conn_init(c, &server_role, e->worker, &e->socket);
    c->endpoint = e;
    server_of(c)->issuer = e->issuer;
    e->issuer->users++;
    if (make_library(server_of(c), a, d) == 0) {
        enlist(server_of(c), e);
        quic_conn_receive(c, d);
        return;
    }
    stats_add(&e->worker->stats->quic_overload_total, 1);
    quic_names_clear(c);
    ngtcp2_conn_del(c->ng);
    quic_issuer_drop(server_of(c)->issuer);
    quic_free_conn(c);
}

/* ---- the decision ---- */

static bool is_full(const struct quic_endpoint *e) {
    const struct arena_budget *memory = &e->worker->session_memory;
    return e->handshakes >= e->options->max_handshakes || memory->used > memory->limit;
}

static bool wants_retry(const struct quic_endpoint *e) {
    return e->options->retry == QUIC_RETRY_ALWAYS ||
           (e->options->retry == QUIC_RETRY_UNDER_LOAD && e->handshakes >= e->options->retry_above);
}

static void decide(struct quic_endpoint *e, const struct admission *a, const struct udp_datagram *d) {
    struct stats *stats = e->worker->stats;
    bool is_validated = a->token == QUIC_TOKEN_RETRY || a->token == QUIC_TOKEN_REGULAR;
    stats_add(&stats->quic_tokens_accepted_total, is_validated);
    if (e->is_stopped) {
        stats_add(&stats->quic_refused_total, 1);
        refuse(e, d, a->initial, QUIC_CONNECTION_REFUSED);
    } else if (a->token == QUIC_TOKEN_BAD) {
        stats_add(&stats->quic_tokens_bad_total, 1);
        refuse(e, d, a->initial, QUIC_INVALID_TOKEN);
    } else if (!is_validated && wants_retry(e)) {
        send_retry(e, d, a->initial);
    } else if (is_full(e)) {
        stats_add(&stats->quic_overload_total, 1);
    } else {
        begin(e, a, d);
    }
}

void quic_accept_initial(struct quic_endpoint *e, const struct quic_arrival *arrival) {
    const struct udp_datagram *d = arrival->datagram;
    ngtcp2_pkt_hd initial;
    /* beside a token the library takes IDs of any length: of a Retry they are ours, and longer (section 7.2) */
    if (d->n < INITIAL_LEAST || ngtcp2_accept(&initial, d->bytes, d->n) != 0 ||
        initial.dcid.datalen < NGTCP2_MIN_INITIAL_DCIDLEN) {
        stats_add(&e->worker->stats->quic_malformed_total, 1);
        return;
    }
    struct admission a = {.initial = &initial};
    a.token = quic_token_check(&e->room->tokens, initial.token, initial.tokenlen, initial.version, d->remote, &initial.dcid,
                               clock_realtime_us(), &a.original);
    decide(e, &a, d);
}
