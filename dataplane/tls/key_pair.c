#include "dataplane/tls/key_pair.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/alloc.h"
#include "common/secret_memory.h"

/* ---- decoding ---- */

static X509 *decode_certificate(struct str der, struct tls_library *l) {
    const unsigned char *p = (const unsigned char *)der.p;
    X509 *x = X509_new_ex(l->context, NULL);
    if (x && d2i_X509(&x, &p, (long)der.n) && p == (const unsigned char *)der.p + der.n)
        return x;
    X509_free(x);
    return NULL;
}

static EVP_PKEY *decode_key(const void *der, size_t n, struct tls_library *l) {
    const unsigned char *p = der;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)n);
    EVP_PKEY *key = info && p == (const unsigned char *)der + n ? EVP_PKCS82PKEY_ex(info, l->context, NULL) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    return key;
}

static void decoded_finish(struct decoded_pair *d) {
    X509_free(d->leaf);
    sk_X509_pop_free(d->chain, X509_free);
    EVP_PKEY_free(d->key);
    *d = (struct decoded_pair){0};
}

static int decode_issuers(const struct pair_bytes *b, struct tls_library *l, struct decoded_pair *ret) {
    for (size_t i = 1; i < b->chain_n; i++) {
        X509 *x = decode_certificate(b->chain[i], l);
        if (!x || !sk_X509_push(ret->chain, x)) {
            X509_free(x);
            return -1;
        }
    }
    return 0;
}

static const struct decoded_pair *decode(struct pair_bytes *b, struct tls_library *l) {
    struct decoded_pair *d = &b->decoded[l->slot];
    if (d->leaf)
        return d;
    d->leaf = decode_certificate(b->chain[0], l);
    d->chain = sk_X509_new_null();
    d->key = decode_key(b->key, b->key_n, l);
    if (d->leaf && d->chain && d->key && decode_issuers(b, l, d) == 0)
        return d;
    decoded_finish(d);
    return NULL;
}

const struct decoded_pair *key_pair_decoded(struct key_pair *p, unsigned kind, struct tls_library *l) {
    const struct decoded_pair *d = key_pair_has(p, kind) ? decode(&p->kinds[kind], l) : NULL;
    ERR_clear_error();
    return d;
}

/* ---- checking, on the main thread ---- */

struct check {
    struct tls_library     *library;
    const struct tls_place *place;
    const char             *name;       /* of the secret */
};

static int refuse(const struct check *c, const char *field, enum error_code code, const char *message) {
    tls_secret_fault(c->place, c->name, field, code, message);
    ERR_clear_error();
    return -1;
}

static int check_chain(const struct check *c, const struct pair_bytes *b) {
    for (size_t i = 0; i < b->chain_n; i++) {
        X509 *x = decode_certificate(b->chain[i], c->library);
        X509_free(x);
        if (!x)
            return refuse(c, "key_pair.chain", ERROR_SYNTAX, "not an X.509 certificate in DER");
    }
    return 0;
}

static int check_key(const struct check *c, const struct decoded_pair *d) {
    if (X509_check_private_key(d->leaf, d->key) != 1)
        return refuse(c, "key_pair.private_key", ERROR_CONFLICT, "the key is not that of the certificate");
    if (EVP_PKEY_is_a(d->key, "RSA") && EVP_PKEY_get_bits(d->key) < 2048)
        return refuse(c, "key_pair.private_key", ERROR_RANGE, "an RSA key of less than 2048 bits");
    return 0;
}

/* Decodes once with the main thread's library. What came out is not kept: workers make their own. */
static int check_kind(const struct check *c, struct key_pair *p, unsigned kind) {
    struct pair_bytes *b = &p->kinds[kind];
    if (check_chain(c, b) < 0)
        return -1;
    const struct decoded_pair *d = decode(b, c->library);
    if (!d)
        return refuse(c, "key_pair.private_key", ERROR_SYNTAX, "not a private key in PKCS #8 DER");
    int status = check_key(c, d);
    if (status == 0 && kind == 0 && tls_names_of(d->leaf, &p->names) < 0)
        status = refuse(c, "key_pair", ERROR_MEMORY, "out of memory");
    decoded_finish(&b->decoded[c->library->slot]);
    ERR_clear_error();
    return status;
}

