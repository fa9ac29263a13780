#include "controlplane/config/endpoint_file.h"

#include "common/alloc.h"
#include "controlplane/config/builder.h"

/* A list stands for a map that has nothing else. NULL without memory. */
static const struct tree_node *as_map(struct arena *arena, struct tree_node *root) {
    if (root->type != TREE_LIST)
        return root;
    struct tree_node *map = tree_create(arena, TREE_MAP);
    if (!map || tree_set(arena, map, "endpoints", root) < 0)
        return NULL;
    map->place = root->place;
    return map;
}

/* A file without anything in it is one that is being written, not a wish for no endpoints. Of one that is something
 * else, perhaps a key, nothing is quoted: what is said here goes to logs and to status. */
static bool has_endpoints(struct builder *b, const struct fill_at *at) {
    if (at->node->type == TREE_MAP && tree_find(at->node, "endpoints"))
        return true;
    struct error *e = fill_report(&b->fill, at, ERROR_MISSING, "there is no list of endpoints");
    error_set_expected(b->fill.errors, e, "a list such as [10.0.0.1:9001], or [] for none", NULL);
    return false;
}

/* What lives in an arena, as a message of its own. */
static Headgate__EndpointSet *detach(struct builder *b, const ProtobufCMessage *m) {
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = hg_malloc(size + 1);
    Headgate__EndpointSet *set = NULL;
    if (bytes && size <= RESOURCE_BYTES_MAX)
        set = headgate__endpoint_set__unpack(NULL, protobuf_c_message_pack(m, bytes), bytes);
    if (!set && bytes && size > RESOURCE_BYTES_MAX)
        error_addf(b->fill.errors, ERROR_RANGE, "the endpoints have %zu bytes; %d are allowed", size,
                   (int)RESOURCE_BYTES_MAX);
    else if (!set)
        fill_out_of_memory(&b->fill);
    hg_free(bytes);
    return set;
}

static Headgate__EndpointSet *fill_set(struct builder *b, struct tree_node *root) {
    struct fill_at at = {.node = as_map(&b->arena, root)};
    if (!at.node) {
        fill_out_of_memory(&b->fill);
        return NULL;
    }
    fill_begin_resource(&b->fill, "endpoint-set");
    ProtobufCMessage *m = has_endpoints(b, &at) ? fill_message(&b->fill, &schema_endpoint_set, SCOPE_ALL, &at, NULL) : NULL;
    return m && b->fill.faults == 0 ? detach(b, m) : NULL;
}

static Headgate__EndpointSet *read_text(const char *path, struct str text, bool is_json, struct error_list *errors) {
    struct builder b;
    struct tree_budget budget = {TREE_NODES_MAX, TREE_EXPANSION_MAX};
    const struct tree_variables none = {0};
    size_t before = errors->count + errors->dropped;
    builder_init(&b, errors, NULL);
    struct tree_node *root = is_json ? tree_read_json(&b.arena, path, text, &budget, errors)
                                     : tree_read(&b.arena, path, text, &none, &budget, errors);
    Headgate__EndpointSet *set = root && errors->count + errors->dropped == before ? fill_set(&b, root) : NULL;
    builder_finish(&b);
    return set;
}

Headgate__EndpointSet *config_read_endpoints(const char *path, struct str text, struct error_list *errors) {
    return read_text(path, text, false, errors);
}

Headgate__EndpointSet *config_read_endpoints_json(const char *path, struct str text, struct error_list *errors) {
    return read_text(path, text, true, errors);
}
