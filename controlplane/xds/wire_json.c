#include "controlplane/xds/wire_json.h"

#include "controlplane/config/tree/tree.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/json_write.h"
#include "controlplane/xds/wire.h"
#include "proto/google/protobuf/any.pb-c.h"

#define FILE_NAME "answer"

enum { REQUEST_MAX = 256 << 20, FAULTS_MAX = 8 };

typedef Envoy__Service__Discovery__V3__DiscoveryRequest world_request;
typedef Envoy__Service__Discovery__V3__DiscoveryResponse world_response;

/* ---- requests ---- */

int xds_write_poll(const struct xds_request *request, const Envoy__Config__Core__V3__Node *node, struct strbuf *out) {
    world_request m;
    struct arena arena;
    arena_init(&arena, NULL, 0, REQUEST_MAX);
    int status = xds_make_poll(&arena, request, node, &m);
    if (status == 0)
        status = xds_json_write(&m.base, out);
    arena_finish(&arena);
    return status || out->failed ? -1 : 0;
}

/* ---- what could not be read ---- */

static const struct tree_node *child(const struct tree_node *node, const char *name, const char *camel) {
    const struct tree_item *item = node->type == TREE_MAP ? tree_find(node, name) : NULL;
    if (!item && node->type == TREE_MAP)
        item = tree_find(node, camel);
    return item ? item->node : NULL;
}

static struct str text_at(const struct tree_node *node) {
    return node && node->type == TREE_SCALAR && node->is_quoted ? node->text : STR("");
}

/* The name by which the resource is known, as far as it can be seen. */
static struct str name_of(const struct tree_node *node) {
    struct str name = text_at(child(node, "name", "name"));
    const struct tree_node *inside = child(node, "resource", "resource");
    if (!name.n)
        name = text_at(child(node, "cluster_name", "clusterName"));
    return name.n || !inside ? name : name_of(inside);
}

static bool is_about_memory(const struct error_list *errors) {
    bool is_any = errors->count == 0;
    for (size_t i = 0; i < errors->count; i++)
        is_any |= errors->items[i].code == ERROR_MEMORY;
    return is_any;
}

/* p == NULL without memory. */
static struct str describe(struct arena *arena, const struct error_list *errors) {
    struct strbuf text = {0};
    for (size_t i = 0; i < errors->count && i < FAULTS_MAX; i++) {
        struct error e = errors->items[i];
        e.file = NULL;
        strbuf_puts(&text, i ? "; " : "");
        error_format(&e, &text);
    }
    if (errors->count > FAULTS_MAX)
        strbuf_printf(&text, "; and %zu more", errors->count - FAULTS_MAX);
    struct str copy = text.failed ? (struct str){NULL, 0} : arena_str(arena, strbuf_str(&text));
    strbuf_finish(&text);
    return copy;
}

/* ---- responses ---- */

/* 0, or -1 without memory. */
static int read_resource(struct arena *arena, const struct tree_node *node, struct xds_response_resource *ret) {
    struct error_list faults = {0};
    ProtobufCMessage *any = xds_json_read_resource(node, arena, &faults);
    int status = 0;
    if (any) {
        status = xds_open_resource(arena, (const Google__Protobuf__Any *)any, ret);
        ret->has_ttl = false;
    } else if (is_about_memory(&faults)) {
        status = -1;
    } else {
        *ret = (struct xds_response_resource){.name = name_of(node), .version = STR(""), .fault = describe(arena, &faults)};
        status = ret->fault.p ? 0 : -1;
    }
    error_list_finish(&faults);
    return status ? -1 : 0;
}

static int read_resources(struct arena *arena, const struct tree_node *list, struct xds_response *ret,
                          struct error_list *errors) {
    bool is_absent = !list || (list->type == TREE_SCALAR && tree_is_null(list));
    size_t count = is_absent ? 0 : list->count;
    struct xds_response_resource *resources = arena_calloc(arena, count + 1, sizeof *resources);
    int status = resources ? 0 : -1;
    if (!is_absent && list->type != TREE_LIST) {
        error_addf(errors, ERROR_TYPE, "resources is not a list");
        return -1;
    }
    for (const struct tree_item *item = is_absent ? NULL : list->first; item && status == 0; item = item->next)
        status = read_resource(arena, item->node, &resources[item->index]);
    if (status)
        error_addf(errors, ERROR_MEMORY, "no memory for the resources of an answer");
    ret->resources = resources;
    ret->resource_count = count;
    return status;
}

/* What of the response is read besides its resources, as a map of its own. NULL without memory. */
static struct tree_node *head_of(struct arena *arena, const struct tree_node *root) {
    static const char *const keys[][2] = {{"version_info", "versionInfo"}, {"type_url", "typeUrl"}, {"nonce", "nonce"},
                                          {"resource_errors", "resourceErrors"}};
    struct tree_node *map = tree_create(arena, TREE_MAP);
    for (size_t i = 0; map && i < sizeof keys / sizeof *keys; i++) {
        const struct tree_node *value = child(root, keys[i][0], keys[i][1]);
        if (value && tree_set(arena, map, keys[i][0], (struct tree_node *)(uintptr_t)value) < 0)
            return NULL;
    }
    return map;
}

static int read_tree(struct arena *arena, const struct tree_node *root, struct xds_response *ret,
                     struct error_list *errors) {
    const struct tree_node *head = root->type == TREE_MAP ? head_of(arena, root) : NULL;
    if (!head) {
        error_addf(errors, ERROR_TYPE, root->type == TREE_MAP ? "no memory for an answer" : "an answer is not an object");
        return -1;
    }
    const ProtobufCMessage *m =
        xds_json_read(&envoy__service__discovery__v3__discovery_response__descriptor, head, arena, errors);
    if (!m)
        return -1;
    const world_response *response = (const world_response *)m;
    *ret = (struct xds_response){.type_url = str_of(response->type_url), .version = str_of(response->version_info),
                                 .nonce = str_of(response->nonce)};
    if (xds_open_errors(arena, response->resource_errors, response->n_resource_errors, ret) == 0)
        return read_resources(arena, child(root, "resources", "resources"), ret, errors);
    error_addf(errors, ERROR_MEMORY, "no memory for the errors of an answer");
    return -1;
}

int xds_read_poll(struct arena *arena, struct str text, struct xds_response *ret, struct error_list *errors) {
    struct tree_budget budget = {TREE_NODES_MAX, 0};
    struct xds_response made;
    const struct tree_node *root = tree_read_json(arena, FILE_NAME, text, &budget, errors);
    if (!root || read_tree(arena, root, &made, errors) < 0)
        return -1;
    *ret = made;
    return 0;
}
