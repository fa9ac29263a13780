#include <stdio.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/channel/channel_internal.h"
#include "controlplane/channel/message_copy.h"

/* What a Hello, in however many messages, says that the data plane serves. */
struct greeting {
    Headgate__Hello *first; /* a copy of the first message, without entries */
    struct arena arena;
    Headgate__Entry **intent, **state;
    size_t intent_count, intent_capacity, state_count, state_capacity;
};

void greeting_destroy(struct greeting *g) {
    if (!g)
        return;
    if (g->first)
        headgate__hello__free_unpacked(g->first, NULL);
    hg_free(g->intent);
    hg_free(g->state);
    arena_finish(&g->arena);
    hg_free(g);
}

static Headgate__Hello *copy_head(const Headgate__Hello *hello) {
    Headgate__Hello head = *hello;
    head.n_intent = head.n_state = 0;
    head.base.n_unknown_fields = 0;
    return message_copy(&head);
}

static struct greeting *greeting_create(const Headgate__Hello *hello) {
    struct greeting *g = hg_calloc(1, sizeof *g);
    if (!g)
        return NULL;
    arena_init(&g->arena, NULL, 0, 0);
    g->first = copy_head(hello);
    if (g->first)
        return g;
    greeting_destroy(g);
    return NULL;
}

static Headgate__Entry *copy_entry(struct greeting *g, const Headgate__Entry *e) {
    Headgate__Entry *copy = arena_memdup(&g->arena, e, sizeof *e);
    if (!copy)
        return NULL;
    copy->name = arena_strdup(&g->arena, e->name ? e->name : "");
    copy->id.data = arena_memdup(&g->arena, e->id.data, e->id.len);
    copy->base.n_unknown_fields = 0;
    copy->base.unknown_fields = NULL;
    return copy->name && (copy->id.data || e->id.len == 0) ? copy : NULL;
}

static int add_entries(struct greeting *g, Headgate__Entry ***list, size_t *count, size_t *capacity,
                       Headgate__Entry *const *entries, size_t added) {
    if (g->intent_count + g->state_count + added > RESOURCES_MAX)
        return -1;
    if (added == 0)
        return 0;
    if (hg_grow(list, capacity, *count + added, sizeof(Headgate__Entry *)) < 0)
        return -1;
    for (size_t i = 0; i < added; i++) {
        Headgate__Entry *copy = copy_entry(g, entries[i]);
        if (!copy)
            return -1;
        (*list)[(*count)++] = copy;
    }
    return 0;
}

static void refuse(struct channel *c, struct data_plane *dp, const char *reason) {
    c->counters.refusals++;
    hg_free(dp->refuse_reason);
    dp->refuse_reason = hg_strdup(reason);
    data_plane_end(c, dp, reason, false);
    c->events.wake(dp->owner);
}

/* ---- the end of a Hello ---- */

struct data_plane *greeting_find_node(const struct channel *c, const char *node,
                                      const struct data_plane *except) {
    for (struct data_plane *dp = c->first; dp; dp = dp->next)
        if (dp != except && dp->node && dp->state != DATA_PLANE_ENDED && strcmp(dp->node, node) == 0)
            return dp;
    return NULL;
}

/* The same process has lost its old stream; another process may only take the name of a stream that is
 * silent. */
static bool may_replace(const struct channel *c, const struct data_plane *old, const Headgate__Hello *hello) {
    return old->process_started_at == hello->started_at || c->now - old->heard_at > c->config.silence;
}

/* Who may not be served; writes the reason. */
static bool is_unwelcome(struct channel *c, struct data_plane *dp, const Headgate__Hello *hello,
                         char reason[CHANNEL_REASON_SIZE]) {
    if (!hello->node || !resource_name_is_valid(str_of(hello->node))) {
        snprintf(reason, CHANNEL_REASON_SIZE, "the node has no name, or not a valid one");
        return true;
    }
    if (hello->schema_level < SCHEMA_LEVEL) {
        snprintf(reason, CHANNEL_REASON_SIZE, "schema level %u is too low, this control plane writes level %d: upgrade %s",
                 hello->schema_level, SCHEMA_LEVEL, hello->node);
        return true;
    }
    if (c->events.may_be_called && !c->events.may_be_called(dp->owner, hello->node, reason))
        return true;
    struct data_plane *old = greeting_find_node(c, hello->node, dp);
    if (old && !may_replace(c, old, hello)) {
        snprintf(reason, CHANNEL_REASON_SIZE, "the node name %s is in use by a live stream from %s", hello->node, old->peer);
        return true;
    }
    if (old)
        data_plane_end(c, old, "replaced by a new stream of the same node", true);
    return false;
}

