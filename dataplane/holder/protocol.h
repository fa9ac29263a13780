/* protocol.h — what the data plane and its holder say to each other.
 *
 * One SOCK_SEQPACKET socket pair, made by the holder; the data plane's end is descriptor HOLDER_DESCRIPTOR.
 * Each packet is one struct of fixed size, in host byte order (both ends come from one build and run on one
 * machine). The data plane asks, the holder answers every request once, in the order of the requests, with
 * the same id. Descriptors ride on the reply as SCM_RIGHTS. A packet of another size, version or operation is
 * answered with EPROTO.
 *
 * The holder trusts nothing in a request: the process that sends it is the one that meets hostile bytes. */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

enum {
    HOLDER_PROTOCOL_VERSION = 1,
    HOLDER_DESCRIPTOR = 3,  /* number of the socket in the data plane */
    HOLDER_PATH_MAX = 1024, /* with the NUL */
    HOLDER_SOCKETS_MAX = 128, /* of one address; below the kernel's limit of 253 descriptors a message */
    HOLDER_ADDRESSES_MAX = 1024, /* addresses held at once */
    HOLDER_BACKLOG_MAX = 65535,
};

enum holder_operation {
    /* `count` listening sockets for `address`. Held from then on: the same address again, also from the next
     * data plane, gets the same sockets. A new address is bound without SO_REUSEPORT first, so that one in
     * use is EADDRINUSE and never a silent share. More sockets than before: the new ones are added. Fewer:
     * all that exist are passed, since closing one of a SO_REUSEPORT group resets the connections that wait
     * in its backlog; so the reply's count may exceed the request's. Unix-domain: always one socket; a socket
     * file that nobody listens on is replaced. */
    HOLDER_LISTEN = 1,
    /* Closes the holder's copies of `address`; removes a Unix-domain socket's file. ENOENT: not held. */
    HOLDER_UNLISTEN = 2,
    /* One non-blocking stream socket that is connected, or connecting, to the control plane: wait until it is
     * writable and read SO_ERROR. */
    HOLDER_CONNECT_CONTROL_PLANE = 3,
    /* The directory of the last-known-good copy. */
    HOLDER_STATE_DIR = 4,
    /* `path` opened for appending, created with mode 0640 if absent, with the file-system rights of the
     * data plane's user. */
    HOLDER_OPEN_LOG = 5,
    /* Closes what is held and was not asked for by this data plane: what its predecessor had prepared and
     * not committed. */
    HOLDER_UNLISTEN_OTHERS = 6,
    /* As LISTEN, for the data plane's admin listener. Held apart from the addresses of listeners: port 0 for both is two
     * ports, and any other address for both is EADDRINUSE for the second. UNLISTEN does not reach it. */
    HOLDER_LISTEN_ADMIN = 7,
};

struct holder_request {
    uint8_t  version;             /* HOLDER_PROTOCOL_VERSION */
    uint8_t  operation;           /* enum holder_operation */
    uint16_t count;               /* LISTEN, LISTEN_ADMIN: 1 to HOLDER_SOCKETS_MAX; otherwise 0 */
    uint32_t id;                  /* chosen by the data plane */
    uint32_t backlog;             /* LISTEN, LISTEN_ADMIN: 1 to HOLDER_BACKLOG_MAX; otherwise 0 */
    uint32_t address_length;      /* LISTEN, LISTEN_ADMIN, UNLISTEN; otherwise 0 */
    union {
        struct sockaddr_storage address;
        char                    path[HOLDER_PATH_MAX]; /* OPEN_LOG: absolute, ends in NUL */
    } u;
};

struct holder_reply {
    uint8_t  version;
    uint8_t  operation;           /* of the request */
    uint16_t count;               /* descriptors that come with this packet */
    uint32_t id;
    int32_t  error;               /* 0 or an errno; then there are no descriptors */
    uint32_t address_length;
    struct sockaddr_storage address; /* LISTEN...: as bound, with the port that was picked; CONNECT: the peer */
};
