#include "controlplane/config/schema/schema.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define MS  ((uint64_t)1000)
#define DAY ((uint64_t)86400000000)

/* ---- limits and timeouts ---- */

static const struct schema_key limit_keys[] = {
    {.key = "header-bytes", .type = SCHEMA_SIZE, .min = KIB, .max = 128 * KIB, .scopes = SCOPE_SETTINGS,
     .description = "Bytes of the head of a request or response. Beyond it: 431 for a client, 502 for an origin."},
    {.key = "headers", .type = SCHEMA_INTEGER, .min = 1, .max = 1000, .scopes = SCOPE_SETTINGS,
     .description = "Fields in a head. Beyond it: 431 for a client, 502 for an origin."},
    {.key = "trailer-bytes", .type = SCHEMA_SIZE, .min = 0, .max = 64 * KIB, .scopes = SCOPE_SETTINGS,
     .description = "Bytes of a trailer section. Beyond it: 431 for a client, 502 for an origin."},
    {.key = "uri-bytes", .type = SCHEMA_SIZE, .min = 64, .max = 128 * KIB, .scopes = SCOPE_SETTINGS,
     .description = "Bytes of a request target. Beyond it: 414."},
    {.key = "body", .type = SCHEMA_SIZE, .min = 0, .max = 1024 * GIB, .scopes = SCOPE_SETTINGS | SCOPE_RULE,
     .description = "Bytes of a request body. Beyond it: 413."},
    {.key = "min-body-rate", .type = SCHEMA_SIZE, .min = 0, .max = GIB, .scopes = SCOPE_SETTINGS, .flags = SCHEMA_MAY_BE_OFF,
     .description = "Bytes a second that a client must send or take on average. Of a request body, from the second `body` "
                    "timeout on; below it: 408. Of what is sent to it and not read as fast, from the second `write` timeout "
                    "on; below it: its connection or stream is cut."},
    {.key = "connections", .type = SCHEMA_INTEGER, .min = 1, .max = 10000000, .scopes = SCOPE_SETTINGS,
     .description = "Client connections of one worker. Beyond it a new one is closed when it is accepted."},
    {.key = "connections-per-ip", .type = SCHEMA_INTEGER, .min = 1, .max = 10000000, .scopes = SCOPE_SETTINGS,
     .description = "Connections of one client address, over all workers. Beyond it a new one is closed when it is "
                    "accepted."},
    {.key = "requests-per-connection", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000000, .scopes = SCOPE_SETTINGS,
     .description = "Requests of one client connection, which is closed after the last of them is answered."},
    {.key = "buffer", .type = SCHEMA_SIZE, .min = 16 * KIB, .max = 64 * MIB, .scopes = SCOPE_SETTINGS,
     .description = "Bytes held for one direction of an exchange. A sender that is faster than its receiver waits."},
    {.key = "worker-buffer", .type = SCHEMA_SIZE, .min = MIB, .max = 64 * GIB, .scopes = SCOPE_SETTINGS,
     .description = "Bytes that one worker holds for all its exchanges. Beyond it: 503."},
    {.key = "worker-sessions", .type = SCHEMA_SIZE, .min = MIB, .max = 64 * GIB, .scopes = SCOPE_SETTINGS,
     .description = "Bytes that one worker holds for the state of HTTP/2 and QUIC connections, beside their exchanges. "
                    "Beyond it a new connection is closed when it is accepted, and a new stream is refused."},
    {0},
};

const struct schema_object schema_limits = {
    .title = "limits",
    .description = "Hard bounds. Each ends in a status, a counter and a word in the access log.",
    .message = &headgate__limits__descriptor,
    .keys = limit_keys,
};

