/* train.h — datagrams of one flow that follow each other leave with one system call. Thread: the worker's. */
#pragma once

#include "dataplane/net/udp.h"

struct train {
    struct udp_socket    *socket;            /* NULL: empty */
    const struct address *remote, *local;    /* of the first datagram, which outlive it; NULL: the socket is connected */
    uint8_t               ecn;
    bool                  is_closed;         /* ends with a shorter one */
    size_t                n, segment, count;
    uint8_t               bytes[UDP_BURST_MAX];
};

/* Copies a datagram behind those that have the same way, ECN bits and size, or sends these and begins anew. What cannot be
 * sent is dropped and counted, as it would be anywhere in the network. */
void train_add(struct train *, struct udp_socket *, const struct address *remote, const struct address *local, uint8_t ecn,
               const uint8_t *bytes, size_t n);
void train_send(struct train *);
/* Before the socket is closed, or an address ends. */
void train_send_of(struct train *, const struct udp_socket *, const struct address *remote);
