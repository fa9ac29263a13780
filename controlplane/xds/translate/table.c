/* The messages that are translated, from their bytes. */
#include "controlplane/xds/decode.h"
#include "controlplane/xds/world.h"

/* One message of its own arena. */
struct decoded {
    struct arena      arena;
    ProtobufCMessage *m;                /* NULL after an error */
};

/* What is too large is too large every time: a fault of the resource, where a lack of memory is one of this moment. */
static void tell(struct error_list *errors, int status) {
    enum error_code code = status == MESSAGE_MEMORY ? ERROR_MEMORY : status == MESSAGE_LARGE ? ERROR_RANGE : ERROR_SYNTAX;
    error_addf(errors, code, "%s", xds_decode_reason(status));
}

static struct decoded decode(const ProtobufCMessageDescriptor *type, struct str bytes, struct error_list *errors) {
    struct decoded d = {.m = NULL};
    arena_init(&d.arena, NULL, 0, XDS_RESOURCE_MAX);
    int status = xds_decode(type, &d.arena, bytes, &d.m);
    if (status == 0)
        return d;
    tell(errors, status);
    d.m = NULL;
    return d;
}

static int end(struct decoded *d, int status) {
    arena_finish(&d->arena);
    return status;
}

static int cluster(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__cluster__v3__cluster__descriptor, from->bytes, errors);
    ret->runtime = from->runtime;
    return end(&d, d.m ? xds_translate_cluster((const Envoy__Config__Cluster__V3__Cluster *)d.m, ret, errors) : -1);
}

static int endpoints(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__endpoint__v3__cluster_load_assignment__descriptor, from->bytes, errors);
    const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *m =
        (const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *)d.m;
    return end(&d, m ? xds_translate_endpoints(m, from->is_locality_weighted, ret, errors) : -1);
}

/* One of the parts, in the arena of what they belong to. */
static ProtobufCMessage *decode_scope(struct decoded *d, struct str bytes, struct error_list *errors) {
    ProtobufCMessage *m = NULL;
    int status = xds_decode(&envoy__config__route__v3__scoped_route_configuration__descriptor, &d->arena, bytes, &m);
    if (status == 0)
        return m;
    tell(errors, status);
    return NULL;
}

static int decode_scopes(struct decoded *d, const struct xds_material *from, struct xds_scopes *ret,
                         struct error_list *errors) {
    ret->items = arena_calloc(&d->arena, from->part_count + 1, sizeof *ret->items);
    if (!ret->items)
        error_addf(errors, ERROR_MEMORY, "out of memory");
    for (size_t i = 0; ret->items && i < from->part_count; i++) {
        ProtobufCMessage *m = decode_scope(d, from->parts[i], errors);
        if (!m)
            return -1;
        ret->items[ret->count++] = (Envoy__Config__Route__V3__ScopedRouteConfiguration *)m;
    }
    return ret->items ? 0 : -1;
}

static int listener(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__listener__v3__listener__descriptor, from->bytes, errors);
    const Envoy__Config__Listener__V3__Listener *m = (const Envoy__Config__Listener__V3__Listener *)d.m;
    struct xds_scopes scopes = {0};
    ret->runtime = from->runtime;
    if (!m || decode_scopes(&d, from, &scopes, errors) < 0)
        return end(&d, -1);
    return end(&d, xds_translate_listener(m, &scopes, ret, errors));
}

static void add_length(struct strbuf *out, size_t n) {
    for (; n >= 0x80; n >>= 7)
        strbuf_putc(out, (char)(0x80 | (n & 0x7f)));
    strbuf_putc(out, (char)n);
}

/* Messages one after the other are one, and a repeated field has the items of both: so virtual hosts become the first. */
static void add_hosts(const struct xds_material *from, struct strbuf *out) {
    enum { VIRTUAL_HOSTS = 2 << 3 | 2 };
    for (size_t i = 0; i < from->part_count; i++) {
        strbuf_putc(out, VIRTUAL_HOSTS);
        add_length(out, from->parts[i].n);
        strbuf_add_str(out, from->parts[i]);
    }
    strbuf_add_str(out, from->bytes);
}

static int translate_routes(struct str bytes, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__route__v3__route_configuration__descriptor, bytes, errors);
    const Envoy__Config__Route__V3__RouteConfiguration *m = (const Envoy__Config__Route__V3__RouteConfiguration *)d.m;
    return end(&d, m ? xds_translate_route_configuration(m, ret, errors) : -1);
}

static int routes(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct strbuf all = {0};
    int status = -1;
    ret->runtime = from->runtime;
    ret->stream_idle = from->stream_idle;
    add_hosts(from, &all);
    if (all.failed)
        error_addf(errors, ERROR_MEMORY, "out of memory");
    else
        status = translate_routes(strbuf_str(&all), ret, errors);
    strbuf_finish(&all);
    return status;
}

static int virtual_host(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__route__v3__virtual_host__descriptor, from->bytes, errors);
    const Envoy__Config__Route__V3__VirtualHost *m = (const Envoy__Config__Route__V3__VirtualHost *)d.m;
    return end(&d, m ? xds_translate_virtual_host(m, ret, errors) : -1);
}

static int scope(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__route__v3__scoped_route_configuration__descriptor, from->bytes, errors);
    const Envoy__Config__Route__V3__ScopedRouteConfiguration *m =
        (const Envoy__Config__Route__V3__ScopedRouteConfiguration *)d.m;
    return end(&d, m ? xds_translate_scope(m, ret, errors) : -1);
}

static int secret(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__extensions__transport_sockets__tls__v3__secret__descriptor, from->bytes, errors);
    const Envoy__Extensions__TransportSockets__Tls__V3__Secret *m =
        (const Envoy__Extensions__TransportSockets__Tls__V3__Secret *)d.m;
    return end(&d, m ? xds_translate_secret(m, ret, errors) : -1);
}

static int extension(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__core__v3__typed_extension_config__descriptor, from->bytes, errors);
    const Envoy__Config__Core__V3__TypedExtensionConfig *m = (const Envoy__Config__Core__V3__TypedExtensionConfig *)d.m;
    return end(&d, m ? xds_translate_extension(m, ret, errors) : -1);
}

static int runtime(const struct xds_material *from, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__service__runtime__v3__runtime__descriptor, from->bytes, errors);
    return end(&d, d.m ? xds_translate_runtime((const Envoy__Service__Runtime__V3__Runtime *)d.m, ret, errors) : -1);
}

const struct xds_translation xds_translations[XDS_ROLES] = {
    [XDS_CLUSTERS] = {"envoy.config.cluster.v3.Cluster", cluster},
    [XDS_ENDPOINTS] = {"envoy.config.endpoint.v3.ClusterLoadAssignment", endpoints},
    [XDS_LISTENERS] = {"envoy.config.listener.v3.Listener", listener},
    [XDS_SCOPES] = {"envoy.config.route.v3.ScopedRouteConfiguration", scope},
    [XDS_ROUTES] = {"envoy.config.route.v3.RouteConfiguration", routes},
    [XDS_HOSTS] = {"envoy.config.route.v3.VirtualHost", virtual_host},
    [XDS_SECRETS] = {"envoy.extensions.transport_sockets.tls.v3.Secret", secret},
    [XDS_EXTENSIONS] = {"envoy.config.core.v3.TypedExtensionConfig", extension},
    [XDS_RUNTIMES] = {"envoy.service.runtime.v3.Runtime", runtime},
};
