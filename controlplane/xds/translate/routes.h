/* routes.h — the parts of a route table in the making. Each is given the place of its message. Thread: one at a time. */
#pragma once

#include "controlplane/xds/translate/making.h"
#include "controlplane/xds/translate/tables.h"
#include "proto/envoy/config/route/v3/route.pb-c.h"

/* In front of the name of a listener: the routes that stand in it. No name of a server becomes one like it. */
#define XDS_INLINE_ROUTES "@listener:"

enum {
    ROUTES_MAX = 100000,                /* virtual hosts, their domains, their routes */
    ROUTE_CONDITIONS_MAX = 64,          /* on headers, and on the query */
};

extern const struct xds_fields xds_read_route_match;            /* route_match.c */
extern const struct xds_fields xds_read_header_match;           /* route_match.c */
extern const struct xds_fields xds_read_regex;                  /* route_match.c */
extern const struct xds_fields xds_read_string_match;           /* route_match.c */
extern const struct xds_fields xds_read_metadata_match;         /* route_metadata.c */
extern const struct xds_fields xds_read_route_action;           /* route_action.c */
extern const struct xds_fields xds_read_redirect;               /* route_answer.c */
extern const struct xds_fields xds_read_direct_response;        /* route_answer.c */
extern const struct xds_fields xds_read_changed_header;         /* route_answer.c */
extern const struct xds_fields xds_read_retry;                  /* route_retry.c */
extern const struct xds_fields xds_read_hedge;                  /* route_retry.c */

/* A regular expression and what replaces its matches. */
extern const struct xds_fields xds_read_replacement;            /* route_action.c */

/* What is said of heads in one place of a server's message. */
struct route_headers {
    const struct xds_at                          *at;
    const char                                   *add_field, *remove_field;
    Envoy__Config__Core__V3__HeaderValueOption  **add;
    size_t                                        add_count;
    char                                        **remove;
    size_t                                        remove_count;
};

/* Of the message FROM at this place, for "request" or "response". */
#define ROUTE_HEADERS(place, from, which) \
    {(place), #which "_headers_to_add", #which "_headers_to_remove", (from)->which##_headers_to_add, \
     (from)->n_##which##_headers_to_add, (from)->which##_headers_to_remove, (from)->n_##which##_headers_to_remove}

/* Changes of ours in the making. */
struct route_changes {
    Headgate__HeaderChange **items;
    size_t                   count;
};

bool route_changes_begin(struct making *m, struct route_changes *ret);     /* false: no memory */
/* Appends them in the order in which Envoy makes them. */
void route_changes_add(struct making *m, const struct route_headers *from, bool is_response, struct route_changes *to);

/* What a virtual host says for all of its routes, and the table for all of its hosts. */
struct route_defaults {
    struct route_headers                         request[2], response[2]; /* in the order in which they are made */
    bool                                         is_route_last;           /* its own come behind those */
    const Envoy__Config__Route__V3__RetryPolicy *retry;
    const struct xds_at                         *retry_at;
    const Envoy__Config__Route__V3__HedgePolicy *hedge;
    const struct xds_at                         *hedge_at;
};

/* The conditions of a rule; sets `connect` of a rule that is for CONNECT alone. */
void route_match(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteMatch *from,
                 Headgate__Rule *rule);
/* Conditions on headers as ours, appended: those that stand for one may be two. */
void route_headers(struct making *m, const struct xds_at *at, Envoy__Config__Route__V3__HeaderMatcher **from, size_t count,
                   Headgate__Match *to);
/* Whether all of the text is what the expression, which is valid, describes. */
bool route_regex_meets(struct making *m, const char *regex, struct str text);
/* Whether all of its conditions on dynamic metadata are met, which is no matter of requests. */
bool route_metadata_is_met(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteMatch *from);
void route_forward(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                   const struct route_defaults *defaults, Headgate__Rule *rule);
void route_retry(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                 const struct route_defaults *defaults, Headgate__Rule *rule);
void route_redirect(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                    Headgate__Rule *rule);
void route_respond(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                   Headgate__Rule *rule);

/* Both texts of a replacement; untouched after an error. */
void route_replacement(struct making *m, const struct xds_at *at,
                       const Envoy__Type__Matcher__V3__RegexMatchAndSubstitute *from, char **ret_regex,
                       char **ret_substitution);

/* For those who ask which route a request takes: a table that leaves out what is not supported, which `errors` then tell.
 * Where routes themselves cannot be told apart it is refused: -1. The rules of host i are those of virtual host i, behind
 * one that sends to TLS where require_tls says so. */
int routes_translate_leniently(const Envoy__Config__Route__V3__RouteConfiguration *from, const char *name,
                               struct xds_made *ret, struct error_list *errors);

/* The message as a KIND_ROUTE_TABLE of this name of ours; `at` is where it stands, NULL: it is the message itself. */
void routes_make(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteConfiguration *from,
                 const char *name);
