/* The protocol of the channel, as a dialogue between a control plane of this file and a data plane without
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/snapshot/channel.h"
#include "dataplane/snapshot/messages.h"
#include "tests/unit/dataplane/snapshot/manifest_set.h"

enum { SENT_MAX = 16 };

/* The data plane behind the channel. */
static struct owner {
    Headgate__DataPlaneMessage *sent[SENT_MAX];
    size_t                      sent_count;
    struct resource_set        *candidate;
    int                         prepares, commits, aborts;
    bool                        answers_at_once;
    char                        refusal[64];
} owner;

static struct channel channel;
static struct error_list faults;

static int on_send(void *o, const uint8_t *message, size_t size) {
    (void)o;
    assert_true(size <= MESSAGE_MAX);
    if (owner.sent_count == SENT_MAX)
        return -1;
    owner.sent[owner.sent_count] = headgate__data_plane_message__unpack(NULL, size, message);
    assert_non_null(owner.sent[owner.sent_count++]);
    return 0;
}

static void on_prepare(void *o, struct resource_set *candidate) {
    struct error_list none = {0};
    (void)o;
    owner.prepares++;
    owner.candidate = resource_set_ref(candidate);
    if (owner.answers_at_once)
        channel_prepared(&channel, &none, 5);
}

static void drop_candidate(void) {
    resource_set_unref(owner.candidate);
    owner.candidate = NULL;
}

static void on_commit(void *o) {
    (void)o;
    owner.commits++;
    if (owner.answers_at_once) {
        channel_committed(&channel, owner.candidate, 11, NULL);
        drop_candidate();
    }
}

static void on_abort(void *o) {
    (void)o;
    owner.aborts++;
    drop_candidate();
}

static void on_refused(void *o, const char *reason) {
    (void)o;
    snprintf(owner.refusal, sizeof owner.refusal, "%s", reason);
}

static void on_observe(void *o, uint64_t asked) {
    Headgate__Observation observation = HEADGATE__OBSERVATION__INIT;
    (void)o;
    observation.has_asked = true;
    observation.asked = asked;
    assert_int_equal(channel_observation(&channel, &observation), 0);
}

static const struct channel_ops ops = {on_send, on_prepare, on_commit, on_abort, on_refused, on_observe};

static int set_up(void **state) {
    (void)state;
    static const struct channel_self self = {
        .node = "n1", .software = "headgate test", .workers = 2, .started_at = 1};
    owner = (struct owner){.answers_at_once = true};
    channel_init(&channel, &ops, &owner, &self);
    return 0;
}

static void forget_sent(void) {
    for (size_t i = 0; i < owner.sent_count; i++)
        headgate__data_plane_message__free_unpacked(owner.sent[i], NULL);
    owner.sent_count = 0;
}

static int tear_down(void **state) {
    (void)state;
    forget_sent();
    channel_finish(&channel);
    drop_candidate();
    error_list_finish(&faults);
    return 0;
}

/* ---- what the control plane says ---- */

static int say(Headgate__ControlPlaneMessage *m) {
    size_t size;
    uint8_t *bytes = pack_control(m, &size);
    int status = channel_receive(&channel, bytes, size, &faults);
    free(bytes);
    return status;
}

static int say_prepare(struct prepare *p) {
    Headgate__ControlPlaneMessage m = HEADGATE__CONTROL_PLANE_MESSAGE__INIT;
    m.message_case = HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_PREPARE;
    m.prepare = &p->m;
    return say(&m);
}

static int say_delta(uint64_t nonce, struct manifest *from, struct manifest *to) {
    static struct prepare p;
    prepare_make(&p, nonce, from, to);
    return say_prepare(&p);
}

static int say_commit(uint64_t nonce) {
    Headgate__ControlPlaneMessage m = HEADGATE__CONTROL_PLANE_MESSAGE__INIT;
    Headgate__Commit commit = HEADGATE__COMMIT__INIT;
    commit.has_nonce = 1;
    commit.nonce = nonce;
    m.message_case = HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_COMMIT;
    m.commit = &commit;
    return say(&m);
}

