#include <assert.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/channel/channel_internal.h"

/* Moves forward only. */
enum push_phase { PUSH_PREPARING, PUSH_DECIDING, PUSH_COMMITTING };

struct push {
    enum push_phase phase;
    struct snapshot *target;
    bool is_dry_run;
    struct push_participant *participants;
    size_t count;
};

static void push_destroy(struct push *p) {
    for (size_t i = 0; i < p->count; i++) {
        hg_free(p->participants[i].node);
        hg_free(p->participants[i].lost_reason);
        if (p->participants[i].nack)
            headgate__nack__free_unpacked(p->participants[i].nack, NULL);
    }
    hg_free(p->participants);
    snapshot_unref(p->target);
    hg_free(p);
}

static size_t count_in(const struct push *p, enum participant_state state) {
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        n += p->participants[i].state == state;
    return n;
}

/* ---- the decision ---- */

static void finish(struct channel *c, enum push_outcome outcome, const char *reason) {
    struct push *p = c->push;
    c->push = NULL;
    for (size_t i = 0; i < p->count; i++)
        if (p->participants[i].data_plane)
            p->participants[i].data_plane->is_in_push = false;
    const struct push_result result = {
        .outcome = outcome, .reason = reason, .participants = p->participants, .count = p->count};
    c->events.push_done(c->context, &result);
    push_destroy(p);
    for (struct data_plane *dp = c->first; dp; dp = dp->next)
        data_plane_synchronize(c, dp);
}

static void abort_all(struct channel *c, const char *reason) {
    struct push *p = c->push;
    for (size_t i = 0; i < p->count; i++)
        if (p->participants[i].state == PARTICIPANT_READY && p->participants[i].data_plane)
            exchange_cancel(c, p->participants[i].data_plane, reason);
}

static bool is_anyone_not_ready(const struct push *p) {
    for (size_t i = 0; i < p->count; i++)
        if (!p->participants[i].was_ready || p->participants[i].state == PARTICIPANT_NACKED)
            return true;
    return false;
}

/* Everybody has answered or is gone. */
static void decide(struct channel *c) {
    struct push *p = c->push;
    if (is_anyone_not_ready(p)) {
        abort_all(c, "not every data plane is ready");
        finish(c, PUSH_REFUSED, NULL);
    } else if (p->is_dry_run) {
        abort_all(c, "dry run");
        finish(c, PUSH_CHECKED, NULL);
    } else {
        p->phase = PUSH_DECIDING;
        c->events.push_ready(c->context);
    }
}

/* Goes on when nobody is waited for any more. */
static void push_check(struct channel *c) {
    struct push *p = c->push;
    if (p->phase == PUSH_PREPARING &&
        count_in(p, PARTICIPANT_WAITING) + count_in(p, PARTICIPANT_PREPARING) == 0)
        decide(c);
    else if (p->phase == PUSH_COMMITTING && count_in(p, PARTICIPANT_COMMITTING) == 0)
        finish(c, PUSH_COMMITTED, NULL);
}

void channel_push_commit(struct channel *c) {
    struct push *p = c->push;
    assert(p && p->phase == PUSH_DECIDING);
    p->phase = PUSH_COMMITTING;
    snapshot_unref(c->current);
    c->current = snapshot_ref(p->target);
    for (size_t i = 0; i < p->count; i++) {
        struct push_participant *member = &p->participants[i];
        if (member->state != PARTICIPANT_READY)
            continue;
        member->state = PARTICIPANT_COMMITTING;
        exchange_commit(c, member->data_plane);
    }
    push_check(c);
}

void channel_push_abort(struct channel *c, const char *reason) {
    assert(c->push && c->push->phase == PUSH_DECIDING);
    abort_all(c, reason);
    finish(c, PUSH_REFUSED, reason);
}

bool channel_is_pushing(const struct channel *c) {
    return c->push != NULL;
}

/* ---- the beginning ---- */

