/* Unary calls: round the members, with a token that etcd takes. */
#include <string.h>

#include "common/alloc.h"
#include "controlplane/etcd/client_internal.h"
#include "proto/message.h"

static const struct {
    const char *name;
    const ProtobufCMessageDescriptor *reply;
} methods[] = {
    [ETCD_RANGE] = {"/etcdserverpb.KV/Range", &etcdserverpb__range_response__descriptor},
    [ETCD_TXN] = {"/etcdserverpb.KV/Txn", &etcdserverpb__txn_response__descriptor},
    [ETCD_AUTHENTICATE] = {"/etcdserverpb.Auth/Authenticate", &etcdserverpb__authenticate_response__descriptor},
};

static int start(struct etcd_call *call, struct error_list *errors);

/* ---- the end ---- */

static void drop_reply(struct etcd_call *call) {
    if (call->reply)
        protobuf_c_message_free_unpacked(call->reply, NULL);
    call->reply = NULL;
}

static void clear(struct etcd_call *call) {
    drop_reply(call);
    if (call->request)
        explicit_bzero(call->request, call->request_n); /* that of a login has the password */
    hg_free(call->request);
    *call = (struct etcd_call){.done = call->done, .context = call->context};
}

static void leave_queue(struct etcd_call *call) {
    for (struct etcd_call **at = &call->etcd->waiting; *at; at = &(*at)->next)
        if (*at == call) {
            *at = call->next;
            return;
        }
}

void etcd_call_abandon(struct etcd_call *call) {
    if (!call->etcd)
        return;
    leave_queue(call);
    rpc_stream_abandon(call->stream);
    clear(call);
}

/* The call may be begun again from `done`, or be gone after it. */
static void finish(struct etcd_call *call, grpc_status_code status, struct str text) {
    ProtobufCMessage *reply = call->reply;
    call->reply = NULL;
    clear(call);
    call->done(call->context, status == GRPC_STATUS_OK ? reply : NULL, status, text);
    if (reply)
        protobuf_c_message_free_unpacked(reply, NULL);
}

/* ---- the token ---- */

static bool is_login(const struct etcd_call *call) {
    return call == &call->etcd->login;
}

