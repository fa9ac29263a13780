/* fields.h — the fields of a head or a trailer section, in the order in which they came.
 *
 * Names are always lower-case. A field points into memory that outlives it (the arena of its exchange, or static text);
 * nothing here copies names or values. Names that the gateway treats have an id, every other name has FIELD_OTHER.
 * Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/arena.h"
#include "common/str.h"
#include "dataplane/routing/field_bytes.h"

/* What the gateway has to know about a name. */
enum field_flags {
    FIELD_HOP_BY_HOP = 1,  /* RFC 9110 section 7.6.1: never forwarded, whether Connection names it or not */
    FIELD_NO_TRAILER = 2,  /* RFC 9110 section 6.5.1: has no meaning in a trailer section and is dropped there */
    FIELD_BAD_TRAILER = 4, /* framing or routing: a trailer section that has it is refused */
    FIELD_PINNED = 8,      /* stays although Connection names it: otherwise a client could take from the origin what the
                              gateway or a trusted proxy says */
};

#define FIELD_HOP  (FIELD_HOP_BY_HOP | FIELD_NO_TRAILER)
#define FIELD_OURS (FIELD_PINNED | FIELD_NO_TRAILER)

/* X(id, name, flags), grouped by length and shortest first: the lookup relies on that order (a unit test checks it). */
#define FIELD_NAMES(X) \
    X(TE, "te", FIELD_HOP) \
    X(AGE, "age", FIELD_NO_TRAILER) \
    X(VIA, "via", FIELD_OURS) \
    X(HOST, "host", FIELD_PINNED | FIELD_BAD_TRAILER) \
    X(DATE, "date", FIELD_NO_TRAILER) \
    X(VARY, "vary", FIELD_NO_TRAILER) \
    X(RANGE, "range", FIELD_NO_TRAILER) \
    X(ACCEPT, "accept", 0) \
    X(COOKIE, "cookie", FIELD_NO_TRAILER) \
    X(EXPECT, "expect", FIELD_NO_TRAILER) \
    X(PRAGMA, "pragma", FIELD_NO_TRAILER) \
    X(SERVER, "server", FIELD_NO_TRAILER) \
    X(TRAILER, "trailer", FIELD_NO_TRAILER) \
    X(UPGRADE, "upgrade", FIELD_HOP | FIELD_BAD_TRAILER) \
    X(ALT_SVC, "alt-svc", FIELD_NO_TRAILER) \
    X(REFERER, "referer", 0) \
    X(EXPIRES, "expires", FIELD_NO_TRAILER) \
    X(IF_MATCH, "if-match", FIELD_NO_TRAILER) \
    X(IF_RANGE, "if-range", FIELD_NO_TRAILER) \
    X(LOCATION, "location", FIELD_NO_TRAILER) \
    X(PRIORITY, "priority", FIELD_NO_TRAILER) \
    X(FORWARDED, "forwarded", FIELD_OURS) \
    X(X_REAL_IP, "x-real-ip", FIELD_OURS) \
    X(CONNECTION, "connection", FIELD_HOP | FIELD_BAD_TRAILER) \
    X(KEEP_ALIVE, "keep-alive", FIELD_HOP) \
    X(SET_COOKIE, "set-cookie", FIELD_NO_TRAILER) \
    X(USER_AGENT, "user-agent", 0) \
    X(EARLY_DATA, "early-data", FIELD_OURS) \
    X(CLIENT_CERT, "client-cert", FIELD_OURS) \
    X(RETRY_AFTER, "retry-after", FIELD_NO_TRAILER) \
    X(CONTENT_TYPE, "content-type", FIELD_NO_TRAILER) \
    X(MAX_FORWARDS, "max-forwards", FIELD_NO_TRAILER) \
    X(X_REQUEST_ID, "x-request-id", FIELD_OURS) \
    X(CACHE_CONTROL, "cache-control", FIELD_NO_TRAILER) \
    X(AUTHORIZATION, "authorization", FIELD_NO_TRAILER) \
    X(CONTENT_RANGE, "content-range", FIELD_NO_TRAILER) \
    X(IF_NONE_MATCH, "if-none-match", FIELD_NO_TRAILER) \
    X(CONTENT_LENGTH, "content-length", FIELD_PINNED | FIELD_BAD_TRAILER) \
    X(HTTP2_SETTINGS, "http2-settings", FIELD_HOP) \
    X(ACCEPT_ENCODING, "accept-encoding", 0) \
    X(ACCEPT_LANGUAGE, "accept-language", 0) \
    X(X_FORWARDED_FOR, "x-forwarded-for", FIELD_OURS) \
    X(CONTENT_ENCODING, "content-encoding", FIELD_NO_TRAILER) \
    X(PROXY_CONNECTION, "proxy-connection", FIELD_HOP) \
    X(WWW_AUTHENTICATE, "www-authenticate", FIELD_NO_TRAILER) \
    X(X_FORWARDED_HOST, "x-forwarded-host", FIELD_OURS) \
    X(CLIENT_CERT_CHAIN, "client-cert-chain", FIELD_OURS) \
    X(IF_MODIFIED_SINCE, "if-modified-since", FIELD_NO_TRAILER) \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key", FIELD_NO_TRAILER) \
    X(TRANSFER_ENCODING, "transfer-encoding", FIELD_HOP | FIELD_BAD_TRAILER) \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", FIELD_OURS) \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", FIELD_HOP) \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since", FIELD_NO_TRAILER) \
    X(PROXY_AUTHORIZATION, "proxy-authorization", FIELD_HOP) \
    X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept", FIELD_NO_TRAILER) \
    X(SEC_WEBSOCKET_VERSION, "sec-websocket-version", FIELD_NO_TRAILER) \
    X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol", FIELD_NO_TRAILER) \
    X(X_FORWARDED_CLIENT_CERT, "x-forwarded-client-cert", FIELD_OURS) \
    X(SEC_WEBSOCKET_EXTENSIONS, "sec-websocket-extensions", FIELD_NO_TRAILER)

