/* The channel's state machine: scripted data planes, a virtual clock, no sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/channel/channel_internal.h"
#include "tests/unit/controlplane/channel/script.h"

enum { SECOND = 1000000, NODES = 3 };

struct fixture {
    struct channel *channel;
    struct script nodes[NODES];
    uint64_t now;
    bool store_fails;
    int ready_calls, done_calls;
    enum push_outcome outcome;
    char reason[256];
    size_t participants;
    struct {
        char node[32], text[256], path[64];
        enum participant_state state;
        uint64_t sent_bytes;
    } results[NODES];
    struct snapshot *again; /* pushed from inside push_done */
};

static void on_push_ready(void *context) {
    struct fixture *f = context;
    f->ready_calls++;
    if (f->store_fails)
        channel_push_abort(f->channel, "the disk is full");
    else
        channel_push_commit(f->channel);
}

static void keep_result(struct fixture *f, size_t i, const struct push_participant *p) {
    snprintf(f->results[i].node, sizeof f->results[i].node, "%s", p->node);
    f->results[i].state = p->state;
    f->results[i].sent_bytes = p->sent_bytes;
    if (p->nack) {
        snprintf(f->results[i].text, sizeof f->results[i].text, "%s", p->nack->reasons[0]->message);
        snprintf(f->results[i].path, sizeof f->results[i].path, "%s", p->nack->reasons[0]->path);
    }
    if (p->lost_reason)
        snprintf(f->results[i].text, sizeof f->results[i].text, "%s", p->lost_reason);
}

static void on_push_done(void *context, const struct push_result *result) {
    struct fixture *f = context;
    f->done_calls++;
    f->outcome = result->outcome;
    f->participants = result->count;
    snprintf(f->reason, sizeof f->reason, "%s", result->reason ? result->reason : "");
    for (size_t i = 0; i < result->count; i++)
        keep_result(f, i, &result->participants[i]);
    if (f->again) {
        struct snapshot *next = f->again;
        f->again = NULL;
        assert_int_equal(channel_push(f->channel, next, false), 0);
        snapshot_unref(next);
    }
}

/* Only "b" has no right to its name. */
static bool may_be_called(void *stream_owner, const char *node, char reason[CHANNEL_REASON_SIZE]) {
    assert_non_null(stream_owner);
    snprintf(reason, CHANNEL_REASON_SIZE, "%s is somebody else", node);
    return strcmp(node, "b") != 0;
}

static const struct channel_events events = {script_on_wake, script_on_end, on_push_ready, on_push_done, NULL},
                                   strict_events = {script_on_wake, script_on_end, on_push_ready, on_push_done,
                                                    may_be_called};

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    f->channel = channel_create(&channel_config_default, &events, f);
    f->now = 1000 * SECOND;
    channel_advance(f->channel, f->now);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < NODES; i++) {
        assert_false(f->nodes[i].is_broken);
        script_disconnect(&f->nodes[i]);
        script_finish(&f->nodes[i]);
    }
    channel_destroy(f->channel);
    test_free(f);
    return 0;
}

static void pass(struct fixture *f, uint64_t us) {
    f->now += us;
    channel_advance(f->channel, f->now);
}

static void set_current(struct fixture *f, struct snapshot *s) {
    channel_set_current(f->channel, s);
    snapshot_unref(s);
}

static void connect_node(struct fixture *f, int i) {
    static const char *const names[NODES] = {"a", "b", "c"};
    script_connect(&f->nodes[i], f->channel);
    assert_non_null(f->nodes[i].stream);
    script_hello(&f->nodes[i], names[i], 1, SCHEMA_LEVEL);
}

/* Answers what is open until the node has the current snapshot. */
static void settle(struct script *s) {
    script_pull(s);
    script_ready(s, s->nonce);
    script_pull(s);
    script_ack(s, s->nonce);
    script_pull(s);
}

/* Nodes 0 .. count-1, connected and in sync with version 1. */
static void start_in_sync(struct fixture *f, int count) {
    set_current(f, script_snapshot(1, 0, 10, 1, NULL));
    for (int i = 0; i < count; i++) {
        connect_node(f, i);
        settle(&f->nodes[i]);
        assert_int_equal(channel_health(f->channel, f->nodes[i].stream), DATA_PLANE_IN_SYNC);
    }
}

