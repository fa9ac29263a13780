/* keys.h — packet protection with keys that may never be needed (RFC 9001 section 6).
 *
 * As soon as a handshake is confirmed the library prepares the keys that follow a key update, and most connections end
 * without one. What OpenSSL makes of such a key takes more than a kilobyte, so it is made for the first packet that needs
 * it; until then the key stands for it. These are callbacks of ngtcp2 (ngtcp2.h has their arguments), whose `conn` is the
 * struct quic_conn; contexts of the first keys pass through. They return 0; NGTCP2_ERR_CALLBACK_FAILURE ends the connection,
 * NGTCP2_ERR_DECRYPT drops the packet. A context that quic_update_key has made belongs to the library, until it gives it to
 * quic_delete_context. Thread: the worker's. */
#pragma once

#include <ngtcp2/ngtcp2_crypto.h>

int  quic_update_key(ngtcp2_conn *, uint8_t *rx_secret, uint8_t *tx_secret, ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv,
                     ngtcp2_crypto_aead_ctx *tx, uint8_t *tx_iv, const uint8_t *rx_secret_before,
                     const uint8_t *tx_secret_before, size_t secret_n, void *conn);
int  quic_seal(uint8_t *sealed, const ngtcp2_crypto_aead *, const ngtcp2_crypto_aead_ctx *, const uint8_t *plain, size_t n,
               const uint8_t *nonce, size_t nonce_n, const uint8_t *header, size_t header_n);
/* Without memory for a context the packet is as good as lost. */
int  quic_unseal(uint8_t *plain, const ngtcp2_crypto_aead *, const ngtcp2_crypto_aead_ctx *, const uint8_t *sealed, size_t n,
                 const uint8_t *nonce, size_t nonce_n, const uint8_t *header, size_t header_n);
void quic_delete_context(ngtcp2_conn *, ngtcp2_crypto_aead_ctx *, void *conn);
