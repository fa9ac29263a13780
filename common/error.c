#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/alloc.h"

const char *error_code_name(enum error_code code) {
    switch (code) {
    case ERROR_NONE: return "none";
    case ERROR_SYNTAX: return "syntax";
    case ERROR_UNKNOWN_KEY: return "unknown-key";
    case ERROR_TYPE: return "type";
    case ERROR_RANGE: return "range";
    case ERROR_MISSING: return "missing";
    case ERROR_CONFLICT: return "conflict";
    case ERROR_REFERENCE: return "reference";
    case ERROR_IO: return "io";
    case ERROR_INTEGRITY: return "integrity";
    case ERROR_STATE: return "state";
    case ERROR_UNSUPPORTED: return "unsupported";
    case ERROR_ADDRESS_IN_USE: return "address-in-use";
    case ERROR_MEMORY: return "memory";
    case ERROR_INTERNAL: return "internal";
    }
    return "unknown";
}

void error_list_finish(struct error_list *list) {
    if (!list)
        return;
    hg_free(list->items);
    arena_finish(&list->arena);
    *list = (struct error_list){0};
}

/* A text that cannot be copied becomes NULL: the error itself is never lost over it. */
static const char *keep(struct error_list *list, const char *text) {
    return text ? arena_strdup(&list->arena, text) : NULL;
}

static const struct error without_memory = {.code = ERROR_MEMORY, .message = "out of memory"};

/* Room for one more, and for one behind it that says that memory ran out. */
static bool make_room(struct error_list *list) {
    if (list->count >= ERROR_LIST_MAX)
        return false;
    if (hg_grow(&list->items, &list->capacity, list->count + 2, sizeof *list->items) == 0)
        return true;
    if (list->count < list->capacity)
        list->items[list->count++] = without_memory;
    return false;
}

struct error *error_list_add(struct error_list *list, const struct error *e) {
    if (!make_room(list)) {
        list->dropped++;
        return NULL;
    }
    struct error *added = &list->items[list->count++];
    *added = *e;
    added->message = keep(list, e->message);
    if (!added->message) {
        added->code = ERROR_MEMORY;
        added->message = without_memory.message;
    }
    added->file = keep(list, e->file);
    added->resource = keep(list, e->resource);
    added->path = keep(list, e->path);
    added->expected = keep(list, e->expected);
    added->nearest = keep(list, e->nearest);
    return added;
}

struct error *error_addf(struct error_list *list, enum error_code code, const char *format, ...) {
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return error_list_add(list, &(struct error){.code = code, .message = message});
}

void error_set_place(struct error_list *list, struct error *e, const char *file, unsigned line,
                     unsigned column) {
    if (!e)
        return;
    e->file = keep(list, file);
    e->line = line;
    e->column = column;
}

void error_set_resource(struct error_list *list, struct error *e, const char *resource, const char *path) {
    if (!e)
        return;
    e->resource = keep(list, resource);
    e->path = keep(list, path);
}

void error_set_expected(struct error_list *list, struct error *e, const char *expected, const char *nearest) {
    if (!e)
        return;
    e->expected = keep(list, expected);
    e->nearest = keep(list, nearest);
}

void error_format(const struct error *e, struct strbuf *out) {
    if (e->file && e->line)
        strbuf_printf(out, "%s:%u:%u: ", e->file, e->line, e->column);
    else if (e->file)
        strbuf_printf(out, "%s: ", e->file);
    if (e->resource)
        strbuf_printf(out, "%s: ", e->resource);
    if (e->path && e->path[0])
        strbuf_printf(out, "%s: ", e->path);
    strbuf_puts(out, e->message);
    if (e->expected)
        strbuf_printf(out, "; expected %s", e->expected);
    if (e->nearest)
        strbuf_printf(out, "; did you mean \"%s\"?", e->nearest);
}

static void add_member(struct strbuf *out, const char *name, const char *value) {
    if (!value)
        return;
    strbuf_printf(out, ",\"%s\":", name);
    strbuf_add_json(out, str_of(value));
}

void error_format_json(const struct error *e, struct strbuf *out) {
    strbuf_printf(out, "{\"code\":\"%s\"", error_code_name(e->code));
    add_member(out, "message", e->message);
    add_member(out, "file", e->file);
    if (e->line)
        strbuf_printf(out, ",\"line\":%u,\"column\":%u", e->line, e->column);
    add_member(out, "resource", e->resource);
    add_member(out, "path", e->path);
    add_member(out, "expected", e->expected);
    add_member(out, "nearest", e->nearest);
    strbuf_putc(out, '}');
}
