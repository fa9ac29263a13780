#include "dataplane/quic/tokens.h"

#include <endian.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/secret_memory.h"

enum {
    RETRY = 0xa7, REGULAR = 0x5c,                   /* the first byte: what a token is */
    TAG_SIZE = 16, TIME_SIZE = 8, IP_SIZE = 16, ADDRESS_SIZE = IP_SIZE + 2, BLOCK = 16,
    RETRY_PLAIN = TIME_SIZE + ADDRESS_SIZE + 1,     /* and the ID */
    REGULAR_PLAIN = TIME_SIZE + IP_SIZE,
    PLAIN_MAX = RETRY_PLAIN + NGTCP2_MAX_CIDLEN,
    OVERHEAD = 1 + QUIC_TOKEN_NONCE + TAG_SIZE,
    BOUND_MAX = 1 + 4 + 1 + NGTCP2_MAX_CIDLEN,
};

_Static_assert(QUIC_TOKEN_MAX >= OVERHEAD + PLAIN_MAX, "room for the longest token");

/* ---- keys ---- */

/* HMAC-SHA-256 of a label and a number. */
static int derive(const struct quic_tokens *t, char label, uint64_t number, uint8_t *ret) {
    uint8_t input[1 + sizeof number];
    size_t n = 0;
    uint64_t wire = htobe64(number);
    input[0] = (uint8_t)label;
    memcpy(input + 1, &wire, sizeof wire);
    bool ok = EVP_Q_mac(t->library->context, "HMAC", NULL, "SHA256", NULL, t->secret, QUIC_KEY_SIZE, input, sizeof input,
                        ret, QUIC_KEY_SIZE, &n) != NULL;
    return ok && n == QUIC_KEY_SIZE ? 0 : -1;
}

static int set_key(struct quic_tokens *t, EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, bool is_sealing, char label,
                   uint64_t number) {
    uint8_t key[QUIC_KEY_SIZE];
    int status = derive(t, label, number, key);
    if (status == 0 && EVP_CipherInit_ex(context, cipher, NULL, key, NULL, is_sealing) != 1)
        status = -1;
    secret_clear(key, sizeof key);
    return status;
}

int quic_tokens_init(struct quic_tokens *t, const struct tls_library *library, const uint8_t *secret) {
    *t = (struct quic_tokens){.library = library, .secret = secret_alloc(QUIC_KEY_SIZE), .seal = EVP_CIPHER_CTX_new(),
                              .open = {EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_new()}, .reset = EVP_CIPHER_CTX_new()};
    if (!t->secret || !t->seal || !t->open[0] || !t->open[1] || !t->reset)
        return -1;
    memcpy(t->secret, secret, QUIC_KEY_SIZE);
    int status = set_key(t, t->reset, library->ticket_cipher, true, 'r', 0);
    EVP_CIPHER_CTX_set_padding(t->reset, 0);
    return status;
}

void quic_tokens_finish(struct quic_tokens *t) {
    EVP_CIPHER_CTX_free(t->seal);
    EVP_CIPHER_CTX_free(t->open[0]);
    EVP_CIPHER_CTX_free(t->open[1]);
    EVP_CIPHER_CTX_free(t->reset);
    secret_free(t->secret);
    *t = (struct quic_tokens){0};
}

/* Whose turn it is. False: no keys. */
static bool turn(struct quic_tokens *t, uint64_t wall) {
    const EVP_CIPHER *cipher = t->library->aes256;
    uint64_t period = wall / QUIC_TOKEN_PERIOD + 1;
    if (t->period == period)
        return true;
    t->period = 0;
    if (set_key(t, t->seal, cipher, true, 't', period) < 0 || set_key(t, t->open[0], cipher, false, 't', period) < 0 ||
        set_key(t, t->open[1], cipher, false, 't', period - 1) < 0)
        return false;
    t->period = period;
    return true;
}

/* ---- what tokens say ---- */

/* IPv4 in its mapped form, and the port. */
static void put_address(const struct address *a, uint8_t *to) {
    memset(to, 0, ADDRESS_SIZE);
    if (a->u.any.sa_family == AF_INET6) {
        memcpy(to, &a->u.v6.sin6_addr, IP_SIZE);
        memcpy(to + IP_SIZE, &a->u.v6.sin6_port, 2);
    } else {
        memset(to + 10, 0xff, 2);
        memcpy(to + 12, &a->u.v4.sin_addr, 4);
        memcpy(to + IP_SIZE, &a->u.v4.sin_port, 2);
    }
}

