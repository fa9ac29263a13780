/* stats.h — what a worker counts.
 *
 * One block per worker, written by that worker alone and read by the main thread (relaxed atomics both ways, so no locked
 * instruction on the request path). Counters only grow; gauges go both ways. The list below is the single place that names
 * them: metric name without the "headgate_" prefix, help text. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define STATS_COUNTERS(X)                                                                          \
    X(connections_total, "Client connections accepted")                                            \
    X(connections_refused_per_ip_total, "Client connections closed at accept: too many from their address") \
    X(connections_refused_limit_total, "Client connections closed at accept: worker limit reached") \
    X(connections_accept_errors_total, "accept(2) failures")                                       \
    X(requests_total, "Requests begun")                                                            \
    X(responses_1xx_total, "Interim responses sent")                                               \
    X(responses_2xx_total, "Responses sent with a 2xx status")                                     \
    X(responses_3xx_total, "Responses sent with a 3xx status")                                     \
    X(responses_4xx_total, "Responses sent with a 4xx status")                                     \
    X(responses_5xx_total, "Responses sent with a 5xx status")                                     \
    X(client_received_bytes_total, "Bytes read from clients; of QUIC, datagrams of connections")    \
    X(client_sent_bytes_total, "Bytes written to clients; of QUIC, datagrams of connections")       \
    X(origin_received_bytes_total, "Bytes read from origins; of QUIC, datagrams of connections")    \
    X(origin_sent_bytes_total, "Bytes written to origins; of QUIC, datagrams of connections")       \
    X(client_protocol_errors_total, "Malformed requests")                                          \
    X(origin_protocol_errors_total, "Malformed responses")                                         \
    X(client_header_timeouts_total, "Requests whose head did not arrive in time")                  \
    X(client_handshake_timeouts_total, "TLS handshakes of clients that took too long")             \
    X(proxy_header_errors_total, "Connections from trusted proxies without a good PROXY header")   \
    X(client_body_timeouts_total, "Requests whose body did not arrive in time or fast enough")     \
    X(client_write_timeouts_total, "Clients that did not take their response in time")             \
    X(client_idle_timeouts_total, "Idle client connections closed")                                \
    X(client_aborts_total, "Exchanges that the client gave up")                                    \
    X(origin_connects_total, "Connections opened to origins")                                      \
    X(origin_connect_failures_total, "Connections to origins that failed")                         \
    X(origin_connect_timeouts_total, "Connections to origins that timed out")                      \
    X(origin_fallback_connects_total, "Connections over TCP to origins of HTTP/3")                 \
    X(origin_http3_late_total, "HTTP/3 handshakes with origins that were late: TCP was tried beside them") \
    X(origin_http3_failures_total, "HTTP/3 handshakes with origins that failed, where TCP is a fallback") \
    X(origin_reuses_total, "Exchanges on a kept origin connection")                                \
    X(origin_resets_total, "Exchanges that the origin broke off")                                  \
    X(origin_timeouts_total, "Exchanges that waited too long for the origin")                      \
    X(retries_total, "Attempts after the first")                                                   \
    X(retries_unprocessed_total, "Of those, because a connection was closed or the origin refused before it looked") \
    X(retries_connect_total, "Of those, because connecting failed")                                \
    X(retries_reset_total, "Of those, because the origin broke off")                               \
    X(retries_timeout_total, "Of those, because the origin was too late")                          \
    X(retries_status_total, "Of those, because of the status of the answer")                       \
    X(retry_successes_total, "Requests that were answered after a retry")                          \
    X(retries_over_budget_total, "Retries and hedges that the retry budget did not allow")         \
    X(hedges_total, "Second attempts beside a late first one")                                     \
    X(hedges_with_body_total, "Requests that were not hedged because they have a body")            \
    X(hedges_won_total, "Of those, the ones that answered first")                                  \
    X(requests_overflow_total, "Requests refused: too many under way to their cluster")            \
    X(pending_overflow_total, "Requests refused: too many waited already")                         \
    X(connections_overflow_total, "Requests refused: too many connections to their cluster")       \
    X(endpoint_overflow_total, "Requests refused: every endpoint that was asked is at its bound")  \
    X(pending_timeouts_total, "Requests refused after they had waited for room or an endpoint")    \
    X(no_route_total, "Requests without a matching route")                                         \
    X(no_endpoint_total, "Requests whose cluster had no usable endpoint")                          \
    X(requests_too_large_total, "Requests refused with 413, 414 or 431")                           \
    X(overload_total, "Requests refused because the worker was out of memory or budget")           \
    X(h2_floods_total, "HTTP/2 connections closed: their peer cost too much")                      \
    X(h2_protocol_errors_total, "HTTP/2 connections closed: their peer broke the protocol")        \
    X(h3_floods_total, "HTTP/3 connections closed: their peer cost too much")                      \
    X(h3_protocol_errors_total, "HTTP/3 connections closed: their peer broke the protocol")        \
    X(h3_heads_refused_total, "Heads and trailers beyond what one HTTP/3 connection may hold")      \
    X(h2_heads_refused_total, "Heads and trailers beyond what one HTTP/2 connection may hold")      \
    X(quic_connections_total, "QUIC connections that clients began")                               \
    X(quic_handshakes_total, "Of those, the ones whose handshake was done")                        \
    X(quic_handshake_timeouts_total, "Of those, the ones whose handshake took too long")           \
    X(quic_refused_total, "QUIC connections refused: nobody speaks on them, or the listener is going away") \
    X(quic_overload_total, "First packets of QUIC clients dropped: too many handshakes, or no memory") \
    X(quic_retries_total, "QUIC clients asked to show their address (Retry)")                      \
    X(quic_tokens_accepted_total, "QUIC clients that showed their address with a token")           \
    X(quic_tokens_bad_total, "QUIC clients refused: a token of another address or time")           \
    X(quic_version_negotiations_total, "QUIC clients told which versions there are")               \
    X(quic_resets_sent_total, "Stateless resets sent for connections that nobody knows")           \
    X(quic_resets_received_total, "QUIC connections ended by a stateless reset")                   \
    X(quic_unanswered_total, "Datagrams without a connection left unanswered: too many of their kind in a second") \
    X(quic_unknown_total, "Datagrams for QUIC connections that nobody knows")                      \
    X(quic_malformed_total, "Datagrams that cannot be QUIC, or no connection can begin with")      \
    X(quic_astray_total, "Datagrams of QUIC connections of other workers, given to them")          \
    X(quic_astray_dropped_total, "Datagrams of QUIC connections of other workers or processes, dropped") \
    X(quic_early_total, "QUIC clients whose early data (0-RTT) was taken")                         \
    X(quic_early_refused_total, "QUIC clients whose early data was refused: perhaps sent again")   \
    X(quic_migrations_total, "Changes of address of QUIC clients that were validated")             \
    X(quic_paths_shrunk_total, "Times that QUIC sent small datagrams for a while, as larger ones were lost") \
    X(quic_protocol_errors_total, "QUIC connections closed: their peer broke the protocol")        \
    X(quic_packets_lost_total, "QUIC packets that were not acknowledged in time, of connections that ended") \
    X(access_log_dropped_total, "Access log records dropped because the writer was behind")        \
    X(access_log_service_entries_total, "Entries sent to access log services")                     \
    X(access_log_service_dropped_total, "Entries for access log services that found no room")      \
    X(access_log_service_streams_total, "Streams begun to access log services")                    \
    X(access_log_service_failures_total, "Streams to access log services that broke, or could not be begun") \
    X(tunnels_total, "Upgraded exchanges")                                                         \
    X(tcp_connections_total, "Connections of TCP listeners, from accept")                          \
    X(tcp_unconnected_total, "Of those, the ones that ended before they had an endpoint")          \
    X(tcp_received_bytes_total, "Bytes that clients of TCP listeners sent, without TLS")           \
    X(tcp_sent_bytes_total, "Bytes passed on to clients of TCP listeners, without TLS")            \
    X(udp_received_total, "Datagrams received")                                                    \
    X(udp_received_bytes_total, "Bytes in datagrams received")                                     \
    X(udp_sent_total, "Datagrams sent")                                                            \
    X(udp_sent_bytes_total, "Bytes in datagrams sent")                                             \
    X(udp_overflows_total, "Datagrams that the kernel dropped because a socket's buffer was full") \
    X(udp_send_blocked_total, "Bursts of datagrams that a full socket buffer held up")             \
    X(udp_send_errors_total, "Bursts of datagrams that could not be sent")                         \
    X(udp_forwarded_total, "Datagrams passed on to the worker that they belong to")                \
    X(udp_forwards_dropped_total, "Datagrams for another worker that found no room or no socket there") \
    X(quic_pass_flows_total, "QUIC flows begun by listeners that pass QUIC through")               \
    X(quic_pass_proven_total, "Of those, the ones whose clients have shown that they receive answers") \
    X(quic_pass_moved_total, "Of those, the ones of connections that were known, from another address") \
    X(quic_pass_received_bytes_total, "Bytes of datagrams from clients of listeners that pass QUIC through") \
    X(quic_pass_sent_bytes_total, "Bytes of datagrams from origins, passed on to such clients")    \
    X(quic_pass_evicted_total, "Unproven flows given up for newer ones")                           \
    X(quic_pass_unanswered_total, "Flows whose endpoint did not answer in time")                   \
    X(quic_pass_refused_total, "Times that the network said that an endpoint of a flow cannot be reached") \
    X(quic_pass_dropped_malformed_total, "Datagrams dropped: no QUIC packet that a client can send") \
    X(quic_pass_dropped_small_total, "Datagrams dropped: too short to begin a connection")         \
    X(quic_pass_dropped_unroutable_total, "Datagrams dropped: nothing says where their connection lives") \
    X(quic_pass_dropped_no_endpoint_total, "Datagrams dropped: their cluster had no usable endpoint") \
    X(quic_pass_dropped_full_total, "Datagrams dropped: no room for a new flow")                   \
    X(quic_pass_dropped_overflow_total, "Datagrams dropped: as many connections to their cluster as there may be") \
    X(quic_pass_dropped_rate_total, "Datagrams dropped: too many flows began at once")             \
    X(quic_pass_dropped_crowded_total, "Datagrams dropped for those of proven clients")            \
    X(quic_pass_drained_total, "Flows ended: their endpoint had drained, or been gone, for too long") \
    X(quic_pass_dropped_hello_total, "Datagrams dropped: no ClientHello, or one beyond the bounds") \
    X(quic_pass_dropped_unsent_total, "Datagrams dropped: a socket had no room, or they were too large for the path") \
    X(quic_pass_dropped_system_total, "Datagrams dropped: out of memory or descriptors")           \
    X(snapshots_total, "Snapshots switched to")

#define STATS_GAUGES(X)                                                                            \
    X(connections, "Open client connections")                                                      \
    X(tunnels, "Open tunnels")                                                                     \
    X(tcp_connections, "Open connections of TCP listeners")                                        \
    X(quic_pass_flows, "QUIC flows that are passed through")                                       \
    X(quic_pass_hellos, "Of those, the ones whose ClientHello has not come whole")                 \
    X(quic_pass_leaving, "QUIC flows that are passed through whose endpoint drains or is gone")    \
    X(exchanges, "Open exchanges")                                                                 \
    X(requests_pending, "Requests that wait for room or an endpoint")                              \
    X(origin_connections, "Open origin connections")                                               \
    X(origin_idle_connections, "Kept origin connections")                                          \
    X(endpoints_ejected, "Endpoints that outlier detection leaves alone at the moment")           \
    X(access_log_service_waiting_bytes, "Entries that wait for access log services")               \
    X(access_log_service_streams, "Streams to access log services, also those that are about to end") \
    X(buffered_bytes, "Body bytes held")                                                           \
    X(h2_session_bytes, "Bytes held for the state of HTTP/2 connections")                          \
    X(quic_connections, "Open QUIC connections of clients")                                        \
    X(quic_handshakes, "Handshakes of QUIC clients under way")                                     \
    X(quic_session_bytes, "Bytes held for the state of QUIC connections")

/* Why endpoints are ejected: name in code, word in metrics and logs. */
#define STATS_EJECTIONS(X)                                                                         \
    X(CONSECUTIVE_5XX, "consecutive-5xx")                                                          \
    X(CONSECUTIVE_GATEWAY_FAILURES, "consecutive-gateway-failures")                                \
    X(CONSECUTIVE_LOCAL_FAILURES, "consecutive-local-failures")                                    \
    X(SUCCESS_RATE, "success-rate")                                                                \
    X(FAILURE_PERCENT, "failure-percent")                                                          \
    X(LATENCY, "latency")

