/* path.h — the one canonical path that serves matching, filters and forwarding. Pure. Thread: any. */
#pragma once

#include "common/arena.h"
#include "common/str.h"
#include "proto/resources.pb-c.h"

enum path_result {
    PATH_OK,
    PATH_BAD_ESCAPE,     /* "%" without two hex digits */
    PATH_NUL,            /* %00 */
    PATH_ESCAPED_SLASH,  /* refused by the policy, like those below */
    PATH_BACKSLASH,
    PATH_DOT_SEGMENT,
    PATH_SEMICOLON,
    PATH_ABOVE_ROOT,     /* ".." beyond "/" */
    PATH_BAD_BYTE,       /* not allowed in a path at all, or no leading "/" */
    PATH_MEMORY,
};

const char *path_result_word(enum path_result result);   /* "bad-escape", ...; static */

/* Canonical form of a raw path (the part before "?"; begins with "/"): unreserved characters percent-decoded, remaining escapes in
 * upper case, dot segments, slashes and the rest as `policy` says (NULL: the defaults). A path that is canonical
 * already is returned as it is, without a copy; otherwise the result lies in the arena. */
enum path_result path_canonical(struct arena *arena, const Headgate__PathPolicy *policy, struct str raw, struct str *ret);
