#include "controlplane/rpc/call_internal.h"

#include <assert.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>

#include "common/alloc.h"
#include "controlplane/rpc/message.h"

static void start_batch(struct rpc_call *call, const grpc_op *ops, size_t count,
                        struct rpc_completion *completion) {
    grpc_call_error failed = grpc_call_start_batch(call->call, ops, count, completion, NULL);
    assert(failed == GRPC_CALL_OK); /* anything else is a wrong order of operations, not a peer's doing */
    (void)failed;
    call->under_way++;
}

void rpc_call_free(struct rpc_call *call) {
    if (call->call)
        grpc_call_unref(call->call);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    gpr_free(call->peer);
    hg_free(call->status_text);
    hg_free(call);
}

static void operation_ended(struct rpc_call *call) {
    call->under_way--;
    if (call->under_way > 0 || call->state != RPC_CALL_CLOSED)
        return;
    struct rpc_server *server = call->server;
    rpc_call_free(call);
    rpc_server_call_ended(server);
}

/* ---- reading ---- */

static void start_read(struct rpc_call *call) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->received};
    start_batch(call, &op, 1, &call->read);
}

static void deliver(struct rpc_call *call) {
    ProtobufCMessage *m = rpc_message_unpack(call->received, call->handlers->type);
    grpc_byte_buffer_destroy(call->received);
    call->received = NULL;
    if (!m) {
        rpc_call_cancel(call, GRPC_STATUS_INVALID_ARGUMENT, "not a message of this method");
        return;
    }
    call->handlers->message(call->owner, m);
    protobuf_c_message_free_unpacked(m, NULL);
}

static void deliver_half_close(struct rpc_call *call) {
    if (call->handlers->half_closed)
        call->handlers->half_closed(call->owner);
    else
        rpc_call_finish(call, GRPC_STATUS_OK, "");
}

static void on_read(struct rpc_completion *c, bool ok) {
    struct rpc_call *call = c->owner;
    bool is_heard = call->owner && call->state == RPC_CALL_OPEN;
    bool has_message = ok && call->received;
    if (is_heard && has_message)
        deliver(call);
    else if (is_heard && ok)
        deliver_half_close(call);
    if (call->received) {
        grpc_byte_buffer_destroy(call->received);
        call->received = NULL;
    }
    if (has_message && call->state == RPC_CALL_OPEN)
        start_read(call);
    operation_ended(call);
}

/* ---- writing and ending ---- */

static void send_status(struct rpc_call *call) {
    grpc_slice text = grpc_slice_from_copied_string(call->status_text ? call->status_text : "");
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                  .data.send_status_from_server = {.status = call->status_code, .status_details = &text}};
    call->is_status_sent = true;
    start_batch(call, &op, 1, &call->status);
    grpc_slice_unref(text);
}

static void on_written(struct rpc_completion *c, bool ok) {
    struct rpc_call *call = c->owner;
    call->is_writing = false;
    if (call->state == RPC_CALL_FINISHING && !call->is_status_sent)
        send_status(call);
    else if (ok && call->state == RPC_CALL_OPEN && call->owner && call->handlers->writable)
        call->handlers->writable(call->owner);
    operation_ended(call);
}

static void on_ended(struct rpc_completion *c, bool ok) {
    (void)ok;
    operation_ended(c->owner);
}

static void on_close(struct rpc_completion *c, bool ok) {
    struct rpc_call *call = c->owner;
    (void)ok;
    bool is_heard = call->owner && call->state != RPC_CALL_CLOSED;
    call->state = RPC_CALL_CLOSED;
    if (is_heard)
        call->handlers->closed(call->owner);
    call->owner = NULL;
    operation_ended(call);
}

int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *m) {
    assert(!call->is_writing);
    if (call->state != RPC_CALL_OPEN)
        return 0;
    grpc_byte_buffer *buffer = rpc_message_pack(m);
    if (!buffer)
        return -1;
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
    call->is_writing = true;
    start_batch(call, &op, 1, &call->write);
    grpc_byte_buffer_destroy(buffer);
    return 0;
}

void rpc_call_finish(struct rpc_call *call, grpc_status_code status, const char *text) {
    if (call->state != RPC_CALL_OPEN)
        return;
    call->state = RPC_CALL_FINISHING;
    call->status_code = status;
    call->status_text = hg_strdup(text);
    if (!call->is_writing)
        send_status(call);
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *m) {
    if (rpc_call_send(call, m) < 0)
        rpc_call_finish(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
    else
        rpc_call_finish(call, GRPC_STATUS_OK, "");
}

void rpc_call_cancel(struct rpc_call *call, grpc_status_code status, const char *text) {
    if (call->state != RPC_CALL_OPEN && call->state != RPC_CALL_FINISHING)
        return;
    call->state = RPC_CALL_FINISHING;
    call->is_status_sent = true;
    grpc_call_cancel_with_status(call->call, status, text, NULL);
}

void rpc_call_detach(struct rpc_call *call) {
    call->owner = NULL;
}

/* ---- the beginning ---- */

static void begin(struct rpc_call *call) {
    grpc_op metadata = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                     .data.recv_close_on_server.cancelled = &call->cancelled};
    start_batch(call, &metadata, 1, &call->begin);
    start_batch(call, &close, 1, &call->close);
}

void rpc_call_open(struct rpc_call *call) {
    call->state = RPC_CALL_OPEN;
    call->begin = (struct rpc_completion){.done = on_ended, .owner = call};
    call->read = (struct rpc_completion){.done = on_read, .owner = call};
    call->write = (struct rpc_completion){.done = on_written, .owner = call};
    call->status = (struct rpc_completion){.done = on_ended, .owner = call};
    call->close = (struct rpc_completion){.done = on_close, .owner = call};
    call->peer = grpc_call_get_peer(call->call);
    begin(call);
}

void rpc_call_accept(struct rpc_call *call, const struct rpc_call_handlers *handlers, void *owner) {
    call->handlers = handlers;
    call->owner = owner;
    start_read(call);
}

const char *rpc_call_peer(const struct rpc_call *call) {
    return call->peer;
}

bool rpc_call_is_writing(const struct rpc_call *call) {
    return call->is_writing;
}
