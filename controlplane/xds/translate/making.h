/* making.h — one translation under way: what its functions share.
 *
 * Faults are sticky: a function that finds one adds an error and goes on, so that all of them are told; making_end says
 * whether there were any. What is made meanwhile lives in the arena. Thread: one at a time. */
#pragma once

#include "controlplane/xds/fields.h"
#include "controlplane/xds/translate/translate.h"
#include "proto/google/protobuf/any.pb-c.h"

/* A place in the server's message. A path is written only for an error. */
struct xds_at {
    const struct xds_at *up;            /* NULL: the message */
    const char          *field;         /* may have dots: "common_lb_config.healthy_panic_threshold" */
    const char          *key;           /* of a map; NULL: none */
    size_t               item;          /* of a repeated field, counted from 1; 0: none */
};

/* Places below `up`; valid as long as the block in which they are written. */
#define XDS_AT(up, field)             (&(const struct xds_at){(up), (field), NULL, 0})
#define XDS_AT_ITEM(up, field, index) (&(const struct xds_at){(up), (field), NULL, (index) + 1})
#define XDS_AT_KEY(up, field, key)    (&(const struct xds_at){(up), (field), (key), 0})

struct making {
    struct xds_made   *made;
    struct arena       arena;           /* of messages in the making; gone with making_end */
    struct error_list *errors;
    const char        *resource;        /* of errors: "cluster/outbound|80||web", with the server's name */
    size_t             faults;
    bool               is_lenient;      /* for those who only ask which route is taken: see making_begin_leniently */
};

/* Looks through the message by its table first: what nothing reads is an error each. `what` is "cluster" or the like.
 * Returns 0, or -1 when there were errors: there is nothing more to do then but making_end. */
int  making_begin(struct making *m, const struct xds_fields *table, const ProtobufCMessage *message, const char *what,
                  const char *name, struct xds_made *made, struct error_list *errors);
/* The same for a message that was opened on the way (making_open) and that no table of the outer one led to. */
int  making_look(struct making *m, const struct xds_at *at, const struct xds_fields *table, const ProtobufCMessage *message);
/* Likewise, but what is not supported is told and passed over, where it says nothing about which requests are meant. */
int  making_begin_leniently(struct making *m, const struct xds_fields *table, const ProtobufCMessage *message,
                            const char *what, const char *name, struct xds_made *made, struct error_list *errors);
/* Frees what was in the making, sorts what was made. Returns 0, or -1 when there was a fault. */
int  making_end(struct making *m);

/* Adds an error at the place. Returns -1. */
int  making_refuse(struct making *m, const struct xds_at *at, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* For what has no meaning here: "is not supported: REASON". Returns -1. */
int  making_unsupported(struct making *m, const struct xds_at *at, const char *reason);
/* An allocation has failed; where what is made has come to its bound, that is a fault of the message. Returns -1. */
int  making_out_of_memory(struct making *m);

/* A message of ours with every field unset; NULL after an error. */
void *making_new(struct making *m, const ProtobufCMessageDescriptor *type);
/* Zeroed memory, also for no items; NULL after an error. */
void *making_array(struct making *m, size_t count, size_t size);
char *making_text(struct making *m, struct str text);

/* What an Any holds, of a type that its table lists; NULL after an error. */
ProtobufCMessage *making_open(struct making *m, const struct xds_at *at, const Google__Protobuf__Any *any);

/* Our name for one of the server's, with the mapping of names.h; NULL after an error, which an empty name is, too. */
char *making_name(struct making *m, const struct xds_at *at, const char *name);
/* Add a need, as xds_made_need; the first one that is awaited. */
void  making_need(struct making *m, const char *type, const char *name);
void  making_need_or(struct making *m, const char *type, const char *name, enum xds_awaited awaited);
/* Encodes the message as a resource of what is made, unless there was a fault. */
void  making_emit(struct making *m, Headgate__Kind kind, const char *name, const ProtobufCMessage *message);
