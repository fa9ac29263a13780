#include "dataplane/snapshot/channel.h"

#include <assert.h>
#include <string.h>

#include "common/alloc.h"
#include "dataplane/snapshot/messages.h"
#include "proto/message.h"

const char *channel_state_name(enum channel_state state) {
    switch (state) {
    case CHANNEL_CLOSED: return "closed";
    case CHANNEL_IDLE: return "idle";
    case CHANNEL_RECEIVING: return "receiving";
    case CHANNEL_CHECKING: return "checking";
    case CHANNEL_READY: return "ready";
    case CHANNEL_SWITCHING: return "switching";
    }
    return "unknown";
}

static bool may_follow(enum channel_state from, enum channel_state to) {
    switch (to) {
    case CHANNEL_CLOSED: return true;
    case CHANNEL_IDLE: return true;
    case CHANNEL_RECEIVING: return from == CHANNEL_IDLE;
    case CHANNEL_CHECKING: return from == CHANNEL_RECEIVING;
    case CHANNEL_READY: return from == CHANNEL_CHECKING;
    case CHANNEL_SWITCHING: return from == CHANNEL_READY;
    }
    return false;
}

static void set_state(struct channel *c, enum channel_state to) {
    assert(may_follow(c->state, to));
    c->state = to;
}

void channel_init(struct channel *c, const struct channel_ops *ops, void *owner,
                  const struct channel_self *self) {
    *c = (struct channel){.ops = ops, .owner = owner, .self = *self};
}

static void forget_transfer(struct channel *c) {
    delta_finish(&c->delta);
    for (size_t i = 0; i < c->part_count; i++)
        protobuf_c_message_free_unpacked(c->parts[i], NULL);
    c->part_count = 0;
}

void channel_finish(struct channel *c) {
    forget_transfer(c);
    hg_free(c->parts);
    resource_set_unref(c->serving);
    *c = (struct channel){0};
}

void channel_set_serving(struct channel *c, struct resource_set *serving) {
    c->serving = resource_set_ref(serving);
    c->is_from_last_known_good = true;
}

/* ---- what we say ---- */

static int send_message(struct channel *c, const Headgate__DataPlaneMessage *m) {
    uint8_t *bytes;
    size_t size;
    if (resource_encode(&m->base, &bytes, &size) < 0)
        return -1;
    int status = c->ops->send(c->owner, bytes, size);
    hg_free(bytes);
    return status;
}

static int send_hello(struct channel *c, Headgate__Hello *hello) {
    Headgate__DataPlaneMessage m = HEADGATE__DATA_PLANE_MESSAGE__INIT;
    m.message_case = HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_HELLO;
    m.hello = hello;
    return send_message(c, &m);
}

/* How many of the entries from `first` on fit into one message. */
static size_t count_that_fit(const struct entry_view *view, size_t first, size_t room) {
    size_t at = first;
    for (size_t size = 0; at < view->count; at++) {
        size += headgate__entry__get_packed_size(view->pointers[at]) + 8; /* with its tag and length */
        if (size > room)
            break;
    }
    return at - first;
}

/* Entries in as many Hellos as it takes; `hello` is the first, with all that is not entries. */
static int send_hellos(struct channel *c, Headgate__Hello *hello, const struct entry_view *intent,
                       const struct entry_view *state) {
    const size_t room = MESSAGE_MAX / 4;
    size_t at_intent = 0, at_state = 0;
    Headgate__Hello next = HEADGATE__HELLO__INIT;
    for (;; hello = &next) {
        hello->intent = intent->pointers + at_intent;
        at_intent += hello->n_intent = count_that_fit(intent, at_intent, room);
        hello->state = state->pointers + at_state;
        at_state += hello->n_state = count_that_fit(state, at_state, room);
        hello->has_more = hello->more = at_intent < intent->count || at_state < state->count;
        if (send_hello(c, hello) < 0)
            return -1;
        if (!hello->more)
            return 0;
    }
}

static Headgate__Hello first_hello(struct channel *c) {
    Headgate__Hello hello = HEADGATE__HELLO__INIT;
    hello.has_schema_level = hello.has_workers = hello.has_started_at = true;
    hello.schema_level = SCHEMA_LEVEL;
    hello.node = (char *)c->self.node;
    hello.software = (char *)c->self.software;
    hello.workers = c->self.workers;
    hello.started_at = c->self.started_at;
    hello.has_from_last_known_good = hello.from_last_known_good = c->is_from_last_known_good;
    hello.has_takes_confirm = hello.takes_confirm = true;
    hello.has_takes_observe = hello.takes_observe = c->ops->observe != NULL;
    return hello;
}

