/* plan.h — how the endpoints of a cluster are checked: the message with all that follows from it.
 *
 * Made on the loop's thread, immutable then, counted. Thread: any. */
#pragma once

#include "controlplane/health/health.h"
#include "controlplane/health/transport.h"

enum plan_kind { PLAN_HTTP, PLAN_TCP, PLAN_GRPC, PLAN_TLS };

struct plan {
    atomic_uint references;
    enum plan_kind kind;
    char *cluster;                          /* name */
    Headgate__HealthCheck *check;           /* a copy */
    struct transport *transport;
    double interval, unhealthy_interval, timeout;           /* seconds */
    char timeout_text[24];                  /* "1s", "250ms" */
    struct strbuf head, tail;               /* of an HTTP/1.1 request, around the value of Host */
    struct strbuf grpc;                     /* the message of a gRPC request */
};

/* `before` (may be NULL): what the cluster had; its transport is kept where it is the same. NULL with errors. */
struct plan *plan_make(const char *cluster, const struct health_way *way, const struct health_config *config,
                       const struct plan *before, struct error_list *errors);
struct plan *plan_ref(struct plan *p);
void         plan_unref(struct plan *p);    /* NULL is allowed */

/* What stands in Host, :authority: never NULL. */
const char  *plan_host(const struct plan *p, const char *hostname);
/* What TLS expects where its settings do not say: the endpoint's name, else what the check names as host; may be "". */
const char  *plan_tls_name(const struct plan *p, const char *hostname);
