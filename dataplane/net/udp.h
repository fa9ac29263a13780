/* udp.h — the UDP sockets of a worker: batches in, bursts out, with the address that a datagram came to and its ECN bits.
 *
 * Sockets of two kinds: held ones, which the holder bound and which share an address with those of other workers, and
 * connected ones of our own, towards origins. Datagrams are read with recvmmsg and UDP_GRO; a train that the kernel joined
 * comes apart here. A burst is sent with one sendmsg and UDP_SEGMENT where the kernel can. How many datagrams one socket may
 * deliver in one turn is bounded; what is left is read in the next. Thread of all: the worker's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <ev.h>

#include "common/address.h"
#include "dataplane/core/worker.h"

enum {
    UDP_DATAGRAM_MAX = 65535,        /* as received; of UDP over IPv4 are 65,507 */
    UDP_BATCH = 16,                  /* messages of one recvmmsg, each a datagram or a train of up to 64 KiB */
    UDP_TURN_DATAGRAMS = 256,        /* no batch begins in the same turn once a socket has delivered so many */
    UDP_BURST_SEGMENTS = 64,         /* datagrams of one sendmsg; the kernel's own bound (UDP_MAX_SEGMENTS) of old */
    UDP_BURST_MAX = 65000,           /* bytes of one sendmsg */
};

/* The ECN codepoints, RFC 3168 section 5: the two low bits of the traffic class. */
enum { ECN_NOT_ECT = 0, ECN_ECT_1 = 1, ECN_ECT_0 = 2, ECN_CE = 3, ECN_MASK = 3 };

struct udp_socket;

/* One datagram as received. All that it points to is valid until on_batch_end has returned, and may be changed until then.
 * The datagrams of one train lie side by side in memory, in their order, of equal length but for the last. */
struct udp_datagram {
    uint8_t              *bytes;
    size_t                n;            /* may be 0 */
    const struct address *remote;
    const struct address *local;        /* what it was sent to: never a wildcard, with the socket's port */
    uint8_t               ecn;
    bool                  is_forwarded; /* by another worker (net/udp_forward.h): not to be forwarded again */
};

/* Each may send, and may close the socket; then none is called any more. NULL is allowed but for on_datagram. */
struct udp_ops {
    void (*on_datagram)(struct udp_socket *, const struct udp_datagram *);
    void (*on_batch_end)(struct udp_socket *);           /* after the datagrams of each recvmmsg, or a forwarded one */
    void (*on_writable)(struct udp_socket *);            /* once after udp_send said EAGAIN */
    /* What the network says about the peer of a connected one, e.g. ECONNREFUSED. The socket stays as it is. */
    void (*on_error)(struct udp_socket *, int error);
};

/* Embedded in what owns it; found from it by its place in there. Zeroed: closed. */
struct udp_socket {
    struct worker        *worker;
    const struct udp_ops *ops;
    int                   fd;
    bool                  is_open;
    bool                  is_held;
    bool                  is_blocked;   /* udp_send said EAGAIN */
    bool                  has_segmentation;
    struct address        local;        /* as bound; of a connected one what the kernel chose */
    size_t                sent;         /* bytes of the last udp_send that are on their way */
    uint32_t              overflows;    /* of the kernel's queue, as counted so far (SO_RXQ_OVFL) */
    ev_io                 ready;        /* on the socket; of a held one on an epoll set with it, as in net/listener.h */
    struct udp_socket    *next_held, **link; /* the worker's list */
};

/* What the sockets of a worker share: one block, made with the first of them. */
struct udp_worker {
    struct udp_socket *first_held;
    struct mmsghdr     messages[UDP_BATCH];
    struct iovec       pieces[UDP_BATCH];
    struct address     remotes[UDP_BATCH], locals[UDP_BATCH];
    struct cmsghdr     control[UDP_BATCH][12]; /* twelve headers' worth of memory */
    uint8_t            bytes[UDP_BATCH][UDP_DATAGRAM_MAX + 1];
};

/* Begins to read from a held socket. `fd` is not taken: it must stay open until udp_close, and may be closed on another
 * thread from then on. 0, or an errno. */
int  udp_open(struct udp_socket *s, struct worker *w, int fd, const struct udp_ops *ops);
/* A socket of our own, connected to `remote` from an address and port that the kernel picks: only `remote` can send to it.
 * `receive_buffer` and `send_buffer` in bytes are asked for, 0: the kernel's. What it refuses is done without. 0 or an errno
 * (ENETUNREACH, EMFILE ...). */
int  udp_connect(struct udp_socket *s, struct worker *w, const struct address *remote, size_t receive_buffer,
                 size_t send_buffer, const struct udp_ops *ops);
/* Nothing is called any more. The socket's memory must stay until the end of the turn (worker_reap_later) when called from
 * one of its ops. A second call does nothing. */
void udp_close(struct udp_socket *s);

/* Sends n bytes (above 0) as datagrams of `segment` bytes; the last one may be shorter. `remote` is left aside by a
 * connected socket, and may be NULL there; `local` is where it comes from (NULL or a wildcard: the kernel chooses).
 * Whatever `segment` is, no datagram is ever fragmented by this host.
 *
 * 0: all of it is with the kernel. EAGAIN: the first s->sent bytes are, the caller keeps the rest and sends it after
 * on_writable. EMSGSIZE: `segment` is too large for the path as this host knows it. Any other errno: nothing can be sent
 * this way now; of a connected socket ECONNREFUSED is what on_error would have said. */
int  udp_send(struct udp_socket *s, const struct address *remote, const struct address *local, const uint8_t *bytes,
              size_t n, size_t segment, uint8_t ecn);
/* Whether what has come and was not read takes more than half of the room that the kernel has for it. A system call. */
bool udp_is_half_full(const struct udp_socket *s);
/* The held socket of a worker that is bound to this address; the first of several. NULL: none. */
struct udp_socket *udp_find_held(const struct worker *w, const struct address *bound);
