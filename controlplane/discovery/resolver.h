/* resolver.h — questions to DNS servers, shared by all who ask.
 *
 * Never more than one query for a name and type is under way with the same servers: who asks meanwhile waits for that one.
 * An answer, also a bad one, counts for at least a second, so nobody can make a flood. Names are asked for as they
 * are: no search domains, no /etc/hosts. Made of c-ares. Thread: the loop's. */
#pragma once

#include <ev.h>

#include "controlplane/discovery/dns_answer.h"

struct resolver;
struct resolver_question;

/* Lives in who asks, until it is answered or left. A zeroed struct waits for nothing. */
struct resolver_waiter {
    struct resolver_waiter  *next, **place;     /* place NULL: does not wait */
    struct resolver_question *question;
    /* `age`: microseconds since the answer came. Valid during the call. Never called from within resolver_ask. */
    void (*answered)(void *context, const struct dns_answer *answer, uint64_t age);
    void *context;
};

struct resolver_request {
    const char   *name;
    enum dns_type type;
    const char   *servers;      /* "127.0.0.1:53,[::1]:53"; "": those of /etc/resolv.conf, read again when that changes */
    uint64_t      timeout;      /* microseconds, in which each server is asked twice */
    uint64_t      max_age;      /* microseconds: an answer no older than this, and than its time to live, will do */
};

enum { RESOLVER_QUERIES_MAX = 128 };    /* under way at one time; further ones wait */

struct resolver *resolver_create(struct ev_loop *loop); /* NULL without memory */
void resolver_destroy(struct resolver *r); /* nobody is answered any more; NULL is allowed */

/* `answered` and `context` of the waiter are set; it waits for nothing. 0, or -1 without memory. */
int  resolver_ask(struct resolver *r, const struct resolver_request *request, struct resolver_waiter *waiter);
/* No answer is wanted any more; one that waits for nothing is allowed. */
void resolver_leave(struct resolver_waiter *waiter);

struct resolver_counters {
    uint64_t queries, answers, nothing, failures; /* so far */
};
const struct resolver_counters *resolver_counters(const struct resolver *r);
