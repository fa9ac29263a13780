#include "dataplane/l4/initial.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "common/alloc.h"

enum { TAG = 16, SECRET = 32, SAMPLE_AFTER = 4, NUMBER_MAX = 4, LABEL_MAX = 64 };

struct pass_crypto {
    EVP_KDF_CTX    *hkdf;
    EVP_CIPHER     *block, *aead;
    EVP_CIPHER_CTX *block_context, *aead_context;
    uint8_t         header[PASS_INITIAL_MAX], frames[PASS_INITIAL_MAX];
};

struct version_rules {
    uint32_t    version;
    uint8_t     salt[20];
    const char *key, *iv, *hp;
};

static const struct version_rules rules[] = {
    {PASS_VERSION_1,
     {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
      0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
     "tls13 quic key", "tls13 quic iv", "tls13 quic hp"},
    {PASS_VERSION_2,
     {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
      0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
     "tls13 quicv2 key", "tls13 quicv2 iv", "tls13 quicv2 hp"},
};

struct pass_crypto *pass_crypto_create(OSSL_LIB_CTX *context) {
    struct pass_crypto *c = hg_calloc(1, sizeof *c);
    EVP_KDF *hkdf = EVP_KDF_fetch(context, "HKDF", NULL);
    if (c) {
        c->hkdf = hkdf ? EVP_KDF_CTX_new(hkdf) : NULL;
        c->block = EVP_CIPHER_fetch(context, "AES-128-ECB", NULL);
        c->aead = EVP_CIPHER_fetch(context, "AES-128-GCM", NULL);
        c->block_context = EVP_CIPHER_CTX_new();
        c->aead_context = EVP_CIPHER_CTX_new();
    }
    EVP_KDF_free(hkdf);
    if (c && c->hkdf && c->block && c->aead && c->block_context && c->aead_context)
        return c;
    pass_crypto_destroy(c);
    return NULL;
}

void pass_crypto_destroy(struct pass_crypto *c) {
    if (!c)
        return;
    EVP_KDF_CTX_free(c->hkdf);
    EVP_CIPHER_free(c->block);
    EVP_CIPHER_free(c->aead);
    EVP_CIPHER_CTX_free(c->block_context);
    EVP_CIPHER_CTX_free(c->aead_context);
    hg_free(c);
}

/* ---- keys ---- */

static OSSL_PARAM octets_param(const char *name, const void *bytes, size_t n) {
    return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes, n);
}

static int derive(struct pass_crypto *c, int mode, OSSL_PARAM input, OSSL_PARAM second, uint8_t *out, size_t n) {
    char hash[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash, 0),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode), input, second, OSSL_PARAM_construct_end(),
    };
    EVP_KDF_CTX_reset(c->hkdf);
    return EVP_KDF_derive(c->hkdf, out, n, params) > 0 ? 0 : -1;
}

/* HKDF-Extract (RFC 5869). */
static int extract(struct pass_crypto *c, const uint8_t salt[20], const uint8_t *id, size_t n, uint8_t out[SECRET]) {
    static const uint8_t none[1];
    return derive(c, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, octets_param(OSSL_KDF_PARAM_KEY, n ? id : none, n),
                  octets_param(OSSL_KDF_PARAM_SALT, salt, 20), out, SECRET);
}

/* HKDF-Expand-Label (RFC 8446 section 7.1) without a context. */
static int expand(struct pass_crypto *c, const uint8_t secret[SECRET], const char *label, uint8_t *out, size_t n) {
    uint8_t text[LABEL_MAX];
    size_t length = strlen(label);
    text[0] = 0;
    text[1] = (uint8_t)n;
    text[2] = (uint8_t)length;
    memcpy(text + 3, label, length);
    text[3 + length] = 0;
    return derive(c, EVP_KDF_HKDF_MODE_EXPAND_ONLY, octets_param(OSSL_KDF_PARAM_KEY, secret, SECRET),
                  octets_param(OSSL_KDF_PARAM_INFO, text, length + 4), out, n);
}

