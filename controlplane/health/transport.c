#include "controlplane/health/transport.h"

#include <limits.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <xxhash.h>

#include "common/alloc.h"
#include "controlplane/config/config.h"
#include "controlplane/secrets/load.h"
#include "proto/message.h"

/* As the data plane has them; what this OpenSSL does not know of the groups is left out. */
static const char default_suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char default_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

struct making {
    const struct transport_wish *wish;
    struct error_list           *errors;
    SSL_CTX                     *context;
    struct peer_rules           *rules;     /* of the transport; made with its trust */
};

static int fault(struct making *m, const char *what, const char *name) {
    error_addf(m->errors, ERROR_REFERENCE, "health check over TLS: %s%s%s%s", what, name ? " \"" : "", name ? name : "",
               name ? "\"" : "");
    return -1;
}

/* ---- secrets ---- */

/* NULL with an error; the caller frees it. */
static Headgate__Secret *find_secret(struct making *m, const char *name) {
    ProtobufCMessage *secret = NULL;
    struct str bytes = m->wish->secret ? m->wish->secret(m->wish->context, name) : (struct str){NULL, 0};
    if (!bytes.n)
        fault(m, "there is no secret", name);
    else if (message_unpack(&headgate__secret__descriptor, NULL, bytes, &secret) < 0)
        fault(m, "no memory for the secret", name);
    return (Headgate__Secret *)secret;
}

static X509 *decode_certificate(const ProtobufCBinaryData *der) {
    const unsigned char *p = der->data;
    return d2i_X509(NULL, &p, (long)der->len);
}

static int add_certificates(X509_STORE *store, const Headgate__Trust *t) {
    for (size_t i = 0; i < t->n_certificates; i++) {
        X509 *x = decode_certificate(&t->certificates[i]);
        int ok = x && X509_STORE_add_cert(store, x);
        X509_free(x);
        if (!ok)
            return -1;
    }
    return 0;
}

static int add_lists(X509_STORE *store, const Headgate__Trust *t) {
    for (size_t i = 0; i < t->n_revocation_lists; i++) {
        const unsigned char *p = t->revocation_lists[i].data;
        X509_CRL *list = d2i_X509_CRL(NULL, &p, (long)t->revocation_lists[i].len);
        int ok = list && X509_STORE_add_crl(store, list);
        X509_CRL_free(list);
        if (!ok)
            return -1;
    }
    return 0;
}

static int use_trust(struct making *m, const Headgate__Trust *t) {
    X509_STORE *store = X509_STORE_new();
    bool all = !m->wish->tls->only_verify_leaf_cert_crl;
    if (!store || add_certificates(store, t) < 0 || add_lists(store, t) < 0) {
        X509_STORE_free(store);
        return -1;
    }
    unsigned long lists = t->n_revocation_lists ? X509_V_FLAG_CRL_CHECK | (all ? X509_V_FLAG_CRL_CHECK_ALL : 0) : 0;
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | lists);
    SSL_CTX_set_cert_store(m->context, store);
    return 0;
}

static int on_verify(int is_good, X509_STORE_CTX *store) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    return peer_rules_verify(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)), is_good, store);
}

static int on_pins_alone(X509_STORE_CTX *store, void *rules) {
    return peer_rules_verify_pins_only(rules, store);
}

static bool counts_pins_alone(const Headgate__ClientTls *tls) {
    return tls->pins && tls->pins->only && !tls->insecure;
}

/* As the data plane has them; `trust` may be NULL. */
static int make_rules(struct making *m, const Headgate__Trust *trust) {
    const Headgate__ClientTls *tls = m->wish->tls;
    bool counts_names = tls->n_match_names || tls->any_name;
    struct peer_wish wishes[2] = {{tls->match_names, tls->n_match_names, tls->pins}};
    struct peer_fault why;
    if (trust)
        wishes[1] = (struct peer_wish){trust->match_names, counts_names ? trust->n_match_names : 0, trust->pins};
    if (peer_rules_make(wishes, 2, m->rules, &why) == 0)
        return 0;
    error_addf(m->errors, why.field ? ERROR_RANGE : ERROR_MEMORY, "health check over TLS: %s[%zu]: %s",
               why.field ? why.field : "certificates", why.item, why.why);
    return -1;
}

