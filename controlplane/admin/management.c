/* Status of the management servers. */
#include <stdio.h>

#include "controlplane/admin/internal.h"

static char *text_of(struct arena *arena, struct str text) {
    struct str copy = text.n ? arena_str(arena, text) : (struct str){0};
    return (char *)(uintptr_t)copy.p;
}

static void fill_counters(const struct xds_server_status *s, Headgate__ManagementServerStatus *m) {
    m->has_streams = m->has_requests = m->has_responses = m->has_acks = m->has_nacks = true;
    m->streams = s->streams_open;
    m->requests = s->counters.requests;
    m->responses = s->counters.responses;
    m->acks = s->counters.acks;
    m->nacks = s->counters.nacks;
}

static Headgate__ManagementServerStatus *make_status(struct arena *arena, const struct xds_server_status *s) {
    Headgate__ManagementServerStatus *m = arena_alloc(arena, sizeof *m);
    if (!m)
        return NULL;
    headgate__management_server_status__init(m);
    m->name = (char *)(uintptr_t)s->name;
    m->state = (char *)(uintptr_t)xds_server_state_name(s->state);
    m->has_used = m->has_connected = true;
    m->used = s->is_used;
    m->connected = s->is_connected;
    m->error = text_of(arena, s->error);
    m->has_failed_at = s->failed_at != 0;
    m->failed_at = s->failed_at;
    m->has_answered_at = s->answered_at != 0;
    m->answered_at = s->answered_at;
    fill_counters(s, m);
    return m;
}

void admin_add_management_servers(struct admin_call *call, Headgate__StatusReply *reply, struct problem_list *problems) {
    const struct xds_client *xds = call->admin->xds;
    size_t count = xds ? xds_client_server_count(xds) : 0;
    reply->management_servers = arena_calloc(&call->arena, count + 1, sizeof *reply->management_servers);
    for (size_t i = 0; i < count && reply->management_servers; i++) {
        struct xds_server_status s;
        char message[1024];
        xds_client_server_status(xds, i, &s);
        Headgate__ManagementServerStatus *m = make_status(&call->arena, &s);
        if (m)
            reply->management_servers[reply->n_management_servers++] = m;
        if (s.state != XDS_SERVER_FAILING)
            continue;
        snprintf(message, sizeof message, "the management server %s does not answer: %.*s", s.name, (int)s.error.n,
                 s.error.p);
        reply_add_problem(&call->arena, problems, ERROR_IO, NULL, NULL, message);
    }
}
