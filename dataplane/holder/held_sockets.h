/* held_sockets.h — the listening sockets, of UDP too, that outlive a crash of the data plane. Thread: main. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/address.h"
#include "dataplane/holder/identity.h"
#include "dataplane/holder/protocol.h"
#include "xdp/steering.h"

enum held_for { HELD_FOR_LISTENERS, HELD_FOR_ADMIN, HELD_FOR_UDP };

/* The sockets of one address. */
struct held_address {
    struct held_address *next;
    enum held_for        purpose;        /* with `asked` the key: port 0 for both is two ports */
    struct address       asked;          /* as asked for, perhaps with port 0 */
    struct address       bound;
    dev_t                device;         /* of a Unix-domain socket's file, so that only our own is removed */
    ino_t                inode;
    bool                 is_claimed;     /* asked for by the present data plane */
    struct steering_group steering;      /* of UDP */
    unsigned             count;
    int                  fds[];
};

/* What all addresses of UDP share. */
struct held_udp {
    struct steering   *programs;         /* NULL: no eBPF */
    enum steering_form most;             /* the best form that is allowed */
    uint8_t            key[HOLDER_UDP_KEY_SIZE];
    uint8_t            generation;       /* of the present data plane */
};

struct held_sockets {
    struct held_address *first;
    unsigned             addresses;
    unsigned             sockets;
    unsigned             sockets_max;    /* from the limit of open files */
    struct identity      files;          /* whose rights Unix-domain paths are used with */
    struct held_udp      udp;
};

/* Removes the files of Unix-domain sockets too. */
void held_sockets_finish(struct held_sockets *held);
/* HOLDER_LISTEN... Returns 0 and *ret (valid until the next call here), or a positive errno. `backlog` means nothing to
 * UDP. */
int  held_sockets_listen(struct held_sockets *held, enum held_for purpose, const struct address *asked,
                         unsigned count, int backlog, struct held_address **ret);
/* The rest of HOLDER_LISTEN_UDP: buffers and steering of an address for HELD_FOR_UDP. */
void held_sockets_set_udp(struct held_sockets *held, struct held_address *h, const struct holder_udp_wish *wish,
                          struct holder_udp *ret);
/* HOLDER_UNLISTEN... Returns 0 or ENOENT. */
int  held_sockets_unlisten(struct held_sockets *held, enum held_for purpose, const struct address *asked);
/* A new data plane begins: nothing is claimed. */
void held_sockets_unclaim(struct held_sockets *held);
/* HOLDER_UNLISTEN_OTHERS. */
void held_sockets_unlisten_unclaimed(struct held_sockets *held);
