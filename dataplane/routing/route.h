/* route.h — route tables: compiled from the RouteTable resource, then only read.
 *
 * Matching: the most specific domain (exact, longest wildcard, "*") picks the host; in it the first rule that matches wins.
 * Cost does not grow with the number of hosts, nor with the number of rules that differ by exact or prefix path.
 * Thread: building on any one thread, matching on all. docs/internals/routing.md */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/str.h"
#include "dataplane/http/head.h"
#include "dataplane/routing/changes.h"
#include "proto/resources.pb-c.h"

enum route_action { ROUTE_RESPOND, ROUTE_REDIRECT, ROUTE_FORWARD };

struct timeouts {                       /* microseconds; 0: none */
    uint64_t header, idle, response_head, connect, request, body, response_body, write, drain, tunnel_idle, handshake,
        response;
};

struct route_retry {
    uint32_t retries;
    bool     on_connect_failure, on_reset;
    uint64_t per_try_timeout;           /* 0: none */
    uint64_t backoff, max_backoff;      /* base and most of the random time before a retry */
    uint64_t max_retry_after;           /* 0: Retry-After is not looked at */
    uint64_t hedge_after;               /* 0: never */
    uint64_t body;                      /* bytes of a request's body that are kept for another attempt */
    uint32_t method_count;              /* 0: the idempotent ones */
};

/* One rule, compiled, with everything inherited filled in. Lives as long as its table; is the first member of a
 * private struct, so it is never copied. */
struct route {
    struct str         name;            /* the rule's, or "<host>.<rule>" */
    enum route_action  action;
    struct timeouts    timeouts;        /* route over settings over the defaults */
    uint64_t           body_limit;
    struct route_retry retry;
    struct header_changes request_changes, response_changes;
    const Headgate__Rule *rule;         /* the message */
};

struct route_table;

/* Compiles `message`, which must outlive the table, as must `settings` (may be NULL: all defaults). Faults are
 * added to `errors` with resource "route-table/<name>" and field path. NULL: there were some, or no memory. */
struct route_table *route_table_build(const Headgate__RouteTable *message, const char *name,
                                      const Headgate__Settings *settings, struct error_list *errors);
void                route_table_free(struct route_table *);

/* All clusters and subsets that the table's rules forward to, without duplicates; their index is what
 * route_pick_cluster returns. */
size_t              route_table_cluster_count(const struct route_table *);
struct str          route_table_cluster_name(const struct route_table *, size_t index);
/* What the endpoints of that choice have in their metadata; a count of 0: nothing in particular. One name with different
 * subsets is different choices. */
Headgate__MetadataEntry *const *route_table_cluster_subset(const struct route_table *, size_t index, size_t *ret_count);

/* What a request is matched by. */
struct route_request {
    struct str           host;          /* without port, lower-case; empty: only "*" matches */
    struct str           authority;     /* the host with its port where it has one, lower-case */
    struct str           scheme;        /* "http" or "https" */
    struct str           path;          /* canonical; empty for CONNECT: no rule with a path matches */
    struct str           query;         /* raw, without "?" */
    struct str           method;
    const struct fields *fields;
    uint32_t             random;        /* uniform; for rules that take a fraction of what they match */
};

struct route_match {
    const struct route *route;          /* NULL: none matches */
    size_t              prefix_length;  /* bytes of the path that the rule's prefix (or exact path) matched */
    bool                limit_hit;      /* a regular expression gave up: nobody knows which rule it is */
};

/* Memory for regular expressions, one per thread. NULL: no memory. */
struct route_scratch *route_scratch_create(void);
void                  route_scratch_destroy(struct route_scratch *);

/* Takes nothing from the heap. */
void  route_table_match(const struct route_table *, const struct route_request *, struct route_scratch *,
                        struct route_match *ret);

/* For ROUTE_FORWARD: the cluster's index in the table, by weight; `random` is uniform. */
uint32_t route_pick_cluster(const struct route *, uint32_t random);
/* What is changed for that choice alone, before what the rule changes. */
const struct header_changes *route_choice_changes(const struct route *, uint32_t random, bool is_response);
bool     route_retries_method(const struct route *, const struct head *request);   /* method_count > 0: is it listed? */
bool     route_retries_answer(const struct route *, const struct head *answer);    /* by its status, or that of gRPC */
/* The path (and query) for the origin as the rule rewrites it; what is unchanged is returned without a copy. The
 * query is kept. 0, or -1 without memory or when a limit was hit. `target` is "path?query". */
int      route_rewrite_target(const struct route *, const struct route_match *, struct str path, bool has_query,
                              struct str query, struct route_scratch *, struct arena *, struct str *ret_target);
/* The Host for the origin, empty: unchanged. */
bool       route_allows_upgrade(const struct route *, struct str token); /* case does not count */
struct str route_rewrite_host(const struct route *);
bool       route_host_from_endpoint(const struct route *);
/* For ROUTE_REDIRECT: the Location of a request with this scheme, authority, path and query. 0, or -1 without memory or when
 * a limit was hit. */
int      route_redirect_location(const struct route *, const struct route_match *, const struct route_request *,
                                 bool has_query, struct route_scratch *, struct arena *, struct str *ret);

/* ---- explain: the same predicates, rule by rule */

struct route_explained_rule {
    uint32_t   host, rule;              /* indices in the message */
    bool       matches;
    struct str why_not;                 /* "method is GET, expected POST"; empty when it matches */
};

struct route_explanation {
    bool       has_host;
    uint32_t   host;                    /* index */
    struct str domain;                  /* of the table that matched: "*.example.com" */
    struct route_explained_rule *rules; /* of that host, in order, up to and including the one that matches */
    size_t     rule_count;
    struct route_match match;
};

/* Everything lies in the arena. 0, or -1 without memory. */
int route_table_explain(const struct route_table *, const struct route_request *, struct route_scratch *, struct arena *,
                        struct route_explanation *ret);
