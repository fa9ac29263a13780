/* Values of runtime layers (RTDS, the bootstrap file), by which routes take shares of requests: when one changes, what goes
 * by them is made anew, as what has parts is (parts.c). */
#include "common/alloc.h"
#include "controlplane/xds/world_internal.h"

bool world_goes_by_values(const struct xds_world *w, const struct world_made *made) {
    return !made->reads_runtime || made->runtime_hash == w->runtime.hash;
}

/* ---- what all layers come to ---- */

/* Of the server's, what is held; none, where nothing is. */
static int translate_layer(const struct xds_world *w, const struct xds_runtime_layer *layer, struct xds_made *ret,
                           struct error_list *errors) {
    if (layer->values)
        return xds_translate_layer(layer->name, layer->values, ret, errors);
    const struct world_item *it = world_item_find(w, XDS_RUNTIMES, str_of(layer->name));
    if (!it || !it->held)
        return 0;
    const struct xds_material from = {.bytes = strbuf_str(&it->held->source)};
    return w->o.translations[XDS_RUNTIMES].translate(&from, ret, errors);
}

static int add_layer(const struct xds_world *w, const struct xds_runtime_layer *layer, struct xds_runtime *to) {
    struct xds_made made = {0};
    struct error_list errors = {0};
    int status = translate_layer(w, layer, &made, &errors);
    for (size_t i = 0; status == 0 && i < made.value_count; i++)
        status = xds_runtime_set(to, &made.values[i]);
    xds_made_finish(&made);
    error_list_finish(&errors);
    return status;
}

static int add_layers(const struct xds_world *w, struct xds_runtime *to) {
    int status = 0;
    for (size_t i = 0; status == 0 && i < w->o.layer_count; i++)
        status = add_layer(w, &w->o.layers[i], to);
    return status;
}

int world_begin_values(struct xds_world *w) {
    return add_layers(w, &w->runtime);
}

static void take_layers(struct xds_world *w) {
    struct xds_runtime made = {0};
    if (add_layers(w, &made) < 0) {
        w->has_other_values = true;
        world_resync_later(w);
        xds_runtime_finish(&made);
        return;
    }
    w->must_go_by_values = w->must_go_by_values || made.hash != w->runtime.hash;
    xds_runtime_finish(&w->runtime);
    w->runtime = made;
}

/* ---- what goes by them ---- */

static void remake(struct xds_world *w, struct world_item *it) {
    struct error_list errors = {0};
    struct world_made *made = it->used && it->used->hash == it->held->hash && world_is_current(w, it, it->used)
                                  ? world_made_use(it->used)
                                  : world_make(w, it, strbuf_str(&it->held->source), &errors);
    if (made) {
        world_made_replace(&it->held, made);
        it->changed_at = w->now;
        it->retry_at = 0;
        it->refusals = 0;
        w->is_dirty = true;
    } else {
        w->must_go_by_values = true;
        world_resync_later(w);
    }
    error_list_finish(&errors);
}

static void remake_role(struct xds_world *w, enum xds_role role) {
    for (struct world_item *it = w->roles[role].first; it; it = it->next) {
        if (!it->held || world_goes_by_values(w, it->held))
            continue;
        if (it->held->has_parts)
            w->has_other_parts = true;
        else
            remake(w, it);
    }
}

void world_follow_values(struct xds_world *w) {
    if (w->has_other_values) {
        w->has_other_values = false;
        take_layers(w);
    }
    if (!w->must_go_by_values)
        return;
    w->must_go_by_values = false;
    remake_role(w, XDS_CLUSTERS);
    remake_role(w, XDS_ROUTES);
    remake_role(w, XDS_LISTENERS);
}

/* ---- before the first set ---- */

static bool is_any_reading(const struct xds_world *w, enum xds_role role) {
    for (const struct world_item *it = w->roles[role].first; it; it = it->next)
        if (it->held && it->held->reads_runtime)
            return true;
    return false;
}

bool world_lacks_values(const struct xds_world *w) {
    bool is_any_unknown = false;
    for (const struct world_item *it = w->roles[XDS_RUNTIMES].first; it; it = it->next)
        is_any_unknown |= it->is_fed && it->known == WORLD_UNKNOWN;
    return is_any_unknown
           && (is_any_reading(w, XDS_ROUTES) || is_any_reading(w, XDS_LISTENERS) || is_any_reading(w, XDS_CLUSTERS));
}
