/* Client status (CSDS) beside the Admin service: what grpcdebug and istioctl ask. */
#include "common/alloc.h"
#include "common/clock.h"
#include "controlplane/admin/internal.h"
#include "controlplane/xds/csds.h"

/* One call, unary or a stream with an answer for each request. */
struct status_call {
    struct admin    *admin;
    struct rpc_call *call;
    bool             is_stream;
    bool             has_request;
    bool             is_asked;          /* while the answer before is being sent: this request is answered next */
    bool             excludes_contents; /* of that request */
    bool             is_ending;         /* the client asks no more */
};

static void send_answer(struct status_call *c, const Envoy__Service__Status__V3__ClientStatusRequest *request) {
    Envoy__Service__Status__V3__ClientStatusResponse answer;
    struct arena arena;
    arena_init(&arena, NULL, 0, XDS_CSDS_BYTES_MAX);
    int status = xds_csds_answer(c->admin->csds, request, clock_monotonic_us(), clock_realtime_us(), &arena, &answer);
    if (status == 0 && !c->is_stream)
        rpc_call_reply(c->call, &answer.base);
    else if (status == 0)
        status = rpc_call_send(c->call, &answer.base);
    if (status < 0)
        rpc_call_finish(c->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
    arena_finish(&arena);
}

/* Requests that come while an answer is being sent are answered together: each is about what there is now. */
static void on_message(void *owner, const ProtobufCMessage *m) {
    struct status_call *c = owner;
    const Envoy__Service__Status__V3__ClientStatusRequest *request =
        (const Envoy__Service__Status__V3__ClientStatusRequest *)m;
    if (c->has_request && !c->is_stream)
        return; /* one request a call; more of them are ignored */
    c->has_request = true;
    if (request->n_node_matchers > 0) {
        rpc_call_finish(c->call, GRPC_STATUS_INVALID_ARGUMENT, "node_matchers are not supported: there is one node");
    } else if (rpc_call_is_writing(c->call)) {
        c->is_asked = true;
        c->excludes_contents = request->exclude_resource_contents;
    } else {
        send_answer(c, request);
    }
}

static void on_writable(void *owner) {
    struct status_call *c = owner;
    Envoy__Service__Status__V3__ClientStatusRequest request = ENVOY__SERVICE__STATUS__V3__CLIENT_STATUS_REQUEST__INIT;
    request.exclude_resource_contents = c->excludes_contents;
    if (c->is_asked)
        send_answer(c, &request);
    else if (c->is_ending)
        rpc_call_finish(c->call, GRPC_STATUS_OK, "");
    c->is_asked = false;
}

static void on_half_closed(void *owner) {
    struct status_call *c = owner;
    c->is_ending = true;
    if (!c->is_stream && !c->has_request)
        rpc_call_finish(c->call, GRPC_STATUS_INVALID_ARGUMENT, "a call without a request");
    else if (c->is_stream && !rpc_call_is_writing(c->call))
        rpc_call_finish(c->call, GRPC_STATUS_OK, "");
}

static void on_closed(void *owner) {
    hg_free(owner);
}

static void start(void *context, struct rpc_call *rpc, bool is_stream) {
    static const struct rpc_call_handlers handlers = {
        .type = &envoy__service__status__v3__client_status_request__descriptor, .message = on_message,
        .writable = on_writable, .half_closed = on_half_closed, .closed = on_closed};
    struct status_call *c = hg_calloc(1, sizeof *c);
    if (!c) {
        rpc_call_finish(rpc, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
        return;
    }
    c->admin = context;
    c->call = rpc;
    c->is_stream = is_stream;
    rpc_call_accept(rpc, &handlers, c);
}

void admin_fetch_client_status(void *context, const struct rpc_method *method, struct rpc_call *call) {
    (void)method;
    start(context, call, false);
}

void admin_stream_client_status(void *context, const struct rpc_method *method, struct rpc_call *call) {
    (void)method;
    start(context, call, true);
}
