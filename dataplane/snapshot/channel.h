/* channel.h — the data plane's side of the conversation of proto/snapshot.proto, without any I/O.
 *
 * Messages in, messages out, and calls to an owner that prepares and commits. Strict: what the control plane
 * may not say at that point is a fault, after which the stream has to be closed; what it may say and is not
 * acceptable is a Nack. A stream that breaks aborts an open transfer and changes nothing else.
 *
 *   state        | Prepare                    | Commit          | Abort           | stream breaks
 *   CLOSED       | -                          | -               | -               | -
 *   IDLE         | begins a transfer          | fault           | ignored         | CLOSED
 *   RECEIVING    | goes on, or begins anew    | fault           | IDLE            | CLOSED
 *   CHECKING     | aborts, begins anew        | fault           | aborts, IDLE    | aborts, CLOSED
 *   READY        | aborts, begins anew        | SWITCHING       | aborts, IDLE    | aborts, CLOSED
 *   SWITCHING    | fault                      | fault           | fault           | goes on; no Ack; CLOSED
 *
 * Confirm is taken in IDLE, of what is served; anything else is a fault. Observe is taken in every state.
 * Parts of a transfer that has been refused or aborted (the same nonce) are passed over. Thread: main. */
#pragma once

#include "common/error.h"
#include "dataplane/snapshot/delta.h"
#include "dataplane/snapshot/resource_set.h"

enum { CHANNEL_PARTS_MAX = 16384 };    /* of one transfer */

struct channel_ops {
    /* One encoded message. -1: the stream cannot take it; the owner closes it from its loop, never from
     * here. */
    int  (*send)(void *owner, const uint8_t *message, size_t size);
    /* Check and build `candidate` (the owner takes a reference if it keeps it); answer with
     * channel_prepared(), from here or later. */
    void (*prepare)(void *owner, struct resource_set *candidate);
    /* Make the prepared candidate the one that is served; answer with channel_committed(). */
    void (*commit)(void *owner);
    /* Drop what was being prepared; nothing is answered any more. */
    void (*abort)(void *owner);
    /* The control plane will not serve us. The stream ends by itself. */
    void (*refused)(void *owner, const char *reason);
    /* Send what is counted with channel_observation(), now. NULL: Hello says that this is not to be had. */
    void (*observe)(void *owner, uint64_t asked);
};

enum channel_state {
    CHANNEL_CLOSED, CHANNEL_IDLE, CHANNEL_RECEIVING, CHANNEL_CHECKING, CHANNEL_READY, CHANNEL_SWITCHING
};
const char *channel_state_name(enum channel_state state);

/* What Hello says about us; texts outlive the channel. */
struct channel_self {
    const char *node;
    const char *software;
    unsigned    workers;
    uint64_t    started_at;            /* microseconds since 1970 */
};

struct channel {
    const struct channel_ops  *ops;
    void                      *owner;
    struct channel_self        self;
    enum channel_state         state;
    bool                       stream_is_up;
    bool                       owes_hello;    /* the stream came up during a switch */
    struct resource_set       *serving;       /* NULL: none */
    bool is_from_last_known_good; /* booted from the copy, and neither confirmed nor replaced since */
    uint64_t                   nonce;         /* of the open transfer */
    uint64_t passed_over; /* of one that was refused or aborted: its further parts are ignored; 0: none */
    /* the open transfer, while RECEIVING */
    struct snapshot_identity   announced;
    struct delta               delta;
    ProtobufCMessage         **parts;         /* that the entries of the delta point into */
    size_t                     part_count, part_capacity;
    bool                       is_dry_run;
};

/* A zeroed channel can be finished. */
void channel_init(struct channel *c, const struct channel_ops *ops, void *owner,
                  const struct channel_self *self);
void channel_finish(struct channel *c);

/* What is served before the first commit: from the last-known-good copy. Takes a reference. Only while
 * CLOSED. */
void channel_set_serving(struct channel *c, struct resource_set *serving);

/* The stream is up: says Hello, at once or when a switch that is under way is over. 0, or -1: no memory,
 * or send failed. */
int  channel_open(struct channel *c);
/* The stream is gone. */
void channel_close(struct channel *c);
/* One message. Returns 0, or -1 with the fault in `errors`: the stream must be closed, then
 * channel_close() called. */
int  channel_receive(struct channel *c, const uint8_t *message, size_t size, struct error_list *errors);

/* The owner's answers. -1: no memory, or send failed: the stream must be closed. No errors: Ready, otherwise
 * Nack. */
int  channel_prepared(struct channel *c, const struct error_list *errors, uint64_t build_us);
/* `serving` is what was prepared. `persist_error` NULL: the copy on disk is written. */
int channel_committed(struct channel *c, struct resource_set *serving, uint64_t switch_us,
                      const char *persist_error);
/* Says nothing unless the stream is up and Hello has been said. `report` need not name what is served. */
int  channel_report(struct channel *c, Headgate__Report *report);
/* Likewise. */
int  channel_observation(struct channel *c, Headgate__Observation *observation);
