/* The control plane's end of the channel under a script of connects, messages (well-formed, valid and not), time, pushes.
 *
 * Each stream is a scripted data plane that applies what it is sent and checks every hash. As long as it told the truth in
 * its Hello, no delta may fail on it; and whatever comes, the channel must neither crash nor leak nor wait for nobody. */
#include <assert.h>

#include "common/log.h"
#include "controlplane/channel/channel.h"
#include "tests/unit/controlplane/channel/script.h"

enum { STREAMS = 4, SNAPSHOTS = 6 };

struct fuzz {
    struct channel *channel;
    struct script streams[STREAMS];
    bool is_tainted[STREAMS]; /* raw bytes were sent as its messages */
    struct snapshot *snapshots[SNAPSHOTS];
    bool store_fails;
    uint64_t now;
    const uint8_t *at, *end;
};

static uint8_t next_byte(struct fuzz *f) {
    return f->at < f->end ? *f->at++ : 0;
}

static void on_push_ready(void *context) {
    struct fuzz *f = context;
    if (f->store_fails)
        channel_push_abort(f->channel, "store");
    else
        channel_push_commit(f->channel);
}

static void on_push_done(void *context, const struct push_result *result) {
    (void)context;
    for (size_t i = 0; i < result->count; i++) {
        const struct push_participant *p = &result->participants[i];
        assert(p->node);
        assert(p->state != PARTICIPANT_WAITING && p->state != PARTICIPANT_PREPARING);
        assert(p->state != PARTICIPANT_COMMITTING);
        assert(result->outcome != PUSH_COMMITTED || p->state == PARTICIPANT_ACKED ||
               p->state == PARTICIPANT_LOST);
    }
}

static const struct channel_events events = {script_on_wake, script_on_end, on_push_ready, on_push_done, NULL};

static void send_raw(struct fuzz *f, int i) {
    size_t size = next_byte(f), left = (size_t)(f->end - f->at);
    size = size < left ? size : left;
    Headgate__DataPlaneMessage *m = headgate__data_plane_message__unpack(NULL, size, f->at);
    f->at += size;
    if (!m)
        return;
    f->is_tainted[i] = true;
    channel_receive(f->channel, f->streams[i].stream, m);
    headgate__data_plane_message__free_unpacked(m, NULL);
}

static void pull_one(struct script *s) {
    const Headgate__ControlPlaneMessage *m = channel_pull(s->channel, s->stream);
    if (m)
        script_take(s, m);
}

static void say_hello(struct fuzz *f, int i) {
    static const char *const names[] = {"a", "b", "c", "a"};
    uint8_t how = next_byte(f);
    f->streams[i].is_from_copy = how & 64;
    f->streams[i].takes_confirm = how & 128;
    script_hello(&f->streams[i], names[how % 4], how / 4 % 4, how < 250 ? SCHEMA_LEVEL : 0);
}

static void on_stream(struct fuzz *f, int i, uint8_t what) {
    struct script *s = &f->streams[i];
    if (!s->stream) {
        f->is_tainted[i] = false;
        s->version = s->serving[0].count = 0; /* a new machine */
        script_connect(s, f->channel);
        return;
    }
    switch (what % 8) {
    case 0: script_disconnect(s); break;
    case 1: send_raw(f, i); break;
    case 2: pull_one(s); break;
    case 3: script_pull(s); break;
    case 4: script_ready(s, s->nonce); break;
    case 5: script_ack(s, s->nonce); break;
    case 6: script_nack(s, s->nonce, "no"); break;
    default: say_hello(f, i); break;
    }
}

static void on_channel(struct fuzz *f, uint8_t what) {
    struct snapshot *s = f->snapshots[next_byte(f) % SNAPSHOTS];
    f->store_fails = what & 0x80;
    if (what % 4 == 0) {
        f->now += (uint64_t)next_byte(f) * 1000000;
        channel_advance(f->channel, f->now);
    } else if (!channel_is_pushing(f->channel) && what % 4 == 1) {
        channel_set_current(f->channel, s);
    } else if (!channel_is_pushing(f->channel)) {
        channel_push(f->channel, s, what % 4 == 3);
    }
}

static void check(const struct fuzz *f) {
    bool is_waiting = channel_next_deadline(f->channel) != UINT64_MAX;
    assert(!channel_is_pushing(f->channel) || is_waiting); /* a push always ends */
    for (int i = 0; i < STREAMS; i++) {
        assert(!f->streams[i].is_broken || f->is_tainted[i]);
        if (f->is_tainted[i])
            ((struct fuzz *)f)->streams[i].is_broken = false;
    }
}

static void run(struct fuzz *f) {
    while (f->at < f->end) {
        uint8_t op = next_byte(f);
        if (op % 5 < STREAMS)
            on_stream(f, op % 5, op / 5);
        else
            on_channel(f, op / 5);
        check(f);
    }
}

static void fill(struct fuzz *f) {
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        f->snapshots[i] = script_snapshot(1 + i / 2, i % 2, 2 + i, i, i ? f->snapshots[i - 1] : NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static struct fuzz f;
    log_set_level(LOG_LEVEL_ERROR);
    f = (struct fuzz){.at = bytes, .end = bytes + size};
    f.channel = channel_create(&channel_config_default, &events, &f);
    fill(&f);
    run(&f);
    for (int i = 0; i < STREAMS; i++) {
        script_disconnect(&f.streams[i]);
        script_finish(&f.streams[i]);
    }
    channel_destroy(f.channel);
    for (int i = 0; i < SNAPSHOTS; i++)
        snapshot_unref(f.snapshots[i]);
    return 0;
}
