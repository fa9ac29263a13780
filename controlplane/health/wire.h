/* wire.h — a socket to an endpoint, with TLS or without, that never waits. Thread: the checker's. */
#pragma once

#include "common/address.h"
#include "controlplane/health/answer.h"
#include "controlplane/health/transport.h"

struct wire {
    int  fd;                        /* -1: closed */
    SSL *ssl;                       /* NULL: plaintext */
    bool is_over;                   /* nothing more may be sent over TLS */
};

enum wire_status {
    WIRE_OK,
    WIRE_WANTS_READ,                /* again when the socket is readable */
    WIRE_WANTS_WRITE,
    WIRE_CLOSED,                    /* by the peer, orderly */
    WIRE_FAILED,                    /* the reason says how */
    WIRE_NOT_MADE,                  /* for want of something here: the endpoint has nothing to do with it */
};

/* OK, WANTS_WRITE (then wire_connected), FAILED or NOT_MADE; closed after the last two. */
enum wire_status wire_open(struct wire *w, const struct address *to, char reason[REASON_MAX]);
/* After the socket became writable: OK or FAILED. */
enum wire_status wire_connected(struct wire *w, char reason[REASON_MAX]);
/* TLS begins; call until it no longer wants. */
enum wire_status wire_handshake(struct wire *w, const struct transport *t, const char *name, char reason[REASON_MAX]);
/* At least one byte with OK. */
enum wire_status wire_read(struct wire *w, void *room, size_t n, size_t *ret_n, char reason[REASON_MAX]);
enum wire_status wire_write(struct wire *w, const void *bytes, size_t n, size_t *ret_n, char reason[REASON_MAX]);
void             wire_close(struct wire *w);
