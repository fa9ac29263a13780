#include "controlplane/rpc/stream.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <string.h>

#include "common/alloc.h"
#include "controlplane/rpc/stream_internal.h"

/* Moves forward only. */
enum rpc_stream_state {
    RPC_STREAM_OPEN,
    RPC_STREAM_ENDED,               /* the status is there; completions may still come */
};

struct rpc_stream {
    struct rpc_channel *channel;    /* NULL: abandoned */
    enum rpc_stream_state state;
    grpc_call *call;
    const struct rpc_stream_handlers *handlers;
    void *owner;
    struct rpc_completion begin, headers, write, half_close, read, end;
    unsigned under_way;             /* operations whose completion has not come */
    bool is_sending, is_reading;
    bool is_asked;                  /* for what is being read: by the owner, and not on the way to the status alone */
    bool wants_half_close, is_half_closed;
    bool is_broken;                 /* nothing can be sent any more: what nobody has asked for is dropped until the status */
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *received;
    grpc_status_code status;
    grpc_slice text;
};

static void start_batch(struct rpc_stream *s, const grpc_op *op, struct rpc_completion *completion) {
    grpc_call_error failed = grpc_call_start_batch(s->call, op, 1, completion, NULL);
    assert(failed == GRPC_CALL_OK); /* anything else is a wrong order of operations, not a peer's doing */
    (void)failed;
    s->under_way++;
}

static void stream_free(struct rpc_stream *s) {
    if (s->call)
        grpc_call_unref(s->call);
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_slice_unref(s->text);
    hg_free(s);
}

/* ---- the end ---- */

static struct str str_of_slice(const grpc_slice *slice) {
    return (struct str){(const char *)GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

static void tell_end(struct rpc_stream *s) {
    struct rpc_channel *channel = s->channel;
    s->channel = NULL;
    rpc_channel_call_ended(channel, s->status == GRPC_STATUS_UNAVAILABLE);
    s->handlers->closed(s->owner, s->status, str_of_slice(&s->text));
}

/* After the last completion, so that `closed` is the last handler. */
static void operation_ended(struct rpc_stream *s) {
    s->under_way--;
    if (s->under_way > 0)
        return;
    assert(s->state == RPC_STREAM_ENDED); /* the status is waited for from the beginning */
    if (s->channel)
        tell_end(s);
    stream_free(s);
}

static void on_end(struct rpc_completion *c, bool ok) {
    struct rpc_stream *s = c->owner;
    (void)ok;
    s->state = RPC_STREAM_ENDED;
    operation_ended(s);
}

/* Open, and somebody there to be told. */
static bool is_live(const struct rpc_stream *s) {
    return s->channel && s->state == RPC_STREAM_OPEN && !s->is_broken;
}

/* ---- reading ---- */

static void start_read(struct rpc_stream *s, bool is_asked) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->received};
    s->is_reading = true;
    s->is_asked = is_asked;
    start_batch(s, &op, &s->read);
}

static void deliver(struct rpc_stream *s, grpc_byte_buffer *received) {
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, received)) {
        grpc_call_cancel_with_status(s->call, GRPC_STATUS_INTERNAL, "a message that cannot be decompressed", NULL);
        return;
    }
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    s->handlers->message(s->owner, str_of_slice(&slice));
    grpc_slice_unref(slice);
}

/* The status comes only behind what the server has sent, so somebody must take that. */
static void read_to_the_end(struct rpc_stream *s) {
    if (s->channel && s->is_broken && s->state == RPC_STREAM_OPEN && !s->is_reading)
        start_read(s, false);
}

static void on_read(struct rpc_completion *c, bool ok) {
    struct rpc_stream *s = c->owner;
    grpc_byte_buffer *received = s->received;
    s->received = NULL;
    s->is_reading = false;
    if (ok && received && s->channel && s->is_asked)
        deliver(s, received);
    if (received)
        grpc_byte_buffer_destroy(received);
    if (received)
        read_to_the_end(s);
    else
        s->is_broken = true;        /* the server sends no more; its status follows */
    operation_ended(s);
}

void rpc_stream_read(struct rpc_stream *s) {
    assert(!s->is_reading || s->is_broken);
    if (is_live(s))
        start_read(s, true);
}

bool rpc_stream_is_reading(const struct rpc_stream *s) {
    return s->is_reading;
}

/* ---- sending ---- */

static void start_half_close(struct rpc_stream *s) {
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    s->is_half_closed = true;
    start_batch(s, &op, &s->half_close);
}

static void on_written(struct rpc_completion *c, bool ok) {
    struct rpc_stream *s = c->owner;
    s->is_sending = false;
    s->is_broken |= !ok;
    if (is_live(s) && s->wants_half_close)
        start_half_close(s);
    if (is_live(s) && s->handlers->sent)
        s->handlers->sent(s->owner);
    read_to_the_end(s);
    operation_ended(s);
}

int rpc_stream_send(struct rpc_stream *s, struct str bytes) {
    assert(!s->is_sending && !s->wants_half_close);
    if (!is_live(s))
        return 0;
    void *copy = hg_malloc(bytes.n ? bytes.n : 1);
    if (!copy)
        return -1;
    if (bytes.n > 0)
        memcpy(copy, bytes.p, bytes.n);
    grpc_slice slice = grpc_slice_new(copy, bytes.n, hg_free);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
    s->is_sending = true;
    start_batch(s, &op, &s->write);
    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slice);
    return 0;
}

bool rpc_stream_is_sending(const struct rpc_stream *s) {
    return s->is_sending;
}

void rpc_stream_half_close(struct rpc_stream *s) {
    if (!is_live(s) || s->wants_half_close)
        return;
    s->wants_half_close = true;
    if (!s->is_sending)
        start_half_close(s);
}

