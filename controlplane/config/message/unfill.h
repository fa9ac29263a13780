/* unfill.h — from messages to the tree that would make them; the other direction of fill.h. Thread: one at a time. */
#pragma once

#include "controlplane/config/message/field.h"
#include "controlplane/config/schema/schema.h"
#include "controlplane/config/tree/tree.h"

struct unfill {
    struct arena           *arena;
    const ProtobufCMessage *settings;   /* with is_effective: what routes and listeners inherit from */
    bool                    is_effective;
};

/* The map for the message, a companion's keys included (it may be NULL), and its name in front where that is not
 * NULL. Texts are copied. NULL without memory. */
struct tree_node *unfill_message(struct unfill *u, const struct schema_object *o, unsigned scope, const ProtobufCMessage *m,
                                 const ProtobufCMessage *companion, const char *name);
/* A value of the key as the scalar that users write; NULL without memory. */
struct tree_node *unfill_scalar(struct arena *arena, const struct schema_key *k, const struct field_value *value);
