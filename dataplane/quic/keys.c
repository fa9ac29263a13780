#include "dataplane/quic/keys.h"

#include "common/secret_memory.h"
#include "dataplane/quic/conn_private.h"

enum { KEY_MAX = 64, LATER = 1 }; /* what the library's own callback has room for; the bit that marks a handle of ours */

struct later_key {
    ngtcp2_crypto_aead_ctx context;        /* native_handle NULL: not made yet */
    size_t                 n;
    uint8_t                key[];
};

/* NULL: a context of the library's. */
static struct later_key *later_of(const ngtcp2_crypto_aead_ctx *context) {
    uintptr_t handle = (uintptr_t)context->native_handle;
    return handle & LATER ? (struct later_key *)(handle - LATER) : NULL;
}

/* Takes the place of the context, which goes. 0, or -1 without memory: it stays. */
static int put_off(struct quic_conn *c, ngtcp2_crypto_aead_ctx *context, const uint8_t *key, size_t n) {
    struct later_key *later = quic_alloc(c, sizeof *later + n);
    if (!later)
        return -1;
    *later = (struct later_key){.n = n};
    memcpy(later->key, key, n);
    ngtcp2_crypto_aead_ctx_free(context);
    context->native_handle = (void *)((uintptr_t)later | LATER);
    return 0;
}

int quic_update_key(ngtcp2_conn *ng, uint8_t *rx_secret, uint8_t *tx_secret, ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv,
                    ngtcp2_crypto_aead_ctx *tx, uint8_t *tx_iv, const uint8_t *rx_secret_before,
                    const uint8_t *tx_secret_before, size_t secret_n, void *conn) {
    uint8_t rx_key[KEY_MAX], tx_key[KEY_MAX];
    size_t n = ngtcp2_crypto_aead_keylen(&ngtcp2_conn_get_crypto_ctx(ng)->aead);
    int status = ngtcp2_crypto_update_key(ng, rx_secret, tx_secret, rx, rx_key, rx_iv, tx, tx_key, tx_iv, rx_secret_before,
                                          tx_secret_before, secret_n);
    if (status == 0 && put_off(conn, rx, rx_key, n) == 0) /* without memory what is there is used */
        put_off(conn, tx, tx_key, n);
    secret_clear(rx_key, sizeof rx_key);
    secret_clear(tx_key, sizeof tx_key);
    return status == 0 ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

typedef int make_context(ngtcp2_crypto_aead_ctx *, const ngtcp2_crypto_aead *, const uint8_t *key, size_t nonce_n);

/* The context to use. NULL without memory. */
static const ngtcp2_crypto_aead_ctx *ready(const ngtcp2_crypto_aead_ctx *context, const ngtcp2_crypto_aead *aead,
                                           make_context *make) {
    struct later_key *later = later_of(context);
    if (!later)
        return context;
    if (!later->context.native_handle &&
        make(&later->context, aead, later->key, ngtcp2_crypto_packet_protection_ivlen(aead)) != 0)
        return NULL;
    return &later->context;
}

int quic_seal(uint8_t *sealed, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *context, const uint8_t *plain,
              size_t n, const uint8_t *nonce, size_t nonce_n, const uint8_t *header, size_t header_n) {
    context = ready(context, aead, ngtcp2_crypto_aead_ctx_encrypt_init);
    return context ? ngtcp2_crypto_encrypt_cb(sealed, aead, context, plain, n, nonce, nonce_n, header, header_n)
                   : NGTCP2_ERR_CALLBACK_FAILURE;
}

int quic_unseal(uint8_t *plain, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *context, const uint8_t *sealed,
                size_t n, const uint8_t *nonce, size_t nonce_n, const uint8_t *header, size_t header_n) {
    context = ready(context, aead, ngtcp2_crypto_aead_ctx_decrypt_init);
    return context ? ngtcp2_crypto_decrypt_cb(plain, aead, context, sealed, n, nonce, nonce_n, header, header_n)
                   : NGTCP2_ERR_DECRYPT;
}

void quic_delete_context(ngtcp2_conn *ng, ngtcp2_crypto_aead_ctx *context, void *conn) {
    struct later_key *later = later_of(context);
    if (!later) {
        ngtcp2_crypto_delete_crypto_aead_ctx_cb(ng, context, conn);
        return;
    }
    ngtcp2_crypto_aead_ctx_free(&later->context); /* NULL is allowed */
    secret_clear(later->key, later->n);
    quic_free(conn, later);
}
