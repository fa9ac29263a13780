/* top_rates.h — rates and latencies, from two replies of the control plane. No I/O. Thread: any. */
#pragma once

#include <stdbool.h>

#include "common/histogram.h"
#include "common/str.h"
#include "proto/admin.pb-c.h"

/* Of one cluster, over the data planes that were asked for. */
struct top_cluster {
    const char *name;
    uint64_t    attempts, errors;            /* since the data planes started; errors: 5xx, no response, and no
                                              * endpoint or no room for a request */
    double      attempts_rate, errors_rate;  /* a second, in the interval */
    uint64_t    under_way, waiting, connections; /* now; waiting: for room */
    uint64_t    latencies[HISTOGRAM_BUCKETS]; /* of the interval */
    uint64_t    p50, p99;                    /* microseconds to the head of the response, in the interval; 0: none came */
    uint32_t    endpoints, unhealthy, draining, ejected; /* of the data plane that has most of them */
    const Headgate__ClusterCounts *worst;    /* of the data plane with most unwell endpoints */
};

enum top_plane_state {
    TOP_MEASURED,
    TOP_WAITING,      /* for its first two answers */
    TOP_SILENT,       /* it did not answer in this interval */
    TOP_TOO_OLD,      /* its version cannot answer */
};

struct top_plane {
    const char          *node, *sync;        /* "in-sync" */
    enum top_plane_state state;
    bool                 is_counted;         /* the counts that have no rate are known */
    uint64_t             requests, responses_5xx; /* since it started */
    double               requests_rate, responses_4xx_rate, responses_5xx_rate;
    uint64_t             connections, quic_connections, exchanges, left_out;
};

/* Borrows the texts of `now`. */
struct top_view {
    const Headgate__TopReply *reply;
    struct top_plane   *planes;
    size_t              plane_count;
    struct top_cluster *clusters;            /* by name until sorted */
    size_t              cluster_count;
};

enum top_order { TOP_BY_RATE, TOP_BY_ERRORS, TOP_BY_P99, TOP_BY_UNDER_WAY, TOP_BY_NAME, TOP_ORDERS };
const char *top_order_name(enum top_order order);

/* `before` may be NULL: no rates are known then. Observations that answer to a lower number than `since` are not looked at:
 * they were asked for by others. `node` NULL: all data planes. A data plane that was started anew in between, and a cluster
 * that came anew, count from zero. 0, or -1 without memory. */
int  top_view_make(struct top_view *v, const Headgate__TopReply *before, const Headgate__TopReply *now, uint64_t since,
                   const char *node);
void top_view_finish(struct top_view *v);
/* Ties by name. */
void top_view_sort(struct top_view *v, enum top_order order);
/* Whether every data plane that can be observed has answered to `since` or later. */
bool top_is_answered(const Headgate__TopReply *r, uint64_t since);
/* One object on one line. */
void top_view_add_json(const struct top_view *v, struct strbuf *out);