static const struct schema_key timeout_keys[] = {
    {.key = "header", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_LISTENER,
     .description = "From the first byte of a request to the end of its head. Then: 408."},
    {.key = "idle", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_LISTENER,
     .description = "How long a client connection may stay open without a request."},
    {.key = "write", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_LISTENER,
     .description = "How long a peer may take nothing of what is written to it. Then its connection is cut."},
    {.key = "connect", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_RULE,
     .description = "Connecting to an endpoint. Then: another endpoint, or 503."},
    {.key = "request", .type = SCHEMA_DURATION, .min = 0, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_RULE,
     .flags = SCHEMA_MAY_BE_OFF,
     .description = "The whole exchange. Then: 504, or the connection is cut when the answer has begun."},
    {.key = "response", .type = SCHEMA_DURATION, .min = 0, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_RULE,
     .flags = SCHEMA_MAY_BE_OFF,
     .description = "From the end of the request to that of the answer, however often it is tried. Then as `request`."},
    {.key = "response-head", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_RULE,
     .description = "From the end of the request to the head of the origin's answer. Then: 504."},
    {.key = "body", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_RULE,
     .description = "Between two pieces of a request body. Then: 408."},
    {.key = "response-body", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_RULE,
     .description = "Between two pieces of a response body. Then the connection is cut."},
    {.key = "drain", .type = SCHEMA_DURATION, .min = 0, .max = DAY, .scopes = SCOPE_SETTINGS,
     .description = "How long a listener or process that goes away finishes what is open."},
    {.key = "handshake", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .scopes = SCOPE_SETTINGS | SCOPE_LISTENER,
     .description = "A TLS handshake and the PROXY header before it."},
    {.key = "tunnel-idle", .type = SCHEMA_DURATION, .min = MS, .max = 30 * DAY, .scopes = SCOPE_SETTINGS | SCOPE_RULE,
     .description = "How long nothing may come through an upgraded connection or a tunnel in either direction. Then it is "
                    "cut."},
    {0},
};

const struct schema_object schema_timeouts = {
    .title = "timeouts",
    .description = "Deadlines. What a route or listener does not set it takes from the top level.",
    .message = &headgate__timeouts__descriptor,
    .keys = timeout_keys,
};

/* ---- what is seen ---- */

static const struct schema_word log_formats[] = {
    {"json", HEADGATE__ACCESS_LOG__FORMAT__JSON, "One JSON object a line."},
    {"text", HEADGATE__ACCESS_LOG__FORMAT__TEXT,
     "One line for people: time, client, method, host, target, status, bytes, seconds, route, cluster, endpoint, outcome."},
    {"combined", HEADGATE__ACCESS_LOG__FORMAT__COMBINED, "The combined log format of Apache and nginx."},
    {"off", HEADGATE__ACCESS_LOG__FORMAT__OFF, "Nothing is written."},
    {0},
};

static const struct schema_key log_keys[] = {
    {.key = "format", .type = SCHEMA_WORD, .words = log_formats, .description = "How a record is written."},
    {.key = "path", .type = SCHEMA_TEXT, .form = &text_file, .description = "The file that records are appended to."},
    {.key = "buffer", .type = SCHEMA_SIZE, .min = 4 * KIB, .max = GIB,
     .description = "Bytes of records that may wait in one worker for a slow disk. Beyond it records are dropped and "
                    "counted."},
    {0},
};

static const struct schema_object access_log = {
    .title = "access-log",
    .description = "One record for each request, written off the request path.",
    .message = &headgate__access_log__descriptor,
    .keys = log_keys,
    .shorthand = "format",
};

static const struct schema_key statsd_keys[] = {
    {.key = "address", .type = SCHEMA_TEXT, .form = &text_udp, .flags = SCHEMA_REQUIRED,
     .description = "Where the metrics are sent, over UDP."},
    {.key = "interval", .type = SCHEMA_DURATION, .min = 100 * MS, .max = DAY, .description = "How often."},
    {.key = "prefix", .type = SCHEMA_TEXT, .form = &text_word, .max = 128,
     .description = "What the names of metrics begin with."},
    {0},
};

