/* grpc_stream.h — one bidirectional gRPC call as a client, over HTTP/2 (RFC 9113) by nghttp2: bytes in, bytes
 * out, no socket.
 *
 * The framing is gRPC's: five bytes before each message (compression flag, which must be 0, and length),
 * status in the trailers. Everything is bounded: a message by MESSAGE_MAX, what waits to be sent by
 * GRPC_OUTPUT_MAX. Thread: main. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { GRPC_OUTPUT_MAX = 128 << 20 };

struct grpc_stream;

/* Called from within grpc_stream_receive(); may call grpc_stream_send(), must not destroy the stream. -1:
 * this stream is to be closed; grpc_stream_receive() returns it. */
typedef int grpc_on_message(void *owner, const uint8_t *message, size_t size);

/* Opens the call "/package.Service/Method" on a new connection; texts are copied. NULL: no memory. */
struct grpc_stream *grpc_stream_create(const char *scheme, const char *authority, const char *path,
                                       grpc_on_message *on_message, void *owner);
void grpc_stream_destroy(struct grpc_stream *s);   /* NULL is allowed */

/* Bytes from the peer. 0, or -1 with the reason in `errors` (unless on_message gave it): close the
 * connection. */
int  grpc_stream_receive(struct grpc_stream *s, const uint8_t *bytes, size_t size, struct error_list *errors);
/* Queues one message. 0, or -1: no memory, or the peer takes too little. */
int  grpc_stream_send(struct grpc_stream *s, const uint8_t *message, size_t size);
/* Bytes for the peer; valid until the next call of any function here. Returns their number, 0 when there are
 * none for now, -1: no memory. Everything returned counts as sent. */
ptrdiff_t grpc_stream_output(struct grpc_stream *s, const uint8_t **ret);
size_t grpc_stream_waiting(const struct grpc_stream *s); /* bytes of messages that were not given out yet */

/* Sends a PING; -1: no memory. The answer clears grpc_stream_awaits_pong(). */
int  grpc_stream_ping(struct grpc_stream *s);
bool grpc_stream_awaits_pong(const struct grpc_stream *s);

/* Whether the peer has ended the call; then *ret_status is gRPC's status (0: as asked) and *ret_message its
 * text, valid as long as the stream. */
bool grpc_stream_has_ended(const struct grpc_stream *s, int *ret_status, const char **ret_message);
