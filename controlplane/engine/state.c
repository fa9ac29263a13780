#include "controlplane/engine/state.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/engine/internal.h"

struct config_resource state_resource(const struct part *p, size_t i) {
    const struct blob *body = part_body(p, i);
    return (struct config_resource){.kind = p->entries[i]->kind,
                                    .name = p->entries[i]->name,
                                    .bytes = body->bytes,
                                    .size = body->size,
                                    .id = body->id};
}

int state_compare(const void *a, const void *b) {
    const struct config_resource *x = a, *y = b;
    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

static bool is_sorted(const struct config_resource *items, size_t count) {
    for (size_t i = 1; i < count; i++)
        if (state_compare(&items[i - 1], &items[i]) >= 0)
            return false;
    return true;
}

struct part *state_replace(struct part *old, Headgate__Kind kind, const struct config_resource *items, size_t count) {
    size_t n = 0, most = (old ? old->count : 0) + count, at = 0;
    struct config_resource *all = hg_calloc(most + 1, sizeof *all);
    if (!all)
        return NULL;
    for (; old && at < old->count && old->entries[at]->kind < kind; at++)
        all[n++] = state_resource(old, at);
    if (count)
        memcpy(all + n, items, count * sizeof *items);
    if (!is_sorted(items, count))
        qsort(all + n, count, sizeof *all, state_compare);
    n += count;
    for (; old && at < old->count; at++)
        if (old->entries[at]->kind > kind)
            all[n++] = state_resource(old, at);
    struct part *part = part_create(all, n, old);
    hg_free(all);
    return part;
}

int engine_set_state(struct engine *e, struct part *state) {
    struct snapshot *current = channel_current(e->channel);
    struct snapshot *s = snapshot_create(store_lineage(e->store), current->version, current->generation + 1,
                                         part_ref(current->intent), part_ref(state));
    if (!s)
        return -1;
    channel_set_current(e->channel, s);
    snapshot_unref(s);
    return 0;
}
