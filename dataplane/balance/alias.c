/* alias.c — choosing by weight in constant time: Walker's alias method as Vose builds it. Each member has a column of the
 * same height; what it does not fill itself belongs to one other. */
#include "common/alloc.h"
#include "dataplane/balance/tables.h"

struct work {
    double   *left;              /* of a member's weight, in columns */
    uint32_t *queue;             /* members below one column from the front, others from the back */
    uint32_t  small, large;
};

static void sort_in(struct work *w, uint32_t member, uint32_t count) {
    if (w->left[member] < 1)
        w->queue[w->small++] = member;
    else
        w->queue[count - ++w->large] = member;
}

static void fill_columns(struct balance_table *t, struct work *w, uint32_t count) {
    while (w->small && w->large) {
        uint32_t less = w->queue[--w->small], more = w->queue[count - w->large--];
        t->thresholds[less] = (uint32_t)(w->left[less] * UINT32_MAX);
        t->members[less] = more;
        w->left[more] -= 1 - w->left[less];
        sort_in(w, more, count);
    }
}

int alias_fill(struct balance_table *t, const struct balance_member *members, uint32_t count) {
    struct work w = {.left = hg_malloc(count * sizeof *w.left), .queue = hg_malloc(count * sizeof *w.queue)};
    double total = 0;
    t->size = count;
    t->members = hg_malloc(count * sizeof *t->members);
    t->thresholds = hg_malloc(count * sizeof *t->thresholds);
    bool has_memory = w.left && w.queue && t->members && t->thresholds;
    for (uint32_t i = 0; i < count; i++)
        total += members[i].weight;
    for (uint32_t i = 0; has_memory && i < count; i++) {
        t->members[i] = i; /* what rounding leaves over fills its own column */
        t->thresholds[i] = UINT32_MAX;
        w.left[i] = members[i].weight * (double)count / total;
        sort_in(&w, i, count);
    }
    if (has_memory)
        fill_columns(t, &w, count);
    hg_free(w.left);
    hg_free(w.queue);
    return has_memory ? 0 : -1;
}
