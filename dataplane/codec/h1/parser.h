/* parser.h — heads of HTTP/1.1 messages (RFC 9112), strictly.
 *
 * Two stages, so that a head that arrives in pieces costs as much as one that arrives at once:
 *   1. h1_scan_head looks at each byte once and finds where the head ends. It refuses at once what can never become one.
 *   2. h1_parse_request or h1_parse_response takes the complete head apart, in place.
 *
 * Nothing is accepted that two parsers could read two ways. The outcome does not depend on how the bytes were split.
 * Pure functions: no I/O, no clock. Thread: any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "dataplane/http/abort.h"
#include "dataplane/http/head.h"

/* X(code, status for a client, word for logs and counters). From an origin each of them is a 502. */
#define H1_ERRORS(X) \
    X(OK, 0, "ok") \
    X(MEMORY, 503, "memory") \
    X(BARE_CR, 400, "bare-cr") \
    X(BARE_LF, 400, "bare-lf") \
    X(CONTROL_BYTE, 400, "control-byte") \
    X(OBS_FOLD, 400, "obs-fold") \
    X(EMPTY_LINES, 400, "empty-lines") \
    X(START_LINE, 400, "start-line") \
    X(METHOD, 400, "method") \
    X(METHOD_TOO_LONG, 501, "method-too-long") \
    X(TARGET, 400, "target") \
    X(TARGET_FORM, 400, "target-form") \
    X(TARGET_TOO_LONG, 414, "target-too-long") \
    X(AUTHORITY, 400, "authority") \
    X(VERSION, 400, "version") \
    X(VERSION_UNSUPPORTED, 505, "version-unsupported") \
    X(STATUS, 400, "status") \
    X(REASON, 400, "reason") \
    X(FIELD_NAME, 400, "field-name") \
    X(FIELD_VALUE, 400, "field-value") \
    X(HEAD_TOO_LARGE, 431, "head-too-large") \
    X(TOO_MANY_FIELDS, 431, "too-many-fields") \
    X(HOST_MISSING, 400, "host-missing") \
    X(HOST_REPEATED, 400, "host-repeated") \
    X(HOST, 400, "host") \
    X(CONTENT_LENGTH, 400, "content-length") \
    X(CONTENT_LENGTH_REPEATED, 400, "content-length-repeated") \
    X(LENGTH_AND_CODING, 400, "length-and-coding") \
    X(TRANSFER_ENCODING, 400, "transfer-encoding") \
    X(TRANSFER_CODING_UNKNOWN, 501, "transfer-coding-unknown") \
    X(TRANSFER_ENCODING_OLD, 400, "transfer-encoding-old") \
    X(CONNECTION, 400, "connection") \
    X(EXPECT, 417, "expect") \
    X(CONNECT_CONTENT, 400, "connect-content") \
    X(CHUNK_SIZE, 400, "chunk-size") \
    X(CHUNK_EXTENSION, 400, "chunk-extension") \
    X(CHUNK_END, 400, "chunk-end") \
    X(CHUNK_OVERHEAD, 400, "chunk-overhead") \
    X(TRAILER_FIELD, 400, "trailer-field") \
    X(TRAILER_TOO_LARGE, 431, "trailer-too-large")

enum h1_error {
#define X(code, status, word) H1_##code,
    H1_ERRORS(X)
#undef X
    H1_ERROR_COUNT
};

const char *h1_error_word(enum h1_error error);   /* "bare-cr" */
enum abort_code h1_error_abort(enum h1_error error); /* what a request with it is refused with */
unsigned    h1_error_status(enum h1_error error); /* 400, 414, 417, 431, 501, 503, 505; 0 for H1_OK */

struct h1_limits {
    uint32_t header_bytes;  /* of a head, from its first byte to the end of its empty line */
    uint32_t headers;       /* fields of a head, or of a trailer section */
    uint32_t uri_bytes;     /* of a request target */
    uint32_t trailer_bytes; /* of a trailer section, its empty line not counted */
};

enum { H1_METHOD_MAX = 32 };

/* ---- stage 1 */

enum h1_section { H1_REQUEST, H1_RESPONSE, H1_TRAILERS };

enum h1_scan_result { H1_SCAN_MORE, H1_SCAN_DONE, H1_SCAN_ERROR };

/* Zeroed, with `section` set: at the start of a head. Holds offsets only, so the buffer may move. */
struct h1_scan {
    enum h1_section section;
    enum h1_error   error;    /* with H1_SCAN_ERROR */
    uint32_t        looked;   /* bytes that need no second look */
    uint32_t        line;     /* where the current line starts */
    uint32_t        lines;    /* complete lines, the empty ones before a request line not counted */
    uint32_t        start;    /* of the head: 0, or 2 behind one empty line before a request (RFC 9112 section 2.2) */
    uint32_t        end;      /* with H1_SCAN_DONE: one past the head */
    bool            checked;  /* the start line has been looked at on its own */
};

/* `bytes` is everything received since the head began, `n` never less than in the call before. DONE: the head is
 * bytes[start] to bytes[end - 1], what follows is body or the next request. ERROR: answer and close; it comes at the latest
 * when n is start + limits->header_bytes + 1, so a buffer of header_bytes + 3 never fills up on MORE. */
enum h1_scan_result h1_scan_head(struct h1_scan *scan, const struct h1_limits *limits, const char *bytes, size_t n);

/* Nothing has come but (part of) an empty line: the connection counts as idle. */
static inline bool h1_scan_is_idle(const struct h1_scan *scan, size_t n) {
    return n <= 2 && scan->lines == 0 && scan->line == n;
}

/* ---- a short cut */

/* A head that came whole is nearly always a right one, and of a right one stage 1 only tells where it ends. Returns that end
 * when bytes[0] can begin a head and an empty line is here within the limit; 0: h1_scan_head is to look. Only for what
 * begins at bytes[0]. A head that stage 2 then refuses is to be judged by h1_judge_guess. */
size_t h1_guess_head(const struct h1_limits *limits, const char *bytes, size_t n);
/* The head bytes[0] to bytes[n - 1] was guessed, and refused by stage 2 with *error. True: stage 1 finds a fault in it, too,
 * which goes first and is in *error now. `bytes` are those that came, not those that stage 2 has changed. */
bool h1_judge_guess(enum h1_section section, const struct h1_limits *limits, const char *bytes, size_t n,
                    enum h1_error *error);

/* ---- stage 2 */

/* Parses exactly one complete head in place: lower-cases names and the authority. `bytes` stays as long as `head`; the field
 * array comes from `arena`. On failure `head` holds what was understood until then, for the log (head_init has been called;
 * method_text and target may be set). */
enum h1_error h1_parse_request(struct arena *arena, char *bytes, size_t n, const struct h1_limits *limits,
                               struct head *head);
enum h1_error h1_parse_response(struct arena *arena, char *bytes, size_t n, const struct h1_limits *limits,
                                struct head *head);

/* ---- body framing, RFC 9112 section 6.3 */

enum h1_framing {
    H1_BODY_NONE,
    H1_BODY_LENGTH,      /* head->content_length, at least 1 */
    H1_BODY_CHUNKED,
    H1_BODY_UNTIL_CLOSE, /* responses only */
    H1_BODY_TUNNEL,      /* 101, or 2xx to CONNECT: what follows is not HTTP */
};

enum h1_framing h1_request_framing(const struct head *request);
enum h1_framing h1_response_framing(const struct head *response, enum method request_method);
