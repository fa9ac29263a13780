/* client_private.h — the inside of a client's definition: for this room. */
#pragma once

#include "dataplane/routing/peer_rules.h"
#include "dataplane/tls/client.h"
#include "dataplane/tls/definition.h"
#include "dataplane/tls/key_pair.h"
#include "dataplane/tls/trust.h"

struct tls_client {
    struct definition    definition;        /* first */
    Headgate__ClientTls *message;           /* a copy of its own */
    enum tls_protocols   protocol;
    struct trust        *trust;             /* NULL: insecure, or pins alone count */
    struct key_pair     *certificate;       /* NULL: none is shown */
    struct peer_rules    rules;             /* beside what session.c asks for */
};
