#include "dataplane/tls/keys.h"

#include <string.h>

#include "common/secret_memory.h"

enum { BLOCK_MAX = 128, LABEL_MAX = 64 };

/* ---- derivation ---- */

/* HMAC by hand: EVP_MAC looks its digest up by name each time, which costs more than the digest. */
static int digest_padded(EVP_MD_CTX *context, const EVP_MD *digest, const struct traffic_secret *key, uint8_t pad,
                         const uint8_t *bytes, size_t n, uint8_t *ret) {
    uint8_t block[BLOCK_MAX];
    size_t block_n = (size_t)EVP_MD_get_block_size(digest);
    memset(block, pad, sizeof block);
    for (size_t i = 0; i < key->n; i++)
        block[i] ^= key->bytes[i];
    bool ok = EVP_DigestInit_ex2(context, digest, NULL) == 1 && EVP_DigestUpdate(context, block, block_n) == 1 &&
              EVP_DigestUpdate(context, bytes, n) == 1 && EVP_DigestFinal_ex(context, ret, NULL) == 1;
    secret_clear(block, sizeof block);
    return ok ? 0 : -1;
}

/* HKDF-Expand-Label with an empty context and at most one block of output: RFC 8446 section 7.1, RFC 5869 section 2.3. */
static int expand(EVP_MD_CTX *context, const EVP_MD *digest, const struct traffic_secret *secret,
                  const char *label, uint8_t *ret, size_t n) {
    uint8_t info[LABEL_MAX], inner[EVP_MAX_MD_SIZE], outer[EVP_MAX_MD_SIZE];
    size_t label_n = strlen(label), at = 0;
    info[at++] = 0;
    info[at++] = (uint8_t)n;
    info[at++] = (uint8_t)(label_n + 6);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, label_n);
    at += 6 + label_n;
    info[at++] = 0; /* the context's length */
    info[at++] = 1; /* the first block */
    size_t digest_n = (size_t)EVP_MD_get_size(digest);
    int status = digest_padded(context, digest, secret, 0x36, info, at, inner);
    if (status == 0)
        status = digest_padded(context, digest, secret, 0x5c, inner, digest_n, outer);
    if (status == 0)
        memcpy(ret, outer, n);
    secret_clear(inner, sizeof inner);
    secret_clear(outer, sizeof outer);
    return status;
}

int traffic_keys_derive(struct traffic_keys *k, const EVP_CIPHER *cipher, const EVP_MD *digest,
                        uint8_t ret_key[EVP_MAX_KEY_LENGTH]) {
    size_t key_n = (size_t)EVP_CIPHER_get_key_length(cipher);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int status = context && expand(context, digest, &k->secret, "key", ret_key, key_n) == 0 &&
                         expand(context, digest, &k->secret, "iv", k->iv, NONCE_SIZE) == 0
                     ? 0
                     : -1;
    EVP_MD_CTX_free(context);
    return status;
}

static int set_key(struct traffic_keys *k, const EVP_CIPHER *cipher, const EVP_MD *digest, bool is_writer) {
    uint8_t key[EVP_MAX_KEY_LENGTH];
    int status = traffic_keys_derive(k, cipher, digest, key) == 0 &&
                         EVP_CipherInit_ex2(k->cipher, cipher, key, NULL, is_writer, NULL) == 1
                     ? 0
                     : -1;
    secret_clear(key, sizeof key);
    k->sequence = 0;
    return status;
}

int traffic_keys_init(struct traffic_keys *k, const EVP_CIPHER *cipher, const EVP_MD *digest, bool is_writer) {
    k->cipher = EVP_CIPHER_CTX_new();
    return k->cipher ? set_key(k, cipher, digest, is_writer) : -1;
}

void traffic_keys_finish(struct traffic_keys *k) {
    EVP_CIPHER_CTX_free(k->cipher);
    secret_clear(k, sizeof *k);
}

void traffic_keys_drop_cipher(struct traffic_keys *k) {
    EVP_CIPHER_CTX_free(k->cipher);
    k->cipher = NULL;
}

int traffic_keys_advance(struct traffic_keys *k, const EVP_MD *digest) {
    struct traffic_secret next = {.n = k->secret.n};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int status = context ? expand(context, digest, &k->secret, "traffic upd", next.bytes, next.n) : -1;
    EVP_MD_CTX_free(context);
    if (status == 0)
        k->secret = next;
    secret_clear(&next, sizeof next);
    return status;
}

int traffic_keys_update(struct traffic_keys *k, const EVP_MD *digest, bool is_writer) {
    return traffic_keys_advance(k, digest) < 0 ? -1
                                               : set_key(k, EVP_CIPHER_CTX_get0_cipher(k->cipher), digest, is_writer);
}

/* ---- records ---- */

static void make_nonce(struct traffic_keys *k, uint8_t nonce[NONCE_SIZE]) {
    memcpy(nonce, k->iv, NONCE_SIZE);
    for (int i = 0; i < 8; i++)
        nonce[NONCE_SIZE - 1 - i] ^= (uint8_t)(k->sequence >> (8 * i));
    k->sequence++;
}

int traffic_keys_seal(struct traffic_keys *k, uint8_t type, const void *content, size_t n, uint8_t *out) {
    size_t sealed = n + 1 + TAG_SIZE;
    uint8_t nonce[NONCE_SIZE];
    int done;
    out[0] = 23, out[1] = 3, out[2] = 3;
    out[3] = (uint8_t)(sealed >> 8);
    out[4] = (uint8_t)sealed;
    uint8_t *at = out + RECORD_HEADER;
    make_nonce(k, nonce);
    return EVP_EncryptInit_ex2(k->cipher, NULL, NULL, nonce, NULL) == 1 &&
                   EVP_EncryptUpdate(k->cipher, NULL, &done, out, RECORD_HEADER) == 1 &&
                   EVP_EncryptUpdate(k->cipher, at, &done, content, (int)n) == 1 &&
                   EVP_EncryptUpdate(k->cipher, at + n, &done, &type, 1) == 1 &&
                   EVP_EncryptFinal_ex(k->cipher, at + n + 1, &done) == 1 &&
                   EVP_CIPHER_CTX_ctrl(k->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, at + n + 1) == 1
               ? 0
               : -1;
}

int traffic_keys_open(struct traffic_keys *k, const uint8_t header[RECORD_HEADER], const uint8_t *sealed, size_t n,
                      uint8_t *out) {
    uint8_t nonce[NONCE_SIZE], tag[TAG_SIZE];
    size_t plain = n - TAG_SIZE;
    int done;
    make_nonce(k, nonce);
    memcpy(tag, sealed + plain, TAG_SIZE);
    return EVP_DecryptInit_ex2(k->cipher, NULL, NULL, nonce, NULL) == 1 &&
                   EVP_DecryptUpdate(k->cipher, NULL, &done, header, RECORD_HEADER) == 1 &&
                   EVP_CIPHER_CTX_ctrl(k->cipher, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
                   EVP_DecryptUpdate(k->cipher, out, &done, sealed, (int)plain) == 1 &&
                   EVP_DecryptFinal_ex(k->cipher, out + plain, &done) == 1
               ? 0
               : -1;
}
