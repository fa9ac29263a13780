#include "controlplane/config/check.h"

#include "controlplane/config/message/unfill.h"

static int report_resource(struct builder *b, const struct config_resource *r, enum error_code code, const char *message) {
    struct strbuf resource = {0};
    strbuf_printf(&resource, "%s/%s", kind_name(r->kind) ? kind_name(r->kind) : "unknown", r->name);
    struct error *e = error_addf(b->fill.errors, code, "%s", message);
    error_set_resource(b->fill.errors, e, strbuf_str(&resource).p, NULL);
    strbuf_finish(&resource);
    b->fill.faults++;
    return -1;
}

/* Decodes the resource and fills a message from its tree; faults of any kind are reported and counted. */
static void check_resource(struct builder *b, const struct config_resource *resource) {
    struct unfill unfill = {.arena = &b->arena};
    if (resource->kind == HEADGATE__KIND__KIND_SECRET) {
        report_resource(b, resource, ERROR_UNSUPPORTED, "a secret is no part of a configuration");
        return;
    }
    ProtobufCMessage *m = resource_decode(resource->kind, str_of(resource->name), resource->bytes, resource->size,
                                          b->fill.errors);
    if (!m) {
        b->fill.faults++;
        return;
    }
    struct tree_node *node = unfill_message(&unfill, schema_of_kind(resource->kind), SCOPE_ALL, m, NULL, NULL);
    protobuf_c_message_free_unpacked(m, NULL);
    if (!node) {
        fill_out_of_memory(&b->fill);
        return;
    }
    struct fill_at at = {.node = node};
    builder_add(b, resource->kind, str_of(resource->name), &at, false);
}

int check_load(struct builder *b, const struct config_resources *existing, Headgate__Kind kind, struct str except) {
    struct error_list *warnings = b->fill.warnings;
    size_t faults = b->fill.faults, built = b->count, references = b->fill.reference_count;
    b->fill.names_resource = true;
    b->fill.warnings = NULL;
    for (size_t i = 0; i < existing->count; i++)
        if (existing->items[i].kind == kind && !str_eq(str_of(existing->items[i].name), except))
            check_resource(b, &existing->items[i]);
    b->fill.names_resource = false;
    b->fill.warnings = warnings;
    b->fill.reference_count = references;
    b->count = built;
    return b->fill.faults != faults ? -1 : 0;
}

int check_add_names(struct builder *b, const struct config_resources *existing) {
    for (size_t i = 0; i < existing->count; i++)
        if (names_add(&b->names, existing->items[i].kind, existing->items[i].name) < 0) {
            fill_out_of_memory(&b->fill);
            return -1;
        }
    return 0;
}

/* ---- who refers to what ---- */

static bool may_refer_to(Headgate__Kind from, Headgate__Kind to) {
    return (from == HEADGATE__KIND__KIND_LISTENER &&
            (to == HEADGATE__KIND__KIND_ROUTE_TABLE || to == HEADGATE__KIND__KIND_CLUSTER)) ||
           (from == HEADGATE__KIND__KIND_ROUTE_TABLE && to == HEADGATE__KIND__KIND_CLUSTER);
}

static int report_references(const struct fill *f, Headgate__Kind kind, struct str name, struct error_list *errors) {
    int status = 0;
    for (size_t i = 0; i < f->reference_count; i++) {
        const struct fill_reference *r = &f->references[i];
        if (r->kind != kind || !str_eq(str_of(r->name), name))
            continue;
        struct error *e = error_addf(errors, ERROR_REFERENCE, "still refers to the %s \"%.*s\"", kind_name(kind),
                                     STR_FMT(name));
        error_set_resource(errors, e, r->from, r->path);
        status = -1;
    }
    return status;
}

int check_unreferenced(Headgate__Kind kind, struct str name, const struct config_resources *existing,
                       struct error_list *errors) {
    struct builder b;
    builder_init(&b, errors, NULL);
    b.fill.names_resource = true;
    for (size_t i = 0; i < existing->count; i++)
        if (may_refer_to(existing->items[i].kind, kind))
            check_resource(&b, &existing->items[i]);
    int status = b.fill.faults ? -1 : report_references(&b.fill, kind, name, errors);
    builder_finish(&b);
    return status;
}

/* ---- whole sets ---- */

static void check_company(struct builder *b, const struct config_resources *set, const struct config_resource *r) {
    bool is_endpoints = r->kind == HEADGATE__KIND__KIND_ENDPOINT_SET;
    if (is_endpoints && !config_resources_find(set, HEADGATE__KIND__KIND_CLUSTER, str_of(r->name)))
        report_resource(b, r, ERROR_REFERENCE, "there is no cluster of that name");
    if (r->kind == HEADGATE__KIND__KIND_SETTINGS && strcmp(r->name, "default") != 0)
        report_resource(b, r, ERROR_CONFLICT, "there is one settings resource, named \"default\"");
}

/* In order, and each once: what everybody else relies on. */
static bool is_sorted(struct builder *b, const struct config_resources *set) {
    for (size_t i = 1; i < set->count; i++) {
        const struct config_resource *a = &set->items[i - 1], *c = &set->items[i];
        if (a->kind > c->kind || (a->kind == c->kind && strcmp(a->name, c->name) >= 0)) {
            report_resource(b, c, ERROR_INTEGRITY, "the resources are not sorted, or one is there twice");
            return false;
        }
    }
    return true;
}

static void check_set(struct builder *b, const struct config_resources *set) {
    b->fill.names_resource = true;
    bool is_right = is_sorted(b, set);
    for (size_t i = 0; is_right && i < set->count; i++) {
        check_resource(b, &set->items[i]);
        check_company(b, set, &set->items[i]);
    }
    names_check(&b->names, &b->fill);
}

int config_check_resources(const struct config_resources *set, struct error_list *errors, struct error_list *warnings) {
    struct builder b;
    builder_init(&b, errors, warnings);
    check_set(&b, set);
    int status = b.fill.faults || errors->dropped ? -1 : 0;
    builder_finish(&b);
    return status;
}

int config_check_joining(const struct config_resources *joining, const struct config_resources *others,
                         struct error_list *errors, struct error_list *warnings) {
    static const struct str nobody;
    struct builder b;
    builder_init(&b, errors, warnings);
    if (check_add_names(&b, others) == 0 && check_load(&b, others, HEADGATE__KIND__KIND_SETTINGS, nobody) == 0 &&
        check_load(&b, others, HEADGATE__KIND__KIND_LISTENER, nobody) == 0)
        check_set(&b, joining);
    int status = b.fill.faults || errors->dropped ? -1 : 0;
    builder_finish(&b);
    return status;
}

/* ---- resources by themselves ---- */

int config_references(const struct config_resources *set, const struct config_refers *refers, struct error_list *errors) {
    struct builder b;
    builder_init(&b, errors, NULL);
    b.fill.names_resource = true;
    for (size_t i = 0; i < set->count; i++)
        check_resource(&b, &set->items[i]);
    int status = b.fill.faults || errors->dropped ? -1 : 0;
    for (size_t i = 0; status == 0 && i < b.fill.reference_count; i++)
        status = refers->to(refers->context, b.fill.references[i].kind, b.fill.references[i].name);
    builder_finish(&b);
    return status;
}
