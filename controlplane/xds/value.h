/* value.h — the fields of proto3 messages by their descriptors.
 *
 * In proto3 a plain number, flag or text has no presence: it is set when it is not its default. Messages and members of a
 * oneof have presence. Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

/* Number of items of a repeated field; 0 or 1 for a single one: whether it is set. */
size_t xds_field_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);

/* Where item `index` of a repeated field stands, or (index 0) the value of a single one. */
const void *xds_field_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t index);

/* Bytes that one value takes in the message. */
size_t xds_field_width(const ProtobufCFieldDescriptor *f);

bool xds_field_is_repeated(const ProtobufCFieldDescriptor *f);

/* The type of its messages; NULL when it holds something else. */
const ProtobufCMessageDescriptor *xds_field_message(const ProtobufCFieldDescriptor *f);

/* A map is a repeated field of entries with the fields 1, key, and 2, value. `of` is the message that has the field. */
bool xds_field_is_map(const ProtobufCMessageDescriptor *of, const ProtobufCFieldDescriptor *f);
