/* fields.h — what a message of a management server says that nothing here reads.
 *
 * A table lists the fields of one message type that are read. The walk goes through a message by its descriptor and tells
 * of every field that is set and not in the table, of fields and enum values that no .proto here has, and of types in an Any
 * that its table does not expect, each with its path. So nothing is ignored silently: who translates a message refuses it
 * by what the walk has found.
 *
 * Recursion is bounded by XDS_DEPTH_MAX (an Any counts as one level), what every open Any takes by XDS_RESOURCE_MAX, the
 * work by XDS_WALK_VALUES_MAX, what is told by
 * XDS_WALK_FINDINGS_MAX, which ends the walk. Of what is ignored as much is told, and the walk goes on: a table of routes
 * may have thousands of such fields. Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "common/str.h"

enum {
    XDS_WALK_VALUES_MAX = 8 << 20,      /* fields, items and unknown fields that one walk looks at */
    XDS_WALK_FINDINGS_MAX = 100,
};

struct xds_fields;

/* One field that is read, or one whose value changes nothing here. */
struct xds_field {
    const char                     *name;       /* as in the .proto; NULL ends a table */
    const struct xds_fields        *inside;     /* of its messages; for a map, of the messages that are its values */
    const struct xds_fields *const *types;      /* what its Any may hold; NULL at the end */
    const char                     *ignored;    /* not NULL: why it can be left out, one sentence for people */
    const char                     *note;       /* for docs/xds.md: what becomes of it, what is refused; may be NULL */
};

/* What is read of one message type. */
struct xds_fields {
    const ProtobufCMessageDescriptor *type;
    const struct xds_field           *items;
};

/* Everything in the message counts as read, at any depth: only unknown fields and enum values are told. An Any below is not
 * opened. The well-known types (Duration, wrappers, Struct, ...) need no table at all. */
extern const struct xds_fields xds_everything;

enum xds_finding_kind {
    XDS_NOT_READ,           /* the field is set and nothing reads it */
    XDS_IGNORED,            /* the field is set, and its table says why that does not matter */
    XDS_UNKNOWN_FIELD,      /* a number that the message's .proto here does not have */
    XDS_UNKNOWN_VALUE,      /* a number that the enum's .proto here does not have */
    XDS_UNKNOWN_TYPE,       /* an Any of a type that its table does not list */
    XDS_MALFORMED,          /* an Any that cannot be decoded */
    XDS_DEEP,               /* nested beyond XDS_DEPTH_MAX */
    XDS_MORE,               /* the walk has ended at one of its bounds; the last finding */
};

struct xds_finding {
    enum xds_finding_kind kind;
    const char           *path;         /* "virtual_hosts[0].routes[3].route.cluster_specifier_plugin"; "" for the message */
    long                  number;       /* of the unknown field or value */
    const char           *detail;       /* the enum, the type URL, the reason; NULL where there is none */
};

/* Texts are valid during the call. Returns false to end the walk. */
struct xds_findings {
    bool (*found)(void *context, const struct xds_finding *finding);
    void *context;
};

/* Returns the number of findings that were told, those of kind XDS_IGNORED included, or -1 without memory. `table->type` is
 * the type of the message. */
int xds_fields_walk(const struct xds_fields *table, const ProtobufCMessage *message, const struct xds_findings *findings);

/* One sentence without a full stop, and without the path: "is not supported". */
void xds_finding_describe(const struct xds_finding *finding, struct strbuf *out);

/* The first name in a table that is no field of its message, stands there twice, or lacks what its kind needs (`inside` of a
 * message, `types` of an Any); NULL when the table is sound. For tests of tables. */
const char *xds_fields_fault(const struct xds_fields *table);
