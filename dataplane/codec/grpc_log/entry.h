/* entry.h — one exchange as an entry of an access log service: HTTPAccessLogEntry or TCPAccessLogEntry of
 * envoy.data.accesslog.v3 (proto/envoy/data/accesslog/v3/accesslog.proto has the declarations). Thread: the worker's. */
#pragma once

#include "dataplane/codec/grpc_log/wire.h"

struct exchange;

enum { LOG_ENTRY_MAX = 24 << 10 };   /* any entry fits */

/* Writes the entry as a field 1 of the message that it goes into. Returns its bytes, or 0 when `size` is too small. */
size_t log_entry_write(const struct exchange *x, uint8_t *room, size_t size);
