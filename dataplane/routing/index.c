#include "common/alloc.h"
#include "dataplane/routing/compiled.h"

void index_finish(struct index *index) {
    hg_free(index->nodes);
    hg_free(index->edges);
    *index = (struct index){0};
}

static uint32_t add_node(struct index *index, uint32_t parent) {
    if (index->node_count >= NO_NODE - 1 ||
        hg_grow(&index->nodes, &index->node_capacity, index->node_count + 1, sizeof *index->nodes))
        return NO_NODE;
    index->nodes[index->node_count] = (struct node){parent, {NO_RULE, NO_RULE}, {NO_RULE, NO_RULE}, NO_NODE, 0};
    return (uint32_t)index->node_count++;
}

uint32_t index_add_root(struct index *index) {
    return add_node(index, NO_NODE);
}

static uint64_t load(const char *p, size_t n) {
    uint64_t word = 0;
    memcpy(&word, p, n);
    return word;
}

/* The last up to eight bytes of a text. */
static uint64_t load_tail(const char *p, size_t n) {
    if (n >= 4)
        return load(p, 4) | load(p + n - 4, 4) << 32;
    return n ? (uint64_t)(uint8_t)p[0] | (uint64_t)(uint8_t)p[n / 2] << 8 | (uint64_t)(uint8_t)p[n - 1] << 16 : 0;
}

/* Fast, and nothing more: what is in the table is chosen by its author, and a request adds nothing to it. */
static uint32_t hash_edge(uint32_t parent, struct str segment) {
    const uint64_t multiplier = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t hash = ((uint64_t)parent << 32 | (uint32_t)segment.n) * multiplier;
    const char *p = segment.p;
    size_t n = segment.n;
    for (; n > 8; p += 8, n -= 8) {
        hash = (hash ^ load(p, 8)) * multiplier;
        hash ^= hash >> 32;
    }
    hash = (hash ^ load_tail(p, n)) * multiplier;
    hash ^= hash >> 29;
    return (uint32_t)((hash * multiplier) >> 32);
}

/* Where the edge is, or the free place where it belongs. */
static struct edge *find_place(const struct index *index, uint32_t parent, struct str segment, uint32_t hash) {
    size_t mask = index->edge_capacity - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct edge *e = &index->edges[i];
        if (e->child == NO_NODE || (e->hash == hash && e->parent == parent && str_eq(e->segment, segment)))
            return e;
    }
}

/* Keeps a third of the places free. */
static int make_room(struct index *index) {
    if ((index->edge_count + 1) * 3 <= index->edge_capacity * 2)
        return 0;
    struct index grown = *index;
    grown.edge_capacity = index->edge_capacity ? index->edge_capacity * 2 : 16;
    grown.edges = hg_calloc(grown.edge_capacity, sizeof *grown.edges);
    if (!grown.edges)
        return -1;
    for (size_t i = 0; i < grown.edge_capacity; i++)
        grown.edges[i].child = NO_NODE;
    for (size_t i = 0; i < index->edge_capacity; i++) {
        const struct edge *e = &index->edges[i];
        if (e->child != NO_NODE)
            *find_place(&grown, e->parent, e->segment, e->hash) = *e;
    }
    hg_free(index->edges);
    *index = grown;
    return 0;
}

uint32_t index_find(const struct index *index, uint32_t parent, struct str segment) {
    if (index->edge_capacity == 0)
        return NO_NODE;
    return find_place(index, parent, segment, hash_edge(parent, segment))->child;
}

static uint32_t add_child(struct index *index, uint32_t parent, struct str segment) {
    uint32_t child = index_find(index, parent, segment);
    if (child != NO_NODE)
        return child;
    if (make_room(index) || (child = add_node(index, parent)) == NO_NODE)
        return NO_NODE;
    uint32_t hash = hash_edge(parent, segment);
    *find_place(index, parent, segment, hash) = (struct edge){parent, child, hash, segment};
    index->edge_count++;
    return child;
}

uint32_t index_add_path(struct index *index, uint32_t root, struct str path) {
    if (path.n == 0)
        return root;
    struct str rest = {path.p + 1, path.n - 1};
    uint32_t node = root;
    while (rest.p && node != NO_NODE)
        node = add_child(index, node, str_cut(&rest, '/'));
    return node;
}

uint32_t index_add_partial(struct index *index, uint32_t parent, struct str part) {
    if (part.n > ROUTE_PARTIAL_MAX)
        part.n = ROUTE_PARTIAL_MAX;
    if (index->nodes[parent].partials == NO_NODE) {
        uint32_t partials = add_node(index, parent);
        if (partials == NO_NODE)
            return NO_NODE;
        index->nodes[parent].partials = partials;
    }
    index->nodes[parent].partial_lengths |= UINT32_C(1) << part.n;
    return add_child(index, index->nodes[parent].partials, part);
}

/* How many lists of rules may be met on the way to a node, itself included. */
struct depth {
    uint16_t prefixes, partials;
};

static struct depth depth_of(const struct index *index, const struct depth *depths, size_t i) {
    const struct node *node = &index->nodes[i];
    struct depth depth = node->parent == NO_NODE ? (struct depth){0, 0} : depths[node->parent];
    uint32_t above = node->parent == NO_NODE ? NO_NODE : index->nodes[node->parent].parent;
    bool is_part = above != NO_NODE && index->nodes[above].partials == node->parent;
    depth.prefixes = (uint16_t)(depth.prefixes + (!is_part && node->prefix.first != NO_RULE));
    depth.partials = (uint16_t)(depth.partials + __builtin_popcount(node->partial_lengths));
    return depth;
}

uint32_t index_find_too_deep(const struct index *index, bool *ret_is_partial, bool *ret_failed) {
    struct depth *depths = hg_calloc(index->node_count, sizeof *depths); /* parents have the smaller numbers */
    uint32_t found = NO_NODE;
    *ret_failed = !depths;
    for (size_t i = 0; depths && i < index->node_count && found == NO_NODE; i++) {
        depths[i] = depth_of(index, depths, i);
        *ret_is_partial = depths[i].partials > ROUTE_PARTIALS_MAX;
        if (depths[i].prefixes > ROUTE_NESTING_MAX || *ret_is_partial)
            found = (uint32_t)i;
    }
    hg_free(depths);
    return found;
}
