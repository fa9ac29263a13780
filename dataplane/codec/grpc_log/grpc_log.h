/* grpc_log.h — access log entries on their way to services that speak Envoy's gRPC access log protocol
 * (envoy.service.accesslog.v3.AccessLogService).
 *
 *   exchange over -> log_entry_write -> ring of its log -> message, when due -> log_stream -> an endpoint of the cluster
 *
 * A log is a service on one worker. Entries wait in its ring, which has a bound: those that find no room are dropped and
 * counted, and no request ever waits for a service. A message goes when enough bytes wait, or after the interval; one at a
 * time, and the ring keeps it until all of it is with the connection. A stream that breaks is opened again, later each
 * time. A new snapshot ends the streams of the one before in good order, within a second. Thread: the worker's, where
 * nothing else is said. */
#pragma once

#include "dataplane/http/definitions.h"

struct exchange;
struct grpc_log;
struct grpc_logs;
struct worker;

/* How this data plane is called among others. Set once, before the first stream; kept by the caller. Thread: main. */
void grpc_logs_set_node(const char *node);

/* Of one worker; worker->log_services is to be it. NULL: no memory. Thread: main, before the worker's begins. */
struct grpc_logs *grpc_logs_create(struct worker *w);
/* Sends what it can, and ends all streams; then the worker flushes once, and grpc_logs_destroy may follow. Both before the
 * worker's clusters go. Thread: main, after the worker's has ended. NULL is allowed. */
void grpc_logs_end(struct grpc_logs *logs);
void grpc_logs_destroy(struct grpc_logs *logs);

/* The services of the worker's new snapshot, which is its view already. Logs of others go after `patience` (us), which is
 * for exchanges that began before. */
void grpc_logs_renew(struct grpc_logs *logs, const struct log_service *const *services, unsigned count, uint64_t patience);
/* The data plane is about to end: from now on nothing waits for more, and streams end when the worker's last connection is
 * gone. Who does not wait for that (access_log_service_streams is 0 then) may lose what services have not read: a
 * connection that is closed in front of bytes that nobody has read is reset. */
void grpc_logs_hurry(struct grpc_logs *logs);

/* The exchange is over: puts an entry into the log of each service of its listener. */
void grpc_logs_write(struct exchange *x);