static void push(struct fixture *f, uint64_t version, unsigned salt, bool is_dry_run) {
    struct snapshot *s = script_snapshot(version, 0, 10, salt, channel_current(f->channel));
    assert_int_equal(channel_push(f->channel, s, is_dry_run), 0);
    snapshot_unref(s);
}

/* ---- bringing one data plane to the current snapshot ---- */

static void nothing_is_sent_without_intent(void **state) {
    struct fixture *f = *state;
    connect_node(f, 0);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].prepares, 0);
    assert_int_equal(channel_next_deadline(f->channel), UINT64_MAX);
}

static void newcomer_gets_the_current_snapshot(void **state) {
    struct fixture *f = *state;
    set_current(f, script_snapshot(1, 0, 10, 1, NULL));
    connect_node(f, 0);
    struct script *s = &f->nodes[0];
    assert_true(s->is_woken);
    script_pull(s);
    assert_int_equal(s->prepares, 1);
    assert_true(s->is_last);
    assert_int_equal(channel_health(f->channel, s->stream), DATA_PLANE_BEHIND);
    script_ready(s, s->nonce);
    script_pull(s);
    assert_int_equal(s->commits, 1);
    script_ack(s, s->nonce);
    assert_int_equal(channel_health(f->channel, s->stream), DATA_PLANE_IN_SYNC);
    assert_int_equal(channel_counters(f->channel)->acks, 1);
}

static void reconnecting_with_the_same_costs_nothing(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    script_disconnect(&f->nodes[0]);
    connect_node(f, 0);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].prepares, 1);
}

/* ---- who may have which name ---- */

static void name_of_another_is_refused(void **state) {
    struct fixture *f = *state;
    channel_destroy(f->channel);
    f->channel = channel_create(&channel_config_default, &strict_events, f);
    channel_advance(f->channel, f->now);
    start_in_sync(f, 1);
    connect_node(f, 1);
    script_pull(&f->nodes[1]);
    assert_string_equal(f->nodes[1].refused, "b is somebody else");
    assert_string_equal(f->nodes[1].ended, "b is somebody else");
    assert_int_equal(f->nodes[1].prepares, 0);
    assert_int_equal(channel_counters(f->channel)->refusals, 1);
}

/* It must not be able to end the stream of the one whose name it takes, either. */
static void name_of_another_ends_no_stream(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 2);
    f->channel->events.may_be_called = may_be_called;
    script_connect(&f->nodes[2], f->channel);
    script_hello(&f->nodes[2], "b", 1, SCHEMA_LEVEL); /* claims to be the same process */
    assert_string_equal(f->nodes[1].ended, "");
    assert_int_equal(f->nodes[1].stream->state, DATA_PLANE_IDLE);
    assert_string_equal(f->nodes[2].ended, "b is somebody else");
}

/* ---- nodes that went away ---- */

static void node_that_went_is_remembered_until_it_is_back(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 2);
    assert_null(channel_away(f->channel));
    uint64_t seen = f->now;
    pass(f, 5 * SECOND);
    script_disconnect(&f->nodes[0]);
    const struct away_node *a = channel_away(f->channel);
    assert_non_null(a);
    assert_string_equal(a->node, "a");
    assert_string_equal(a->software, "script");
    assert_int_equal(a->version, 1);
    assert_int_equal(a->seen_at, seen);
    pass(f, SECOND);
    script_disconnect(&f->nodes[1]);
    assert_string_equal(channel_away(f->channel)->node, "b"); /* the last to go first */
    assert_string_equal(channel_away(f->channel)->next->node, "a");
    connect_node(f, 0);
    assert_string_equal(channel_away(f->channel)->node, "b");
    assert_null(channel_away(f->channel)->next);
}

static void node_whose_stream_was_replaced_is_not_away(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    script_connect(&f->nodes[1], f->channel);
    script_hello(&f->nodes[1], "a", 1, SCHEMA_LEVEL);
    script_disconnect(&f->nodes[0]); /* after the new stream has greeted */
    assert_null(channel_away(f->channel));
    script_disconnect(&f->nodes[1]);
    assert_string_equal(channel_away(f->channel)->node, "a");
    assert_null(channel_away(f->channel)->next);
}

