/* Status: data planes, clusters, and what is wrong now. */
#include <stdio.h>

#include "common/clock.h"
#include "controlplane/admin/internal.h"
#include "controlplane/admin/layers.h"

/* ---- data planes ---- */

/* The channel counts in monotonic time, people in the other. */
static uint64_t realtime_of(uint64_t monotonic_us) {
    return clock_realtime_us() - (clock_monotonic_us() - monotonic_us);
}

const char *admin_health_name(enum data_plane_health health) {
    switch (health) {
    case DATA_PLANE_IN_SYNC: return "in-sync";
    case DATA_PLANE_BEHIND: return "behind";
    case DATA_PLANE_NACKED: return "nacked";
    }
    return "";
}

static Headgate__SnapshotId *serving(struct admin_call *call, const struct snapshot *held) {
    Headgate__SnapshotId *id = held ? arena_alloc(&call->arena, sizeof *id) : NULL;
    if (id)
        snapshot_id_fill(held, id);
    return id;
}

static Headgate__DataPlaneStatus *data_plane_status(struct admin_call *call, const struct data_plane *dp) {
    const struct channel *channel = engine_channel(call->admin->engine);
    Headgate__DataPlaneStatus *s = arena_alloc(&call->arena, sizeof *s);
    if (!s)
        return NULL;
    headgate__data_plane_status__init(s);
    s->node = dp->node;
    s->software = dp->software;
    s->serving = serving(call, dp->held);
    s->has_connected_at = true;
    s->connected_at = realtime_of(dp->connected_at);
    s->has_acked_at = dp->acked_at > 0;
    s->acked_at = dp->acked_at ? realtime_of(dp->acked_at) : 0;
    s->report = dp->report;
    enum data_plane_health health = channel_health(channel, dp);
    s->state = (char *)admin_health_name(health);
    if (health == DATA_PLANE_NACKED && dp->nack) {
        s->n_reasons = dp->nack->n_reasons;
        s->reasons = dp->nack->reasons;
    }
    return s;
}

bool admin_has_greeted(const struct data_plane *dp) {
    return dp->node && dp->state != DATA_PLANE_ENDED;
}

static void add_data_planes(struct admin_call *call, Headgate__StatusReply *reply) {
    const struct channel *channel = engine_channel(call->admin->engine);
    size_t count = 0;
    for (const struct data_plane *dp = channel_first(channel); dp; dp = channel_after(dp))
        count += admin_has_greeted(dp);
    reply->data_planes = arena_calloc(&call->arena, count + 1, sizeof(Headgate__DataPlaneStatus *));
    for (const struct data_plane *dp = channel_first(channel); dp && reply->data_planes;
         dp = channel_after(dp)) {
        Headgate__DataPlaneStatus *s = admin_has_greeted(dp) ? data_plane_status(call, dp) : NULL;
        if (s)
            reply->data_planes[reply->n_data_planes++] = s;
    }
}

static Headgate__AwayDataPlane *away_data_plane(struct arena *arena, const struct away_node *n) {
    Headgate__AwayDataPlane *a = arena_alloc(arena, sizeof *a);
    if (!a)
        return NULL;
    headgate__away_data_plane__init(a);
    a->node = n->node;
    a->software = n->software;
    a->has_version = n->version != 0;
    a->version = n->version;
    a->has_seen_at = true;
    a->seen_at = realtime_of(n->seen_at);
    return a;
}

size_t admin_away(struct admin_call *call, Headgate__AwayDataPlane ***ret) {
    const struct away_node *first = channel_away(engine_channel(call->admin->engine));
    size_t count = 0, added = 0;
    for (const struct away_node *n = first; n; n = n->next)
        count++;
    *ret = arena_calloc(&call->arena, count + 1, sizeof(Headgate__AwayDataPlane *));
    for (const struct away_node *n = first; n && *ret; n = n->next) {
        Headgate__AwayDataPlane *a = away_data_plane(&call->arena, n);
        if (a)
            (*ret)[added++] = a;
    }
    return added;
}

/* ---- what is wrong ---- */

static void add_nack(struct arena *arena, struct problem_list *problems, const struct data_plane *dp) {
    char message[1024], resource[RESOURCE_NAME_MAX + 32];
    if (!dp->nack || dp->nack->n_reasons == 0) {
        snprintf(message, sizeof message,
                 "data plane %s went away each time it was sent the current snapshot", dp->node);
        reply_add_problem(arena, problems, ERROR_STATE, NULL, NULL, message);
    }
    for (size_t i = 0; dp->nack && i < dp->nack->n_reasons; i++) {
        const Headgate__Reason *r = dp->nack->reasons[i];
        const char *kind = r->has_kind ? kind_name(r->kind) : NULL;
        snprintf(message, sizeof message, "data plane %s refuses the current snapshot: %s", dp->node,
                 r->message ? r->message : "no reason given");
        snprintf(resource, sizeof resource, "%s/%s", kind ? kind : "", r->name ? r->name : "");
        reply_add_problem(arena, problems, ERROR_STATE, kind ? resource : NULL, r->path, message);
    }
}

