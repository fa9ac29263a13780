/* stream_internal.h — what channel.c and stream.c share. */
#pragma once

#include <grpc/grpc.h>

#include "controlplane/rpc/stream.h"

/* The channel for a new call, connected or to be connected; it stands as long as the call (rpc_channel_call_ended).
 * NULL with a reason in `errors`. */
grpc_channel    *rpc_channel_begin_call(struct rpc_channel *c, struct error_list *errors);
/* The call has ended or is not waited for any more. `is_unavailable`: that was its status. */
void             rpc_channel_call_ended(struct rpc_channel *c, bool is_unavailable);
struct rpc_loop *rpc_channel_loop(const struct rpc_channel *c);