static void stream_without_hello_is_not_remembered(void **state) {
    struct fixture *f = *state;
    script_connect(&f->nodes[0], f->channel);
    script_disconnect(&f->nodes[0]);
    assert_null(channel_away(f->channel));
}

static void so_many_nodes_are_remembered(void **state) {
    struct fixture *f = *state;
    char name[32];
    for (int i = 0; i < CHANNEL_AWAY_MAX + 3; i++) {
        snprintf(name, sizeof name, "node-%d", i);
        pass(f, SECOND);
        script_connect(&f->nodes[0], f->channel);
        script_hello(&f->nodes[0], name, 1, SCHEMA_LEVEL);
        script_disconnect(&f->nodes[0]);
    }
    size_t count = 0;
    for (const struct away_node *a = channel_away(f->channel); a; a = a->next, count++)
        assert_string_not_equal(a->node, "node-2");
    assert_int_equal(count, CHANNEL_AWAY_MAX);
    assert_string_equal(channel_away(f->channel)->node, name);
}

/* ---- who serves its last-known-good copy ---- */

static void reboot(struct fixture *f, bool takes_confirm) {
    script_disconnect(&f->nodes[0]);
    f->nodes[0].is_from_copy = true;
    f->nodes[0].takes_confirm = takes_confirm;
    connect_node(f, 0);
}

static void copy_that_is_current_is_confirmed_once(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    reboot(f, true);
    assert_true(f->nodes[0].is_woken);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].confirms, 1);
    channel_set_current(f->channel, channel_current(f->channel));
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].confirms, 1);
    assert_int_equal(f->nodes[0].prepares, 1);
    push(f, 2, 2, false);
    settle(&f->nodes[0]);
    assert_int_equal(f->nodes[0].version, 2);
}

static void older_data_plane_hears_no_confirm(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    reboot(f, false);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].confirms, 0);
}

static void copy_that_is_old_is_replaced_and_not_confirmed(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    script_disconnect(&f->nodes[0]);
    set_current(f, script_snapshot(2, 0, 10, 2, NULL));
    reboot(f, true);
    settle(&f->nodes[0]);
    assert_int_equal(f->nodes[0].version, 2);
    assert_int_equal(f->nodes[0].confirms, 0);
}

/* The control plane goes to what the data plane has, and not the other way round. */
static void copy_is_confirmed_when_it_becomes_current(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    struct snapshot *first = snapshot_ref(channel_current(f->channel));
    channel_set_current(f->channel, NULL);
    reboot(f, true);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].confirms, 0);
    set_current(f, first);
    assert_true(f->nodes[0].is_woken);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].confirms, 1);
}

static void reconnecting_with_an_older_version_gets_the_difference(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    script_disconnect(&f->nodes[0]);
    set_current(f, script_snapshot(2, 0, 10, 2, NULL));
    connect_node(f, 0);
    settle(&f->nodes[0]);
    assert_int_equal(f->nodes[0].version, 2);
    assert_int_equal(f->nodes[0].body_count, 12);
}

static void a_newer_version_of_the_lineage_is_brought_back(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    script_disconnect(&f->nodes[0]);
    f->nodes[0].version = 9;
    connect_node(f, 0);
    settle(&f->nodes[0]);
    assert_int_equal(f->nodes[0].version, 1);
    assert_int_equal(f->nodes[0].prepares, 2);
    assert_int_equal(f->nodes[0].body_count, 10); /* the bodies are the same */
}

static void another_lineage_is_brought_to_ours(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    script_disconnect(&f->nodes[0]);
    f->nodes[0].lineage[0] ^= 1;
    connect_node(f, 0);
    settle(&f->nodes[0]);
    assert_int_equal(f->nodes[0].prepares, 2);
    assert_int_equal(channel_health(f->channel, f->nodes[0].stream), DATA_PLANE_IN_SYNC);
}

static void a_newer_current_replaces_an_open_transfer(void **state) {
    struct fixture *f = *state;
    set_current(f, script_snapshot(1, 0, 10, 1, NULL));
    connect_node(f, 0);
    struct script *s = &f->nodes[0];
    script_pull(s);
    uint64_t old = s->nonce;
    set_current(f, script_snapshot(2, 0, 10, 2, NULL));
    script_ready(s, old); /* crosses the new Prepare */
    settle(s);
    assert_int_equal(s->version, 2);
    assert_int_equal(s->commits, 1);
}

