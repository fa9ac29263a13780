/* key_pair.h — a certificate chain with its key, shared by definitions, decoded once per worker. */
#pragma once

#include <openssl/types.h>
#include <openssl/x509.h>

#include "dataplane/tls/kept.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/names.h"
#include "dataplane/tls/secrets.h"

enum { CHAIN_MAX = 16 };

/* What OpenSSL takes, of one thread's library context. */
struct decoded_pair {
    X509           *leaf;
    STACK_OF(X509) *chain;                       /* without the leaf */
    EVP_PKEY       *key;
};

/* DER of one kind of key. */
struct pair_bytes {
    struct str          chain[CHAIN_MAX];        /* leaf first; owned, in one block at chain[0].p */
    size_t              chain_n;
    void               *key;                     /* secret memory */
    size_t              key_n;
    struct str          ocsp;                    /* owned; empty: none is stapled */
    struct decoded_pair *decoded;                /* one per slot, filled on first use by its thread */
};

struct key_pair {
    struct kept       kept;                      /* first */
    struct tls_names  names;                     /* of the leaf, and of the other's */
    struct pair_bytes kinds[2];                  /* the second, with another kind of key, is there when chain_n > 0 */
};

/* The pair of the secret `name`, with one reference: found by its id, or decoded and checked. NULL: the faults
 * have been added. Thread: main. */
struct key_pair *key_pair_get(const struct tls_secret *secret, const char *name, const struct tls_place *place);
void             key_pair_unref(struct key_pair *p);     /* NULL is allowed */

/* Of this thread's library. NULL: no memory, or there is no such kind. */
const struct decoded_pair *key_pair_decoded(struct key_pair *p, unsigned kind, struct tls_library *l);
static inline bool key_pair_has(const struct key_pair *p, unsigned kind) {
    return p->kinds[kind].chain_n > 0;
}
