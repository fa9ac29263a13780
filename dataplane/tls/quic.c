#include "dataplane/tls/quic.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/clock.h"
#include "dataplane/core/worker.h"
#include "dataplane/tls/replay.h"
#include "dataplane/tls/server_private.h"
#include "dataplane/tls/session_private.h"

void tls_quic_init(void) {
    static bool is_done;
    if (!is_done)
        ngtcp2_crypto_ossl_init();
    is_done = true;
    tls_replay_begin(clock_monotonic_us());
}

static ngtcp2_conn *connection_of(ngtcp2_crypto_conn_ref *ref) {
    return ref->user_data;
}

int tls_quic_attach(struct tls_session *s, ngtcp2_conn *c) {
    if (ngtcp2_crypto_ossl_ctx_new(&s->quic, s->ssl) != 0)
        return -1;
    s->quic_ref = (ngtcp2_crypto_conn_ref){connection_of, c};
    s->begun_at = clock_monotonic_us();
    ngtcp2_conn_set_tls_native_handle(c, s->quic);
    return 0;
}

void tls_quic_detach(struct tls_session *s) {
    if (!s->quic)
        return;
    if (s->ssl)
        SSL_set_app_data(s->ssl, NULL); /* else it tells ngtcp2 what it has read, when it is freed */
    if (s->ssl && s->state != SESSION_FAILED) /* as in tls_session_free */
        SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(s->ssl);
    s->ssl = NULL;
    ngtcp2_conn_set_tls_native_handle(s->quic_ref.user_data, NULL);
    ngtcp2_crypto_ossl_ctx_del(s->quic);
    s->quic = NULL;
}

/* ---- servers ---- */

static int on_early_data(SSL *ssl, void *arg) {
    (void)arg;
    const struct tls_session *s = SSL_get_app_data(ssl);
    struct stats *stats = s->worker->worker->stats;
    unsigned char random[SSL3_RANDOM_SIZE];
    size_t n = SSL_get_client_random(ssl, random, sizeof random);
    bool is_taken = tls_server_ticket_limits(SSL_get0_session(ssl)) == s->early_limits &&
                    tls_replay_is_first((struct str){(const char *)random, n}, clock_monotonic_us());
    stats_add(is_taken ? &stats->quic_early_total : &stats->quic_early_refused_total, 1);
    return is_taken;
}

/* OpenSSL's own guard against replays keeps sessions in its cache instead of giving tickets: replay.h takes its place. */
static bool allow_early_data(SSL *ssl, const struct tls_server *server) {
    if (server->trust)
        return true; /* who a client is would not be known before the end of the handshake */
    SSL_set_options(ssl, SSL_OP_NO_ANTI_REPLAY);
    SSL_set_allow_early_data_cb(ssl, on_early_data, NULL);
    SSL_set_quic_tls_early_data_enabled(ssl, 1);
    return SSL_set_max_early_data(ssl, UINT32_MAX) == 1;
}

static bool prepare(struct tls_session *s, struct tls_server *server, ngtcp2_conn *c) {
    if (tls_quic_attach(s, c) < 0)
        return false;
    SSL_set_accept_state(s->ssl);
    return SSL_set_min_proto_version(s->ssl, TLS1_3_VERSION) == 1 &&
           ngtcp2_crypto_ossl_configure_server_session(s->ssl) == 0 &&
           (!s->early_limits || allow_early_data(s->ssl, server));
}

struct tls_session *tls_quic_accept(struct worker *w, struct tls_server *server, ngtcp2_conn *c, uint64_t early_limits) {
    struct tls_session *s = tls_session_make(w, &server->definition, false, true);
    if (s)
        s->early_limits = early_limits;
    bool is_good = s && prepare(s, server, c);
    ERR_clear_error();
    if (is_good)
        return s;
    tls_session_free(s);
    return NULL;
}

/* ---- while it is used ---- */

int tls_quic_on_keys(struct tls_session *s) {
    return tls_session_note(s);
}

enum tls_status tls_quic_on_done(struct tls_session *s) {
    return s->state == SESSION_HANDSHAKE ? tls_session_finish(s) : TLS_OK;
}

uint8_t tls_quic_on_failure(struct tls_session *s) {
    if (s->state != SESSION_FAILED)
        tls_session_fail(s, s->ssl ? tls_failure_of(s->ssl) : TLS_FAILURE_MALFORMED);
    ERR_clear_error();
    return s->alert;
}

void tls_quic_rest(struct tls_session *s) {
    if (s->ssl && !s->is_client && s->state == SESSION_OPEN)
        tls_quic_detach(s);
}

bool tls_quic_can_read(const struct tls_session *s) {
    return s->ssl != NULL;
}