static void a_new_generation_waits_for_the_commit(void **state) {
    struct fixture *f = *state;
    set_current(f, script_snapshot(1, 1, 10, 1, NULL));
    connect_node(f, 0);
    struct script *s = &f->nodes[0];
    script_pull(s);
    script_ready(s, s->nonce);
    script_pull(s);
    set_current(f, script_snapshot(1, 2, 10, 1, NULL));
    script_pull(s);
    assert_int_equal(s->transfers, 1);
    script_ack(s, s->nonce);
    settle(s);
    assert_int_equal(s->generation, 2);
    assert_int_equal(channel_health(f->channel, s->stream), DATA_PLANE_IN_SYNC);
}

static void a_nack_is_not_answered_with_the_same_again(void **state) {
    struct fixture *f = *state;
    set_current(f, script_snapshot(1, 1, 10, 1, NULL));
    connect_node(f, 0);
    struct script *s = &f->nodes[0];
    script_pull(s);
    script_nack(s, s->nonce, "port is taken");
    script_pull(s);
    assert_int_equal(s->transfers, 1);
    assert_int_equal(channel_health(f->channel, s->stream), DATA_PLANE_NACKED);
    assert_string_equal(s->stream->nack->reasons[0]->message, "port is taken");
    set_current(f, script_snapshot(1, 2, 10, 1, NULL)); /* a health flip right behind */
    script_pull(s);
    assert_int_equal(s->transfers, 1);
    set_current(f, script_snapshot(2, 2, 10, 2, NULL));
    settle(s);
    assert_int_equal(s->version, 2);
    assert_null(s->stream->nack);
}

static void a_node_that_dies_of_a_snapshot_is_spared(void **state) {
    struct fixture *f = *state;
    set_current(f, script_snapshot(1, 0, 10, 1, NULL));
    for (int i = 0; i < CHANNEL_LOSSES_MAX; i++) {
        connect_node(f, 0);
        script_pull(&f->nodes[0]);
        script_disconnect(&f->nodes[0]);
    }
    unsigned transfers = f->nodes[0].transfers;
    connect_node(f, 0);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].transfers, transfers);
    assert_int_equal(channel_health(f->channel, f->nodes[0].stream), DATA_PLANE_NACKED);
    set_current(f, script_snapshot(2, 0, 10, 2, NULL));
    settle(&f->nodes[0]);
    assert_int_equal(f->nodes[0].version, 2);
}

/* ---- who is let in ---- */

static void too_low_a_schema_level_is_refused(void **state) {
    struct fixture *f = *state;
    script_connect(&f->nodes[0], f->channel);
    script_hello(&f->nodes[0], "a", 1, SCHEMA_LEVEL - 1);
    script_pull(&f->nodes[0]);
    assert_non_null(strstr(f->nodes[0].refused, "schema level"));
    assert_false(f->nodes[0].is_ended_at_once);
}

static void a_name_in_use_is_refused(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    script_connect(&f->nodes[1], f->channel);
    script_hello(&f->nodes[1], "a", 2, SCHEMA_LEVEL);
    script_pull(&f->nodes[1]);
    assert_non_null(strstr(f->nodes[1].refused, "in use by a live stream"));
    assert_string_equal(f->nodes[0].ended, "");
}

static void a_silent_stream_gives_its_name_away(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    pass(f, 16 * SECOND);
    script_connect(&f->nodes[1], f->channel);
    script_hello(&f->nodes[1], "a", 2, SCHEMA_LEVEL);
    assert_string_equal(f->nodes[1].refused, "");
    assert_non_null(strstr(f->nodes[0].ended, "replaced"));
    settle(&f->nodes[1]);
    assert_int_equal(f->nodes[1].version, 1);
}

static void the_same_process_may_come_back(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    script_connect(&f->nodes[1], f->channel);
    script_hello(&f->nodes[1], "a", 1, SCHEMA_LEVEL);
    assert_non_null(strstr(f->nodes[0].ended, "replaced"));
    assert_int_equal(f->nodes[1].stream->state, DATA_PLANE_PREPARING);
}

