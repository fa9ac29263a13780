#include "controlplane/xds/wire.h"

#include "controlplane/xds/decode.h"
#include "proto/envoy/service/discovery/v3/discovery.pb-c.h"

#define WRAPPER_URL "type.googleapis.com/envoy.service.discovery.v3.Resource"

enum { CODE_INVALID_ARGUMENT = 3, FEATURES = 2 };

typedef Envoy__Service__Discovery__V3__DiscoveryRequest world_request;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;
typedef Envoy__Service__Discovery__V3__ResourceError resource_error;

/* ---- requests ---- */

/* Texts of messages are char *, which protobuf-c does not change. Never NULL: without memory `failed` is set. */
struct encoding {
    struct arena *arena;
    bool          failed;
};

static char *text_of(struct encoding *e, struct str text) {
    struct str copy = arena_str(e->arena, text.p ? text : STR(""));
    e->failed |= copy.p == NULL;
    return (char *)(uintptr_t)copy.p;
}

static char **texts_of(struct encoding *e, const struct str *texts, size_t count) {
    char **copies = arena_calloc(e->arena, count + 1, sizeof *copies);
    e->failed |= copies == NULL;
    for (size_t i = 0; i < count && !e->failed; i++)
        copies[i] = text_of(e, texts[i]);
    return copies;
}

static struct str pack(struct encoding *e, const ProtobufCMessage *m) {
    uint8_t *bytes = e->failed ? NULL : arena_alloc(e->arena, protobuf_c_message_get_packed_size(m) + 1);
    return bytes ? (struct str){(const char *)bytes, protobuf_c_message_pack(m, bytes)} : (struct str){0};
}

/* A copy of the node that says what this client can do: its features, the first `but` of them left out. */
static Envoy__Config__Core__V3__Node *node_of(struct encoding *e, const Envoy__Config__Core__V3__Node *node, size_t but) {
    static const char *const features[FEATURES] = {XDS_FEATURE_TTL, XDS_FEATURE_WRAPPED};
    Envoy__Config__Core__V3__Node *copy = arena_memdup(e->arena, node, sizeof *node);
    char **names = arena_calloc(e->arena, node->n_client_features + FEATURES, sizeof *names);
    if (!copy || !names) {
        e->failed = true;
        return NULL;
    }
    for (size_t i = 0; i < node->n_client_features; i++)
        names[i] = node->client_features[i];
    copy->client_features = names;
    for (size_t i = but; i < FEATURES; i++)
        names[copy->n_client_features++] = (char *)(uintptr_t)features[i];
    return copy;
}

static Google__Rpc__Status *status_of(struct encoding *e, struct str message) {
    Google__Rpc__Status *status = arena_alloc(e->arena, sizeof *status);
    if (!status) {
        e->failed = true;
        return NULL;
    }
    google__rpc__status__init(status);
    status->code = CODE_INVALID_ARGUMENT;
    status->message = text_of(e, message);
    return status;
}

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest__InitialResourceVersionsEntry version_entry;

static void put_versions(struct encoding *e, const struct xds_request *r, delta_request *m) {
    size_t count = r->initial_version_count;
    version_entry *entries = arena_calloc(e->arena, count + 1, sizeof *entries);
    m->initial_resource_versions = arena_calloc(e->arena, count + 1, sizeof *m->initial_resource_versions);
    e->failed |= !entries || !m->initial_resource_versions;
    for (size_t i = 0; i < count && !e->failed; i++) {
        entries[i] = (version_entry)
            ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INITIAL_RESOURCE_VERSIONS_ENTRY__INIT;
        entries[i].key = text_of(e, r->initial_versions[i].name);
        entries[i].value = text_of(e, r->initial_versions[i].version);
        m->initial_resource_versions[i] = &entries[i];
    }
    m->n_initial_resource_versions = count;
}

