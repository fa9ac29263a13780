/* mirror.h — what is to be asked so that one prefix of etcd is known, as a machine without a network.
 *
 *     LIST   ranges of keys in pages, all at the revision of the first --> WATCH from the revision after it
 *     WATCH  until it fails; what came counts                          --> CHECK
 *     CHECK  a range that says where the store is now                  --> WATCH from where it was left, or LIST
 *
 * Until a list is whole, what was known counts; what it does not have is gone then, not before. A store that has compacted
 * what comes next, that is another one, or that has gone back (it was restored, or made anew) is listed again.
 * Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"
#include "proto/etcd/rpc.pb-c.h"

enum { ETCD_PAGE = 1000 };              /* keys; less when their answers are too big to be received */

struct etcd_mirror_ops {
    /* Keys until `settled` are all that there are. What of them came before counts no more, if a list was given up. */
    void (*list)(void *context);
    /* It is there now, or has changed, at the revision `modified`. `key` without the prefix; both are valid during the
     * call. False: no memory. */
    bool (*set)(void *context, struct str key, struct str value, int64_t modified);
    void (*removed)(void *context, struct str key);
    /* What came until now is whole: all of one revision. After a list, and after each group of changes. */
    void (*settled)(void *context);
    /* All is well: what changes from now on is told. Also after a failure. */
    void (*watching)(void *context);
    /* One line for people, with each failure. What was known stays. */
    void (*failed)(void *context, const char *reason);
    /* After changes: whether keys that were told, and not kept, are wanted now. NULL: never. */
    bool (*is_list_due)(void *context);
};

enum etcd_step { ETCD_LIST, ETCD_WATCH, ETCD_CHECK };

struct etcd_mirror {
    const struct etcd_mirror_ops *ops;
    void          *context;
    char          *prefix, *end;        /* keys from the one to before the other */
    size_t         prefix_n;
    enum etcd_step step;
    int64_t        revision;            /* LIST: of its pages, 0: the first is next; otherwise the last that is known */
    uint64_t       cluster;             /* its number */
    struct strbuf  next;                /* LIST: the first key of the next page; empty: `prefix` */
    int64_t        page;                /* keys asked for at once */
};

/* `prefix` ends with what separates it from others' keys, "/". 0, or -1 without memory. */
int  etcd_mirror_init(struct etcd_mirror *m, const char *prefix, const struct etcd_mirror_ops *ops, void *context);
void etcd_mirror_finish(struct etcd_mirror *m);

/* LIST and CHECK: the request; it points into the mirror. */
void etcd_mirror_range(const struct etcd_mirror *m, Etcdserverpb__RangeRequest *ret);
/* Its answer. NULL, or why it cannot be used: the list begins anew. */
const char *etcd_mirror_take_range(struct etcd_mirror *m, const Etcdserverpb__RangeResponse *reply);
/* It failed. `is_compacted`, `is_too_big`: what the server, or gRPC, said of it. */
void etcd_mirror_range_failed(struct etcd_mirror *m, bool is_compacted, bool is_too_big);

/* WATCH: what is sent first; it points into the mirror. */
void etcd_mirror_watch(const struct etcd_mirror *m, Etcdserverpb__WatchCreateRequest *ret);
/* NULL, or why the watch has to end; the machine has gone on to the next step then, as after etcd_mirror_watch_failed. A
 * list that is due (compaction, is_list_due) is no failure: *ret_is_due. */
const char *etcd_mirror_take_watch(struct etcd_mirror *m, const Etcdserverpb__WatchResponse *reply, bool *ret_is_due);
void etcd_mirror_watch_failed(struct etcd_mirror *m);
