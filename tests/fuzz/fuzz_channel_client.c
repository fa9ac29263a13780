/* The data plane's end of the channel: what a control plane may send, as HTTP/2 bytes and as messages.
 *
 * The first byte of an input chooses: even, the rest are bytes of the connection, in pieces; odd, they are
 * messages (two bytes of length before each) for the protocol, whose owner accepts, refuses or takes its time
 * as bits of that byte say. */
#include <stdint.h>
#include <string.h>

#include "dataplane/snapshot/channel.h"
#include "dataplane/snapshot/grpc_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { TAKES_MESSAGES = 1, REFUSES = 2, IS_SLOW = 4 };

struct owner {
    struct channel       channel;
    struct resource_set *candidate;
    uint8_t              habits;
};

static void drop(struct owner *o) {
    resource_set_unref(o->candidate);
    o->candidate = NULL;
}

static int on_send(void *owner, const uint8_t *message, size_t size) {
    (void)owner;
    (void)message;
    return size <= MESSAGE_MAX ? 0 : -1;
}

static void on_prepare(void *owner, struct resource_set *candidate) {
    struct owner *o = owner;
    struct error_list errors = {0};
    drop(o);
    o->candidate = resource_set_ref(candidate);
    if (o->habits & IS_SLOW)
        return;
    if (o->habits & REFUSES) {
        error_set_resource(&errors, error_addf(&errors, ERROR_CONFLICT, "no"), "cluster/x", "a.b");
        drop(o);
    }
    channel_prepared(&o->channel, &errors, 1);
    error_list_finish(&errors);
}

static void on_commit(void *owner) {
    struct owner *o = owner;
    if (!(o->habits & IS_SLOW))
        channel_committed(&o->channel, o->candidate, 1, NULL);
}

static void on_abort(void *owner) {
    drop(owner);
}

static void on_refused(void *owner, const char *reason) {
    (void)owner;
    (void)reason;
}

static void on_observe(void *owner, uint64_t asked) {
    struct owner *o = owner;
    Headgate__Observation observation = HEADGATE__OBSERVATION__INIT;
    observation.asked = asked;
    channel_observation(&o->channel, &observation);
}

static const struct channel_ops ops = {on_send, on_prepare, on_commit, on_abort, on_refused, on_observe};

/* What the owner had left for later. */
static void catch_up(struct owner *o) {
    struct error_list none = {0};
    if (o->channel.state == CHANNEL_CHECKING)
        channel_prepared(&o->channel, &none, 1);
    else if (o->channel.state == CHANNEL_SWITCHING)
        channel_committed(&o->channel, o->candidate, 1, NULL);
}

static int receive(struct owner *o, const uint8_t *message, size_t size) {
    struct error_list errors = {0};
    int status = channel_receive(&o->channel, message, size, &errors);
    error_list_finish(&errors);
    catch_up(o);
    return status;
}

static int on_message(void *owner, const uint8_t *message, size_t size) {
    return receive(owner, message, size);
}

static void run_messages(struct owner *o, const uint8_t *at, size_t size) {
    while (size >= 2) {
        size_t length = (size_t)at[0] << 8 | at[1];
        at += 2;
        size -= 2;
        if (length > size)
            length = size;
        if (receive(o, at, length) < 0) {
            channel_close(&o->channel);
            channel_open(&o->channel);
        }
        at += length;
        size -= length;
    }
}

static void run_bytes(struct owner *o, const uint8_t *at, size_t size) {
    struct grpc_stream *s = grpc_stream_create("http", "headgate", "/headgate.SnapshotService/Stream",
                                               on_message, o);
    struct error_list errors = {0};
    const uint8_t *out;
    int status = 0, end_status;
    const char *end_text;
    while (s && size && status == 0) {
        size_t piece = size < 37 ? size : 37;
        status = grpc_stream_receive(s, at, piece, &errors);
        while (status == 0 && grpc_stream_output(s, &out) > 0)
            continue;
        grpc_stream_has_ended(s, &end_status, &end_text);
        at += piece;
        size -= piece;
    }
    error_list_finish(&errors);
    grpc_stream_destroy(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const struct channel_self self = {.node = "fuzz", .software = "fuzz", .workers = 1};
    if (size == 0)
        return 0;
    struct owner o = {.habits = bytes[0]};
    channel_init(&o.channel, &ops, &o, &self);
    channel_open(&o.channel);
    if (o.habits & TAKES_MESSAGES)
        run_messages(&o, bytes + 1, size - 1);
    else
        run_bytes(&o, bytes + 1, size - 1);
    channel_close(&o.channel);
    drop(&o);
    channel_finish(&o.channel);
    return 0;
}
