#include "common/alloc.h"
#include "controlplane/config/config.h"
#include "controlplane/config/message/unfill.h"

/* Messages that were decoded for a rendering. Trees copy their texts, so they go when the tree is made. */
struct render {
    struct arena                   arena;
    struct unfill                  unfill;
    const struct config_resources *set;
    ProtobufCMessage              *settings;
    struct error_list             *errors;
};

static int out_of_memory(struct render *r) {
    error_addf(r->errors, ERROR_MEMORY, "out of memory");
    return -1;
}

static ProtobufCMessage *decode(struct render *r, const struct config_resource *resource) {
    return resource_decode(resource->kind, str_of(resource->name), resource->bytes, resource->size, r->errors);
}

static int render_init(struct render *r, const struct config_resources *set, const struct config_render_options *options,
                       struct error_list *errors) {
    *r = (struct render){.set = set, .errors = errors};
    arena_init(&r->arena, NULL, 0, 0);
    r->unfill = (struct unfill){.arena = &r->arena, .is_effective = options && options->is_effective};
    const struct config_resource *settings = config_resources_find(set, HEADGATE__KIND__KIND_SETTINGS, STR("default"));
    if (!settings)
        return 0;
    r->settings = decode(r, settings);
    r->unfill.settings = r->settings;
    return r->settings ? 0 : -1;
}

static void render_finish(struct render *r) {
    if (r->settings)
        protobuf_c_message_free_unpacked(r->settings, NULL);
    arena_finish(&r->arena);
}

/* The endpoint set of a cluster; *ret stays NULL where there is none. */
static int decode_endpoints(struct render *r, const struct config_resource *cluster, ProtobufCMessage **ret) {
    const struct config_resource *endpoints =
        config_resources_find(r->set, HEADGATE__KIND__KIND_ENDPOINT_SET, str_of(cluster->name));
    if (!endpoints)
        return 0;
    *ret = decode(r, endpoints);
    return *ret ? 0 : -1;
}

/* What an empty list of a listener stands for; the message then frees it like its own. */
static int add_protocols(struct render *r, Headgate__Listener *m) {
    if (!r->unfill.is_effective || m->n_protocols || !(m->route_table || m->scoped_routes))
        return 0;
    m->protocols = hg_calloc(2, sizeof *m->protocols);
    if (!m->protocols)
        return out_of_memory(r);
    m->protocols[m->n_protocols++] = HEADGATE__LISTENER__PROTOCOL__HTTP1;
    if (m->tls)
        m->protocols[m->n_protocols++] = HEADGATE__LISTENER__PROTOCOL__HTTP2;
    return 0;
}

/* What belongs to the resource and stands elsewhere, or nowhere. */
static int complete(struct render *r, const struct config_resource *resource, ProtobufCMessage *m,
                    ProtobufCMessage **endpoints) {
    if (resource->kind == HEADGATE__KIND__KIND_CLUSTER)
        return decode_endpoints(r, resource, endpoints);
    return resource->kind == HEADGATE__KIND__KIND_LISTENER ? add_protocols(r, (Headgate__Listener *)m) : 0;
}

static struct tree_node *render_resource(struct render *r, const struct config_resource *resource) {
    ProtobufCMessage *m = decode(r, resource), *endpoints = NULL;
    struct tree_node *node = NULL;
    bool has_name = resource->kind != HEADGATE__KIND__KIND_SETTINGS && resource->kind != HEADGATE__KIND__KIND_ENDPOINT_SET;
    if (m && complete(r, resource, m, &endpoints) == 0) {
        node = unfill_message(&r->unfill, schema_of_kind(resource->kind), SCOPE_ALL, m, endpoints,
                              has_name ? resource->name : NULL);
        if (!node)
            out_of_memory(r);
    }
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    if (endpoints)
        protobuf_c_message_free_unpacked(endpoints, NULL);
    return node;
}

static int render_kind(struct render *r, const struct schema_key *k, struct tree_node *root) {
    struct tree_node *list = tree_create(&r->arena, TREE_LIST);
    if (!list)
        return out_of_memory(r);
    for (size_t i = 0; i < r->set->count; i++) {
        if (r->set->items[i].kind != k->kind)
            continue;
        struct tree_node *node = render_resource(r, &r->set->items[i]);
        if (!node)
            return -1;
        if (tree_append(&r->arena, list, node) < 0)
            return out_of_memory(r);
    }
    return list->first && tree_set(&r->arena, root, k->key, list) < 0 ? out_of_memory(r) : 0;
}

static struct tree_node *render_all(struct render *r) {
    struct tree_node *root = unfill_message(&r->unfill, &schema_root, SCOPE_ALL, r->settings, NULL, NULL);
    if (!root)
        out_of_memory(r);
    for (const struct schema_key *k = schema_root.keys; root && k->key; k++)
        if (k->type == SCHEMA_RESOURCES && render_kind(r, k, root) < 0)
            return NULL;
    return root;
}

static int write_tree(struct render *r, const struct tree_node *node, const struct config_render_options *options,
                      struct strbuf *out) {
    if (!node)
        return -1;
    if (options && options->is_json)
        tree_write_json(node, out);
    else
        tree_write_yaml(node, out);
    return out->failed ? out_of_memory(r) : 0;
}

int config_render(const struct config_resources *set, const struct config_render_options *options, struct strbuf *out,
                  struct error_list *errors) {
    struct render r;
    int status = render_init(&r, set, options, errors);
    if (status == 0)
        status = write_tree(&r, render_all(&r), options, out);
    render_finish(&r);
    return status;
}

int config_render_one(const struct config_resources *set, Headgate__Kind kind, struct str name,
                      const struct config_render_options *options, struct strbuf *out, struct error_list *errors) {
    struct render r;
    const struct config_resource *resource = config_resources_find(set, kind, name);
    const char *text = kind_name(kind);
    if (!resource || !schema_of_kind(kind)) {
        error_addf(errors, ERROR_REFERENCE, "there is no %s \"%.*s\"", text ? text : "such kind", STR_FMT(name));
        return -1;
    }
    int status = render_init(&r, set, options, errors);
    if (status == 0)
        status = write_tree(&r, render_resource(&r, resource), options, out);
    render_finish(&r);
    return status;
}
