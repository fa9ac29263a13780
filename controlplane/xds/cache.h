/* cache.h — what is held of each resource, by type and name: the last good copy, its state, what was wrong.
 *
 * The protocol (protocol.h) alone changes a cache; its owner reads resources. All memory that resources take counts
 * against a budget. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/map.h"
#include "common/str.h"

/* As envoy.admin.v3.ClientResourceStatus; with gRFC A88. */
enum xds_state {
    XDS_REQUESTED,          /* asked for, nothing received yet */
    XDS_DOES_NOT_EXIST,     /* not sent in time, or removed; a copy may be kept */
    XDS_ACKED,              /* the copy is what the server sent last */
    XDS_NACKED,             /* what the server sent last was refused; a copy from before may be kept */
    XDS_RECEIVED_ERROR,     /* the server said why it cannot send it; a copy from before may be kept */
    XDS_TIMEOUT,            /* not sent in time, by a server that would have said so had it not existed */
};

const char *xds_state_name(enum xds_state state); /* "REQUESTED" */

/* One version of a resource; one block of memory. */
struct xds_copy {
    struct str version, bytes;
    char       block[];
};

/* News of a resource that its owner has not taken yet. */
enum {
    XDS_NEWS_COPY = 1,      /* another copy, or none any more */
    XDS_NEWS_ERROR = 2,     /* state or error changed while the copy stayed as it is */
};

struct xds_resource {
    /* For the owner to read. */
    struct str       name;              /* with a NUL behind it */
    enum xds_state   state;
    struct xds_copy *copy;              /* what is to be used; NULL: nothing */
    uint64_t         updated_at;        /* when the copy came */
    struct str       error;             /* what is wrong, for people; empty when nothing is */
    struct str       failed_version;    /* of the version that was refused */
    uint64_t         failed_at;
    unsigned         news;              /* of XDS_NEWS_* */

    /* For the protocol. */
    struct xds_table    *table;
    struct xds_resource *next, *previous;           /* of the type, in the order of coming */
    struct xds_resource *news_next, *news_previous;
    uint64_t             deadline;                  /* of the wait without a copy, or of the copy's TTL; 0: none */
    size_t               timer;                     /* place in the heap of timers, from 1; 0: none */
    uint64_t             ticket;                    /* of the response that brought the copy; 0: settled */
    uint64_t             seen;                      /* number of the response that had it last */
    bool                 is_named;                  /* the owner asks for it by name */
    bool                 is_told;                   /* the stream's server knows of the name */
    bool                 is_deletion_ignored;       /* the server has removed it; the copy is kept */
};

/* The resources of one type. */
struct xds_table {
    struct xds_cache    *cache;
    size_t               type;
    struct map           by_name;
    struct xds_resource *first, *last;
    size_t               named_count;
};

struct xds_cache {
    size_t               resources_max, bytes_max, name_max;    /* limits: all finite */
    size_t               resource_count, bytes;
    struct xds_resource *news_first, *news_last;
    struct xds_resource **timers;                               /* a heap by deadline */
    size_t               timer_count, timer_capacity;
};

void xds_cache_finish(struct xds_cache *c); /* after its tables */
void xds_table_init(struct xds_table *t, struct xds_cache *c, size_t type);
void xds_table_finish(struct xds_table *t);

enum xds_stored {
    XDS_STORED,
    XDS_STORE_FULL,             /* a limit is reached; nothing has changed */
    XDS_STORE_NO_MEMORY,        /* nothing has changed */
};

struct xds_resource *xds_table_get(const struct xds_table *t, struct str name);
/* A new one in state REQUESTED; the name is copied and must not be there yet. */
enum xds_stored xds_table_add(struct xds_table *t, struct str name, struct xds_resource **ret);
void            xds_resource_destroy(struct xds_resource *r); /* out of its table, the news and the timers */

/* A copy that counts against the budget; free it with xds_copy_free or give it to a resource. */
enum xds_stored xds_copy_create(struct xds_cache *c, struct str version, struct str bytes, struct xds_copy **ret);
void            xds_copy_free(struct xds_cache *c, struct xds_copy *copy);
/* Gives it another version in place. False: that is of another length, so there is no place for it. */
bool            xds_copy_rename(struct xds_copy *copy, struct str version);
/* The copy becomes the resource's; the old one is returned and is the caller's. Tells the owner. */
struct xds_copy *xds_resource_swap_copy(struct xds_resource *r, struct xds_copy *copy, uint64_t now);

/* Sets the state; `error` and `failed_version` are copied where memory and budget allow, otherwise left empty, and
 * cleared in REQUESTED and ACKED. Tells the owner when something differs. */
void xds_resource_set_state(struct xds_resource *r, enum xds_state state, struct str failed_version, struct str error,
                            uint64_t now);

void                 xds_resource_tell(struct xds_resource *r, unsigned news);
struct xds_resource *xds_cache_take_news(struct xds_cache *c, unsigned *ret_news); /* NULL: none left */

/* 0 switches the timer off. Never fails: the place is reserved with the resource. */
void                 xds_resource_set_deadline(struct xds_resource *r, uint64_t deadline);
struct xds_resource *xds_cache_next_timer(const struct xds_cache *c);          /* the earliest, or NULL */
