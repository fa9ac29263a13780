#include "controlplane/config/reference.h"

#include "common/alloc.h"

/* Beyond this many comparisons no near name is looked for, so that many faults in a large configuration stay cheap. */
enum { SUGGESTIONS_MAX = 100000 };

void names_finish(struct names *names) {
    for (size_t i = 0; i < sizeof names->of_kind / sizeof *names->of_kind; i++) {
        map_finish(&names->of_kind[i].names);
        hg_free(names->of_kind[i].list);
    }
    *names = (struct names){0};
}

int names_add(struct names *names, Headgate__Kind kind, const char *name) {
    struct name_set *set = &names->of_kind[kind];
    if (hg_grow(&set->list, &set->capacity, set->count + 1, sizeof *set->list) < 0 ||
        map_set(&set->names, str_of(name), set) < 0)
        return -1;
    set->list[set->count++] = name;
    return 0;
}

static const char *nearest(struct names *names, const struct name_set *set, const char *name) {
    if (names->suggestions + set->count > SUGGESTIONS_MAX)
        return NULL;
    names->suggestions += set->count;
    return str_nearest(str_of(name), set->list, set->count);
}

static void report(struct names *names, struct fill *f, const struct fill_reference *r) {
    struct error *e = error_addf(f->errors, ERROR_REFERENCE, "there is no %s \"%s\"", kind_name(r->kind), r->name);
    error_set_place(f->errors, e, r->place.file, r->place.line, r->place.column);
    error_set_resource(f->errors, e, f->names_resource ? r->from : NULL, r->path);
    error_set_expected(f->errors, e, NULL, nearest(names, &names->of_kind[r->kind], r->name));
    f->faults++;
}

void names_check(struct names *names, struct fill *f) {
    for (size_t i = 0; i < f->reference_count; i++) {
        const struct fill_reference *r = &f->references[i];
        const struct name_set *set = &names->of_kind[r->kind];
        if (!set->is_incomplete && !map_get(&set->names, str_of(r->name)))
            report(names, f, r);
    }
}
