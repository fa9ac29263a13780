#include "dataplane/http/abort.h"

/* RFC 9113 section 7; RFC 9114 section 8.1. */
enum { H2_PROTOCOL_ERROR = 1, H2_INTERNAL_ERROR = 2, H2_REFUSED = 7, H2_CANCEL = 8, H2_CONNECT = 10, H2_CALM = 11 };
enum {
    H3_INTERNAL = 0x102, H3_LOAD = 0x107, H3_REJECTED = 0x10b, H3_CANCELLED = 0x10c, H3_MESSAGE = 0x10e, H3_CONNECT = 0x10f
};

static const struct abort_meaning meanings[ABORT_CODE_COUNT] = {
    [ABORT_NONE] = {"none", "no error", 0, 0, 0x100},
    [ABORT_CLIENT_GONE] = {"client-gone", "the client closed the connection", 0, H2_CANCEL, H3_CANCELLED},
    [ABORT_CLIENT_PROTOCOL] = {"client-protocol", "the request is malformed", 400, H2_PROTOCOL_ERROR, H3_MESSAGE},
    [ABORT_URI_TOO_LONG] = {"uri-too-long", "the request target is too long", 414, H2_CANCEL, H3_CANCELLED},
    [ABORT_HEADERS_TOO_LARGE] = {"headers-too-large", "the request head is too large", 431, H2_CALM, H3_LOAD},
    [ABORT_BODY_TOO_LARGE] = {"body-too-large", "the request body is too large", 413, H2_CANCEL, H3_CANCELLED},
    [ABORT_CLIENT_HEAD_TIMEOUT] = {"client-head-timeout", "the request head did not arrive in time", 408, H2_CANCEL,
                                   H3_CANCELLED},
    [ABORT_CLIENT_BODY_TIMEOUT] = {"client-body-timeout", "the request body did not arrive in time", 408, H2_CANCEL,
                                   H3_CANCELLED},
    [ABORT_CLIENT_WRITE_TIMEOUT] = {"client-write-timeout", "the client did not take the response in time", 0, H2_CANCEL,
                                    H3_CANCELLED},
    [ABORT_BAD_PATH] = {"bad-path", "the path is not allowed", 400, H2_PROTOCOL_ERROR, H3_MESSAGE},
    [ABORT_METHOD_NOT_IMPLEMENTED] = {"method-not-implemented", "the method is not supported here", 501, H2_CANCEL,
                                      H3_CANCELLED},
    [ABORT_METHOD_NOT_ALLOWED] = {"method-not-allowed", "no rule allows this method", 405, H2_CANCEL, H3_CANCELLED},
    [ABORT_VERSION_NOT_SUPPORTED] = {"version-not-supported", "the HTTP version is not supported", 505, H2_PROTOCOL_ERROR,
                                     H3_MESSAGE},
    [ABORT_CODING_NOT_IMPLEMENTED] = {"coding-not-implemented", "the transfer coding is not supported", 501,
                                      H2_PROTOCOL_ERROR, H3_MESSAGE},
    [ABORT_EXPECTATION] = {"expectation", "the expectation cannot be met", 417, H2_CANCEL, H3_CANCELLED},
    [ABORT_NO_ROUTE] = {"no-route", "no route matches this request", 404, H2_CANCEL, H3_CANCELLED},
    [ABORT_NO_CLUSTER] = {"no-cluster", "the route has no cluster", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_NO_ENDPOINT] = {"no-endpoint", "no endpoint is available", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_NO_ROOM] = {"no-room", "as much as may be is under way to the origin", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_CONNECT_FAILED] = {"connect-failed", "the origin could not be reached", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_CONNECT_TIMEOUT] = {"connect-timeout", "connecting to the origin took too long", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_ORIGIN_RESET] = {"origin-reset", "the origin closed the connection before its response was complete", 502,
                            H2_INTERNAL_ERROR, H3_INTERNAL},
    [ABORT_ORIGIN_STREAM_RESET] = {"origin-stream-reset", "the origin reset the stream before its response was complete",
                                   502, H2_INTERNAL_ERROR, H3_INTERNAL},
    [ABORT_ORIGIN_STALE] = {"origin-stale", "the kept connection to the origin was closed", 502, H2_REFUSED, H3_REJECTED},
    [ABORT_ORIGIN_REFUSED] = {"origin-refused", "the origin refused the request", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_ORIGIN_PROTOCOL] = {"origin-protocol", "the origin's response is malformed", 502, H2_INTERNAL_ERROR, H3_INTERNAL},
    [ABORT_ORIGIN_TOO_LARGE] = {"origin-headers-too-large", "the origin's response head is too large", 502,
                                H2_INTERNAL_ERROR, H3_INTERNAL},
    [ABORT_ORIGIN_TIMEOUT] = {"origin-timeout", "the origin did not answer in time", 504, H2_CANCEL, H3_CANCELLED},
    [ABORT_ORIGIN_BODY_TIMEOUT] = {"origin-body-timeout", "the origin stopped in the middle of its response", 504, H2_CANCEL,
                                   H3_CANCELLED},
    [ABORT_REQUEST_TIMEOUT] = {"request-timeout", "the request took too long", 504, H2_CANCEL, H3_CANCELLED},
    [ABORT_TUNNEL_IDLE] = {"tunnel-idle", "nothing has come through the tunnel for too long", 0, H2_CANCEL, H3_CANCELLED},
    [ABORT_TUNNEL_CUT] = {"tunnel-cut", "the origin cut the tunnel", 0, H2_CONNECT, H3_CONNECT},
    [ABORT_REGEX_LIMIT] = {"regex-limit", "a regular expression of the route exceeded its limits", 500, H2_INTERNAL_ERROR,
                           H3_INTERNAL},
    [ABORT_OVERLOAD] = {"overload", "the gateway is out of buffer memory", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_MEMORY] = {"memory", "the gateway is out of memory or descriptors", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_SHUTDOWN] = {"shutdown", "the gateway is shutting down", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_NO_SNAPSHOT] = {"no-snapshot", "the gateway has no configuration yet", 503, H2_REFUSED, H3_REJECTED},
    [ABORT_INTERNAL] = {"internal", "an internal error", 500, H2_INTERNAL_ERROR, H3_INTERNAL},
};

const struct abort_meaning *abort_meaning(enum abort_code code) {
    return (unsigned)code < ABORT_CODE_COUNT ? &meanings[code] : &meanings[ABORT_INTERNAL];
}
