#include "controlplane/config/source/merge.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/config/source/include.h"

enum file_state { FILE_NEW, FILE_OPEN, FILE_DONE };

/* A source as an include finds it. */
struct file {
    const struct config_source *source;
    const char                 *path;       /* normal */
    enum file_state             state;
};

struct merge {
    struct arena         *arena;
    struct tree_variables variables;
    struct tree_budget    budget;
    struct file          *files;
    size_t                count;
    struct tree_node     *root;             /* of all that was merged so far */
    bool                  is_complete;
    struct error_list    *errors;
};

static void merge_file(struct merge *m, struct file *file, unsigned depth, const struct tree_place *from);

static void report(struct merge *m, const struct tree_place *place, enum error_code code, const char *message,
                   const char *path) {
    struct error *e = error_addf(m->errors, code, "%s: \"%s\"", message, path);
    if (place)
        error_set_place(m->errors, e, place->file, place->line, place->column);
    error_set_resource(m->errors, e, NULL, place ? "include" : NULL);
    m->is_complete = false;
}

static int compare_paths(const void *a, const void *b) {
    const struct file *const *x = a, *const *y = b;
    return strcmp((*x)->path, (*y)->path);
}

static void merge_pattern(struct merge *m, const struct include *include, unsigned depth) {
    struct file **found = hg_calloc(m->count, sizeof *found);
    size_t count = 0;
    if (!found) {
        error_addf(m->errors, ERROR_MEMORY, "out of memory");
        return;
    }
    for (size_t i = 0; i < m->count; i++)
        if (include_matches(include->pattern, m->files[i].path))
            found[count++] = &m->files[i];
    if (count == 0 && !include_is_pattern(include->pattern))
        report(m, &include->place, ERROR_REFERENCE, "the included file is not there", include->pattern);
    qsort(found, count, sizeof *found, compare_paths);
    for (size_t i = 0; i < count; i++)
        merge_file(m, found[i], depth + 1, &include->place);
    hg_free(found);
}

/* What a file includes is its own matter. */
static void drop_include(struct tree_node *root) {
    struct tree_item **link = &root->first, *last = NULL;
    while (*link) {
        if (str_eq((*link)->key, STR("include")))
            *link = (*link)->next, root->count--;
        else
            last = *link, link = &last->next;
    }
    root->last = last;
}

static void merge_root(struct merge *m, const struct file *file, struct tree_node *root) {
    if (root->type != TREE_MAP) {
        struct error *e = error_addf(m->errors, ERROR_TYPE, "the file holds %s",
                                     root->type == TREE_LIST ? "a list" : "a single value");
        error_set_place(m->errors, e, file->source->path, root->place.line, root->place.column);
        error_set_expected(m->errors, e, "a mapping with keys such as listeners and clusters", NULL);
        m->is_complete = false;
    } else if (!m->root) {
        m->root = root;
    } else {
        tree_merge(m->arena, m->root, root, m->errors);
    }
}

/* The includes are listed before the tree is merged without them, but what they hold comes behind it. */
static void merge_tree(struct merge *m, const struct file *file, struct tree_node *root, unsigned depth) {
    struct include *includes;
    size_t count;
    if (include_list(m->arena, file->source->path, root, &includes, &count, m->errors) < 0)
        m->is_complete = false;
    if (root->type == TREE_MAP)
        drop_include(root);
    merge_root(m, file, root);
    for (size_t i = 0; i < count; i++)
        merge_pattern(m, &includes[i], depth);
}

/* An error inside an unreadable file was reported when it was read. */
static void merge_file(struct merge *m, struct file *file, unsigned depth, const struct tree_place *from) {
    if (file->state == FILE_DONE)
        return;
    if (file->state == FILE_OPEN) {
        report(m, from, ERROR_CONFLICT, "a file that includes itself, directly or through others", file->path);
        return;
    }
    if (depth > CONFIG_INCLUDE_DEPTH_MAX) {
        report(m, from, ERROR_RANGE, "includes are nested more than 16 deep", file->path);
        return;
    }
    file->state = FILE_OPEN;
    struct str text = {file->source->bytes, file->source->size};
    struct tree_node *root = file->source->is_unreadable ? NULL
        : tree_read(m->arena, file->source->path, text, &m->variables, &m->budget, m->errors);
    if (root)
        merge_tree(m, file, root, depth);
    else
        m->is_complete = false;
    file->state = FILE_DONE;
}

static int list_files(struct merge *m, const struct config_sources *sources) {
    m->files = hg_calloc(sources->count, sizeof *m->files);
    if (!m->files)
        return -1;
    for (size_t i = 0; i < sources->count; i++) {
        const struct config_source *source = &sources->items[i];
        const char *path = include_normal_path(m->arena, str_of(source->path));
        if (!path)
            return -1;
        m->files[m->count++] = (struct file){.source = source, .path = path};
    }
    return 0;
}

struct tree_node *merge_sources(struct arena *arena, const struct config_sources *sources,
                                const struct config_options *options, bool *ret_is_complete, struct error_list *errors) {
    struct merge m = {
        .arena = arena,
        .budget = {TREE_NODES_MAX, TREE_EXPANSION_MAX},
        .is_complete = true,
        .errors = errors,
    };
    if (options)
        m.variables = (struct tree_variables){options->variable, options->context};
    if (sources->count == 0)
        error_addf(errors, ERROR_MISSING, "no configuration file was given");
    else if (list_files(&m, sources) < 0)
        error_addf(errors, ERROR_MEMORY, "out of memory");
    else
        merge_file(&m, &m.files[0], 0, NULL);
    hg_free(m.files);
    *ret_is_complete = m.is_complete;
    return m.root;
}
