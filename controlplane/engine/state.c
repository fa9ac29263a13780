#include "controlplane/engine/state.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/engine/internal.h"

struct config_resource state_resource(const struct part *p, size_t i) {
    return (struct config_resource){.kind = p->entries[i]->kind,
                                    .name = p->entries[i]->name,
                                    .bytes = p->bodies[i]->bytes,
                                    .size = p->bodies[i]->size,
                                    .id = p->bodies[i]->id};
}

int state_compare(const void *a, const void *b) {
    const struct config_resource *x = a, *y = b;
    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

struct part *state_replace(struct part *old, Headgate__Kind kind, const struct config_resource *items, size_t count) {
    size_t n = 0, most = (old ? old->count : 0) + count;
    struct config_resource *all = hg_calloc(most + 1, sizeof *all);
    if (!all)
        return NULL;
    for (size_t i = 0; old && i < old->count; i++)
        if (old->entries[i]->kind != kind)
            all[n++] = state_resource(old, i);
    for (size_t i = 0; i < count; i++)
        all[n++] = items[i];
    qsort(all, n, sizeof *all, state_compare);
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
