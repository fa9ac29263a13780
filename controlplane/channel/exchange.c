#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/channel/channel_internal.h"
#include "controlplane/channel/message_copy.h"

/* ---- a transfer's life on one stream ---- */

static void drop_transfer(struct data_plane *dp) {
    transfer_destroy(dp->transfer);
    dp->transfer = NULL;
    snapshot_unref(dp->target);
    dp->target = NULL;
    dp->is_of_push = false;
    dp->deadline = 0;
}

static void drop_abort(struct data_plane *dp) {
    dp->abort_nonce = 0;
    hg_free(dp->abort_reason);
    dp->abort_reason = NULL;
}

void exchange_start(struct channel *c, struct data_plane *dp, struct snapshot *target, bool is_of_push,
                    bool is_dry_run) {
    drop_transfer(dp);
    drop_abort(dp); /* the new nonce says as much */
    dp->transfer = transfer_create(++c->last_nonce, dp->held, target, is_dry_run);
    dp->nonce = c->last_nonce;
    if (!dp->transfer) {
        data_plane_end(c, dp, "no memory for what is to be sent", true);
        return;
    }
    dp->target = snapshot_ref(target);
    dp->is_of_push = is_of_push;
    dp->sent_bytes = 0;
    dp->state = DATA_PLANE_PREPARING;
    dp->deadline = c->now + c->config.prepare_timeout;
    c->counters.transfers++;
    c->events.wake(dp->owner);
}

void exchange_cancel(struct channel *c, struct data_plane *dp, const char *abort_reason) {
    bool is_known_there = dp->transfer && transfer_has_begun(dp->transfer);
    drop_transfer(dp);
    if (dp->state == DATA_PLANE_PREPARING || dp->state == DATA_PLANE_READY)
        dp->state = DATA_PLANE_IDLE;
    if (!abort_reason || !is_known_there)
        return;
    dp->abort_nonce = dp->nonce;
    dp->abort_reason = hg_strdup(abort_reason); /* an Abort without a reason is as good */
    c->events.wake(dp->owner);
}

void exchange_commit(struct channel *c, struct data_plane *dp) {
    dp->state = DATA_PLANE_COMMITTING;
    dp->commit_nonce = dp->nonce;
    dp->deadline = c->now + c->config.commit_timeout;
    c->events.wake(dp->owner);
}

/* ---- answers ---- */

/* Is this the answer that is awaited? An answer to an earlier transfer crossed our next message and is
 * dropped; anything else is a breach of the protocol and ends the stream. */
static bool is_awaited(struct channel *c, struct data_plane *dp, uint64_t nonce, bool is_state_right) {
    if (nonce == dp->nonce && is_state_right)
        return true;
    if (nonce > dp->nonce || (nonce == dp->nonce && dp->transfer))
        data_plane_end(c, dp, "an answer that nothing asked for", false);
    return false;
}

void exchange_ready(struct channel *c, struct data_plane *dp, const Headgate__Ready *m) {
    bool is_right = dp->state == DATA_PLANE_PREPARING && transfer_is_complete(dp->transfer);
    if (!is_awaited(c, dp, m->nonce, is_right))
        return;
    dp->deadline = 0;
    if (!dp->is_of_push) {
        exchange_commit(c, dp);
        return;
    }
    dp->state = DATA_PLANE_READY;
    push_participant_ready(c, dp, m->build_us);
}

/* With at most CHANNEL_REASONS_MAX reasons; NULL without memory. */
static Headgate__Nack *copy_nack(const Headgate__Nack *m) {
    Headgate__Nack head = *m;
    head.base.n_unknown_fields = 0;
    if (head.n_reasons > CHANNEL_REASONS_MAX)
        head.n_reasons = CHANNEL_REASONS_MAX;
    return message_copy(&head);
}

static void log_nack(const struct data_plane *dp, const Headgate__Nack *m) {
    const Headgate__Reason *r = m->n_reasons ? m->reasons[0] : NULL;
    log_warning("data plane refused a snapshot", LOG_S("node", dp->node),
                LOG_U("version", dp->target->version), LOG_U("reasons", m->n_reasons),
                LOG_S("kind", r && r->has_kind ? kind_name(r->kind) : ""), LOG_S("name", r ? r->name : ""),
                LOG_S("path", r ? r->path : ""), LOG_S("reason", r ? r->message : ""));
}

static void keep_refusal(struct channel *c, struct data_plane *dp, Headgate__Nack *nack) {
    if (dp->nack)
        headgate__nack__free_unpacked(dp->nack, NULL);
    dp->nack = nack;
    snapshot_unref(dp->refused);
    dp->refused = snapshot_ref(dp->target);
    dp->refused_at = c->now;
}

void exchange_nack(struct channel *c, struct data_plane *dp, const Headgate__Nack *m) {
    bool is_right = dp->state == DATA_PLANE_PREPARING || dp->state == DATA_PLANE_READY;
    if (!is_awaited(c, dp, m->nonce, is_right))
        return;
    c->counters.nacks++;
    log_nack(dp, m);
    bool is_of_push = dp->is_of_push;
    if (c->current && dp->target->version == c->current->version)
        keep_refusal(c, dp, copy_nack(m));
    exchange_cancel(c, dp, NULL);
    if (is_of_push)
        push_participant_nacked(c, dp, copy_nack(m));
    else
        data_plane_synchronize(c, dp);
}

