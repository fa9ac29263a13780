#include "controlplane/channel/channel_internal.h"
#include "controlplane/channel/message_copy.h"

#include <assert.h>

#include "common/alloc.h"
#include "common/log.h"

const struct channel_config channel_config_default = {
    .hello_timeout = 10 * 1000000,
    .prepare_timeout = 30 * 1000000,
    .commit_timeout = 30 * 1000000,
    .silence = 15 * 1000000,
    .data_planes_max = 1024,
};

struct channel *channel_create(const struct channel_config *config, const struct channel_events *events,
                               void *context) {
    struct channel *c = hg_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->config = *config;
    c->events = *events;
    c->context = context;
    return c;
}

void channel_destroy(struct channel *c) {
    if (!c)
        return;
    assert(!c->first && !c->push);
    snapshot_unref(c->current);
    node_records_finish(c);
    away_finish(c);
    hg_free(c->out_text);
    hg_free(c);
}

/* ---- streams ---- */

static void data_plane_destroy(struct data_plane *dp) {
    greeting_destroy(dp->greeting);
    transfer_destroy(dp->transfer);
    snapshot_unref(dp->target);
    snapshot_unref(dp->held);
    snapshot_unref(dp->refused);
    if (dp->nack)
        headgate__nack__free_unpacked(dp->nack, NULL);
    if (dp->report)
        headgate__report__free_unpacked(dp->report, NULL);
    if (dp->observation)
        headgate__observation__free_unpacked(dp->observation, NULL);
    hg_free(dp->persist_error);
    hg_free(dp->abort_reason);
    hg_free(dp->refuse_reason);
    hg_free(dp->peer);
    hg_free(dp->node);
    hg_free(dp->software);
    hg_free(dp);
}

static void append(struct channel *c, struct data_plane *dp) {
    struct data_plane **link = &c->first;
    while (*link)
        link = &(*link)->next;
    *link = dp;
    c->count++;
}

struct data_plane *channel_connect(struct channel *c, void *stream_owner, const char *peer) {
    struct data_plane *dp = c->count < c->config.data_planes_max ? hg_calloc(1, sizeof *dp) : NULL;
    if (!dp)
        return NULL;
    dp->owner = stream_owner;
    dp->peer = hg_strdup(peer);
    dp->connected_at = dp->heard_at = c->now;
    dp->deadline = c->now + c->config.hello_timeout;
    if (!dp->peer) {
        data_plane_destroy(dp);
        return NULL;
    }
    append(c, dp);
    c->counters.connects++;
    return dp;
}

/* What the end of a stream means for the transfer that was open on it. */
static void lose_transfer(struct channel *c, struct data_plane *dp, const char *reason) {
    bool was_open = dp->transfer || dp->state == DATA_PLANE_COMMITTING;
    if (was_open) {
        c->counters.losses++;
        if (!dp->is_of_push)
            node_record_loss(c, dp);
    }
    exchange_cancel(c, dp, NULL);
    dp->state = DATA_PLANE_ENDED;
    dp->deadline = 0;
    if (dp->is_in_push)
        push_participant_lost(c, dp, reason);
}

void data_plane_end(struct channel *c, struct data_plane *dp, const char *reason, bool at_once) {
    if (dp->state == DATA_PLANE_ENDED)
        return;
    log_warning("stream of a data plane is ended", LOG_S("node", dp->node ? dp->node : ""),
                LOG_S("peer", dp->peer), LOG_S("reason", reason));
    lose_transfer(c, dp, reason);
    c->events.end(dp->owner, reason, at_once);
}

void channel_disconnect(struct channel *c, struct data_plane *dp, const char *reason) {
    struct data_plane **link = &c->first;
    while (*link != dp)
        link = &(*link)->next;
    *link = dp->next;
    c->count--;
    if (dp->state != DATA_PLANE_ENDED)
        lose_transfer(c, dp, reason ? reason : "the connection ended before it answered");
    bool has_greeted = dp->node && dp->software;
    if (has_greeted && !greeting_find_node(c, dp->node, dp))
        away_add(c, dp);
    data_plane_destroy(dp);
}

/* ---- what a data plane should have ---- */

static bool is_same_version(const struct snapshot *a, const struct snapshot *b) {
    return memcmp(a->lineage, b->lineage, LINEAGE_SIZE) == 0 && a->version == b->version;
}

/* After a Nack only a new version is sent, or -- since the state can have been at fault -- a new generation
 * after a while. When that is; 0: at once; UINT64_MAX: never. */
static uint64_t next_try(const struct data_plane *dp, const struct snapshot *s) {
    enum { GENERATION_RETRY_US = 30 * 1000000 };
    if (!dp->refused || !is_same_version(dp->refused, s))
        return 0;
    return dp->refused->generation == s->generation ? UINT64_MAX : dp->refused_at + GENERATION_RETRY_US;
}

void data_plane_synchronize(struct channel *c, struct data_plane *dp) {
    if (exchange_owes_confirm(c, dp))
        c->events.wake(dp->owner);
    if (dp->state != DATA_PLANE_IDLE || dp->is_in_push || !c->current || snapshot_is_same(dp->held, c->current) ||
        node_record_losses(c, dp->node, c->current) >= CHANNEL_LOSSES_MAX)
        return;
    uint64_t at = next_try(dp, c->current);
    if (at > c->now)
        dp->deadline = at;
    else
        exchange_start(c, dp, c->current, false, false);
}

