/* translate.h — one message of a management server into resources of ours.
 *
 * Nothing is ignored silently: a field that is set and has no meaning here refuses the message by the field's path
 * (fields.h, making.h). Where Envoy's default differs visibly from ours and the server has left the field out, Envoy's is
 * written into the resource. Thread: any, nothing is shared. */
#pragma once

#include "common/arena.h"
#include "common/error.h"
#include "common/map.h"
#include "controlplane/config/config.h"
#include "controlplane/xds/translate/runtime.h"
#include "proto/envoy/config/cluster/v3/cluster.pb-c.h"
#include "proto/envoy/config/core/v3/extension.pb-c.h"
#include "proto/envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "proto/envoy/config/listener/v3/listener.pb-c.h"
#include "proto/envoy/config/route/v3/route.pb-c.h"
#include "proto/envoy/config/route/v3/scoped_route.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/tls/v3/secret.pb-c.h"
#include "proto/envoy/service/runtime/v3/rtds.pb-c.h"

#define XDS_STREAM_IDLE UINT64_C(300000000) /* microseconds; Envoy's default */

enum { XDS_TICKET_KEY_SIZE = 80 };      /* name 16, MAC key 32, encryption key 32 bytes: as Envoy and nginx have them */

/* Whether what was made is complete without what it needs: the strictest first. */
enum xds_awaited {
    XDS_AWAITED,                        /* no */
    XDS_AWAITED_OR_DEFAULT,             /* as soon as it is known that it does not come: a default stands in */
    XDS_NOT_AWAITED,                    /* yes */
};

/* Another resource of the server without which what was made is not complete. */
struct xds_need {
    const char      *type;              /* "envoy.config.route.v3.RouteConfiguration" */
    const char      *name;              /* as the server knows it; "*": all that there are, as parts of what was made */
    enum xds_awaited awaited;
    size_t           namesake;          /* the number + 1 of one of the same name and another type; 0: none */
};

/* The content of a secret that is given instead of read from files; xds_made_finish clears keys. Nothing here is checked
 * beyond its form: no certificate has been read. */
struct xds_given {
    const char            *name;        /* of ours: "sds:NAME" */
    enum config_secret_what what;       /* CONFIG_SECRET_KEY_PAIR, CONFIG_SECRET_TRUST or CONFIG_SECRET_TICKET_KEYS */
    struct str             certificate; /* PEM: the chain, leaf first; of a trust its authorities */
    struct str             key;         /* PEM; of a pair */
    struct str             ocsp;        /* DER; of a pair, empty where there is none */
    struct str             crl;         /* PEM; of a trust, empty where there is none */
    struct str             rules;       /* of a trust: as of given_secret */
    const struct str      *ticket_keys; /* of ticket keys: XDS_TICKET_KEY_SIZE bytes each, newest first */
    size_t                 ticket_key_count;
};

/* What a message became. A zeroed struct is a valid empty one. */
struct xds_made {
    struct config_resources set;        /* sorted */
    struct xds_need        *needs;      /* each once */
    size_t                  need_count, need_capacity;
    struct map              needs_by_name;  /* the number + 1 of the last one of each name */
    struct xds_given       *givens;     /* secrets whose content stood in the message itself; each name once */
    size_t                  given_count, given_capacity;
    bool                    is_hollow;  /* nothing is in it, but parts may still come */
    struct xds_runtime_value *values;   /* of a runtime layer */
    size_t                  value_count, value_capacity;
    /* Set by the caller: the values that fields with a `runtime_key` go by; NULL: their defaults. And whether there was such
     * a field. */
    const struct xds_runtime *runtime;
    bool                    reads_runtime;
    /* How long streams may be idle where their routes do not say it, in microseconds; 0: Envoy's default, UINT64_MAX: for
     * ever. Of a route configuration likewise set by the caller, with whether there was such a route; of a listener set to
     * what it says. */
    uint64_t                stream_idle;
    bool                    reads_stream_idle;
    /* Likewise: what is to be taken as the dynamic metadata of requests, a member for each filter; NULL: none, as it is in
     * the gateway. */
    const Google__Protobuf__Struct *metadata;
    struct arena            arena;      /* of needs and givens */
};

