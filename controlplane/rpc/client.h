/* client.h — blocking unary calls, for command-line programs. Thread: one at a time. */
#pragma once

#include <grpc/status.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct rpc_client;

/* `address` as gRPC writes it: "unix:/run/headgate/control.sock". Connects with the first call. NULL without memory. */
struct rpc_client *rpc_client_create(const char *address, int message_max);
void rpc_client_destroy(struct rpc_client *c); /* NULL is allowed */

struct rpc_client_call {
    const char *method;             /* "/headgate.Admin/Status" */
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *reply_type;
    uint64_t timeout_us;
    /* Called about ten times a second while the answer is awaited; NULL: not wanted. */
    void (*waiting)(void *context, uint64_t elapsed_us);
    void *context;
};

/* Returns the reply, to be freed with protobuf_c_message_free_unpacked, or NULL with a reason in `errors` and the status in
 * *ret_status: UNAVAILABLE when nobody answers at the address, DEADLINE_EXCEEDED when nothing came in time. */
ProtobufCMessage *rpc_client_call(struct rpc_client *c, const struct rpc_client_call *call, grpc_status_code *ret_status,
                                  struct error_list *errors);
