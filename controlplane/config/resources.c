#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/config/config.h"

void config_resources_finish(struct config_resources *set) {
    if (!set)
        return;
    hg_free(set->items);
    arena_finish(&set->arena);
    *set = (struct config_resources){0};
}

static int compare(Headgate__Kind a_kind, struct str a_name, Headgate__Kind b_kind, struct str b_name) {
    if (a_kind != b_kind)
        return a_kind < b_kind ? -1 : 1;
    return str_cmp(a_name, b_name);
}

static int compare_items(const void *a, const void *b) {
    const struct config_resource *x = a, *y = b;
    return compare(x->kind, str_of(x->name), y->kind, str_of(y->name));
}

void config_resources_sort(struct config_resources *set) {
    if (set->count)
        qsort(set->items, set->count, sizeof *set->items, compare_items);
}

const struct config_resource *config_resources_find(const struct config_resources *set, Headgate__Kind kind,
                                                    struct str name) {
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct config_resource *r = &set->items[middle];
        int order = compare(kind, name, r->kind, str_of(r->name));
        if (order == 0)
            return r;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

int config_resources_add(struct config_resources *set, Headgate__Kind kind, struct str name, const void *bytes,
                         size_t size) {
    struct config_resource r = {.kind = kind, .size = size};
    if (hg_grow(&set->items, &set->capacity, set->count + 1, sizeof *set->items) < 0)
        return -1;
    struct str copy = arena_str(&set->arena, name);
    r.name = copy.p;
    r.bytes = arena_memdup(&set->arena, bytes, size);
    if (!r.name || !r.bytes || resource_id_of(bytes, size, &r.id) < 0)
        return -1;
    set->items[set->count++] = r;
    return 0;
}
