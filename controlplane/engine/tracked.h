/* tracked.h — one cluster of the current intent: its source, and its endpoints without their health. For endpoints.c alone.
 * Thread: the loop's. */
#pragma once

#include "controlplane/engine/internal.h"

struct tracked {
    struct engine         *engine;
    char                  *name;
    bool                   is_seen;         /* while the intent is gone through */
    bool                   is_dirty;        /* in the list of the engine */
    struct tracked        *next_dirty;
    struct tracked        *next_gone;       /* while those that are not seen are dropped */
    struct resource_id     cluster_id;      /* of the intent */
    struct resource_id     declared_id;     /* of the intent's endpoint set */
    Headgate__Cluster     *cluster;         /* NULL: it has neither discovery nor checks, and nothing below */
    Headgate__EndpointSet *base;            /* its endpoints now; from the source, the stored state, or the intent */
    bool                   has_found;       /* base is from the source */
    struct resource_id     found_id;        /* of base then */
    uint64_t               received_at;     /* what was found last, on the monotonic clock */
    struct source         *source;
    bool                   lacks_endpoints; /* the source found some for which there was no memory */
    bool                   lacks_checks;    /* they could not be set as they should be */
    char                  *failure;         /* of the source, as it was logged; NULL: it works */
    char                  *refusal;         /* why what it found last is not used; NULL: it is */
};

struct tracked *tracked_create(struct engine *e, const char *name); /* NULL without memory */
void            tracked_destroy(struct tracked *t); /* leaves the map alone; NULL is allowed */

/* Becomes the cluster of this intent. 0, or -1 without memory: it may lack its source, and is to be tried again. */
int  tracked_update(struct tracked *t, const struct blob *cluster, const struct resource_id *declared,
                    const struct snapshot *s, const struct source_sink *sink);
/* Fills the cluster and base of `t` as they would be with these resources, after `now` (NULL: there is none yet); nothing
 * else changes. 0, or -1 without memory. */
int  tracked_preview(struct tracked *t, const struct tracked *now, const struct config_resource *cluster,
                     const struct config_resource *declared, const struct part *state);
void tracked_preview_finish(struct tracked *t);

/* What a source said. 1: that is something else than before, and used; 0; or -1 without memory. What data planes would
 * refuse is not used: with it they would take nothing at all, of this cluster or of others. */
int  tracked_found(struct tracked *t, const Headgate__EndpointSet *set);
/* Returns whether that is news. */
bool tracked_failed(struct tracked *t, const char *reason);
/* The source says once more what it has found: `lacks_endpoints` no longer, unless memory is still missing. */
void tracked_ask_again(struct tracked *t);

/* Its endpoints are checked as it says, with the secrets of the current state. When that cannot be, checks stay as they
 * were, and it is tried again: `lacks_checks` until then. */
void tracked_set_checks(struct tracked *t);

/* The id of the intent's endpoint set, zeros when there is none. */
const struct resource_id *tracked_declared(const struct part *intent, const char *name);