static int say_abort(uint64_t nonce) {
    Headgate__ControlPlaneMessage m = HEADGATE__CONTROL_PLANE_MESSAGE__INIT;
    Headgate__Abort abort_message = HEADGATE__ABORT__INIT;
    abort_message.has_nonce = 1;
    abort_message.nonce = nonce;
    m.message_case = HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_ABORT;
    m.abort = &abort_message;
    return say(&m);
}

static int say_confirm(const struct snapshot_identity *identity) {
    Headgate__ControlPlaneMessage m = HEADGATE__CONTROL_PLANE_MESSAGE__INIT;
    Headgate__Confirm confirm = HEADGATE__CONFIRM__INIT;
    struct snapshot_identity copy = *identity;
    Headgate__SnapshotId id = snapshot_identity_message(&copy);
    confirm.id = &id;
    m.message_case = HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_CONFIRM;
    m.confirm = &confirm;
    return say(&m);
}

static int say_observe(uint64_t asked) {
    Headgate__ControlPlaneMessage m = HEADGATE__CONTROL_PLANE_MESSAGE__INIT;
    Headgate__Observe observe = HEADGATE__OBSERVE__INIT;
    observe.has_asked = true;
    observe.asked = asked;
    m.message_case = HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_OBSERVE;
    m.observe = &observe;
    return say(&m);
}

static void commit_manifest(uint64_t nonce, struct manifest *from, struct manifest *to) {
    assert_int_equal(say_delta(nonce, from, to), 0);
    assert_int_equal(say_commit(nonce), 0);
    assert_int_equal(channel.state, CHANNEL_IDLE);
    forget_sent();
}

/* ---- what it hears ---- */

static const Headgate__DataPlaneMessage *last_sent(void) {
    assert_true(owner.sent_count > 0);
    return owner.sent[owner.sent_count - 1];
}

static const Headgate__Nack *expect_nack(uint64_t nonce) {
    const Headgate__DataPlaneMessage *m = last_sent();
    assert_int_equal(m->message_case, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_NACK);
    assert_int_equal(m->nack->nonce, nonce);
    assert_true(m->nack->n_reasons > 0);
    assert_int_equal(channel.state, CHANNEL_IDLE);
    assert_int_equal(owner.prepares, 0);
    return m->nack;
}

static void expect_ready(uint64_t nonce) {
    assert_int_equal(last_sent()->message_case, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_READY);
    assert_int_equal(last_sent()->ready->nonce, nonce);
}

static void expect_fault(int status) {
    assert_int_equal(status, -1);
    assert_true(faults.count > 0);
}

/* Two clusters with endpoints. */
static void make_first(struct manifest *m) {
    *m = (struct manifest){0};
    made_cluster(m, "a", 1);
    made_cluster(m, "b", 2);
    made_endpoint(&m->intent, "a", "127.0.0.1:1");
    made_endpoint(&m->state, "a", "127.0.0.1:1");
    manifest_seal(m, 1, 1);
}

/* ---- the good ways ---- */

static void hello_without_a_snapshot(void **state) {
    (void)state;
    assert_int_equal(channel_open(&channel), 0);
    const Headgate__Hello *h = last_sent()->hello;
    assert_int_equal(last_sent()->message_case, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_HELLO);
    assert_int_equal(h->schema_level, SCHEMA_LEVEL);
    assert_string_equal(h->node, "n1");
    assert_null(h->serving);
    assert_false(h->more);
}

static void prepare_ready_commit_ack(void **state) {
    (void)state;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    expect_ready(1);
    assert_int_equal(last_sent()->ready->build_us, 5);
    assert_null(channel.serving);
    assert_int_equal(say_commit(1), 0);
    assert_int_equal(last_sent()->message_case, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_ACK);
    assert_int_equal(last_sent()->ack->switch_us, 11);
    assert_int_equal(channel.serving->intent.count, 3);
    assert_int_equal(channel.serving->state.count, 1);
    assert_int_equal(channel.serving->id.version, 1);
}

