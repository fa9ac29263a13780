#include <stdio.h>
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

/* ---- the new set of a layer: what it had, without what is removed, with what is fresh ---- */

static int compare(const struct config_resource *a, const struct config_resource *b) {
    return a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->name, b->name);
}

static int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "no memory for the new set of resources");
    return -1;
}

static int merge(struct plan *plan, const struct config_resources *removed, struct error_list *errors) {
    const struct config_resources *fresh = &plan->fresh;
    struct config_resources *set = &plan->sets.of[plan->layer], base = *set;
    struct config_resource *items = hg_calloc(base.count + fresh->count + 1, sizeof *items);
    size_t i = 0, j = 0, n = 0;
    if (!items)
        return out_of_memory(errors);
    while (i < base.count || j < fresh->count) {
        int order = i == base.count     ? 1
                    : j == fresh->count ? -1
                                        : compare(&base.items[i], &fresh->items[j]);
        const struct config_resource *next = order < 0 ? &base.items[i] : &fresh->items[j];
        if (order >= 0 || !config_resources_find(removed, next->kind, str_of(next->name)))
            items[n++] = *next;
        i += order <= 0;
        j += order >= 0;
    }
    hg_free(base.items);
    *set = (struct config_resources){.items = items, .count = n, .capacity = n};
    return 0;
}

/* ---- the four ways to ask ---- */

