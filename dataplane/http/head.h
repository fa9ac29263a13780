/* head.h — the head of a request or a response, whatever the version on the wire.
 *
 * A codec fills it, filters and the core change it, a codec writes it. Every pointer leads into the arena of the exchange
 * or to static text. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"
#include "dataplane/http/fields.h"

/* The methods of RFC 9110 section 9.3 and RFC 5789; every other token is METHOD_OTHER. */
enum method {
    METHOD_OTHER,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_CONNECT,
    METHOD_OPTIONS,
    METHOD_TRACE,
    METHOD_PATCH,
    METHOD_COUNT
};

/* RFC 9112 section 3.2. Other versions have TARGET_ORIGIN and, for OPTIONS and CONNECT, the last two. */
enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ASTERISK };

struct head {
    struct fields fields; /* as received; Host agrees with `authority` */
    uint64_t      seen;   /* FIELD_BIT() of every id that was received; not kept up when fields change */

    /* ---- request */
    enum method      method;
    enum target_form form;
    struct str       method_text;
    struct str       scheme;    /* "http" or "https" from an absolute target; else empty, the listener knows */
    struct str       authority; /* "example.com:8080", lower-case; empty only with HTTP/1.0. What goes into Host */
    struct str       host;      /* the part of authority without the port; an IPv6 address keeps its brackets */
    uint16_t         port;      /* 0: none given */
    bool             has_query; /* tells "/a?" from "/a" */
    struct str       target;    /* what a request line carries: "/path?query", "*", or host:port for CONNECT */
    struct str       path;      /* raw: the part of target before "?"; "*" for TARGET_ASTERISK, empty for CONNECT */
    struct str       query;     /* without "?" */

    /* ---- response */
    uint16_t   status; /* 100..599; 0 in a request */
    struct str reason; /* may be empty */

    /* ---- both */
    int64_t    content_length;  /* -1: none */
    uint8_t    version;         /* of the message as it came: 10, 11, 20; 0: it is one of our own */
    bool       chunked;         /* Transfer-Encoding: chunked */
    bool       keep_alive;      /* the sender lets the connection persist (RFC 9112 section 9.3) */
    bool       expect_continue; /* Expect: 100-continue in an HTTP/1.1 request */
    bool       te_trailers;     /* TE lists "trailers" */
    struct str upgrade;         /* value of Upgrade when Connection names it; else empty */
    uint32_t   nominated_count; /* names that Connection lists, without close, keep-alive and upgrade; lower-case */
    struct str *nominated;
};

/* What a new head starts as. */
static inline void head_init(struct head *head) {
    *head = (struct head){.content_length = -1};
}

enum method method_lookup(struct str text);          /* case counts (RFC 9110 section 9.1) */
struct str  method_name(enum method method);         /* empty for METHOD_OTHER */
bool        method_is_idempotent(enum method method); /* RFC 9110 section 9.2.2 */
bool        method_is_safe(enum method method);       /* RFC 9110 section 9.2.1 */
/* "Not Found"; empty for a status without a registered phrase. */
struct str  status_reason(unsigned status);

/* RFC 9110 section 7.6.2: the number in Max-Forwards of an OPTIONS or TRACE request. False: none, or not a number. One
 * that is too large counts as UINT64_MAX. */
bool head_max_forwards(const struct head *head, uint64_t *ret);
/* Removes what concerns the connection only: the hop-by-hop fields and everything that Connection names, except
 * FIELD_PINNED names. The typed members (chunked, upgrade, te_trailers, ...) are left for the core to decide on. */
void head_remove_hop_by_hop(struct head *head);
