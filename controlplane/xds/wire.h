/* wire.h — requests and responses of message.h as protobuf (envoy.service.discovery.v3). Thread: any, nothing is shared. */
#pragma once

#include "common/arena.h"
#include "controlplane/xds/message.h"
#include "proto/envoy/config/core/v3/base.pb-c.h"
#include "proto/envoy/service/discovery/v3/discovery.pb-c.h"

/* The encoded request, in the arena; p == NULL without memory. `node` goes along where the request wants it, with the
 * features named that this client has (XDS_FEATURE_*); it may be NULL where it does not. */
struct str xds_encode_request(struct arena *arena, enum xds_form form, const struct xds_request *request,
                              const Envoy__Config__Core__V3__Node *node);

/* Decodes into the arena. Resources may be wrapped in a Resource or not. The name of one that is not, or that does not say
 * its name, is read from its own first field, which is the name in every type that is discovered. Returns 0 or what
 * xds_decode returns (decode.h); a wrapper that cannot be decoded becomes a resource without a name. */
int xds_decode_response(struct arena *arena, enum xds_form form, struct str bytes, struct xds_response *ret);

/* ---- parts of them, for wire_json.h ---- */

/* The request of a poll: the state of the world, with the node as a client without times to live. Its texts are in the
 * arena. 0, or -1 without memory. */
int xds_make_poll(struct arena *arena, const struct xds_request *request, const Envoy__Config__Core__V3__Node *node,
                  Envoy__Service__Discovery__V3__DiscoveryRequest *ret);
/* One of a response's resources. 0, MESSAGE_MEMORY or MESSAGE_LARGE. */
int xds_open_resource(struct arena *arena, const Google__Protobuf__Any *in, struct xds_response_resource *ret);
/* ret->errors. 0 or MESSAGE_MEMORY. */
int xds_open_errors(struct arena *arena, Envoy__Service__Discovery__V3__ResourceError *const *in, size_t count,
                    struct xds_response *ret);
