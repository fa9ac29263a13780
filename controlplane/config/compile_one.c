#include "controlplane/config/builder.h"
#include "controlplane/config/check.h"
#include "controlplane/config/schema/schema_cluster.h"

static int refuse(struct error_list *errors, enum error_code code, Headgate__Kind kind, struct str name,
                  const char *message) {
    struct strbuf resource = {0};
    strbuf_printf(&resource, "%s/%.*s", kind_name(kind) ? kind_name(kind) : "unknown", STR_FMT(name));
    struct error *e = error_addf(errors, code, "%s", message);
    error_set_resource(errors, e, strbuf_str(&resource).p, NULL);
    strbuf_finish(&resource);
    return -1;
}

static int check_target(Headgate__Kind kind, struct str name, struct error_list *errors) {
    if (!kind_name(kind))
        return refuse(errors, ERROR_UNSUPPORTED, kind, name, "unknown kind of resource");
    if (kind == HEADGATE__KIND__KIND_SECRET)
        return refuse(errors, ERROR_UNSUPPORTED, kind, name,
                      "secrets come from the files that listeners and clusters name, and are no part of a configuration");
    if (!resource_name_is_valid(name))
        return refuse(errors, ERROR_SYNTAX, kind, name, "not a valid resource name");
    if (kind == HEADGATE__KIND__KIND_SETTINGS && !str_eq(name, STR("default")))
        return refuse(errors, ERROR_REFERENCE, kind, name, "there is one settings resource, named \"default\"");
    return 0;
}

/* ---- one resource ---- */

/* The name may stand in the file, but then it is the one that was asked for. */
static void check_name(struct fill *f, const struct schema_object *o, struct str name, const struct fill_at *at) {
    bool is_single;
    struct fill_at below = fill_down(at, "name");
    if (below.item && schema_find(o, SCOPE_ALL, STR("name"), &is_single) && !str_eq(below.node->text, name))
        fill_report(f, &below, ERROR_CONFLICT, "the file names another resource than \"%.*s\"", STR_FMT(name));
}

/* Settings are the top level without its lists and includes. */
static void check_settings_only(struct fill *f, const struct fill_at *at) {
    for (const struct schema_key *k = schema_root.keys; k->key; k++) {
        struct fill_at below = fill_down(at, k->key);
        if (below.item && (k->type == SCHEMA_RESOURCES || k->flags & SCHEMA_ELSEWHERE))
            fill_report_key(f, &below, ERROR_UNKNOWN_KEY, "\"%s\" is not one of the settings", k->key);
    }
}

/* Endpoints alone make sense only where their cluster is. */
static void check_cluster_exists(struct builder *b, Headgate__Kind kind, struct str name,
                                 const struct config_resources *existing) {
    if (kind != HEADGATE__KIND__KIND_ENDPOINT_SET || config_resources_find(existing, HEADGATE__KIND__KIND_CLUSTER, name))
        return;
    refuse(b->fill.errors, ERROR_REFERENCE, kind, name, "there is no cluster of that name");
    b->fill.faults++;
}

/* Of an endpoint set that was filled: what its cluster, which is there, allows. */
static void check_endpoints_of(struct builder *b, const struct fill_at *at, const struct config_resources *existing) {
    const struct built *set = &b->items[b->count - 1];
    const struct config_resource *r = config_resources_find(existing, HEADGATE__KIND__KIND_CLUSTER, set->name);
    ProtobufCMessage *cluster = resource_decode(r->kind, set->name, r->bytes, r->size, b->fill.errors);
    if (!cluster) {
        b->fill.faults++;
        return;
    }
    check_tables(&b->fill, at, cluster, set->message);
    check_endpoints_over_quic(&b->fill, at, cluster, set->message);
    protobuf_c_message_free_unpacked(cluster, NULL);
}

