/* session_private.h — the inside of a session: for this room. */
#pragma once

#include "dataplane/tls/failure.h"
#include "dataplane/tls/key_pair.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/session.h"

struct records;

enum session_state {
    SESSION_HANDSHAKE,
    SESSION_OPEN,
    SESSION_ENDED,                       /* close_notify has come; writing goes on */
    SESSION_FAILED,
};

struct tls_session {
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
    enum tls_failure   failure;
    uint8_t            state;            /* enum session_state */
    uint8_t            protocol;         /* a single enum tls_protocols; 0: none agreed */
    bool               is_client, is_resumed, has_said_goodbye, offers_nothing;
};

/* SSL_CTX_sess_set_new_cb: an origin has sent a ticket. */
int tls_session_on_ticket(SSL *ssl, SSL_SESSION *session);
