/* client.h — bytes as they are, towards the endpoint of a CONNECT tunnel (RFC 9110 section 9.3.6) or of a relayed TCP
 * connection: the leg answers with a head of status 101 once the connection is there, carries both directions, and ends each
 * with a half-close. One exchange for each connection, which nobody may keep. Over TLS when the cluster has it; by ALPN
 * nothing is offered, since nobody here knows what is spoken. */
#pragma once

#include "dataplane/http/client_codec.h"

extern const struct client_codec raw_client_codec;