enum field_id {
    FIELD_OTHER,
#define X(id, name, flags) FIELD_##id,
    FIELD_NAMES(X)
#undef X
    FIELD_ID_COUNT
};
_Static_assert(FIELD_ID_COUNT <= 64, "ids are bits of a 64-bit mask");

#define FIELD_BIT(id) (UINT64_C(1) << (id))

struct field {
    const char *name, *value; /* neither ends in NUL */
    uint32_t    value_len;
    uint16_t    name_len;
    uint16_t    id;           /* enum field_id */
};

/* A zeroed struct is a valid empty list. The array lives in an arena; growing leaves the old array behind there. */
struct fields {
    struct field *v;
    uint32_t      count, capacity;
};

/* The id of a lower-case name, FIELD_OTHER for a name that is not in FIELD_NAMES. */
enum field_id field_lookup(const char *name, size_t n);
struct str    field_id_name(enum field_id id);  /* empty for FIELD_OTHER */

/* The ids of names that have one of these enum field_flags, as FIELD_BIT()s. A constant where `flags` is one. */
static inline uint64_t field_ids_with(unsigned flags) {
#define X(id, name, of_name) | ((of_name) & flags ? FIELD_BIT(FIELD_##id) : 0)
    return 0 FIELD_NAMES(X);
#undef X
}

static inline bool field_id_has(unsigned id, unsigned flags) {
    return field_ids_with(flags) & FIELD_BIT(id);
}

/* A lower-case token of 1..65535 bytes (RFC 9110 section 5.1). */
static inline bool field_name_is_valid(struct str name) {
    return name.n > 0 && name.n <= UINT16_MAX && field_skip_lower_token(name.p, name.p + name.n) == name.p + name.n;
}

