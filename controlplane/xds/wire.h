/* wire.h — requests and responses of message.h as protobuf (envoy.service.discovery.v3). Thread: any, nothing is shared. */
#pragma once

#include "common/arena.h"
#include "controlplane/xds/message.h"
#include "proto/envoy/config/core/v3/base.pb-c.h"

/* The encoded request, in the arena; p == NULL without memory. `node` goes along where the request wants it, with the
 * features named that this client has (XDS_FEATURE_*); it may be NULL where it does not. */
struct str xds_encode_request(struct arena *arena, enum xds_form form, const struct xds_request *request,
                              const Envoy__Config__Core__V3__Node *node);

/* Decodes into the arena. Resources may be wrapped in a Resource or not. The name of one that is not, or that does not say
 * its name, is read from its own first field, which is the name in every type that is discovered. Returns 0 or what
 * xds_decode returns (decode.h); a wrapper that cannot be decoded becomes a resource without a name. */
int xds_decode_response(struct arena *arena, enum xds_form form, struct str bytes, struct xds_response *ret);
