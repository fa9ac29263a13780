/* resource_set.h — the decoded, immutable resources of one snapshot, by kind and name.
 *
 * Resources are shared between successive sets by (kind, name, id), so that what did not change is not decoded again, and
 * a builder can compare pointers or ids to see what it may reuse. Thread: main thread only, except that the bytes of a
 * resource may be read by any thread while the main thread keeps a reference for it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/str.h"
#include "proto/resource.h"

struct resource {
    Headgate__Kind     kind;
    const char        *name;
    struct resource_id id;            /* SHA-256 of `bytes` */
    ProtobufCMessage  *message;       /* Headgate__Listener, ... by kind; passed resource_decode() */
    const uint8_t     *bytes;         /* as the control plane wrote them */
    size_t             size;
    unsigned           refcount;
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
};

/* The resource that counts: the state's where the state part has one of that kind and name, otherwise the intent's.
 * NULL: there is none. Valid as long as the set, or as long as a reference is held. */
const struct resource *resource_set_find(const struct resource_set *set, Headgate__Kind kind, const char *name);
/* All resources of one kind in one part, in order of their names. */
struct resource_range resource_part_of_kind(const struct resource_part *part, Headgate__Kind kind);
/* Frees the set and its references to resources. NULL is allowed. */
void resource_set_destroy(struct resource_set *set);

struct resource *resource_ref(struct resource *r);
void             resource_unref(struct resource *r); /* NULL is allowed */
