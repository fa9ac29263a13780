/* definition.h — what tls_server and tls_client have in common: one SSL_CTX per thread, made on first use, and who
 * holds it.
 *
 * The main thread counts holders (definitions of listeners and clusters). When the last is gone the contexts are
 * released; each lives on with its sessions, and each keeps the definition's memory until it goes itself.
 * Definitions of equal messages and secrets are one: a thousand clusters with the same settings have one context
 * per worker. */
#pragma once

#include <stdatomic.h>

#include <openssl/types.h>

#include "dataplane/tls/library.h"
#include "dataplane/tls/secrets.h"

struct definition;

struct definition_ops {
    /* A context of this thread's library. With `place`, faults are added; without, they are impossible but for memory. */
    SSL_CTX *(*make)(struct definition *d, struct tls_library *l, const struct tls_place *place);
    void     (*destroy)(struct definition *d);      /* finishes what is the kind's own and frees it; thread: any */
};

struct definition {
    const struct definition_ops *ops;
    struct resource_id           fingerprint;
    uint64_t                     serial;            /* differs between any two of the process */
    unsigned                     holders;           /* main thread */
    _Atomic unsigned             references;        /* one for all holders together, one per context */
    SSL_CTX                    **contexts;          /* one per slot */
    bool                         is_listed;
};

/* The hash of all that a definition is made of. Starts with its kind and what is not in the message. Thread: main,
 * as all below but definition_context. */
struct fingerprint {
    struct strbuf bytes;
};
void fingerprint_init(struct fingerprint *f, char kind, unsigned protocols, const ProtobufCMessage *message);
/* NULL: none is named */
void fingerprint_add_secret(struct fingerprint *f, const struct tls_secrets *secrets, const char *name);
int  fingerprint_finish(struct fingerprint *f, struct resource_id *ret);     /* 0, or -1 without memory */

/* One more holder of the definition with this fingerprint, or NULL. */
struct definition *definition_find(const struct resource_id *fingerprint);
/* Checks a new one by making a context for the main thread, and lists it; one holder. 0, or -1 with the faults
 * added: it is the caller's still. */
int  definition_init(struct definition *d, const struct definition_ops *ops, const struct resource_id *fingerprint,
                     const struct tls_place *place);
void definition_hold(struct definition *d);
void definition_release(struct definition *d);      /* NULL is allowed */

/* The context of this thread. NULL: no memory. */
SSL_CTX           *definition_context(struct definition *d, struct tls_library *l);
/* What a context was made from; lives as long as the context. Thread: any. */
struct definition *definition_of(const SSL_CTX *context);