void channel_set_current(struct channel *c, struct snapshot *s) {
    assert(!c->push);
    struct snapshot *before = c->current;
    c->current = s ? snapshot_ref(s) : NULL;
    snapshot_unref(before);
    for (struct data_plane *dp = c->first; dp; dp = dp->next) {
        /* A transfer of the same version goes on: where generations follow each other fast, it would never end. */
        bool is_wrong_transfer = dp->state == DATA_PLANE_PREPARING && s && !is_same_version(dp->target, s);
        if (is_wrong_transfer)
            exchange_start(c, dp, s, false, false); /* a Prepare with a new nonce aborts the open one */
        else
            data_plane_synchronize(c, dp);
    }
}

struct snapshot *channel_current(const struct channel *c) {
    return c->current;
}

enum data_plane_health channel_health(const struct channel *c, const struct data_plane *dp) {
    if (!c->current || snapshot_is_same(dp->held, c->current))
        return DATA_PLANE_IN_SYNC;
    bool is_given_up = node_record_losses(c, dp->node, c->current) >= CHANNEL_LOSSES_MAX;
    return is_given_up || next_try(dp, c->current) > c->now ? DATA_PLANE_NACKED : DATA_PLANE_BEHIND;
}

/* ---- time ---- */

static const char *overdue(const struct data_plane *dp) {
    switch (dp->state) {
    case DATA_PLANE_GREETING: return "no complete Hello came in time";
    case DATA_PLANE_PREPARING: return "it did not answer Prepare in time";
    default: return "it did not acknowledge Commit in time";
    }
}

void channel_tell_time(struct channel *c, uint64_t now_us) {
    if (now_us > c->now)
        c->now = now_us;
}

static void pass_deadline(struct channel *c, struct data_plane *dp) {
    if (dp->state != DATA_PLANE_IDLE) {
        data_plane_end(c, dp, overdue(dp), true);
        return;
    }
    dp->deadline = 0;
    data_plane_synchronize(c, dp);
}

void channel_advance(struct channel *c, uint64_t now_us) {
    channel_tell_time(c, now_us);
    for (struct data_plane *dp = c->first; dp; dp = dp->next)
        if (dp->deadline && dp->deadline <= c->now)
            pass_deadline(c, dp);
}

uint64_t channel_next_deadline(const struct channel *c) {
    uint64_t next = UINT64_MAX;
    for (const struct data_plane *dp = c->first; dp; dp = dp->next)
        if (dp->deadline && dp->deadline < next)
            next = dp->deadline;
    return next;
}

/* ---- messages ---- */

static void keep_report(struct data_plane *dp, const Headgate__Report *report) {
    if (headgate__report__get_packed_size(report) > CHANNEL_REPORT_MAX)
        return;
    Headgate__Report *copy = message_copy(report);
    if (!copy)
        return;
    if (dp->report)
        headgate__report__free_unpacked(dp->report, NULL);
    dp->report = copy;
}

static void keep_observation(struct data_plane *dp, const Headgate__Observation *observation) {
    if (headgate__observation__get_packed_size(observation) > CHANNEL_OBSERVATION_MAX)
        return;
    Headgate__Observation *copy = message_copy(observation);
    if (!copy)
        return;
    if (dp->observation)
        headgate__observation__free_unpacked(dp->observation, NULL);
    dp->observation = copy;
}

void channel_receive(struct channel *c, struct data_plane *dp, const Headgate__DataPlaneMessage *m) {
    dp->heard_at = c->now;
    if (dp->state == DATA_PLANE_ENDED)
        return;
    bool is_hello = m->message_case == HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_HELLO;
    if (is_hello != (dp->state == DATA_PLANE_GREETING)) {
        data_plane_end(c, dp, is_hello ? "a second Hello" : "the first message is not a Hello", false);
        return;
    }
    switch (m->message_case) {
    case HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_HELLO: greeting_receive(c, dp, m->hello); break;
    case HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_READY: exchange_ready(c, dp, m->ready); break;
    case HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_NACK: exchange_nack(c, dp, m->nack); break;
    case HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_ACK: exchange_ack(c, dp, m->ack); break;
    case HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_REPORT: keep_report(dp, m->report); break;
    case HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_OBSERVATION: keep_observation(dp, m->observation); break;
    default: break; /* of a newer data plane; what it says is for newer control planes */
    }
}

uint64_t channel_observe(struct channel *c) {
    c->last_observe++;
    for (struct data_plane *dp = c->first; dp; dp = dp->next) {
        if (!dp->takes_observe || dp->state == DATA_PLANE_ENDED)
            continue;
        dp->observe = c->last_observe; /* one that was not sent yet is forgotten */
        c->events.wake(dp->owner);
    }
    return c->last_observe;
}

/* ---- views ---- */

const struct data_plane *channel_first(const struct channel *c) {
    return c->first;
}

const struct data_plane *channel_after(const struct data_plane *dp) {
    return dp->next;
}

const struct channel_counters *channel_counters(const struct channel *c) {
    return &c->counters;
}
