/* quic_client.h — TLS of QUIC connections to origins: verification, names, certificates and resumption are those of
 * session.h. Thread: the worker's. */
#pragma once

#include <ngtcp2/ngtcp2.h>

#include "dataplane/tls/client.h"
#include "dataplane/tls/session.h"

/* Of a definition for TLS_HTTP3. `hostname` and `endpoint` as for tls_session_connect. NULL: errno is ENOMEM, or EPROTO
 * where there is no name that the origin's certificate could have. */
struct tls_session *tls_quic_connect(struct worker *w, struct tls_client *client, struct str hostname, const void *endpoint,
                                     ngtcp2_conn *c);
