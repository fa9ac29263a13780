#include "dataplane/tls/client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/alloc.h"
#include "dataplane/tls/client_private.h"
#include "dataplane/tls/options.h"
#include "dataplane/tls/session_private.h"

/* Shares of the first two are sent: an origin without the first needs no second flight. */
static const char default_groups[] = "*X25519MLKEM768:*X25519:secp256r1:secp384r1";

/* ---- the context ---- */

static int on_verify(int is_good, X509_STORE_CTX *store) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    return peer_rules_verify(&((struct tls_client *)definition_of(SSL_get_SSL_CTX(ssl)))->rules, is_good, store);
}

static int on_pins_alone(X509_STORE_CTX *store, void *arg) {
    return peer_rules_verify_pins_only(&((struct tls_client *)arg)->rules, store);
}

static bool counts_pins_alone(const struct tls_client *c) {
    return c->message->pins && c->message->pins->only && !c->message->insecure;
}

static int set_verification(struct tls_client *c, SSL_CTX *context, struct tls_library *l) {
    if (counts_pins_alone(c)) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_cert_verify_callback(context, on_pins_alone, c);
        return 0;
    }
    if (!c->trust) {
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, peer_rules_ask(&c->rules) ? on_verify : NULL);
    return trust_use(c->trust, context, c->message->only_verify_leaf_cert_crl, l);
}

static int set_certificate(struct tls_client *c, SSL_CTX *context, struct tls_library *l, const struct tls_place *place) {
    for (unsigned kind = 0; c->certificate && kind < 2; kind++) {
        const struct decoded_pair *d = key_pair_decoded(c->certificate, kind, l);
        if (!d && !key_pair_has(c->certificate, kind))
            continue;
        if (d && SSL_CTX_use_cert_and_key(context, d->leaf, d->key, d->chain, 1) == 1)
            continue;
        if (place)
            tls_fault(place, "certificate", ERROR_RANGE, "the certificate cannot be used: %s",
                      ERR_reason_error_string(ERR_peek_error()));
        return -1;
    }
    return 0;
}

static int set_protocol(const struct tls_client *c, SSL_CTX *context) {
    static const unsigned char h1[] = "\x08http/1.1", h2[] = "\x02h2", h3[] = "\x02h3";
    const unsigned char *offered = c->protocol == TLS_HTTP3 ? h3 : c->protocol == TLS_HTTP2 ? h2 : h1;
    return SSL_CTX_set_alpn_protos(context, offered, offered[0] + 1u) == 0 ? 0 : -1;
}

/* RFC 9001 section 4.2. */
static int check_version(const struct tls_client *c, const struct tls_place *place) {
    if (c->protocol != TLS_HTTP3 || c->message->max_version == HEADGATE__TLS_VERSION__TLS_1_3)
        return 0;
    if (place)
        tls_fault(place, "max_version", ERROR_CONFLICT, "HTTP/3 needs TLS 1.3");
    return -1;
}

static SSL_CTX *client_make(struct definition *d, struct tls_library *l, const struct tls_place *place) {
    struct tls_client *c = (struct tls_client *)d;
    const Headgate__ClientTls *m = c->message;
    const struct tls_options options = {
        m->min_version, m->max_version, m->cipher_suites, m->n_cipher_suites, m->ciphers, m->n_ciphers,
        m->groups, m->n_groups, default_groups,
    };
    SSL_CTX *context = check_version(c, place) == 0 ? SSL_CTX_new_ex(l->context, NULL, TLS_client_method()) : NULL;
    if (!context)
        return NULL;
    tls_options_common(context);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, tls_session_on_ticket);
    if (tls_options_apply(context, &options, place) == 0 && set_verification(c, context, l) == 0 &&
        set_certificate(c, context, l, place) == 0 && set_protocol(c, context) == 0)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* ---- building ---- */

