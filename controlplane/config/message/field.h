/* field.h — reading and writing the fields of protobuf-c messages by their descriptors.
 *
 * Messages built here live in an arena and are never freed one by one. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/str.h"

/* One value of any type; which member counts follows from the field. */
struct field_value {
    uint64_t          number;       /* uint32, uint64, bool, enum */
    struct str        text;         /* string, bytes; ends in NUL */
    ProtobufCMessage *message;
};

bool field_is_text(const ProtobufCFieldDescriptor *f);      /* string or bytes */
bool field_is_list(const ProtobufCFieldDescriptor *f);

/* A message with every field unset; NULL without memory. */
ProtobufCMessage *field_new_message(struct arena *arena, const ProtobufCMessageDescriptor *type);

/* Makes room for exactly `count` items of an unset repeated field. Returns 0, or -1 without memory. */
int  field_reserve(struct arena *arena, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t count);
/* Sets a single field, or appends to a reserved repeated one. Texts and messages are kept by reference. */
void field_put(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, const struct field_value *value);

/* Number of items of a repeated field; 0 or 1 for a single one: whether it is set. */
size_t field_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);
/* Item `index` of a repeated field, or (index 0) the value of a single one, which is its default when it is not set. */
struct field_value field_get(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t index);
/* False when the descriptor names no default. */
bool field_default(const ProtobufCFieldDescriptor *f, struct field_value *ret);
