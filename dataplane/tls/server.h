/* server.h — the TLS of a listener: an immutable definition, shared by workers and by listeners with equal settings.
 * Thread: main, but for what sessions read. */
#pragma once

#include "dataplane/tls/secrets.h"

struct tls_server;

/* What may be spoken inside: over TCP by preference of ours HTTP/2 first, over QUIC the last. */
enum tls_protocols { TLS_HTTP1 = 1, TLS_HTTP2 = 2, TLS_HTTP3 = 4 };

/* One holder, the caller. An equal definition that exists is taken instead. `protocols` is a set of enum
 * tls_protocols; with TLS_HTTP2 alone a client must say "h2", with none what it offers is passed over. NULL: the faults have
 * been added. The message and the secrets are copied. */
struct tls_server *tls_server_build(const Headgate__ServerTls *message, unsigned protocols,
                                    const struct tls_secrets *secrets, const struct tls_place *place);
/* Sessions that were begun with it live on. */
void               tls_server_unref(struct tls_server *s);       /* NULL is allowed */

/* How the origin is told who the client is. */
bool tls_server_tells_xfcc(const struct tls_server *s);          /* X-Forwarded-Client-Cert */
bool tls_server_tells_client_cert(const struct tls_server *s);   /* Client-Cert, RFC 9440 */
