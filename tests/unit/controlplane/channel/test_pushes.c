/* Pushes over several data planes: all of them switch, or none. */
#include "tests/unit/controlplane/channel/fixture.h"

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
