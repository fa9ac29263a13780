/* sections.h — heads and trailers between field sections of HTTP/2 (RFC 9113 section 8) and HTTP/3 (RFC 9114 section 4) and
 * struct head, both ways, strictly.
 *
 * Reading: a section is begun, each field is added as it is decoded, and the section is finished. The first error
 * counts, and what follows it is only counted, so that a long section costs no memory. Nothing is accepted that HTTP/1.1
 * could not carry, or that could frame or route a message differently there. Writing: an array of names and values that
 * point into the head. No I/O, no clock. Thread: one at a time. */
#pragma once

#include "common/arena.h"
#include "dataplane/http/abort.h"
#include "dataplane/http/head.h"

/* X(code, what a request with it is answered with, word for logs). ABORT_NONE: nothing; the message is malformed and its
 * stream is reset with PROTOCOL_ERROR (RFC 9113 section 8.1.1), or H3_MESSAGE_ERROR (RFC 9114 section 4.1.2). */
#define SECTION_ERRORS(X) \
    X(OK, ABORT_NONE, "ok") \
    X(MEMORY, ABORT_MEMORY, "memory") \
    X(FIELD_NAME, ABORT_NONE, "field-name") \
    X(FIELD_VALUE, ABORT_NONE, "field-value") \
    X(PSEUDO_UNKNOWN, ABORT_NONE, "pseudo-field-unknown") \
    X(PSEUDO_REPEATED, ABORT_NONE, "pseudo-field-repeated") \
    X(PSEUDO_LATE, ABORT_NONE, "pseudo-field-late") \
    X(PSEUDO_MISSING, ABORT_NONE, "pseudo-field-missing") \
    X(CONNECTION_FIELD, ABORT_NONE, "connection-field") \
    X(TE, ABORT_NONE, "te") \
    X(METHOD, ABORT_NONE, "method") \
    X(METHOD_TOO_LONG, ABORT_METHOD_NOT_IMPLEMENTED, "method-too-long") \
    X(SCHEME, ABORT_CLIENT_PROTOCOL, "scheme") \
    X(TARGET, ABORT_NONE, "target") \
    X(TARGET_TOO_LONG, ABORT_URI_TOO_LONG, "target-too-long") \
    X(AUTHORITY, ABORT_CLIENT_PROTOCOL, "authority") \
    X(AUTHORITY_MISSING, ABORT_CLIENT_PROTOCOL, "authority-missing") \
    X(HOST_REPEATED, ABORT_CLIENT_PROTOCOL, "host-repeated") \
    X(HOST_DIFFERS, ABORT_NONE, "host-differs") \
    X(STATUS, ABORT_NONE, "status") \
    X(CONTENT_LENGTH, ABORT_NONE, "content-length") \
    X(CONTENT_LENGTH_REPEATED, ABORT_NONE, "content-length-repeated") \
    X(EXPECT, ABORT_EXPECTATION, "expect") \
    X(HEAD_TOO_LARGE, ABORT_HEADERS_TOO_LARGE, "head-too-large") \
    X(TOO_MUCH_HELD, ABORT_HEADERS_TOO_LARGE, "connection-heads-too-large") /* the session's to find */ \
    X(TOO_MANY_FIELDS, ABORT_HEADERS_TOO_LARGE, "too-many-fields") \
    X(TUNNEL_ENDS, ABORT_NONE, "tunnel-without-stream") \
    X(TRAILER_FIELD, ABORT_NONE, "trailer-field") \
    X(TRAILER_NOT_LAST, ABORT_NONE, "trailer-not-last")

enum section_error {
#define X(code, answer, word) SECTION_##code,
    SECTION_ERRORS(X)
#undef X
    SECTION_ERROR_COUNT
};

const char     *section_error_word(enum section_error error);     /* static: "te" */
enum abort_code section_error_answer(enum section_error error);
static inline bool section_error_is_malformed(enum section_error error) {
    return error != SECTION_OK && section_error_answer(error) == ABORT_NONE;
}

