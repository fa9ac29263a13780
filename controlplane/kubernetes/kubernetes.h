/* kubernetes.h — what an API server of Kubernetes says of services, for all who want to know.
 *
 * Of each namespace that somebody follows a service in, EndpointSlices are listed and watched once, and Services when a port
 * is named by its number. Thread: the loop's. */
#pragma once

#include "common/arena.h"
#include "common/error.h"
#include "controlplane/kubernetes/reflector.h"
#include "proto/resources.pb-c.h"

#define KUBERNETES_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

/* NULL: what a pod is given (KUBERNETES_ACCOUNT, KUBERNETES_SERVICE_HOST and _PORT). */
struct kubernetes_config {
    struct ev_loop *loop;
    const char     *server;             /* "https://10.96.0.1:443" */
    const char     *token_file, *ca_file;
    const char     *certificate, *key;  /* PEM files instead of a token */
};

struct kubernetes;
struct kubernetes_namespace;

/* NULL with reasons in `errors`. */
struct kubernetes *kubernetes_create(const struct kubernetes_config *config, struct error_list *errors);
void kubernetes_destroy(struct kubernetes *k); /* nobody follows anything; NULL is allowed */
/* Whether this process runs in a pod that may have an API server. */
bool kubernetes_is_around(void);
/* That of the pod, or "default". */
const char *kubernetes_own_namespace(const struct kubernetes *k);

/* Lists and watches one Secret alone, by its name, as reflector_create does; destroyed before `k`. NULL without memory. */
struct reflector *kubernetes_watch_secret(struct kubernetes *k, struct str namespace, struct str name,
                                          const struct reflector_ops *ops, void *context);

/* Of all namespaces that there have been. */
void kubernetes_count(const struct kubernetes *k, struct reflector_counters *ret);

/* Follows one service; lives in who does. */
struct kubernetes_follower {
    struct kubernetes_follower  *next, **place;     /* of the namespace */
    struct kubernetes_namespace *in;                /* NULL: follows nothing */
    const char *service;                            /* outlives it */
    bool        wants_services;                     /* a port is named by its number */
    /* The endpoints may be others than before: ask. Not before the lists are whole. */
    void (*changed)(void *context);
    /* The API server; what was known stays. Also behind `changed` while it lasts: of a token that may list and not watch. */
    void (*failed)(void *context, const char *reason);
    void *context;
};

/* `service` and what follows it are set. 0, or -1 without memory. */
int  kubernetes_follow(struct kubernetes *k, const char *namespace, struct kubernetes_follower *f);
void kubernetes_leave(struct kubernetes_follower *f); /* also one that follows nothing; not from within its functions */

/* Whether the lists that it depends on are whole: then it may ask. */
bool kubernetes_is_known(const struct kubernetes_follower *f);
/* See slices_endpoints; `port` is a name, or a number of the Service's, or NULL. */
Headgate__EndpointSet *kubernetes_endpoints(const struct kubernetes_follower *f, const char *port, struct arena *arena,
                                            struct error_list *errors);