static bool takes_part(const struct channel *c, const struct data_plane *dp, const struct snapshot *target) {
    if (dp->state == DATA_PLANE_GREETING || dp->state == DATA_PLANE_ENDED)
        return false;
    return target != c->current || !snapshot_is_same(dp->held, target);
}

static int add_participant(struct push *p, struct data_plane *dp) {
    struct push_participant *member = &p->participants[p->count];
    char *node = hg_strdup(dp->node);
    if (!node)
        return -1;
    *member = (struct push_participant){.node = node, .data_plane = dp};
    p->count++;
    return 0;
}

static struct push *push_create(struct channel *c, struct snapshot *target, bool is_dry_run) {
    struct push *p = hg_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->target = snapshot_ref(target);
    p->is_dry_run = is_dry_run;
    p->participants = hg_calloc(c->count ? c->count : 1, sizeof *p->participants);
    bool is_complete = p->participants != NULL;
    for (struct data_plane *dp = c->first; dp && is_complete; dp = dp->next)
        if (takes_part(c, dp, target))
            is_complete = add_participant(p, dp) == 0;
    if (is_complete)
        return p;
    push_destroy(p);
    return NULL;
}

/* A participant that still has to acknowledge an earlier Commit comes later: the delta is made against what
 * it serves. */
static void begin_participant(struct channel *c, struct push_participant *member) {
    struct data_plane *dp = member->data_plane;
    if (!dp || dp->state == DATA_PLANE_COMMITTING || dp->state == DATA_PLANE_ENDED)
        return;
    member->state = PARTICIPANT_PREPARING;
    exchange_start(c, dp, c->push->target, true, c->push->is_dry_run);
}

int channel_push(struct channel *c, struct snapshot *target, bool is_dry_run) {
    assert(!c->push);
    struct push *p = push_create(c, target, is_dry_run);
    if (!p)
        return -1;
    c->push = p;
    for (size_t i = 0; i < p->count; i++) {
        p->participants[i].data_plane->is_in_push = true;
        p->participants[i].data_plane->participant = i;
    }
    /* Held open by one more that is waited for, so that a loss on the way does not end the push under this
     * loop. */
    p->phase = PUSH_DECIDING;
    for (size_t i = 0; i < p->count; i++)
        begin_participant(c, &p->participants[i]);
    p->phase = PUSH_PREPARING;
    push_check(c);
    return 0;
}

/* ---- what happens to participants ---- */

static struct push_participant *participant_of(struct channel *c, const struct data_plane *dp) {
    return &c->push->participants[dp->participant];
}

void push_participant_ready(struct channel *c, struct data_plane *dp, uint64_t build_us) {
    struct push_participant *member = participant_of(c, dp);
    member->state = PARTICIPANT_READY;
    member->was_ready = true;
    member->build_us = build_us;
    member->sent_bytes = dp->sent_bytes;
    push_check(c);
}

void push_participant_nacked(struct channel *c, struct data_plane *dp, Headgate__Nack *nack) {
    struct push_participant *member = participant_of(c, dp);
    member->state = PARTICIPANT_NACKED;
    member->nack = nack;
    member->sent_bytes = dp->sent_bytes;
    push_check(c);
}

void push_participant_acked(struct channel *c, struct data_plane *dp, uint64_t switch_us) {
    struct push_participant *member = participant_of(c, dp);
    member->state = PARTICIPANT_ACKED;
    member->switch_us = switch_us;
    push_check(c);
}

void push_participant_lost(struct channel *c, struct data_plane *dp, const char *reason) {
    struct push_participant *member = participant_of(c, dp);
    dp->is_in_push = false;
    member->data_plane = NULL;
    bool has_answered = member->state == PARTICIPANT_NACKED || member->state == PARTICIPANT_ACKED;
    if (has_answered)
        return;
    member->state = PARTICIPANT_LOST;
    member->lost_reason = hg_strdup(reason);
    push_check(c);
}

void push_participant_free(struct channel *c, struct data_plane *dp) {
    struct push_participant *member = participant_of(c, dp);
    if (member->state != PARTICIPANT_WAITING)
        return;
    begin_participant(c, member);
}