static void put_time(uint64_t wall, uint8_t *to) {
    uint64_t wire = htobe64(wall);
    memcpy(to, &wire, sizeof wire);
}

static bool is_recent(const uint8_t *from, uint64_t wall, uint64_t lifetime) {
    uint64_t wire;
    memcpy(&wire, from, sizeof wire);
    uint64_t then = be64toh(wire);
    return then > wall || wall - then <= lifetime; /* clocks of a fleet differ: the future is now */
}

/* What is authenticated beside it. `id`: of a Retry. */
static size_t put_bound(uint8_t kind, uint32_t version, const ngtcp2_cid *id, uint8_t *to) {
    uint32_t wire = htobe32(version);
    to[0] = kind;
    if (!id)
        return 1;
    memcpy(to + 1, &wire, sizeof wire);
    to[5] = (uint8_t)id->datalen;
    memcpy(to + 6, id->data, id->datalen);
    return 6 + id->datalen;
}

/* ---- sealing ---- */

static size_t seal(struct quic_tokens *t, const uint8_t *bound, size_t bound_n, const uint8_t *plain, size_t n,
                   const uint8_t *nonce, uint8_t *token) {
    uint8_t *at = token + 1 + QUIC_TOKEN_NONCE;
    int written;
    token[0] = bound[0];
    memcpy(token + 1, nonce, QUIC_TOKEN_NONCE);
    bool ok = EVP_EncryptInit_ex2(t->seal, NULL, NULL, nonce, NULL) == 1 &&
              EVP_EncryptUpdate(t->seal, NULL, &written, bound, (int)bound_n) == 1 &&
              EVP_EncryptUpdate(t->seal, at, &written, plain, (int)n) == 1 &&
              EVP_EncryptFinal_ex(t->seal, at + n, &written) == 1 &&
              EVP_CIPHER_CTX_ctrl(t->seal, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, at + n) == 1;
    return ok ? OVERHEAD + n : 0;
}