/* What the resource cannot be judged without. */
static int load_context(struct builder *b, Headgate__Kind kind, struct str name, const struct config_resources *existing) {
    if (kind == HEADGATE__KIND__KIND_LISTENER)
        return check_load(b, existing, kind, name);
    if (kind == HEADGATE__KIND__KIND_ROUTE_TABLE)
        return check_load(b, existing, HEADGATE__KIND__KIND_SETTINGS, (struct str){NULL, 0});
    return 0;
}

static void compile_tree(struct builder *b, Headgate__Kind kind, struct str name, const struct tree_node *root,
                         const struct config_resources *existing) {
    struct fill_at at = {.node = root};
    if (load_context(b, kind, name, existing) < 0)
        return;
    check_name(&b->fill, schema_of_kind(kind), name, &at);
    if (kind == HEADGATE__KIND__KIND_SETTINGS)
        check_settings_only(&b->fill, &at);
    check_cluster_exists(b, kind, name, existing);
    builder_add(b, kind, name, &at, true);
    if (kind == HEADGATE__KIND__KIND_ENDPOINT_SET && b->fill.faults == 0)
        check_endpoints_of(b, &at, existing);
    names_check(&b->names, &b->fill);
    /* Another path policy can make the paths of any rule wrong. */
    if (kind == HEADGATE__KIND__KIND_SETTINGS && b->fill.faults == 0)
        check_load(b, existing, HEADGATE__KIND__KIND_ROUTE_TABLE, (struct str){NULL, 0});
}

int config_compile_one(Headgate__Kind kind, struct str name, const struct config_source *source,
                       const struct config_options *options, const struct config_resources *existing,
                       struct config_resources *ret, struct error_list *errors, struct error_list *warnings) {
    if (check_target(kind, name, errors) < 0)
        return -1;
    struct builder b;
    struct tree_budget budget = {TREE_NODES_MAX, TREE_EXPANSION_MAX};
    struct tree_variables variables = {0};
    size_t before = errors->count + errors->dropped;
    builder_init(&b, errors, warnings);
    b.options = options;
    if (options)
        variables = (struct tree_variables){options->variable, options->context};
    struct str text = {source->bytes, source->size};
    struct tree_node *root = tree_read(&b.arena, source->path, text, &variables, &budget, errors);
    if (root && check_add_names(&b, existing) == 0)
        compile_tree(&b, kind, name, root, existing);
    int status = root && errors->count + errors->dropped == before ? builder_emit(&b, ret) : -1;
    builder_finish(&b);
    return status;
}

/* ---- deleting ---- */

static int check_deletable(Headgate__Kind kind, struct str name, const struct config_resources *existing,
                           struct error_list *errors) {
    if (kind == HEADGATE__KIND__KIND_SETTINGS)
        return refuse(errors, ERROR_STATE, kind, name, "the settings cannot be deleted, only set");
    if (!config_resources_find(existing, kind, name))
        return refuse(errors, ERROR_REFERENCE, kind, name, "there is no such resource");
    if (kind == HEADGATE__KIND__KIND_ENDPOINT_SET && config_resources_find(existing, HEADGATE__KIND__KIND_CLUSTER, name))
        return refuse(errors, ERROR_STATE, kind, name, "it belongs to its cluster; delete that, or set it to an empty list");
    return check_unreferenced(kind, name, existing, errors);
}

int config_delete_one(Headgate__Kind kind, struct str name, const struct config_resources *existing,
                      struct config_resources *ret_removed, struct error_list *errors) {
    if (check_target(kind, name, errors) < 0 || check_deletable(kind, name, existing, errors) < 0)
        return -1;
    struct config_resources removed = {0};
    int status = config_resources_add(&removed, kind, name, "", 0);
    if (kind == HEADGATE__KIND__KIND_CLUSTER && config_resources_find(existing, HEADGATE__KIND__KIND_ENDPOINT_SET, name))
        status |= config_resources_add(&removed, HEADGATE__KIND__KIND_ENDPOINT_SET, name, "", 0);
    if (status < 0) {
        config_resources_finish(&removed);
        error_addf(errors, ERROR_MEMORY, "out of memory");
        return -1;
    }
    *ret_removed = removed;
    return 0;
}
