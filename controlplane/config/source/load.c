#include <errno.h>
#include <glob.h>
#include <stdio.h>

#include "common/input_file.h"
#include "common/map.h"
#include "controlplane/config/source/include.h"
#include "controlplane/config/source/watch.h"

struct load {
    struct config_sources *sources;
    struct error_list     *errors;
    struct map             paths;       /* normal paths of what is loaded */
    struct arena           arena;
};

static int out_of_memory(struct load *l) {
    error_addf(l->errors, ERROR_MEMORY, "out of memory");
    return -1;
}

/* ---- one file ---- */

static int read_all(FILE *file, struct strbuf *out) {
    char piece[65536];
    size_t n;
    /* One byte more than allowed is enough to be refused. */
    while (out->n <= CONFIG_FILE_MAX && (n = fread(piece, 1, sizeof piece, file)) > 0)
        strbuf_add(out, piece, n);
    if (out->failed)
        errno = ENOMEM;
    return out->failed || ferror(file) ? -1 : 0;
}

static int read_file(const char *path, struct strbuf *out) {
    FILE *file = input_file_open(path);
    if (!file)
        return -1;
    int status = read_all(file, out), error = errno;
    fclose(file);
    errno = error;
    return status;
}

static void report_unreadable(struct load *l, const char *path, const struct tree_place *from) {
    bool is_special = errno == ENXIO;
    struct error *e = error_addf(l->errors, errno == ENOMEM ? ERROR_MEMORY : ERROR_IO, "cannot read \"%s\": %s",
                                 path, input_file_reason(errno));
    if (is_special)
        error_set_expected(l->errors, e, "a regular file", NULL);
    if (!from)
        error_set_place(l->errors, e, path, 0, 0);
    else {
        error_set_place(l->errors, e, from->file, from->line, from->column);
        error_set_resource(l->errors, e, NULL, "include");
    }
}

/* Without bytes, for who refers to it: that it cannot be read, or is too large, has been told. */
static int add_unreadable(struct load *l, const char *path) {
    struct error_list ignored = {0};
    if (config_sources_add(l->sources, str_of(path), STR(""), &ignored) == 0)
        l->sources->items[l->sources->count - 1].is_unreadable = true;
    error_list_finish(&ignored);
    return -1;
}

/* Adds the file once. */
static int load_file(struct load *l, const char *path, const struct tree_place *from) {
    const char *normal = include_normal_path(&l->arena, str_of(path));
    struct strbuf text = {0};
    if (!normal)
        return out_of_memory(l);
    if (map_get(&l->paths, str_of(normal)))
        return 0;
    if (map_set(&l->paths, str_of(normal), l) < 0 || watch_path(l->sources, path) < 0)
        return out_of_memory(l);
    int status = read_file(path, &text);
    if (status < 0)
        report_unreadable(l, path, from);
    else
        status = config_sources_add(l->sources, str_of(path), strbuf_str(&text), l->errors);
    strbuf_finish(&text);
    return status < 0 ? add_unreadable(l, path) : 0;
}

/* ---- what it includes ---- */

static int load_matches(struct load *l, const struct include *include) {
    glob_t found = {0};
    int status = glob(include->pattern, GLOB_NOSORT, NULL, &found) == GLOB_NOSPACE ? out_of_memory(l) : 0;
    for (size_t i = 0; i < found.gl_pathc; i++)
        status |= load_file(l, found.gl_pathv[i], &include->place);
    globfree(&found);
    return status;
}

static int load_include(struct load *l, const struct include *include) {
    if (!include_is_pattern(include->pattern))
        return load_file(l, include->pattern, &include->place);
    int status = watch_pattern(l->sources, include->pattern) < 0 ? out_of_memory(l) : 0;
    return status | load_matches(l, include);
}

static bool has_memory_error(const struct error_list *list) {
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].code == ERROR_MEMORY)
            return true;
    return list->count == 0 && list->dropped > 0;
}

/* Only looks for includes: the faults of the file itself are found when it is compiled. */
static int load_includes(struct load *l, const struct config_source *source) {
    struct str text = {source->bytes, source->size};
    if (!memmem(text.p, text.n, "include", strlen("include")))
        return 0;
    struct error_list ignored = {0};
    struct tree_budget budget = {TREE_NODES_MAX, TREE_EXPANSION_MAX};
    struct include *includes = NULL;
    size_t count = 0;
    const char *path = arena_strdup(&l->arena, source->path); /* the list of sources may move */
    struct tree_node *root = path ? tree_read(&l->arena, path, text, NULL, &budget, &ignored) : NULL;
    if (root)
        include_list(&l->arena, path, root, &includes, &count, &ignored);
    int status = !path || has_memory_error(&ignored) ? out_of_memory(l) : 0;
    error_list_finish(&ignored);
    for (size_t i = 0; i < count; i++)
        status |= load_include(l, &includes[i]);
    return status;
}

int config_load(const char *path, struct config_sources *sources, struct error_list *errors) {
    struct load l = {.sources = sources, .errors = errors};
    arena_init(&l.arena, NULL, 0, 0);
    int status = load_file(&l, path, NULL);
    for (size_t i = 0; i < sources->count; i++)
        status |= load_includes(&l, &sources->items[i]);
    watch_sort(sources);
    map_finish(&l.paths);
    arena_finish(&l.arena);
    return status;
}
