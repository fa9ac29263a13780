/* The parts of Envoy's bootstrap file that name node, servers and clusters. */
#include <ctype.h>
#include <string.h>

#include "controlplane/xds/bootstrap_reader.h"
#include "controlplane/xds/json.h"
#include "proto/envoy/config/bootstrap/v3/bootstrap.pb-c.h"

typedef Envoy__Config__Bootstrap__V3__Bootstrap bootstrap;
typedef Envoy__Config__Core__V3__ApiConfigSource api_source;
typedef Envoy__Config__Core__V3__ConfigSource config_source;
typedef Envoy__Config__Core__V3__GrpcService grpc_service;
typedef Envoy__Config__Core__V3__GrpcService__GoogleGrpc google_grpc;

static const uint64_t REQUEST_TIMEOUT = 1000000; /* of a poll, as in Envoy */

/* Where all comes from. */
struct chosen {
    const api_source *source;       /* NULL: nothing yet */
    bool              is_ads;
    uint64_t          timeout;
    bool              has_timeout;
};

/* ---- one server ---- */

static const struct rpc_metadata *read_metadata(struct bootstrap_reader *r, const struct xds_at *at, const grpc_service *s) {
    struct rpc_metadata *made = bootstrap_alloc(r, s->n_initial_metadata, sizeof *made);
    for (size_t i = 0; made && i < s->n_initial_metadata; i++) {
        char *key = arena_strdup(&r->made->arena, s->initial_metadata[i]->key);
        if (!key)
            bootstrap_no_memory(r);
        for (char *p = key; p && *p; p++)
            *p = (char)tolower((unsigned char)*p);
        made[i] = (struct rpc_metadata){key, s->initial_metadata[i]->value};
        if (!*s->initial_metadata[i]->key)
            bootstrap_fault(r, XDS_AT_ITEM(at, "initial_metadata", i), ERROR_MISSING, "needs a key");
    }
    return made;
}

static const Envoy__Config__Cluster__V3__Cluster *find_cluster(const bootstrap *b, const char *name, size_t *ret_index) {
    for (size_t i = 0; b->static_resources && i < b->static_resources->n_clusters; i++)
        if (strcmp(b->static_resources->clusters[i]->name, name) == 0) {
            *ret_index = i;
            return b->static_resources->clusters[i];
        }
    return NULL;
}

static void read_static_cluster(struct bootstrap_reader *r, const struct xds_at *at, const bootstrap *b, const char *name,
                                const struct xds_server *like) {
    size_t index = 0;
    const Envoy__Config__Cluster__V3__Cluster *m = find_cluster(b, name, &index);
    if (m)
        bootstrap_read_cluster(r, XDS_AT_ITEM(XDS_AT(NULL, "static_resources"), "clusters", index), m, like);
    else
        bootstrap_fault(r, at, ERROR_REFERENCE, "there is no static cluster \"%s\"", name);
}

static void read_envoy_grpc(struct bootstrap_reader *r, const struct xds_at *at, const bootstrap *b, const grpc_service *s,
                            struct xds_server *like) {
    if (*s->envoy_grpc->authority)
        like->channel.server_name = s->envoy_grpc->authority;
    read_static_cluster(r, XDS_AT(at, "envoy_grpc.cluster_name"), b, s->envoy_grpc->cluster_name, like);
}

static void read_google_credentials(struct bootstrap_reader *r, const struct xds_at *at, const google_grpc *g,
                                    struct rpc_channel_options *ret) {
    typedef Envoy__Config__Core__V3__GrpcService__GoogleGrpc__SslCredentials ssl_credentials;
    ret->security = RPC_SECURITY_PLAINTEXT; /* as Envoy does without credentials */
    if (!g->channel_credentials)
        return;
    if (g->channel_credentials->credential_specifier_case !=
        ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__GOOGLE_GRPC__CHANNEL_CREDENTIALS__CREDENTIAL_SPECIFIER_SSL_CREDENTIALS)
        return; /* what else there is the table tells of */
    const ssl_credentials *ssl = g->channel_credentials->ssl_credentials;
    const struct xds_at *place = XDS_AT(at, "channel_credentials.ssl_credentials");
    ret->security = RPC_SECURITY_TLS;
    bootstrap_read_source(r, XDS_AT(place, "root_certs"), ssl->root_certs, &ret->authority);
    bootstrap_read_source(r, XDS_AT(place, "cert_chain"), ssl->cert_chain, &ret->certificate);
    bootstrap_read_source(r, XDS_AT(place, "private_key"), ssl->private_key, &ret->key);
    if (!ssl->cert_chain != !ssl->private_key)
        bootstrap_fault(r, place, ERROR_MISSING, "cert_chain and private_key are given together");
}

