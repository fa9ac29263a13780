#include "controlplane/engine/layers.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "controlplane/engine/internal.h"
#include "controlplane/engine/state.h"

const char *engine_layer_name(enum engine_layer layer) {
    static const char *const names[ENGINE_LAYER_COUNT] = {"pushed", "etcd", "xds"};
    return (unsigned)layer < ENGINE_LAYER_COUNT ? names[layer] : "unknown";
}

static int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "no memory for the layers of the intent");
    return -1;
}

/* ---- apart ---- */

void layer_sets_finish(struct layer_sets *sets) {
    for (int i = 0; i < ENGINE_LAYER_COUNT; i++)
        hg_free(sets->of[i].items);
    *sets = (struct layer_sets){0};
}

void layers_mark(const struct engine *e, struct engine_view *view) {
    const struct store_manifest *m = store_current(e->store);
    bool is_same = m && m->version.number == view->version && m->version.resources == view->set.count;
    for (size_t i = 0; is_same && i < view->set.count; i++)
        view->set.items[i].layer = m->entries[i].layer;
}

static void add(struct config_resources *to, const struct config_resource *r, enum engine_layer layer) {
    to->items[to->count] = *r;
    to->items[to->count++].layer = (unsigned char)layer;
}

int layers_split(const struct engine *e, const struct config_resources *current, struct layer_sets *ret) {
    for (int layer = 0; layer < ENGINE_LAYER_COUNT; layer++) {
        const struct part *hidden = e->layers.hidden[layer];
        struct config_resources *set = &ret->of[layer];
        *set = (struct config_resources){.capacity = current->count + (hidden ? hidden->count : 0)};
        set->items = hg_calloc(set->capacity + 1, sizeof *set->items);
        if (!set->items)
            return -1;
        for (size_t i = 0; i < current->count; i++)
            if (current->items[i].layer == layer)
                add(set, &current->items[i], layer);
        for (size_t i = 0; hidden && i < hidden->count; i++) {
            const struct config_resource r = state_resource(hidden, i);
            add(set, &r, layer);
        }
        config_resources_sort(set);
    }
    return 0;
}

/* ---- together ---- */

/* A cluster brings its endpoints, so it hides those of another cluster of its name, too. */
static bool is_hidden(const struct layer_sets *sets, int layer, const struct config_resource *r) {
    bool is_endpoints = r->kind == HEADGATE__KIND__KIND_ENDPOINT_SET;
    Headgate__Kind kind = is_endpoints ? HEADGATE__KIND__KIND_CLUSTER : r->kind;
    for (int above = 0; above < layer; above++)
        if (config_resources_find(&sets->of[above], kind, str_of(r->name)))
            return true;
    return false;
}

static int make_hidden_part(const struct engine *e, struct plan *plan, size_t from, int layer) {
    const struct config_resources *hidden = &plan->hidden;
    if (hidden->count == from)
        return 0;
    plan->hidden_parts[layer] = part_create(hidden->items + from, hidden->count - from, e->layers.hidden[layer]);
    return plan->hidden_parts[layer] ? 0 : -1;
}

static bool is_same_part(const struct part *a, const struct part *b) {
    return a && b ? resource_id_equal(&a->hash, &b->hash) : a == b;
}

/* Only worth knowing when the result is as it was. */
static bool is_same_layering(const struct engine *e, const struct plan *plan) {
    const struct config_resources *before = &plan->base.set;
    bool is_same = before->count == plan->result.count;
    for (size_t i = 0; is_same && i < before->count; i++)
        is_same = before->items[i].layer == plan->result.items[i].layer;
    for (int layer = 0; is_same && layer < ENGINE_LAYER_COUNT; layer++)
        is_same = is_same_part(e->layers.hidden[layer], plan->hidden_parts[layer]);
    return is_same;
}

