#include "dataplane/tls/session.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "dataplane/core/worker.h"
#include "dataplane/tls/client_private.h"
#include "dataplane/tls/identity.h"
#include "dataplane/tls/quic.h"
#include "dataplane/tls/records.h"
#include "dataplane/tls/server_private.h"
#include "dataplane/tls/session_private.h"

static struct stats_tls *stats_of(const struct tls_session *s) {
    return &s->worker->worker->stats->tls[s->is_client ? STATS_TLS_ORIGINS : STATS_TLS_CLIENTS];
}

/* ---- making ---- */

static SSL *make_ssl(struct tls_session *s, struct definition *d) {
    SSL_CTX *context = definition_context(d, &s->worker->library);
    SSL *ssl = context ? SSL_new(context) : NULL;
    if (!ssl || !SSL_set_app_data(ssl, s) || (!s->is_quic && !BIO_up_ref(s->worker->bio))) {
        SSL_free(ssl);
        return NULL;
    }
    if (!s->is_quic)
        SSL_set_bio(ssl, s->worker->bio, s->worker->bio); /* of equal ones it takes one reference */
    return ssl;
}

struct tls_session *tls_session_make(struct worker *w, struct definition *d, bool is_client, bool is_quic) {
    struct tls_worker *t = tls_worker_of(w);
    struct tls_session *s = t ? hg_calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    s->worker = t;
    s->is_client = is_client;
    s->is_quic = is_quic;
    s->ssl = make_ssl(s, d);
    ERR_clear_error();
    if (s->ssl)
        return s;
    tls_session_free(s);
    return NULL;
}

struct tls_session *tls_session_accept(struct worker *w, struct tls_server *server) {
    struct tls_session *s = tls_session_make(w, &server->definition, false, false);
    if (s)
        SSL_set_accept_state(s->ssl);
    return s;
}

void tls_session_free(struct tls_session *s) {
    if (!s)
        return;
    /* else OpenSSL takes the session for broken, and it is not resumed any more */
    if (s->ssl && s->state != SESSION_FAILED)
        SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    tls_quic_detach(s);
    SSL_free(s->ssl);
    records_free(s->records);
    hg_free(s->server_name);
    hg_free(s->peer);
    hg_free(s->origin);
    hg_free(s);
    ERR_clear_error();
}

/* ---- towards origins ---- */

static bool is_address(const char *name) {
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
    ASN1_OCTET_STRING_free(ip);
    ERR_clear_error();
    return ip != NULL;
}

/* The origin's certificate must have one of these names. Its subject's common name does not count (RFC 9110
 * section 4.3.4). */
static int expect_name(SSL *ssl, const char *name) {
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(rules, name) == 1 ? 0 : -1;
    return X509_VERIFY_PARAM_add1_host(rules, name, 0) == 1 ? 0 : -1;
}

static int expect_names(struct tls_session *s, const Headgate__ClientTls *m, const char *hostname) {
    int status = 0;
    if (m->insecure || m->any_name || m->n_match_names || (m->pins && m->pins->only))
        return 0;
    for (size_t i = 0; i < m->n_names; i++)
        status |= expect_name(s->ssl, m->names[i]);
    if (m->n_names == 0 && !*hostname)
        s->failure = TLS_FAILURE_NAME_MISMATCH; /* there is nothing that it could match: tls_handshake fails */
    else if (m->n_names == 0)
        status = expect_name(s->ssl, hostname);
    return status;
}

/* What must be equal for a session to be resumed: the definition, the endpoint, the name that was verified. */
static int set_origin(struct tls_session *s, const struct tls_client *c, const char *hostname, const void *endpoint) {
    size_t n = strlen(hostname);
    struct {
        uint64_t  serial;
        uintptr_t endpoint;
    } key = {c->definition.serial, (uintptr_t)endpoint};
    s->origin_n = sizeof key + n;
    s->origin = hg_malloc(s->origin_n);
    if (!s->origin)
        return -1;
    memcpy(s->origin, &key, sizeof key);
    memcpy(s->origin + sizeof key, hostname, n);
    return 0;
}

static int prepare(struct tls_session *s, const struct tls_client *c, const char *hostname, const void *endpoint) {
    if (expect_names(s, c->message, hostname) < 0 || set_origin(s, c, hostname, endpoint) < 0)
        return -1;
    if (*hostname && !is_address(hostname) && SSL_set_tlsext_host_name(s->ssl, hostname) != 1)
        return -1;
    SSL_SESSION *known = session_cache_find(&s->worker->sessions, (struct str){s->origin, s->origin_n});
    if (known && SSL_set_session(s->ssl, known) != 1)
        return -1;
    SSL_set_connect_state(s->ssl);
    return 0;
}