static void read_google_grpc(struct bootstrap_reader *r, const struct xds_at *at, const google_grpc *g,
                             const struct xds_server *like) {
    struct xds_server *server = bootstrap_add_server(r, at);
    if (!server)
        return;
    *server = *like;
    server->name = server->channel.target = g->target_uri;
    if (!*g->target_uri)
        bootstrap_fault(r, at, ERROR_MISSING, "needs target_uri");
    read_google_credentials(r, at, g, &server->channel);
}

static void read_service(struct bootstrap_reader *r, const struct xds_at *at, const bootstrap *b, const grpc_service *s) {
    struct xds_server like = {.metadata = read_metadata(r, at, s), .metadata_count = s->n_initial_metadata};
    switch (s->target_specifier_case) {
    case ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_ENVOY_GRPC: read_envoy_grpc(r, at, b, s, &like); break;
    case ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_GOOGLE_GRPC:
        read_google_grpc(r, XDS_AT(at, "google_grpc"), s->google_grpc, &like);
        break;
    default: bootstrap_fault(r, at, ERROR_MISSING, "needs envoy_grpc or google_grpc");
    }
}

/* ---- where resources come from ---- */

static const char *service_name(const grpc_service *s) {
    switch (s->target_specifier_case) {
    case ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_ENVOY_GRPC: return s->envoy_grpc->cluster_name;
    case ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_GOOGLE_GRPC: return s->google_grpc->target_uri;
    default: return "";
    }
}

/* The same servers, and the same protocol. */
static bool is_same_source(const api_source *a, const api_source *b) {
    bool is_same = a->api_type == b->api_type && a->n_grpc_services == b->n_grpc_services &&
                   a->n_cluster_names == b->n_cluster_names;
    for (size_t i = 0; is_same && i < a->n_cluster_names; i++)
        is_same = strcmp(a->cluster_names[i], b->cluster_names[i]) == 0;
    for (size_t i = 0; is_same && i < a->n_grpc_services; i++)
        is_same = a->grpc_services[i]->target_specifier_case == b->grpc_services[i]->target_specifier_case &&
                  strcmp(service_name(a->grpc_services[i]), service_name(b->grpc_services[i])) == 0;
    return is_same;
}

/* The longest counts; 0 is for ever. */
static void take_timeout(struct bootstrap_reader *r, const struct xds_at *at, const config_source *s, struct chosen *c) {
    const Google__Protobuf__Duration *d = s->initial_fetch_timeout;
    enum { SECONDS_MAX = 86400 };
    if (!d)
        return;
    if (d->seconds < 0 || d->nanos < 0 || d->seconds > SECONDS_MAX) {
        bootstrap_fault(r, XDS_AT(at, "initial_fetch_timeout"), ERROR_RANGE, "is not between 0 s and %d s", SECONDS_MAX);
        return;
    }
    uint64_t timeout = (uint64_t)d->seconds * 1000000 + (uint64_t)d->nanos / 1000;
    bool is_for_ever = c->has_timeout && c->timeout == 0;
    if (!c->has_timeout || timeout == 0 || (!is_for_ever && timeout > c->timeout))
        c->timeout = timeout;
    c->has_timeout = true;
}