void rpc_stream_cancel(struct rpc_stream *s) {
    grpc_call_cancel_with_status(s->call, GRPC_STATUS_CANCELLED, "cancelled", NULL);
}

void rpc_stream_abandon(struct rpc_stream *s) {
    if (!s || !s->channel)
        return;
    rpc_channel_call_ended(s->channel, false);
    s->channel = NULL;
    s->owner = NULL;
    rpc_stream_cancel(s);
}

/* ---- the beginning ---- */

static void on_begun(struct rpc_completion *c, bool ok) {
    struct rpc_stream *s = c->owner;
    s->is_broken |= !ok;
    if (is_live(s) && s->handlers->connected)
        s->handlers->connected(s->owner);
    read_to_the_end(s);
    operation_ended(s);
}

static void on_headers(struct rpc_completion *c, bool ok) {
    (void)ok; /* what comes with them is for nobody here; that there are none is told by the status */
    operation_ended(c->owner);
}

static bool is_legal(const struct rpc_metadata *m) {
    grpc_slice key = grpc_slice_from_static_string(m->key), value = grpc_slice_from_static_string(m->value);
    bool is_binary = str_ends(str_of(m->key), STR("-bin"));
    return grpc_header_key_is_legal(key) && (is_binary || grpc_header_nonbin_value_is_legal(value));
}

static int check_metadata(const struct rpc_stream_options *o, struct error_list *errors) {
    for (size_t i = 0; i < o->metadata_count; i++)
        if (!is_legal(&o->metadata[i])) {
            error_addf(errors, ERROR_SYNTAX, "metadata %zu of the call has a key or a value that cannot be sent", i);
            return -1;
        }
    return 0;
}

static void send_initial(struct rpc_stream *s, const struct rpc_stream_options *o, grpc_metadata *list) {
    for (size_t i = 0; i < o->metadata_count; i++) {
        list[i].key = grpc_slice_from_copied_string(o->metadata[i].key);
        list[i].value = grpc_slice_from_copied_string(o->metadata[i].value);
    }
    grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA,
                  .data.send_initial_metadata = {.count = o->metadata_count, .metadata = list}};
    start_batch(s, &op, &s->begin);
    for (size_t i = 0; i < o->metadata_count; i++) {
        grpc_slice_unref(list[i].key);
        grpc_slice_unref(list[i].value);
    }
}

static void wait_for_headers_and_end(struct rpc_stream *s) {
    grpc_op headers = {.op = GRPC_OP_RECV_INITIAL_METADATA,
                       .data.recv_initial_metadata.recv_initial_metadata = &s->initial};
    grpc_op end = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                   .data.recv_status_on_client = {.trailing_metadata = &s->trailing,
                                                  .status = &s->status,
                                                  .status_details = &s->text}};
    start_batch(s, &headers, &s->headers);
    start_batch(s, &end, &s->end);
}

static gpr_timespec deadline_of(const struct rpc_stream_options *o) {
    if (o->timeout_us == 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros((int64_t)o->timeout_us, GPR_TIMESPAN));
}

static struct rpc_stream *stream_create(const struct rpc_stream_handlers *handlers, void *owner) {
    struct rpc_stream *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->handlers = handlers;
    s->owner = owner;
    s->text = grpc_empty_slice();
    s->begin = (struct rpc_completion){.done = on_begun, .owner = s};
    s->headers = (struct rpc_completion){.done = on_headers, .owner = s};
    s->write = (struct rpc_completion){.done = on_written, .owner = s};
    s->half_close = (struct rpc_completion){.done = on_headers, .owner = s};
    s->read = (struct rpc_completion){.done = on_read, .owner = s};
    s->end = (struct rpc_completion){.done = on_end, .owner = s};
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    return s;
}

static int begin(struct rpc_stream *s, struct rpc_channel *c, const struct rpc_stream_options *o,
                 struct error_list *errors) {
    grpc_metadata *list = hg_calloc(o->metadata_count + 1, sizeof *list);
    grpc_channel *channel = list ? rpc_channel_begin_call(c, errors) : NULL;
    if (!list)
        error_addf(errors, ERROR_MEMORY, "no memory for a call");
    if (channel) {
        grpc_slice method = grpc_slice_from_copied_string(o->method);
        s->channel = c;
        s->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, rpc_channel_loop(c)->queue, method,
                                           NULL, deadline_of(o), NULL);
        grpc_slice_unref(method);
        send_initial(s, o, list);
        wait_for_headers_and_end(s);
    }
    hg_free(list);
    return channel ? 0 : -1;
}

struct rpc_stream *rpc_stream_open(struct rpc_channel *c, const struct rpc_stream_options *o,
                                   const struct rpc_stream_handlers *handlers, void *owner, struct error_list *errors) {
    if (check_metadata(o, errors) < 0)
        return NULL;
    struct rpc_stream *s = stream_create(handlers, owner);
    if (!s)
        error_addf(errors, ERROR_MEMORY, "no memory for a call");
    else if (begin(s, c, o, errors) == 0)
        return s;
    else
        stream_free(s);
    return NULL;
}

struct rpc_stream *rpc_stream_call(struct rpc_channel *c, const struct rpc_stream_options *o, struct str request,
                                   const struct rpc_stream_handlers *handlers, void *owner, struct error_list *errors) {
    struct rpc_stream *s = rpc_stream_open(c, o, handlers, owner, errors);
    if (!s)
        return NULL;
    if (rpc_stream_send(s, request) < 0) {
        error_addf(errors, ERROR_MEMORY, "no memory for a request");
        rpc_stream_abandon(s);
        return NULL;
    }
    rpc_stream_half_close(s);
    rpc_stream_read(s);
    return s;
}
