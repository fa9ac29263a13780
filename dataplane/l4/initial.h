/* initial.h — the protection of Initial packets: RFC 9001 section 5, RFC 9369 section 3.3. Its keys follow from what
 * everybody can read, so it hides nothing. Thread: a struct pass_crypto belongs to one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#include "dataplane/l4/packet.h"

enum { PASS_INITIAL_MAX = 16384 }; /* octets of a packet that is opened */

/* What the library of ciphers wants to be asked once. */
struct pass_crypto;

/* From OpenSSL's library context of the thread (tls/library.h), which outlives it; NULL: the default one. Returns NULL
 * without memory. */
struct pass_crypto *pass_crypto_create(OSSL_LIB_CTX *);
void                pass_crypto_destroy(struct pass_crypto *);

enum pass_sender { PASS_CLIENT, PASS_SERVER };

struct pass_initial_keys {
    uint8_t key[16], iv[12], hp[16];
};

/* The keys of one side, from the first destination ID that the client chose. 0, or -1: another version than 1 and 2, or no
 * memory. */
int pass_initial_keys_make(struct pass_crypto *, uint32_t version, enum pass_sender, const uint8_t *dcid, size_t n,
                           struct pass_initial_keys *ret);

/* Opens an Initial packet, which is left as it is. 0 and its frames, in memory of `crypto` until the next call of any
 * function here; -1: it was not made with these keys. */
int pass_initial_open(struct pass_crypto *crypto, const struct pass_initial_keys *, const uint8_t *bytes,
                      const struct pass_packet *, const uint8_t **ret_frames, size_t *ret_n);

/* One block of AES-128, as in ECB mode. 0, or -1 without memory. */
int pass_block(struct pass_crypto *, const uint8_t key[16], bool encrypts, const uint8_t in[16], uint8_t out[16]);