static const struct schema_object statsd = {
    .title = "statsd",
    .description = "Metrics pushed to a statsd server. Without it nothing is pushed.",
    .message = &headgate__statsd__descriptor,
    .keys = statsd_keys,
    .shorthand = "address",
};

/* ---- paths and fields ---- */

static const struct schema_word escapes[] = {
    {"keep", HEADGATE__PATH_POLICY__ESCAPE__KEEP, "Stays as it is, and is not a separator."},
    {"decode", HEADGATE__PATH_POLICY__ESCAPE__DECODE, "Becomes a separator."},
    {"reject", HEADGATE__PATH_POLICY__ESCAPE__REJECT, "The request is answered 400."},
    {0},
};
static const struct schema_word backslashes[] = {
    {"reject", HEADGATE__PATH_POLICY__BACKSLASH__REJECT_BACKSLASH, "The request is answered 400."},
    {"keep", HEADGATE__PATH_POLICY__BACKSLASH__KEEP_BACKSLASH, "Stays as it is."},
    {"to-slash", HEADGATE__PATH_POLICY__BACKSLASH__TO_SLASH, "Becomes a separator."},
    {0},
};
static const struct schema_word dots[] = {
    {"resolve", HEADGATE__PATH_POLICY__DOTS__RESOLVE, "Removed, as RFC 3986 section 5.2.4 says."},
    {"reject", HEADGATE__PATH_POLICY__DOTS__REFUSE, "The request is answered 400."},
    {0},
};
static const struct schema_word slashes[] = {
    {"merge", HEADGATE__PATH_POLICY__SLASHES__MERGE, "Becomes one slash."},
    {"keep", HEADGATE__PATH_POLICY__SLASHES__PRESERVE, "Stays as it is."},
    {0},
};
static const struct schema_word parameters[] = {
    {"keep", HEADGATE__PATH_POLICY__PARAMETERS__KEEP_PARAMETERS, "Part of the segment."},
    {"reject", HEADGATE__PATH_POLICY__PARAMETERS__REJECT_PARAMETERS, "The request is answered 400."},
    {0},
};

static const struct schema_key path_keys[] = {
    {.key = "escaped-slash", .type = SCHEMA_WORD, .words = escapes, .description = "What `%2F` in a path is."},
    {.key = "backslash", .type = SCHEMA_WORD, .words = backslashes, .description = "What `\\` and `%5C` in a path are."},
    {.key = "dot-segments", .type = SCHEMA_WORD, .words = dots,
     .description = "What `.` and `..` segments are, escaped ones too."},
    {.key = "double-slash", .type = SCHEMA_WORD, .words = slashes, .description = "What `//` in a path is."},
    {.key = "semicolon", .type = SCHEMA_WORD, .words = parameters, .description = "What `;` in a segment is."},
    {0},
};

static const struct schema_object path_policy = {
    .title = "path",
    .description = "How the path of a request is made canonical. The one canonical path is what rules match and what "
                   "the origin gets.",
    .message = &headgate__path_policy__descriptor,
    .keys = path_keys,
};

static const struct schema_key forwarded_keys[] = {
    {.key = "x-forwarded", .type = SCHEMA_BOOL,
     .description = "Send X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host."},
    {.key = "x-real-ip", .type = SCHEMA_BOOL, .description = "Send X-Real-IP."},
    {.key = "forwarded", .type = SCHEMA_BOOL, .description = "Send Forwarded (RFC 7239)."},
    {.key = "via", .type = SCHEMA_BOOL, .description = "Send Via (RFC 9110 section 7.6.3)."},
    {0},
};

static const struct schema_object forwarded = {
    .title = "forwarded",
    .description = "Which fields tell the origin about the client. Those that are not sent are removed, too.",
    .message = &headgate__forwarded_fields__descriptor,
    .keys = forwarded_keys,
};

/* ---- session tickets ---- */

