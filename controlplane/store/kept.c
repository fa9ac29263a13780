/* Which versions there are: all from some number on, and before that those that a push made. */
#include "controlplane/store/internal.h"

#include <stdlib.h>

void kept_finish(struct kept *k) {
    hg_free(k->pushed);
    *k = (struct kept){0};
}

int kept_add(struct kept *k, uint64_t number) {
    if (hg_grow(&k->pushed, &k->capacity, k->count + 1, sizeof *k->pushed) < 0)
        return -1;
    k->pushed[k->count++] = number;
    return 0;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void kept_sort(struct kept *k) {
    if (k->count)
        qsort(k->pushed, k->count, sizeof *k->pushed, compare);
}

int kept_copy(const struct kept *from, struct kept *ret) {
    struct kept copy = {.whole_from = from->whole_from};
    for (size_t i = 0; i < from->count; i++)
        if (kept_add(&copy, from->pushed[i]) < 0) {
            kept_finish(&copy);
            return -1;
        }
    *ret = copy;
    return 0;
}

/* How many of the sparse ones are below the number. */
static size_t count_below(const struct kept *k, uint64_t number) {
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (k->pushed[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool kept_has(const struct kept *k, uint64_t number) {
    size_t at = count_below(k, number);
    return number && (number >= k->whole_from || (at < k->count && k->pushed[at] == number));
}

uint64_t kept_before(const struct kept *k, uint64_t number) {
    if (number > k->whole_from)
        return number - 1;
    size_t below = count_below(k, number);
    return below ? k->pushed[below - 1] : 0;
}

uint64_t kept_after(const struct kept *k, uint64_t number) {
    if (number >= k->whole_from)
        return number + 1;
    size_t at = count_below(k, number + 1);
    return at < k->count ? k->pushed[at] : k->whole_from;
}

uint64_t store_version_count(const struct store *s) {
    return s->head.newest ? s->kept.count + (s->head.newest - s->kept.whole_from + 1) : 0;
}

/* ---- when a store is opened ---- */

struct looking {
    struct store *store;
    struct error_list *errors;
};

/* 1: a server made it; 0: a push did, or that cannot be known any more; -1 with an error. */
static int is_discovered(struct store *s, uint64_t number, struct error_list *errors) {
    struct arena arena = {0};
    struct error_list faults = {0};
    struct record r;
    int status = record_read(s, number, &arena, &r, &faults);
    int result = status == MESSAGE_MEMORY ? report_memory(s, errors) : status == 0 && r.version.layer != 0;
    error_list_finish(&faults);
    arena_finish(&arena);
    return result;
}

/* Versions above the head: a commit that was cut off. Below the oldest, and what servers made among the sparse ones: a gc
 * that was cut off. */
static int look_at_version(void *context, const char *name) {
    const struct looking *l = context;
    struct store *s = l->store;
    char path[PATH_SIZE];
    uint64_t number = version_of_name(name);
    bool is_inside = number >= s->head.oldest && number <= s->head.newest;
    if (number == 0 || (is_inside && number >= s->kept.whole_from))
        return 0;
    int discovered = is_inside ? is_discovered(s, number, l->errors) : 1;
    if (discovered < 0)
        return -1;
    if (!discovered)
        return kept_add(&s->kept, number) < 0 ? report_memory(s, l->errors) : 0;
    path_of_version(number, path);
    return disk_remove(&s->disk, path, l->errors);
}

int kept_load(struct store *s, struct error_list *errors) {
    struct looking looking = {.store = s, .errors = errors};
    s->kept.whole_from = s->head.whole_from;
    if (disk_list(&s->disk, VERSIONS_FOLDER, look_at_version, &looking, errors) < 0)
        return -1;
    kept_sort(&s->kept);
    return 0;
}