int layers_join(const struct engine *e, struct plan *plan) {
    size_t most = 0;
    for (int layer = 0; layer < ENGINE_LAYER_COUNT; layer++)
        most += plan->sets.of[layer].count;
    plan->result = (struct config_resources){.items = hg_calloc(most + 1, sizeof(struct config_resource))};
    plan->hidden = (struct config_resources){.items = hg_calloc(most + 1, sizeof(struct config_resource))};
    if (!plan->result.items || !plan->hidden.items)
        return -1;
    for (int layer = 0; layer < ENGINE_LAYER_COUNT; layer++) {
        const struct config_resources *set = &plan->sets.of[layer];
        size_t from = plan->hidden.count;
        for (size_t i = 0; i < set->count; i++)
            add(is_hidden(&plan->sets, layer, &set->items[i]) ? &plan->hidden : &plan->result, &set->items[i], layer);
        if (make_hidden_part(e, plan, from, layer) < 0)
            return -1;
    }
    config_resources_sort(&plan->result);
    plan->is_same_layering = is_same_layering(e, plan);
    return 0;
}

/* ---- checks ---- */

/* What counts of the layers up to one, taken apart: the one, and those above it. Items only. */
static int cut(const struct config_resources *result, enum engine_layer layer, struct config_resources *ret_own,
               struct config_resources *ret_above) {
    *ret_own = *ret_above = (struct config_resources){0};
    ret_own->items = hg_calloc(result->count + 1, sizeof *ret_own->items);
    ret_above->items = hg_calloc(result->count + 1, sizeof *ret_above->items);
    for (size_t i = 0; ret_own->items && ret_above->items && i < result->count; i++) {
        const struct config_resource *r = &result->items[i];
        if (r->layer <= layer)
            add(r->layer == layer ? ret_own : ret_above, r, r->layer);
    }
    return ret_own->items && ret_above->items ? 0 : -1;
}

static int check_layer(const struct plan *plan, enum engine_layer layer, struct error_list *errors,
                       struct error_list *warnings) {
    struct config_resources own, above;
    int status = cut(&plan->result, layer, &own, &above);
    if (status < 0)
        out_of_memory(errors);
    else if (own.count)
        status = config_check_joining(&own, &above, errors, layer == plan->layer ? warnings : NULL);
    hg_free(own.items);
    hg_free(above.items);
    if (status < 0 && layer != plan->layer)
        error_addf(errors, ERROR_CONFLICT, "this does not go together with what comes from %s", engine_layer_name(layer));
    return status;
}

/* Those above stay right, since nothing in them refers to a layer below. */
int layers_check(const struct plan *plan, struct error_list *errors, struct error_list *warnings) {
    int layer = plan->layer == ENGINE_LAYER_PUSHED ? ENGINE_LAYER_PUSHED + 1 : plan->layer, status = 0;
    for (; layer < ENGINE_LAYER_COUNT && status == 0; layer++)
        status = check_layer(plan, layer, errors, warnings);
    return status;
}

/* ---- what there is ---- */

static struct part *read_hidden(struct engine *e, const struct store_manifest *m, unsigned layer,
                                struct error_list *errors) {
    struct config_resources set = {0};
    struct part *part = NULL;
    int status = 0;
    for (size_t i = 0; status == 0 && i < m->hidden_count; i++)
        if (m->hidden[i].layer == layer)
            status = engine_read_resource(e->store, &m->hidden[i], &set, errors);
    if (status == 0) {
        part = part_create(set.items, set.count, NULL);
        if (!part)
            out_of_memory(errors);
    }
    config_resources_finish(&set);
    return part;
}

static bool hides_any(const struct store_manifest *m, unsigned layer) {
    for (size_t i = 0; i < m->hidden_count; i++)
        if (m->hidden[i].layer == layer)
            return true;
    return false;
}

int layers_load(struct engine *e, const struct store_manifest *m, struct error_list *errors) {
    for (unsigned layer = 0; layer < ENGINE_LAYER_COUNT; layer++) {
        if (!hides_any(m, layer))
            continue;
        e->layers.hidden[layer] = read_hidden(e, m, layer, errors);
        if (!e->layers.hidden[layer])
            return -1;
    }
    return 0;
}

void layers_adopt(struct engine *e, struct plan *plan) {
    if (plan->layer != ENGINE_LAYER_PUSHED)
        e->layers.stored_at = clock_monotonic_us();
    for (int layer = 0; layer < ENGINE_LAYER_COUNT; layer++) {
        part_unref(e->layers.hidden[layer]);
        e->layers.hidden[layer] = plan->hidden_parts[layer];
        plan->hidden_parts[layer] = NULL;
    }
}
