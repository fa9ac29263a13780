/* tls_material.h — certificates made when the test runs, as servers take them and as secrets. */
#pragma once

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proto/resources.pb-c.h"

struct material {
    X509     *x;
    EVP_PKEY *key;
};

static inline void material_extension(X509 *x, int nid, const char *value) {
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* `issuer` NULL: an authority. `until`: seconds from now. */
static inline struct material material_make(const char *name, const struct material *issuer, long until) {
    struct material m = {X509_new(), EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")};
    char names[128];
    snprintf(names, sizeof names, "DNS:%s", name);
    X509_set_version(m.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(m.x), issuer ? 2 : 1);
    X509_gmtime_adj(X509_getm_notBefore(m.x), -86400L * 10);
    X509_gmtime_adj(X509_getm_notAfter(m.x), until);
    X509_set_pubkey(m.x, m.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(m.x), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(m.x, X509_get_subject_name(issuer ? issuer->x : m.x));
    if (issuer)
        material_extension(m.x, NID_subject_alt_name, names);
    else
        material_extension(m.x, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(m.x, issuer ? issuer->key : m.key, EVP_sha256()) > 0);
    return m;
}

static inline void material_finish(struct material *m) {
    X509_free(m->x);
    EVP_PKEY_free(m->key);
}

static inline ProtobufCBinaryData material_der(const struct material *m) {
    unsigned char *der = NULL;
    int n = i2d_X509(m->x, &der);
    assert_true(n > 0);
    return (ProtobufCBinaryData){(size_t)n, der};
}

static inline struct str material_pack(const Headgate__Secret *secret) {
    uint8_t *bytes = malloc(headgate__secret__get_packed_size(secret));
    assert_non_null(bytes);
    return (struct str){(char *)bytes, headgate__secret__pack(secret, bytes)};
}

/* The encoded secret; free(p). */
static inline struct str material_trust_with(const struct material *authority, Headgate__NameMatch **names, size_t count) {
    Headgate__Secret secret = HEADGATE__SECRET__INIT;
    Headgate__Trust trust = HEADGATE__TRUST__INIT;
    ProtobufCBinaryData der = material_der(authority);
    trust.certificates = &der;
    trust.n_certificates = 1;
    trust.match_names = names;
    trust.n_match_names = count;
    secret.kind_case = HEADGATE__SECRET__KIND_TRUST;
    secret.trust = &trust;
    struct str packed = material_pack(&secret);
    OPENSSL_free(der.data);
    return packed;
}

static inline struct str material_trust(const struct material *authority) {
    return material_trust_with(authority, NULL, 0);
}

static inline struct str material_pair(const struct material *m) {
    Headgate__Secret secret = HEADGATE__SECRET__INIT;
    Headgate__KeyPair pair = HEADGATE__KEY_PAIR__INIT;
    ProtobufCBinaryData der = material_der(m);
    unsigned char *key = NULL;
    pair.chain = &der;
    pair.n_chain = 1;
    pair.has_private_key = true;
    pair.private_key.len = (size_t)i2d_PrivateKey(m->key, &key);
    pair.private_key.data = key;
    secret.kind_case = HEADGATE__SECRET__KIND_KEY_PAIR;
    secret.key_pair = &pair;
    struct str packed = material_pack(&secret);
    OPENSSL_free(der.data);
    OPENSSL_free(key);
    return packed;
}

static inline int material_choose_h2(SSL *ssl, const unsigned char **ret, unsigned char *ret_n, const unsigned char *offered,
                                     unsigned n, void *context) {
    (void)ssl;
    (void)context;
    if (n != 3 || memcmp(offered, "\x02h2", 3) != 0)
        return SSL_TLSEXT_ERR_NOACK;
    *ret = offered + 1;
    *ret_n = 2;
    return SSL_TLSEXT_ERR_OK;
}

/* A server's context with that certificate; it agrees to HTTP/2 where that alone is offered. */
static inline SSL_CTX *material_server(const struct material *m) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_non_null(context);
    assert_int_equal(SSL_CTX_use_certificate(context, m->x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, m->key), 1);
    SSL_CTX_set_alpn_select_cb(context, material_choose_h2, NULL);
    return context;
}
