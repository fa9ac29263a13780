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
    HOLDER_PROTOCOL_VERSION = 2,
    HOLDER_DESCRIPTOR = 3,  /* number of the socket in the data plane */
    HOLDER_PATH_MAX = 1024, /* with the NUL */
    HOLDER_SOCKETS_MAX = 128, /* of one address; below the kernel's limit of 253 descriptors a message */
    HOLDER_ADDRESSES_MAX = 1024, /* addresses held at once */
    HOLDER_BACKLOG_MAX = 65535,
    HOLDER_UDP_BUFFER_MAX = 1 << 30,
    HOLDER_ID_LENGTH_MIN = 12, /* of connection IDs that are steered: dataplane/quic/ids.h */
    HOLDER_ID_LENGTH_MAX = 20,
    HOLDER_UDP_KEY_SIZE = 32,
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
    /* `count` UDP sockets for an IPv4 or IPv6 address, held like those of LISTEN and apart from them: TCP and UDP may have
     * the same address and port. Asked again, buffers and steering are set anew. Datagrams whose connection ID we issued go
     * to the socket whose index is the worker that the ID names, as far as the reply's `steering` says. */
    HOLDER_LISTEN_UDP = 8,
    HOLDER_UNLISTEN_UDP = 9,   /* as UNLISTEN */
};

/* How datagrams find their socket, best last. What still comes astray, the workers pass on among themselves. */
enum holder_steering {
    HOLDER_STEERED_NOT,        /* by the kernel's hash of addresses and ports; also where there is one socket alone */
    HOLDER_STEERED_CLASSIC,    /* by a classic BPF program, and by the hash what is not ours */
    HOLDER_STEERED_EBPF,       /* by an eBPF program, likewise */
};

/* What is asked for with LISTEN_UDP. */
struct holder_udp_wish {
    uint32_t receive_buffer, send_buffer; /* bytes for each socket, to HOLDER_UDP_BUFFER_MAX; 0: what the kernel gives */
    uint32_t id_length;                   /* of the connection IDs; 0: nothing is steered */
};

/* What came of it. */
struct holder_udp {
    uint32_t receive_buffer, send_buffer; /* what each socket has; less than asked for where the kernel's limits are lower */
    uint8_t  steering;                    /* enum holder_steering */
    uint8_t  generation;                  /* of this data plane: counted from the holder's start, modulo 256 */
    uint8_t  key[HOLDER_UDP_KEY_SIZE];    /* random, as long as the holder lives. The first 8 octets are the mask's in
                                           * connection IDs, and in the kernel's programs; the others are told to nobody
                                           * else */
};

struct holder_request {
    uint8_t  version;             /* HOLDER_PROTOCOL_VERSION */
    uint8_t  operation;           /* enum holder_operation */
    uint16_t count;               /* LISTEN...: 1 to HOLDER_SOCKETS_MAX; otherwise 0 */
    uint32_t id;                  /* chosen by the data plane */
    uint32_t backlog;             /* LISTEN, LISTEN_ADMIN: 1 to HOLDER_BACKLOG_MAX; otherwise 0 */
    uint32_t address_length;      /* LISTEN..., UNLISTEN...; otherwise 0 */
    struct holder_udp_wish udp;   /* LISTEN_UDP; otherwise zero */
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
    struct holder_udp udp;        /* LISTEN_UDP */
};