void xds_made_finish(struct xds_made *made);
/* Adds what is not among them yet; of two for the same the stricter `awaited` counts. `type` is kept by reference. Returns
 * 0, or -1 without memory. */
int xds_made_need(struct xds_made *made, const char *type, struct str name, enum xds_awaited awaited);

/* A layer of runtime values: where it comes from. */
struct xds_runtime_layer {
    const char                     *name;       /* of the server's Runtime resource, or for people */
    const Google__Protobuf__Struct *values;     /* that stand in the bootstrap file; NULL: the server has them */
};

/* `ret` is empty before, but for `runtime`, `stream_idle` and `metadata`; finish it in any case. Return 0, or -1 after
 * adding at least one error, each with the path of the field in the server's message. */

/* A KIND_CLUSTER and the KIND_ENDPOINT_SET of its name, which is empty where the endpoints are found by discovery. */
int xds_translate_cluster(const Envoy__Config__Cluster__V3__Cluster *m, struct xds_made *ret, struct error_list *errors);
/* One KIND_ENDPOINT_SET of the name of the assignment (with a mapped name, names.h). Whether the weights of localities count
 * is said by the cluster that uses it: XdsDiscovery.locality_weighted. */
int xds_translate_endpoints(const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *m, bool is_locality_weighted,
                            struct xds_made *ret, struct error_list *errors);
/* Scopes that come by themselves (SRDS). */
struct xds_scopes {
    Envoy__Config__Route__V3__ScopedRouteConfiguration **items;
    size_t                                               count;
};

/* A KIND_LISTENER, and a KIND_ROUTE_TABLE where the routes stand in it. Where scopes come by themselves it needs all of
 * them; `scopes` are those that are there, and errors about one have the path "scopes[i]". NULL: none. */
int xds_translate_listener(const Envoy__Config__Listener__V3__Listener *m, const struct xds_scopes *scopes,
                           struct xds_made *ret, struct error_list *errors);
/* A KIND_ROUTE_TABLE of its name. Where virtual hosts come by themselves (vhds) it needs all of them; those that belong to
 * it are the first of its own by then. */
int xds_translate_route_configuration(const Envoy__Config__Route__V3__RouteConfiguration *m, struct xds_made *ret,
                                      struct error_list *errors);
/* Nothing by itself: whether it can be one of the virtual hosts of a route configuration. */
int xds_translate_virtual_host(const Envoy__Config__Route__V3__VirtualHost *m, struct xds_made *ret,
                               struct error_list *errors);
/* Nothing by itself: whether it can be one of the scopes of a listener. */
int xds_translate_scope(const Envoy__Config__Route__V3__ScopedRouteConfiguration *m, struct xds_made *ret,
                        struct error_list *errors);
/* An HTTP filter that listeners name instead of having it in them. Nothing: with the few filters that there are, it is
 * what is valid in a listener that matters. */
int xds_translate_extension(const Envoy__Config__Core__V3__TypedExtensionConfig *m, struct xds_made *ret,
                            struct error_list *errors);
/* A layer of runtime values: ret->values. */
int xds_translate_runtime(const Envoy__Service__Runtime__V3__Runtime *m, struct xds_made *ret, struct error_list *errors);
/* The same for a layer that stands in the bootstrap file. */
int xds_translate_layer(const char *name, const Google__Protobuf__Struct *layer, struct xds_made *ret,
                        struct error_list *errors);
/* One of ret->givens, and no resource. */
int xds_translate_secret(const Envoy__Extensions__TransportSockets__Tls__V3__Secret *m, struct xds_made *ret,
                         struct error_list *errors);
