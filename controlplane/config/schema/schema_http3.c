#include "controlplane/config/schema/schema_http3.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define MS  ((uint64_t)1000)
#define DAY ((uint64_t)86400000000)

/* ---- HTTP/3 ---- */

static const struct schema_key http3_keys[] = {
    {.key = "max-concurrent-streams", .type = SCHEMA_INTEGER, .min = 1, .max = 100000,
     .description = "Requests at one time on one connection."},
    {.key = "initial-stream-window", .type = SCHEMA_SIZE, .min = KIB, .max = 64 * MIB,
     .description = "Bytes that a peer may send of one message before they are taken. More than `limits.buffer` counts as "
                    "that."},
    {.key = "initial-connection-window", .type = SCHEMA_SIZE, .min = 64 * KIB - 1, .max = 1024 * MIB,
     .description = "Likewise of all messages of a connection."},
    {.key = "qpack-table-capacity", .type = SCHEMA_SIZE, .min = 0, .max = 64 * KIB,
     .description = "Memory for the compression of fields, for each connection and direction. With 0 nothing is "
                    "remembered."},
    {.key = "qpack-blocked-streams", .type = SCHEMA_INTEGER, .min = 0, .max = 1000,
     .description = "Requests whose fields may wait for what the peer has yet to say of its compression."},
    {.key = "resets-per-second", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "Streams that a peer may reset, or make the gateway reset, on average."},
    {.key = "reset-burst", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000, .description = "How many of them at once."},
    {.key = "control-frames-per-second", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "Frames without a use for a request, on average."},
    {.key = "control-frame-burst", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "How many of them at once."},
    {.key = "extended-connect", .type = SCHEMA_BOOL, .scopes = SCOPE_LISTENER,
     .description = "Offer WebSocket and the like over HTTP/3 (RFC 9220)."},
    {.key = "header-bytes-held", .type = SCHEMA_SIZE, .min = 4 * KIB, .max = 1024 * MIB,
     .description = "Bytes of the heads and trailers that a peer has sent, of all open requests of one connection together. "
                    "Beyond it: 431 for a client, 502 for an origin."},
    {0},
};

const struct schema_object schema_http3 = {
    .title = "http3",
    .description = "HTTP/3: what is offered to the peer, and what one connection may cost. A peer that goes beyond is cut "
                   "off with H3_EXCESSIVE_LOAD.",
    .message = &headgate__http3_options__descriptor,
    .keys = http3_keys,
};

/* ---- QUIC ---- */

static const struct schema_key server_id_keys[] = {
    {.key = "config", .type = SCHEMA_INTEGER, .min = 0, .max = 6,
     .description = "Which configuration of the load balancer it belongs to."},
    {.key = "id", .type = SCHEMA_TEXT, .form = &text_hex, .min = 2, .max = 16, .flags = SCHEMA_REQUIRED,
     .description = "The number of this server, 1 to 8 octets in hexadecimal. Servers behind one balancer have ids of one "
                    "length."},
    {.key = "nonce-length", .type = SCHEMA_INTEGER, .min = 4, .max = 15,
     .description = "Octets that tell the connections of one server apart. With the id 8 to 16 octets."},
    {.key = "key", .type = SCHEMA_TEXT, .form = &text_hex, .min = 32, .max = 32, .absent = "the id is in plain",
     .description = "The key of AES-128 by which the id is encrypted, 16 octets in hexadecimal. Others then cannot tell "
                    "which connections belong to one server."},
    {0},
};

static const struct schema_object server_id = {
    .title = "quic-server-id",
    .description = "What a load balancer in front reads from connection IDs (draft-ietf-quic-load-balancers), so that a "
                   "client that changes its address comes back to this server.",
    .message = &headgate__quic_server_id__descriptor,
    .keys = server_id_keys,
    .check = check_quic_server_id,
    .shorthand = "id",
};

static const struct schema_word retries[] = {
    {"under-load", HEADGATE__QUIC_OPTIONS__RETRY__UNDER_LOAD, "From `retry-above` handshakes on."},
    {"never", HEADGATE__QUIC_OPTIONS__RETRY__NEVER, "No client is asked."},
    {"always", HEADGATE__QUIC_OPTIONS__RETRY__ALWAYS, "Every client that has no token yet, for a round trip more."},
    {0},
};

