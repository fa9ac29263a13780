/* json_reader.h — the parts of json.h. For json*.c alone. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "controlplane/xds/json.h"

struct json_reader {
    struct arena      *arena;
    struct error_list *errors;
    size_t             faults;
    bool               takes_any_type;  /* within the message, an Any of a type that is not known is one without content */
};

/* A value and where it stands. */
struct json_at {
    const struct json_at    *up;
    const char              *field;     /* as in the .proto; NULL: an item of the field above, or the message itself */
    const struct tree_item  *item;      /* the item of a list or map, when `field` is NULL; may be NULL */
    const struct tree_node  *node;
    unsigned                 depth;     /* messages around it */
};

/* ---- telling; each counts a fault and returns -1 ---- */

/* `what` has the code, and may have what was expected and the nearest name. */
int json_fault(struct json_reader *r, const struct json_at *at, const struct error *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The value is of another type: `expected` is "a duration such as 1.5s". */
int json_expected(struct json_reader *r, const struct json_at *at, const char *expected);
int json_no_memory(struct json_reader *r);

/* ---- reading; 0, or -1 after a fault ---- */

int json_read_message(struct json_reader *r, const struct json_at *at, const ProtobufCMessageDescriptor *type,
                      ProtobufCMessage **ret);
/* The keys of a map as fields of `m`; "@type" is passed over when `is_any`. */
int json_read_object(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m, bool is_any);
/* A list or map as the items of a repeated field. */
int json_read_repeated(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f,
                       ProtobufCMessage *m);
/* One value of the field, which is no message, to where it stands. */
int json_read_scalar(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f, void *to);

/* Whether the type has a JSON of its own. */
bool json_is_well_known(const ProtobufCMessageDescriptor *type);
int  json_read_well_known(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m);

/* Adds a fault where the text has a NUL. */
int  json_refuse_nul(struct json_reader *r, const struct json_at *at);
bool json_is_number(struct str text);
/* A message with every field unset; NULL without memory, which is told. */
ProtobufCMessage *json_new_message(struct json_reader *r, const ProtobufCMessageDescriptor *type);