static void client_destroy(struct definition *d) {
    struct tls_client *c = (struct tls_client *)d;
    key_pair_unref(c->certificate);
    trust_unref(c->trust);
    peer_rules_finish(&c->rules);
    if (c->message)
        headgate__client_tls__free_unpacked(c->message, NULL);
    hg_free(c);
}

static const struct definition_ops client_ops = {client_make, client_destroy};

static int add_trust(struct tls_client *c, const struct tls_secrets *secrets, const struct tls_place *place) {
    const char *name = c->message->trust;
    struct tls_secret secret;
    if (c->message->insecure || counts_pins_alone(c))
        return 0;
    if (!name) {
        tls_fault(place, "trust", ERROR_MISSING, "needed to verify origins, unless insecure is set");
        return -1;
    }
    if (tls_find_secret(secrets, name, HEADGATE__SECRET__KIND_TRUST, place, "trust", &secret))
        c->trust = trust_get(&secret, name, place);
    return c->trust ? 0 : -1;
}

static int add_certificate(struct tls_client *c, const struct tls_secrets *secrets, const struct tls_place *place) {
    const char *name = c->message->certificate;
    struct tls_secret secret;
    if (!name)
        return 0;
    if (tls_find_secret(secrets, name, HEADGATE__SECRET__KIND_KEY_PAIR, place, "certificate", &secret))
        c->certificate = key_pair_get(&secret, name, place);
    return c->certificate ? 0 : -1;
}

/* Where the name that was asked for is verified, or one of `names`, those that come with the trust do not count. */
static int add_rules(struct tls_client *c, const struct tls_place *place) {
    const Headgate__ClientTls *m = c->message;
    const struct peer_wish own = {m->match_names, m->n_match_names, m->insecure ? NULL : m->pins};
    return tls_make_rules(&own, c->trust, m->n_match_names || m->any_name, place, &c->rules);
}

static int fingerprint(const Headgate__ClientTls *m, enum tls_protocols protocol, const struct tls_secrets *secrets,
                       struct resource_id *ret) {
    struct fingerprint f;
    fingerprint_init(&f, 'c', protocol, &m->base);
    fingerprint_add_secret(&f, secrets, m->trust);
    fingerprint_add_secret(&f, secrets, m->certificate);
    return fingerprint_finish(&f, ret);
}

static Headgate__ClientTls *copy_message(const Headgate__ClientTls *m) {
    size_t n = headgate__client_tls__get_packed_size(m);
    uint8_t *packed = hg_malloc(n + 1);
    Headgate__ClientTls *copy = NULL;
    if (packed)
        copy = headgate__client_tls__unpack(NULL, headgate__client_tls__pack(m, packed), packed);
    hg_free(packed);
    return copy;
}

static struct tls_client *make(const Headgate__ClientTls *m, enum tls_protocols protocol, const struct resource_id *id,
                               const struct tls_secrets *secrets, const struct tls_place *place) {
    struct tls_client *c = hg_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->message = copy_message(m);
    c->protocol = protocol;
    if (!c->message || (add_trust(c, secrets, place) | add_certificate(c, secrets, place)) < 0 ||
        add_rules(c, place) < 0) {
        client_destroy(&c->definition);
        return NULL;
    }
    if (definition_init(&c->definition, &client_ops, id, place) == 0)
        return c;
    definition_release(&c->definition);
    return NULL;
}

struct tls_client *tls_client_build(const Headgate__ClientTls *message, enum tls_protocols protocol,
                                    const struct tls_secrets *secrets, const struct tls_place *place) {
    struct resource_id id;
    size_t before = place->errors->count;
    struct tls_client *c = NULL;
    if (fingerprint(message, protocol, secrets, &id) == 0) {
        c = (struct tls_client *)definition_find(&id);
        if (!c)
            c = make(message, protocol, &id, secrets, place);
    }
    if (!c && place->errors->count == before)
        tls_memory_fault(place);
    return c;
}

void tls_client_unref(struct tls_client *c) {
    definition_release(c ? &c->definition : NULL);
}
