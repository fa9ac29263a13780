/* snapshot.h — snapshots as the control plane holds them: immutable, counted, with the bytes of their resources.
 *
 * A snapshot is two parts, intent and state. Parts are shared between snapshots (a health flip makes a new state beside the
 * old intent), entries and bodies between parts (an unchanged resource is in memory once). Thread: one at a time. */
#pragma once

#include "controlplane/config/config.h"
#include "proto/resource.h"
#include "proto/shared_list.h"

/* The bytes of one resource. */
struct blob {
    unsigned references;
    bool is_secret;             /* the whole is in secret memory */
    struct resource_id id;
    size_t size;
    uint8_t bytes[];
};

/* One half of a snapshot. Parts that follow from each other share all entries but those near a change. */
struct part {
    unsigned references;
    size_t count;
    Headgate__Entry **entries;  /* sorted by kind, then name; each once */
    struct resource_id hash;    /* manifest_hash over the entries */
    struct shared_list list;    /* that has the entries */
};

struct snapshot {
    unsigned references;
    uint8_t lineage[LINEAGE_SIZE];
    uint64_t version;           /* 0: no intent */
    uint64_t generation;
    uint64_t known_at;          /* monotonic microseconds: when the first of its changed endpoints was known; 0: none */
    struct part *intent, *state; /* never NULL */
};

/* A part of these resources, which must be sorted and have their ids. Bodies that `previous` has under the same kind, name
 * and id are shared with it, and the bytes of such a resource may be NULL; `previous` may be NULL. The caller gets a
 * reference, or NULL without memory or when the list is not sorted. */
struct part *part_create(const struct config_resource *resources, size_t count, const struct part *previous);
/* The part that follows from `previous` (NULL: an empty one) by these, in order: each comes or takes the place of the one of
 * its kind and name, or with bytes NULL and size 0 that one leaves. Costs nothing for the others. As above. */
struct part *part_change(const struct part *previous, const struct config_resource *changes, size_t count);
/* A part of which only the entries are known. NULL: not strictly sorted, an id of another size, a bad name, no memory. */
struct part *part_create_held(Headgate__Entry *const *entries, size_t count);
struct part *part_ref(struct part *p);
void part_unref(struct part *p); /* NULL is allowed */
/* The bytes of entry i; NULL where only the entries are known (what a data plane holds). */
struct blob *part_body(const struct part *p, size_t i);
/* The index of an entry, or -1. */
ssize_t part_find(const struct part *p, Headgate__Kind kind, const char *name);
/* The part as a borrowed set for config.h: hg_free(ret->items), valid as long as the part. 0, or -1 without memory. */
int part_resources(const struct part *p, struct config_resources *ret);

/* Takes over both references, also on failure (NULL: no memory). */
struct snapshot *snapshot_create(const uint8_t lineage[LINEAGE_SIZE], uint64_t version, uint64_t generation,
                                 struct part *intent, struct part *state);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* NULL is allowed */
/* The same lineage, version, generation, and hashes. NULL is like nothing but NULL. */
bool snapshot_is_same(const struct snapshot *a, const struct snapshot *b);
/* The same hashes: what traffic sees is equal. */
bool snapshot_serves_same(const struct snapshot *a, const struct snapshot *b);
/* Fills a message that borrows from the snapshot. */
void snapshot_id_fill(const struct snapshot *s, Headgate__SnapshotId *ret);
