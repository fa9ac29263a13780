#include "controlplane/xds/csds.h"

#define INIT_CONFIG ENVOY__SERVICE__STATUS__V3__CLIENT_CONFIG__INIT
#define INIT_GENERIC ENVOY__SERVICE__STATUS__V3__CLIENT_CONFIG__GENERIC_XDS_CONFIG__INIT

/* Names that protobuf-c makes long. */
#define Generic Envoy__Service__Status__V3__ClientConfig__GenericXdsConfig
#define Config  Envoy__Service__Status__V3__ClientConfig

/* One answer in the making. */
struct making {
    const struct xds_csds *csds;
    uint64_t               now, realtime;
    bool                   has_contents;
    struct arena          *arena;
    bool                   has_failed;      /* memory */
};

static void *take(struct making *m, size_t count, size_t size) {
    void *block = arena_calloc(m->arena, count ? count : 1, size);
    m->has_failed |= block == NULL;
    return block;
}

static char *text_of(struct making *m, struct str text) {
    struct str copy = arena_str(m->arena, text);
    m->has_failed |= copy.p == NULL;
    return (char *)(uintptr_t)copy.p;
}

static Google__Protobuf__Timestamp *time_of(struct making *m, uint64_t at) {
    Google__Protobuf__Timestamp *t = take(m, 1, sizeof *t);
    uint64_t since = m->now > at ? m->now - at : 0;
    uint64_t realtime = m->realtime > since ? m->realtime - since : 0;
    if (!t)
        return NULL;
    google__protobuf__timestamp__init(t);
    t->seconds = (int64_t)(realtime / 1000000);
    t->nanos = (int32_t)(realtime % 1000000) * 1000;
    return t;
}

static Google__Protobuf__Any *contents_of(struct making *m, enum xds_role role, struct str bytes) {
    Google__Protobuf__Any *any = take(m, 1, sizeof *any);
    if (!any)
        return NULL;
    google__protobuf__any__init(any);
    any->type_url = (char *)(uintptr_t)xds_world_type_url(role);
    any->value = (ProtobufCBinaryData){bytes.n, (uint8_t *)(uintptr_t)bytes.p};
    return any;
}

static Envoy__Admin__V3__UpdateFailureState *failure_of(struct making *m, const struct xds_resource *r) {
    Envoy__Admin__V3__UpdateFailureState *failure = take(m, 1, sizeof *failure);
    if (!failure)
        return NULL;
    envoy__admin__v3__update_failure_state__init(failure);
    failure->details = text_of(m, r->error);
    failure->version_info = text_of(m, r->failed_version);
    failure->last_update_attempt = time_of(m, r->failed_at);
    return failure;
}

/* The states have the same order here and there, where 0 is that none is known. */
static Envoy__Admin__V3__ClientResourceStatus status_of(enum xds_state state) {
    return (Envoy__Admin__V3__ClientResourceStatus)((int)state + ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__REQUESTED);
}

/* Keys are nobody's business: of what has some only its state is told. */
static bool may_be_shown(const struct making *m, enum xds_role role, struct str name) {
    return m->has_contents && !xds_world_has_keys(m->csds->world, role, name);
}

static Generic *describe(struct making *m, enum xds_role role, const struct xds_resource *r) {
    Generic *c = take(m, 1, sizeof *c);
    if (!c)
        return NULL;
    *c = (Generic)INIT_GENERIC;
    c->type_url = (char *)(uintptr_t)xds_world_type_url(role);
    c->name = text_of(m, r->name);
    c->client_status = status_of(r->state);
    if (r->copy) {
        c->version_info = text_of(m, r->copy->version);
        c->last_updated = time_of(m, r->updated_at);
        c->xds_config = may_be_shown(m, role, r->name) ? contents_of(m, role, r->copy->bytes) : NULL;
    }
    if (r->error.n > 0)
        c->error_state = failure_of(m, r);
    return c;
}

static const struct xds_resource *next_of(const struct making *m, enum xds_role role, const struct xds_resource *r) {
    const struct xds_world *w = m->csds->world;
    return xds_protocol_next_resource(xds_world_protocol(w), xds_world_type(w, role), r);
}

static size_t count_all(const struct making *m) {
    size_t count = 0;
    for (int role = 0; role < XDS_ROLES; role++)
        for (const struct xds_resource *r = NULL; (r = next_of(m, (enum xds_role)role, r));)
            count++;
    return count;
}

static void describe_role(struct making *m, enum xds_role role, Config *config) {
    for (const struct xds_resource *r = NULL; !m->has_failed && (r = next_of(m, role, r));)
        config->generic_xds_configs[config->n_generic_xds_configs++] = describe(m, role, r);
}

static void describe_all(struct making *m, Config *config) {
    config->generic_xds_configs = take(m, count_all(m), sizeof(Generic *));
    for (int role = 0; role < XDS_ROLES; role++)
        describe_role(m, (enum xds_role)role, config);
}

int xds_csds_answer(const struct xds_csds *csds, const Envoy__Service__Status__V3__ClientStatusRequest *request,
                    uint64_t now, uint64_t realtime, struct arena *arena,
                    Envoy__Service__Status__V3__ClientStatusResponse *ret) {
    struct making m = {.csds = csds, .now = now, .realtime = realtime, .arena = arena,
                       .has_contents = !request->exclude_resource_contents};
    *ret = (Envoy__Service__Status__V3__ClientStatusResponse)ENVOY__SERVICE__STATUS__V3__CLIENT_STATUS_RESPONSE__INIT;
    if (!csds)
        return 0;
    Config *config = take(&m, 1, sizeof *config);
    ret->config = take(&m, 1, sizeof(Config *));
    if (m.has_failed)
        return -1;
    *config = (Config)INIT_CONFIG;
    config->node = (Envoy__Config__Core__V3__Node *)(uintptr_t)csds->node;
    if (xds_world_protocol(csds->world))
        describe_all(&m, config);
    ret->config[0] = config;
    ret->n_config = 1;
    return m.has_failed ? -1 : 0;
}
