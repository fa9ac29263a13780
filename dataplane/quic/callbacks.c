/* callbacks.c — what ngtcp2 calls. Each returns 0, or NGTCP2_ERR_CALLBACK_FAILURE once the connection is to be closed; none
 * frees anything. conn_private.h */
#include <ngtcp2/ngtcp2_crypto.h>

#include "dataplane/quic/conn_private.h"
#include "dataplane/quic/keys.h"
#include "dataplane/tls/quic.h"

/* What a callback returns: nothing goes on once somebody has called quic_close. */
static int goes_on(const struct quic_conn *c) {
    return c->wants_close ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- packets ---- */

enum { TAG_SIZE = 16, LONG_HEADER = 0x80 };

static _Thread_local struct quic_conn *reading;   /* the library does not say whose packet it decrypts */

void quic_read_begin(struct quic_conn *c) {
    c->room->peeked.stop_count = 0;
    c->room->peeked.resets_ours = false;
    reading = c;
}

void quic_read_end(struct quic_conn *c) {
    const struct quic_peeked *p = &c->room->peeked;
    reading = NULL;
    for (size_t i = 0; i < p->stop_count && c->user && !c->wants_close; i++)
        c->user->ops->on_stop_sending(c->user, p->stops[i].id, p->stops[i].code);
}

/* 0-RTT is type 1 in version 1, and type 2 in version 2 (RFC 9369 section 3.2), whose number begins with another octet. */
static bool is_of_application(const uint8_t *header) {
    return !(header[0] & LONG_HEADER) || (header[0] >> 4 & 3) == (header[1] ? 2 : 1);
}

static int decrypt(uint8_t *plain, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *context,
                   const uint8_t *sealed, size_t n, const uint8_t *nonce, size_t nonce_n, const uint8_t *header,
                   size_t header_n) {
    int status = quic_unseal(plain, aead, context, sealed, n, nonce, nonce_n, header, header_n);
    if (status == 0 && reading && is_of_application(header))
        quic_peek(&reading->room->peeked, reading->role->is_server, plain, n - TAG_SIZE);
    return status;
}

/* ---- the handshake ---- */

enum { ALERT_UNEXPECTED_MESSAGE = 10, ALERT_ILLEGAL_PARAMETER = 47, ALERT_INTERNAL_ERROR = 80 };

static int refuse_crypto(ngtcp2_conn *ng, uint8_t alert) {
    ngtcp2_conn_set_tls_alert(ng, alert);
    return NGTCP2_ERR_CRYPTO;
}

/* A server has no TLS before an Initial has shown to be a client's: what is no Initial costs no session. */
static int on_crypto(ngtcp2_conn *ng, ngtcp2_encryption_level level, uint64_t offset, const uint8_t *bytes, size_t n,
                     void *user) {
    struct quic_conn *c = user;
    if (c->role->is_server && level == NGTCP2_ENCRYPTION_LEVEL_INITIAL && !quic_hello_take(&c->hello, bytes, n))
        return refuse_crypto(ng, ALERT_ILLEGAL_PARAMETER); /* OpenSSL's, for what is too long for it */
    if (!c->tls && c->role->make_tls)
        c->tls = c->role->make_tls(c);
    if (!c->tls)
        return refuse_crypto(ng, ALERT_INTERNAL_ERROR);
    if (!tls_quic_can_read(c->tls))
        return refuse_crypto(ng, ALERT_UNEXPECTED_MESSAGE);
    int status = ngtcp2_crypto_recv_crypto_data_cb(ng, level, offset, bytes, n, user);
    uint8_t alert = status != 0 && !c->wants_close ? tls_quic_on_failure(c->tls) : 0;
    if (alert)
        ngtcp2_conn_set_tls_alert(ng, alert);
    return status;
}

static int on_write_key(ngtcp2_conn *ng, ngtcp2_encryption_level level, void *user) {
    struct quic_conn *c = user;
    (void)ng;
    if (level != NGTCP2_ENCRYPTION_LEVEL_1RTT)
        return 0;
    if (tls_quic_on_keys(c->tls) < 0) {
        quic_close(c, QUIC_TRANSPORT, QUIC_INTERNAL_ERROR, "");
        return goes_on(c);
    }
    if (!c->user)
        quic_set_user(c, c->role->take_user(c));
    if (c->user)
        c->user->ops->on_open(c->user);
    else
        quic_close(c, QUIC_TRANSPORT, QUIC_CONNECTION_REFUSED, "");
    return goes_on(c);
}

static int on_handshake_done(ngtcp2_conn *ng, void *user) {
    struct quic_conn *c = user;
    (void)ng;
    if (tls_quic_on_done(c->tls) != TLS_OK) {
        quic_close(c, QUIC_TRANSPORT, QUIC_INTERNAL_ERROR, "");
        return goes_on(c);
    }
    c->state = QUIC_OPEN;
    c->was_open = true;
    if (c->role->on_done)
        c->role->on_done(c);
    if (c->user)
        c->user->ops->on_handshake_done(c->user);
    return goes_on(c);
}

static int on_new_token(ngtcp2_conn *ng, const uint8_t *token, size_t n, void *user) {
    struct quic_conn *c = user;
    (void)ng;
    if (c->role->on_token)
        c->role->on_token(c, token, n);
    return goes_on(c);
}

/* ---- IDs and paths ---- */

static void on_random(uint8_t *bytes, size_t n, const ngtcp2_rand_ctx *context) {
    quic_random(context->native_handle, bytes, n);
}

static int on_challenge(ngtcp2_conn *ng, ngtcp2_path_challenge_data *ret, void *user) {
    struct quic_conn *c = user;
    (void)ng;
    quic_random(c->room, ret->data, sizeof ret->data);
    quic_unproven_asked(c);
    return 0;
}

static int on_wanted_id(ngtcp2_conn *ng, ngtcp2_cid *id, ngtcp2_stateless_reset_token *token, size_t n, void *user) {
    struct quic_conn *c = user;
    (void)ng, (void)n;
    return c->role->make_id(c, id, token) == 0 ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_retired_id(ngtcp2_conn *ng, const ngtcp2_cid *id, void *user) {
    (void)ng;
    quic_name_remove(user, id->data, id->datalen);
    return 0;
}

/* A path that is tried has the one before to fall back on; one that is only looked at again has none. */
static bool is_move(const ngtcp2_path *path, const ngtcp2_path *fallback) {
    struct address now, before;
    return fallback && quic_address_of(&path->remote, &now) && quic_address_of(&fallback->remote, &before) &&
           !address_equal(&now, &before);
}

static int on_path_tried(ngtcp2_conn *ng, uint32_t flags, const ngtcp2_path *path, const ngtcp2_path *fallback, void *user) {
    struct address local, remote;
    (void)ng, (void)flags, (void)fallback;
    if (quic_address_of(&path->local, &local) && quic_address_of(&path->remote, &remote))
        quic_unproven_begin(user, &local, &remote);
    return 0;
}

static int on_path_validated(ngtcp2_conn *ng, uint32_t flags, const ngtcp2_path *path, const ngtcp2_path *fallback,
                             ngtcp2_path_validation_result result, void *user) {
    struct quic_conn *c = user;
    (void)ng;
    quic_unproven_end(c);
    if (result != NGTCP2_PATH_VALIDATION_RESULT_SUCCESS)
        return 0;
    stats_add(&c->worker->stats->quic_migrations_total, is_move(path, fallback));
    if (is_move(path, fallback))
        quic_path_changed(c);
    if ((flags & NGTCP2_PATH_VALIDATION_FLAG_NEW_TOKEN) && c->role->on_new_path)
        c->role->on_new_path(c);
    return goes_on(c);
}

static int on_reset_received(ngtcp2_conn *ng, const ngtcp2_pkt_stateless_reset2 *reset, void *user) {
    struct quic_conn *c = user;
    (void)ng, (void)reset;
    c->was_reset = true;
    stats_add(&c->worker->stats->quic_resets_received_total, 1);
    return 0;
}

/* ---- streams ---- */

static int on_stream_data(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *bytes, size_t n,
                          void *user, void *of_stream) {
    struct quic_conn *c = user;
    (void)ng, (void)offset, (void)of_stream;
    bool early = flags & NGTCP2_STREAM_DATA_FLAG_0RTT, fin = flags & NGTCP2_STREAM_DATA_FLAG_FIN;
    if (!c->user || c->user->ops->on_stream_data(c->user, id, bytes, n, fin, early) < 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return goes_on(c);
}

static int on_acked(ngtcp2_conn *ng, int64_t id, uint64_t offset, uint64_t n, void *user, void *of_stream) {
    struct quic_conn *c = user;
    (void)ng, (void)offset, (void)of_stream;
    quic_path_acked(c, n);
    if (c->user)
        c->user->ops->on_stream_acked(c->user, id, n);
    return goes_on(c);
}

static int on_stream_closed(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t code, void *user, void *of_stream) {
    struct quic_conn *c = user;
    (void)ng, (void)of_stream;
    bool has_code = flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET;
    if (has_code)
        quic_path_forget(c);
    if (c->user)
        c->user->ops->on_stream_close(c->user, id, has_code ? code : QUIC_NO_CODE);
    return goes_on(c);
}

static int on_stream_reset(ngtcp2_conn *ng, int64_t id, uint64_t final_size, uint64_t code, void *user, void *of_stream) {
    struct quic_conn *c = user;
    (void)ng, (void)final_size, (void)of_stream;
    if (c->user)
        c->user->ops->on_stream_reset(c->user, id, code);
    return goes_on(c);
}

static int on_window(ngtcp2_conn *ng, int64_t id, uint64_t most, void *user, void *of_stream) {
    struct quic_conn *c = user;
    (void)ng, (void)most, (void)of_stream;
    if (c->user)
        c->user->ops->on_stream_window(c->user, id);
    return goes_on(c);
}

static int on_streams(ngtcp2_conn *ng, uint64_t most, void *user) {
    struct quic_conn *c = user;
    (void)ng, (void)most;
    if (c->user)
        c->user->ops->on_streams(c->user);
    return goes_on(c);
}

const ngtcp2_callbacks quic_callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = on_crypto,
    .handshake_completed = on_handshake_done,
    .encrypt = quic_seal,
    .decrypt = decrypt,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_stream_data = on_stream_data,
    .acked_stream_data_offset = on_acked,
    .stream_close = on_stream_closed,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .extend_max_local_streams_bidi = on_streams,
    .extend_max_local_streams_uni = on_streams,
    .rand = on_random,
    .remove_connection_id = on_retired_id,
    .update_key = quic_update_key,
    .begin_path_validation = on_path_tried,
    .path_validation = on_path_validated,
    .stream_reset = on_stream_reset,
    .extend_max_stream_data = on_window,
    .recv_new_token = on_new_token,
    .delete_crypto_aead_ctx = quic_delete_context,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .recv_tx_key = on_write_key,
    .recv_stateless_reset2 = on_reset_received,
    .get_new_connection_id2 = on_wanted_id,
    .get_path_challenge_data2 = on_challenge,
};
