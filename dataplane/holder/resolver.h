/* resolver.h — where the control plane is: an address, or a host name that is looked up when it is needed.
 *
 * Looking up may take its time and parses what strangers send, so that a short-lived child without privileges
 * does it. Nothing here waits: while a name is looked up for the first time, the answer is EAGAIN. Thread:
 * main. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/address.h"
#include "dataplane/holder/identity.h"

enum {
    RESOLVER_HOST_MAX = 253,
    RESOLVER_ADDRESSES_MAX = 8,     /* of one name */
    RESOLVER_FRESH_US = 5000000,    /* older results are used, and looked up anew meanwhile */
};

struct resolver_name {
    struct address address;         /* length 0: `host` and `port` */
    char           host[RESOLVER_HOST_MAX + 1];
    char           port[6];
};

struct resolver {
    /* set by the owner, the rest zeroed */
    struct resolver_name name;
    struct identity      identity;  /* of the child */
    /* ours */
    struct address       addresses[RESOLVER_ADDRESSES_MAX];
    unsigned             count, next;
    uint64_t             asked_us;  /* monotonic; when the last look-up began */
    pid_t                child;     /* 0: none */
    int                  answers;   /* pipe from the child; only while there is one */
};

/* "unix:PATH", "127.0.0.1:9443", "[::1]:9443" or "control.example:9443". 0, or -1 (then *ret is untouched). */
int  resolver_name_parse(struct str text, struct resolver_name *ret);

/* The address for the next try, each of a name's in turn. 0 or an errno: EAGAIN, it is being looked up;
 * EHOSTUNREACH, the last look-up found nothing (and another one has begun). */
int  resolver_next(struct resolver *r, struct address *ret);
/* To be watched for reading; -1: nothing. */
int  resolver_fd(const struct resolver *r);
void resolver_collect(struct resolver *r);      /* it can be read */
void resolver_reap(struct resolver *r);         /* after SIGCHLD */
void resolver_finish(struct resolver *r);
