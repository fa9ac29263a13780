/* manifest_set.h — a decoded resource set from a manifest of manifest_maker.h. */
#pragma once

#include "dataplane/snapshot/delta.h"
#include "tests/unit/dataplane/snapshot/manifest_maker.h"

/* Aborts when the manifest is not valid. The set is the caller's. */
static inline struct resource_set *manifest_set(struct manifest *m) {
    static struct prepare p;
    struct error_list errors = {0};
    struct delta delta = {0};
    struct snapshot_identity id = {.version = m->version,
                                   .generation = m->generation,
                                   .intent_hash = m->intent_hash,
                                   .state_hash = m->state_hash};
    struct resource_set *set = NULL;
    prepare_make(&p, 1, NULL, m);
    int status = delta_add_entries(&delta.intent.upserts, p.m.upsert_intent, p.m.n_upsert_intent, &errors) |
                 delta_add_entries(&delta.state.upserts, p.m.upsert_state, p.m.n_upsert_state, &errors);
    for (size_t i = 0; i < p.m.n_bodies; i++)
        status |= delta_add_body(&delta, p.m.bodies[i], &errors);
    if (status || delta_apply(&delta, NULL, &id, &set, &errors) < 0)
        abort();
    delta_finish(&delta);
    error_list_finish(&errors);
    return set;
}
