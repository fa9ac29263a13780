/* session.h — TLS on one connection, without a socket: ciphertext comes in and goes out through the worker's
 * struct tls_io.
 *
 * net/conn.c drives it. Everything happens within one call of conn.c, so that one tls_io serves all sessions of a
 * worker: it puts what it received into `in`, calls the session until that says TLS_AGAIN (then `in` is used up,
 * whatever is left of a record is kept by the session), and sends what stands in `out`. No function waits, none
 * touches a descriptor (but for kernel_records.h). OpenSSL's error queue is empty before and after each call. Thread: the
 * worker's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

struct worker;
struct tls_session;
struct tls_server;                          /* tls/server.h: an immutable definition */
struct tls_client;                          /* tls/client.h: likewise */

enum { TLS_RECORD_MAX = 16384, TLS_OUT_SIZE = 256 << 10, TLS_OUT_RESERVE = 20 << 10, ALERT_SIZE = 2 };

struct tls_io {
    const uint8_t *in;                      /* received and not yet read by a session; points into `in_buffer` */
    size_t         in_n;
    uint8_t       *in_buffer;               /* READ_MAX bytes */
    uint8_t       *out;                     /* TLS_OUT_SIZE bytes */
    size_t         out_n;                   /* written by sessions and not yet taken by conn.c */
    uint8_t        alert[ALERT_SIZE];       /* of a session whose records the kernel makes, instead of `out` */
    bool           has_alert;
    uint8_t        stage[TLS_RECORD_MAX];   /* where conn_tls.c puts small pieces together */
};

enum tls_status {
    TLS_OK,
    TLS_AGAIN,                              /* more ciphertext is needed */
    TLS_EOF,                                /* close_notify has come */
    TLS_FAILED,                             /* tls_failure says why; an alert may wait in io->out */
};

/* The worker's. Made on first use. NULL: no memory. */
struct tls_io *tls_io_of(struct worker *);
/* After the last session, on the main thread. NULL in the worker is fine. */
void           tls_io_free(struct worker *);

/* The program's, on the main thread. The number of workers is said before the first definition is built; 1 unless said. */
void tls_set_worker_count(unsigned count);
/* After the last worker's tls_io_free and the last definition: what OpenSSL keeps for them. */
void tls_libraries_free(void);

/* A session keeps what it needs of the definition, which may go before it. */
struct tls_session *tls_session_accept(struct worker *, struct tls_server *);                 /* NULL: no memory */
/* `hostname`: what SNI and verification use where the definition names none. `endpoint` keys the cache of sessions
 * to resume. */
struct tls_session *tls_session_connect(struct worker *, struct tls_client *, struct str hostname, const void *endpoint);
/* Of a session towards an origin, before its handshake: no protocol is offered, and none has to be agreed. */
void                tls_session_offer_nothing(struct tls_session *);
void                tls_session_free(struct tls_session *);   /* any state; NULL is fine */

/* The caller leaves TLS_OUT_SIZE / 2 bytes of room in io->out. TLS_OK: done; TLS_EOF does not come. */
enum tls_status tls_handshake(struct tls_session *);
/* 1..n bytes of plaintext into room. TLS_OUT_RESERVE bytes of room in io->out are needed here too: what breaks the rules is
 * answered with an alert. */
enum tls_status tls_read(struct tls_session *, uint8_t *room, size_t n, size_t *ret);
/* Encrypts 1..TLS_RECORD_MAX bytes as one record; the caller has left TLS_OUT_RESERVE bytes of room in io->out.
 * TLS_OK or TLS_FAILED. Not while tls_must_read. */
enum tls_status tls_write(struct tls_session *, const void *bytes, size_t n);   /* not once the kernel makes the records */
/* A part of a peer's message has come (a ticket in several records): until the rest has been read nothing can be written. */
bool            tls_must_read(const struct tls_session *);
/* Bytes of memory for a record that has come in part. Of those that OpenSSL reads nothing is known. */
size_t          tls_kept(const struct tls_session *);
/* into io->out; nothing before the end of the handshake or after a failure */
void            tls_close_notify(struct tls_session *);

/* ---- after the handshake */
struct str  tls_protocol(const struct tls_session *);         /* by ALPN: "h2", "http/1.1"; empty: none agreed */
struct str  tls_server_name(const struct tls_session *);      /* SNI; empty: none. Lives with the session */
bool        tls_is_resumed(const struct tls_session *);
/* a static word: "certificate-expired", "no-shared-protocol", "unknown-ca" ... */
const char *tls_failure(const struct tls_session *);
/* The peer's certificate as text for X-Forwarded-Client-Cert: Hash=...;Subject="...";URI=...;DNS=... — and as
 * base64 of its DER for Client-Cert (RFC 9440: a sequence of bytes between colons, which are the caller's). Empty:
 * it gave none. Live with the session. */
struct str  tls_peer_text(const struct tls_session *);
struct str  tls_peer_base64(const struct tls_session *);
