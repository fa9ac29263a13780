#include "dataplane/tls/server.h"

#include <endian.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "dataplane/core/worker.h"
#include "dataplane/tls/options.h"
#include "dataplane/tls/records.h"
#include "dataplane/tls/server_private.h"
#include "dataplane/tls/session_private.h"

static const char default_groups[] = "X25519MLKEM768:X25519:secp256r1:secp384r1";

static struct tls_server *server_of(const SSL *ssl) {
    return (struct tls_server *)definition_of(SSL_get_SSL_CTX(ssl));
}

/* ---- certificates: by name ---- */

static struct key_pair *pick(const struct tls_server *s, const char *name) {
    char room[DNS_NAME_MAX + 1];
    struct str canonical = tls_name_canonical(str_of(name ? name : ""), room);
    struct key_pair *p = canonical.n ? tls_names_find(&s->by_name, canonical) : NULL;
    return p || s->requires_name ? p : s->pairs[0];
}

static int on_server_name(SSL *ssl, int *ret_alert, void *arg) {
    (void)arg;
    struct tls_session *session = SSL_get_app_data(ssl);
    session->pair = pick(server_of(ssl), SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    if (session->pair)
        return SSL_TLSEXT_ERR_OK;
    session->failure = TLS_FAILURE_UNKNOWN_NAME;
    *ret_alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int use_kind(SSL *ssl, struct key_pair *p, unsigned kind, struct tls_library *l) {
    if (!key_pair_has(p, kind))
        return 1;
    const struct decoded_pair *d = key_pair_decoded(p, kind, l);
    return d ? SSL_use_cert_and_key(ssl, d->leaf, d->key, d->chain, 1) : 0;
}

/* The first pair is in the context already; a resumed session shows none. */
static int on_certificate(SSL *ssl, void *arg) {
    (void)arg;
    struct tls_session *session = SSL_get_app_data(ssl);
    struct tls_library *l = &session->worker->library;
    if (!session->pair || session->pair == server_of(ssl)->pairs[0] || SSL_session_reused(ssl))
        return 1;
    SSL_certs_clear(ssl);
    return use_kind(ssl, session->pair, 0, l) == 1 && use_kind(ssl, session->pair, 1, l) == 1;
}

static int on_status_request(SSL *ssl, void *arg) {
    (void)arg;
    const struct tls_session *session = SSL_get_app_data(ssl);
    struct key_pair *p = session->pair ? session->pair : server_of(ssl)->pairs[0];
    const X509 *shown = SSL_get_certificate(ssl);
    for (unsigned kind = 0; kind < 2; kind++) {
        const struct decoded_pair *d = key_pair_decoded(p, kind, &session->worker->library);
        struct str response = p->kinds[kind].ocsp;
        if (!d || d->leaf != shown || response.n == 0)
            continue;
        unsigned char *copy = OPENSSL_memdup(response.p, response.n);
        return copy && SSL_set_tlsext_status_ocsp_resp(ssl, copy, response.n) ? SSL_TLSEXT_ERR_OK
                                                                              : SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- protocols ---- */

static bool offers(const unsigned char *offered, unsigned n, struct str protocol) {
    for (unsigned i = 0; i < n; i += 1u + offered[i])
        if (offered[i] < n - i && str_eq((struct str){(const char *)offered + i + 1, offered[i]}, protocol))
            return true;
    return false;
}

/* What the transport can carry of what is allowed. */
static unsigned protocols_of(const struct tls_session *session, const SSL *ssl) {
    unsigned allowed = server_of(ssl)->protocols;
    return session->is_quic ? allowed & TLS_HTTP3 : allowed & ~(unsigned)TLS_HTTP3;
}

static int on_protocols(SSL *ssl, const unsigned char **ret, unsigned char *ret_n, const unsigned char *offered, unsigned n,
                        void *arg) {
    (void)arg;
    static const struct {
        unsigned   protocol;
        struct str name;
    } ours[] = {{TLS_HTTP3, {"h3", 2}}, {TLS_HTTP2, {"h2", 2}}, {TLS_HTTP1, {"http/1.1", 8}}};
    struct tls_session *session = SSL_get_app_data(ssl);
    unsigned allowed = protocols_of(session, ssl);
    if (server_of(ssl)->protocols == 0)
        return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (!(allowed & ours[i].protocol) || !offers(offered, n, ours[i].name))
            continue;
        *ret = (const unsigned char *)ours[i].name.p;
        *ret_n = (unsigned char)ours[i].name.n;
        return SSL_TLSEXT_ERR_OK;
    }
    session->failure = TLS_FAILURE_PROTOCOL;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool has_extension(SSL *ssl, unsigned type) {
    const unsigned char *bytes;
    size_t n;
    return SSL_client_hello_get0_ext(ssl, type, &bytes, &n) == 1;
}

/* Without ALPN it is HTTP/1.1 (RFC 9113 section 3.2): refused where that is not served, and always over QUIC (RFC 9001
 * section 8.1). */
static bool may_lack_protocols(const struct tls_session *session, const SSL *ssl) {
    return !session->is_quic && (server_of(ssl)->protocols == 0 || (server_of(ssl)->protocols & TLS_HTTP1));
}

static int on_client_hello(SSL *ssl, int *ret_alert, void *arg) {
    (void)arg;
    struct tls_session *session = SSL_get_app_data(ssl);
    if (session->is_quic && !has_extension(ssl, TLSEXT_TYPE_quic_transport_parameters)) { /* RFC 9001 section 8.2 */
        session->failure = TLS_FAILURE_MALFORMED;
        session->alert = TLS13_AD_MISSING_EXTENSION; /* OpenSSL has not chosen a version yet, and says an older one's */
        *ret_alert = SSL_AD_MISSING_EXTENSION;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (may_lack_protocols(session, ssl) || has_extension(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation))
        return SSL_CLIENT_HELLO_SUCCESS;
    session->failure = TLS_FAILURE_PROTOCOL;
    *ret_alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

/* ---- tickets ---- */

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int encrypt) {
    const struct tls_session *session = SSL_get_app_data(ssl);
    const struct tls_worker *w = session->worker;
    struct stats_tls *stats = &w->worker->stats->tls[STATS_TLS_CLIENTS];
    int status = ticket_keys_use(server_of(ssl)->tickets, &w->library, name, iv, cipher, mac, encrypt);
    if (encrypt)
        stats_add(&stats->tickets_issued, status > 0);
    else
        stats_add(&stats->tickets_rejected, status <= 0);
    /* In TLS 1.3 a client uses a ticket once (RFC 8446 appendix C.4): it gets the next one. */
    return !encrypt && status == 1 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : status;
}

/* What every ticket says, big-endian. */
struct ticket_note {
    uint64_t full_handshake;                /* when the one was that its chain began with, microseconds since 1970 */
    uint64_t early_limits;                  /* of the session that it was made in */
};

/* All of it 0: it says nothing. */
static struct ticket_note note_of(SSL_SESSION *session) {
    void *data;
    size_t n;
    struct ticket_note note = {0};
    if (SSL_SESSION_get0_ticket_appdata(session, &data, &n) == 1 && n == sizeof note)
        memcpy(&note, data, n);
    return (struct ticket_note){be64toh(note.full_handshake), be64toh(note.early_limits)};
}

uint64_t tls_server_ticket_limits(SSL_SESSION *session) {
    return session ? note_of(session).early_limits : 0;
}

/* Microseconds for which sessions of that handshake may still be resumed. Clocks of a fleet differ: the future is now. */
static uint64_t lifetime_left(const struct tls_server *s, uint64_t full_handshake) {
    uint64_t now = clock_realtime_us(), total = s->message->session_total_lifetime;
    uint64_t age = full_handshake < now ? now - full_handshake : 0;
    return age < total ? total - age : 0;
}

/* A ticket is about to be made. It promises no more than will be kept, in whole seconds. */
static int on_ticket_made(SSL *ssl, void *arg) {
    (void)arg;
    const struct tls_server *s = server_of(ssl);
    const struct tls_session *of = SSL_get_app_data(ssl);
    SSL_SESSION *session = SSL_get_session(ssl);
    uint64_t first = note_of(session).full_handshake;
    if (first == 0)
        first = clock_realtime_us();
    const struct ticket_note note = {htobe64(first), htobe64(of->early_limits)};
    if (SSL_SESSION_set1_ticket_appdata(session, &note, sizeof note) != 1)
        return 0;
    uint64_t left = lifetime_left(s, first), lifetime = s->message->session_lifetime;
    SSL_SESSION_set_timeout(session, (long)(((left < lifetime ? left : lifetime) + 999999) / 1000000));
    return 1;
}

/* Nobody looks at the client's certificate when a session is resumed, and each ticket is followed by a newer one: without
 * this neither a certificate nor what was agreed once would ever end (RFC 8446 section 4.6.1). A certificate that is revoked
 * ends with its trust, see below. */
static bool may_resume(const struct tls_server *s, SSL_SESSION *known) {
    const X509 *peer = SSL_SESSION_get0_peer(known);
    if (peer && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0)
        return false;
    uint64_t first = note_of(known).full_handshake;
    return first != 0 && lifetime_left(s, first) > 0;
}

static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *known, const unsigned char *name, size_t name_n,
                                        SSL_TICKET_STATUS status, void *arg) {
    (void)name, (void)name_n, (void)arg;
    bool is_good = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!is_good || !may_resume(server_of(ssl), known))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static int id_of_rules(const Headgate__ServerTls *m, struct resource_id *ret) {
    Headgate__ServerTls rules = HEADGATE__SERVER_TLS__INIT;
    rules.match_names = m->match_names;
    rules.n_match_names = m->n_match_names;
    rules.pins = m->pins;
    size_t n = headgate__server_tls__get_packed_size(&rules);
    uint8_t *packed = hg_malloc(n + 1);
    int status = packed ? resource_id_of(packed, headgate__server_tls__pack(&rules, packed), ret) : -1;
    hg_free(packed);
    return status;
}

/* A session is resumed only where clients are asked for the same certificates. */
static int set_session_context(struct tls_server *s, SSL_CTX *context) {
    struct resource_id id;
    struct {
        uint32_t           asked, leaf_alone;
        struct resource_id trust, rules;
    } policy = {
        .asked = (uint32_t)s->message->client_certificates,
        .leaf_alone = (uint32_t)s->message->only_verify_leaf_cert_crl,
    };
    if (s->trust)
        policy.trust = ((const struct kept *)s->trust)->id;
    if (id_of_rules(s->message, &policy.rules) < 0)
        return -1;
    return resource_id_of(&policy, sizeof policy, &id) == 0 &&
                   SSL_CTX_set_session_id_context(context, id.bytes, sizeof id.bytes) == 1
               ? 0
               : -1;
}

static int set_tickets(struct tls_server *s, SSL_CTX *context) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (set_session_context(s, context) < 0)
        return -1;
    if (!s->tickets) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(context, 0) == 1 ? 0 : -1;
    }
    SSL_CTX_set_timeout(context, (long)(s->message->session_lifetime / 1000000));
    bool ok = SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1 &&
              SSL_CTX_set_session_ticket_cb(context, on_ticket_made, on_ticket_read, NULL) == 1 &&
              SSL_CTX_set_num_tickets(context, 1) == 1;
    return ok ? 0 : -1;
}

/* ---- the context ---- */

static int on_verify(int is_good, X509_STORE_CTX *store) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    return peer_rules_verify(&server_of(ssl)->rules, is_good, store);
}

static int on_pins_alone(X509_STORE_CTX *store, void *arg) {
    return peer_rules_verify_pins_only(&((struct tls_server *)arg)->rules, store);
}

static bool counts_pins_alone(const Headgate__ServerTls *m) {
    return m->client_certificates != HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IGNORED && m->pins && m->pins->only;
}

static int mode_of(const struct tls_server *s) {
    bool is_required = s->message->client_certificates == HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    return SSL_VERIFY_PEER | (is_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
}

static int set_client_certificates(struct tls_server *s, SSL_CTX *context, struct tls_library *l) {
    if (counts_pins_alone(s->message)) {
        SSL_CTX_set_verify(context, mode_of(s), NULL);
        SSL_CTX_set_cert_verify_callback(context, on_pins_alone, s);
        return 0;
    }
    if (!s->trust)
        return 0;
    STACK_OF(X509_NAME) *names = trust_subjects(s->trust, l);
    if (!names)
        return -1;
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, mode_of(s), peer_rules_ask(&s->rules) ? on_verify : NULL);
    return trust_use(s->trust, context, s->message->only_verify_leaf_cert_crl, l);
}

/* Thousands of pairs: all but the first wait for a client that asks for them. */
static int set_first_pair(struct tls_server *s, SSL_CTX *context, struct tls_library *l, const struct tls_place *place) {
    for (unsigned kind = 0; kind < 2; kind++) {
        const struct decoded_pair *d = key_pair_decoded(s->pairs[0], kind, l);
        if (!d && !key_pair_has(s->pairs[0], kind))
            continue;
        if (d && SSL_CTX_use_cert_and_key(context, d->leaf, d->key, d->chain, 1) == 1)
            continue;
        if (place)
            tls_fault(place, "certificates[0]", ERROR_RANGE, "the certificate cannot be used: %s",
                      ERR_reason_error_string(ERR_peek_error()));
        return -1;
    }
    return 0;
}

static void set_callbacks(SSL_CTX *context) {
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_cert_cb(context, on_certificate, NULL);
    SSL_CTX_set_alpn_select_cb(context, on_protocols, NULL);
    SSL_CTX_set_tlsext_status_cb(context, on_status_request);
    SSL_CTX_set_client_hello_cb(context, on_client_hello, NULL);
    SSL_CTX_set_keylog_callback(context, records_on_secret);
}

static SSL_CTX *server_make(struct definition *d, struct tls_library *l, const struct tls_place *place) {
    struct tls_server *s = (struct tls_server *)d;
    const Headgate__ServerTls *m = s->message;
    const struct tls_options options = {
        m->min_version, m->max_version, m->cipher_suites, m->n_cipher_suites, m->ciphers, m->n_ciphers,
        m->groups, m->n_groups, default_groups,
    };
    SSL_CTX *context = SSL_CTX_new_ex(l->context, NULL, TLS_server_method());
    if (!context)
        return NULL;
    tls_options_common(context);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    set_callbacks(context);
    if (tls_options_apply(context, &options, place) == 0 && set_first_pair(s, context, l, place) == 0 &&
        set_client_certificates(s, context, l) == 0 && set_tickets(s, context) == 0)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* ---- building ---- */

static void server_destroy(struct definition *d) {
    struct tls_server *s = (struct tls_server *)d;
    map_finish(&s->by_name);
    for (size_t i = 0; i < s->pair_count; i++)
        key_pair_unref(s->pairs[i]);
    hg_free(s->pairs);
    trust_unref(s->trust);
    peer_rules_finish(&s->rules);
    ticket_keys_unref(s->tickets);
    if (s->message)
        headgate__server_tls__free_unpacked(s->message, NULL);
    hg_free(s);
}

static const struct definition_ops server_ops = {server_make, server_destroy};

struct building {
    const struct tls_secrets *secrets;
    const struct tls_place   *place;
};

static int add_names(struct tls_server *s, struct key_pair *p) {
    for (size_t i = 0; i < p->names.count; i++) {
        struct str name = str_of(p->names.items[i]);
        if (!map_get(&s->by_name, name) && map_set(&s->by_name, name, p) < 0)
            return -1;
    }
    return 0;
}

static int add_pairs(struct tls_server *s, const struct building *b) {
    const Headgate__ServerTls *m = s->message;
    int status = 0;
    s->pairs = hg_calloc(m->n_certificates + 1, sizeof(struct key_pair *));
    if (!s->pairs)
        return -1;
    if (m->n_certificates == 0)
        tls_fault(b->place, "certificates", ERROR_MISSING, "there is no certificate");
    for (size_t i = 0; i < m->n_certificates; i++) {
        struct tls_secret secret;
        char field[64];
        snprintf(field, sizeof field, "certificates[%zu]", i);
        struct key_pair *p = NULL;
        if (tls_find_secret(b->secrets, m->certificates[i], HEADGATE__SECRET__KIND_KEY_PAIR, b->place, field, &secret))
            p = key_pair_get(&secret, m->certificates[i], b->place);
        if (p)
            s->pairs[s->pair_count++] = p;
        if (!p || add_names(s, p) < 0)
            status = -1;
    }
    return m->n_certificates > 0 ? status : -1;
}

static int add_trust(struct tls_server *s, const struct building *b) {
    const Headgate__ServerTls *m = s->message;
    struct tls_secret secret;
    if (m->client_certificates == HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IGNORED || counts_pins_alone(m))
        return 0;
    if (!m->client_trust) {
        tls_fault(b->place, "client_trust", ERROR_MISSING, "needed to check certificates of clients");
        return -1;
    }
    if (tls_find_secret(b->secrets, m->client_trust, HEADGATE__SECRET__KIND_TRUST, b->place, "client_trust", &secret))
        s->trust = trust_get(&secret, m->client_trust, b->place);
    return s->trust ? 0 : -1;
}

/* Without keys that a fleet shares there are no tickets: OpenSSL's own would differ from worker to worker. */
static int add_tickets(struct tls_server *s, const struct building *b) {
    const char *own = s->message->ticket_keys, *name = own ? own : TLS_TICKET_SECRET;
    struct tls_secret secret;
    if (!s->message->tickets || (!own && !b->secrets->find(b->secrets->arg, name, &secret)))
        return 0;
    if (tls_find_secret(b->secrets, name, HEADGATE__SECRET__KIND_TICKET_KEYS, b->place, "ticket_keys", &secret))
        s->tickets = ticket_keys_get(&secret, b->place);
    return s->tickets ? 0 : -1;
}

static int fingerprint(const Headgate__ServerTls *m, unsigned protocols, const struct tls_secrets *secrets,
                       struct resource_id *ret) {
    struct fingerprint f;
    fingerprint_init(&f, 's', protocols, &m->base);
    for (size_t i = 0; i < m->n_certificates; i++)
        fingerprint_add_secret(&f, secrets, m->certificates[i]);
    fingerprint_add_secret(&f, secrets, m->client_trust);
    fingerprint_add_secret(&f, secrets, m->ticket_keys ? m->ticket_keys : TLS_TICKET_SECRET);
    return fingerprint_finish(&f, ret);
}

static Headgate__ServerTls *copy_message(const Headgate__ServerTls *m) {
    size_t n = headgate__server_tls__get_packed_size(m);
    uint8_t *packed = hg_malloc(n + 1);
    Headgate__ServerTls *copy = NULL;
    if (packed)
        copy = headgate__server_tls__unpack(NULL, headgate__server_tls__pack(m, packed), packed);
    hg_free(packed);
    return copy;
}

static int add_rules(struct tls_server *s, const struct building *b) {
    const Headgate__ServerTls *m = s->message;
    const struct peer_wish own = {m->match_names, m->n_match_names, m->pins};
    return tls_make_rules(&own, s->trust, true, b->place, &s->rules);
}

static int fill(struct tls_server *s, const struct building *b) {
    int status = add_pairs(s, b);
    status |= add_trust(s, b);
    status |= add_tickets(s, b);
    status |= add_rules(s, b);
    return status;
}

static struct tls_server *make(const Headgate__ServerTls *m, unsigned protocols, const struct resource_id *id,
                               const struct building *b) {
    struct tls_server *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->message = copy_message(m);
    s->protocols = protocols;
    s->requires_name = m->require_sni_match;
    if (!s->message || fill(s, b) < 0) {
        server_destroy(&s->definition);
        return NULL;
    }
    if (definition_init(&s->definition, &server_ops, id, b->place) == 0)
        return s;
    definition_release(&s->definition);
    return NULL;
}

struct tls_server *tls_server_build(const Headgate__ServerTls *message, unsigned protocols,
                                    const struct tls_secrets *secrets, const struct tls_place *place) {
    const struct building b = {secrets, place};
    struct resource_id id;
    size_t before = place->errors->count;
    struct tls_server *s = NULL;
    if (fingerprint(message, protocols, secrets, &id) == 0) {
        s = (struct tls_server *)definition_find(&id);
        if (!s)
            s = make(message, protocols, &id, &b);
    }
    if (!s && place->errors->count == before)
        tls_memory_fault(place);
    return s;
}

void tls_server_unref(struct tls_server *s) {
    definition_release(s ? &s->definition : NULL);
}

/* ---- what is asked of it ---- */

static bool tells(const struct tls_server *s, Headgate__ServerTls__Identity way, bool otherwise) {
    if (s->message->client_certificates == HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IGNORED)
        return false;
    for (size_t i = 0; i < s->message->n_identity; i++)
        if (s->message->identity[i] == way)
            return true;
    return s->message->n_identity == 0 && otherwise;
}

bool tls_server_tells_xfcc(const struct tls_server *s) {
    return tells(s, HEADGATE__SERVER_TLS__IDENTITY__XFCC, true);
}

bool tls_server_tells_client_cert(const struct tls_server *s) {
    return tells(s, HEADGATE__SERVER_TLS__IDENTITY__CLIENT_CERT, false);
}
