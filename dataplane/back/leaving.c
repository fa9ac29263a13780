/* leaving.c — endpoints that leave a cluster: at once where they are few, or some at a time. */
#include "common/alloc.h"
#include "dataplane/back/reconcile.h"

void endpoint_retire(struct endpoint_runtime *e) {
    struct cluster_runtime *c = e->cluster;
    c->gone++;
    endpoint_detach(e);
    outliers_leave(e, !c->is_passing); /* whatever is made for an older exchange says nothing of the newest definition */
    e->is_retired = true;
    if (!e->leaving_since)
        e->leaving_since = c->worker->now;
    e->candidate.is_usable = false;
    e->connections++; /* closing the last one would free it */
    pool_close_idle(e);
    e->connections--;
    endpoint_forget_if_unused(e);
}

void leaving_add(struct cluster_runtime *c, struct endpoint_list *list) {
    if (!list)
        return;
    list->next = c->leaving;
    c->leaving = list;
}

/* How much it cost to retire one, by what had to be closed. */
static uint32_t retire(struct endpoint_runtime *e) {
    uint32_t kept = e->idle_count;
    endpoint_retire(e);
    return COST_OF_RETIRING + kept * COST_OF_CLOSING;
}

uint32_t leaving_go_on(struct cluster_runtime *c, uint32_t most) {
    uint32_t cost = 0, looks = 0;
    while (c->leaving && cost + looks / LOOKS_PER_COST < most) {
        struct endpoint_list *list = c->leaving;
        if (list->count == 0) {
            c->leaving = list->next;
            hg_free(list);
            continue;
        }
        struct candidate *e = list->at[--list->count];
        looks++;
        if (e)
            cost += retire((struct endpoint_runtime *)e);
    }
    return cost + looks / LOOKS_PER_COST + 1;
}