/* What did not change is the very same resource; what is in both parts is one. */
static void unchanged_resources_are_shared(void **state) {
    (void)state;
    struct manifest first, second;
    make_first(&first);
    second = first;
    made_cluster(&second, "b", 3);
    made_cluster(&second, "c", 1); /* same bytes as a */
    manifest_seal(&second, 2, 1);
    channel_open(&channel);
    commit_manifest(1, NULL, &first);
    const struct resource *a = resource_part_find(&channel.serving->intent, HEADGATE__KIND__KIND_CLUSTER,
                                                  "a");
    assert_ptr_equal(resource_part_find(&channel.serving->intent, HEADGATE__KIND__KIND_ENDPOINT_SET, "a"),
                     resource_part_find(&channel.serving->state, HEADGATE__KIND__KIND_ENDPOINT_SET, "a"));
    commit_manifest(2, &first, &second);
    assert_ptr_equal(a, resource_part_find(&channel.serving->intent, HEADGATE__KIND__KIND_CLUSTER, "a"));
    const struct resource *b = resource_set_find(channel.serving, HEADGATE__KIND__KIND_CLUSTER, "b");
    assert_int_equal(((const Headgate__Cluster *)b->message)->idle_connections, 3);
    assert_int_equal(resource_part_of_kind(&channel.serving->intent, HEADGATE__KIND__KIND_CLUSTER).count, 3);
    assert_int_equal(resource_part_of_kind(&channel.serving->intent, HEADGATE__KIND__KIND_LISTENER).count, 0);
}

static void body_that_is_held_is_not_sent_again(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first, second;
    make_first(&first);
    second = first;
    made_cluster(&second, "c", 1);
    manifest_seal(&second, 2, 1);
    channel_open(&channel);
    commit_manifest(1, NULL, &first);
    prepare_make(&p, 2, &first, &second);
    p.m.n_bodies = 0;
    assert_int_equal(say_prepare(&p), 0);
    expect_ready(2);
    const struct resource *a = resource_set_find(owner.candidate, HEADGATE__KIND__KIND_CLUSTER, "a");
    const struct resource *c = resource_set_find(owner.candidate, HEADGATE__KIND__KIND_CLUSTER, "c");
    assert_ptr_equal(a->body, c->body);
}

static void resources_are_removed(void **state) {
    (void)state;
    struct manifest first, second;
    make_first(&first);
    second = first;
    made_remove(&second.intent, HEADGATE__KIND__KIND_CLUSTER, "b");
    made_remove(&second.state, HEADGATE__KIND__KIND_ENDPOINT_SET, "a");
    manifest_seal(&second, 2, 2);
    channel_open(&channel);
    commit_manifest(1, NULL, &first);
    commit_manifest(2, &first, &second);
    assert_null(resource_set_find(channel.serving, HEADGATE__KIND__KIND_CLUSTER, "b"));
    assert_non_null(resource_set_find(channel.serving, HEADGATE__KIND__KIND_ENDPOINT_SET, "a"));
    assert_int_equal(channel.serving->state.count, 0);
}

/* One entry or one body a message, bodies cut into pieces of a byte. */
static void transfer_in_many_parts(void **state) {
    (void)state;
    static struct prepare whole;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&whole, 1, NULL, &first);
    struct prepare part = {.m = HEADGATE__PREPARE__INIT};
    part.m.has_nonce = 1;
    part.m.nonce = 1;
    part.m.id = &whole.id;
    part.m.upsert_state = whole.lists[2];
    part.m.n_upsert_state = whole.m.n_upsert_state;
    assert_int_equal(say_prepare(&part), 0);
    part.m.id = NULL;
    part.m.n_upsert_state = 0;
    for (size_t i = 0; i < whole.m.n_upsert_intent; i++) {
        part.m.upsert_intent = &whole.lists[0][i];
        part.m.n_upsert_intent = 1;
        assert_int_equal(say_prepare(&part), 0);
    }
    part.m.n_upsert_intent = 0;
    for (size_t i = 0; i < whole.m.n_bodies; i++) {
        Headgate__Body piece = *whole.body_list[i], *pieces[] = {&piece};
        size_t size = piece.bytes.len;
        part.m.bodies = pieces;
        part.m.n_bodies = 1;
        for (size_t k = 0; k < size; k++) {
            piece.bytes = (ProtobufCBinaryData){1, whole.body_list[i]->bytes.data + k};
            piece.has_more = piece.more = k + 1 < size;
            assert_int_equal(say_prepare(&part), 0);
        }
    }
    assert_int_equal(owner.prepares, 0);
    part.m.n_bodies = 0;
    part.m.has_last = part.m.last = 1;
    assert_int_equal(say_prepare(&part), 0);
    expect_ready(1);
}

