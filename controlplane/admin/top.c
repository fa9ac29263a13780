/* Top: what the data planes counted last. */
#include "controlplane/admin/internal.h"

static Headgate__TopDataPlane *top_data_plane(struct admin_call *call, const struct data_plane *dp) {
    Headgate__TopDataPlane *t = arena_alloc(&call->arena, sizeof *t);
    if (!t)
        return NULL;
    headgate__top_data_plane__init(t);
    t->node = dp->node;
    t->state = (char *)admin_health_name(channel_health(engine_channel(call->admin->engine), dp));
    t->has_can_be_observed = true;
    t->can_be_observed = dp->takes_observe;
    t->observation = dp->observation;
    return t;
}

static void add_data_planes(struct admin_call *call, Headgate__TopReply *reply) {
    const struct channel *channel = engine_channel(call->admin->engine);
    size_t count = 0;
    for (const struct data_plane *dp = channel_first(channel); dp; dp = channel_after(dp))
        count += admin_has_greeted(dp);
    reply->data_planes = arena_calloc(&call->arena, count + 1, sizeof(Headgate__TopDataPlane *));
    for (const struct data_plane *dp = channel_first(channel); dp && reply->data_planes; dp = channel_after(dp)) {
        Headgate__TopDataPlane *t = admin_has_greeted(dp) ? top_data_plane(call, dp) : NULL;
        if (t)
            reply->data_planes[reply->n_data_planes++] = t;
    }
}

void admin_top(struct admin_call *call, const ProtobufCMessage *request) {
    struct channel *channel = engine_channel(call->admin->engine);
    const struct snapshot *current = channel_current(channel);
    Headgate__TopReply reply = HEADGATE__TOP_REPLY__INIT;
    (void)request;
    reply.software = (char *)"headgate " HG_VERSION;
    reply.has_version = current != NULL;
    reply.version = current ? current->version : 0;
    reply.has_asked = true;
    reply.asked = channel_observe(channel);
    add_data_planes(call, &reply);
    reply.n_away = admin_away(call, &reply.away);
    admin_reply(call, &reply.base);
}
