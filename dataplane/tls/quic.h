/* quic.h — TLS of QUIC connections (RFC 9001): the same definitions, identities and tickets as over TCP; no records.
 *
 * The session is made with the ngtcp2 connection that it secures, which calls OpenSSL with the CRYPTO data that comes and
 * takes keys and CRYPTO data from it (ngtcp2_crypto_ossl). Both are the owner's; the session is freed while the connection
 * is still there, or is detached before. tls_handshake, tls_read and tls_write of session.h are not for these sessions. */
#pragma once

#include <stdbool.h>

#include <ngtcp2/ngtcp2.h>

#include "dataplane/tls/session.h"

/* Once, on the main thread, before any worker uses QUIC. */
void tls_quic_init(void);

/* `early_limits`: 0: no 0-RTT. Otherwise tickets allow it, and it is taken from those that were made with the same number: a
 * hash of the limits that a client goes by, which must not be lower than they were (RFC 9001 section 4.6.1). Never where
 * clients may have certificates. NULL: no memory. */
struct tls_session *tls_quic_accept(struct worker *w, struct tls_server *server, ngtcp2_conn *c, uint64_t early_limits);
/* Ties a session that was made for QUIC to its connection. 0, or -1 without memory. */
int             tls_quic_attach(struct tls_session *s, ngtcp2_conn *c);
/* The connection goes: OpenSSL does not call it any more. Any number of times. */
void            tls_quic_detach(struct tls_session *s);

/* ALPN is agreed: tls_protocol and tls_server_name are known. 0, or -1 without memory. */
int             tls_quic_on_keys(struct tls_session *s);
/* The handshake is done. TLS_OK or TLS_FAILED. */
enum tls_status tls_quic_on_done(struct tls_session *s);
/* OpenSSL has refused what came: finds and counts the reason. Returns the alert that says it; 0: the one that OpenSSL gave.
 * */
uint8_t         tls_quic_on_failure(struct tls_session *s);
/* A server's handshake is done and everything that it had to say is with the connection: OpenSSL's object goes. */
void            tls_quic_rest(struct tls_session *s);
/* False: it rests, and what comes as CRYPTO data is against the rules (RFC 9001 sections 4.4 and 6). */
bool            tls_quic_can_read(const struct tls_session *s);
