/* layer.h — the configuration that a fleet shares, followed and handed on as a layer of this node's.
 *
 * Handed on is only what is whole and right; otherwise what was handed on last stays, and what is wrong is told by key and
 * field. That `current` is gone changes nothing: who wants an empty configuration pushes one. Thread: the loop's. */
#pragma once

#include "controlplane/etcd/follower.h"
#include "controlplane/etcd/intent.h"
#include "proto/admin.pb-c.h"

/* Who takes it: engine_set_layer. */
struct etcd_layer_sink {
    int (*set)(void *context, struct config_resources *set,
               void (*done)(void *done_context, const Headgate__PushReply *reply), void *done_context);
    void *context;
};

struct etcd_layer;

/* Follows at once; `e` outlives it. NULL without memory. */
struct etcd_layer *etcd_layer_create(struct etcd *e, const struct etcd_layer_sink *sink);
/* Asks no more; what is under way with the sink may still be answered. */
void etcd_layer_stop(struct etcd_layer *l);
void etcd_layer_destroy(struct etcd_layer *l); /* after the sink has answered, or will not; NULL is allowed */

enum etcd_layer_state {
    ETCD_LAYER_CONNECTING,              /* nothing is known yet */
    ETCD_LAYER_EMPTY,                   /* nothing was pushed to etcd */
    ETCD_LAYER_INVALID,                 /* it is not whole, or not right */
    ETCD_LAYER_APPLYING,
    ETCD_LAYER_REFUSED,                 /* by this node; it is tried again */
    ETCD_LAYER_IN_USE,
};

const char *etcd_layer_state_name(enum etcd_layer_state state);

struct etcd_layer_status {
    enum etcd_layer_state state;
    uint64_t    version;                /* that is in use; 0: none since the start */
    struct etcd_pointer pushed;         /* `current`; version 0: none that can be read */
    const char *failure;                /* why etcd is not followed now; "": it is */
    const struct error_list *errors;    /* INVALID, REFUSED */
    struct etcd_follower_counters counters;
};

void etcd_layer_status(const struct etcd_layer *l, struct etcd_layer_status *ret);
struct etcd *etcd_layer_etcd(const struct etcd_layer *l);