static void copy_lineage(uint8_t ret[LINEAGE_SIZE], const Headgate__SnapshotId *id) {
    memset(ret, 0, LINEAGE_SIZE);
    if (id->lineage.len == LINEAGE_SIZE)
        memcpy(ret, id->lineage.data, LINEAGE_SIZE);
}

/* 0 with what is served, NULL for nothing; -1: lists that no data plane of ours would send, or no memory. */
static int held_snapshot(const struct greeting *g, struct snapshot **ret) {
    const Headgate__SnapshotId *id = g->first->serving;
    uint8_t lineage[LINEAGE_SIZE];
    if (!id) {
        *ret = NULL;
        return g->intent_count + g->state_count == 0 ? 0 : -1;
    }
    copy_lineage(lineage, id);
    struct part *intent = part_create_held(g->intent, g->intent_count);
    struct part *state = part_create_held(g->state, g->state_count);
    if (!intent || !state) {
        part_unref(intent);
        part_unref(state);
        return -1;
    }
    struct snapshot *s = snapshot_create(lineage, id->version, id->generation, intent, state);
    *ret = s;
    return s ? 0 : -1;
}

static int take_greeting(struct data_plane *dp) {
    const Headgate__Hello *hello = dp->greeting->first;
    if (held_snapshot(dp->greeting, &dp->held) < 0)
        return -1;
    dp->node = hg_strdup(hello->node);
    dp->software = hg_strdup(hello->software ? hello->software : "");
    if (!dp->node || !dp->software)
        return -1;
    dp->workers = hello->workers;
    dp->process_started_at = hello->started_at;
    dp->is_unconfirmed = hello->from_last_known_good && hello->takes_confirm;
    dp->takes_observe = hello->takes_observe;
    return 0;
}

static void log_greeting(const struct channel *c, const struct data_plane *dp) {
    log_info("data plane connected", LOG_S("node", dp->node), LOG_S("software", dp->software),
             LOG_S("peer", dp->peer), LOG_U("version", dp->held ? dp->held->version : 0));
    if (dp->held && c->current && dp->held->version > c->current->version &&
        memcmp(dp->held->lineage, c->current->lineage, LINEAGE_SIZE) == 0)
        log_warning("data plane holds a newer version of this lineage and is brought back to the current one",
                    LOG_S("node", dp->node), LOG_U("held", dp->held->version),
                    LOG_U("current", c->current->version));
}

static void finish_greeting(struct channel *c, struct data_plane *dp) {
    char reason[CHANNEL_REASON_SIZE];
    if (is_unwelcome(c, dp, dp->greeting->first, reason)) {
        refuse(c, dp, reason);
        return;
    }
    if (take_greeting(dp) < 0) {
        data_plane_end(c, dp, "the entries of its Hello cannot be used", false);
        return;
    }
    greeting_destroy(dp->greeting);
    dp->greeting = NULL;
    dp->state = DATA_PLANE_IDLE;
    dp->deadline = 0;
    away_remove(c, dp->node);
    log_greeting(c, dp);
    data_plane_synchronize(c, dp);
}

void greeting_receive(struct channel *c, struct data_plane *dp, const Headgate__Hello *hello) {
    if (!dp->greeting)
        dp->greeting = greeting_create(hello);
    struct greeting *g = dp->greeting;
    if (!g ||
        add_entries(g, &g->intent, &g->intent_count, &g->intent_capacity, hello->intent, hello->n_intent) <
            0 ||
        add_entries(g, &g->state, &g->state_count, &g->state_capacity, hello->state, hello->n_state) < 0)
        data_plane_end(c, dp, "its Hello is too large", false);
    else if (!hello->more)
        finish_greeting(c, dp);
}
