/* message.h — requests and responses of the xDS transport protocol as plain structs, for both of its forms.
 *
 * Views only: nothing here owns memory. The bytes of a resource are the value of its Any, not looked into. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

enum xds_form {
    XDS_STATE_OF_THE_WORLD,     /* DiscoveryRequest and DiscoveryResponse */
    XDS_DELTA,                  /* DeltaDiscoveryRequest and DeltaDiscoveryResponse */
};

/* A name and what is said of it: the version that is held. */
struct xds_name_version {
    struct str name, version;
};

/* What goes to the server next. Views are valid until the next call of the protocol. */
struct xds_request {
    struct str                     type_url;
    bool                           has_node;            /* the first of its stream: Node belongs into it */
    struct str                     response_nonce;      /* empty: left out */
    bool                           is_refusal;          /* error_detail is set: a NACK */
    struct str                     error;               /* its message; google.rpc.Code is INVALID_ARGUMENT (3) */
    struct str                     version;             /* state of the world: version_info, the last accepted */
    const struct str              *names;               /* state of the world: all; delta: to subscribe */
    size_t                         name_count;
    const struct str              *unsubscribe;         /* delta only, as all below */
    size_t                         unsubscribe_count;
    const struct xds_name_version *initial_versions;    /* of what is held; in the first request of a type */
    size_t                         initial_version_count;
};

struct xds_response_resource {
    struct str name;            /* empty: it could not be found out */
    struct str type_url;        /* of the inner Any; ignored without a body */
    struct str version;         /* of the wrapper; empty: the response's */
    struct str bytes;
    bool       has_body;        /* no: a heartbeat */
    bool       has_ttl;
    uint64_t   ttl;             /* microseconds */
    struct str fault;           /* why it could not be read; empty: it was */
};

/* Why the server cannot send a resource (xRFC TP3). */
struct xds_response_error {
    struct str name;
    int        code;            /* google.rpc.Code */
    struct str message;
};

struct xds_response {
    struct str                          type_url;       /* empty: the one of the stream, when it has just one */
    struct str                          version;        /* version_info, or system_version_info */
    struct str                          nonce;
    const struct xds_response_resource *resources;
    size_t                              resource_count;
    const struct str                   *removed;        /* delta only */
    size_t                              removed_count;
    const struct xds_response_error    *errors;
    size_t                              error_count;
};

/* Features that Node.client_features must name, since servers send what they stand for to nobody else. */
#define XDS_FEATURE_TTL "xds.config.supports-resource-ttl"
#define XDS_FEATURE_WRAPPED "xds.config.supports-resource-in-sotw"
