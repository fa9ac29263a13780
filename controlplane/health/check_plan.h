/* check_plan.h — how the endpoints of a cluster are checked: the message with all that follows from it.
 *
 * Made on the loop's thread, immutable then, counted. Thread: any. */
#pragma once

#include "controlplane/health/health.h"
#include "controlplane/health/transport.h"

enum check_plan_kind { PLAN_HTTP, PLAN_TCP, PLAN_GRPC, PLAN_TLS };

struct check_plan {
    atomic_uint references;
    enum check_plan_kind kind;
    char *cluster;                          /* name */
    Headgate__HealthCheck *check;           /* a copy */
    struct transport **transports;          /* of each of the cluster's choices, and behind them that of all others */
    size_t transport_count;
    double interval, unhealthy_interval, timeout;           /* seconds */
    char timeout_text[24];                  /* "1s", "250ms" */
    struct strbuf head, tail;               /* of an HTTP/1.1 request, around the value of Host */
    struct strbuf grpc;                     /* the message of a gRPC request */
};

/* `before` (may be NULL): what the cluster had; its transport is kept where it is the same. NULL with errors. */
struct check_plan *check_plan_make(const char *cluster, const struct health_way *way, const struct health_config *config,
                       const struct check_plan *before, struct error_list *errors);
struct check_plan *check_plan_ref(struct check_plan *p);
void         check_plan_unref(struct check_plan *p);    /* NULL is allowed */

/* Whether that field of a check is sent: not what the check itself says. */
bool         check_plan_sends(const Headgate__HeaderField *field);
/* The User-Agent of a request; NULL: the check has its own, or it is none of HTTP. */
const char  *check_plan_user_agent(const struct check_plan *p);
/* What stands in Host, :authority: never NULL. */
const char  *check_plan_host(const struct check_plan *p, const char *hostname);
/* What TLS expects where its settings do not say: the endpoint's name, else what the check names as host; may be "". */
const char  *check_plan_tls_name(const struct check_plan *p, const char *hostname);
