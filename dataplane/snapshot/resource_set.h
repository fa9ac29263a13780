/* resource_set.h — the decoded, immutable resources of one snapshot, by kind and name.
 *
 * Resources are shared between successive sets by (kind, name, id), so that what did not change is not
 * decoded again, and a builder can compare pointers or ids to see what it may reuse. Thread: main thread
 * only, except that the bytes of a resource may be read by any thread while the main thread keeps a reference
 * for it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/str.h"
#include "proto/resource.h"
#include "proto/shared_list.h"

/* The bytes behind one id; resources of equal bytes share them. */
struct resource_body {
    struct resource_id id;            /* SHA-256 of the bytes */
    unsigned           refcount;
    size_t             size;
    uint8_t            bytes[];
};

struct resource {
    Headgate__Kind     kind;
    unsigned           refcount;
    struct resource_id id;            /* that of the body */
    ProtobufCMessage  *message;       /* Headgate__Listener, ... by kind; passed resource_decode() */
    const uint8_t     *bytes;         /* as the control plane wrote them */
    size_t             size;
    struct resource_body *body;
    struct arena       arena;         /* of the message, unless it is a small one on the heap */
    char               name[];
};

/* A view of consecutive resources. */
struct resource_range {
    struct resource *const *items;
    size_t                  count;
};

/* One part of a snapshot: sorted by kind, then name; no duplicates. */
struct resource_part {
    struct resource  **items;
    size_t             count;
    unsigned          *users;         /* sets that share the items; NULL: one */
    struct shared_list list;          /* that has the resources */
};

/* SnapshotId of proto/snapshot.proto. */
struct snapshot_identity {
    uint8_t            lineage[LINEAGE_SIZE];
    uint64_t           version;       /* of the intent */
    uint64_t           generation;    /* of the state */
    struct resource_id intent_hash, state_hash;
};

struct resource_set {
    struct snapshot_identity id;
    struct resource_part     intent, state;
    unsigned                 refcount;
};

/* `ret`, which is empty, becomes what follows from `base` by these changes (proto/shared_list.h), whose items are resources:
 * all but those near a change are shared and not looked at. 0, or -1: out of order, or no memory. */
int resource_part_change(const struct resource_part *base, const struct shared_change *changes, size_t count,
                         struct resource_part *ret);
/* `to`, which is empty, shares the items of `from`, which it does with all that share them already. Whether it does: not
 * without memory, and an empty part is nothing to share. */
bool resource_part_share(struct resource_part *to, struct resource_part *from);
void resource_part_finish(struct resource_part *part);

/* The resource that counts: the state's where the state part has one of that kind and name, otherwise the
 * intent's. NULL: there is none. Valid as long as the set, or as long as a reference is held. */
const struct resource *resource_set_find(const struct resource_set *set, Headgate__Kind kind,
                                         const char *name);
/* All resources of one kind in one part, in order of their names. */
struct resource_range resource_part_of_kind(const struct resource_part *part, Headgate__Kind kind);
/* The first position whose resource is not before that kind and name. */
size_t resource_part_position(const struct resource_part *part, Headgate__Kind kind, const char *name);
/* The one of that kind and name in one part, or NULL. */
struct resource *resource_part_find(const struct resource_part *part, Headgate__Kind kind, const char *name);

/* With one reference, that of the caller; both parts empty. NULL: no memory. */
struct resource_set *resource_set_create(void);
struct resource_set *resource_set_ref(struct resource_set *set);
void                 resource_set_unref(struct resource_set *set);  /* NULL is allowed; the last one frees */

/* Order of the parts: kind, then name in byte order; as entry_compare(). */
int resource_key_compare(Headgate__Kind a_kind, const char *a_name, Headgate__Kind b_kind,
                         const char *b_name);

/* Decodes a body as a resource of that kind and name. The resource takes a reference of its own. NULL: its
 * faults, or lack of memory, are in `errors`. */
struct resource *resource_create(Headgate__Kind kind, const char *name, struct resource_body *body,
                                 struct error_list *errors);
struct resource *resource_ref(struct resource *r);
void             resource_unref(struct resource *r);                /* NULL is allowed */

/* Room for `size` bytes, to be filled; one reference; the id is not set yet. NULL: no memory. */
struct resource_body *resource_body_create(size_t size);
struct resource_body *resource_body_ref(struct resource_body *body);
void                  resource_body_unref(struct resource_body *body); /* NULL is allowed */