static bool contains(struct str text, const char *part) {
    return text.n && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

/* etcd no longer takes the token: it is too old, the member was started anew, or users were changed. */
static bool is_of_token(grpc_status_code status, struct str text) {
    return status == GRPC_STATUS_UNAUTHENTICATED ||
           (status == GRPC_STATUS_INVALID_ARGUMENT &&
            (contains(text, "revision of auth store is old") || contains(text, "user name is empty")));
}

static size_t count_waiting(const struct etcd *e) {
    size_t n = 0;
    for (const struct etcd_call *c = e->waiting; c; c = c->next)
        n++;
    return n;
}

/* Those that come while these are told wait for another one. */
static void serve_waiting(struct etcd *e, grpc_status_code status, struct str text) {
    for (size_t n = count_waiting(e); n > 0 && e->waiting; n--) {
        struct etcd_call *call = e->waiting;
        struct error_list errors = {0};
        e->waiting = call->next;
        call->next = NULL;
        if (!e->token)
            finish(call, status, text);
        else if (start(call, &errors) < 0)
            finish(call, GRPC_STATUS_INTERNAL, errors.count ? str_of(errors.items[0].message) : STR("no memory for a call"));
        error_list_finish(&errors);
    }
}

static void on_login(void *context, const ProtobufCMessage *reply, grpc_status_code status, struct str text) {
    struct etcd *e = context;
    const char *token = reply ? ((const Etcdserverpb__AuthenticateResponse *)reply)->token : NULL;
    if (contains(text, "authentication is not enabled"))
        token = "";
    if (token && !(e->token = hg_strdup(token))) {
        status = GRPC_STATUS_INTERNAL;
        text = STR("no memory for a token");
    }
    e->logins += e->token != NULL;
    serve_waiting(e, status, text);
}

static int log_in(struct etcd *e, struct error_list *errors) {
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    if (e->login.etcd)
        return 0;
    request.name = e->user;
    request.password = e->password ? e->password : (char *)(uintptr_t)token_file_get(e->password_file);
    e->login = (struct etcd_call){.done = on_login, .context = e};
    return etcd_call_begin(e, &e->login, ETCD_AUTHENTICATE, &request.base, errors);
}

/* 0, or -1 with a reason. */
static int wait_for_token(struct etcd_call *call, struct error_list *errors) {
    struct etcd *e = call->etcd;
    struct etcd_call **last = &e->waiting;
    while (*last)
        last = &(*last)->next;
    call->next = NULL;
    *last = call;
    if (log_in(e, errors) == 0)
        return 0;
    leave_queue(call);
    return -1;
}

static int renew_token(struct etcd_call *call, struct error_list *errors) {
    hg_free(call->etcd->token);
    call->etcd->token = NULL;
    call->has_renewed = true;
    call->tries = 0;
    return wait_for_token(call, errors);
}

/* ---- one attempt ---- */

static void on_message(void *owner, struct str bytes) {
    struct etcd_call *call = owner;
    if (message_unpack(call->type, NULL, bytes, &call->reply) < 0)
        call->is_too_big = true;
}

static void on_closed(void *owner, grpc_status_code status, struct str text) {
    struct etcd_call *call = owner;
    struct etcd *e = call->etcd;
    struct error_list ignored = {0}; /* what has failed before is told */
    call->stream = NULL;
    if (status != GRPC_STATUS_OK)
        drop_reply(call); /* its member may have died behind it */
    if (status == GRPC_STATUS_OK && !call->reply) {
        status = GRPC_STATUS_INTERNAL;
        text = call->is_too_big ? STR("an answer that cannot be read") : STR("no answer");
    }
    bool is_again = false;
    if (etcd_is_of_member(status)) {
        etcd_member_failed(e, call->member, status, text);
        is_again = ++call->tries < e->address.member_count && start(call, &ignored) == 0;
    } else {
        etcd_member_answered(e, call->member);
        is_again = e->user && !is_login(call) && !call->has_renewed && is_of_token(status, text) &&
                   renew_token(call, &ignored) == 0;
    }
    error_list_finish(&ignored);
    if (!is_again)
        finish(call, status, text);
}

static const struct rpc_stream_handlers handlers = {.message = on_message, .closed = on_closed};

static int start(struct etcd_call *call, struct error_list *errors) {
    struct etcd *e = call->etcd;
    struct rpc_metadata metadata[ETCD_METADATA_MAX];
    if (e->user && !e->token && !is_login(call))
        return wait_for_token(call, errors);
    const struct rpc_stream_options o = {.method = call->method, .metadata = metadata,
                                         .metadata_count = etcd_metadata(e, metadata), .timeout_us = ETCD_CALL_TIMEOUT_US};
    call->member = e->used;
    call->is_too_big = false;
    call->stream = rpc_stream_call(e->members[e->used].channel, &o,
                                   (struct str){(const char *)call->request, call->request_n}, &handlers, call, errors);
    return call->stream ? 0 : -1;
}

int etcd_call_begin(struct etcd *e, struct etcd_call *call, enum etcd_method method, const ProtobufCMessage *request,
                    struct error_list *errors) {
    size_t n = protobuf_c_message_get_packed_size(request);
    if (e->is_stopped) {
        error_addf(errors, ERROR_STATE, "etcd is asked no more");
        return -1;
    }
    *call = (struct etcd_call){.done = call->done, .context = call->context, .etcd = e, .method = methods[method].name,
                               .type = methods[method].reply, .request_n = n, .request = hg_malloc(n ? n : 1)};
    if (call->request)
        protobuf_c_message_pack(request, call->request);
    else
        error_addf(errors, ERROR_MEMORY, "no memory to ask etcd");
    if (call->request && start(call, errors) == 0)
        return 0;
    clear(call);
    return -1;
}
