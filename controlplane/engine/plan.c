#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/engine/internal.h"

/* ---- sources from messages ---- */

static const char *find_variable(void *context, const char *name) {
    const Headgate__Sources *sources = context;
    for (size_t i = 0; i < sources->n_variables; i++)
        if (sources->variables[i]->name && strcmp(sources->variables[i]->name, name) == 0)
            return sources->variables[i]->value;
    return NULL;
}

static int take_sources(const Headgate__Sources *m, struct config_sources *ret, struct error_list *errors) {
    for (size_t i = 0; i < m->n_files; i++) {
        const Headgate__SourceFile *file = m->files[i];
        struct str text = {(const char *)file->text.data, file->text.len};
        if (config_sources_add(ret, str_of(file->path ? file->path : ""), text, errors) < 0)
            return -1;
    }
    if (m->n_files > 0)
        return 0;
    error_addf(errors, ERROR_MISSING, "no file was sent");
    return -1;
}

static bool is_embedded(void *context, const char *name) {
    const Headgate__Sources *sources = context;
    for (size_t i = 0; i < sources->n_embedded; i++)
        if (sources->embedded[i]->path && strcmp(sources->embedded[i]->path, name) == 0)
            return true;
    return false;
}

static int compile(const Headgate__Sources *m, struct config_places *places, struct config_resources *ret,
                   struct error_list *errors, struct error_list *warnings) {
    struct config_sources sources = {0};
    const struct config_options options = {
        .variable = find_variable, .is_embedded = is_embedded, .context = (void *)m, .places = places};
    int status = take_sources(m, &sources, errors);
    if (status == 0)
        status = config_compile(&sources, &options, ret, errors, warnings);
    config_sources_finish(&sources);
    return status;
}

int engine_compile_sources(const Headgate__Sources *m, struct config_resources *ret,
                           struct error_list *errors, struct error_list *warnings) {
    return compile(m, NULL, ret, errors, warnings);
}

/* ---- the new set: base, without what is removed, with what is fresh ---- */

static int compare(const struct config_resource *a, const struct config_resource *b) {
    return a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->name, b->name);
}

static int merge(struct plan *plan, const struct config_resources *removed, struct error_list *errors) {
    const struct config_resources *base = &plan->base.set, *fresh = &plan->fresh;
    struct config_resource *items = hg_calloc(base->count + fresh->count + 1, sizeof *items);
    size_t i = 0, j = 0, n = 0;
    if (!items) {
        error_addf(errors, ERROR_MEMORY, "no memory for the new set of resources");
        return -1;
    }
    while (i < base->count || j < fresh->count) {
        int order = i == base->count    ? 1
                    : j == fresh->count ? -1
                                        : compare(&base->items[i], &fresh->items[j]);
        const struct config_resource *next = order < 0 ? &base->items[i] : &fresh->items[j];
        if (order >= 0 || !config_resources_find(removed, next->kind, str_of(next->name)))
            items[n++] = *next;
        i += order <= 0;
        j += order >= 0;
    }
    plan->result = (struct config_resources){.items = items, .count = n, .capacity = n};
    return 0;
}

/* ---- the four ways to ask ---- */

static int use_fresh_alone(struct plan *plan, struct error_list *errors) {
    struct config_resources nothing = {0};
    struct config_resources base = plan->base.set;
    plan->base.set = nothing;
    int status = merge(plan, &nothing, errors);
    plan->base.set = base;
    return status;
}

static int plan_sources(const Headgate__Sources *m, struct plan *plan, struct error_list *errors,
                        struct error_list *warnings) {
    if (compile(m, &plan->places, &plan->fresh, errors, warnings) < 0)
        return -1;
    return use_fresh_alone(plan, errors);
}

/* "cluster/web"; -1 with an error when the request does not name one. */
static int check_named(bool has_kind, Headgate__Kind kind, const char *name, struct error_list *errors) {
    if (has_kind && kind_name(kind) && name && resource_name_is_valid(str_of(name)))
        return 0;
    error_addf(errors, ERROR_MISSING,
               "the request names no resource: a known kind and a valid name are needed");
    return -1;
}