static void bad_node_names_are_refused(void **state) {
    struct fixture *f = *state;
    script_connect(&f->nodes[0], f->channel);
    script_hello(&f->nodes[0], "a b", 1, SCHEMA_LEVEL);
    script_pull(&f->nodes[0]);
    assert_non_null(strstr(f->nodes[0].refused, "name"));
}

static void a_hello_must_come_in_time(void **state) {
    struct fixture *f = *state;
    script_connect(&f->nodes[0], f->channel);
    assert_int_equal(channel_next_deadline(f->channel), f->now + 10 * SECOND);
    pass(f, 10 * SECOND);
    assert_true(f->nodes[0].is_ended_at_once);
    assert_non_null(strstr(f->nodes[0].ended, "Hello"));
}

static void a_long_hello_comes_in_pieces(void **state) {
    struct fixture *f = *state;
    set_current(f, script_snapshot(1, 0, 10, 1, NULL));
    script_connect(&f->nodes[0], f->channel);
    struct snapshot *held = script_snapshot(1, 0, 10, 1, NULL);
    Headgate__SnapshotId id;
    Headgate__Hello hello = HEADGATE__HELLO__INIT;
    snapshot_id_fill(held, &id);
    hello.has_schema_level = true;
    hello.schema_level = SCHEMA_LEVEL;
    hello.node = (char *)"a";
    hello.serving = &id;
    for (size_t i = 0; i < 10; i++) {
        hello.n_intent = 1;
        hello.intent = &held->intent->entries[i];
        hello.has_more = hello.more = i < 9;
        script_send(&f->nodes[0], HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_HELLO, &hello);
    }
    assert_int_equal(channel_health(f->channel, f->nodes[0].stream), DATA_PLANE_IN_SYNC);
    snapshot_unref(held);
}

static void entries_out_of_order_end_the_stream(void **state) {
    struct fixture *f = *state;
    struct snapshot *held = script_snapshot(1, 0, 2, 1, NULL);
    Headgate__Entry *swapped[] = {held->intent->entries[1], held->intent->entries[0]};
    Headgate__Hello hello = HEADGATE__HELLO__INIT;
    Headgate__SnapshotId id;
    snapshot_id_fill(held, &id);
    hello.has_schema_level = true;
    hello.schema_level = SCHEMA_LEVEL;
    hello.node = (char *)"a";
    hello.serving = &id;
    hello.n_intent = 2;
    hello.intent = swapped;
    script_connect(&f->nodes[0], f->channel);
    script_send(&f->nodes[0], HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_HELLO, &hello);
    assert_string_not_equal(f->nodes[0].ended, "");
    snapshot_unref(held);
}

static void answers_that_nothing_asked_for_end_the_stream(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 3);
    script_ready(&f->nodes[0], f->nodes[0].nonce + 100);
    assert_string_not_equal(f->nodes[0].ended, "");
    script_hello(&f->nodes[1], "b", 1, SCHEMA_LEVEL);
    assert_string_not_equal(f->nodes[1].ended, "");
    push(f, 2, 2, false);
    script_pull(&f->nodes[2]);
    script_ready(&f->nodes[2], f->nodes[2].nonce);
    script_ack(&f->nodes[2], f->nodes[2].nonce); /* before it has seen the Commit */
    assert_string_not_equal(f->nodes[2].ended, "");
}

/* ---- pushes ---- */

static void a_push_commits_when_all_are_ready(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 3);
    push(f, 2, 2, false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->ready_calls, 0);
        script_pull(&f->nodes[i]);
        script_ready(&f->nodes[i], f->nodes[i].nonce);
    }
    assert_int_equal(f->ready_calls, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->done_calls, 0);
        script_pull(&f->nodes[i]);
        assert_int_equal(f->nodes[i].version, 2);
        script_ack(&f->nodes[i], f->nodes[i].nonce);
    }
    assert_int_equal(f->done_calls, 1);
    assert_int_equal(f->outcome, PUSH_COMMITTED);
    assert_int_equal(f->participants, 3);
    assert_int_equal(f->results[2].state, PARTICIPANT_ACKED);
    assert_true(f->results[0].sent_bytes > 0);
    assert_int_equal(channel_current(f->channel)->version, 2);
}

