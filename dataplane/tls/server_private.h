/* server_private.h — the inside of a server's definition: for this room. */
#pragma once

#include "dataplane/routing/peer_rules.h"
#include "dataplane/tls/definition.h"
#include "dataplane/tls/key_pair.h"
#include "dataplane/tls/server.h"
#include "dataplane/tls/tickets.h"
#include "dataplane/tls/trust.h"

struct tls_server {
    struct definition    definition;        /* first */
    Headgate__ServerTls *message;           /* a copy of its own */
    unsigned             protocols;
    bool                 requires_name;
    struct key_pair    **pairs;             /* at least one */
    size_t               pair_count;
    struct map           by_name;           /* -> struct key_pair; of two with one name the first counts */
    struct trust        *trust;             /* NULL: clients are not asked for certificates, or pins alone count */
    struct peer_rules    rules;             /* for their certificates */
    struct ticket_keys  *tickets;           /* NULL: none are issued */
};

/* `early_limits` of the session in which the ticket was made that this one was resumed from. 0: it said nothing. */
uint64_t tls_server_ticket_limits(SSL_SESSION *session);
