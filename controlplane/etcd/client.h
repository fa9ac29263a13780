/* client.h — the members of one etcd, as whoever asks sees them: one that answers.
 *
 * Calls go to the member that answered last. One that cannot be reached, does not answer in time or has no leader is left
 * for the next, and the call goes there, once around; what waits between rounds is the caller's. A call may so reach etcd
 * twice: callers ask only what may be asked twice. With a user and a password a token is fetched before the first call, and
 * again when etcd no longer takes it. Thread: the loop's. */
#pragma once

#include "common/error.h"
#include "controlplane/etcd/address.h"
#include "controlplane/rpc/stream.h"
#include "proto/etcd/rpc.pb-c.h"

enum {
    ETCD_MESSAGE_MAX = 16 << 20,        /* bytes of an answer; etcd takes requests of 1.5 MiB */
    ETCD_CALL_TIMEOUT_US = 10000000,    /* for one member; etcd itself gives up after 7 s */
};

#define ETCD_PASSWORD_VARIABLE "HEADGATE_ETCD_PASSWORD"

/* Texts outlive the call of etcd_create. */
struct etcd_options {
    const char *address;                /* see address.h */
    const char *authority, *certificate, *key; /* PEM files, for etcds:// */
    const char *user, *password_file;   /* without a file the password is that of ETCD_PASSWORD_VARIABLE */
};

struct etcd;

/* NULL with reasons in `errors`. Nothing is connected yet. */
struct etcd *etcd_create(struct rpc_loop *rpc, const struct etcd_options *o, struct error_list *errors);
/* No call is under way any more, and none begins: before the RPC loop ends. */
void etcd_stop(struct etcd *e);
void etcd_destroy(struct etcd *e);      /* NULL is allowed */
const char *etcd_prefix(const struct etcd *e);
struct rpc_loop *etcd_rpc(const struct etcd *e);

/* ---- calls ---- */

/* One unary call; lives in who calls. */
struct etcd_call {
    /* Runs once, from the loop: the reply, valid during the call, or NULL, and why. */
    void (*done)(void *context, const ProtobufCMessage *reply, grpc_status_code status, struct str text);
    void *context;

    struct etcd       *etcd;            /* the rest is the client's; NULL: not under way */
    const char        *method;
    const ProtobufCMessageDescriptor *type;
    uint8_t           *request;
    size_t             request_n;
    struct rpc_stream *stream;
    ProtobufCMessage  *reply;
    bool               is_too_big;      /* the reply, or there is no memory for it */
    size_t             member, tries;
    bool               has_renewed;     /* its token was refused before */
    struct etcd_call  *next;            /* waits for the token */
};

enum etcd_method { ETCD_RANGE, ETCD_TXN, ETCD_AUTHENTICATE };

/* `done` and `context` are set, the rest is zeroed or what a call that has ended left. 0, or -1 with a reason: it was not
 * begun (no memory, a certificate that can no longer be read, or the client was stopped). */
int  etcd_call_begin(struct etcd *e, struct etcd_call *call, enum etcd_method method, const ProtobufCMessage *request,
                     struct error_list *errors);
/* `done` does not run any more. Also of one that is not under way. */
void etcd_call_abandon(struct etcd_call *call);

/* A watch on the member that calls go to, with the token that they have. NULL with a reason. What its end means is told by
 * etcd_watch_ended. */
struct rpc_stream *etcd_open_watch(struct etcd *e, const struct rpc_stream_handlers *handlers, void *owner,
                                   size_t *ret_member, struct error_list *errors);
void etcd_watch_ended(struct etcd *e, size_t member, grpc_status_code status, struct str text);

/* "UNAVAILABLE: connection refused": for people. */
void etcd_format_failure(grpc_status_code status, struct str text, struct strbuf *out);

/* ---- for status ---- */

struct etcd_member_status {
    const char *name;                   /* "host:port" */
    bool        is_used, is_connected;
    const char *error;                  /* the last failure since it answered; "": none */
    uint64_t    failed_at, answered_at; /* microseconds since 1970; 0: never */
    uint64_t    failures;
};

size_t etcd_member_count(const struct etcd *e);
void   etcd_member_status(const struct etcd *e, size_t member, struct etcd_member_status *ret);
uint64_t etcd_logins(const struct etcd *e); /* tokens that were fetched */