static int set_trust(struct making *m) {
    const char *name = m->wish->tls->trust ? m->wish->tls->trust : CONFIG_SYSTEM_TRUST;
    if (m->wish->tls->insecure) {
        SSL_CTX_set_verify(m->context, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    if (counts_pins_alone(m->wish->tls)) {
        SSL_CTX_set_verify(m->context, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_cert_verify_callback(m->context, on_pins_alone, m->rules);
        return make_rules(m, NULL);
    }
    Headgate__Secret *secret = find_secret(m, name);
    if (!secret)
        return -1;
    bool is_trust = secret->kind_case == HEADGATE__SECRET__KIND_TRUST;
    int status = is_trust ? use_trust(m, secret->trust) : -1;
    if (status < 0)
        fault(m, "cannot be used as authorities:", name);
    else
        status = make_rules(m, secret->trust);
    SSL_CTX_set_verify(m->context, SSL_VERIFY_PEER, peer_rules_ask(m->rules) ? on_verify : NULL);
    SSL_CTX_set_app_data(m->context, m->rules);
    headgate__secret__free_unpacked(secret, NULL);
    return status;
}

static int use_pair(struct making *m, const Headgate__KeyPair *pair) {
    const unsigned char *p = pair->private_key.data;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &p, (long)pair->private_key.len);
    X509 *leaf = pair->n_chain ? decode_certificate(&pair->chain[0]) : NULL;
    int ok = key && leaf && SSL_CTX_use_certificate(m->context, leaf) == 1 && SSL_CTX_use_PrivateKey(m->context, key) == 1;
    for (size_t i = 1; ok && i < pair->n_chain; i++) {
        X509 *x = decode_certificate(&pair->chain[i]);
        ok = x && SSL_CTX_add1_chain_cert(m->context, x) == 1;
        X509_free(x);
    }
    X509_free(leaf);
    EVP_PKEY_free(key);
    return ok ? 0 : -1;
}

static int set_certificate(struct making *m) {
    const char *name = m->wish->tls->certificate;
    Headgate__Secret *secret = name ? find_secret(m, name) : NULL;
    if (!name || !secret)
        return name ? -1 : 0;
    bool is_pair = secret->kind_case == HEADGATE__SECRET__KIND_KEY_PAIR;
    int status = is_pair ? use_pair(m, secret->key_pair) : -1;
    if (status == 0 && secret->key_pair->other)
        status = use_pair(m, secret->key_pair->other);
    if (status < 0)
        fault(m, "cannot be used as a certificate:", name);
    secret_message_clear(secret);
    headgate__secret__free_unpacked(secret, NULL);
    return status;
}

/* ---- the context ---- */

static bool set_list(SSL_CTX *context, int (*set)(SSL_CTX *, const char *), char *const *names, size_t count,
                     const char *otherwise) {
    struct strbuf joined = {0};
    for (size_t i = 0; i < count; i++)
        strbuf_printf(&joined, "%s%s", i ? ":" : "", names[i]);
    bool ok = !joined.failed && set(context, count ? joined.p : otherwise) == 1;
    strbuf_finish(&joined);
    return ok;
}

static int set_groups(SSL_CTX *context, const char *names) {
    return (int)SSL_CTX_set1_groups_list(context, names);
}

/* Groups that this OpenSSL does not have are left out; with none left it uses its own. */
static bool set_known_groups(SSL_CTX *context, const Headgate__ClientTls *tls) {
    struct strbuf joined = {0};
    for (size_t i = 0; i < tls->n_groups; i++)
        if (set_groups(context, tls->groups[i]) == 1)
            strbuf_printf(&joined, "%s%s", joined.n ? ":" : "", tls->groups[i]);
    bool ok = !joined.failed && (joined.n == 0 || set_groups(context, joined.p) == 1);
    strbuf_finish(&joined);
    return ok;
}

static bool set_options(SSL_CTX *context, const struct transport_wish *wish) {
    static const unsigned char h1[] = "\x08http/1.1", h2[] = "\x02h2";
    const Headgate__ClientTls *tls = wish->tls;
    bool is_min_13 = tls->min_version == HEADGATE__TLS_VERSION__TLS_1_3;
    bool is_max_12 = tls->max_version == HEADGATE__TLS_VERSION__TLS_1_2;
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    bool ok = SSL_CTX_set_min_proto_version(context, is_min_13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(context, is_max_12 ? TLS1_2_VERSION : TLS1_3_VERSION) == 1;
    if (wish->has_alpn)
        ok &= (wish->is_http2 ? SSL_CTX_set_alpn_protos(context, h2, sizeof h2 - 1)
                              : SSL_CTX_set_alpn_protos(context, h1, sizeof h1 - 1)) == 0;
    return ok && set_list(context, SSL_CTX_set_ciphersuites, tls->cipher_suites, tls->n_cipher_suites, default_suites) &&
           set_list(context, SSL_CTX_set_cipher_list, tls->ciphers, tls->n_ciphers, default_ciphers) &&
           set_known_groups(context, tls);
}

static SSL_CTX *make_context(const struct transport_wish *wish, struct peer_rules *rules, struct error_list *errors) {
    struct making m = {wish, errors, SSL_CTX_new(TLS_client_method()), rules};
    int status = m.context ? 0 : fault(&m, "no memory", NULL);
    if (status == 0 && !set_options(m.context, wish))
        status = fault(&m, "versions, ciphers or groups that cannot be used", NULL);
    if (status == 0)
        status = set_trust(&m) | set_certificate(&m);
    ERR_clear_error();
    if (status == 0)
        return m.context;
    SSL_CTX_free(m.context);
    return NULL;
}

/* ---- the transport ---- */

static Headgate__ClientTls *copy_tls(const Headgate__ClientTls *tls) {
    size_t n = headgate__client_tls__get_packed_size(tls);
    uint8_t *packed = hg_malloc(n + 1);
    ProtobufCMessage *copy = NULL;
    if (packed && message_unpack(&headgate__client_tls__descriptor, NULL,
                                 (struct str){(char *)packed, headgate__client_tls__pack(tls, packed)}, &copy) < 0)
        copy = NULL;
    hg_free(packed);
    return (Headgate__ClientTls *)copy;
}

static void add_secret(XXH3_state_t *sum, const struct transport_wish *wish, const char *name) {
    struct str bytes = name && wish->secret ? wish->secret(wish->context, name) : (struct str){NULL, 0};
    XXH3_128bits_update(sum, &bytes.n, sizeof bytes.n);
    if (bytes.n)
        XXH3_128bits_update(sum, bytes.p, bytes.n);
}

static int add_tls(XXH3_state_t *sum, const struct transport_wish *wish) {
    size_t n = headgate__client_tls__get_packed_size(wish->tls);
    uint8_t *packed = hg_malloc(n + 1);
    if (!packed)
        return -1;
    headgate__client_tls__pack(wish->tls, packed);
    XXH3_128bits_update(sum, packed, n);
    hg_free(packed);
    if (!wish->tls->insecure && !counts_pins_alone(wish->tls))
        add_secret(sum, wish, wish->tls->trust ? wish->tls->trust : CONFIG_SYSTEM_TRUST);
    add_secret(sum, wish, wish->tls->certificate);
    if (wish->host)
        XXH3_128bits_update(sum, wish->host, strlen(wish->host));
    return 0;
}

static int sum_up(const struct transport_wish *wish, uint64_t ret[2]) {
    uint32_t plain[] = {wish->tls != NULL, wish->is_http2, wish->has_alpn, wish->port};
    XXH3_state_t *sum = XXH3_createState();
    if (!sum)
        return -1;
    XXH3_128bits_reset(sum);
    XXH3_128bits_update(sum, plain, sizeof plain);
    int status = wish->tls ? add_tls(sum, wish) : 0;
    XXH128_hash_t hash = XXH3_128bits_digest(sum);
    XXH3_freeState(sum);
    ret[0] = hash.high64;
    ret[1] = hash.low64;
    return status;
}

struct transport *transport_make(const struct transport_wish *wish, struct transport *before, struct error_list *errors) {
    uint64_t sum[2];
    if (sum_up(wish, sum) < 0) {
        error_addf(errors, ERROR_MEMORY, "no memory for health checks");
        return NULL;
    }
    if (before && before->fingerprint[0] == sum[0] && before->fingerprint[1] == sum[1])
        return transport_ref(before);
    struct transport *t = hg_calloc(1, sizeof *t);
    if (!t) {
        error_addf(errors, ERROR_MEMORY, "no memory for health checks");
        return NULL;
    }
    *t = (struct transport){.references = 1, .is_http2 = wish->is_http2, .has_alpn = wish->has_alpn, .port = wish->port,
                            .fingerprint = {sum[0], sum[1]}};
    t->tls = wish->tls ? copy_tls(wish->tls) : NULL;
    if (wish->tls && !t->tls)
        error_addf(errors, ERROR_MEMORY, "no memory for health checks");
    if (t->tls)
        t->context = make_context(wish, &t->rules, errors);
    if (!wish->tls || t->context)
        return t;
    transport_unref(t);
    return NULL;
}

struct transport *transport_ref(struct transport *t) {
    atomic_fetch_add(&t->references, 1);
    return t;
}

void transport_unref(struct transport *t) {
    if (!t || atomic_fetch_sub(&t->references, 1) != 1)
        return;
    SSL_CTX_free(t->context);
    peer_rules_finish(&t->rules);
    if (t->tls)
        headgate__client_tls__free_unpacked(t->tls, NULL);
    hg_free(t);
}

/* ---- sessions ---- */

static bool is_address(const char *name) {
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
    ASN1_OCTET_STRING_free(ip);
    return ip != NULL;
}

static bool expect_name(SSL *ssl, const char *name) {
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(rules, name) == 1;
    return X509_VERIFY_PARAM_add1_host(rules, name, 0) == 1;
}

static bool prepare(SSL *ssl, const Headgate__ClientTls *tls, int fd, const char *name) {
    bool ok = SSL_set_fd(ssl, fd) == 1, has_rules = !tls->insecure && !tls->any_name && !tls->n_match_names;
    has_rules = has_rules && !counts_pins_alone(tls);
    for (size_t i = 0; ok && has_rules && i < tls->n_names; i++)
        ok = expect_name(ssl, tls->names[i]);
    if (ok && has_rules && tls->n_names == 0 && *name)
        ok = expect_name(ssl, name); /* without any name the chain alone is looked at */
    if (ok && *name && !is_address(name))
        ok = SSL_set_tlsext_host_name(ssl, name) == 1;
    SSL_set_connect_state(ssl);
    return ok;
}

SSL *transport_session(const struct transport *t, int fd, const char *name) {
    SSL *ssl = SSL_new(t->context);
    bool ok = ssl && prepare(ssl, t->tls, fd, t->tls->sni ? t->tls->sni : name);
    ERR_clear_error();
    if (ok)
        return ssl;
    SSL_free(ssl);
    return NULL;
}