/* ---- the bytes ---- */

static int copy_chain(struct pair_bytes *b, const Headgate__KeyPair *m) {
    size_t all = 0;
    for (size_t i = 0; i < m->n_chain; i++)
        all += m->chain[i].len;
    char *p = hg_malloc(all + 1);
    if (!p)
        return -1;
    for (size_t i = 0; i < m->n_chain; i++) {
        memcpy(p, m->chain[i].data, m->chain[i].len);
        b->chain[b->chain_n++] = (struct str){p, m->chain[i].len};
        p += m->chain[i].len;
    }
    return 0;
}

static int copy_bytes(struct pair_bytes *b, const Headgate__KeyPair *m) {
    b->decoded = hg_calloc(tls_slot_count(), sizeof *b->decoded);
    b->key = secret_alloc(m->private_key.len);
    b->key_n = m->private_key.len;
    if (!b->decoded || !b->key || copy_chain(b, m) < 0)
        return -1;
    memcpy(b->key, m->private_key.data, b->key_n);
    if (m->has_ocsp_response && m->ocsp_response.len > 0)
        b->ocsp = (struct str){hg_memdup(m->ocsp_response.data, m->ocsp_response.len), m->ocsp_response.len};
    return b->ocsp.n == 0 || b->ocsp.p ? 0 : -1;
}

static int fill_kind(const struct check *c, struct key_pair *p, unsigned kind, const Headgate__KeyPair *m) {
    if (m->n_chain == 0)
        return refuse(c, "key_pair.chain", ERROR_MISSING, "there is no certificate");
    if (m->n_chain > CHAIN_MAX)
        return refuse(c, "key_pair.chain", ERROR_RANGE, "more than 16 certificates");
    if (!m->has_private_key)
        return refuse(c, "key_pair.private_key", ERROR_MISSING, "there is no private key");
    if (copy_bytes(&p->kinds[kind], m) < 0)
        return refuse(c, "key_pair", ERROR_MEMORY, "out of memory");
    return check_kind(c, p, kind);
}

static void bytes_finish(struct pair_bytes *b) {
    for (unsigned i = 0; b->decoded && i < tls_slot_count(); i++)
        decoded_finish(&b->decoded[i]);
    hg_free(b->decoded);
    secret_free(b->key);
    hg_free((char *)(uintptr_t)b->chain[0].p);
    hg_free((char *)(uintptr_t)b->ocsp.p);
}

static void pair_destroy(struct kept *k) {
    struct key_pair *p = (struct key_pair *)k;
    bytes_finish(&p->kinds[0]);
    bytes_finish(&p->kinds[1]);
    tls_names_finish(&p->names);
    hg_free(p);
}

static int fill(const struct check *c, struct key_pair *p, const Headgate__KeyPair *m) {
    if (fill_kind(c, p, 0, m) < 0)
        return -1;
    if (!m->other)
        return 0;
    if (m->other->other)
        return refuse(c, "key_pair.other.other", ERROR_RANGE, "at most two kinds of keys");
    return fill_kind(c, p, 1, m->other);
}

struct key_pair *key_pair_get(const struct tls_secret *secret, const char *name, const struct tls_place *place) {
    struct key_pair *p = (struct key_pair *)kept_find(&secret->id, pair_destroy);
    if (p)
        return p;
    const struct check c = {.library = tls_main_library(), .place = place, .name = name};
    p = hg_calloc(1, sizeof *p);
    if (!p || !c.library || kept_add(&p->kept, &secret->id, pair_destroy) < 0) {
        refuse(&c, "key_pair", ERROR_MEMORY, "out of memory");
        hg_free(p);
        return NULL;
    }
    if (fill(&c, p, secret->message->key_pair) == 0)
        return p;
    key_pair_unref(p);
    return NULL;
}

void key_pair_unref(struct key_pair *p) {
    kept_unref(p ? &p->kept : NULL);
}