static void one_nack_aborts_on_all(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 3);
    push(f, 2, 2, false);
    for (int i = 0; i < 3; i++)
        script_pull(&f->nodes[i]);
    script_ready(&f->nodes[0], f->nodes[0].nonce);
    script_nack(&f->nodes[1], f->nodes[1].nonce, "port is taken");
    assert_int_equal(f->done_calls, 0); /* every reason is gathered */
    script_nack(&f->nodes[2], f->nodes[2].nonce, "mine too");
    assert_int_equal(f->done_calls, 1);
    assert_int_equal(f->outcome, PUSH_REFUSED);
    assert_int_equal(f->results[0].state, PARTICIPANT_READY);
    assert_string_equal(f->results[1].text, "port is taken");
    assert_string_equal(f->results[2].text, "mine too");
    assert_string_equal(f->results[1].path, "addresses[0]");
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].aborts, 1);
    for (int i = 0; i < 3; i++) {
        script_pull(&f->nodes[i]);
        assert_int_equal(f->nodes[i].version, 1);
        assert_int_equal(channel_health(f->channel, f->nodes[i].stream), DATA_PLANE_IN_SYNC);
    }
    assert_int_equal(f->ready_calls, 0);
    assert_int_equal(channel_current(f->channel)->version, 1);
}

static void a_dry_run_prepares_and_aborts(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    push(f, 2, 2, true);
    script_pull(&f->nodes[0]);
    assert_true(f->nodes[0].is_dry_run);
    script_ready(&f->nodes[0], f->nodes[0].nonce);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->outcome, PUSH_CHECKED);
    assert_string_equal(f->nodes[0].aborted, "dry run");
    assert_int_equal(f->ready_calls, 0);
    assert_int_equal(channel_current(f->channel)->version, 1);
}

static void a_push_without_data_planes_is_decided_at_once(void **state) {
    struct fixture *f = *state;
    push(f, 1, 1, false);
    assert_int_equal(f->outcome, PUSH_COMMITTED);
    assert_int_equal(f->participants, 0);
    assert_int_equal(channel_current(f->channel)->version, 1);
}

static void a_full_disk_aborts_on_all(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    f->store_fails = true;
    push(f, 2, 2, false);
    script_pull(&f->nodes[0]);
    script_ready(&f->nodes[0], f->nodes[0].nonce);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->outcome, PUSH_REFUSED);
    assert_string_equal(f->reason, "the disk is full");
    assert_string_equal(f->nodes[0].aborted, "the disk is full");
    assert_int_equal(f->nodes[0].version, 1);
}

static void a_loss_before_ready_stops_the_push(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 2);
    push(f, 2, 2, false);
    script_pull(&f->nodes[0]);
    script_pull(&f->nodes[1]);
    script_ready(&f->nodes[0], f->nodes[0].nonce);
    script_disconnect(&f->nodes[1]);
    assert_int_equal(f->outcome, PUSH_REFUSED);
    assert_int_equal(f->results[1].state, PARTICIPANT_LOST);
    script_pull(&f->nodes[0]);
    assert_int_equal(f->nodes[0].aborts, 1);
}

static void a_loss_after_ready_is_caught_up_later(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 3);
    push(f, 2, 2, false);
    for (int i = 0; i < 3; i++)
        script_pull(&f->nodes[i]);
    script_ready(&f->nodes[0], f->nodes[0].nonce);
    script_disconnect(&f->nodes[0]); /* READY, then gone */
    script_ready(&f->nodes[1], f->nodes[1].nonce);
    script_ready(&f->nodes[2], f->nodes[2].nonce);
    script_pull(&f->nodes[1]);
    script_disconnect(&f->nodes[1]); /* between Commit and Ack */
    script_pull(&f->nodes[2]);
    script_ack(&f->nodes[2], f->nodes[2].nonce);
    assert_int_equal(f->outcome, PUSH_COMMITTED);
    assert_int_equal(f->results[0].state, PARTICIPANT_LOST);
    assert_int_equal(f->results[1].state, PARTICIPANT_LOST);
    assert_int_equal(f->results[2].state, PARTICIPANT_ACKED);
    f->nodes[0].version = 0;
    f->nodes[0].serving[0].count = 0;
    connect_node(f, 0);
    settle(&f->nodes[0]);
    assert_int_equal(f->nodes[0].version, 2);
}

