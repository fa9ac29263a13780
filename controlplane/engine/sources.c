#include "controlplane/engine/sources.h"

#include <stdlib.h>

enum { VARIABLES_MAX = 1000, NAME_MAX_BYTES = 256 };

static bool is_name_byte(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_listed(const Headgate__Sources *m, const char *name) {
    for (size_t i = 0; i < m->n_variables; i++)
        if (strcmp(m->variables[i]->name, name) == 0)
            return true;
    return false;
}

static int add_variable(struct arena *arena, Headgate__Sources *m, const char *name, const char *value) {
    Headgate__Variable *v = arena_alloc(arena, sizeof *v);
    if (!v)
        return -1;
    headgate__variable__init(v);
    v->name = arena_strdup(arena, name);
    v->value = arena_strdup(arena, value);
    m->variables[m->n_variables++] = v;
    return v->name && v->value ? 0 : -1;
}

/* One "${NAME": `at` is behind the brace. */
static int take_reference(const char *at, const char *end, struct arena *arena, Headgate__Sources *m) {
    char name[NAME_MAX_BYTES];
    size_t n = 0;
    while (at + n < end && n < sizeof name - 1 && is_name_byte(at[n])) {
        name[n] = at[n];
        n++;
    }
    name[n] = '\0';
    const char *value = n ? getenv(name) : NULL;
    if (!value || is_listed(m, name) || m->n_variables == VARIABLES_MAX)
        return 0;
    return add_variable(arena, m, name, value);
}

/* Looks for "${NAME" wherever it stands: one that is in a comment does no harm. */
static int add_variables(const struct config_source *source, struct arena *arena, Headgate__Sources *m) {
    const char *at = source->bytes, *end = source->bytes + source->size;
    while (at && (at = memmem(at, (size_t)(end - at), "${", 2))) {
        at += 2;
        if (take_reference(at, end, arena, m) < 0)
            return -1;
    }
    return 0;
}

int sources_to_message(const struct config_sources *sources, struct arena *arena, Headgate__Sources *ret) {
    headgate__sources__init(ret);
    ret->files = arena_calloc(arena, sources->count + 1, sizeof(Headgate__SourceFile *));
    ret->variables = arena_calloc(arena, VARIABLES_MAX, sizeof(Headgate__Variable *));
    if (!ret->files || !ret->variables)
        return -1;
    for (size_t i = 0; i < sources->count; i++) {
        const struct config_source *source = &sources->items[i];
        Headgate__SourceFile *file = arena_alloc(arena, sizeof *file);
        if (!file || add_variables(source, arena, ret) < 0)
            return -1;
        headgate__source_file__init(file);
        file->path = source->path;
        file->has_text = true;
        file->text = (ProtobufCBinaryData){source->size, (uint8_t *)source->bytes};
        ret->files[ret->n_files++] = file;
    }
    return 0;
}

bool sources_are_same(const struct config_sources *a, const struct config_sources *b) {
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct config_source *x = &a->items[i], *y = &b->items[i];
        if (strcmp(x->path, y->path) != 0 || x->size != y->size || x->is_unreadable != y->is_unreadable ||
            (x->size && memcmp(x->bytes, y->bytes, x->size) != 0))
            return false;
    }
    return true;
}
