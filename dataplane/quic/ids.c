#include "dataplane/quic/ids.h"

#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "common/alloc.h"
#include "common/halfsiphash.h"

enum { AES_BLOCK = 16, HALF_MAX = (QUIC_LB_BLOCK_MAX + 1) / 2, PASSES = 4, HASHED = 8 };

struct quic_lb {
    struct quic_lb_form form;
    EVP_CIPHER_CTX     *encryption, *decryption; /* NULL: in plain. The second for single-pass IDs only */
};

/* ---- AES ---- */

static EVP_CIPHER_CTX *new_cipher(const uint8_t *key, int encrypts) {
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (c && EVP_CipherInit_ex2(c, EVP_aes_128_ecb(), key, NULL, encrypts, NULL) == 1 &&
        EVP_CIPHER_CTX_set_padding(c, 0) == 1)
        return c;
    EVP_CIPHER_CTX_free(c);
    return NULL;
}

static bool apply(EVP_CIPHER_CTX *c, const uint8_t in[AES_BLOCK], uint8_t out[AES_BLOCK]) {
    int n;
    return EVP_CipherUpdate(c, out, &n, in, AES_BLOCK) == 1 && n == AES_BLOCK;
}

/* ---- four passes (section "General Case: Four-Pass Encryption") ---- */

struct halves {
    size_t  n, half;                 /* octets of all, and of each half, rounded up */
    uint8_t left[HALF_MAX], right[HALF_MAX];
};

/* Of an odd number of octets the middle one is shared: its high bits belong to the left half. */
static void clear_shared(struct halves *h) {
    if (h->n % 2 == 0)
        return;
    h->left[h->half - 1] &= 0xf0;
    h->right[0] &= 0x0f;
}

static void split(struct halves *h, const uint8_t *block, size_t n) {
    h->n = n;
    h->half = (n + 1) / 2;
    memcpy(h->left, block, h->half);
    memcpy(h->right, block + n - h->half, h->half);
    clear_shared(h);
}

static void join(const struct halves *h, uint8_t *block) {
    memcpy(block, h->left, h->half);
    if (h->n % 2)
        block[h->half - 1] |= h->right[0];
    memcpy(block + h->half, h->right + h->n % 2, h->half - h->n % 2);
}

/* Odd passes change the right half by the left one, even passes the other way round. */
static bool do_pass(struct quic_lb *lb, struct halves *h, int pass) {
    uint8_t in[AES_BLOCK] = {0}, out[AES_BLOCK], *target = pass % 2 ? h->right : h->left;
    memcpy(in, pass % 2 ? h->left : h->right, h->half);
    in[AES_BLOCK - 2] = (uint8_t)h->n;
    in[AES_BLOCK - 1] = (uint8_t)pass;
    if (!apply(lb->encryption, in, out))
        return false;
    for (size_t i = 0; i < h->half && i < HALF_MAX; i++) /* half is at most that, which not every compiler sees */
        target[i] ^= out[i];
    clear_shared(h);
    return true;
}

static bool encrypt(struct quic_lb *lb, uint8_t *block, size_t n) {
    struct halves h;
    if (n == AES_BLOCK)
        return apply(lb->encryption, block, block);
    split(&h, block, n);
    for (int pass = 1; pass <= PASSES; pass++)
        if (!do_pass(lb, &h, pass))
            return false;
    join(&h, block);
    return true;
}

static bool decrypt(struct quic_lb *lb, uint8_t *block, size_t n) {
    struct halves h;
    if (n == AES_BLOCK)
        return apply(lb->decryption, block, block);
    split(&h, block, n);
    for (int pass = PASSES; pass > 0; pass--)
        if (!do_pass(lb, &h, pass))
            return false;
    join(&h, block);
    return true;
}

/* ---- QUIC-LB ---- */

static size_t block_size(const struct quic_lb_form *form) {
    return (size_t)form->id_n + form->nonce_n;
}

struct quic_lb *quic_lb_create(const struct quic_lb_form *form) {
    struct quic_lb *lb;
    if (form->config >= QUIC_LB_UNROUTABLE || form->id_n < 1 || form->nonce_n < QUIC_LB_NONCE_MIN ||
        block_size(form) > QUIC_LB_BLOCK_MAX || !(lb = hg_calloc(1, sizeof *lb)))
        return NULL;
    lb->form = *form;
    if (!form->has_key)
        return lb;
    lb->encryption = new_cipher(form->key, 1);
    if (block_size(form) == AES_BLOCK)
        lb->decryption = new_cipher(form->key, 0);
    if (lb->encryption && (lb->decryption || block_size(form) != AES_BLOCK))
        return lb;
    quic_lb_destroy(lb);
    return NULL;
}

