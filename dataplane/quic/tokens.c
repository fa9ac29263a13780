#include "dataplane/quic/tokens.h"

#include <endian.h>
#include <string.h>

#include <ngtcp2/ngtcp2_crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/secret_memory.h"

_Static_assert(QUIC_TOKEN_MAX >= NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2, "room for a Retry token");
_Static_assert(QUIC_TOKEN_MAX >= NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN, "room for a token of NEW_TOKEN");

/* ---- keys ---- */

/* HMAC-SHA-256 of a label and a number. */
static int derive(const uint8_t *secret, char label, uint64_t number, uint8_t *ret) {
    uint8_t input[1 + sizeof number];
    unsigned n = 0;
    uint64_t wire = htobe64(number);
    input[0] = (uint8_t)label;
    memcpy(input + 1, &wire, sizeof wire);
    return HMAC(EVP_sha256(), secret, QUIC_KEY_SIZE, input, sizeof input, ret, &n) && n == QUIC_KEY_SIZE ? 0 : -1;
}

int quic_tokens_init(struct quic_tokens *t, const uint8_t *secret) {
    *t = (struct quic_tokens){.secret = secret_alloc(4 * QUIC_KEY_SIZE)};
    if (!t->secret)
        return -1;
    t->reset_key = t->secret + QUIC_KEY_SIZE;
    t->keys = t->reset_key + QUIC_KEY_SIZE;
    memcpy(t->secret, secret, QUIC_KEY_SIZE);
    return derive(t->secret, 'r', 0, t->reset_key);
}

void quic_tokens_finish(struct quic_tokens *t) {
    secret_free(t->secret);
    *t = (struct quic_tokens){0};
}

/* Whose turn it is. False: no keys. */
static bool turn(struct quic_tokens *t, uint64_t wall) {
    uint64_t period = wall / QUIC_TOKEN_PERIOD + 1;
    if (t->period == period)
        return true;
    t->period = 0;
    if (derive(t->secret, 't', period, t->keys) < 0 || derive(t->secret, 't', period - 1, t->keys + QUIC_KEY_SIZE) < 0)
        return false;
    t->period = period;
    return true;
}

/* ---- making ---- */

size_t quic_token_retry(struct quic_tokens *t, uint32_t version, const struct address *remote, const ngtcp2_cid *retry_id,
                        const ngtcp2_cid *original, uint64_t wall, uint8_t *token) {
    ngtcp2_ssize n = -1;
    if (turn(t, wall))
        n = ngtcp2_crypto_generate_retry_token2(token, t->keys, QUIC_KEY_SIZE, version, &remote->u.any, remote->length,
                                                retry_id, original, wall * 1000);
    return n > 0 ? (size_t)n : 0;
}

size_t quic_token_regular(struct quic_tokens *t, const struct address *remote, uint64_t wall, uint8_t *token) {
    ngtcp2_ssize n = -1;
    if (turn(t, wall))
        n = ngtcp2_crypto_generate_regular_token(token, t->keys, QUIC_KEY_SIZE, &remote->u.any, remote->length, wall * 1000);
    return n > 0 ? (size_t)n : 0;
}

int quic_token_reset(const struct quic_tokens *t, const ngtcp2_cid *id, ngtcp2_stateless_reset_token *ret) {
    return ngtcp2_crypto_generate_stateless_reset_token(ret->data, t->reset_key, QUIC_KEY_SIZE, id) == 0 ? 0 : -1;
}

/* ---- checking ---- */

static enum quic_token_state check_retry(const uint8_t *key, const uint8_t *token, size_t n, uint32_t version,
                                         const struct address *remote, const ngtcp2_cid *id, uint64_t wall,
                                         ngtcp2_cid *ret_original) {
    switch (ngtcp2_crypto_verify_retry_token2(ret_original, token, n, key, QUIC_KEY_SIZE, version, &remote->u.any,
                                              remote->length, id, QUIC_RETRY_LIFETIME * 1000, wall * 1000)) {
    case 0:
        return QUIC_TOKEN_RETRY;
    case NGTCP2_CRYPTO_ERR_VERIFY_TOKEN:
        return QUIC_TOKEN_BAD;
    default:
        return QUIC_TOKEN_NONE;
    }
}

static enum quic_token_state check_regular(const uint8_t *key, const uint8_t *token, size_t n, const struct address *remote,
                                           uint64_t wall) {
    return ngtcp2_crypto_verify_regular_token(token, n, key, QUIC_KEY_SIZE, &remote->u.any, remote->length,
                                              QUIC_TOKEN_LIFETIME * 1000, wall * 1000) == 0
               ? QUIC_TOKEN_REGULAR
               : QUIC_TOKEN_NONE;
}

enum quic_token_state quic_token_check(struct quic_tokens *t, const uint8_t *token, size_t n, uint32_t version,
                                       const struct address *remote, const ngtcp2_cid *id, uint64_t wall,
                                       ngtcp2_cid *ret_original) {
    enum quic_token_state state = QUIC_TOKEN_NONE;
    if (n == 0 || !turn(t, wall))
        return QUIC_TOKEN_NONE;
    for (size_t i = 0; i < 2 && state == QUIC_TOKEN_NONE; i++) {
        const uint8_t *key = t->keys + i * QUIC_KEY_SIZE;
        if (token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2)
            state = check_retry(key, token, n, version, remote, id, wall, ret_original);
        else if (token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR)
            state = check_regular(key, token, n, remote, wall);
    }
    return state;
}
