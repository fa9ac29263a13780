/* library.h — OpenSSL's library context of a thread, and what is fetched from it once.
 *
 * OpenSSL 3 keeps locks and counts in its library context, so every worker has one of its own, and one more serves
 * the main thread, which checks definitions with it. Objects of one never meet those of another. */
#pragma once

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/types.h>

#include "dataplane/tls/session.h"
#include "dataplane/tls/session_cache.h"

struct tls_library {
    OSSL_LIB_CTX *context;
    unsigned      slot;             /* which of a definition's per-thread places is this one's */
    EVP_CIPHER   *ticket_cipher;    /* AES-256-CBC */
    EVP_MD       *sha256, *sha384;
    EVP_CIPHER   *aes128, *aes256, *chacha; /* of records */
};

/* What the room keeps for a worker. */
struct tls_worker {
    struct tls_io        io;        /* first */
    struct worker       *worker;
    struct tls_library   library;
    BIO_METHOD          *method;
    BIO                 *bio;       /* of all sessions */
    struct session_cache sessions;  /* to origins, to be resumed */
};

unsigned tls_slot_count(void);                  /* the workers and the main thread */

/* Returns 0, or -1 without memory; a half-built or zeroed one can be retired. */
int  tls_library_init(struct tls_library *l, unsigned slot);
/* Its thread is done with it. The context waits for tls_libraries_free, since definitions may hold objects of it. */
void tls_library_retire(struct tls_library *l);
/* The main thread's, made on first use; NULL: no memory. */
struct tls_library *tls_main_library(void);

/* The cipher of a suite of TLS 1.3, by its number, and whether its digest is SHA-384; NULL: none that we do ourselves. */
const EVP_CIPHER *tls_library_record_cipher(const struct tls_library *l, uint16_t suite, bool *ret_is_384);

struct tls_worker *tls_worker_of(struct worker *w);     /* NULL: no memory */
