#include "dataplane/codec/grpc_log/entry.h"

#include "common/clock.h"
#include "dataplane/http/exchange.h"
#include "dataplane/net/conn.h"

/* The numbers of fields, by message. */
enum { COMMON = 1, PROTOCOL = 2, REQUEST = 3, RESPONSE = 4, CONNECTION = 2 };
enum {
    REMOTE_ADDRESS = 2, LOCAL_ADDRESS = 3, START_TIME = 5, FIRST_UPSTREAM_RX = 9, LAST_DOWNSTREAM_TX = 12,
    UPSTREAM_REMOTE_ADDRESS = 13, UPSTREAM_CLUSTER = 15, RESPONSE_FLAGS = 16, ROUTE_NAME = 19, DIRECT_REMOTE_ADDRESS = 20,
    DURATION = 23, ATTEMPTS = 24, TERMINATION_DETAILS = 25, LOG_TYPE = 33,
};
enum {
    METHOD = 1, SCHEME = 2, AUTHORITY = 3, PATH = 5, USER_AGENT = 6, REFERER = 7, FORWARDED_FOR = 8, REQUEST_ID = 9,
    REQUEST_BODY_BYTES = 12,
};
enum { RESPONSE_CODE = 1, RESPONSE_BODY_BYTES = 3, RESPONSE_CODE_DETAILS = 6 };
enum { RECEIVED_BYTES = 1, SENT_BYTES = 2 };
enum { SOCKET_ADDRESS = 1, PIPE = 2, ADDRESS = 2, PORT = 3, PIPE_PATH = 1 };
enum { TCP_CONNECTION_END = 3, DOWNSTREAM_END = 6 };  /* AccessLogType */

/* Members of ResponseFlags. */
enum flag {
    NO_HEALTHY_UPSTREAM = 2, UPSTREAM_REQUEST_TIMEOUT = 3, UPSTREAM_REMOTE_RESET = 5, UPSTREAM_CONNECTION_FAILURE = 6,
    UPSTREAM_CONNECTION_TERMINATION = 7, UPSTREAM_OVERFLOW = 8, NO_ROUTE_FOUND = 9, DOWNSTREAM_CONNECTION_TERMINATION = 15,
    STREAM_IDLE_TIMEOUT = 17, DOWNSTREAM_PROTOCOL_ERROR = 19, DURATION_TIMEOUT = 23, UPSTREAM_PROTOCOL_ERROR = 24,
    NO_CLUSTER_FOUND = 25, OVERLOAD_MANAGER = 26, LOCAL_RESET = 4,
};

