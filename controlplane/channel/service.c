#include "controlplane/channel/service.h"

#include <stdio.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

/* One stream: the call on one side, the data plane of the state machine on the other. */
struct stream {
    struct channel_service *service;
    struct rpc_call *call;
    struct data_plane *data_plane;
    ev_prepare flush; /* never started, only fed: sends after the handler that woke it has returned */
    bool is_ending;
    char *end_reason;
};

static void flush(struct stream *s) {
    if (rpc_call_is_writing(s->call))
        return; /* on_writable comes */
    const Headgate__ControlPlaneMessage *m = channel_pull(s->service->channel, s->data_plane);
    if (m && rpc_call_send(s->call, &m->base) < 0)
        rpc_call_cancel(s->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for a message");
    else if (!m && s->is_ending)
        rpc_call_finish(s->call, GRPC_STATUS_FAILED_PRECONDITION, s->end_reason ? s->end_reason : "");
}

static void on_flush(struct ev_loop *loop, ev_prepare *watcher, int events) {
    (void)loop;
    (void)events;
    flush(watcher->data);
}

static void feed_flush(struct stream *s) {
    ev_feed_event(s->service->loop, &s->flush, EV_PREPARE);
}

void channel_service_wake(void *stream_owner) {
    feed_flush(stream_owner);
}

void channel_service_end(void *stream_owner, const char *reason, bool at_once) {
    struct stream *s = stream_owner;
    if (at_once) {
        rpc_call_cancel(s->call, GRPC_STATUS_DEADLINE_EXCEEDED, reason);
        return;
    }
    s->is_ending = true;
    hg_free(s->end_reason);
    s->end_reason = hg_strdup(reason);
    feed_flush(s);
}

bool channel_service_may_be_called(void *stream_owner, const char *node, char reason[CHANNEL_REASON_SIZE]) {
    const struct stream *s = stream_owner;
    struct strbuf names = {0};
    if (s->service->takes_any_name || rpc_call_is_local(s->call))
        return true;
    bool may = rpc_call_is_certified_for(s->call, node, &names);
    if (!may)
        snprintf(reason, CHANNEL_REASON_SIZE, "the node calls itself %.200s, but its certificate is for %.200s",
                 node, names.n ? names.p : "nobody");
    strbuf_finish(&names);
    return may;
}

/* ---- handlers of the call ---- */

static void on_message(void *owner, const ProtobufCMessage *m) {
    struct stream *s = owner;
    channel_receive(s->service->channel, s->data_plane, (const Headgate__DataPlaneMessage *)m);
}

static void on_writable(void *owner) {
    flush(owner);
}

static void stream_destroy(struct stream *s) {
    ev_clear_pending(s->service->loop, &s->flush);
    hg_free(s->end_reason);
    hg_free(s);
}

static void on_closed(void *owner) {
    struct stream *s = owner;
    log_info("data plane disconnected", LOG_S("node", s->data_plane->node ? s->data_plane->node : ""),
             LOG_S("peer", s->data_plane->peer));
    channel_disconnect(s->service->channel, s->data_plane, NULL);
    stream_destroy(s);
}

static const struct rpc_call_handlers handlers = {
    .type = &headgate__data_plane_message__descriptor,
    .message = on_message,
    .writable = on_writable,
    .closed = on_closed,
};

static struct stream *stream_create(struct channel_service *service, struct rpc_call *call) {
    struct stream *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->service = service;
    s->call = call;
    ev_prepare_init(&s->flush, on_flush);
    s->flush.data = s;
    s->data_plane = channel_connect(service->channel, s, rpc_call_peer(call));
    if (s->data_plane)
        return s;
    hg_free(s);
    return NULL;
}

static void start_stream(void *context, const struct rpc_method *method, struct rpc_call *call) {
    struct channel_service *service = context;
    (void)method;
    if (!service->channel || service->is_stopping) {
        rpc_call_finish(call, GRPC_STATUS_UNAVAILABLE, "the control plane is not ready");
        return;
    }
    struct stream *s = stream_create(service, call);
    if (s)
        rpc_call_accept(call, &handlers, s);
    else
        rpc_call_finish(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many data planes are connected");
}

const struct rpc_method channel_service_methods[] = {
    {.path = "/headgate.SnapshotService/Stream", .start = start_stream},
    {0},
};

/* ---- time ---- */

static void on_clock(struct ev_loop *loop, ev_check *watcher, int events) {
    struct channel_service *s = watcher->data;
    (void)loop;
    (void)events;
    channel_tell_time(s->channel, clock_monotonic_us());
}

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int events) {
    struct channel_service *s = watcher->data;
    (void)loop;
    (void)events;
    channel_advance(s->channel, clock_monotonic_us());
}

static void on_arm(struct ev_loop *loop, ev_prepare *watcher, int events) {
    struct channel_service *s = watcher->data;
    uint64_t next = channel_next_deadline(s->channel), now = clock_monotonic_us();
    (void)events;
    ev_timer_stop(loop, &s->deadline);
    if (next == UINT64_MAX)
        return;
    ev_now_update(loop);
    ev_timer_set(&s->deadline, next > now ? (double)(next - now) / 1e6 : 0., 0.);
    ev_timer_start(loop, &s->deadline);
}

void channel_service_start(struct channel_service *s, struct ev_loop *loop, struct channel *channel) {
    *s = (struct channel_service){.loop = loop, .channel = channel};
    channel_tell_time(channel, clock_monotonic_us());
    ev_check_init(&s->clock, on_clock);
    ev_set_priority(&s->clock, EV_MAXPRI);
    s->clock.data = s;
    ev_check_start(loop, &s->clock);
    ev_prepare_init(&s->arm, on_arm);
    ev_set_priority(&s->arm, EV_MINPRI);
    s->arm.data = s;
    ev_prepare_start(loop, &s->arm);
    /* After messages that have arrived: who answered while the loop was busy is not late. */
    ev_timer_init(&s->deadline, on_deadline, 0., 0.);
    ev_set_priority(&s->deadline, EV_MINPRI);
    s->deadline.data = s;
}

void channel_service_stop(struct channel_service *s) {
    s->is_stopping = true;
    for (const struct data_plane *dp = channel_first(s->channel); dp; dp = channel_after(dp)) {
        const struct stream *stream = dp->owner;
        rpc_call_cancel(stream->call, GRPC_STATUS_UNAVAILABLE, "the control plane stops");
    }
}

void channel_service_finish(struct channel_service *s) {
    if (!s->channel)
        return;
    ev_check_stop(s->loop, &s->clock);
    ev_prepare_stop(s->loop, &s->arm);
    ev_timer_stop(s->loop, &s->deadline);
}
