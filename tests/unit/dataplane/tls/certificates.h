/* certificates.h — certificates, keys and the secrets made of them, for tests. All are made when the test runs. */
#pragma once

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "common/alloc.h"
#include "dataplane/tls/secrets.h"

struct certificate {
    X509     *x;
    EVP_PKEY *key;
};

/* What a certificate is to be. Zero: a leaf signed by itself, valid from yesterday for ten years, with an ECDSA key. */
struct certificate_wish {
    const char               *name;          /* common name */
    const char               *alternatives;  /* "DNS:a.example,IP:127.0.0.1"; NULL: no such extension */
    const struct certificate *issuer;
    bool                      is_ca, is_rsa;
    long                      from, until;   /* seconds from now, where one is not 0 */
    long                      serial;
    int                       rsa_bits;      /* 0: 2048 */
};

static inline void add_extension(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

static inline struct certificate certificate_make(const struct certificate_wish *wish) {
    struct certificate c = {.x = X509_new()};
    c.key = wish->is_rsa ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)(wish->rsa_bits ? wish->rsa_bits : 2048))
                         : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    assert_non_null(c.key);
    bool has_times = wish->from || wish->until;
    X509_set_version(c.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), wish->serial ? wish->serial : 1);
    X509_gmtime_adj(X509_getm_notBefore(c.x), has_times ? wish->from : -86400);
    X509_gmtime_adj(X509_getm_notAfter(c.x), has_times ? wish->until : 10L * 365 * 86400);
    X509_set_pubkey(c.x, c.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x), "CN", MBSTRING_UTF8, (const unsigned char *)wish->name, -1, -1,
                               0);
    X509_set_issuer_name(c.x, X509_get_subject_name(wish->issuer ? wish->issuer->x : c.x));
    if (wish->is_ca)
        add_extension(c.x, c.x, NID_basic_constraints, "critical,CA:TRUE");
    if (wish->alternatives)
        add_extension(c.x, c.x, NID_subject_alt_name, wish->alternatives);
    assert_true(X509_sign(c.x, wish->issuer ? wish->issuer->key : c.key, EVP_sha256()) > 0);
    return c;
}

static inline void certificate_finish(struct certificate *c) {
    X509_free(c->x);
    EVP_PKEY_free(c->key);
}

/* ---- secrets by name ---- */

enum { SECRETS_MAX = 5100 };

struct known_secret {
    char               name[64];
    Headgate__Secret   message;
    Headgate__KeyPair  pair, other;
    Headgate__Trust    trust;
    Headgate__TicketKeys tickets;
    ProtobufCBinaryData chain[3], other_chain[1], authorities[4], lists[2];
    Headgate__TicketKey key[3];
    Headgate__TicketKey *keys[3];
    struct resource_id id;
};

struct known_secrets {
    struct known_secret *items;
    size_t               count;
};

static inline bool secrets_find(const void *arg, const char *name, struct tls_secret *ret) {
    const struct known_secrets *all = arg;
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->items[i].name, name) == 0) {
            *ret = (struct tls_secret){&all->items[i].message, all->items[i].id};
            return true;
        }
    return false;
}

static inline void secrets_init(struct known_secrets *s) {
    s->count = 0;
    s->items = calloc(SECRETS_MAX, sizeof *s->items);
    assert_non_null(s->items);
}

static inline void free_bytes(ProtobufCBinaryData *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        OPENSSL_free(b[i].data);
}

static inline void secrets_finish(struct known_secrets *s) {
    for (size_t i = 0; i < s->count; i++) {
        struct known_secret *k = &s->items[i];
        free_bytes(k->chain, 3);
        free_bytes(k->other_chain, 1);
        free_bytes(k->authorities, 4);
        free_bytes(k->lists, 2);
        free_bytes(&k->pair.private_key, 1);
        free_bytes(&k->other.private_key, 1);
    }
    free(s->items);
}

