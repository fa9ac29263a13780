/* session_private.h — the inside of a session: for this room. */
#pragma once

#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_ossl.h>

#include "dataplane/tls/failure.h"
#include "dataplane/tls/key_pair.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/session.h"

struct definition;
struct records;

enum session_state {
    SESSION_HANDSHAKE,
    SESSION_OPEN,
    SESSION_ENDED,                       /* close_notify has come; writing goes on */
    SESSION_FAILED,
};

struct tls_session {
    /* First: the data of the SSL object is the session for our callbacks, and this for those of ngtcp2. Empty over TCP. */
    ngtcp2_crypto_conn_ref  quic_ref;
    ngtcp2_crypto_ossl_ctx *quic;        /* CRYPTO data on its way; NULL over TCP */
    struct tls_worker *worker;
    SSL               *ssl;              /* NULL once `records` has taken over */
    struct records    *records;          /* NULL: OpenSSL protects the records */
    struct key_pair   *pair;             /* by SNI, of the definition; while the handshake lasts */
    char              *server_name;      /* NULL: none */
    char              *peer;             /* text, NUL, base64; NULL: no certificate */
    uint32_t           peer_text_n, peer_base64_n;
    char              *origin;           /* of a client: its key in the cache of sessions */
    size_t             origin_n;
    uint64_t           begun_at;         /* monotonic; 0: nothing has come yet */
    uint64_t           early_limits;     /* of a server over QUIC: what its tickets say of 0-RTT; 0: it takes none */
    enum tls_failure   failure;
    uint8_t            alert;            /* over QUIC: that says why it failed; 0: the one that OpenSSL has said */
    uint8_t            state;            /* enum session_state */
    uint8_t            protocol;         /* a single enum tls_protocols; 0: none agreed */
    bool               is_client, is_resumed, has_said_goodbye, offers_nothing, is_quic;
};

/* With an SSL object of the definition's context, which has this session as its data; over TCP with the worker's BIO. NULL:
 * no memory. */
struct tls_session *tls_session_make(struct worker *w, struct definition *d, bool is_client, bool is_quic);
/* Towards an origin, as tls_session_connect. A name that nothing can match is noted as its failure. */
struct tls_session *tls_session_make_client(struct worker *w, struct tls_client *client, struct str hostname,
                                            const void *endpoint, bool is_quic);
/* What is known once ALPN is agreed: the protocol and the name that was asked for. Again after the handshake. -1: no
 * memory. */
int                 tls_session_note(struct tls_session *s);
/* The handshake is done: identity, counts. TLS_OK or TLS_FAILED. */
enum tls_status     tls_session_finish(struct tls_session *s);
enum tls_status     tls_session_fail(struct tls_session *s, enum tls_failure why);

/* SSL_CTX_sess_set_new_cb: an origin has sent a ticket. */
int tls_session_on_ticket(SSL *ssl, SSL_SESSION *session);
