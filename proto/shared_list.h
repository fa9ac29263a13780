/* shared_list.h — sorted lists of counted items, of which successive ones share what did not change.
 *
 * A list is cut into groups of about 32 items. A group is counted, never changed, and has the hash of its entries. A list
 * that follows from another by few changes takes over the groups without a change: it costs a pointer for each of them, and
 * their items are not touched. Groups are those of manifest_hash (resource.h), so that lists of equal entries have equal
 * groups and hashes, whatever they came from.
 *
 * Thread: one at a time, for all lists that share groups. */
#pragma once

#include <stddef.h>

#include "proto/resource.h"

/* What lists need to know of their items. */
struct shared_ops {
    struct entry_key (*key)(const void *item);  /* as long as the item */
    void (*ref)(void *item);
    void (*unref)(void *item);
};

struct shared_group {
    unsigned           references;
    size_t             count;       /* at least one */
    struct resource_id hash;
    void              *items[];
};

/* A zeroed one is an empty list. */
struct shared_list {
    const struct shared_ops *ops;
    struct shared_group    **groups;
    size_t                   group_count, group_capacity;
    size_t                   count; /* of items in all groups */
    struct resource_id       hash;  /* manifest_hash; not set in a zeroed list */
};

/* One difference between two lists. */
struct shared_change {
    struct entry_key key;
    void            *item;          /* NULL: what has that kind and name leaves. Otherwise it comes, or takes that place */
};

/* The list that follows from `from` by changes in strict order of kind and name; what is to leave need not be there. Items
 * that come get a reference. 0, or -1 with *ret untouched: out of order, a name or id that cannot be, no memory. */
int  shared_list_change(const struct shared_list *from, const struct shared_ops *ops, const struct shared_change *changes,
                        size_t count, struct shared_list *ret);
void shared_list_finish(struct shared_list *list);