struct section_limits {
    uint32_t header_bytes;  /* of a head: names, values, and 32 for each field (RFC 9113 section 10.5.1) */
    uint32_t headers;       /* fields of a head or of a trailer section; each crumb of Cookie counts */
    uint32_t uri_bytes;
    uint32_t trailer_bytes;
};

enum { SECTION_FIELD_OVERHEAD = 32, SECTION_METHOD_MAX = 32 };

/* ---- reading */

enum section_kind { SECTION_REQUEST, SECTION_RESPONSE, SECTION_TRAILERS };

struct section_reader {
    enum section_kind            section;
    struct arena                *arena;
    const struct section_limits *limits;
    struct head                 *head;        /* of a request or a response */
    struct fields               *fields;      /* of the head, or the trailers */
    enum section_error           error;       /* the first one */
    uint64_t                     bytes;       /* of the section so far, as header_bytes counts, also beyond the limit, */
    uint64_t                     bytes_most;  /* which is this */
    uint64_t                     seen, repeated; /* FIELD_BIT() */
    uint8_t                      pseudo;      /* which pseudo-fields have come */
    bool                         in_fields;   /* past the pseudo-fields */
    bool                         takes_protocol; /* set after section_begin_head: we sent SETTINGS_ENABLE_CONNECT_PROTOCOL
                                                    (RFC 8441, RFC 9220) */
    struct str                   authority;   /* :authority; NULL: none */
    char                        *room;        /* where copies go */
    size_t                       room_left;
};

/* `head` (or `trailers`, for SECTION_TRAILERS) is begun empty; all of it points into `arena` and lives as long. `version`:
 * VERSION_20 or VERSION_30. */
void section_begin_head(struct section_reader *, enum section_kind, uint8_t version, struct arena *,
                        const struct section_limits *, struct head *head);
void section_begin_trailers(struct section_reader *, struct arena *, const struct section_limits *, struct fields *trailers);
/* Copies what has to be kept. `name` and `value` are as they were decoded. */
void section_read_field(struct section_reader *, struct str name, struct str value);
/* The section is complete; `end`: so is the message. Returns the first error; on one, method_text and target may be set. */
enum section_error section_read_end(struct section_reader *, bool end);

/* ---- writing */

enum { SECTION_EXTRA_FIELDS = 8 };       /* entries beside those of head->fields */

/* One field of a section to be written. Layout and flags are those of nghttp2_nv and nghttp3_nv: each codec asserts that. */
struct field_pair {
    const uint8_t *name, *value;
    size_t         name_n, value_n;
    uint8_t        flags;                /* PAIR_* */
};
/* By default the library copies. Kept: the strings stay until the section has been compressed. */
enum { PAIR_COPIED = 0, PAIR_NEVER_INDEXED = 1, PAIR_NAME_KEPT = 2, PAIR_VALUE_KEPT = 4 };

/* Bytes that a field section takes at most in HTTP/2 frames, whatever the compression, with all frame heads. */
size_t section_size(const struct field_pair *nv, size_t n);
/* Whether a field section is within a peer's limit: SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 section 6.5.2),
 * SETTINGS_MAX_FIELD_SECTION_SIZE (RFC 9114 section 4.2.2). UINT32_MAX, or more: there is none. */
bool section_is_within(const struct field_pair *nv, size_t n, uint64_t most);
/* Fills nv, which has room for head->fields.count + SECTION_EXTRA_FIELDS entries, and returns how many there are. Names and
 * values are not copied: they stay as long as the head. `digits` holds numbers and has to stay, too. What frames the
 * message, and what concerns a connection, is left out (writer.h of HTTP/1.1 has the same rules). */
size_t section_write_request(const struct head *head, bool is_tls, struct field_pair *nv, char digits[32]);
/* The same for a request with head->upgrade: an extended CONNECT (RFC 8441). */
size_t section_write_tunnel(const struct head *head, bool is_tls, struct field_pair *nv);
size_t section_write_response(const struct head *head, struct field_pair *nv, char digits[32]);
/* Room for trailers->count entries; the library copies them. */
size_t section_write_trailers(const struct fields *trailers, struct field_pair *nv);