static int say_hello(struct channel *c) {
    static const struct resource_part nothing;
    Headgate__Hello hello = first_hello(c);
    Headgate__SnapshotId id;
    struct entry_view intent = {0}, state = {0};
    int status = -1;
    if (c->serving) {
        id = snapshot_identity_message(&c->serving->id);
        hello.serving = &id;
    }
    if (entry_view_init(&intent, c->serving ? &c->serving->intent : &nothing) == 0 &&
        entry_view_init(&state, c->serving ? &c->serving->state : &nothing) == 0)
        status = send_hellos(c, &hello, &intent, &state);
    entry_view_finish(&intent);
    entry_view_finish(&state);
    c->owes_hello = false;
    set_state(c, CHANNEL_IDLE);
    return status;
}

static int say_ready(struct channel *c, uint64_t build_us) {
    Headgate__DataPlaneMessage m = HEADGATE__DATA_PLANE_MESSAGE__INIT;
    Headgate__Ready ready = HEADGATE__READY__INIT;
    ready.has_nonce = ready.has_build_us = true;
    ready.nonce = c->nonce;
    ready.build_us = build_us;
    m.message_case = HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_READY;
    m.ready = &ready;
    return send_message(c, &m);
}

static int say_nack(struct channel *c, const struct error_list *errors) {
    Headgate__DataPlaneMessage m = HEADGATE__DATA_PLANE_MESSAGE__INIT;
    Headgate__Nack nack = HEADGATE__NACK__INIT;
    struct reason_view reasons;
    if (reason_view_init(&reasons, errors) < 0)
        return -1;
    nack.has_nonce = true;
    nack.nonce = c->nonce;
    nack.reasons = reasons.pointers;
    nack.n_reasons = reasons.count;
    m.message_case = HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_NACK;
    m.nack = &nack;
    int status = send_message(c, &m);
    reason_view_finish(&reasons);
    return status;
}

static int say_ack(struct channel *c, uint64_t switch_us, const char *persist_error) {
    Headgate__DataPlaneMessage m = HEADGATE__DATA_PLANE_MESSAGE__INIT;
    Headgate__Ack ack = HEADGATE__ACK__INIT;
    ack.has_nonce = ack.has_switch_us = ack.has_workers = true;
    ack.nonce = c->nonce;
    ack.switch_us = switch_us;
    ack.workers = c->self.workers;
    ack.persist_error = (char *)persist_error;
    m.message_case = HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_ACK;
    m.ack = &ack;
    return send_message(c, &m);
}

int channel_report(struct channel *c, Headgate__Report *report) {
    Headgate__DataPlaneMessage m = HEADGATE__DATA_PLANE_MESSAGE__INIT;
    Headgate__SnapshotId id;
    if (!c->stream_is_up || c->owes_hello)
        return 0;
    if (c->serving) {
        id = snapshot_identity_message(&c->serving->id);
        report->serving = &id;
    }
    m.message_case = HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_REPORT;
    m.report = report;
    int status = send_message(c, &m);
    report->serving = NULL;
    return status;
}

int channel_observation(struct channel *c, Headgate__Observation *observation) {
    Headgate__DataPlaneMessage m = HEADGATE__DATA_PLANE_MESSAGE__INIT;
    if (!c->stream_is_up || c->owes_hello)
        return 0;
    m.message_case = HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_OBSERVATION;
    m.observation = observation;
    return send_message(c, &m);
}

/* ---- the stream comes and goes ---- */

int channel_open(struct channel *c) {
    c->stream_is_up = true;
    c->owes_hello = c->state == CHANNEL_SWITCHING;
    return c->owes_hello ? 0 : say_hello(c);
}

/* Ends a transfer that has not been committed; further parts of it are passed over. */
static void end_transfer(struct channel *c) {
    bool is_owners = c->state == CHANNEL_CHECKING || c->state == CHANNEL_READY;
    forget_transfer(c);
    c->passed_over = c->nonce;
    set_state(c, CHANNEL_IDLE);
    if (is_owners)
        c->ops->abort(c->owner);
}

void channel_close(struct channel *c) {
    c->stream_is_up = false;
    c->passed_over = 0;
    if (c->state == CHANNEL_SWITCHING)
        return;
    if (c->state != CHANNEL_CLOSED && c->state != CHANNEL_IDLE)
        end_transfer(c);
    c->passed_over = 0;
    set_state(c, CHANNEL_CLOSED);
}

/* ---- what we are told ---- */

