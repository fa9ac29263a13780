#include <stdarg.h>
#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/config/message/fill.h"

void fill_finish(struct fill *f) {
    map_finish(&f->unique);
    map_finish(&f->unique_in_all);
    hg_free(f->references);
    *f = (struct fill){0};
}

void fill_begin_resource(struct fill *f, const char *resource) {
    if (f->unique.count)
        map_finish(&f->unique);
    f->resource = resource;
}

struct fill_at fill_down(const struct fill_at *at, const char *key) {
    const struct tree_item *item = at->node->type == TREE_MAP ? tree_find(at->node, key) : NULL;
    return (struct fill_at){.up = at, .item = item, .node = item ? item->node : at->node};
}

struct fill_at fill_down_to(const struct fill_at *at, size_t index) {
    const struct tree_item *item = at->node->first;
    while (item && index--)
        item = item->next;
    return (struct fill_at){.up = at, .item = item, .node = item ? item->node : at->node};
}

static void add_path(const struct fill_at *at, struct strbuf *out) {
    if (at->up)
        add_path(at->up, out);
    if (at->item)
        tree_path_add(out, at->item);
}

const char *fill_path(struct fill *f, const struct fill_at *at) {
    struct strbuf path = {0};
    add_path(at, &path);
    const char *copy = path.failed ? NULL : arena_strdup(f->arena, strbuf_str(&path).p);
    strbuf_finish(&path);
    return copy;
}

static struct error *add(struct fill *f, struct error_list *list, const struct tree_place *place, const struct fill_at *at,
                         enum error_code code, const char *format, va_list args) {
    char message[1024];
    struct strbuf path = {0};
    vsnprintf(message, sizeof message, format, args);
    add_path(at, &path);
    struct error *e = error_list_add(list, &(struct error){
        .code = code, .message = message, .file = place->file, .line = place->line, .column = place->column,
        .resource = f->names_resource ? f->resource : NULL, .path = path.failed ? NULL : strbuf_str(&path).p,
    });
    strbuf_finish(&path);
    return e;
}

struct error *fill_report(struct fill *f, const struct fill_at *at, enum error_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct error *e = add(f, f->errors, &at->node->place, at, code, format, args);
    va_end(args);
    f->faults++;
    return e;
}

struct error *fill_report_key(struct fill *f, const struct fill_at *at, enum error_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct error *e = add(f, f->errors, at->item ? &at->item->key_place : &at->node->place, at, code, format, args);
    va_end(args);
    f->faults++;
    return e;
}

void fill_adopt(struct fill *f, const struct fill_at *at) {
    const struct tree_place *place = &at->node->place;
    for (size_t i = 0; i < f->errors->count; i++) {
        struct error *e = &f->errors->items[i];
        bool is_here = e->line == place->line && e->column == place->column && !e->path && e->file && place->file;
        if (is_here && strcmp(e->file, place->file) == 0)
            error_set_resource(f->errors, e, NULL, fill_path(f, at));
    }
    f->faults++;
}

void fill_warn(struct fill *f, const struct fill_at *at, const char *format, ...) {
    va_list args;
    if (!f->warnings)
        return;
    va_start(args, format);
    add(f, f->warnings, &at->node->place, at, ERROR_CONFLICT, format, args);
    va_end(args);
}

void fill_out_of_memory(struct fill *f) {
    error_addf(f->errors, ERROR_MEMORY, "out of memory");
    f->faults++;
}