static inline ProtobufCBinaryData der_of_certificate(const struct certificate *c) {
    ProtobufCBinaryData b = {0};
    int n = i2d_X509(c->x, &b.data);
    assert_true(n > 0);
    b.len = (size_t)n;
    return b;
}

static inline ProtobufCBinaryData der_of_key(const struct certificate *c) {
    ProtobufCBinaryData b = {0};
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(c->key);
    int n = i2d_PKCS8_PRIV_KEY_INFO(info, &b.data);
    assert_true(n > 0);
    b.len = (size_t)n;
    PKCS8_PRIV_KEY_INFO_free(info);
    return b;
}

/* The id is that of the encoded message, as in a snapshot. Called again after a change of the message. */
static inline void secret_seal(struct known_secret *k) {
    uint8_t *bytes;
    size_t n;
    assert_int_equal(resource_encode(&k->message.base, &bytes, &n), 0);
    assert_int_equal(resource_id_of(bytes, n, &k->id), 0);
    hg_free(bytes);
}

static inline struct known_secret *secret_add(struct known_secrets *s, const char *name, Headgate__Secret__KindCase kind) {
    struct known_secret *k = &s->items[s->count++];
    assert_true(s->count <= SECRETS_MAX);
    snprintf(k->name, sizeof k->name, "%s", name);
    headgate__secret__init(&k->message);
    headgate__key_pair__init(&k->pair);
    headgate__key_pair__init(&k->other);
    headgate__trust__init(&k->trust);
    headgate__ticket_keys__init(&k->tickets);
    k->message.kind_case = kind;
    k->pair.chain = k->chain;
    k->other.chain = k->other_chain;
    k->trust.certificates = k->authorities;
    k->trust.revocation_lists = k->lists;
    k->tickets.keys = k->keys;
    return k;
}

static inline struct known_secret *secret_add_pair(struct known_secrets *s, const char *name, const struct certificate *c,
                                                   const struct certificate *other) {
    struct known_secret *k = secret_add(s, name, HEADGATE__SECRET__KIND_KEY_PAIR);
    k->message.key_pair = &k->pair;
    k->chain[k->pair.n_chain++] = der_of_certificate(c);
    k->pair.private_key = der_of_key(c);
    k->pair.has_private_key = 1;
    if (other) {
        k->pair.other = &k->other;
        k->other_chain[k->other.n_chain++] = der_of_certificate(other);
        k->other.private_key = der_of_key(other);
        k->other.has_private_key = 1;
    }
    secret_seal(k);
    return k;
}

static inline struct known_secret *secret_add_trust(struct known_secrets *s, const char *name,
                                                    const struct certificate *ca) {
    struct known_secret *k = secret_add(s, name, HEADGATE__SECRET__KIND_TRUST);
    k->message.trust = &k->trust;
    k->authorities[k->trust.n_certificates++] = der_of_certificate(ca);
    secret_seal(k);
    return k;
}

/* Keys numbered `newest`, `newest` - 1, ...; equal numbers are equal keys. */
static inline struct known_secret *secret_add_tickets(struct known_secrets *s, int newest, size_t count) {
    static uint8_t bytes[256][32];
    struct known_secret *k = secret_add(s, TLS_TICKET_SECRET, HEADGATE__SECRET__KIND_TICKET_KEYS);
    k->message.ticket_keys = &k->tickets;
    for (size_t i = 0; i < count; i++) {
        size_t number = (size_t)newest - i;
        memset(bytes[number], (int)number, 32);
        headgate__ticket_key__init(&k->key[i]);
        k->key[i].name = (ProtobufCBinaryData){16, bytes[number]};
        k->key[i].encryption_key = k->key[i].mac_key = (ProtobufCBinaryData){32, bytes[number]};
        k->key[i].has_name = k->key[i].has_encryption_key = k->key[i].has_mac_key = 1;
        k->keys[k->tickets.n_keys++] = &k->key[i];
    }
    secret_seal(k);
    return k;
}