static int fault(struct channel *c, struct error_list *errors, const char *what) {
    error_addf(errors, ERROR_SYNTAX, "%s (channel is %s)", what, channel_state_name(c->state));
    return -1;
}

static int refuse_transfer(struct channel *c, const struct error_list *reasons) {
    int status = say_nack(c, reasons);
    end_transfer(c);
    return status;
}

static void begin_transfer(struct channel *c, uint64_t nonce) {
    if (c->state != CHANNEL_IDLE)
        end_transfer(c);
    c->nonce = nonce;
    c->passed_over = 0;
    c->is_dry_run = false;
    set_state(c, CHANNEL_RECEIVING);
}

static int take_identity(struct channel *c, const Headgate__Prepare *p, struct error_list *reasons) {
    if (c->part_count == 0 && p->id)
        return snapshot_identity_read(p->id, &c->announced, reasons);
    if (c->part_count == 0)
        error_addf(reasons, ERROR_MISSING, "the first part of a transfer has no id");
    else if (p->id)
        error_addf(reasons, ERROR_CONFLICT, "a further part of a transfer has an id");
    return c->part_count == 0 || p->id ? -1 : 0;
}

static int take_entries(struct delta *d, const Headgate__Prepare *p, struct error_list *reasons) {
    return delta_add_entries(&d->intent.upserts, p->upsert_intent, p->n_upsert_intent, reasons) |
           delta_add_entries(&d->intent.removes, p->remove_intent, p->n_remove_intent, reasons) |
           delta_add_entries(&d->state.upserts, p->upsert_state, p->n_upsert_state, reasons) |
           delta_add_entries(&d->state.removes, p->remove_state, p->n_remove_state, reasons);
}

/* The message stays as long as the transfer, for its entries; its share of the bodies is freed as soon as
 * it is copied. */
static int take_bodies(struct delta *d, const Headgate__Prepare *p, struct error_list *reasons) {
    int status = 0;
    for (size_t i = 0; i < p->n_bodies && status == 0; i++) {
        ProtobufCBinaryData *bytes = &p->bodies[i]->bytes;
        status = delta_add_body(d, p->bodies[i], reasons);
        hg_free(bytes->data);
        *bytes = (ProtobufCBinaryData){0};
    }
    return status;
}

/* Kinds that we do not know are told by name, so entries come before the check of everything else. */
static int take_part(struct channel *c, const Headgate__Prepare *p, struct error_list *reasons) {
    if (c->part_count >= CHANNEL_PARTS_MAX) {
        error_addf(reasons, ERROR_RANGE, "a transfer of too many parts");
        return -1;
    }
    if (take_identity(c, p, reasons) < 0 || take_entries(&c->delta, p, reasons) < 0)
        return -1;
    if (message_check_known(&p->base, NULL, "prepare", reasons))
        return -1;
    c->is_dry_run |= p->dry_run;
    return take_bodies(&c->delta, p, reasons);
}

/* The last part is here. */
static int check_transfer(struct channel *c, struct error_list *reasons) {
    struct resource_set *candidate;
    if (delta_apply(&c->delta, c->serving, &c->announced, &candidate, reasons) < 0)
        return -1;
    forget_transfer(c);
    set_state(c, CHANNEL_CHECKING);
    c->ops->prepare(c->owner, candidate);
    resource_set_unref(candidate);
    return 0;
}

/* Takes the message over. */
static int receive_part(struct channel *c, ProtobufCMessage *message, const Headgate__Prepare *p) {
    struct error_list reasons = {0};
    int status = 0;
    bool is_taken = hg_grow(&c->parts, &c->part_capacity, c->part_count + 1, sizeof *c->parts) == 0;
    if (!is_taken)
        error_addf(&reasons, ERROR_MEMORY, "out of memory");
    bool is_good = is_taken && take_part(c, p, &reasons) == 0;
    bool is_last = p->last;
    if (is_taken)
        c->parts[c->part_count++] = message;
    else
        protobuf_c_message_free_unpacked(message, NULL);
    if (!is_good || (is_last && check_transfer(c, &reasons) < 0))
        status = refuse_transfer(c, &reasons);
    error_list_finish(&reasons);
    return status;
}

static int receive_prepare(struct channel *c, ProtobufCMessage *message, const Headgate__Prepare *p,
                           struct error_list *errors) {
    int status = 0;
    if (c->state == CHANNEL_SWITCHING)
        status = fault(c, errors, "Prepare before the Ack of the last Commit");
    else if (!p->has_nonce || p->nonce == 0)
        status = fault(c, errors, "Prepare without a nonce");
    if (status < 0 || p->nonce == c->passed_over) {
        protobuf_c_message_free_unpacked(message, NULL);
        return status;
    }
    if (c->state != CHANNEL_RECEIVING || p->nonce != c->nonce)
        begin_transfer(c, p->nonce);
    return receive_part(c, message, p);
}