/* The plaintext has OVERHEAD bytes less than the token, which has more than that. */
static bool open_with(EVP_CIPHER_CTX *key, const uint8_t *bound, size_t bound_n, const uint8_t *token, size_t n,
                      uint8_t *plain) {
    const uint8_t *at = token + 1 + QUIC_TOKEN_NONCE;
    size_t plain_n = n - OVERHEAD;
    uint8_t tag[TAG_SIZE];
    int written;
    memcpy(tag, at + plain_n, TAG_SIZE);
    return EVP_DecryptInit_ex2(key, NULL, NULL, token + 1, NULL) == 1 &&
           EVP_DecryptUpdate(key, NULL, &written, bound, (int)bound_n) == 1 &&
           EVP_DecryptUpdate(key, plain, &written, at, (int)plain_n) == 1 &&
           EVP_CIPHER_CTX_ctrl(key, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
           EVP_DecryptFinal_ex(key, plain + plain_n, &written) == 1;
}

static bool unseal(struct quic_tokens *t, const uint8_t *bound, size_t bound_n, const uint8_t *token, size_t n,
                   uint8_t *plain) {
    return open_with(t->open[0], bound, bound_n, token, n, plain) || open_with(t->open[1], bound, bound_n, token, n, plain);
}

size_t quic_token_retry(struct quic_tokens *t, uint32_t version, const struct address *remote, const ngtcp2_cid *retry_id,
                        const ngtcp2_cid *original, uint64_t wall, const uint8_t *nonce, uint8_t *token) {
    uint8_t plain[PLAIN_MAX], bound[BOUND_MAX];
    put_time(wall, plain);
    put_address(remote, plain + TIME_SIZE);
    plain[RETRY_PLAIN - 1] = (uint8_t)original->datalen;
    memcpy(plain + RETRY_PLAIN, original->data, original->datalen);
    size_t bound_n = put_bound(RETRY, version, retry_id, bound);
    return turn(t, wall) ? seal(t, bound, bound_n, plain, RETRY_PLAIN + original->datalen, nonce, token) : 0;
}

size_t quic_token_regular(struct quic_tokens *t, const struct address *remote, uint64_t wall, const uint8_t *nonce,
                          uint8_t *token) {
    uint8_t plain[TIME_SIZE + ADDRESS_SIZE], bound[BOUND_MAX];
    put_time(wall, plain);
    put_address(remote, plain + TIME_SIZE); /* without the port: the last two bytes are not a part of it */
    size_t bound_n = put_bound(REGULAR, 0, NULL, bound);
    return turn(t, wall) ? seal(t, bound, bound_n, plain, REGULAR_PLAIN, nonce, token) : 0;
}

/* ---- checking ---- */

static enum quic_token_state check_retry(struct quic_tokens *t, const uint8_t *token, size_t n, uint32_t version,
                                         const struct address *remote, const ngtcp2_cid *id, uint64_t wall,
                                         ngtcp2_cid *ret_original) {
    uint8_t plain[PLAIN_MAX + BLOCK], bound[BOUND_MAX], address[ADDRESS_SIZE];
    if (n < OVERHEAD + RETRY_PLAIN || n > OVERHEAD + PLAIN_MAX || id->datalen > NGTCP2_MAX_CIDLEN)
        return QUIC_TOKEN_NONE;
    size_t bound_n = put_bound(RETRY, version, id, bound), id_n = n - OVERHEAD - RETRY_PLAIN;
    if (!unseal(t, bound, bound_n, token, n, plain) || plain[RETRY_PLAIN - 1] != id_n)
        return QUIC_TOKEN_NONE;
    put_address(remote, address);
    if (memcmp(plain + TIME_SIZE, address, ADDRESS_SIZE) != 0 || !is_recent(plain, wall, QUIC_RETRY_LIFETIME))
        return QUIC_TOKEN_BAD;
    ngtcp2_cid_init(ret_original, plain + RETRY_PLAIN, id_n);
    return QUIC_TOKEN_RETRY;
}

static enum quic_token_state check_regular(struct quic_tokens *t, const uint8_t *token, size_t n,
                                           const struct address *remote, uint64_t wall) {
    uint8_t plain[PLAIN_MAX + BLOCK], bound[BOUND_MAX], address[ADDRESS_SIZE];
    size_t bound_n = put_bound(REGULAR, 0, NULL, bound);
    if (n != OVERHEAD + REGULAR_PLAIN || !unseal(t, bound, bound_n, token, n, plain))
        return QUIC_TOKEN_NONE;
    put_address(remote, address);
    bool is_good = memcmp(plain + TIME_SIZE, address, IP_SIZE) == 0 && is_recent(plain, wall, QUIC_TOKEN_LIFETIME);
    return is_good ? QUIC_TOKEN_REGULAR : QUIC_TOKEN_NONE;
}

enum quic_token_state quic_token_check(struct quic_tokens *t, const uint8_t *token, size_t n, uint32_t version,
                                       const struct address *remote, const ngtcp2_cid *id, uint64_t wall,
                                       ngtcp2_cid *ret_original) {
    if (n == 0 || (token[0] != RETRY && token[0] != REGULAR) || !turn(t, wall))
        return QUIC_TOKEN_NONE;
    return token[0] == RETRY ? check_retry(t, token, n, version, remote, id, wall, ret_original)
                             : check_regular(t, token, n, remote, wall);
}

/* ---- stateless resets ---- */

/* CBC-MAC of the ID with its length before it: of one block, or two of a long one. */
int quic_token_reset(const struct quic_tokens *t, const ngtcp2_cid *id, ngtcp2_stateless_reset_token *ret) {
    static const uint8_t zeros[BLOCK];
    uint8_t input[2 * BLOCK] = {(uint8_t)id->datalen}, output[2 * BLOCK];
    int n = id->datalen < BLOCK ? BLOCK : 2 * BLOCK, written;
    memcpy(input + 1, id->data, id->datalen);
    if (EVP_EncryptInit_ex2(t->reset, NULL, NULL, zeros, NULL) != 1 ||
        EVP_EncryptUpdate(t->reset, output, &written, input, n) != 1 || written != n)
        return -1;
    _Static_assert(sizeof ret->data == BLOCK, "a token is a block");
    memcpy(ret->data, output + n - BLOCK, BLOCK);
    return 0;
}
