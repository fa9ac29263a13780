/* write.h — a configuration into etcd, as transactions: all of them fail once somebody else has changed `current`.
 *
 * One transaction where all fits into it; otherwise the values first, under their new generation, and then the one that
 * makes it count. That last one also drops what is older than the generation before, which stays; where there is no
 * `current` (somebody has deleted it), all other generations. Each may be sent again: `current` says whether the last one
 * has come through. Thread: one at a time. */
#pragma once

#include "controlplane/etcd/intent.h"
#include "proto/etcd/rpc.pb-c.h"

enum {
    ETCD_WRITE_OPS_MAX = 120,           /* of one transaction; etcd takes 128 */
    ETCD_WRITE_BYTES_MAX = 1 << 20,     /* of its keys and values; etcd takes requests of 1.5 MiB */
};

struct etcd_write {
    const char               *prefix;   /* "/headgate" */
    const struct etcd_values *values;
    const struct etcd_pointer *before;  /* `current` as it is; version 0: there is none */
    int64_t                   modified; /* its revision; 0: there is none */
    const struct etcd_pointer *after;   /* what it is to be */
    size_t                    next;     /* value that is written next */
    bool                      is_over;  /* the last transaction was made */
};

/* The next transaction, in the arena; where it does not go through, its answer has `current`. NULL: all were made, or there
 * is no memory (is_over is false). */
Etcdserverpb__TxnRequest *etcd_write_next(struct etcd_write *w, struct arena *arena);
/* Whether all has come through, though the answer was lost and it was sent again: `now` is what `current` has, which may be
 * the push that came upon this one. */
bool etcd_write_has_counted(const struct etcd_write *w, const struct etcd_pointer *now);
/* Takes a generation away that did not become the one that counts. NULL without memory. */
Etcdserverpb__TxnRequest *etcd_write_undo(const struct etcd_write *w, struct arena *arena);

/* A name for the generation of `version` that nobody else takes: they sort by version. */
void etcd_generation_name(uint64_t version, uint32_t random, char ret[ETCD_GENERATION_MAX + 1]);
