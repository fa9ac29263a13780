/* Data planes come, are brought to what is current, and go. */
#include "tests/unit/controlplane/channel/fixture.h"

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

/* ---- who is watched ---- */

static void answer_observe(struct fixture *f, struct script *s, uint64_t requests) {
    Headgate__DataPlaneMessage m = HEADGATE__DATA_PLANE_MESSAGE__INIT;
    Headgate__Observation o = HEADGATE__OBSERVATION__INIT;
    o.has_asked = o.has_requests = true;
    o.asked = s->observed;
    o.requests = requests;
    m.message_case = HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_OBSERVATION;
    m.observation = &o;
    channel_receive(f->channel, s->stream, &m);
}

static void those_that_can_are_asked_and_the_last_answer_is_kept(void **state) {
    struct fixture *f = *state;
    start_in_sync(f, 2);
    script_disconnect(&f->nodes[0]);
    f->nodes[0].takes_observe = true;
    connect_node(f, 0);
    assert_null(f->nodes[0].stream->observation);
    channel_observe(f->channel);
    uint64_t asked = channel_observe(f->channel); /* before the first was sent: one question is enough */
    assert_true(f->nodes[0].is_woken);
    script_pull(&f->nodes[0]);
    script_pull(&f->nodes[1]);
    assert_int_equal(f->nodes[0].observed, asked);
    assert_int_equal(f->nodes[1].observed, 0);
    for (uint64_t i = 1; i < 3; i++) {
        answer_observe(f, &f->nodes[0], i);
        assert_int_equal(f->nodes[0].stream->observation->asked, asked);
        assert_int_equal(f->nodes[0].stream->observation->requests, i);
    }
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

/* Generations that follow each other faster than a data plane prepares one: it gets one after all, and the last one next. */
static void a_new_generation_does_not_end_a_transfer(void **state) {
    struct fixture *f = *state;
    struct script *s = &f->nodes[0];
    set_current(f, script_snapshot(1, 1, 10, 1, NULL));
    connect_node(f, 0);
    script_pull(s);
    uint64_t nonce = s->nonce;
    for (uint64_t generation = 2; generation < 10; generation++) {
        set_current(f, script_snapshot(1, generation, 10, 1, NULL));
        script_pull(s);
        assert_int_equal(s->nonce, nonce);
    }
    script_ready(s, nonce);
    script_pull(s);
    script_ack(s, nonce);
    assert_int_equal(s->generation, 1);
    settle(s);
    assert_int_equal(s->generation, 9);
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
    assert_int_equal(channel_next_deadline(f->channel), UINT64_MAX);
}

/* The state can have been at fault. Nothing else has to happen for it to be sent, and a refusal of that one counts anew. */
static void a_new_generation_is_sent_a_while_after_a_nack(void **state) {
    struct fixture *f = *state;
    struct script *s = &f->nodes[0];
    set_current(f, script_snapshot(1, 1, 10, 1, NULL));
    connect_node(f, 0);
    for (uint64_t generation = 1; generation < 3; generation++) {
        script_pull(s);
        script_nack(s, s->nonce, "no memory");
        assert_int_equal(channel_next_deadline(f->channel), UINT64_MAX); /* the same is not sent again */
        uint64_t due = f->now + 30 * SECOND;
        pass(f, 5 * SECOND);
        set_current(f, script_snapshot(1, generation + 1, 10, 1, NULL));
        assert_int_equal(channel_next_deadline(f->channel), due);
        pass(f, 25 * SECOND - 1);
        script_pull(s);
        assert_int_equal(s->transfers, generation);
        channel_tell_time(f->channel, due); /* messages come first, then what is due */
        assert_int_equal(channel_next_deadline(f->channel), due);
        pass(f, 1);
        script_pull(s);
        assert_int_equal(s->transfers, generation + 1);
    }
    settle(s);
    assert_int_equal(s->generation, 3);
    assert_int_equal(channel_next_deadline(f->channel), UINT64_MAX);
}

/* Nothing waits any more for one that there is no reason to send. */
static void what_waits_after_a_nack_may_be_wanted_no_more(void **state) {
    struct fixture *f = *state;
    struct script *s = &f->nodes[0];
    start_in_sync(f, 1);
    set_current(f, script_snapshot(2, 1, 10, 2, NULL));
    script_pull(s);
    script_nack(s, s->nonce, "no memory");
    set_current(f, script_snapshot(2, 2, 10, 2, NULL));
    channel_set_current(f->channel, NULL);
    pass(f, 30 * SECOND);
    script_pull(s);
    assert_int_equal(s->transfers, 2);
    assert_string_equal(s->ended, "");
    assert_int_equal(channel_next_deadline(f->channel), UINT64_MAX);
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
        TEST(those_that_can_are_asked_and_the_last_answer_is_kept),
        TEST(copy_that_is_current_is_confirmed_once),
        TEST(older_data_plane_hears_no_confirm),
        TEST(copy_that_is_old_is_replaced_and_not_confirmed),
        TEST(copy_is_confirmed_when_it_becomes_current),
        TEST(reconnecting_with_an_older_version_gets_the_difference),
        TEST(a_newer_version_of_the_lineage_is_brought_back),
        TEST(another_lineage_is_brought_to_ours),
        TEST(a_newer_current_replaces_an_open_transfer),
        TEST(a_new_generation_waits_for_the_commit),
        TEST(a_new_generation_does_not_end_a_transfer),
        TEST(a_nack_is_not_answered_with_the_same_again),
        TEST(a_new_generation_is_sent_a_while_after_a_nack),
        TEST(what_waits_after_a_nack_may_be_wanted_no_more),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