static void dry_run_ends_with_abort(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&p, 1, NULL, &first);
    p.m.has_dry_run = p.m.dry_run = 1;
    assert_int_equal(say_prepare(&p), 0);
    expect_ready(1);
    assert_int_equal(say_abort(1), 0);
    assert_int_equal(owner.aborts, 1);
    assert_int_equal(say_delta(2, NULL, &first), 0);
    expect_ready(2);
}

static void hello_names_what_is_held(void **state) {
    (void)state;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    commit_manifest(1, NULL, &first);
    channel_close(&channel);
    assert_int_equal(channel_open(&channel), 0);
    const Headgate__Hello *h = last_sent()->hello;
    assert_int_equal(h->serving->version, 1);
    assert_int_equal(h->n_intent, 3);
    assert_int_equal(h->n_state, 1);
    assert_string_equal(h->intent[1]->name, "b");
    assert_false(h->from_last_known_good);
}

/* ---- what came from the last-known-good copy ---- */

static struct resource_set *boot_from_copy(void) {
    struct manifest first;
    make_first(&first);
    struct resource_set *set = manifest_set(&first);
    channel_set_serving(&channel, set);
    assert_int_equal(channel_open(&channel), 0);
    assert_true(last_sent()->hello->from_last_known_good);
    assert_true(last_sent()->hello->takes_confirm);
    return set;
}

static void observe_is_answered_in_every_state(void **state) {
    struct manifest none = {0}, first;
    (void)state;
    make_first(&first);
    assert_int_equal(channel_open(&channel), 0);
    assert_true(last_sent()->hello->takes_observe);
    for (uint64_t asked = 7; asked < 9; asked++) {
        assert_int_equal(say_observe(asked), 0);
        assert_int_equal(last_sent()->message_case, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_OBSERVATION);
        assert_int_equal(last_sent()->observation->asked, asked);
        if (asked == 7)
            assert_int_equal(say_delta(1, &none, &first), 0);
    }
    assert_int_not_equal(channel.state, CHANNEL_IDLE); /* the transfer goes on */
}

static void confirm_makes_the_copy_as_good_as_a_commit(void **state) {
    (void)state;
    struct resource_set *set = boot_from_copy();
    assert_true(channel.is_from_last_known_good);
    assert_int_equal(say_confirm(&set->id), 0);
    assert_false(channel.is_from_last_known_good);
    assert_int_equal(channel.state, CHANNEL_IDLE);
    channel_close(&channel);
    assert_int_equal(channel_open(&channel), 0);
    assert_false(last_sent()->hello->from_last_known_good);
    resource_set_unref(set);
}

static void confirm_of_something_else_is_a_fault(void **state) {
    (void)state;
    struct resource_set *set = boot_from_copy();
    struct snapshot_identity other = set->id;
    other.intent_hash.bytes[0] ^= 1;
    expect_fault(say_confirm(&other));
    assert_true(channel.is_from_last_known_good);
    resource_set_unref(set);
}

static void confirm_of_nothing_is_a_fault(void **state) {
    (void)state;
    struct snapshot_identity any = {.version = 1};
    assert_int_equal(channel_open(&channel), 0);
    expect_fault(say_confirm(&any));
}

/* ---- what is refused ---- */

