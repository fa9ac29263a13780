/* transport.h — how a connection to an endpoint is made: plaintext or TLS, and what is spoken on it.
 *
 * Made on the loop's thread and immutable then, counted, so that a changed way of checking keeps connections that would
 * be made the same way again. Thread: any; OpenSSL counts its own objects. */
#pragma once

#include <openssl/types.h>
#include <stdatomic.h>

#include "common/error.h"
#include "common/str.h"
#include "dataplane/routing/peer_rules.h"
#include "proto/resources.pb-c.h"

struct transport_wish {
    const Headgate__ClientTls *tls;     /* NULL: plaintext */
    bool  is_http2;                     /* for ALPN */
    bool  has_alpn;
    uint16_t port;                      /* instead of the endpoint's; 0: that */
    const char *host;                   /* that the check names; NULL: none. Connections over TLS are made for it */
    struct str (*secret)(void *context, const char *name); /* see health_config */
    void *context;
};

struct transport {
    atomic_uint references;
    SSL_CTX    *context;                /* NULL: plaintext */
    Headgate__ClientTls *tls;
    struct peer_rules    rules;         /* what the peer must be, beside what transport_session says */
    bool        is_http2, has_alpn;
    uint16_t    port;
    uint64_t    fingerprint[2];         /* of all that it was made of, secrets too */
};

/* `before` (may be NULL) with one more reference when it is the same, otherwise a new one. NULL with errors. */
struct transport *transport_make(const struct transport_wish *wish, struct transport *before, struct error_list *errors);
struct transport *transport_ref(struct transport *t);
void              transport_unref(struct transport *t);     /* NULL is allowed */

/* A session on the descriptor that expects the right name: that of the settings, else `name`. NULL: no memory. */
SSL              *transport_session(const struct transport *t, int fd, const char *name);
