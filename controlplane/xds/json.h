/* json.h — messages of xDS as people and REST servers write them: the JSON mapping of proto3, also in YAML.
 *
 * Names may be written as in the .proto or in lowerCamelCase; enums by name or number; 64-bit numbers also as texts; bytes
 * as base64 of either alphabet; durations as "1.5s"; timestamps by RFC 3339; wrappers as their value; an Any as an object
 * with "@type" and the fields of that message (types.h), or, for a well-known type, with "value". null leaves a field unset.
 * As in Envoy, a duration may also be an object of seconds and nanos, and one message may stand for a list of one.
 *
 * Every fault is added with its place and its path, names as in the .proto: "virtual_hosts[0].routes[3].match". Nesting is
 * bounded as in decode.h, so what is read here can be encoded and decoded. Thread: one at a time. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/error.h"
#include "controlplane/config/tree/tree.h"

/* The message lives in the arena and refers to texts of the tree. Returns NULL after adding at least one error. */
ProtobufCMessage *xds_json_read(const ProtobufCMessageDescriptor *type, const struct tree_node *tree, struct arena *arena,
                                struct error_list *errors);

/* A resource of a server, in an Any of a known type. Types further within that are not known are no fault of the text, as
 * they are none of the bytes of gRPC: who reads the field refuses them (fields.h). What is in such an Any is left out. */
ProtobufCMessage *xds_json_read_resource(const struct tree_node *tree, struct arena *arena, struct error_list *errors);

/* The same from a text, JSON or YAML. `file` is for places, and kept by reference. */
ProtobufCMessage *xds_json_parse(const ProtobufCMessageDescriptor *type, const char *file, struct str text,
                                 struct arena *arena, struct error_list *errors);
