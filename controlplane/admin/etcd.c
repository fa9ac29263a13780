/* Status of the etcd that is followed. */
#include <stdio.h>

#include "controlplane/admin/internal.h"

static char *copy(struct arena *arena, const char *text) {
    return text && *text ? arena_strdup(arena, text) : NULL;
}

static Headgate__EtcdMemberStatus *make_member(struct arena *arena, const struct etcd_member_status *s) {
    Headgate__EtcdMemberStatus *m = arena_alloc(arena, sizeof *m);
    if (!m)
        return NULL;
    headgate__etcd_member_status__init(m);
    m->name = (char *)(uintptr_t)s->name;
    m->has_used = m->has_connected = m->has_failures = true;
    m->used = s->is_used;
    m->connected = s->is_connected;
    m->failures = s->failures;
    m->error = copy(arena, s->error);
    m->has_failed_at = s->failed_at != 0;
    m->failed_at = s->failed_at;
    m->has_answered_at = s->answered_at != 0;
    m->answered_at = s->answered_at;
    return m;
}

static void add_members(struct arena *arena, const struct etcd *e, Headgate__EtcdStatus *m) {
    size_t count = etcd_member_count(e);
    m->members = arena_calloc(arena, count, sizeof *m->members);
    for (size_t i = 0; i < count && m->members; i++) {
        struct etcd_member_status s;
        etcd_member_status(e, i, &s);
        m->members[m->n_members] = make_member(arena, &s);
        m->n_members += m->members[m->n_members] != NULL;
    }
}

static void fill_configuration(struct arena *arena, const struct etcd_layer_status *s, Headgate__EtcdStatus *m) {
    m->state = (char *)(uintptr_t)etcd_layer_state_name(s->state);
    m->has_version = s->version != 0;
    m->version = s->version;
    m->has_pushed_version = m->has_time_us = s->pushed.version != 0;
    m->pushed_version = s->pushed.version;
    m->time_us = s->pushed.time_us;
    m->author = copy(arena, s->pushed.author);
    m->message = copy(arena, s->pushed.message);
    m->error = copy(arena, s->failure);
    m->has_lists = m->has_watches = m->has_events = m->has_failures = true;
    m->lists = s->counters.lists;
    m->watches = s->counters.watches;
    m->events = s->counters.events;
    m->failures = s->counters.failures;
}

void admin_add_etcd(struct admin_call *call, Headgate__StatusReply *reply, struct problem_list *problems) {
    const struct etcd_layer *layer = call->admin->etcd;
    Headgate__EtcdStatus *m = layer ? arena_alloc(&call->arena, sizeof *m) : NULL;
    struct etcd_layer_status s;
    char message[700];
    if (!m)
        return;
    headgate__etcd_status__init(m);
    etcd_layer_status(layer, &s);
    const struct etcd *e = etcd_layer_etcd(layer);
    m->prefix = (char *)(uintptr_t)etcd_prefix(e);
    m->has_logins = true;
    m->logins = etcd_logins(e);
    fill_configuration(&call->arena, &s, m);
    add_members(&call->arena, e, m);
    reply->etcd = m;
    reply_add_problems(&call->arena, problems, s.errors, false);
    if (!s.failure[0])
        return;
    snprintf(message, sizeof message, "etcd cannot be followed: %s", s.failure);
    reply_add_problem(&call->arena, problems, ERROR_IO, NULL, NULL, message);
}