static const struct schema_key ticket_keys[] = {
    {.key = "rotate", .type = SCHEMA_DURATION, .min = 60000 * MS, .max = 30 * DAY,
     .description = "How often there is a new key. The newest one encrypts."},
    {.key = "keep", .type = SCHEMA_INTEGER, .min = 1, .max = 16,
     .description = "How many keys can decrypt, the newest included."},
    {0},
};

static const struct schema_object tls_tickets = {
    .title = "tls-tickets",
    .description = "The keys of session tickets, made by the control plane and shared by all data planes.",
    .message = &headgate__ticket_rotation__descriptor,
    .keys = ticket_keys,
};

/* ---- the top level ---- */

static const struct schema_key root_keys[] = {
    {.key = "include", .type = SCHEMA_TEXT, .form = &text_file, .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_ELSEWHERE,
     .description = "Files that belong to the configuration, relative to this one; `*`, `?` and `[...]` stand for "
                    "what exists. Lists of "
                    "several files are joined in the order of the files' names; a setting stands in one file only. "
                    "Variables are "
                    "not expanded here."},
    {.key = "limits", .type = SCHEMA_OBJECT, .object = &schema_limits, .scope = SCOPE_SETTINGS, .flags = SCHEMA_ALWAYS,
     .description = "Hard bounds for every request."},
    {.key = "timeouts", .type = SCHEMA_OBJECT, .object = &schema_timeouts, .scope = SCOPE_SETTINGS, .flags = SCHEMA_ALWAYS,
     .description = "Deadlines for every request."},
    {.key = "access-log", .type = SCHEMA_OBJECT, .object = &access_log, .flags = SCHEMA_ALWAYS,
     .description = "Where requests are recorded."},
    {.key = "trusted-hops", .type = SCHEMA_INTEGER, .min = 0, .max = 100,
     .description = "How many proxies in front of this one are believed when they say who the client is."},
    {.key = "path", .type = SCHEMA_OBJECT, .object = &path_policy, .flags = SCHEMA_ALWAYS,
     .description = "How paths are made canonical."},
    {.key = "forwarded", .type = SCHEMA_OBJECT, .object = &forwarded, .flags = SCHEMA_ALWAYS,
     .description = "What the origin is told about the client."},
    {.key = "statsd", .type = SCHEMA_OBJECT, .object = &statsd, .absent = "nothing is pushed",
     .description = "Metrics pushed to a statsd server."},
    {.key = "server-name", .type = SCHEMA_TEXT, .form = &text_word,
     .description = "The gateway's own name in Via and in the Server field of its own answers."},
    {.key = "request-id-header", .type = SCHEMA_TEXT, .form = &text_own_field_name,
     .description = "The field that carries the id of a request. A request without one that is trusted is given a new one."},
    {.key = "tls-tickets", .type = SCHEMA_OBJECT, .object = &tls_tickets, .flags = SCHEMA_ALWAYS,
     .description = "How often the keys of session tickets change."},
    {.key = "listeners", .type = SCHEMA_RESOURCES, .kind = HEADGATE__KIND__KIND_LISTENER, .object = &schema_listener,
     .description = "Where clients connect."},
    {.key = "route-tables", .type = SCHEMA_RESOURCES, .kind = HEADGATE__KIND__KIND_ROUTE_TABLE,
     .object = &schema_route_table,
     .description = "What happens to a request."},
    {.key = "clusters", .type = SCHEMA_RESOURCES, .kind = HEADGATE__KIND__KIND_CLUSTER, .object = &schema_cluster,
     .description = "Where requests go."},
    {0},
};

static const char *const root_later[] = {"filters", "discovery", "tls", "acme", "services", NULL};

const struct schema_object schema_root = {
    .title = "configuration",
    .description = "The keys of a configuration file.",
    .message = &headgate__settings__descriptor,
    .keys = root_keys,
    .later = root_later,
};