static void choose(struct bootstrap_reader *r, const struct xds_at *at, const config_source *s, const bootstrap *b,
                   struct chosen *c) {
    bool is_ads = s->config_source_specifier_case == ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS;
    bool is_api =
        s->config_source_specifier_case == ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_API_CONFIG_SOURCE;
    const api_source *source = is_ads ? b->dynamic_resources->ads_config : is_api ? s->api_config_source : NULL;
    take_timeout(r, at, s, c);
    if (s->resource_api_version == ENVOY__CONFIG__CORE__V3__API_VERSION__V2)
        bootstrap_fault(r, XDS_AT(at, "resource_api_version"), ERROR_UNSUPPORTED, "only V3 is supported");
    if (is_ads && !source)
        bootstrap_fault(r, XDS_AT(at, "ads"), ERROR_REFERENCE, "there is no dynamic_resources.ads_config");
    else if (!source)
        bootstrap_fault(r, at, ERROR_MISSING, "needs ads or api_config_source");
    else if (c->source && (c->is_ads != is_ads || !is_same_source(c->source, source)))
        bootstrap_fault(r, at, ERROR_UNSUPPORTED, "all resources come from the same servers in the same way: this differs "
                        "from the source before it");
    else if (!c->source) {
        c->source = source;
        c->is_ads = is_ads;
    }
}

static void read_api_type(struct bootstrap_reader *r, const struct xds_at *at, const struct chosen *c) {
    switch (c->source->api_type) {
    case ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__GRPC:
    case ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__AGGREGATED_GRPC:
        r->made->form = XDS_STATE_OF_THE_WORLD;
        break;
    case ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__DELTA_GRPC:
    case ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__AGGREGATED_DELTA_GRPC: r->made->form = XDS_DELTA; break;
    case ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__REST:
        r->made->form = XDS_STATE_OF_THE_WORLD;
        r->made->is_polled = !c->is_ads;
        if (c->is_ads)
            bootstrap_fault(r, XDS_AT(at, "api_type"), ERROR_CONFLICT, "REST has no aggregated form");
        break;
    default:
        bootstrap_fault(r, XDS_AT(at, "api_type"), ERROR_MISSING, "needs GRPC, DELTA_GRPC, an AGGREGATED_ one or REST");
    }
    r->made->is_aggregated =
        c->is_ads || c->source->api_type == ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__AGGREGATED_GRPC ||
        c->source->api_type == ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__AGGREGATED_DELTA_GRPC;
}

static void read_rate_limit(struct bootstrap_reader *r, const struct xds_at *at,
                            const Envoy__Config__Core__V3__RateLimitSettings *limit) {
    if (!limit)
        return;
    double rate = limit->fill_rate ? limit->fill_rate->value : 10;
    if (!(rate > 0 && rate <= 1e6))
        bootstrap_fault(r, XDS_AT(at, "rate_limit_settings.fill_rate"), ERROR_RANGE, "is not between 0 and 1000000");
    else
        r->made->requests_per_second = rate < 1 ? 1 : (uint32_t)rate;
    r->made->request_tokens = limit->max_tokens ? limit->max_tokens->value : 100;
    if (r->made->request_tokens == 0)
        bootstrap_fault(r, XDS_AT(at, "rate_limit_settings.max_tokens"), ERROR_RANGE, "is 0: nothing could be asked for");
}

/* ---- polls ---- */

static void read_time(struct bootstrap_reader *r, const struct xds_at *at, const Google__Protobuf__Duration *d,
                      uint64_t *time) {
    static const uint64_t least = 10000, most = UINT64_C(86400) * 1000000;
    uint64_t seconds = d && d->seconds >= 0 && d->seconds <= 86400 ? (uint64_t)d->seconds : 0;
    uint64_t made = d && d->nanos >= 0 ? seconds * 1000000 + (uint64_t)d->nanos / 1000 : 0;
    if (d && (made < least || made > most || d->seconds > 86400))
        bootstrap_fault(r, at, ERROR_RANGE, "is not between 10 ms and one day");
    else if (d)
        *time = made;
}

/* Each endpoint of each cluster, in their order. */
static void read_polled(struct bootstrap_reader *r, const struct xds_at *at, const bootstrap *b, const api_source *source) {
    if (!source->refresh_delay)
        bootstrap_fault(r, at, ERROR_MISSING, "needs refresh_delay");
    r->made->request_timeout = REQUEST_TIMEOUT;
    read_time(r, XDS_AT(at, "refresh_delay"), source->refresh_delay, &r->made->refresh_delay);
    read_time(r, XDS_AT(at, "request_timeout"), source->request_timeout, &r->made->request_timeout);
    if (source->n_grpc_services)
        bootstrap_fault(r, XDS_AT(at, "grpc_services"), ERROR_CONFLICT, "REST has cluster_names");
    if (source->n_cluster_names == 0)
        bootstrap_fault(r, at, ERROR_MISSING, "needs cluster_names");
    for (size_t i = 0; i < source->n_cluster_names; i++) {
        const struct xds_server like = {.host = source->cluster_names[i]};
        read_static_cluster(r, XDS_AT_ITEM(at, "cluster_names", i), b, source->cluster_names[i], &like);
    }
}

