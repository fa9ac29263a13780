/* grpc.h — what the gateway itself must know of gRPC (grpc/doc/PROTOCOL-HTTP2.md): deadlines, and how an error is said.
 * Thread: any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/http/abort.h"
#include "dataplane/http/head.h"

struct arena;

/* The content type is application/grpc, with or without a suffix. */
bool grpc_is_request(const struct head *request);
/* The time that grpc-timeout gives the call, in microseconds, at most a year. False: there is none, or it is malformed. */
bool grpc_read_timeout(const struct head *request, uint64_t *ret);
/* Makes `head` the Trailers-Only answer of a call that we end: status 200 with grpc-status and grpc-message. 0, or -1
 * without memory. */
int  grpc_error(struct head *head, struct arena *arena, enum abort_code code, const char *message);