static void body_that_is_missing_is_named(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&p, 1, NULL, &first);
    p.m.n_bodies = 0;
    assert_int_equal(say_prepare(&p), 0);
    const Headgate__Nack *nack = expect_nack(1);
    assert_int_equal(nack->n_reasons, 4);
    assert_int_equal(nack->reasons[1]->kind, HEADGATE__KIND__KIND_CLUSTER);
    assert_string_equal(nack->reasons[1]->name, "b");
    assert_string_equal(nack->reasons[1]->code, "missing");
}

static void body_with_another_hash_is_refused(void **state) {
    (void)state;
    struct manifest first;
    make_first(&first);
    first.intent.items[0].bytes[1] ^= 1;
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    assert_string_equal(expect_nack(1)->reasons[0]->code, "integrity");
}

static void announced_hashes_are_checked(void **state) {
    (void)state;
    struct manifest first;
    for (int part = 0; part < 2; part++) {
        make_first(&first);
        (part ? &first.state_hash : &first.intent_hash)->bytes[9] ^= 1;
        channel_open(&channel);
        assert_int_equal(say_delta(1, NULL, &first), 0);
        assert_string_equal(expect_nack(1)->reasons[0]->code, "integrity");
        channel_close(&channel);
    }
}

static void unknown_kind_is_refused_by_name(void **state) {
    (void)state;
    struct manifest first;
    make_first(&first);
    first.intent.items[0].kind = (Headgate__Kind)99;
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    assert_string_equal(expect_nack(1)->reasons[0]->name, "kind 99/a");
    assert_string_equal(expect_nack(1)->reasons[0]->code, "unsupported");
}

static void unknown_field_of_a_resource_is_refused_by_number(void **state) {
    (void)state;
    static const uint8_t field_900[] = {0xa0, 0x38, 1};
    struct manifest first;
    make_first(&first);
    struct made *a = &first.intent.items[0];
    memcpy(a->bytes + a->size, field_900, sizeof field_900);
    a->size += sizeof field_900;
    resource_id_of(a->bytes, a->size, &a->id);
    manifest_seal(&first, 1, 1);
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    const Headgate__Nack *nack = expect_nack(1);
    assert_string_equal(nack->reasons[0]->name, "a");
    assert_non_null(strstr(nack->reasons[0]->message, "900"));
}

static void entry_that_stands_twice_is_refused(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&p, 1, NULL, &first);
    p.m.upsert_intent[1] = p.m.upsert_intent[0];
    assert_int_equal(say_prepare(&p), 0);
    assert_string_equal(expect_nack(1)->reasons[0]->code, "conflict");
}

static void removal_of_what_is_not_there_is_refused(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&p, 1, NULL, &first);
    p.m.remove_intent = p.m.upsert_intent;
    p.m.n_remove_intent = 1;
    assert_int_equal(say_prepare(&p), 0);
    assert_string_equal(expect_nack(1)->reasons[0]->code, "conflict");
}

static void body_in_pieces_must_be_completed(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&p, 1, NULL, &first);
    p.bodies[0].has_more = p.bodies[0].more = 1; /* and then comes another id */
    assert_int_equal(say_prepare(&p), 0);
    expect_nack(1);
    prepare_make(&p, 2, NULL, &first);
    p.bodies[p.m.n_bodies - 1].has_more = p.bodies[p.m.n_bodies - 1].more = 1;
    assert_int_equal(say_prepare(&p), 0);
    expect_nack(2);
}

static void identity_must_be_whole(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&p, 1, NULL, &first);
    p.m.id = NULL;
    assert_int_equal(say_prepare(&p), 0);
    expect_nack(1);
    prepare_make(&p, 2, NULL, &first);
    p.id.lineage.len = 3;
    assert_int_equal(say_prepare(&p), 0);
    assert_string_equal(expect_nack(2)->reasons[0]->path, "id.lineage");
}