static struct str encode_delta(struct encoding *e, const struct xds_request *r, const Envoy__Config__Core__V3__Node *node) {
    delta_request m = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
    m.node = r->has_node ? node_of(e, node, 0) : NULL;
    m.type_url = text_of(e, r->type_url);
    m.response_nonce = text_of(e, r->response_nonce);
    m.resource_names_subscribe = texts_of(e, r->names, r->name_count);
    m.n_resource_names_subscribe = r->name_count;
    m.resource_names_unsubscribe = texts_of(e, r->unsubscribe, r->unsubscribe_count);
    m.n_resource_names_unsubscribe = r->unsubscribe_count;
    m.error_detail = r->is_refusal ? status_of(e, r->error) : NULL;
    put_versions(e, r, &m);
    return pack(e, &m.base);
}

static void put_world(struct encoding *e, const struct xds_request *r, Envoy__Config__Core__V3__Node *node,
                      world_request *m) {
    envoy__service__discovery__v3__discovery_request__init(m);
    m->node = node;
    m->type_url = text_of(e, r->type_url);
    m->version_info = text_of(e, r->version);
    m->response_nonce = text_of(e, r->response_nonce);
    m->resource_names = texts_of(e, r->names, r->name_count);
    m->n_resource_names = r->name_count;
    m->error_detail = r->is_refusal ? status_of(e, r->error) : NULL;
}

static struct str encode_world(struct encoding *e, const struct xds_request *r, const Envoy__Config__Core__V3__Node *node) {
    world_request m;
    put_world(e, r, r->has_node ? node_of(e, node, 0) : NULL, &m);
    return pack(e, &m.base);
}

struct str xds_encode_request(struct arena *arena, enum xds_form form, const struct xds_request *request,
                              const Envoy__Config__Core__V3__Node *node) {
    struct encoding e = {.arena = arena};
    return form == XDS_DELTA ? encode_delta(&e, request, node) : encode_world(&e, request, node);
}

int xds_make_poll(struct arena *arena, const struct xds_request *request, const Envoy__Config__Core__V3__Node *node,
                  Envoy__Service__Discovery__V3__DiscoveryRequest *ret) {
    struct encoding e = {.arena = arena};
    put_world(&e, request, node_of(&e, node, 1), ret);
    return e.failed ? -1 : 0;
}

/* ---- responses ---- */

