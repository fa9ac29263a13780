/* transfer.h — one snapshot on its way to one data plane: the delta against what that data plane holds, cut into Prepare
 * messages as they are asked for. Thread: one at a time. */
#pragma once

#include "controlplane/channel/snapshot.h"

enum { TRANSFER_PART_MAX = MESSAGE_MAX / 2 }; /* bytes of one Prepare */

struct transfer;

/* From `base`, which may be NULL (the data plane has nothing), to `target`; both are referenced. NULL without memory. */
struct transfer *transfer_create(uint64_t nonce, struct snapshot *base, struct snapshot *target, bool is_dry_run);
void transfer_destroy(struct transfer *t); /* NULL is allowed */
/* The next Prepare, valid until the next call or the end of the transfer. NULL: the last one has been given, or -- when
 * *ret_failed becomes true -- there was no memory for it. */
const Headgate__Prepare *transfer_next(struct transfer *t, bool *ret_failed);
bool transfer_is_complete(const struct transfer *t); /* the last part has been given */
bool transfer_has_begun(const struct transfer *t);   /* a part has been given */
