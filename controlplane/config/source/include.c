#include "controlplane/config/source/include.h"

#include <fnmatch.h>
#include <limits.h>

enum { STARS_MAX = 16 };

const char *include_normal_path(struct arena *arena, struct str path) {
    char *normal = arena_alloc(arena, path.n + 2);
    size_t n = 0;
    if (!normal)
        return NULL;
    if (path.n && path.p[0] == '/')
        normal[n++] = '/';
    size_t floor = n; /* ".." goes no further up than this */
    while (path.p) {
        struct str part = str_cut(&path, '/');
        if (part.n == 0 || str_eq(part, STR(".")))
            continue;
        char *last = memrchr(normal + floor, '/', n - floor);
        char *start = last ? last + 1 : normal + floor;
        bool is_up = str_eq(part, STR("..")), has_part = n > floor;
        if (is_up && has_part && !(normal + n - start == 2 && memcmp(start, "..", 2) == 0)) {
            n = (size_t)((last ? last : normal + floor) - normal);
            continue;
        }
        if (has_part)
            normal[n++] = '/';
        memcpy(normal + n, part.p, part.n);
        n += part.n;
    }
    if (n == 0)
        normal[n++] = '.';
    normal[n] = '\0';
    return normal;
}

bool include_is_pattern(const char *path) {
    return strpbrk(path, "*?[") != NULL;
}

static int refuse(struct error_list *errors, const struct tree_node *node, enum error_code code, const char *message) {
    struct error *e = error_addf(errors, code, "%s", message);
    error_set_place(errors, e, node->place.file, node->place.line, node->place.column);
    error_set_resource(errors, e, NULL, "include");
    error_set_expected(errors, e, "the path of a file, or a list of paths", NULL);
    return -1;
}

static const char *join(struct arena *arena, const char *file, struct str path) {
    const char *slash = strrchr(file, '/');
    if ((path.n && path.p[0] == '/') || !slash)
        return include_normal_path(arena, path);
    const char *joined = arena_printf(arena, "%.*s/%.*s", (int)(slash - file), file, STR_FMT(path));
    return joined ? include_normal_path(arena, str_of(joined)) : NULL;
}

static size_t count_stars(struct str text) {
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '*';
    return n;
}

static int add(struct arena *arena, const char *file, const struct tree_node *node, struct include *includes, size_t *count,
               struct error_list *errors) {
    if (node->is_broken)
        return -1;
    if (node->has_variable)
        return refuse(errors, node, ERROR_UNSUPPORTED, "variables are not expanded in \"include\"");
    if (node->type != TREE_SCALAR || tree_is_null(node) || node->text.n == 0 || memchr(node->text.p, '\0', node->text.n))
        return refuse(errors, node, ERROR_TYPE, "not the path of a file");
    if (node->text.n >= PATH_MAX || count_stars(node->text) > STARS_MAX)
        return refuse(errors, node, ERROR_RANGE, "the pattern is too long, or has more than 16 stars");
    const char *pattern = join(arena, file, node->text);
    if (!pattern) {
        error_addf(errors, ERROR_MEMORY, "out of memory");
        return -1;
    }
    includes[(*count)++] = (struct include){pattern, node->place};
    return 0;
}

int include_list(struct arena *arena, const char *file, const struct tree_node *root, struct include **ret,
                 size_t *ret_count, struct error_list *errors) {
    *ret = NULL;
    *ret_count = 0;
    const struct tree_item *item = root->type == TREE_MAP ? tree_find(root, "include") : NULL;
    if (!item)
        return 0;
    const struct tree_node *node = item->node;
    if (node->type == TREE_MAP)
        return refuse(errors, node, ERROR_TYPE, "not the path of a file");
    if (node->count > INCLUDES_MAX)
        return refuse(errors, node, ERROR_RANGE, "more than 1000 includes in one file");
    *ret = arena_calloc(arena, node->count + 1, sizeof **ret);
    if (!*ret) {
        error_addf(errors, ERROR_MEMORY, "out of memory");
        return -1;
    }
    int status = 0;
    if (node->type == TREE_SCALAR)
        return add(arena, file, node, *ret, ret_count, errors);
    for (const struct tree_item *i = node->first; i; i = i->next)
        status |= add(arena, file, i->node, *ret, ret_count, errors);
    return status;
}

bool include_matches(const char *pattern, const char *path) {
    if (!include_is_pattern(pattern))
        return strcmp(pattern, path) == 0;
    return fnmatch(pattern, path, FNM_PATHNAME | FNM_PERIOD) == 0;
}