/* How long changed endpoints took from a check or a source to all workers. */
static void note_served(struct channel *c, const struct data_plane *dp) {
    uint64_t known_at = dp->is_of_push ? 0 : dp->target->known_at;
    if (!known_at || known_at > c->now)
        return;
    c->counters.served_changes++;
    c->counters.served_us += c->now - known_at;
    log_debug("changed endpoints are served", LOG_S("node", dp->node), LOG_U("generation", dp->target->generation),
              LOG_U("us", c->now - known_at));
}

static void take_ack(struct channel *c, struct data_plane *dp, const Headgate__Ack *m) {
    c->counters.acks++;
    note_served(c, dp);
    snapshot_unref(dp->held);
    dp->held = snapshot_ref(dp->target);
    dp->acked_at = c->now;
    dp->is_unconfirmed = false;
    snapshot_unref(dp->refused);
    dp->refused = NULL;
    if (dp->nack)
        headgate__nack__free_unpacked(dp->nack, NULL);
    dp->nack = NULL;
    hg_free(dp->persist_error);
    dp->persist_error = m->persist_error ? hg_strdup(m->persist_error) : NULL;
    node_record_success(c, dp);
}

void exchange_ack(struct channel *c, struct data_plane *dp, const Headgate__Ack *m) {
    if (!is_awaited(c, dp, m->nonce, dp->state == DATA_PLANE_COMMITTING && dp->commit_nonce == 0))
        return;
    bool is_of_push = dp->is_of_push;
    take_ack(c, dp, m);
    drop_transfer(dp);
    dp->state = DATA_PLANE_IDLE;
    if (is_of_push)
        push_participant_acked(c, dp, m->switch_us);
    else if (dp->is_in_push)
        push_participant_free(c, dp);
    else
        data_plane_synchronize(c, dp);
}

/* ---- what goes out ---- */

static const Headgate__ControlPlaneMessage *give(struct channel *c,
                                                 Headgate__ControlPlaneMessage__MessageCase which) {
    headgate__control_plane_message__init(&c->out);
    c->out.message_case = which;
    return &c->out;
}

/* A text of the message that is given; freed with the next one. */
static char *keep_text(struct channel *c, char **text) {
    hg_free(c->out_text);
    c->out_text = *text;
    *text = NULL;
    return c->out_text;
}

static const Headgate__ControlPlaneMessage *give_refuse(struct channel *c, struct data_plane *dp) {
    headgate__refuse__init(&c->out_refuse);
    c->out_refuse.reason = keep_text(c, &dp->refuse_reason);
    give(c, HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_REFUSE);
    c->out.refuse = &c->out_refuse;
    return &c->out;
}

static const Headgate__ControlPlaneMessage *give_abort(struct channel *c, struct data_plane *dp) {
    headgate__abort__init(&c->out_abort);
    c->out_abort.has_nonce = true;
    c->out_abort.nonce = dp->abort_nonce;
    c->out_abort.reason = keep_text(c, &dp->abort_reason);
    dp->abort_nonce = 0;
    give(c, HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_ABORT);
    c->out.abort = &c->out_abort;
    return &c->out;
}

static const Headgate__ControlPlaneMessage *give_commit(struct channel *c, struct data_plane *dp) {
    headgate__commit__init(&c->out_commit);
    c->out_commit.has_nonce = true;
    c->out_commit.nonce = dp->commit_nonce;
    dp->commit_nonce = 0;
    give(c, HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_COMMIT);
    c->out.commit = &c->out_commit;
    return &c->out;
}

static const Headgate__ControlPlaneMessage *give_prepare(struct channel *c, struct data_plane *dp) {
    bool has_failed = false;
    const Headgate__Prepare *p = transfer_next(dp->transfer, &has_failed);
    if (has_failed)
        data_plane_end(c, dp, "no memory for what is to be sent", true);
    if (!p)
        return NULL;
    size_t size = headgate__prepare__get_packed_size(p);
    dp->sent_bytes += size;
    c->counters.sent_bytes += size;
    give(c, HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_PREPARE);
    c->out.prepare = (Headgate__Prepare *)p;
    return &c->out;
}

bool exchange_owes_confirm(const struct channel *c, const struct data_plane *dp) {
    return dp->is_unconfirmed && dp->state == DATA_PLANE_IDLE && c->current &&
           snapshot_is_same(dp->held, c->current);
}

static const Headgate__ControlPlaneMessage *give_confirm(struct channel *c, struct data_plane *dp) {
    headgate__confirm__init(&c->out_confirm);
    snapshot_id_fill(dp->held, &c->out_id);
    c->out_confirm.id = &c->out_id;
    dp->is_unconfirmed = false;
    give(c, HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_CONFIRM);
    c->out.confirm = &c->out_confirm;
    return &c->out;
}

static const Headgate__ControlPlaneMessage *give_observe(struct channel *c, struct data_plane *dp) {
    headgate__observe__init(&c->out_observe);
    c->out_observe.has_asked = true;
    c->out_observe.asked = dp->observe;
    dp->observe = 0;
    give(c, HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_OBSERVE);
    c->out.observe = &c->out_observe;
    return &c->out;
}

const Headgate__ControlPlaneMessage *channel_pull(struct channel *c, struct data_plane *dp) {
    if (dp->refuse_reason)
        return give_refuse(c, dp);
    if (dp->state == DATA_PLANE_ENDED)
        return NULL;
    if (dp->abort_nonce)
        return give_abort(c, dp);
    if (dp->observe)
        return give_observe(c, dp);
    if (dp->state == DATA_PLANE_PREPARING)
        return give_prepare(c, dp);
    if (dp->commit_nonce)
        return give_commit(c, dp);
    if (exchange_owes_confirm(c, dp))
        return give_confirm(c, dp);
    return NULL;
}
