/* datagrams.h — the UDP sockets of a listener, and what serves them: HTTP/3 (snapshot/quic_listener.c), or a relay of QUIC
 * (l4).
 *
 * A server of datagrams has connections that outlive its place in the snapshot, as those of TCP do. But theirs come through
 * the one socket: it has to be read until the last of them is gone. So a server that is not wanted any more is stopped, and
 * its socket is kept by the main thread as long as it is used. It moves with its connections to a listener_runtime of its
 * own, which drains. Wanted again in the meantime, the server goes to the listener that wants it, and its older connections
 * stay where they are. Thread: the worker's, but for struct socket_use. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/wheel.h"

struct datagram_server;
struct listener_runtime;

/* Who still reads from the sockets of one address. The main thread's; it closes them when they are wanted by no snapshot and
 * used by nobody. As long as one worker has connections the others read, too: what comes to them may be for that one, and
 * clients that begin are to hear that nobody is there. */
struct socket_use {
    _Atomic unsigned users;                             /* servers */
    _Atomic unsigned busy;                              /* of them, those that were not stopped, or have something left */
    void           (*on_release)(void *owner);          /* one user less. Called on a worker's thread; the use may be gone */
    void            *owner;                             /* outlives the workers */
};

struct held_socket {
    int                fd;
    struct socket_use *use;
};

struct datagram_ops {
    /* Begins to read. The definition is l->definition. NULL: no memory. */
    struct datagram_server *(*open)(struct listener_runtime *l, int fd);
    /* The listener's definition is another one, or the server has come to another listener: for what begins from now on. */
    void (*renew)(struct datagram_server *);
    /* Nothing new begins. Once nothing is left, perhaps within this call, the server calls datagrams_ended; it goes on to
     * refuse what comes until it is destroyed. */
    void (*stop)(struct datagram_server *);
    void (*resume)(struct datagram_server *);           /* it was stopped, and may have ended; `renew` follows */
    void (*destroy)(struct datagram_server *);          /* at once, with all that it has left */
};

/* Embedded in what it is, as its first member. */
struct datagram_server {
    const struct datagram_ops *ops;
    struct listener_runtime   *listener;
    struct datagram_server    *next;                    /* of the listener */
    struct held_socket         socket;
    bool                       has_ended;
    struct timer               look;                    /* once it has ended: whether all others have, too */
};

/* Before the listener is given another definition, which wants `ops` (NULL: no datagrams) on these sockets: servers that it
 * does not want leave, with their connections, and end at the latest after `drain` microseconds. */
void datagrams_part(struct listener_runtime *l, struct listener_runtime **list, const struct datagram_ops *ops,
                    const struct held_socket *sockets, unsigned count, uint64_t drain);
/* After it was given one: all of these sockets are served by it. `list`: the worker's listeners; of those that drain, some
 * may have nothing left then (listeners_free_done). Without memory a socket is not served, and other workers are left. */
void datagrams_serve(struct listener_runtime *l, struct listener_runtime *list, const struct datagram_ops *ops,
                     const struct held_socket *sockets, unsigned count);
/* Of the listener: nothing new begins. May free servers, but not the listener. */
void datagrams_stop(struct listener_runtime *l);
/* Destroys the listener's servers, and perhaps it, when it drains and has nothing left. */
void datagrams_destroy(struct listener_runtime *l);
/* The server has been stopped, and nothing of it is left. Destroys it when the same holds for all workers, perhaps at once,
 * and perhaps its listener with it. */
void datagrams_ended(struct datagram_server *s);
