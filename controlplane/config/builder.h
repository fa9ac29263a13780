/* builder.h — resources in the making: trees are filled into messages, checked against each other, and encoded.
 *
 * Thread: one at a time. */
#pragma once

#include "controlplane/config/config.h"
#include "controlplane/config/message/fill.h"
#include "controlplane/config/reference.h"

struct built {
    Headgate__Kind    kind;
    struct str        name;
    ProtobufCMessage *message;
};

struct builder {
    struct arena            arena;
    struct fill             fill;
    struct names            names;
    const struct config_options *options; /* may be NULL */
    const ProtobufCMessage *settings;   /* that route tables are checked with: the last added; NULL: all defaults */
    struct built           *items;
    size_t                  count, capacity;
};

/* `warnings` may be NULL. */
void builder_init(struct builder *b, struct error_list *errors, struct error_list *warnings);
void builder_finish(struct builder *b);
/* Fills a resource of a valid name from the tree. A cluster brings its endpoint set when `with_endpoints` is set. Faults are
 * reported and counted in b->fill.faults. */
void builder_add(struct builder *b, Headgate__Kind kind, struct str name, const struct fill_at *at, bool with_endpoints);
/* Encodes what was built, sorted. Returns 0, or -1 after adding an error. */
int  builder_emit(struct builder *b, struct config_resources *ret);
