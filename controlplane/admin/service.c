#include "common/alloc.h"
#include "controlplane/admin/internal.h"
#include "controlplane/xds/csds.h"

struct admin_handler {
    enum admin_method method;
    const char *name;
    const ProtobufCMessageDescriptor *request;
    void (*handle)(struct admin_call *call, const ProtobufCMessage *request);
};

static const struct admin_handler handlers[] = {
    {ADMIN_PUSH, "push", &headgate__push_request__descriptor, admin_push},
    {ADMIN_LOG, "log", &headgate__log_request__descriptor, admin_log},
    {ADMIN_SHOW, "show", &headgate__show_request__descriptor, admin_show},
    {ADMIN_DIFF, "diff", &headgate__diff_request__descriptor, admin_diff},
    {ADMIN_STATUS, "status", &headgate__status_request__descriptor, admin_status},
    {ADMIN_EXPLAIN, "explain", &headgate__explain_request__descriptor, admin_explain},
    {ADMIN_VERIFY, "verify", &headgate__verify_request__descriptor, admin_verify},
    {ADMIN_GC, "gc", &headgate__gc_request__descriptor, admin_gc},
    {ADMIN_TOP, "top", &headgate__top_request__descriptor, admin_top},
};

const char *admin_method_name(enum admin_method method) {
    return handlers[method].name;
}

/* ---- one call ---- */

/* The end comes when the call is closed and the handler has answered, in either order. */
static void destroy_if_over(struct admin_call *call) {
    if (call->call || (call->has_request && !call->is_answered))
        return;
    arena_finish(&call->arena);
    hg_free(call);
}

static void on_message(void *owner, const ProtobufCMessage *request) {
    struct admin_call *call = owner;
    if (call->has_request)
        return; /* one request a call; more of them are ignored */
    call->has_request = true;
    call->admin->calls[call->handler->method]++;
    call->handler->handle(call, request);
}

/* The client has sent all it has to send: a unary call is answered by its handler. */
static void on_half_closed(void *owner) {
    struct admin_call *call = owner;
    if (!call->has_request)
        rpc_call_finish(call->call, GRPC_STATUS_INVALID_ARGUMENT, "a call without a request");
}

static void on_closed(void *owner) {
    struct admin_call *call = owner;
    call->call = NULL;
    destroy_if_over(call);
}

void admin_reply(struct admin_call *call, const ProtobufCMessage *reply) {
    call->is_answered = true;
    if (call->call)
        rpc_call_reply(call->call, reply);
    else
        destroy_if_over(call);
}

static const struct rpc_call_handlers *call_handlers(const struct admin_handler *handler) {
    static struct rpc_call_handlers table[ADMIN_METHODS];
    table[handler->method] = (struct rpc_call_handlers){
        .type = handler->request, .message = on_message, .half_closed = on_half_closed, .closed = on_closed};
    return &table[handler->method];
}

static void start_call(void *context, const struct rpc_method *method, struct rpc_call *rpc) {
    struct admin_call *call = hg_calloc(1, sizeof *call);
    if (!call) {
        rpc_call_finish(rpc, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
        return;
    }
    call->admin = context;
    call->call = rpc;
    call->handler = method->detail;
    rpc_call_accept(rpc, call_handlers(call->handler), call);
}

const struct rpc_method admin_methods[] = {
    {"/headgate.Admin/Push", start_call, &handlers[ADMIN_PUSH]},
    {"/headgate.Admin/Log", start_call, &handlers[ADMIN_LOG]},
    {"/headgate.Admin/Show", start_call, &handlers[ADMIN_SHOW]},
    {"/headgate.Admin/Diff", start_call, &handlers[ADMIN_DIFF]},
    {"/headgate.Admin/Status", start_call, &handlers[ADMIN_STATUS]},
    {"/headgate.Admin/Explain", start_call, &handlers[ADMIN_EXPLAIN]},
    {"/headgate.Admin/Verify", start_call, &handlers[ADMIN_VERIFY]},
    {"/headgate.Admin/Gc", start_call, &handlers[ADMIN_GC]},
    {"/headgate.Admin/Top", start_call, &handlers[ADMIN_TOP]},
    {XDS_CSDS_SERVICE "/FetchClientStatus", admin_fetch_client_status, NULL},
    {XDS_CSDS_SERVICE "/StreamClientStatus", admin_stream_client_status, NULL},
    {0},
};

/* ---- push: the only one that takes its time ---- */

static void on_pushed(void *context, const Headgate__PushReply *reply) {
    admin_reply(context, &reply->base);
}

void admin_push(struct admin_call *call, const ProtobufCMessage *request) {
    engine_push(call->admin->engine, (const Headgate__PushRequest *)request, on_pushed, call);
}
