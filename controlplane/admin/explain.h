/* explain.h — what a request would meet: listener, host, rule and why not the earlier ones, action, cluster, endpoints.
 *
 * Uses the data plane's own routing library, so that both say the same. Everything lies in the caller's arena.
 * Thread: the loop's. */
#pragma once

#include "controlplane/config/config.h"
#include "dataplane/routing/path.h"
#include "dataplane/routing/route.h"
#include "proto/admin.pb-c.h"

struct explained_cluster {
    const char *name;
    uint32_t weight;
    bool is_missing;
    Headgate__EndpointSet *endpoints;       /* NULL: none */
};

/* A change of a field that the rule, or its only cluster, makes. */
struct explained_change {
    const char *action;                     /* as users write it: "set" */
    struct str  name, value;                /* of a request as it comes out; of a response as it is written */
    bool        is_made;                    /* of a request: it changes something */
};

struct explained {
    struct str method, scheme, host, authority, path, query; /* of the URL; host without port */
    bool has_query;
    struct fields fields;                   /* of the request */
    uint16_t port;
    const char *listener, *listener_note;   /* the note: how it was chosen when the port did not say */
    bool is_tcp, is_quic;                   /* it relays connections: there is nothing to explain */
    const char *route_table;                /* NULL: no scope has the request's key, so 404 */
    const char *scope;                      /* how it was chosen among several tables; NULL: there is one */
    enum path_error path_error;             /* not PATH_OK: 400, and nothing below is set */
    struct str canonical;
    struct route_explanation route;
    const Headgate__RouteTable *table;
    uint32_t random;                        /* for rules that take a share: the number of the request */
    struct str target, origin_host;         /* forward: what the origin sees */
    struct explained_change *request_changes, *response_changes;
    size_t request_change_count, response_change_count;
    struct fields sees;                     /* forward: the request's fields with these changes */
    struct str location;                    /* redirect */
    struct explained_cluster *clusters;
    size_t cluster_count;

    /* What has to be freed. */
    Headgate__Settings *settings;
    Headgate__RouteTable *owned_table;
    struct route_table *compiled;
    struct route_scratch *scratch;
};

/* 0, or -1 with reasons in `errors`. Finish in both cases. */
int explain_request(const struct config_resources *set, const Headgate__ExplainRequest *m, struct arena *arena,
                    struct explained *ret, struct error_list *errors);
/* The same by a table of the set whatever listens, so that ret->listener is NULL. */
int explain_by_table(const struct config_resources *set, const char *table, uint32_t random,
                     const Headgate__ExplainRequest *m, struct arena *arena, struct explained *ret,
                     struct error_list *errors);
void explained_finish(struct explained *x);
/* Of explain.c: fills the changes (explain_changes.c). 0, or -1 without memory. */
int explain_changes(struct explained *x, struct arena *arena);

void explained_print(const struct explained *x, struct strbuf *out);
void explained_print_json(const struct explained *x, struct strbuf *out);
