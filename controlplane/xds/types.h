/* types.h — which message stands in a google.protobuf.Any, by its type URL. Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "common/str.h"

/* "envoy.config.cluster.v3.Cluster" of "type.googleapis.com/envoy.config.cluster.v3.Cluster"; p == NULL where there is no
 * slash with a name behind it. */
struct str xds_type_name(struct str url);

/* The message type of that URL among those that this program knows, or NULL. */
const ProtobufCMessageDescriptor *xds_type_of_url(struct str url);

/* All known types, in the order of their names; *ret_count is their number. */
const ProtobufCMessageDescriptor *const *xds_types(size_t *ret_count);

/* The name of the known type that was probably meant, or NULL. */
const char *xds_type_nearest(struct str url);
