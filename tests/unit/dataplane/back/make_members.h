/* make_members.h — a cluster's endpoints as the main thread makes them. */
#pragma once

#include <stdlib.h>

#include "dataplane/back/members.h"

enum { MEMBERS_MOST = 4096 };

static struct cluster_members *made_members[MEMBERS_MOST];
static unsigned made_members_count;
static const struct balance_rules round_robin_rules = {.kind = BALANCE_ROUND_ROBIN, .panic_threshold = 50,
                                                       .overprovisioning = 140};

/* Given back by members_finish. */
static inline struct cluster_members *make_members(const struct balance_rules *rules,
                                                   const struct endpoint_definition *endpoints, uint32_t count,
                                                   const struct cluster_members *previous) {
    struct cluster_members *m = cluster_members_create(count);
    if (!m || made_members_count == MEMBERS_MOST)
        abort();
    made_members[made_members_count++] = m;
    m->rules = *rules;
    for (uint32_t i = 0; i < count; i++) {
        m->endpoints[i] = endpoints[i];
        m->endpoints[i].shared = NULL;
        m->endpoints[i].text = arena_str(&m->arena, endpoints[i].text);
        if (!m->endpoints[i].text.p)
            abort();
    }
    if (cluster_members_complete(m, previous) < 0)
        abort();
    return m;
}

static inline void members_finish(void) {
    while (made_members_count)
        cluster_members_unref(made_members[--made_members_count]);
}
