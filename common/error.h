/* error.h — the one error type for everything that can fail outside the request path.
 *
 * An error says what is wrong, where (a place in a file, or a resource and the path of a field), what was
 * expected and what known name is near. A list collects *all* errors of an input. Texts are owned by the
 * list. Thread: one at a time. When memory runs out while adding, the last entry says so (ERROR_MEMORY), or,
 * where there is none for even the first, the list only counts in `dropped`: ask error_list_is_empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/str.h"

enum error_code {
    ERROR_NONE,
    ERROR_SYNTAX,        /* not well-formed YAML, JSON, protobuf, address, ... */
    ERROR_UNKNOWN_KEY,   /* a key or field that the schema does not have */
    ERROR_TYPE,          /* a value of another type than expected */
    ERROR_RANGE,         /* out of the allowed range, too long, too many */
    ERROR_MISSING,       /* a required key is absent */
    ERROR_CONFLICT,      /* two things that exclude each other, or a name used twice */
    ERROR_REFERENCE,     /* names something that does not exist */
    ERROR_IO,            /* a file or socket operation failed */
    ERROR_INTEGRITY,     /* stored bytes are not what their hash or history says */
    ERROR_STATE,         /* not possible in the present state (version moved on, nothing to roll back to) */
    ERROR_UNSUPPORTED,   /* a kind, field or schema level that this build does not know */
    ERROR_ADDRESS_IN_USE,
    ERROR_MEMORY,
    ERROR_INTERNAL,
};

const char *error_code_name(enum error_code code); /* "unknown-key"; for JSON and logs */

struct error {
    enum error_code code;
    const char     *message;        /* one sentence without a full stop, never NULL */
    const char     *file;           /* NULL when not about a file */
    unsigned        line, column;   /* from 1; 0: not known */
    const char     *resource;       /* "route-table/site", NULL when not about a resource */
    const char     *path;           /* "hosts[0].rules[2].match.path", NULL when there is none */
    const char     *expected;       /* "a duration such as 250ms, 30s or 5m"; may be NULL */
    const char     *nearest;        /* the known name that was probably meant; may be NULL */
};

struct error_list {
    struct arena   arena;
    struct error  *items;
    size_t         count, capacity;
    size_t         dropped;         /* beyond ERROR_LIST_MAX or without memory: counted only */
};

enum { ERROR_LIST_MAX = 1000 };

/* A zeroed struct is a valid empty list. */
void error_list_finish(struct error_list *list);
/* Copies the texts of `e`. Returns the stored error (valid until the next add), or NULL when it was dropped.
 * */
struct error *error_list_add(struct error_list *list, const struct error *e);
/* Adds {code, message}; the other parts can be set on what is returned with error_set_*; NULL is allowed
 * there. */
struct error *error_addf(struct error_list *list, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void error_set_place(struct error_list *list, struct error *e, const char *file, unsigned line,
                     unsigned column);
void error_set_resource(struct error_list *list, struct error *e, const char *resource, const char *path);
void error_set_expected(struct error_list *list, struct error *e, const char *expected, const char *nearest);
static inline bool error_list_is_empty(const struct error_list *list) {
    return list->count == 0 && list->dropped == 0;
}
/* "site.yaml:12:7: hosts[0].rulez: unknown key; did you mean \"rules\"?" — no line end. */
void error_format(const struct error *e, struct strbuf *out);
/* One JSON object. */
void error_format_json(const struct error *e, struct strbuf *out);