static const uint8_t flags[ABORT_CODE_COUNT] = {
    [ABORT_CLIENT_GONE] = DOWNSTREAM_CONNECTION_TERMINATION,
    [ABORT_CLIENT_PROTOCOL] = DOWNSTREAM_PROTOCOL_ERROR,
    [ABORT_URI_TOO_LONG] = DOWNSTREAM_PROTOCOL_ERROR,
    [ABORT_HEADERS_TOO_LARGE] = DOWNSTREAM_PROTOCOL_ERROR,
    [ABORT_CLIENT_HEAD_TIMEOUT] = STREAM_IDLE_TIMEOUT,
    [ABORT_CLIENT_BODY_TIMEOUT] = STREAM_IDLE_TIMEOUT,
    [ABORT_CLIENT_WRITE_TIMEOUT] = STREAM_IDLE_TIMEOUT,
    [ABORT_BAD_PATH] = DOWNSTREAM_PROTOCOL_ERROR,
    [ABORT_VERSION_NOT_SUPPORTED] = DOWNSTREAM_PROTOCOL_ERROR,
    [ABORT_CODING_NOT_IMPLEMENTED] = DOWNSTREAM_PROTOCOL_ERROR,
    [ABORT_NO_ROUTE] = NO_ROUTE_FOUND,
    [ABORT_NO_CLUSTER] = NO_CLUSTER_FOUND,
    [ABORT_NO_ENDPOINT] = NO_HEALTHY_UPSTREAM,
    [ABORT_NO_ROOM] = UPSTREAM_OVERFLOW,
    [ABORT_CONNECT_FAILED] = UPSTREAM_CONNECTION_FAILURE,
    [ABORT_CONNECT_TIMEOUT] = UPSTREAM_CONNECTION_FAILURE,
    [ABORT_ORIGIN_RESET] = UPSTREAM_CONNECTION_TERMINATION,
    [ABORT_ORIGIN_STREAM_RESET] = UPSTREAM_REMOTE_RESET,
    [ABORT_ORIGIN_STALE] = UPSTREAM_CONNECTION_TERMINATION,
    [ABORT_ORIGIN_REFUSED] = UPSTREAM_REMOTE_RESET,
    [ABORT_ORIGIN_PROTOCOL] = UPSTREAM_PROTOCOL_ERROR,
    [ABORT_ORIGIN_TOO_LARGE] = UPSTREAM_PROTOCOL_ERROR,
    [ABORT_ORIGIN_TIMEOUT] = UPSTREAM_REQUEST_TIMEOUT,
    [ABORT_ORIGIN_BODY_TIMEOUT] = STREAM_IDLE_TIMEOUT,
    [ABORT_REQUEST_TIMEOUT] = UPSTREAM_REQUEST_TIMEOUT,
    [ABORT_TUNNEL_IDLE] = STREAM_IDLE_TIMEOUT,
    [ABORT_OVERLOAD] = OVERLOAD_MANAGER,
    [ABORT_MEMORY] = OVERLOAD_MANAGER,
    [ABORT_SHUTDOWN] = LOCAL_RESET,
};

/* ---- addresses ---- */

static void write_socket_address(struct wire *w, unsigned field, struct str host, unsigned port) {
    uint8_t *address = wire_open(w, field), *socket = wire_open(w, SOCKET_ADDRESS);
    wire_text(w, ADDRESS, host);
    wire_uint(w, PORT, port);
    wire_close(w, socket);
    wire_close(w, address);
}

static void write_pipe(struct wire *w, unsigned field, struct str path) {
    uint8_t *address = wire_open(w, field), *pipe = wire_open(w, PIPE);
    wire_text(w, PIPE_PATH, path);
    wire_close(w, pipe);
    wire_close(w, address);
}

static void write_address(struct wire *w, unsigned field, const struct address *a) {
    static const size_t scheme = sizeof "unix:" - 1;
    char text[ADDRESS_TEXT_MAX];
    if (a->u.any.sa_family == AF_UNIX)
        write_pipe(w, field, (struct str){text + scheme, address_format(a, text) - scheme});
    else if (a->length)
        write_socket_address(w, field, (struct str){text, address_format_host(a, text)}, address_port(a));
}

/* Where another proxy has said who the client is, nobody knows its port. */
static void write_client(struct wire *w, const struct exchange *x) {
    if (!str_eq(x->client, x->peer))
        write_socket_address(w, REMOTE_ADDRESS, x->client, 0);
    else if (x->ends)
        write_address(w, REMOTE_ADDRESS, &x->ends->remote);
    if (!x->ends)
        return;
    write_address(w, LOCAL_ADDRESS, &x->ends->local);
    write_address(w, DIRECT_REMOTE_ADDRESS, &x->ends->remote);
}

static void write_endpoint(struct wire *w, struct str text) {
    struct address a;
    if (text.n && address_parse(text, &a) == 0)
        write_address(w, UPSTREAM_REMOTE_ADDRESS, &a);
}

/* ---- the parts ---- */

static struct str reason(const struct exchange *x) {
    if (x->abort)
        return str_of(x->detail ? x->detail : abort_meaning(x->abort)->word);
    return x->is_reply ? STR("direct_response") : STR("via_upstream");
}