/* Why TLS handshakes fail, and connections break: name in code, word in metrics and logs. */
#define STATS_TLS_FAILURES(X)                                                                      \
    X(NONE, "")                                                                                    \
    X(NOT_TLS, "not-tls")                                                                          \
    X(VERSION, "no-shared-version")                                                                \
    X(CIPHER, "no-shared-cipher")                                                                  \
    X(GROUP, "no-shared-group")                                                                    \
    X(PROTOCOL, "no-shared-protocol")                                                              \
    X(UNKNOWN_NAME, "unknown-name")                                                                \
    X(NO_CERTIFICATE, "no-certificate")                                                            \
    X(EXPIRED, "certificate-expired")                                                              \
    X(NOT_YET_VALID, "certificate-not-yet-valid")                                                  \
    X(REVOKED, "certificate-revoked")                                                              \
    X(NO_REVOCATION_LIST, "no-revocation-list")                                                    \
    X(UNKNOWN_CA, "unknown-ca")                                                                    \
    X(NAME_MISMATCH, "name-mismatch")                                                              \
    X(BAD_CERTIFICATE, "bad-certificate")                                                          \
    X(REFUSED_BY_PEER, "refused-by-peer")                                                          \
    X(BAD_RECORD, "bad-record")                                                                    \
    X(MALFORMED, "malformed")                                                                      \
    X(MEMORY, "out-of-memory")

