#include "controlplane/rpc/client.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "controlplane/rpc/message.h"

enum { TICK_US = 100000 };

struct rpc_client {
    grpc_completion_queue *queue;
    grpc_channel *channel;
};

/* Everything that gRPC fills in while a call runs. */
struct exchange {
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *request, *reply;
    grpc_status_code status;
    grpc_slice text;
};

static void log_nothing(gpr_log_func_args *args) {
    (void)args; /* what matters comes back as a status */
}

struct rpc_client *rpc_client_create(const char *address, int message_max) {
    struct rpc_client *c = hg_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    gpr_set_log_function(log_nothing);
    grpc_init();
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
         .value.integer = message_max},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_RETRIES, .value.integer = 0},
    };
    const grpc_channel_args list = {.num_args = sizeof args / sizeof *args, .args = args};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    c->queue = grpc_completion_queue_create_for_next(NULL);
    c->channel = grpc_channel_create(address, credentials, &list);
    grpc_channel_credentials_release(credentials);
    return c;
}

void rpc_client_destroy(struct rpc_client *c) {
    if (!c)
        return;
    grpc_channel_destroy(c->channel);
    grpc_completion_queue_shutdown(c->queue);
    while (grpc_completion_queue_next(c->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        continue;
    grpc_completion_queue_destroy(c->queue);
    grpc_shutdown_blocking();
    hg_free(c);
}

static gpr_timespec after(uint64_t us) {
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros((int64_t)us, GPR_TIMESPAN));
}

/* All operations in one batch: it completes when the status has come, whatever became of the rest. */
static void start(struct exchange *x) {
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = x->request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &x->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &x->reply},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &x->trailing,
                                        .status = &x->status,
                                        .status_details = &x->text}},
    };
    grpc_call_start_batch(x->call, ops, sizeof ops / sizeof *ops, x, NULL);
}

static void wait_for_end(struct rpc_client *c, const struct rpc_client_call *call) {
    uint64_t started = clock_monotonic_us();
    for (;;) {
        gpr_timespec until = call->waiting ? after(TICK_US) : gpr_inf_future(GPR_CLOCK_MONOTONIC);
        if (grpc_completion_queue_next(c->queue, until, NULL).type == GRPC_OP_COMPLETE)
            return;
        if (call->waiting)
            call->waiting(call->context, clock_monotonic_us() - started);
    }
}

static void exchange_finish(struct exchange *x) {
    grpc_metadata_array_destroy(&x->initial);
    grpc_metadata_array_destroy(&x->trailing);
    if (x->request)
        grpc_byte_buffer_destroy(x->request);
    if (x->reply)
        grpc_byte_buffer_destroy(x->reply);
    grpc_slice_unref(x->text);
    grpc_call_unref(x->call);
}

static ProtobufCMessage *take_reply(struct exchange *x, const struct rpc_client_call *call,
                                    struct error_list *errors) {
    ProtobufCMessage *reply = NULL;
    if (x->status == GRPC_STATUS_OK && x->reply) {
        reply = rpc_message_unpack(x->reply, call->reply_type);
        if (!reply)
            error_addf(errors, ERROR_SYNTAX, "the answer is not a message of this method");
        return reply;
    }
    char *text = grpc_slice_to_c_string(x->text);
    error_addf(errors, ERROR_IO, "%s", text[0] ? text : "no answer");
    gpr_free(text);
    return NULL;
}

ProtobufCMessage *rpc_client_call(struct rpc_client *c, const struct rpc_client_call *call,
                                  grpc_status_code *ret_status, struct error_list *errors) {
    struct exchange x = {.text = grpc_empty_slice()};
    grpc_slice method = grpc_slice_from_copied_string(call->method),
               host = grpc_slice_from_static_string("localhost");
    x.request = rpc_message_pack(call->request);
    if (!x.request) {
        error_addf(errors, ERROR_MEMORY, "no memory for the request");
        *ret_status = GRPC_STATUS_RESOURCE_EXHAUSTED;
        return NULL;
    }
    grpc_metadata_array_init(&x.initial);
    grpc_metadata_array_init(&x.trailing);
    x.call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue, method, &host,
                                      after(call->timeout_us), NULL);
    start(&x);
    wait_for_end(c, call);
    ProtobufCMessage *reply = take_reply(&x, call, errors);
    *ret_status = x.status;
    exchange_finish(&x);
    grpc_slice_unref(method);
    return reply;
}