/* The rest of a refused transfer is passed over; the next nonce begins a new one. */
static void rest_of_a_refused_transfer_is_passed_over(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&p, 1, NULL, &first);
    p.m.last = 0;
    p.m.bodies[0]->bytes.len--;
    assert_int_equal(say_prepare(&p), 0);
    expect_nack(1);
    size_t sent = owner.sent_count;
    assert_int_equal(say_prepare(&p), 0);
    assert_int_equal(say_abort(1), 0);
    assert_int_equal(owner.sent_count, sent);
    assert_int_equal(owner.aborts, 0);
    assert_int_equal(say_delta(2, NULL, &first), 0);
    expect_ready(2);
}

static void owners_errors_become_reasons(void **state) {
    (void)state;
    struct manifest first;
    struct error_list errors = {0};
    owner.answers_at_once = false;
    make_first(&first);
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    assert_int_equal(channel.state, CHANNEL_CHECKING);
    struct error *e = error_addf(&errors, ERROR_ADDRESS_IN_USE, "127.0.0.1:80 is in use");
    error_set_resource(&errors, e, "listener/web", "addresses[0]");
    assert_int_equal(channel_prepared(&channel, &errors, 1), 0);
    owner.prepares = 0;
    const Headgate__Reason *reason = expect_nack(1)->reasons[0];
    assert_int_equal(reason->kind, HEADGATE__KIND__KIND_LISTENER);
    assert_string_equal(reason->name, "web");
    assert_string_equal(reason->path, "addresses[0]");
    assert_string_equal(reason->code, "address-in-use");
    error_list_finish(&errors);
}

/* ---- breaks and faults ---- */

static void break_while_receiving_changes_nothing(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    prepare_make(&p, 1, NULL, &first);
    p.m.last = 0;
    assert_int_equal(say_prepare(&p), 0);
    assert_int_equal(channel.state, CHANNEL_RECEIVING);
    channel_close(&channel);
    assert_int_equal(owner.aborts, 0);
    channel_open(&channel);
    commit_manifest(1, NULL, &first); /* nonces are of a stream */
}

static void break_while_ready_aborts(void **state) {
    (void)state;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    channel_close(&channel);
    assert_int_equal(owner.aborts, 1);
    assert_null(channel.serving);
}

static void break_while_switching_goes_on_and_the_next_hello_says_so(void **state) {
    (void)state;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    owner.answers_at_once = false;
    assert_int_equal(say_commit(1), 0);
    channel_close(&channel);
    assert_int_equal(owner.aborts, 0);
    forget_sent();
    assert_int_equal(channel_open(&channel), 0);
    assert_int_equal(owner.sent_count, 0); /* not before it is known what we serve */
    assert_int_equal(channel_committed(&channel, owner.candidate, 1, NULL), 0);
    assert_int_equal(owner.sent_count, 1);
    assert_int_equal(last_sent()->hello->serving->version, 1);
    assert_int_equal(channel.state, CHANNEL_IDLE);
}

static void new_nonce_aborts_what_is_open(void **state) {
    (void)state;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    assert_int_equal(say_delta(2, NULL, &first), 0);
    assert_int_equal(owner.aborts, 1);
    expect_ready(2);
    expect_fault(say_commit(1));
}

static void commit_out_of_turn_is_a_fault(void **state) {
    (void)state;
    static struct prepare p;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    expect_fault(say_commit(1));
    prepare_make(&p, 1, NULL, &first);
    p.m.has_dry_run = p.m.dry_run = 1;
    assert_int_equal(say_prepare(&p), 0);
    expect_fault(say_commit(1)); /* of a dry run */
    assert_int_equal(owner.commits, 0);
}

static void anything_while_switching_is_a_fault(void **state) {
    (void)state;
    struct manifest first;
    make_first(&first);
    channel_open(&channel);
    assert_int_equal(say_delta(1, NULL, &first), 0);
    owner.answers_at_once = false;
    assert_int_equal(say_commit(1), 0);
    expect_fault(say_commit(1));
    expect_fault(say_abort(1));
    expect_fault(say_delta(2, NULL, &first));
}