enum stats_tls_side { STATS_TLS_CLIENTS, STATS_TLS_ORIGINS, STATS_TLS_SIDES };

/* Upper bounds of the buckets of handshake times, microseconds; the last bucket has none. */
#define STATS_TLS_BOUNDS {500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000}

enum {
#define STATS_TLS_FAILURE_ONE(name, word) +1
    STATS_TLS_FAILURE_COUNT = 0 STATS_TLS_FAILURES(STATS_TLS_FAILURE_ONE),
#undef STATS_TLS_FAILURE_ONE
#define STATS_EJECTION_ONE(name, word) +1
    STATS_EJECTION_COUNT = 0 STATS_EJECTIONS(STATS_EJECTION_ONE),
#undef STATS_EJECTION_ONE
    STATS_TLS_BUCKETS = 13,
    STATS_H2_FAULTS_MAX = 40,  /* http/http2_faults.h has their names */
    STATS_H3_FAULTS_MAX = 40,  /* http/http3_faults.h */
};

/* TLS towards clients, or towards origins. */
#define STATS_TLS_MEMBERS(X)                                                                       \
    X(full)                          /* handshakes that were done, without and with resumption */  \
    X(resumed)                                                                                     \
    X(version_1_2)                                                                                 \
    X(version_1_3)                                                                                 \
    X(tickets_issued)                                                                              \
    X(tickets_rejected)              /* made with a key that we do not have, or damaged */         \
    X(handshake_us)                  /* the sum of their times */                                  \
    X(in_kernel)                     /* connections whose records the kernel makes */