static const struct version_rules *rules_of(uint32_t version) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].version == version)
            return &rules[i];
    return NULL;
}

int pass_initial_keys_make(struct pass_crypto *c, uint32_t version, enum pass_sender sender, const uint8_t *dcid, size_t n,
                           struct pass_initial_keys *ret) {
    const struct version_rules *r = rules_of(version);
    uint8_t initial[SECRET], secret[SECRET];
    struct pass_initial_keys keys;
    if (!r || extract(c, r->salt, dcid, n, initial) < 0 ||
        expand(c, initial, sender == PASS_CLIENT ? "tls13 client in" : "tls13 server in", secret, sizeof secret) < 0 ||
        expand(c, secret, r->key, keys.key, sizeof keys.key) < 0 || expand(c, secret, r->iv, keys.iv, sizeof keys.iv) < 0 ||
        expand(c, secret, r->hp, keys.hp, sizeof keys.hp) < 0)
        return -1;
    *ret = keys;
    return 0;
}

/* ---- packets ---- */

int pass_block(struct pass_crypto *c, const uint8_t key[16], bool encrypts, const uint8_t in[16], uint8_t out[16]) {
    int n = 0;
    bool ok = EVP_CipherInit_ex2(c->block_context, c->block, key, NULL, encrypts, NULL) &&
              EVP_CIPHER_CTX_set_padding(c->block_context, 0) && EVP_CipherUpdate(c->block_context, out, &n, in, 16);
    return ok ? 0 : -1;
}

/* Takes the header protection off a copy of the header (section 5.4.1). Returns the length of the packet number; 0: the
 * packet is too short, or no memory. */
static size_t unmask_header(struct pass_crypto *c, const struct pass_initial_keys *keys, const uint8_t *bytes,
                            const struct pass_packet *p) {
    uint8_t mask[16];
    if (p->n > PASS_INITIAL_MAX || p->n < p->number_at + SAMPLE_AFTER + sizeof mask ||
        pass_block(c, keys->hp, true, bytes + p->number_at + SAMPLE_AFTER, mask) < 0)
        return 0;
    memcpy(c->header, bytes, p->number_at + NUMBER_MAX);
    c->header[0] ^= mask[0] & 0x0f;
    size_t n = (c->header[0] & 3) + 1u;
    for (size_t i = 0; i < n; i++)
        c->header[p->number_at + i] ^= mask[1 + i];
    return n;
}

/* Of a client's first packets the numbers are small: what is in the packet is all of it. */
static void make_nonce(const struct pass_initial_keys *keys, const uint8_t *number, size_t n, uint8_t nonce[12]) {
    memcpy(nonce, keys->iv, 12);
    for (size_t i = 0; i < n; i++)
        nonce[12 - n + i] ^= number[i];
}

int pass_initial_open(struct pass_crypto *c, const struct pass_initial_keys *keys, const uint8_t *bytes,
                      const struct pass_packet *p, const uint8_t **ret_frames, size_t *ret_n) {
    uint8_t nonce[12], tag[TAG], rest[TAG];
    int n = 0, none = 0;
    size_t number = unmask_header(c, keys, bytes, p), header = p->number_at + number;
    if (number == 0 || p->n < header + TAG)
        return -1;
    make_nonce(keys, c->header + p->number_at, number, nonce);
    memcpy(tag, bytes + p->n - TAG, TAG);
    EVP_CIPHER_CTX *x = c->aead_context;
    bool ok = EVP_DecryptInit_ex2(x, c->aead, keys->key, nonce, NULL) &&
              EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, TAG, tag) &&
              EVP_DecryptUpdate(x, NULL, &none, c->header, (int)header) &&
              EVP_DecryptUpdate(x, c->frames, &n, bytes + header, (int)(p->n - header - TAG)) &&
              EVP_DecryptFinal_ex(x, rest, &none) > 0;
    if (!ok)
        return -1;
    *ret_frames = c->frames;
    *ret_n = (size_t)n;
    return 0;
}