/* No control bytes but HTAB, no white space at either end (RFC 9110 section 5.5). May be empty. */
static inline bool field_value_is_valid(struct str value) {
    const char *at = value.p, *end = value.p + value.n;
    if (value.n == 0)
        return true;
    while ((at = field_find_control(at, end)) < end && *at == '\t')
        at++;
    bool is_trimmed = value.p[0] != ' ' && value.p[0] != '\t' && end[-1] != ' ' && end[-1] != '\t';
    return at == end && is_trimmed && value.n <= UINT32_MAX;
}

static inline struct str field_name(const struct field *f) {
    return (struct str){f->name, f->name_len};
}

static inline struct str field_value(const struct field *f) {
    return (struct str){f->value, f->value_len};
}

static inline bool field_is(const struct field *f, struct str name) {
    return f->name_len == name.n && memcmp(f->name, name.p, name.n) == 0;
}

/* Of fields.c: a larger array. */
int fields_grow(struct fields *fields, struct arena *arena, uint32_t more);
/* Room for `more` further fields. Returns 0, or -1 without memory, and leaves all as it was. */
static inline int fields_reserve(struct fields *fields, struct arena *arena, uint32_t more) {
    return more <= fields->capacity - fields->count ? 0 : fields_grow(fields, arena, more);
}
/* Appends. `name` is lower-case and valid, `value` valid; both outlive the list. Returns 0, or -1 without memory. */
int fields_add(struct fields *fields, struct arena *arena, struct str name, struct str value);
int fields_add_id(struct fields *fields, struct arena *arena, enum field_id id, struct str value);
/* Leaves exactly one field of that id: the first one is given the value, or one is appended. Returns 0, or -1. */
int fields_set_id(struct fields *fields, struct arena *arena, enum field_id id, struct str value);
/* The same for any name. */
int fields_set(struct fields *fields, struct arena *arena, struct str name, struct str value);
/* Appends all fields of `from`; names and values are shared. Returns 0, or -1 without memory. */
int fields_append(struct fields *fields, struct arena *arena, const struct fields *from);

/* Removing keeps the order of the rest. Each returns how many went. `id` is not FIELD_OTHER. */
void     fields_remove_at(struct fields *fields, uint32_t index);
uint32_t fields_remove(struct fields *fields, enum field_id id);
uint32_t fields_remove_ids(struct fields *fields, uint64_t mask); /* mask of FIELD_BIT() */
uint32_t fields_remove_name(struct fields *fields, struct str name);

/* Iteration: `for (struct field *f = NULL; (f = fields_next(fields, f, id)); )`. `f` NULL: from the start. */
static inline struct field *fields_next(const struct fields *fields, const struct field *f, enum field_id id) {
    for (uint32_t i = f ? (uint32_t)(f - fields->v) + 1 : 0; i < fields->count; i++)
        if (fields->v[i].id == id)
            return &fields->v[i];
    return NULL;
}

/* FIELD_BIT() of every id that is there. */
static inline uint64_t fields_ids(const struct fields *fields) {
    uint64_t ids = 0;
    for (uint32_t i = 0; i < fields->count; i++)
        ids |= FIELD_BIT(fields->v[i].id);
    return ids;
}

/* The first field of that id, or NULL. */
static inline struct field *fields_find(const struct fields *fields, enum field_id id) {
    return fields_next(fields, NULL, id);
}

/* As fields_next, for a name in lower case. */
static inline struct field *fields_next_name(const struct fields *fields, const struct field *f, struct str name) {
    for (uint32_t i = f ? (uint32_t)(f - fields->v) + 1 : 0; i < fields->count; i++)
        if (field_is(&fields->v[i], name))
            return &fields->v[i];
    return NULL;
}

static inline struct field *fields_find_name(const struct fields *fields, struct str name) {
    return fields_next_name(fields, NULL, name);
}

/* The members of a comma-separated value (RFC 9110 section 5.6.1), trimmed, empty ones left out. Cuts the next one off
 * *rest; returns false when there is none left. Not for values with quoted strings. */
bool field_list_next(struct str *rest, struct str *ret_member);
