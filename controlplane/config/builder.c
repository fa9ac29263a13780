#include "controlplane/config/builder.h"

#include "common/alloc.h"
#include "controlplane/config/message/route_check.h"
#include "controlplane/config/schema/schema_cluster.h"
#include "controlplane/config/secret_names.h"

void builder_init(struct builder *b, struct error_list *errors, struct error_list *warnings) {
    *b = (struct builder){0};
    arena_init(&b->arena, NULL, 0, 0);
    b->fill.arena = &b->arena;
    b->fill.errors = errors;
    b->fill.warnings = warnings;
}

void builder_finish(struct builder *b) {
    fill_finish(&b->fill);
    names_finish(&b->names);
    hg_free(b->items);
    arena_finish(&b->arena);
    *b = (struct builder){0};
}

static int add(struct builder *b, Headgate__Kind kind, struct str name, ProtobufCMessage *message) {
    if (!message)
        return -1;
    if (hg_grow(&b->items, &b->capacity, b->count + 1, sizeof *b->items) < 0 || names_add(&b->names, kind, name.p) < 0) {
        fill_out_of_memory(&b->fill);
        return -1;
    }
    b->items[b->count++] = (struct built){kind, name, message};
    return 0;
}

static void add_endpoints(struct builder *b, struct str name, const struct fill_at *at, const ProtobufCMessage *cluster,
                          ProtobufCMessage *endpoints, bool is_right) {
    const Headgate__EndpointSet *set = (const Headgate__EndpointSet *)endpoints;
    if (add(b, HEADGATE__KIND__KIND_ENDPOINT_SET, name, endpoints) < 0)
        return;
    if (is_right)
        schema_endpoint_set.check(&b->fill, at, endpoints);
    if (is_right)
        check_tables(&b->fill, at, cluster, endpoints);
    if (is_right)
        check_endpoints_over_quic(&b->fill, at, cluster, endpoints);
    if (is_right && set->n_endpoints == 0 && !((const Headgate__Cluster *)cluster)->discovery)
        fill_warn(&b->fill, at, "the cluster \"%s\" has no endpoints: every request for it is answered 503", name.p);
}

void builder_add(struct builder *b, Headgate__Kind kind, struct str name, const struct fill_at *at, bool with_endpoints) {
    size_t faults = b->fill.faults;
    ProtobufCMessage *companion = NULL;
    const char *resource = arena_printf(&b->arena, "%s/%.*s", kind_name(kind), STR_FMT(name));
    struct str kept = arena_str(&b->arena, name);
    if (!resource || !kept.p) {
        fill_out_of_memory(&b->fill);
        return;
    }
    fill_begin_resource(&b->fill, resource);
    ProtobufCMessage *m = fill_message(&b->fill, schema_of_kind(kind), SCOPE_ALL, at, &companion);
    if (kind == HEADGATE__KIND__KIND_SETTINGS)
        b->settings = m;
    if (m)
        secret_names_set(b, kind, at, m);
    if (kind == HEADGATE__KIND__KIND_ROUTE_TABLE && m)
        check_route_table(&b->fill, at, kept.p, m, b->settings, b->fill.faults == faults);
    if (add(b, kind, kept, m) == 0 && companion && with_endpoints)
        add_endpoints(b, kept, at, m, companion, b->fill.faults == faults);
}

static int emit(struct builder *b, const struct built *item, struct config_resources *set) {
    size_t size = protobuf_c_message_get_packed_size(item->message);
    if (size > RESOURCE_BYTES_MAX) {
        struct error *e = error_addf(b->fill.errors, ERROR_RANGE, "the resource has %zu bytes; %d are allowed", size,
                                     (int)RESOURCE_BYTES_MAX);
        error_set_resource(b->fill.errors, e, item->name.p, NULL);
        return -1;
    }
    uint8_t *bytes = hg_malloc(size);
    int status = -1;
    if (bytes) {
        protobuf_c_message_pack(item->message, bytes);
        status = config_resources_add(set, item->kind, item->name, bytes, size);
    }
    hg_free(bytes);
    if (status < 0)
        fill_out_of_memory(&b->fill);
    return status;
}

int builder_emit(struct builder *b, struct config_resources *ret) {
    struct config_resources set = {0};
    int status = 0;
    for (size_t i = 0; i < b->count && status == 0; i++)
        status = emit(b, &b->items[i], &set);
    if (status < 0) {
        config_resources_finish(&set);
        return -1;
    }
    config_resources_sort(&set);
    *ret = set;
    return 0;
}