static int plan_set(const Headgate__SetOne *m, struct plan *plan, struct error_list *errors,
                    struct error_list *warnings) {
    struct config_resources nothing = {0};
    struct config_sources sources = {0};
    const struct config_options options = {.places = &plan->places};
    if (check_named(m->has_kind, m->kind, m->name, errors) < 0)
        return -1;
    if (!m->file) {
        error_addf(errors, ERROR_MISSING, "no file was sent");
        return -1;
    }
    struct str text = {(const char *)m->file->text.data, m->file->text.len};
    int status = config_sources_add(&sources, str_of(m->file->path ? m->file->path : ""), text, errors);
    if (status == 0)
        status = config_compile_one(m->kind, str_of(m->name), &sources.items[0], &options, &plan->base.set,
                                    &plan->fresh, errors, warnings);
    config_sources_finish(&sources);
    return status < 0 ? -1 : merge(plan, &nothing, errors);
}

static int plan_delete(const Headgate__DeleteOne *m, struct plan *plan, struct error_list *errors) {
    struct config_resources removed = {0};
    if (check_named(m->has_kind, m->kind, m->name, errors) < 0)
        return -1;
    int status = config_delete_one(m->kind, str_of(m->name), &plan->base.set, &removed, errors);
    if (status == 0)
        status = merge(plan, &removed, errors);
    config_resources_finish(&removed);
    return status;
}

static int copy_resources(const struct config_resources *from, struct config_resources *to,
                          struct error_list *errors) {
    for (size_t i = 0; i < from->count; i++) {
        const struct config_resource *r = &from->items[i];
        if (config_resources_add(to, r->kind, str_of(r->name), r->bytes, r->size) < 0) {
            error_addf(errors, ERROR_MEMORY, "no memory for the resources of a version");
            return -1;
        }
    }
    return 0;
}

static int plan_rollback(struct engine *e, const Headgate__Rollback *m, struct plan *plan,
                         struct error_list *errors, struct error_list *warnings) {
    const struct store_manifest *current = store_current(e->store);
    struct engine_view old = {0};
    uint64_t version = m->has_version ? m->version : current ? current->version.parent : 0;
    if (version == 0) {
        error_addf(errors, ERROR_STATE, "there is no version to go back to");
        return -1;
    }
    if (engine_view(e, version, &old, errors) < 0)
        return -1;
    int status = copy_resources(&old.set, &plan->fresh, errors);
    engine_view_finish(&old);
    if (status == 0)
        status = config_check_resources(&plan->fresh, errors, warnings);
    plan->restores = version;
    plan->pin = true;
    return status < 0 ? -1 : use_fresh_alone(plan, errors);
}

static int check_version(const struct plan *plan, const Headgate__PushRequest *request,
                         struct error_list *errors) {
    if (!request->has_if_version || request->if_version == plan->base.version)
        return 0;
    error_addf(errors, ERROR_STATE, "the current version is %llu, not %llu",
               (unsigned long long)plan->base.version, (unsigned long long)request->if_version);
    return -1;
}

int plan_make(struct engine *e, const Headgate__PushRequest *request, struct plan *ret,
              struct error_list *errors, struct error_list *warnings) {
    *ret = (struct plan){0};
    if (engine_view(e, 0, &ret->base, errors) < 0 || check_version(ret, request, errors) < 0)
        return -1;
    switch (request->change_case) {
    case HEADGATE__PUSH_REQUEST__CHANGE_SOURCES: return plan_sources(request->sources, ret, errors, warnings);
    case HEADGATE__PUSH_REQUEST__CHANGE_SET: return plan_set(request->set, ret, errors, warnings);
    case HEADGATE__PUSH_REQUEST__CHANGE_DELETE: return plan_delete(request->delete_, ret, errors);
    case HEADGATE__PUSH_REQUEST__CHANGE_ROLLBACK:
        return plan_rollback(e, request->rollback, ret, errors, warnings);
    default: error_addf(errors, ERROR_MISSING, "the request asks for no change"); return -1;
    }
}

void plan_finish(struct plan *plan) {
    hg_free(plan->result.items);
    config_resources_finish(&plan->fresh);
    config_places_finish(&plan->places);
    engine_view_finish(&plan->base);
    *plan = (struct plan){0};
}