struct tls_session *tls_session_make_client(struct worker *w, struct tls_client *client, struct str hostname,
                                            const void *endpoint, bool is_quic) {
    struct tls_session *s = tls_session_make(w, &client->definition, true, is_quic);
    const char *sni = client->message->sni;
    char *name = s ? sni ? hg_strdup(sni) : hg_strndup(hostname.p ? hostname.p : "", hostname.n) : NULL;
    int status = name ? prepare(s, client, name, endpoint) : -1;
    hg_free(name);
    ERR_clear_error();
    if (status == 0)
        return s;
    tls_session_free(s);
    return NULL;
}

struct tls_session *tls_session_connect(struct worker *w, struct tls_client *client, struct str hostname,
                                        const void *endpoint) {
    return tls_session_make_client(w, client, hostname, endpoint, false);
}

int tls_session_on_ticket(SSL *ssl, SSL_SESSION *session) {
    struct tls_session *s = SSL_get_app_data(ssl);
    session_cache_put(&s->worker->sessions, (struct str){s->origin, s->origin_n}, session);
    return 1; /* it is the cache's */
}

void tls_session_offer_nothing(struct tls_session *s) {
    s->offers_nothing = true;
    SSL_set_alpn_protos(s->ssl, NULL, 0); /* only takes memory away */
}

/* ---- failures ---- */

enum tls_status tls_session_fail(struct tls_session *s, enum tls_failure why) {
    if (s->failure == TLS_FAILURE_NONE)
        s->failure = why;
    s->state = SESSION_FAILED;
    stats_add(&stats_of(s)->failures[s->failure], 1);
    /* A session that an origin does not like is not offered again. */
    if (s->origin)
        session_cache_forget(&s->worker->sessions, (struct str){s->origin, s->origin_n});
    return TLS_FAILED;
}

/* After a call of OpenSSL that did not succeed. */
static enum tls_status status_of(struct tls_session *s, int returned) {
    switch (SSL_get_error(s->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        ERR_clear_error();
        return TLS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        ERR_clear_error();
        s->state = SESSION_ENDED;
        return TLS_EOF;
    default:
        return tls_session_fail(s, tls_failure_of(s->ssl));
    }
}

/* ---- the handshake ---- */

static void count_handshake(const struct tls_session *s) {
    static const uint64_t bounds[] = STATS_TLS_BOUNDS;
    struct stats_tls *stats = stats_of(s);
    uint64_t us = clock_monotonic_us() - s->begun_at;
    unsigned bucket = 0;
    while (bucket < sizeof bounds / sizeof *bounds && us > bounds[bucket])
        bucket++;
    stats_add(&stats->buckets[bucket], 1);
    stats_add(&stats->handshake_us, us);
    stats_add(s->is_resumed ? &stats->resumed : &stats->full, 1);
    stats_add(SSL_version(s->ssl) == TLS1_3_VERSION ? &stats->version_1_3 : &stats->version_1_2, 1);
}

static uint8_t agreed_protocol(const SSL *ssl) {
    const unsigned char *p;
    unsigned n;
    SSL_get0_alpn_selected(ssl, &p, &n);
    if (n == 2)
        return memcmp(p, "h2", 2) == 0 ? TLS_HTTP2 : memcmp(p, "h3", 2) == 0 ? TLS_HTTP3 : TLS_HTTP1;
    return n == 0 ? 0 : TLS_HTTP1;
}

static int keep_name(struct tls_session *s) {
    const char *name = SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name);
    char room[DNS_NAME_MAX + 1];
    struct str canonical = tls_name_canonical(str_of(name ? name : ""), room);
    if (canonical.n == 0 || s->is_client || s->server_name)
        return 0;
    s->server_name = hg_strndup(canonical.p, canonical.n);
    return s->server_name ? 0 : -1;
}

int tls_session_note(struct tls_session *s) {
    s->protocol = agreed_protocol(s->ssl);
    return keep_name(s);
}

static int keep_identity(struct tls_session *s) {
    X509 *peer = s->is_client ? NULL : SSL_get0_peer_certificate(s->ssl);
    return peer ? tls_identity_fill(s, peer) : 0;
}

static bool speaks_wrong(const struct tls_session *s) {
    const struct tls_client *c = (struct tls_client *)definition_of(SSL_get_SSL_CTX(s->ssl));
    return s->is_client && !s->offers_nothing && c->protocol != TLS_HTTP1 && s->protocol != c->protocol;
}

enum tls_status tls_session_finish(struct tls_session *s) {
    s->state = SESSION_OPEN;
    s->is_resumed = SSL_session_reused(s->ssl);
    s->pair = NULL;
    int status = tls_session_note(s) < 0 ? -1 : keep_identity(s);
    ERR_clear_error();
    if (status < 0)
        return tls_session_fail(s, TLS_FAILURE_MEMORY);
    if (speaks_wrong(s))
        return tls_session_fail(s, TLS_FAILURE_PROTOCOL);
    count_handshake(s);
    return TLS_OK;
}