static const struct schema_word congestion_controls[] = {
    {"cubic", HEADGATE__QUIC_OPTIONS__CONGESTION_CONTROL__CUBIC, "RFC 9438."},
    {"bbr", HEADGATE__QUIC_OPTIONS__CONGESTION_CONTROL__BBR,
     "By measured bandwidth and round trip; fares better where packets are lost without congestion."},
    {0},
};

static const struct schema_key quic_keys[] = {
    {.key = "retry", .type = SCHEMA_WORD, .words = retries, .scopes = SCOPE_LISTENER,
     .description = "Whether a client has to prove that its address is its own before anything is kept for it (RFC 9000 "
                    "section 8.1.2)."},
    {.key = "retry-above", .type = SCHEMA_INTEGER, .min = 0, .max = 1000000, .scopes = SCOPE_LISTENER,
     .description = "So many handshakes under way in a worker are load."},
    {.key = "max-handshakes", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000, .scopes = SCOPE_LISTENER,
     .description = "Handshakes under way in a worker. The first packets of further clients are dropped and counted."},
    {.key = "idle-timeout", .type = SCHEMA_DURATION, .min = 1000 * MS, .max = DAY / 24,
     .description = "Silence after which a connection is forgotten. What the peer says of it counts where it is shorter."},
    {.key = "keep-alive", .type = SCHEMA_DURATION, .min = 0, .max = DAY / 24, .flags = SCHEMA_MAY_BE_OFF,
     .description = "Silence of a connection with open requests after which a packet is sent, so that neither side nor "
                    "what is between them forgets it."},
    {.key = "congestion-control", .type = SCHEMA_WORD, .words = congestion_controls,
     .description = "How fast is sent."},
    {.key = "early-data", .type = SCHEMA_BOOL, .scopes = SCOPE_LISTENER,
     .description = "Take requests with safe methods in the first packets of a client that comes back (0-RTT). Somebody on "
                    "the path can send those again; see docs/http3.md."},
    {.key = "active-migration", .type = SCHEMA_BOOL, .scopes = SCOPE_LISTENER,
     .description = "Clients may move a connection to another address of theirs. A NAT that gives them another port is no "
                    "such thing and always allowed."},
    {.key = "max-udp-payload", .type = SCHEMA_SIZE, .min = 1200, .max = 65527,
     .description = "The largest datagram that is sent, once a path has been found to take it. Where it is not said, peers "
                    "on loopback get larger ones."},
    {.key = "receive-buffer", .type = SCHEMA_SIZE, .min = 64 * KIB, .max = 1024 * MIB, .scopes = SCOPE_LISTENER,
     .description = "What the system is asked to keep of each socket until it is read. It may give less, which is logged; "
                    "see docs/http3.md."},
    {.key = "send-buffer", .type = SCHEMA_SIZE, .min = 64 * KIB, .max = 1024 * MIB, .scopes = SCOPE_LISTENER,
     .description = "Likewise of what is to be sent."},
    {.key = "server-id", .type = SCHEMA_OBJECT, .object = &server_id, .scopes = SCOPE_LISTENER,
     .absent = "connection IDs say nothing to others",
     .description = "For load balancers in front that know QUIC."},
    {0},
};

const struct schema_object schema_quic = {
    .title = "quic",
    .description = "QUIC, the transport under HTTP/3. What is said of a worker holds for each of the listener's addresses.",
    .message = &headgate__quic_options__descriptor,
    .keys = quic_keys,
};

/* ---- Alt-Svc ---- */

static const struct schema_key alt_svc_keys[] = {
    {.key = "port", .type = SCHEMA_INTEGER, .min = 1, .max = 65535, .absent = "that of the listener's first address",
     .description = "Where clients find HTTP/3, as they see it from outside."},
    {.key = "max-age", .type = SCHEMA_DURATION, .min = 1000 * MS, .max = 365 * DAY,
     .description = "How long they may remember it, in whole seconds."},
    {.key = "persist", .type = SCHEMA_BOOL, .description = "They may remember it when they change to another network, too."},
    {0},
};

const struct schema_object schema_alt_svc = {
    .title = "alt-svc",
    .description = "What responses over HTTP/1.1 and HTTP/2 say of HTTP/3 (RFC 7838). It takes the place of an origin's own "
                   "field, which speaks of the origin's ports; `response-headers` of a rule have the last word.",
    .message = &headgate__alt_svc__descriptor,
    .keys = alt_svc_keys,
    .shorthand = "port",
};
