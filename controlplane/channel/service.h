/* service.h — the SnapshotService: streams of data planes between gRPC and the state machine in channel.h.
 * Thread: the loop's. */
#pragma once

#include <ev.h>

#include "controlplane/channel/channel.h"
#include "controlplane/rpc/server.h"

struct channel_service {
    struct ev_loop *loop;
    struct channel *channel;        /* NULL until channel_service_start: streams are refused */
    ev_check clock;                 /* tells the channel the time, before anything else in a turn of the loop */
    ev_prepare arm;                 /* sets the timer to the next deadline, after everything else */
    ev_timer deadline;
    bool is_stopping;
    bool takes_any_name;            /* node names need not be those of certificates; set after channel_service_start */
};

/* For an rpc_server whose context is the service. */
extern const struct rpc_method channel_service_methods[];
/* What the channel must be created with, besides the push events, which are the engine's. */
void channel_service_wake(void *stream_owner);
void channel_service_end(void *stream_owner, const char *reason, bool at_once);
/* Over TLS a node has a name of its certificate. */
bool channel_service_may_be_called(void *stream_owner, const char *node, char reason[CHANNEL_REASON_SIZE]);

void channel_service_start(struct channel_service *s, struct ev_loop *loop, struct channel *channel);
/* Refuses new streams from now on and ends the open ones with UNAVAILABLE. */
void channel_service_stop(struct channel_service *s);
/* After every stream has closed; a zeroed struct is allowed. */
void channel_service_finish(struct channel_service *s);