static void read_api_source(struct bootstrap_reader *r, const struct xds_at *at, const bootstrap *b,
                            const struct chosen *c) {
    read_api_type(r, at, c);
    if (c->source->transport_api_version == ENVOY__CONFIG__CORE__V3__API_VERSION__V2)
        bootstrap_fault(r, XDS_AT(at, "transport_api_version"), ERROR_UNSUPPORTED, "only V3 is supported");
    read_rate_limit(r, at, c->source->rate_limit_settings);
    if (r->made->is_polled) {
        read_polled(r, at, b, c->source);
        return;
    }
    if (c->source->n_cluster_names)
        bootstrap_warn(r, XDS_AT(at, "cluster_names"), "is of REST; gRPC has grpc_services");
    if (c->source->n_grpc_services == 0 && r->faults == 0)
        bootstrap_fault(r, at, ERROR_MISSING, "needs grpc_services");
    for (size_t i = 0; i < c->source->n_grpc_services; i++)
        read_service(r, XDS_AT_ITEM(at, "grpc_services", i), b, c->source->grpc_services[i]);
}

/* ---- what is asked for ---- */

typedef Envoy__Config__Bootstrap__V3__RuntimeLayer runtime_layer;

/* Told here, so that what stands in the file cannot fail later. */
static void check_static_layer(struct bootstrap_reader *r, const struct xds_at *at, const runtime_layer *layer) {
    struct xds_made made = {0};
    struct error_list errors = {0};
    if (xds_translate_layer(layer->name, layer->static_layer, &made, &errors) < 0)
        bootstrap_fault(r, XDS_AT(at, "static_layer"), errors.count ? errors.items[0].code : ERROR_MEMORY, "%s",
                        errors.count ? errors.items[0].message : "no memory for it");
    xds_made_finish(&made);
    error_list_finish(&errors);
}

static bool is_named_before(const bootstrap *b, size_t i) {
    size_t k = 0;
    while (k < i && strcmp(b->layered_runtime->layers[k]->name, b->layered_runtime->layers[i]->name) != 0)
        k++;
    return k < i;
}

/* "*" would ask the server for the layers of everybody. */
static void read_rtds_layer(struct bootstrap_reader *r, const struct xds_at *at, const bootstrap *b,
                            const runtime_layer *layer, struct chosen *c, struct xds_runtime_layer *to) {
    const struct xds_at *inside = XDS_AT(at, "rtds_layer");
    bool has_name = *layer->rtds_layer->name;
    *to = (struct xds_runtime_layer){has_name ? layer->rtds_layer->name : layer->name, NULL};
    if (strcmp(to->name, "*") == 0)
        bootstrap_fault(r, XDS_AT(has_name ? inside : at, "name"), ERROR_RANGE, "cannot be \"*\": a layer is one resource");
    if (layer->rtds_layer->rtds_config)
        choose(r, XDS_AT(inside, "rtds_config"), layer->rtds_layer->rtds_config, b, c);
}

static void read_layer(struct bootstrap_reader *r, const struct xds_at *at, const bootstrap *b, const runtime_layer *layer,
                       struct chosen *c, struct xds_runtime_layer *to) {
    if (!*layer->name)
        bootstrap_fault(r, XDS_AT(at, "name"), ERROR_MISSING, "is empty");
    switch (layer->layer_specifier_case) {
    case ENVOY__CONFIG__BOOTSTRAP__V3__RUNTIME_LAYER__LAYER_SPECIFIER_STATIC_LAYER:
        check_static_layer(r, at, layer);
        to[r->made->layer_count++] = (struct xds_runtime_layer){layer->name, layer->static_layer};
        return;
    case ENVOY__CONFIG__BOOTSTRAP__V3__RUNTIME_LAYER__LAYER_SPECIFIER_RTDS_LAYER:
        read_rtds_layer(r, at, b, layer, c, &to[r->made->layer_count++]);
        return;
    case ENVOY__CONFIG__BOOTSTRAP__V3__RUNTIME_LAYER__LAYER_SPECIFIER__NOT_SET:
        bootstrap_fault(r, at, ERROR_MISSING, "needs one of static_layer, rtds_layer, disk_layer and admin_layer");
        return;
    default: return; /* what else there is the table tells of */
    }
}

