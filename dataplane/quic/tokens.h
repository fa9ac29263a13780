/* tokens.h — what proves, without state, that an address is a client's, or that an ID was ours.
 *
 * Retry tokens (RFC 9000 section 8.1.2), tokens of NEW_TOKEN frames (8.1.3) and stateless reset tokens (10.3) are made with
 * keys that come from one secret: all workers make the same, and so does a data plane after this one. Keys of tokens change
 * every QUIC_TOKEN_PERIOD of the wall clock; the one before is still good. Pure but for OpenSSL. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>

#include "common/address.h"
#include "dataplane/tls/library.h"

enum {
    QUIC_TOKEN_MAX = 80,
    QUIC_TOKEN_NONCE = 12,
    QUIC_KEY_SIZE = 32,
};
#define QUIC_TOKEN_PERIOD    3600000000ULL          /* microseconds */
#define QUIC_RETRY_LIFETIME  10000000ULL            /* from Retry to the Initial that repeats it */
#define QUIC_TOKEN_LIFETIME  3600000000ULL          /* of NEW_TOKEN; at most one period */

struct quic_tokens {
    const struct tls_library *library;              /* of the thread */
    uint8_t                  *secret;               /* QUIC_KEY_SIZE bytes, in secret memory */
    struct evp_cipher_ctx_st *seal;                 /* AES-256-GCM with the key of the present period */
    struct evp_cipher_ctx_st *open[2];              /* the same, and with the key before */
    struct evp_cipher_ctx_st *reset;                /* AES-256-CBC */
    uint64_t                  period;               /* what the keys are of; 0: none yet */
};

enum quic_token_state {
    QUIC_TOKEN_NONE,                                /* not ours, or too old: as if there were none */
    QUIC_TOKEN_BAD,                                 /* of a Retry, but not for this Initial: INVALID_TOKEN */
    QUIC_TOKEN_RETRY,                               /* good; *ret_original is the ID of the Initial before the Retry */
    QUIC_TOKEN_REGULAR,                             /* good, of an earlier connection */
};

/* The secret (QUIC_KEY_SIZE bytes) is copied; the library outlives it. 0, or -1 without memory. A zeroed struct can be
 * finished. */
int  quic_tokens_init(struct quic_tokens *t, const struct tls_library *library, const uint8_t *secret);
void quic_tokens_finish(struct quic_tokens *t);

/* `wall`: microseconds since 1970. `nonce`: unpredictable bytes, QUIC_TOKEN_NONCE of them, new for each token. Each writes
 * at most QUIC_TOKEN_MAX bytes and returns how many; 0: it failed. */
size_t quic_token_retry(struct quic_tokens *t, uint32_t version, const struct address *remote, const ngtcp2_cid *retry_id,
                        const ngtcp2_cid *original, uint64_t wall, const uint8_t *nonce, uint8_t *token);
size_t quic_token_regular(struct quic_tokens *t, const struct address *remote, uint64_t wall, const uint8_t *nonce,
                          uint8_t *token);
/* Of an Initial of `version` to `id`. */
enum quic_token_state quic_token_check(struct quic_tokens *t, const uint8_t *token, size_t n, uint32_t version,
                                       const struct address *remote, const ngtcp2_cid *id, uint64_t wall,
                                       ngtcp2_cid *ret_original);
/* 0 or -1. */
int quic_token_reset(const struct quic_tokens *t, const ngtcp2_cid *id, ngtcp2_stateless_reset_token *ret);