/* The text of field 1 where it comes first, as every encoder writes it; otherwise empty. */
static struct str first_field(struct str bytes) {
    size_t at = 1, length = 0;
    if (bytes.n < 2 || bytes.p[0] != 0x0a)
        return STR("");
    for (unsigned shift = 0; at < bytes.n && shift < 28; shift += 7) {
        uint8_t byte = (uint8_t)bytes.p[at++];
        length |= (size_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return length <= bytes.n - at ? (struct str){bytes.p + at, length} : STR("");
    }
    return STR("");
}

static struct str bytes_of(const Google__Protobuf__Any *any) {
    return (struct str){any->value.len ? (const char *)any->value.data : "", any->value.len};
}

static void put_body(const Google__Protobuf__Any *any, struct xds_response_resource *ret) {
    ret->has_body = true;
    ret->type_url = str_of(any->type_url);
    ret->bytes = bytes_of(any);
    if (ret->name.n == 0)
        ret->name = first_field(ret->bytes);
}

static uint64_t microseconds(const Google__Protobuf__Duration *d) {
    bool is_none = d->seconds < 0 || d->nanos < 0;
    bool is_large = d->seconds > INT64_MAX / 2000000;
    return is_none ? 0 : is_large ? INT64_MAX : (uint64_t)d->seconds * 1000000 + (uint64_t)d->nanos / 1000;
}

static void put_wrapped(const Envoy__Service__Discovery__V3__Resource *in, struct xds_response_resource *ret) {
    *ret = (struct xds_response_resource){.name = str_of(in->name), .version = str_of(in->version)};
    if (ret->name.n == 0 && in->resource_name)
        ret->name = str_of(in->resource_name->name);
    if (in->resource)
        put_body(in->resource, ret);
    ret->has_ttl = in->ttl != NULL;
    ret->ttl = in->ttl ? microseconds(in->ttl) : 0;
}

int xds_open_resource(struct arena *arena, const Google__Protobuf__Any *in, struct xds_response_resource *ret) {
    ProtobufCMessage *wrapper;
    *ret = (struct xds_response_resource){.version = STR("")};
    if (!str_eq(str_of(in->type_url), STR(WRAPPER_URL))) {
        put_body(in, ret);
        return 0;
    }
    int status = xds_decode(&envoy__service__discovery__v3__resource__descriptor, arena, bytes_of(in), &wrapper);
    if (status == 0)
        put_wrapped((const Envoy__Service__Discovery__V3__Resource *)wrapper, ret);
    return status == MESSAGE_MEMORY || status == MESSAGE_LARGE ? status : 0;
}

int xds_open_errors(struct arena *arena, resource_error *const *in, size_t count, struct xds_response *ret) {
    struct xds_response_error *errors = arena_calloc(arena, count + 1, sizeof *errors);
    if (!errors)
        return MESSAGE_MEMORY;
    for (size_t i = 0; i < count; i++) {
        errors[i].name = in[i]->resource_name ? str_of(in[i]->resource_name->name) : STR("");
        errors[i].code = in[i]->error_detail ? in[i]->error_detail->code : 0;
        errors[i].message = in[i]->error_detail ? str_of(in[i]->error_detail->message) : STR("");
    }
    ret->errors = errors;
    ret->error_count = count;
    return 0;
}

static int decode_world(struct arena *arena, struct str bytes, struct xds_response *ret) {
    ProtobufCMessage *message;
    int status = xds_decode(&envoy__service__discovery__v3__discovery_response__descriptor, arena, bytes, &message);
    if (status != 0)
        return status;
    const Envoy__Service__Discovery__V3__DiscoveryResponse *m = (const void *)message;
    struct xds_response_resource *resources = arena_calloc(arena, m->n_resources + 1, sizeof *resources);
    status = resources ? 0 : MESSAGE_MEMORY;
    for (size_t i = 0; i < m->n_resources && status == 0; i++)
        status = xds_open_resource(arena, m->resources[i], &resources[i]);
    *ret = (struct xds_response){.type_url = str_of(m->type_url), .version = str_of(m->version_info),
                                 .nonce = str_of(m->nonce), .resources = resources, .resource_count = m->n_resources};
    return status ? status : xds_open_errors(arena, m->resource_errors, m->n_resource_errors, ret);
}

/* Both lists of names; a server may fill either. */
static int put_removed(struct arena *arena, const Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *m,
                       struct xds_response *ret) {
    struct str *removed = arena_calloc(arena, m->n_removed_resources + m->n_removed_resource_names + 1, sizeof *removed);
    if (!removed)
        return MESSAGE_MEMORY;
    for (size_t i = 0; i < m->n_removed_resources; i++)
        removed[ret->removed_count++] = str_of(m->removed_resources[i]);
    for (size_t i = 0; i < m->n_removed_resource_names; i++)
        removed[ret->removed_count++] = str_of(m->removed_resource_names[i]->name);
    ret->removed = removed;
    return 0;
}

static int decode_delta(struct arena *arena, struct str bytes, struct xds_response *ret) {
    ProtobufCMessage *message;
    int status = xds_decode(&envoy__service__discovery__v3__delta_discovery_response__descriptor, arena, bytes, &message);
    if (status != 0)
        return status;
    const Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *m = (const void *)message;
    struct xds_response_resource *resources = arena_calloc(arena, m->n_resources + 1, sizeof *resources);
    if (!resources)
        return MESSAGE_MEMORY;
    for (size_t i = 0; i < m->n_resources; i++)
        put_wrapped(m->resources[i], &resources[i]);
    *ret = (struct xds_response){.type_url = str_of(m->type_url), .version = str_of(m->system_version_info),
                                 .nonce = str_of(m->nonce), .resources = resources, .resource_count = m->n_resources};
    status = put_removed(arena, m, ret);
    return status ? status : xds_open_errors(arena, m->resource_errors, m->n_resource_errors, ret);
}

int xds_decode_response(struct arena *arena, enum xds_form form, struct str bytes, struct xds_response *ret) {
    struct xds_response response = {0};
    int status = form == XDS_DELTA ? decode_delta(arena, bytes, &response) : decode_world(arena, bytes, &response);
    if (status == 0)
        *ret = response;
    return status;
}
