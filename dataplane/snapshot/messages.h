/* messages.h — between the channel's messages (proto/snapshot.proto) and what the data plane holds.
 * Thread: main. */
#pragma once

#include "common/error.h"
#include "dataplane/snapshot/resource_set.h"

/* Returns 0, or -1 with the faults in `errors`. */
int snapshot_identity_read(const Headgate__SnapshotId *from, struct snapshot_identity *ret,
                           struct error_list *errors);
/* Points into `from`. */
Headgate__SnapshotId snapshot_identity_message(struct snapshot_identity *from);
bool snapshot_identity_equal(const struct snapshot_identity *a,
                             const struct snapshot_identity *b); /* the hashes are what counts */

/* The manifest lines of a part, in one block: free with hg_free(pointers). They point into the resources. */
struct entry_view {
    Headgate__Entry **pointers;
    size_t            count;
};
int entry_view_init(struct entry_view *view, const struct resource_part *part); /* 0 or -1 (memory) */
void entry_view_finish(struct entry_view *view);

/* What a Nack says: one Reason per error, in one block (hg_free), pointing into the errors. NULL: no memory.
 * At least one reason comes out. */
struct reason_view {
    Headgate__Reason **pointers;
    size_t             count;
};
int reason_view_init(struct reason_view *view, const struct error_list *errors);
void reason_view_finish(struct reason_view *view);