static int use_fresh_alone(struct plan *plan, struct error_list *errors) {
    struct config_resources nothing = {0};
    plan->sets.of[plan->layer].count = 0;
    return merge(plan, &nothing, errors);
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

/* What is named belongs to another layer, whatever is to be done with it there. */
static int check_is_ours(const struct plan *plan, Headgate__Kind kind, const char *name, struct error_list *errors) {
    char resource[RESOURCE_NAME_MAX + 32];
    if (config_resources_find(&plan->sets.of[ENGINE_LAYER_PUSHED], kind, str_of(name)))
        return 0;
    for (int layer = ENGINE_LAYER_PUSHED + 1; layer < ENGINE_LAYER_COUNT; layer++) {
        if (!config_resources_find(&plan->sets.of[layer], kind, str_of(name)))
            continue;
        struct error *e = error_addf(errors, ERROR_STATE, "it comes from %s, and is changed there",
                                     engine_layer_name((enum engine_layer)layer));
        snprintf(resource, sizeof resource, "%s/%s", kind_name(kind), name);
        error_set_resource(errors, e, resource, NULL);
        return -1;
    }
    return 0;
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
    /* Anything else of that name hides the other's, but endpoints belong to their cluster. */
    if (m->kind == HEADGATE__KIND__KIND_ENDPOINT_SET && check_is_ours(plan, m->kind, m->name, errors) < 0)
        return -1;
    struct str text = {(const char *)m->file->text.data, m->file->text.len};
    int status = config_sources_add(&sources, str_of(m->file->path ? m->file->path : ""), text, errors);
    if (status == 0)
        status = config_compile_one(m->kind, str_of(m->name), &sources.items[0], &options,
                                    &plan->sets.of[ENGINE_LAYER_PUSHED], &plan->fresh, errors, warnings);
    config_sources_finish(&sources);
    return status < 0 ? -1 : merge(plan, &nothing, errors);
}

static int plan_delete(const Headgate__DeleteOne *m, struct plan *plan, struct error_list *errors) {
    struct config_resources removed = {0};
    if (check_named(m->has_kind, m->kind, m->name, errors) < 0)
        return -1;
    int status = check_is_ours(plan, m->kind, m->name, errors);
    if (status == 0)
        status = config_delete_one(m->kind, str_of(m->name), &plan->sets.of[ENGINE_LAYER_PUSHED], &removed, errors);
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

/* Before the last push; what servers have said since then is no version to go back from. */
static uint64_t version_to_go_back_to(struct engine *e, struct error_list *errors) {
    const struct store_manifest *current = store_current(e->store);
    if (!current || current->version.layer == ENGINE_LAYER_PUSHED)
        return current ? current->version.pushed_before : 0;
    uint64_t pushed = current->version.pushed_before;
    struct store_manifest *m = pushed ? store_read_version(e->store, pushed, errors) : NULL;
    uint64_t version = m ? m->version.pushed_before : 0;
    store_manifest_unref(m);
    return version;
}

static int plan_rollback(struct engine *e, const Headgate__Rollback *m, struct plan *plan,
                         struct error_list *errors, struct error_list *warnings) {
    struct engine_view old = {0};
    uint64_t version = m->has_version ? m->version : version_to_go_back_to(e, errors);
    if (version == 0) {
        error_addf(errors, ERROR_STATE, "there is no version to go back to");
        return -1;
    }
    if (engine_view(e, version, &old, errors) < 0)
        return -1;
    engine_view_keep_pushed(&old);
    int status = copy_resources(&old.set, &plan->fresh, errors);
    engine_view_finish(&old);
    if (status == 0)
        status = config_check_resources(&plan->fresh, errors, warnings);
    plan->restores = version;
    plan->pin = true;
    return status < 0 ? -1 : use_fresh_alone(plan, errors);
}

/* What servers say makes versions too, but is nobody's reason to look again before a push. */
static int check_version(const struct engine *e, const struct plan *plan, const Headgate__PushRequest *request,
                         struct error_list *errors) {
    const struct store_manifest *current = store_current(e->store);
    bool is_pushed = !current || current->version.layer == ENGINE_LAYER_PUSHED;
    uint64_t newest = plan->base.version, last_push = is_pushed ? newest : current->version.pushed_before;
    if (!request->has_if_version || (request->if_version >= last_push && request->if_version <= newest))
        return 0;
    error_addf(errors, ERROR_STATE, "the current version is %llu, not %llu", (unsigned long long)newest,
               (unsigned long long)request->if_version);
    return -1;
}

static int plan_change(struct engine *e, const Headgate__PushRequest *request, struct plan *plan,
                       struct error_list *errors, struct error_list *warnings) {
    switch (request->change_case) {
    case HEADGATE__PUSH_REQUEST__CHANGE_SOURCES: return plan_sources(request->sources, plan, errors, warnings);
    case HEADGATE__PUSH_REQUEST__CHANGE_SET: return plan_set(request->set, plan, errors, warnings);
    case HEADGATE__PUSH_REQUEST__CHANGE_DELETE: return plan_delete(request->delete_, plan, errors);
    case HEADGATE__PUSH_REQUEST__CHANGE_ROLLBACK:
        return plan_rollback(e, request->rollback, plan, errors, warnings);
    default: error_addf(errors, ERROR_MISSING, "the request asks for no change"); return -1;
    }
}

static int begin(struct engine *e, enum engine_layer layer, struct plan *plan, struct error_list *errors) {
    *plan = (struct plan){.layer = layer};
    if (engine_view(e, 0, &plan->base, errors) < 0)
        return -1;
    return layers_split(e, &plan->base.set, &plan->sets) < 0 ? out_of_memory(errors) : 0;
}

static int end(struct engine *e, struct plan *plan, struct error_list *errors, struct error_list *warnings) {
    if (layers_join(e, plan) < 0)
        return out_of_memory(errors);
    return layers_check(plan, errors, warnings);
}

int plan_make(struct engine *e, const Headgate__PushRequest *request, struct plan *ret,
              struct error_list *errors, struct error_list *warnings) {
    if (begin(e, ENGINE_LAYER_PUSHED, ret, errors) < 0 || check_version(e, ret, request, errors) < 0 ||
        plan_change(e, request, ret, errors, warnings) < 0)
        return -1;
    return end(e, ret, errors, warnings);
}

/* ---- a layer ---- */

static int refuse_settings(const struct config_resources *set, enum engine_layer layer, struct error_list *errors) {
    const struct config_resource *r = config_resources_find(set, HEADGATE__KIND__KIND_SETTINGS, STR("default"));
    if (!r)
        return 0;
    struct error *e = error_addf(errors, ERROR_UNSUPPORTED, "settings are pushed; %s can have none",
                                 engine_layer_name(layer));
    error_set_resource(errors, e, "settings/default", NULL);
    return -1;
}

/* A node that nothing was pushed to has the settings of an empty configuration. */
static int add_settings(struct plan *plan, struct error_list *errors, struct error_list *warnings) {
    struct config_resources *pushed = &plan->sets.of[ENGINE_LAYER_PUSHED];
    if (pushed->count)
        return 0;
    struct config_sources sources = {0};
    int status = config_sources_add(&sources, STR("settings"), STR("{}"), errors);
    if (status == 0)
        status = config_compile(&sources, NULL, &plan->settings, errors, warnings);
    config_sources_finish(&sources);
    if (status < 0)
        return -1;
    struct config_resource *items = hg_calloc(plan->settings.count + 1, sizeof *items);
    if (!items)
        return out_of_memory(errors);
    memcpy(items, plan->settings.items, plan->settings.count * sizeof *items);
    hg_free(pushed->items);
    *pushed = (struct config_resources){.items = items, .count = plan->settings.count};
    return 0;
}

/* How many are in one and not in the other, or in both and not the same. */
static size_t count_missing(const struct config_resources *set, const struct config_resources *other, size_t *ret_changed) {
    size_t missing = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct config_resource *r = config_resources_find(other, set->items[i].kind, str_of(set->items[i].name));
        missing += !r;
        *ret_changed += r && !resource_id_equal(&r->id, &set->items[i].id);
    }
    return missing;
}

static int describe(struct plan *plan, const struct config_resources *before, struct error_list *errors) {
    const struct config_resources *after = &plan->fresh;
    size_t changed = 0, same = 0;
    size_t added = count_missing(after, before, &changed), removed = count_missing(before, after, &same);
    plan->message = arena_printf(&plan->fresh.arena, "%zu added, %zu changed, %zu removed", added, changed, removed);
    return plan->message ? 0 : out_of_memory(errors);
}

int plan_make_layer(struct engine *e, enum engine_layer layer, struct config_resources *set, struct plan *ret,
                    struct error_list *errors, struct error_list *warnings) {
    if (begin(e, layer, ret, errors) < 0)
        return -1;
    ret->fresh = *set;
    *set = (struct config_resources){0};
    if (refuse_settings(&ret->fresh, layer, errors) < 0 || add_settings(ret, errors, warnings) < 0 ||
        describe(ret, &ret->sets.of[layer], errors) < 0 || use_fresh_alone(ret, errors) < 0)
        return -1;
    return end(e, ret, errors, warnings);
}

void plan_finish(struct plan *plan) {
    hg_free(plan->result.items);
    hg_free(plan->hidden.items);
    layer_sets_finish(&plan->sets);
    for (int layer = 0; layer < ENGINE_LAYER_COUNT; layer++)
        part_unref(plan->hidden_parts[layer]);
    config_resources_finish(&plan->fresh);
    config_resources_finish(&plan->settings);
    config_places_finish(&plan->places);
    engine_view_finish(&plan->base);
    *plan = (struct plan){0};
}
