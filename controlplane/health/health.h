/* health.h — active health checks: which endpoints answer as they should.
 *
 * Checks run on a thread of their own, so that nothing which holds up the control plane's loop (a large push, a slow
 * disk) makes an endpoint look dead. The loop tells the checker what to check, the checker tells the loop what has
 * changed; both by messages, nothing is shared. Thread: the loop's, every function and call here. */
#pragma once

#include <ev.h>

#include "common/error.h"
#include "common/str.h"
#include "proto/resources.pb-c.h"

struct health;

/* One change of one endpoint's health. */
struct health_change {
    const char *cluster, *address;      /* valid during the call */
    Headgate__Endpoint__Health health;  /* HEALTHY or UNHEALTHY */
    const char *reason;                 /* of UNHEALTHY: "connection refused", "no answer within 1s"; otherwise NULL */
    uint64_t at;                        /* monotonic microseconds: the end of the check that said so */
};

struct health_config {
    struct ev_loop *loop;               /* in which `changed` is called */
    void *context;
    /* A batch of changes, at least one; those of one turn of the checker's loop together, and those that came up while the
     * loop was busy. An endpoint that went and came back in between is in no batch. Never from within a function here;
     * all of them but health_destroy may be called from it. */
    void (*changed)(void *context, const struct health_change *changes, size_t count);
    /* The encoded message Secret of that name, as data planes get it: so checks trust and present what data planes do, also
     * what came embedded with a push. Valid until the next call; empty: there is none. NULL: there are no secrets. */
    struct str (*secret)(void *context, const char *name);
    size_t descriptors;                 /* that checks may have open; 0: three quarters of the process's limit */
};

/* How the endpoints of a cluster are checked. */
struct health_way {
    const Headgate__HealthCheck *check;
    const Headgate__ClientTls *tls;     /* NULL: plaintext, but for a TlsCheck, which then trusts what the system trusts */
    Headgate__TlsChoice *const *choices; /* instead of `tls`, for endpoints whose metadata they fit */
    size_t choice_count;
    Headgate__Cluster__Protocol protocol; /* HTTP2: HTTP checks are made over that, otherwise over HTTP/1.1 */
};

/* Begins the thread. NULL with reasons in `errors`. */
struct health *health_create(const struct health_config *config, struct error_list *errors);
/* Ends the thread; nothing is called any more. NULL is allowed. */
void           health_destroy(struct health *h);

/* What of a cluster is to be checked from now on, and how; all is copied. The health, the schedule and the kept
 * connection of an endpoint that was there before stay as they are, also when other endpoints or the way of checking
 * change; the first check of a new one is spread over the first interval but made within a second. `way` NULL: no more
 * checks of this cluster. To be called again when a secret that `way->tls` names has changed. An address that cannot be
 * checked (none of common/address.h) stays UNKNOWN. 0; or -1 with errors and what was, stays: no memory, a secret that is
 * missing or cannot be used. */
int health_set_cluster(struct health *h, const char *cluster, const struct health_way *way,
                       const Headgate__EndpointSet *endpoints, struct error_list *errors);

/* What the loop knows of an endpoint: UNKNOWN before its first check has ended. */
Headgate__Endpoint__Health health_of(const struct health *h, const char *cluster, const char *address);

struct health_counters {
    uint64_t checks, failures, changes, timeouts, connects;  /* so far */
    uint64_t reused;                /* checks on a kept connection, so far */
    uint64_t put_off;               /* checks that were not made for want of memory, descriptors or ports here, so far */
    uint64_t late;                  /* checks that began more than a second after they were due: the thread is overloaded */
    uint64_t endpoints, unhealthy;                           /* now */
    uint64_t connections;           /* open now, kept ones included */
};

/* As of the newest message of the checker, at most a second old. */
const struct health_counters *health_counters(const struct health *h);

/* For status: why an endpoint failed last, and when it first failed for that reason, microseconds since 1970. It is kept
 * when the endpoint is well again. NULL: none is known. Valid until the loop turns. */
const char *health_last_failure(const struct health *h, const char *cluster, const char *address, uint64_t *ret_at);