static void add_data_plane_problems(struct admin_call *call, struct problem_list *problems) {
    const struct channel *channel = engine_channel(call->admin->engine);
    size_t count = 0;
    for (const struct data_plane *dp = channel_first(channel); dp; dp = channel_after(dp)) {
        if (!admin_has_greeted(dp))
            continue;
        count++;
        if (channel_health(channel, dp) == DATA_PLANE_NACKED)
            add_nack(&call->arena, problems, dp);
        if (dp->persist_error) {
            char message[1024];
            snprintf(message, sizeof message, "data plane %s cannot keep its last-known-good copy: %s",
                     dp->node, dp->persist_error);
            reply_add_problem(&call->arena, problems, ERROR_IO, NULL, NULL, message);
        }
    }
    if (count == 0)
        reply_add_problem(&call->arena, problems, ERROR_STATE, NULL, NULL, "no data plane is connected");
}

/* Problems of the file's last push belong to the file source, which outlives the reply. */
static void add_file_problems(struct admin_call *call, struct problem_list *problems) {
    const struct file_source *file = call->admin->file_source;
    const Headgate__PushReply *failure = file ? file_source_failure(file) : NULL;
    char message[1024];
    if (file && file_source_is_held_back(file))
        reply_add_problem(
            &call->arena, problems, ERROR_STATE, NULL, NULL,
            "a rollback has pinned the version: the watched file is not pushed until the next push");
    if (!failure)
        return;
    snprintf(message, sizeof message, "%s as it is now is not what is served", file_source_path(file));
    reply_add_problem(&call->arena, problems, ERROR_STATE, NULL, NULL, message);
    for (size_t i = 0; i < failure->n_problems; i++)
        reply_copy_problem(&call->arena, problems, failure->problems[i]);
    for (size_t i = 0; i < failure->n_data_planes; i++)
        for (size_t j = 0; j < failure->data_planes[i]->n_reasons; j++) {
            const Headgate__Reason *r = failure->data_planes[i]->reasons[j];
            snprintf(message, sizeof message, "data plane %s: %s", failure->data_planes[i]->node, r->message);
            reply_add_problem(&call->arena, problems, ERROR_STATE, r->name, r->path, message);
        }
}

/* ---- the reply ---- */

static void fill_versions(struct admin_call *call, const struct snapshot *current,
                          Headgate__StatusReply *reply) {
    struct store *store = engine_store(call->admin->engine);
    uint64_t pinned = store_pinned_version(store);
    reply->has_lineage = true;
    reply->lineage = (ProtobufCBinaryData){LINEAGE_SIZE, (uint8_t *)store_lineage(store)};
    reply->has_version = reply->has_generation = current != NULL;
    reply->version = current ? current->version : 0;
    reply->generation = current ? current->generation : 0;
    reply->has_pinned_version = pinned != 0;
    reply->pinned_version = pinned;
}

static void add_all(struct admin_call *call, const struct snapshot *current, Headgate__StatusReply *reply,
                    struct problem_list *problems) {
    const struct admin *admin = call->admin;
    add_data_planes(call, reply);
    reply->n_away = admin_away(call, &reply->away);
    if (!current)
        reply_add_problem(&call->arena, problems, ERROR_STATE, NULL, NULL, "there is no configuration yet");
    add_file_problems(call, problems);
    add_data_plane_problems(call, problems);
    admin_add_management_servers(call, reply, problems);
    admin_add_etcd(call, reply, problems);
    admin_add_discovered(call, problems);
    if (current) {
        admin_add_layers(&call->arena, store_current(engine_store(admin->engine)), reply);
        admin_add_clusters(call, current, NULL, reply, problems);
        admin_add_certificates(call, current, reply, problems);
    }
}

void admin_status(struct admin_call *call, const ProtobufCMessage *request) {
    const struct admin *admin = call->admin;
    const char *cluster = ((const Headgate__StatusRequest *)request)->cluster;
    const struct snapshot *current = channel_current(engine_channel(admin->engine));
    Headgate__StatusReply reply = HEADGATE__STATUS_REPLY__INIT;
    struct problem_list problems = {0};
    reply.software = (char *)"headgate " HG_VERSION;
    reply.has_started_at = true;
    reply.started_at = admin->started_at;
    reply.watched_file = admin->file_source ? (char *)file_source_path(admin->file_source) : NULL;
    fill_versions(call, current, &reply);
    if (!cluster)
        add_all(call, current, &reply, &problems);
    else if (current)
        admin_add_clusters(call, current, cluster, &reply, &problems);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    admin_reply(call, &reply.base);
}
