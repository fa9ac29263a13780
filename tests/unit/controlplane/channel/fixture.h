/* fixture.h — the channel's state machine with scripted data planes, a virtual clock and no sockets. */
#pragma once

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

static inline void on_push_ready(void *context) {
    struct fixture *f = context;
    f->ready_calls++;
    if (f->store_fails)
        channel_push_abort(f->channel, "the disk is full");
    else
        channel_push_commit(f->channel);
}

static inline void keep_result(struct fixture *f, size_t i, const struct push_participant *p) {
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

static inline void on_push_done(void *context, const struct push_result *result) {
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
static inline bool may_be_called(void *stream_owner, const char *node, char reason[CHANNEL_REASON_SIZE]) {
    assert_non_null(stream_owner);
    snprintf(reason, CHANNEL_REASON_SIZE, "%s is somebody else", node);
    return strcmp(node, "b") != 0;
}

static const struct channel_events events = {script_on_wake, script_on_end, on_push_ready, on_push_done, NULL},
                                   strict_events = {script_on_wake, script_on_end, on_push_ready, on_push_done,
                                                    may_be_called};

static inline int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    f->channel = channel_create(&channel_config_default, &events, f);
    f->now = 1000 * SECOND;
    channel_advance(f->channel, f->now);
    *state = f;
    return 0;
}

static inline int teardown(void **state) {
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

static inline void pass(struct fixture *f, uint64_t us) {
    f->now += us;
    channel_advance(f->channel, f->now);
}

static inline void set_current(struct fixture *f, struct snapshot *s) {
    channel_set_current(f->channel, s);
    snapshot_unref(s);
}

static inline void connect_node(struct fixture *f, int i) {
    static const char *const names[NODES] = {"a", "b", "c"};
    script_connect(&f->nodes[i], f->channel);
    assert_non_null(f->nodes[i].stream);
    script_hello(&f->nodes[i], names[i], 1, SCHEMA_LEVEL);
}

/* Answers what is open until the node has the current snapshot. */
static inline void settle(struct script *s) {
    script_pull(s);
    script_ready(s, s->nonce);
    script_pull(s);
    script_ack(s, s->nonce);
    script_pull(s);
}

/* Nodes 0 .. count-1, connected and in sync with version 1. */
static inline void start_in_sync(struct fixture *f, int count) {
    set_current(f, script_snapshot(1, 0, 10, 1, NULL));
    for (int i = 0; i < count; i++) {
        connect_node(f, i);
        settle(&f->nodes[i]);
        assert_int_equal(channel_health(f->channel, f->nodes[i].stream), DATA_PLANE_IN_SYNC);
    }
}

static inline void push(struct fixture *f, uint64_t version, unsigned salt, bool is_dry_run) {
    struct snapshot *s = script_snapshot(version, 0, 10, salt, channel_current(f->channel));
    assert_int_equal(channel_push(f->channel, s, is_dry_run), 0);
    snapshot_unref(s);
}
