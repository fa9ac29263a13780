/* tickets.h — the keys of session tickets, the same for all workers and machines: the first encrypts, all decrypt.
 *
 * A ticket is what RFC 5077 section 4 recommends: name of the key, IV, AES-256-CBC, HMAC-SHA-256. */
#pragma once

#include <openssl/types.h>

#include "dataplane/tls/kept.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/secrets.h"

enum { TICKET_KEYS_MAX = 16 };

struct ticket_keys;

/* With one reference. NULL: the faults have been added. Thread: main. */
struct ticket_keys *ticket_keys_get(const struct tls_secret *secret, const struct tls_place *place);
void                ticket_keys_unref(struct ticket_keys *k);     /* NULL is allowed */

/* As OpenSSL wants it of SSL_CTX_set_tlsext_ticket_key_evp_cb; `name` has 16 bytes, `iv` 16. */
int ticket_keys_use(const struct ticket_keys *k, const struct tls_library *l, unsigned char *name, unsigned char *iv,
                    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt);
