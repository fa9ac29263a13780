/* resolver_servers.h — a set of DNS servers with a channel of c-ares, turned by the loop. For resolver.c alone.
 * Thread: the loop's. */
#pragma once

#include <ares.h>
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/file_stamp.h"

struct resolver_socket;

struct resolver_servers {
    struct resolver_servers *next;
    struct ev_loop          *loop;
    char                    *text;          /* "" : those of /etc/resolv.conf */
    uint64_t                 timeout;       /* microseconds */
    size_t                   count;         /* how many they are */
    ares_channel             channel;
    struct resolver_socket  *sockets;
    ev_timer                 timer;         /* when the channel wants to look at its time-outs */
    unsigned                 under_way;     /* queries; kept by who asks */
    uint64_t                 found_at;      /* monotonic: when somebody wanted it last */
    struct file_stamp        stamp;         /* of /etc/resolv.conf when it was read */
};

/* The set in the list, which is made when it is not there. Sets of an older /etc/resolv.conf, and those that nobody has
 * wanted for ten minutes, go when nothing of them is under way. NULL without memory. */
struct resolver_servers *resolver_servers_find(struct resolver_servers **list, struct ev_loop *loop, const char *text,
                                               uint64_t timeout);
/* After a query was begun. */
void resolver_servers_wait(struct resolver_servers *s);
void resolver_servers_destroy_all(struct resolver_servers **list);