static void write_common(struct wire *w, const struct exchange *x) {
    uint64_t duration = x->done_at - x->began;
    uint8_t *common = wire_open(w, COMMON);
    write_client(w, x);
    wire_time(w, START_TIME, clock_realtime_us() - duration);
    if (x->head_at && x->cluster.n && !x->is_reply)
        wire_time(w, FIRST_UPSTREAM_RX, x->head_at - x->began);
    wire_time(w, LAST_DOWNSTREAM_TX, duration);
    write_endpoint(w, x->endpoint);
    wire_text(w, UPSTREAM_CLUSTER, x->cluster);
    if (flags[x->abort]) {
        uint8_t *opened = wire_open(w, RESPONSE_FLAGS);
        wire_uint(w, flags[x->abort], 1);
        wire_close(w, opened);
    }
    wire_text(w, ROUTE_NAME, x->route ? x->route->name : x->route_name);
    wire_time(w, DURATION, duration);
    wire_uint(w, ATTEMPTS, x->attempts);
    if (exchange_is_tcp(x) && x->abort)
        wire_text(w, TERMINATION_DETAILS, reason(x));
    wire_uint(w, LOG_TYPE, exchange_is_tcp(x) ? TCP_CONNECTION_END : DOWNSTREAM_END);
    wire_close(w, common);
}

static uint64_t protocol(const struct exchange *x) {
    return x->log_version == 10 ? 1 : x->log_version == 20 ? 3 : x->log_version == 30 ? 4 : 2;
}

/* Methods have the numbers of RequestMethod. */
_Static_assert(METHOD_GET == 1 && METHOD_CONNECT == 6 && METHOD_PATCH == 9, "those of envoy.config.core.v3.RequestMethod");

static void write_request(struct wire *w, const struct exchange *x) {
    const struct head *head = x->request.head;
    const struct field *forwarded = head ? fields_find(&head->fields, FIELD_X_FORWARDED_FOR) : NULL;
    uint8_t *request = wire_open(w, REQUEST);
    wire_uint(w, METHOD, method_lookup(x->log_method));
    wire_text(w, SCHEME, x->is_tls ? STR("https") : STR("http"));
    wire_text(w, AUTHORITY, x->log_host);
    wire_text(w, PATH, x->log_target);
    wire_text(w, USER_AGENT, x->log_user_agent);
    wire_text(w, REFERER, x->log_referer);
    if (forwarded)
        wire_text(w, FORWARDED_FOR, field_value(forwarded));
    wire_text(w, REQUEST_ID, x->request_id);
    wire_uint(w, REQUEST_BODY_BYTES, x->request.bytes);
    wire_close(w, request);
}

static void write_response(struct wire *w, const struct exchange *x) {
    uint8_t *response = wire_open(w, RESPONSE), *code = wire_open(w, RESPONSE_CODE);
    wire_uint(w, 1, x->status);
    wire_close(w, code);
    wire_uint(w, RESPONSE_BODY_BYTES, x->response.bytes);
    wire_text(w, RESPONSE_CODE_DETAILS, reason(x));
    wire_close(w, response);
}

static void write_connection(struct wire *w, const struct exchange *x) {
    uint8_t *connection = wire_open(w, CONNECTION);
    wire_uint(w, RECEIVED_BYTES, x->request.bytes);
    wire_uint(w, SENT_BYTES, x->response.bytes);
    wire_close(w, connection);
}

size_t log_entry_write(const struct exchange *x, uint8_t *room, size_t size) {
    struct wire w = {.at = room, .end = room + size};
    uint8_t *entry = wire_open(&w, 1);
    write_common(&w, x);
    if (exchange_is_tcp(x)) {
        write_connection(&w, x);
    } else {
        wire_uint(&w, PROTOCOL, protocol(x));
        write_request(&w, x);
        write_response(&w, x);
    }
    wire_close(&w, entry);
    return w.is_full ? 0 : (size_t)(w.at - room);
}