static void silence_after_prepare_stops_the_push(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 2);
    push(f, 2, 2, false);
    script_pull(&f->nodes[0]);
    script_ready(&f->nodes[0], f->nodes[0].nonce);
    pass(f, 30 * SECOND);
    assert_int_equal(f->outcome, PUSH_REFUSED);
    assert_int_equal(f->results[1].state, PARTICIPANT_LOST);
    assert_non_null(strstr(f->results[1].text, "Prepare in time"));
    assert_true(f->nodes[1].is_ended_at_once);
}

static void silence_after_commit_is_a_loss(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    push(f, 2, 2, false);
    script_pull(&f->nodes[0]);
    script_ready(&f->nodes[0], f->nodes[0].nonce);
    script_pull(&f->nodes[0]);
    pass(f, 30 * SECOND);
    assert_int_equal(f->outcome, PUSH_COMMITTED);
    assert_int_equal(f->results[0].state, PARTICIPANT_LOST);
    assert_non_null(strstr(f->nodes[0].ended, "Commit in time"));
}

static void a_push_waits_for_an_open_commit(void **state) {
    struct fixture *f = *state;
    set_current(f, script_snapshot(1, 0, 10, 1, NULL));
    connect_node(f, 0);
    struct script *s = &f->nodes[0];
    script_pull(s);
    script_ready(s, s->nonce);
    script_pull(s);
    push(f, 2, 2, false);
    script_pull(s);
    assert_int_equal(s->transfers, 1);
    script_ack(s, s->nonce);
    settle(s);
    assert_int_equal(f->outcome, PUSH_COMMITTED);
    assert_int_equal(f->results[0].state, PARTICIPANT_ACKED);
    assert_int_equal(s->version, 2);
}

static void a_push_replaces_a_transfer_that_is_being_prepared(void **state) {
    struct fixture *f = *state;
    set_current(f, script_snapshot(1, 0, 10, 1, NULL));
    connect_node(f, 0);
    struct script *s = &f->nodes[0];
    script_pull(s);
    push(f, 2, 2, false);
    settle(s);
    assert_int_equal(f->outcome, PUSH_COMMITTED);
    assert_int_equal(s->version, 2);
    assert_int_equal(s->commits, 1);
}

static void who_comes_during_a_push_gets_what_is_current(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    push(f, 2, 2, false);
    connect_node(f, 1);
    settle(&f->nodes[1]);
    assert_int_equal(f->nodes[1].version, 1);
    settle(&f->nodes[0]);
    assert_int_equal(f->outcome, PUSH_COMMITTED);
    assert_int_equal(f->participants, 1);
    settle(&f->nodes[1]);
    assert_int_equal(f->nodes[1].version, 2);
}

static void pushing_the_current_snapshot_asks_only_those_without_it(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 1);
    connect_node(f, 1);
    script_pull(&f->nodes[1]);
    script_nack(&f->nodes[1], f->nodes[1].nonce, "port is taken");
    assert_int_equal(channel_push(f->channel, channel_current(f->channel), false), 0);
    settle(&f->nodes[1]);
    assert_int_equal(f->participants, 1);
    assert_string_equal(f->results[0].node, "b");
    assert_int_equal(f->results[0].state, PARTICIPANT_ACKED);
    assert_int_equal(f->nodes[0].transfers, 1);
}

static void a_push_can_follow_from_the_end_of_another(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 2);
    f->again = script_snapshot(3, 0, 10, 3, NULL);
    push(f, 2, 2, false);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2; i++) {
            script_pull(&f->nodes[i]);
            script_ready(&f->nodes[i], f->nodes[i].nonce);
        }
        for (int i = 0; i < 2; i++) {
            script_pull(&f->nodes[i]);
            script_ack(&f->nodes[i], f->nodes[i].nonce);
        }
    }
    assert_int_equal(f->done_calls, 2);
    assert_int_equal(f->nodes[0].version, 3);
    assert_int_equal(f->nodes[1].version, 3);
}