void quic_lb_destroy(struct quic_lb *lb) {
    if (!lb)
        return;
    EVP_CIPHER_CTX_free(lb->encryption);
    EVP_CIPHER_CTX_free(lb->decryption);
    OPENSSL_cleanse(lb, sizeof *lb);
    hg_free(lb);
}

bool quic_lb_decode(struct quic_lb *lb, const uint8_t *id, size_t n, uint8_t *ret) {
    uint8_t block[QUIC_LB_BLOCK_MAX];
    size_t size = block_size(&lb->form);
    if (n < 1 + size || id[0] >> 5 != lb->form.config)
        return false;
    memcpy(block, id + 1, size);
    if (lb->form.has_key && !decrypt(lb, block, size))
        return false;
    memcpy(ret, block, lb->form.id_n);
    return true;
}

bool quic_lb_encode(struct quic_lb *lb, const uint8_t *server_id, const uint8_t *nonce, size_t n, uint8_t *id) {
    id[0] = (uint8_t)(lb->form.config << 5 | (n - 1));
    memcpy(id + 1, server_id, lb->form.id_n);
    memcpy(id + 1 + lb->form.id_n, nonce, lb->form.nonce_n);
    return !lb->form.has_key || encrypt(lb, id + 1, block_size(&lb->form));
}

/* ---- what we issue ---- */

static uint32_t read_word(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* What the three octets at `routing` are masked with. */
static uint32_t mask_of(const struct quic_ids *ids, const uint8_t *routing) {
    return halfsiphash_of_8(ids->key[0], ids->key[1], read_word(routing - HASHED), read_word(routing - HASHED / 2));
}

size_t quic_ids_length(const struct quic_server_id *server_id) {
    return server_id->id_n ? (size_t)1 + server_id->id_n + server_id->nonce_n + QUIC_ID_ROUTING : (size_t)QUIC_ID_PLAIN;
}

int quic_ids_init(struct quic_ids *ids, const uint8_t key[QUIC_ID_KEY_SIZE], uint8_t generation,
                  const struct quic_server_id *server_id) {
    *ids = (struct quic_ids){.n = (uint8_t)quic_ids_length(server_id), .generation = generation,
                             .key = {read_word(key), read_word(key + 4)}};
    if (!server_id->id_n)
        return 0;
    struct quic_lb_form form = {.config = server_id->config, .id_n = server_id->id_n, .nonce_n = server_id->nonce_n,
                                .has_key = server_id->has_key};
    memcpy(form.key, server_id->key, sizeof form.key);
    memcpy(ids->server_id, server_id->id, server_id->id_n);
    ids->lb = quic_lb_create(&form);
    OPENSSL_cleanse(form.key, sizeof form.key);
    return ids->lb ? 0 : -1;
}

void quic_ids_finish(struct quic_ids *ids) {
    quic_lb_destroy(ids->lb);
    *ids = (struct quic_ids){0};
}

bool quic_ids_make(const struct quic_ids *ids, uint8_t worker, uint8_t id[QUIC_ID_MAX]) {
    uint8_t random[QUIC_LB_BLOCK_MAX], *routing = id + ids->n - QUIC_ID_ROUTING;
    size_t n = ids->lb ? ids->lb->form.nonce_n : HASHED;
    if (getrandom(random, n, 0) != (ssize_t)n) /* OpenSSL's are those of a context that workers would share */
        return false;
    if (ids->lb && !quic_lb_encode(ids->lb, ids->server_id, random, ids->n, id))
        return false;
    if (!ids->lb) {
        id[0] = (uint8_t)(QUIC_LB_UNROUTABLE << 5 | (ids->n - 1));
        memcpy(id + 1, random, n);
    }
    uint32_t word = ((uint32_t)worker << 16 | (uint32_t)ids->generation << 8 | QUIC_ID_CHECK) ^ mask_of(ids, routing);
    routing[0] = (uint8_t)(word >> 16);
    routing[1] = (uint8_t)(word >> 8);
    routing[2] = (uint8_t)word;
    return true;
}

bool quic_ids_read(const struct quic_ids *ids, const uint8_t *id, size_t n, uint8_t *ret_worker, uint8_t *ret_generation) {
    if (n < QUIC_ID_PLAIN || n > QUIC_ID_MAX || n != quic_ids_length_by(id[0]))
        return false;
    const uint8_t *routing = id + n - QUIC_ID_ROUTING;
    uint32_t word = read_word(routing - 1) ^ mask_of(ids, routing);
    if ((word & 0xff) != QUIC_ID_CHECK)
        return false;
    *ret_worker = (uint8_t)(word >> 16);
    *ret_generation = (uint8_t)(word >> 8);
    return true;
}
