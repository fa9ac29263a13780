/* follower.h — one prefix of etcd, listed and then watched: mirror.h with a network. Thread: the loop's. */
#pragma once

#include "controlplane/etcd/client.h"
#include "controlplane/etcd/mirror.h"

struct etcd_follower;

struct etcd_follower_counters {
    uint64_t lists, watches, events, failures; /* so far; events: answers of watches that say something */
    uint64_t revision;                  /* of etcd, up to which all is known; 0: a list is under way */
};

/* `prefix` stands behind the one of the client's address: "config/". Begins when the loop turns; after a failure again, with
 * growing and random waits. `e` and `ops` outlive it. NULL without memory. */
struct etcd_follower *etcd_follow(struct etcd *e, const char *prefix, const struct etcd_mirror_ops *ops, void *context);
/* Not from within its functions; NULL is allowed. */
void etcd_unfollow(struct etcd_follower *f);
struct etcd_follower_counters etcd_follower_counters(const struct etcd_follower *f);
