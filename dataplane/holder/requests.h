/* requests.h — the holder's end of dataplane/holder/protocol.h: checks every field of a request, does it,
 * answers.
 *
 * One request at a time: the next is read when the answer has been sent, so that a data plane that asks and
 * does not read holds up itself alone. Nothing here blocks. Thread: main. */
#pragma once

#include <stdbool.h>

#include "dataplane/holder/held_sockets.h"
#include "dataplane/holder/protocol.h"
#include "dataplane/holder/resolver.h"

struct requests {
    struct held_sockets sockets;
    struct resolver     control_plane;
    int                 state_dir;       /* descriptor of the data plane's folder, or -1 */
    /* the answer that could not be sent yet */
    bool                has_reply;
    struct holder_reply reply;
    int                 fds[HOLDER_SOCKETS_MAX];
    bool                owns_fds;        /* to be closed once sent */
};

/* Closes everything held. */
void requests_finish(struct requests *r);
/* The data plane is gone: what was not answered is forgotten; nothing is claimed. */
void requests_reset(struct requests *r);
/* A new one begins: the same, and it is another generation. */
void requests_begin(struct requests *r);

/* `channel` can be read or written. Returns 0, or -1 when the data plane closed its end or the socket
 * failed. */
int  requests_serve(struct requests *r, int channel);
/* The answer to one request: the part without a socket. Fills r->reply and r->fds. */
void requests_answer(struct requests *r, const struct holder_request *request, size_t size);