static void read_layers(struct bootstrap_reader *r, const bootstrap *b, struct chosen *c) {
    enum { LAYERS_MAX = 64 };
    const struct xds_at *at = XDS_AT(NULL, "layered_runtime");
    size_t count = b->layered_runtime ? b->layered_runtime->n_layers : 0;
    struct xds_runtime_layer *layers = bootstrap_alloc(r, count, sizeof *layers);
    if (count > LAYERS_MAX) {
        bootstrap_fault(r, XDS_AT(at, "layers"), ERROR_RANGE, "are %zu; %d are possible", count, LAYERS_MAX);
        return;
    }
    for (size_t i = 0; layers && i < count; i++) {
        const struct xds_at *here = XDS_AT_ITEM(at, "layers", i);
        if (is_named_before(b, i))
            bootstrap_fault(r, XDS_AT(here, "name"), ERROR_CONFLICT, "is the name of two layers");
        read_layer(r, here, b, b->layered_runtime->layers[i], c, layers);
    }
    r->made->layers = layers;
}

/* Returns where all comes from, or NULL after a fault. */
static const api_source *read_dynamic(struct bootstrap_reader *r, const bootstrap *b) {
    const Envoy__Config__Bootstrap__V3__Bootstrap__DynamicResources *d = b->dynamic_resources;
    const struct xds_at *at = XDS_AT(NULL, "dynamic_resources");
    const struct xds_at *lds = XDS_AT(at, "lds_config"), *cds = XDS_AT(at, "cds_config");
    struct chosen c = {0};
    if (d->lds_config)
        choose(r, lds, d->lds_config, b, &c);
    if (d->cds_config)
        choose(r, cds, d->cds_config, b, &c);
    r->made->wants_listeners = d->lds_config;
    r->made->wants_clusters = d->cds_config;
    read_layers(r, b, &c);
    if (!d->lds_config && !d->cds_config)
        bootstrap_fault(r, at, ERROR_MISSING, "needs lds_config or cds_config");
    else if (c.source)
        read_api_source(r, c.is_ads ? XDS_AT(at, "ads_config") : XDS_AT(d->lds_config ? lds : cds, "api_config_source"), b,
                        &c);
    if (c.has_timeout)
        r->made->resource_timeout = c.timeout;
    return c.source;
}

/* ---- the whole ---- */

static bool is_server(const api_source *source, const char *name) {
    for (size_t i = 0; i < source->n_grpc_services; i++)
        if (source->grpc_services[i]->target_specifier_case ==
                ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_ENVOY_GRPC &&
            strcmp(source->grpc_services[i]->envoy_grpc->cluster_name, name) == 0)
            return true;
    for (size_t i = 0; source->n_grpc_services == 0 && i < source->n_cluster_names; i++)
        if (strcmp(source->cluster_names[i], name) == 0)
            return true;
    return false;
}

static void take_clusters(struct bootstrap_reader *r, const bootstrap *b, const api_source *source) {
    size_t count = b->static_resources ? b->static_resources->n_clusters : 0;
    const Envoy__Config__Cluster__V3__Cluster **made = bootstrap_alloc(r, count, sizeof *made);
    for (size_t i = 0; made && i < count; i++)
        if (!is_server(source, b->static_resources->clusters[i]->name))
            made[r->made->cluster_count++] = b->static_resources->clusters[i];
    r->made->clusters = made;
}

static void take(struct bootstrap_reader *r, const bootstrap *b) {
    bootstrap_walk(r, NULL, &bootstrap_fields, &b->base);
    r->made->node = b->node;
    const api_source *source = b->dynamic_resources ? read_dynamic(r, b) : NULL;
    if (source)
        take_clusters(r, b, source);
}

void bootstrap_read_envoy(struct bootstrap_reader *r) {
    const ProtobufCMessage *m =
        xds_json_read(&envoy__config__bootstrap__v3__bootstrap__descriptor, r->tree, &r->made->arena, r->errors);
    if (m)
        take(r, (const bootstrap *)m);
    else
        r->faults++;
}
