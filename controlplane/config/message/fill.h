/* fill.h — from a tree to messages, by the schema, with every fault reported at its place.
 *
 * Filling goes on after a fault, so that all of them are found. Messages and texts live in the arena. Thread: one at
 * a time. */
#pragma once

#include "common/map.h"
#include "controlplane/config/message/field.h"
#include "controlplane/config/schema/schema.h"
#include "controlplane/config/tree/tree.h"

/* A place in a tree while it is walked: how one got there, for the path in messages. */
struct fill_at {
    const struct fill_at   *up;         /* NULL at the root */
    const struct tree_item *item;       /* the entry of the list or map above; NULL: the same as `up` */
    const struct tree_node *node;
    bool                    is_named;   /* the item's key is the object's name */
};

/* A name that must exist. */
struct fill_reference {
    Headgate__Kind    kind;
    const char       *name;
    struct tree_place place;
    const char       *path;
    const char       *from;             /* the resource that refers, "route-table/site" */
};

struct fill {
    struct arena          *arena;
    struct error_list     *errors, *warnings;
    const char            *resource;    /* what is filled, "listener/web"; not NULL inside a resource */
    bool                   names_resource; /* errors carry `resource`: there is no file to name */
    size_t                 faults;
    struct map             unique, unique_in_all;   /* of texts, to where they stand (struct seen) */
    struct fill_reference *references;
    size_t                 reference_count, reference_capacity;
};

void fill_finish(struct fill *f);
/* Before another resource: what had to be unique in one may come again. */
void fill_begin_resource(struct fill *f, const char *resource);

/* A new message from the node, which need not be a map. NULL without memory; look at f->faults for anything else.
 * When the object has a companion, `ret_companion` gets that message. */
ProtobufCMessage *fill_message(struct fill *f, const struct schema_object *o, unsigned scope, const struct fill_at *at,
                               ProtobufCMessage **ret_companion);

/* The entry of that key or position below, or the place itself when there is none (a lone scalar stands for its object). */
struct fill_at fill_down(const struct fill_at *at, const char *key);
struct fill_at fill_down_to(const struct fill_at *at, size_t index);

/* Adds an error at the value. The result can be given an expectation; NULL is allowed there. */
struct error *fill_report(struct fill *f, const struct fill_at *at, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Likewise at the key. */
struct error *fill_report_key(struct fill *f, const struct fill_at *at, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Whether nothing in the configuration has that key yet, which a check has made of `text`; otherwise that is an error at the
 * value, and says where the other one stands. The key lives in the arena. */
bool fill_is_first(struct fill *f, const struct fill_at *at, struct str key, struct str text);
/* Counts the fault that was reported when the scalar was read (node->is_broken), and gives it its path. */
void fill_adopt(struct fill *f, const struct fill_at *at);
void fill_warn(struct fill *f, const struct fill_at *at, const char *format, ...) __attribute__((format(printf, 3, 4)));
void fill_out_of_memory(struct fill *f);
/* The path as users see it, in the arena; NULL without memory. */
const char *fill_path(struct fill *f, const struct fill_at *at);
