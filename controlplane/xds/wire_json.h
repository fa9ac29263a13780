/* wire_json.h — requests and responses of message.h as JSON: the REST form of the discovery protocol, which has the state of
 * the world alone. Thread: any, nothing is shared. */
#pragma once

#include "common/arena.h"
#include "common/error.h"
#include "controlplane/xds/message.h"
#include "proto/envoy/config/core/v3/base.pb-c.h"

/* Appends a DiscoveryRequest with the node. 0, or -1: no memory, or a node that has no JSON. */
int xds_write_poll(const struct xds_request *request, const Envoy__Config__Core__V3__Node *node, struct strbuf *out);

/* Reads a DiscoveryResponse into the arena; it refers to nothing of `text`. A resource that cannot be read is one with a
 * `fault`, by its name, and does not spoil the others; times to live are passed over, since an answer that says that nothing
 * is new could not prolong them. Keys of the response itself that are not known are passed over. Returns 0, or -1 after
 * adding at least one error. */
int xds_read_poll(struct arena *arena, struct str text, struct xds_response *ret, struct error_list *errors);
