/* health.h — active health checks: which endpoints answer as they should.
 *
 * Checks run on a thread of their own, so that nothing which holds up the control plane's loop (a large push, a slow disk)
 * makes an endpoint look dead. The loop tells the checker what to check, the checker tells the loop what has changed; both
 * by messages, nothing is shared. Thread: the loop's, every function and call here. */
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
    const char *reason;                 /* of UNHEALTHY: "connection refused", "status 503, expected 200 to 299" ... */
};

struct health_config {
    struct ev_loop *loop;               /* in which `changed` is called */
    void *context;
    /* A batch of changes, at least one; those of one turn of the checker's loop together. */
    void (*changed)(void *context, const struct health_change *changes, size_t count);
    const char *trust_file;             /* authorities for checks over TLS where the cluster names none; NULL: system's */
};

/* Begins the thread. NULL with reasons in `errors`. */
struct health *health_create(const struct health_config *config, struct error_list *errors);
/* Ends the thread; nothing is called any more. NULL is allowed. */
void           health_destroy(struct health *h);

/* What of a cluster is to be checked from now on, and how; both are copied. The health, the schedule and the kept connection
 * of an endpoint that was there before stay as they are, also when other endpoints or the way of checking change; the first
 * check of a new one is spread over the first interval but made within a second. `check` NULL: no more checks of this
 * cluster. 0, or -1 without memory (what was, stays). */
int health_set_cluster(struct health *h, const char *cluster, const Headgate__HealthCheck *check,
                       const Headgate__ClientTls *tls, const Headgate__EndpointSet *endpoints);

/* What the loop knows of an endpoint: UNKNOWN before its first check has ended. */
Headgate__Endpoint__Health health_of(const struct health *h, const char *cluster, const char *address);

struct health_counters {
    uint64_t checks, failures, changes, timeouts, connects;  /* so far */
    uint64_t endpoints, unhealthy;                           /* now */
    uint64_t late;                  /* checks that began more than a second after they were due: the thread is overloaded */
};

/* As of the newest message of the checker, at most a second old. */
const struct health_counters *health_counters(const struct health *h);

/* For status: the last failure of an endpoint and when, microseconds since 1970. NULL: none is known. Valid until the loop
 * turns. */
const char *health_last_failure(const struct health *h, const char *cluster, const char *address, uint64_t *ret_at);
