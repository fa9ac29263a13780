/* abort.h — the one neutral vocabulary of what ends an exchange early, and what each version makes of it.
 *
 * HTTP/1.1 answers with the status when no response head has gone out, and otherwise cuts the connection; HTTP/2 and HTTP/3
 * have the codes beside it for streams. The word stands in the access log and in the body of our own error responses. */
#pragma once

#include <stdint.h>

enum abort_code {
    ABORT_NONE,
    ABORT_CLIENT_GONE,          /* the client closed or reset */
    ABORT_CLIENT_PROTOCOL,      /* malformed request */
    ABORT_URI_TOO_LONG,
    ABORT_HEADERS_TOO_LARGE,
    ABORT_BODY_TOO_LARGE,
    ABORT_CLIENT_HEAD_TIMEOUT,
    ABORT_CLIENT_BODY_TIMEOUT,
    ABORT_CLIENT_WRITE_TIMEOUT,
    ABORT_BAD_PATH,             /* refused by the path policy */
    ABORT_METHOD_NOT_IMPLEMENTED,
    ABORT_METHOD_NOT_ALLOWED,
    ABORT_VERSION_NOT_SUPPORTED,
    ABORT_CODING_NOT_IMPLEMENTED,
    ABORT_EXPECTATION,          /* an Expect that is not 100-continue */
    ABORT_NO_ROUTE,
    ABORT_NO_CLUSTER,
    ABORT_NO_ENDPOINT,
    ABORT_NO_ROOM,              /* a bound of the cluster is reached */
    ABORT_CONNECT_FAILED,
    ABORT_CONNECT_TIMEOUT,
    ABORT_ORIGIN_RESET,         /* closed or reset before its response was complete */
    ABORT_ORIGIN_STREAM_RESET,  /* likewise, but for this exchange alone: its connection goes on */
    ABORT_ORIGIN_STALE,         /* a kept connection turned out to be closed; nothing of the request was processed */
    ABORT_ORIGIN_REFUSED,       /* the origin says that it did not process the request (RFC 9113 section 8.7) */
    ABORT_ORIGIN_PROTOCOL,      /* malformed response */
    ABORT_ORIGIN_TOO_LARGE,     /* response head over the limits */
    ABORT_ORIGIN_TIMEOUT,       /* no response head in time */
    ABORT_ORIGIN_BODY_TIMEOUT,
    ABORT_REQUEST_TIMEOUT,      /* the whole exchange took too long */
    ABORT_TUNNEL_IDLE,          /* an open tunnel without a byte for too long */
    ABORT_TUNNEL_CUT,           /* what the front of an open tunnel is told when its origin resets */
    ABORT_REGEX_LIMIT,          /* a regular expression ran into its step limit */
    ABORT_OVERLOAD,             /* a budget is used up */
    ABORT_MEMORY,
    ABORT_SHUTDOWN,
    ABORT_NO_SNAPSHOT,          /* nothing is served yet */
    ABORT_INTERNAL,
    ABORT_CODE_COUNT
};

struct abort_meaning {
    const char *word;           /* "connect-timeout" */
    const char *reason;         /* one sentence for the body of an error response */
    uint16_t    status;         /* HTTP status when no head has gone out; 0: there is nobody to answer */
    uint32_t    h2_code;        /* RFC 9113 section 7 */
    uint32_t    h3_code;        /* RFC 9114 section 8.1 */
};

/* Never NULL. */
const struct abort_meaning *abort_meaning(enum abort_code code);