static int receive_commit(struct channel *c, const Headgate__Commit *m, struct error_list *errors) {
    if (c->state != CHANNEL_READY || !m->has_nonce || m->nonce != c->nonce)
        return fault(c, errors, "Commit of something that is not ready");
    if (c->is_dry_run)
        return fault(c, errors, "Commit of a dry run");
    set_state(c, CHANNEL_SWITCHING);
    c->ops->commit(c->owner);
    return 0;
}

static int receive_abort(struct channel *c, const Headgate__Abort *m, struct error_list *errors) {
    if (c->state == CHANNEL_SWITCHING)
        return fault(c, errors, "Abort after Commit");
    if (c->state != CHANNEL_IDLE && m->has_nonce && m->nonce == c->nonce)
        end_transfer(c);
    return 0;
}

static int receive_confirm(struct channel *c, const Headgate__Confirm *m, struct error_list *errors) {
    struct snapshot_identity id;
    if (c->state != CHANNEL_IDLE || !c->serving || !m->id)
        return fault(c, errors, "Confirm that nothing asked for");
    if (snapshot_identity_read(m->id, &id, errors) < 0)
        return -1;
    if (!snapshot_identity_equal(&id, &c->serving->id))
        return fault(c, errors, "Confirm of something that is not served");
    c->is_from_last_known_good = false;
    return 0;
}

static int receive_observe(struct channel *c, const Headgate__Observe *m, struct error_list *errors) {
    if (!c->ops->observe)
        return fault(c, errors, "Observe, which Hello does not offer");
    c->ops->observe(c->owner, m->asked);
    return 0;
}

/* Takes the message over. */
static int dispatch(struct channel *c, Headgate__ControlPlaneMessage *m, struct error_list *errors) {
    int status = -1;
    if (m->message_case == HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_PREPARE && !m->base.n_unknown_fields)
        return receive_prepare(c, &m->base, m->prepare, errors);
    if (message_check_known(&m->base, NULL, "", errors))
        status = -1;
    else if (m->message_case == HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_COMMIT)
        status = receive_commit(c, m->commit, errors);
    else if (m->message_case == HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_ABORT)
        status = receive_abort(c, m->abort, errors);
    else if (m->message_case == HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_CONFIRM)
        status = receive_confirm(c, m->confirm, errors);
    else if (m->message_case == HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_OBSERVE)
        status = receive_observe(c, m->observe, errors);
    else if (m->message_case == HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_REFUSE) {
        c->ops->refused(c->owner, m->refuse->reason ? m->refuse->reason : "");
        status = 0;
    } else
        status = fault(c, errors, "an empty message");
    protobuf_c_message_free_unpacked(&m->base, NULL);
    return status;
}

int channel_receive(struct channel *c, const uint8_t *message, size_t size, struct error_list *errors) {
    assert(c->stream_is_up);
    if (size > MESSAGE_MAX)
        return fault(c, errors, "a message that is too large");
    ProtobufCMessage *m;
    struct str bytes = {(const char *)message, size};
    int status = message_unpack(&headgate__control_plane_message__descriptor, NULL, bytes, &m);
    if (status < 0)
        return fault(c, errors, status == MESSAGE_MEMORY ? "out of memory" : "not a well-formed message");
    return dispatch(c, (Headgate__ControlPlaneMessage *)m, errors);
}

/* ---- the owner's answers ---- */

int channel_prepared(struct channel *c, const struct error_list *errors, uint64_t build_us) {
    assert(c->state == CHANNEL_CHECKING);
    if (error_list_is_empty(errors)) {
        set_state(c, CHANNEL_READY);
        return say_ready(c, build_us);
    }
    int status = say_nack(c, errors);
    c->passed_over = c->nonce;
    set_state(c, CHANNEL_IDLE);
    return status;
}

int channel_committed(struct channel *c, struct resource_set *serving, uint64_t switch_us,
                      const char *persist_error) {
    assert(c->state == CHANNEL_SWITCHING);
    resource_set_ref(serving);
    resource_set_unref(c->serving);
    c->serving = serving;
    c->is_from_last_known_good = false;
    set_state(c, c->stream_is_up ? CHANNEL_IDLE : CHANNEL_CLOSED);
    if (!c->stream_is_up)
        return 0;
    return c->owes_hello ? say_hello(c) : say_ack(c, switch_us, persist_error);
}