/* `written`: what the last step of the handshake sent. */
static enum tls_status finish_handshake(struct tls_session *s, const uint8_t *written, size_t n) {
    enum tls_status status = tls_session_finish(s);
    if (status == TLS_OK && !s->is_client)
        records_take_over(s, written, n);
    return status;
}

enum tls_status tls_handshake(struct tls_session *s) {
    if (s->state != SESSION_HANDSHAKE)
        return s->state == SESSION_FAILED ? TLS_FAILED : TLS_OK;
    if (s->failure != TLS_FAILURE_NONE)
        return tls_session_fail(s, s->failure);
    if (s->begun_at == 0 && (s->is_client || s->worker->io.in_n > 0))
        s->begun_at = clock_monotonic_us();
    struct tls_io *io = &s->worker->io;
    size_t before = io->out_n;
    int returned = SSL_do_handshake(s->ssl);
    if (returned == 1)
        return finish_handshake(s, io->out + before, io->out_n - before);
    enum tls_status status = status_of(s, returned);
    return status == TLS_EOF ? tls_session_fail(s, TLS_FAILURE_MALFORMED) : status;
}

/* ---- bytes ---- */

static enum tls_status read_records(struct tls_session *s, uint8_t *room, size_t n, size_t *ret) {
    enum tls_failure why = TLS_FAILURE_MALFORMED;
    enum tls_status status = records_read(s->records, &s->worker->io, room, n, ret, &why);
    if (status == TLS_EOF)
        s->state = SESSION_ENDED;
    if (status != TLS_FAILED)
        return status;
    ERR_clear_error(); /* a thousand instructions, so only where there can be one */
    return tls_session_fail(s, why);
}

enum tls_status tls_read(struct tls_session *s, uint8_t *room, size_t n, size_t *ret) {
    if (s->state != SESSION_OPEN)
        return s->state == SESSION_ENDED ? TLS_EOF : TLS_FAILED;
    if (s->records)
        return read_records(s, room, n, ret);
    int returned = SSL_read_ex(s->ssl, room, n, ret);
    return returned == 1 ? TLS_OK : status_of(s, returned);
}

enum tls_status tls_write(struct tls_session *s, const void *bytes, size_t n) {
    size_t written;
    if (s->state != SESSION_OPEN && s->state != SESSION_ENDED)
        return TLS_FAILED;
    if (s->records)
        return records_write(s->records, &s->worker->io, bytes, n) == TLS_OK ? TLS_OK
                                                                             : tls_session_fail(s, TLS_FAILURE_MEMORY);
    /* In the middle of a peer's message OpenSSL reads on before it writes: what stands there may be another connection's. */
    struct tls_io *io = &s->worker->io;
    size_t received = io->in_n;
    io->in_n = 0;
    int returned = SSL_write_ex(s->ssl, bytes, n, &written);
    io->in_n = received;
    if (returned == 1)
        return TLS_OK;
    /* Nothing but lack of room or memory stops a write: the caller keeps TLS_OUT_RESERVE. */
    status_of(s, returned);
    return s->state == SESSION_FAILED ? TLS_FAILED : tls_session_fail(s, TLS_FAILURE_MEMORY);
}

bool tls_must_read(const struct tls_session *s) {
    return s->ssl && s->state == SESSION_OPEN && SSL_in_init(s->ssl);
}

size_t tls_kept(const struct tls_session *s) {
    return s->records ? records_kept(s->records) : 0;
}

void tls_close_notify(struct tls_session *s) {
    if ((s->state != SESSION_OPEN && s->state != SESSION_ENDED) || s->has_said_goodbye)
        return;
    s->has_said_goodbye = true;
    if (s->records)
        records_close_notify(s->records, &s->worker->io);
    else
        SSL_shutdown(s->ssl);
    ERR_clear_error();
}

/* ---- what is asked of it ---- */

struct str tls_protocol(const struct tls_session *s) {
    switch (s->protocol) {
    case TLS_HTTP1:
        return STR("http/1.1");
    case TLS_HTTP2:
        return STR("h2");
    case TLS_HTTP3:
        return STR("h3");
    default:
        return STR("");
    }
}

struct str tls_server_name(const struct tls_session *s) {
    return str_of(s->server_name ? s->server_name : "");
}

bool tls_is_resumed(const struct tls_session *s) {
    return s->is_resumed;
}

const char *tls_failure(const struct tls_session *s) {
    return tls_failure_word(s->failure);
}

struct str tls_peer_text(const struct tls_session *s) {
    return s->peer ? (struct str){s->peer, s->peer_text_n} : STR("");
}

struct str tls_peer_base64(const struct tls_session *s) {
    return s->peer ? (struct str){s->peer + s->peer_text_n + 1, s->peer_base64_n} : STR("");
}
