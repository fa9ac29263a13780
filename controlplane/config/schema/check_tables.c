/* check_tables.c — how many entries the tables of a hash balancer have. Endpoints say how many tables there are: by
 * their metadata and priorities, as dataplane/back/members.c forms groups of them. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/ring_points.h"
#include "controlplane/config/message/fill.h"
#include "controlplane/config/schema/schema_cluster.h"

/* An endpoint in the group of all that have the same values of the selector's keys. */
struct seat {
    const Headgate__SubsetSelector *selector; /* NULL: of all endpoints */
    size_t                          number;   /* of the selector */
    const Headgate__Endpoint       *endpoint;
};

struct need {
    uint64_t entries;
    size_t   groups;
};

static const char *value_of(const Headgate__Endpoint *e, const char *key) {
    for (size_t i = 0; i < e->n_metadata; i++)
        if (strcmp(e->metadata[i]->key, key) == 0)
            return e->metadata[i]->value ? e->metadata[i]->value : "";
    return NULL;
}

static bool has_keys(const Headgate__Endpoint *e, const Headgate__SubsetSelector *s) {
    for (size_t i = 0; s && i < s->n_keys; i++)
        if (!value_of(e, s->keys[i]))
            return false;
    return true;
}

static int by_group(const void *a, const void *b) {
    const struct seat *x = a, *y = b;
    int order = (x->number > y->number) - (x->number < y->number);
    if (order == 0)
        order = (x->endpoint->priority > y->endpoint->priority) - (x->endpoint->priority < y->endpoint->priority);
    for (size_t i = 0; order == 0 && x->selector && i < x->selector->n_keys; i++)
        order = strcmp(value_of(x->endpoint, x->selector->keys[i]), value_of(y->endpoint, x->selector->keys[i]));
    return order;
}

static size_t take_seats(struct seat *seats, const Headgate__Balancing *b, const Headgate__EndpointSet *set) {
    size_t count = 0;
    for (size_t s = 0; s <= b->n_subsets; s++)
        for (size_t i = 0; i < set->n_endpoints; i++) {
            const Headgate__SubsetSelector *selector = s ? b->subsets[s - 1] : NULL;
            if (set->endpoints[i]->weight > 0 && has_keys(set->endpoints[i], selector))
                seats[count++] = (struct seat){selector, s, set->endpoints[i]};
        }
    qsort(seats, count, sizeof *seats, by_group);
    return count;
}

static uint64_t points_of(const struct seat *seats, size_t count, uint32_t size) {
    double total = 0;
    uint32_t least = UINT32_MAX;
    uint64_t points = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t weight = seats[i].endpoint->weight;
        total += weight;
        least = weight < least ? weight : least;
    }
    double scale = ring_scale(total, least, size);
    for (size_t i = 0; i < count; i++)
        points += ring_points(seats[i].endpoint->weight, scale);
    return points;
}

static struct need needed(const struct seat *seats, size_t count, bool is_ring, const Headgate__Balancing *b) {
    struct need n = {0};
    for (size_t at = 0, end; at < count; at = end) {
        for (end = at + 1; end < count && by_group(&seats[at], &seats[end]) == 0;)
            end++;
        n.entries += is_ring ? points_of(seats + at, end - at, b->ring_size) : b->table_size;
        n.groups++;
    }
    return n;
}

/* Where the bound stands, or what it is of. */
static void report(struct fill *f, const struct fill_at *at, const struct need *n, const Headgate__Balancing *b) {
    struct fill_at balancing = fill_down(at, "balancing"), bound = fill_down(&balancing, "max-table-entries");
    struct error *e = fill_report(f, &bound, ERROR_RANGE, "the tables of all subsets and priorities (%zu) have %llu entries "
                                  "together; %u are allowed", n->groups, (unsigned long long)n->entries,
                                  b->max_table_entries);
    error_set_expected(f->errors, e, "smaller tables, fewer subsets or a higher max-table-entries", NULL);
}

void check_tables(struct fill *f, const struct fill_at *at, const ProtobufCMessage *cluster, const ProtobufCMessage *set) {
    static const Headgate__Balancing defaults = HEADGATE__BALANCING__INIT;
    const Headgate__Cluster *c = (const Headgate__Cluster *)cluster;
    const Headgate__EndpointSet *endpoints = (const Headgate__EndpointSet *)set;
    const Headgate__Balancing *b = c->balancing ? c->balancing : &defaults;
    bool is_ring = c->balancer == HEADGATE__CLUSTER__BALANCER__RING_HASH;
    if (!is_ring && c->balancer != HEADGATE__CLUSTER__BALANCER__MAGLEV &&
        c->balancer != HEADGATE__CLUSTER__BALANCER__SOURCE_ADDRESS)
        return;
    struct seat *seats = hg_malloc((endpoints->n_endpoints * (b->n_subsets + 1) + 1) * sizeof *seats);
    if (!seats) {
        fill_out_of_memory(f);
        return;
    }
    struct need n = needed(seats, take_seats(seats, b, endpoints), is_ring, b);
    hg_free(seats);
    if (n.entries > b->max_table_entries)
        report(f, at, &n, b);
}
