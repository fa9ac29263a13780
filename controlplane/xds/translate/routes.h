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
extern const struct xds_fields xds_read_route_action;           /* route_action.c */
extern const struct xds_fields xds_read_redirect;               /* route_answer.c */
extern const struct xds_fields xds_read_direct_response;        /* route_answer.c */
extern const struct xds_fields xds_read_added_header;           /* route_answer.c */
extern const struct xds_fields xds_read_retry;                  /* route_retry.c */
extern const struct xds_fields xds_read_hedge;                  /* route_retry.c */

/* A regular expression and what replaces its matches. */
extern const struct xds_fields xds_read_replacement;            /* route_action.c */

/* What a virtual host says for all of its routes. */
struct route_defaults {
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
