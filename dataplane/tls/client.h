/* client.h — the TLS towards the origins of a cluster: an immutable definition, shared by workers and by clusters
 * with equal settings. Thread: main, but for what sessions read. */
#pragma once

#include "dataplane/tls/secrets.h"
#include "dataplane/tls/server.h"

struct tls_client;

/* One holder, the caller. An equal definition that exists is taken instead. `protocol` is what must be spoken
 * inside; with TLS_HTTP2 and TLS_HTTP3 the origin must agree by ALPN. NULL: the faults have been added. The message and the
 * secrets are copied. */
struct tls_client *tls_client_build(const Headgate__ClientTls *message, enum tls_protocols protocol,
                                    const struct tls_secrets *secrets, const struct tls_place *place);
void               tls_client_unref(struct tls_client *c);       /* NULL is allowed */
