/* path.h — the canonical path: one spelling of a request's path, used by matching, filters and forwarding alike.
 *
 * What a canonical path is, whatever the policy: it begins with "/"; it is a valid path of RFC 3986 (section
 * 3.3); unreserved characters stand for themselves; escapes have upper-case digits; there is no "." or ".."
 * segment. So
 *  - escapes of unreserved characters are decoded, all other escapes stay escapes;
 *  - bytes that RFC 3986 does not allow raw (space cannot occur; " < > [ ] ^ ` { | }) are escaped;
 *  - dot segments are resolved by RFC 3986 section 5.2.4, also escaped ones, never above the root, or refused;
 *  - "/", "\" and ";" and their escapes go by the policy;
 *  - "%" without two hexadecimal digits, "%00", control bytes, bytes above 0x7f, and overlong UTF-8 in escapes
 *    ("%C0%AE") are refused; so are dots that only some origins take for a dot segment: with a parameter
 *    ("/..;/"), or beside an escaped separator that the policy keeps ("/..%2F").
 * Making a canonical path canonical again changes nothing. The asterisk of OPTIONS is its own canonical form.
 * Pure functions. Thread: any. */
#pragma once

#include "common/arena.h"
#include "common/str.h"
#include "proto/resources.pb-c.h"

struct path_policy {
    Headgate__PathPolicy__Escape     escaped_slash;
    Headgate__PathPolicy__Backslash  backslash;
    Headgate__PathPolicy__Dots       dot_segments;
    Headgate__PathPolicy__Slashes    double_slash;
    Headgate__PathPolicy__Parameters semicolon;
};

/* `message` may be NULL; what it does not set is the default of the .proto file. */
struct path_policy path_policy_of(const Headgate__PathPolicy *message);

/* Each is a 400. X(code, word for logs and counters) */
#define PATH_ERRORS(X) \
    X(OK, "ok") \
    X(MEMORY, "memory") \
    X(RELATIVE, "relative") \
    X(BYTE, "byte") \
    X(ESCAPE, "escape") \
    X(NUL, "nul") \
    X(OVERLONG, "overlong") \
    X(ESCAPED_SLASH, "escaped-slash") \
    X(BACKSLASH, "backslash") \
    X(DOT_SEGMENT, "dot-segment") \
    X(PARAMETER, "parameter")

enum path_error {
#define X(code, word) PATH_##code,
    PATH_ERRORS(X)
#undef X
    PATH_ERROR_COUNT
};

const char *path_error_word(enum path_error error);

/* *ret is `raw` itself when that is canonical already (no copy), else text in the arena; untouched on failure.
 * PATH_MEMORY is a 503. */
enum path_error path_canonicalize(const struct path_policy *policy, struct str raw, struct arena *arena, struct str *ret);
