/* world.h — what a management server's resources mean together: who needs whom, what is complete, what is used.
 *
 * The world follows one machine of the protocol at a time. It asks for what held resources need, makes one set of resources
 * of ours of all that is complete (warm), hands that to the engine as a layer, and turns the engine's answer into READY or
 * into refusals of single resources. Endpoints go to the feed instead, at once. docs/internals/xds.md has the rules.
 *
 *     w = xds_world_create(...)
 *     p = xds_protocol_create(o, xds_world_judge, w, now); xds_world_add_types(w, p)      for each server
 *     xds_world_use(w, p, "xds.example:18000", now)                                      the one that counts
 *     after each event of p, and at xds_world_deadline: xds_world_follow(w, now)         then send p's requests
 *
 * Times are those of the machine. A failed allocation costs nothing but time: it is tried again. Thread: the loop's. */
#pragma once

#include "controlplane/discovery/endpoint_feed.h"
#include "controlplane/xds/protocol.h"
#include "controlplane/xds/translate/translate.h"
#include "proto/admin.pb-c.h"

struct xds_world;

/* What a type of resource is to the world, in the order in which a server is asked. */
enum xds_role {
    XDS_CLUSTERS, XDS_ENDPOINTS, XDS_LISTENERS, XDS_SCOPES, XDS_ROUTES, XDS_HOSTS, XDS_SECRETS, XDS_EXTENSIONS, XDS_RUNTIMES,
    XDS_ROLES
};

/* What one of the server's resources is translated from. */
struct xds_material {
    struct str        bytes;            /* of its message */
    /* Of the resources that are parts of it: virtual hosts of a route configuration, scopes of a listener. Errors about part
     * i have the path "virtual_hosts[i]" or "scopes[i]". */
    const struct str *parts;
    size_t            part_count;
    bool              is_locality_weighted; /* of endpoints alone */
    const struct xds_runtime *runtime;  /* the values that it goes by; may be NULL */
    uint64_t          stream_idle;      /* of a route configuration: as of struct xds_made */
};

struct xds_translation {
    const char *type;                   /* "envoy.config.cluster.v3.Cluster" */
    int (*translate)(const struct xds_material *from, struct xds_made *ret, struct error_list *errors); /* as translate.h */
};

/* Those of translate.h. */
extern const struct xds_translation xds_translations[XDS_ROLES];

/* What the world does. The functions must not call the world, but for `done`. */
struct xds_world_sink {
    void *context;
    /* As engine_set_layer: 0, and `done` is called once, perhaps before this returns; -1: nothing is taken, tried again
     * later. The set is sorted. */
    int (*set_layer)(void *context, struct config_resources *set,
                     void (*done)(void *done_context, const Headgate__PushReply *reply), void *done_context);
    /* The content of a secret, perhaps another than before. 0, or -1 with reasons in `errors`. */
    int (*set_secret)(void *context, const struct xds_given *given, struct error_list *errors);
    /* No resource that is in use names it any more. */
    void (*drop_secret)(void *context, const char *name);
    /* There is something to do: call xds_world_follow soon, not from within. */
    void (*changed)(void *context);
};

struct xds_world_options {
    const struct xds_translation *translations; /* XDS_ROLES of them */
    struct xds_world_sink         sink;
    struct endpoint_feed         *feed;         /* outlives the world */
    bool                          wants_clusters, wants_listeners;  /* all that the server has */
    const struct config_resources *fixed;       /* those that are there whatever the server has; outlives the world; NULL */
    const struct xds_runtime_layer *layers;     /* of runtime values, the last one counts first; outlive the world */
    size_t                        layer_count;
    /* How long, in microseconds, ... */
    uint64_t hold;              /* an ACK waits for resources that are needed as well, so that READY comes first */
    uint64_t reference_wait;    /* routes that send to a new cluster wait for it */
    uint64_t removal_wait;      /* a removed cluster stays for routes that still send to it */
    uint64_t settle_wait;       /* after a new stream's first answer, types that have not answered forbid removals */
    uint64_t retry_wait, retry_wait_max; /* between attempts that the engine refuses for its own reasons */
    uint64_t refusal_wait;      /* at most, until a copy is offered again that was refused after its ACK: from retry_wait,
                                 * doubled each time */
    uint64_t linger;            /* what nobody needs any more is still asked for; 0: not at all */
    size_t   lingering_max;     /* beyond so many names the oldest is given up */
};

/* Everything is wanted; 2 s, 15 s, 15 s, 5 s, 1 s to 60 s, 60 s, 15 s for 4,096 names. No sink, no feed. */
void xds_world_options_defaults(struct xds_world_options *o);

struct xds_world *xds_world_create(const struct xds_world_options *o); /* NULL without memory */
/* The engine answers nothing any more; machines may be gone. NULL is allowed. */
void              xds_world_destroy(struct xds_world *w);

/* ---- machines ---- */

/* For xds_protocol_create; the context is the world. */
enum xds_verdict xds_world_judge(void *world, size_t type, struct str name, struct str bytes, struct strbuf *reasons);
/* Adds the types, before the first stream. */
enum xds_result xds_world_add_types(struct xds_world *w, struct xds_protocol *p);
/* From now on this machine counts: what is wanted is asked for there. What came from another stays until this one has said
 * something else, or has said all. NULL: none. The one before is left as it is. `server` is for people. */
void xds_world_use(struct xds_world *w, struct xds_protocol *p, const char *server, uint64_t now);

void     xds_world_follow(struct xds_world *w, uint64_t now);
uint64_t xds_world_deadline(const struct xds_world *w); /* UINT64_MAX: nothing waits for time */

/* ---- for status ---- */

const struct xds_protocol *xds_world_protocol(const struct xds_world *w); /* NULL: none */
const char                *xds_world_type_url(enum xds_role role);
size_t                     xds_world_type(const struct xds_world *w, enum xds_role role); /* its number in machines */
/* Why a resource that is held is not in use, for people; NULL: it is, or is not there. Valid until the next call. */
const char *xds_world_waits_for(const struct xds_world *w, enum xds_role role, struct str name);

/* Whether keys stand in the resource, or may: of one that is not held nobody knows. A secret counts whatever is in it. */
bool xds_world_has_keys(const struct xds_world *w, enum xds_role role, struct str name);

struct xds_world_counters {
    uint64_t layers, refused_layers;    /* given to the engine; refused by it */
    uint64_t refused_resources;
    uint64_t translations;
    uint64_t assignments;               /* endpoint sets given to the feed */
    uint64_t stand_ins;                 /* in the layer that was made last */
};

const struct xds_world_counters *xds_world_counters(const struct xds_world *w);