static void malformed_messages_are_faults(void **state) {
    (void)state;
    static const uint8_t garbage[] = {0x0a, 0xff, 0xff}, field_9[] = {0x4a, 0x00};
    channel_open(&channel);
    expect_fault(channel_receive(&channel, garbage, sizeof garbage, &faults));
    expect_fault(channel_receive(&channel, NULL, 0, &faults));
    error_list_finish(&faults);
    expect_fault(channel_receive(&channel, field_9, sizeof field_9, &faults));
    assert_non_null(strstr(faults.items[0].message, "unknown field number 9"));
}

static void refusal_is_told(void **state) {
    (void)state;
    Headgate__ControlPlaneMessage m = HEADGATE__CONTROL_PLANE_MESSAGE__INIT;
    Headgate__Refuse refuse = HEADGATE__REFUSE__INIT;
    channel_open(&channel);
    refuse.reason = (char *)"node name in use";
    m.message_case = HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_REFUSE;
    m.refuse = &refuse;
    assert_int_equal(say(&m), 0);
    assert_string_equal(owner.refusal, "node name in use");
}

static void report_is_silent_before_hello(void **state) {
    (void)state;
    Headgate__Report report = HEADGATE__REPORT__INIT;
    assert_int_equal(channel_report(&channel, &report), 0);
    assert_int_equal(owner.sent_count, 0);
    channel_open(&channel);
    assert_int_equal(channel_report(&channel, &report), 0);
    assert_int_equal(last_sent()->message_case, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_REPORT);
}

/* Fails every allocation of a whole transfer in turn. Whatever fails, nothing leaks, what is served is the
 * old or the new snapshot, and a fresh stream brings the new one in. */
static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    struct manifest first, second;
    make_first(&first);
    second = first;
    made_cluster(&second, "c", 9);
    manifest_seal(&second, 2, 1);
    bool has_failed = true;
    for (long nth = 0; has_failed; nth++) {
        tear_down(NULL);
        set_up(NULL);
        channel_open(&channel);
        commit_manifest(1, NULL, &first);
        owner.prepares = 0;
        uint64_t before = hg_alloc_count();
        hg_alloc_fail_at(nth, 0);
        bool is_ready = say_delta(2, &first, &second) == 0 && owner.prepares == 1 &&
                        channel.state == CHANNEL_READY;
        bool is_done = is_ready && say_commit(2) == 0;
        hg_alloc_fail_at(-1, 0);
        has_failed = hg_alloc_count() - before > (uint64_t)nth;
        assert_int_equal(channel.serving->id.version, is_done ? 2 : 1);
        assert_true(is_done || has_failed);
        channel_close(&channel);
        forget_sent();
        assert_int_equal(channel_open(&channel), 0);
        forget_sent();
        if (!is_done)
            commit_manifest(1, &first, &second);
        assert_int_equal(channel.serving->id.version, 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hello_without_a_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(prepare_ready_commit_ack, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unchanged_resources_are_shared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(body_that_is_held_is_not_sent_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(resources_are_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(transfer_in_many_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dry_run_ends_with_abort, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hello_names_what_is_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(observe_is_answered_in_every_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(confirm_makes_the_copy_as_good_as_a_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(confirm_of_something_else_is_a_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(confirm_of_nothing_is_a_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(body_that_is_missing_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(body_with_another_hash_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(announced_hashes_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_kind_is_refused_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_field_of_a_resource_is_refused_by_number, set_up, tear_down),
        cmocka_unit_test_setup_teardown(entry_that_stands_twice_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(removal_of_what_is_not_there_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(body_in_pieces_must_be_completed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(identity_must_be_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rest_of_a_refused_transfer_is_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(owners_errors_become_reasons, set_up, tear_down),
        cmocka_unit_test_setup_teardown(break_while_receiving_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(break_while_ready_aborts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(break_while_switching_goes_on_and_the_next_hello_says_so, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(new_nonce_aborts_what_is_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(commit_out_of_turn_is_a_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(anything_while_switching_is_a_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(malformed_messages_are_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusal_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(report_is_silent_before_hello, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_failed_in_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