static void there_is_a_most_of_data_planes(void **state) {
    struct fixture *f = *state;
    struct channel_config few = channel_config_default;
    few.data_planes_max = 1;
    struct channel *c = channel_create(&few, &events, f);
    struct data_plane *dp = channel_connect(c, &f->nodes[0], "x");
    assert_non_null(dp);
    assert_null(channel_connect(c, &f->nodes[1], "x"));
    channel_disconnect(c, dp, NULL);
    channel_destroy(c);
}

/* One whole life with the nth allocation failing, for every n: whatever is lost, the channel ends orderly. */
static void survives_failing_allocations(void **state) {
    struct fixture *f = *state;
    channel_destroy(f->channel);
    for (long nth = 0; nth < 400; nth++) {
        struct script s = {0};
        struct snapshot *one = script_snapshot(1, 0, 4, 1, NULL), *two = script_snapshot(2, 0, 4, 2, NULL);
        hg_alloc_fail_at(nth, 0);
        struct channel *c = channel_create(&channel_config_default, &events, f);
        if (c) {
            f->channel = c;
            channel_set_current(c, one);
            script_connect(&s, c);
            if (s.stream) {
                script_hello(&s, "a", 1, SCHEMA_LEVEL);
                settle(&s);
                if (channel_push(c, two, false) == 0)
                    settle(&s);
                script_disconnect(&s);
            }
            channel_destroy(c);
        }
        hg_alloc_fail_at(-1, 0);
        snapshot_unref(one);
        snapshot_unref(two);
        script_finish(&s);
    }
    f->channel = channel_create(&channel_config_default, &events, f);
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_sent_without_intent),
        TEST(newcomer_gets_the_current_snapshot),
        TEST(reconnecting_with_the_same_costs_nothing),
        TEST(name_of_another_is_refused),
        TEST(name_of_another_ends_no_stream),
        TEST(node_that_went_is_remembered_until_it_is_back),
        TEST(node_whose_stream_was_replaced_is_not_away),
        TEST(stream_without_hello_is_not_remembered),
        TEST(so_many_nodes_are_remembered),
        TEST(copy_that_is_current_is_confirmed_once),
        TEST(older_data_plane_hears_no_confirm),
        TEST(copy_that_is_old_is_replaced_and_not_confirmed),
        TEST(copy_is_confirmed_when_it_becomes_current),
        TEST(reconnecting_with_an_older_version_gets_the_difference),
        TEST(a_newer_version_of_the_lineage_is_brought_back),
        TEST(another_lineage_is_brought_to_ours),
        TEST(a_newer_current_replaces_an_open_transfer),
        TEST(a_new_generation_waits_for_the_commit),
        TEST(a_nack_is_not_answered_with_the_same_again),
        TEST(a_node_that_dies_of_a_snapshot_is_spared),
        TEST(too_low_a_schema_level_is_refused),
        TEST(a_name_in_use_is_refused),
        TEST(a_silent_stream_gives_its_name_away),
        TEST(the_same_process_may_come_back),
        TEST(bad_node_names_are_refused),
        TEST(a_hello_must_come_in_time),
        TEST(a_long_hello_comes_in_pieces),
        TEST(entries_out_of_order_end_the_stream),
        TEST(answers_that_nothing_asked_for_end_the_stream),
        TEST(a_push_commits_when_all_are_ready),
        TEST(one_nack_aborts_on_all),
        TEST(a_dry_run_prepares_and_aborts),
        TEST(a_push_without_data_planes_is_decided_at_once),
        TEST(a_full_disk_aborts_on_all),
        TEST(a_loss_before_ready_stops_the_push),
        TEST(a_loss_after_ready_is_caught_up_later),
        TEST(silence_after_prepare_stops_the_push),
        TEST(silence_after_commit_is_a_loss),
        TEST(a_push_waits_for_an_open_commit),
        TEST(a_push_replaces_a_transfer_that_is_being_prepared),
        TEST(who_comes_during_a_push_gets_what_is_current),
        TEST(pushing_the_current_snapshot_asks_only_those_without_it),
        TEST(a_push_can_follow_from_the_end_of_another),
        TEST(there_is_a_most_of_data_planes),
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
