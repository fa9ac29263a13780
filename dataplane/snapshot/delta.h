/* delta.h — from one resource set to the next: what is set, what is removed, and the bodies for it.
 *
 * Filled from Prepare messages of the channel, or from the copy on disk (then from nothing). Everything is
 * checked: hashes of bodies, order and uniqueness of entries, presence of every body, strict decoding of
 * every resource, and in the end that the result is the snapshot whose identity was announced. No I/O.
 * Thread: main. */
#pragma once

#include "common/error.h"
#include "common/map.h"
#include "dataplane/snapshot/resource_set.h"

enum {
    DELTA_BYTES_MAX = 512 << 20,        /* of all bodies of one delta */
};

/* Entries that belong to a message that outlives the delta. */
struct entry_list {
    Headgate__Entry **items;
    size_t            count, capacity;
};

struct delta_part {
    struct entry_list upserts, removes;
};

/* A zeroed struct is a valid empty delta. */
struct delta {
    struct delta_part     intent, state;
    struct map            bodies;        /* by id: struct resource_body */
    size_t                bytes;         /* of all bodies */
    size_t                pieces;        /* of bodies; at most RESOURCES_MAX */
    struct resource_body *open;          /* one of which more pieces are to come; NULL: none */
    size_t                open_capacity;
};

void delta_finish(struct delta *d);

/* Each of these returns 0, or -1 with the reason in `errors`. */
int delta_add_entries(struct entry_list *list, Headgate__Entry **entries, size_t count,
                      struct error_list *errors);
int delta_add_body(struct delta *d, const Headgate__Body *body, struct error_list *errors);
/* Takes the body over, reference and all; its id has been set and its bytes are checked against it here. */
int delta_take_body(struct delta *d, struct resource_body *body, struct error_list *errors);

/* The set that follows from `base` (NULL: nothing). It must be the one of `identity`. *ret is the
 * caller's. */
int delta_apply(struct delta *d, struct resource_set *base, const struct snapshot_identity *identity,
                struct resource_set **ret, struct error_list *errors);