struct stats_tls {
#define STATS_TLS_MEMBER(name) _Atomic uint64_t name;
    STATS_TLS_MEMBERS(STATS_TLS_MEMBER)
#undef STATS_TLS_MEMBER
    _Atomic uint64_t failures[STATS_TLS_FAILURE_COUNT];
    _Atomic uint64_t buckets[STATS_TLS_BUCKETS];   /* each without the ones before it */
};

struct stats {
    struct stats_tls tls[STATS_TLS_SIDES];
    _Atomic uint64_t h2_faults[STATS_TLS_SIDES][STATS_H2_FAULTS_MAX];
    _Atomic uint64_t h3_faults[STATS_TLS_SIDES][STATS_H3_FAULTS_MAX];
    _Atomic uint64_t ejections[STATS_EJECTION_COUNT];
#define STATS_MEMBER(name, help) _Atomic uint64_t name;
    STATS_COUNTERS(STATS_MEMBER)
    STATS_GAUGES(STATS_MEMBER)
#undef STATS_MEMBER
};

/* For the owning worker only: a plain load and store. */
static inline void stats_add(_Atomic uint64_t *value, uint64_t n) {
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void stats_sub(_Atomic uint64_t *value, uint64_t n) {
    stats_add(value, (uint64_t)0 - n);
}

/* For any thread. */
static inline uint64_t stats_read(const _Atomic uint64_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}
