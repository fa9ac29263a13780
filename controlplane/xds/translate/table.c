/* The messages that are translated, from their bytes. */
#include "controlplane/xds/decode.h"
#include "controlplane/xds/world.h"

enum { DECODED_MAX = 256 << 20 };       /* bytes that one message may take when it is decoded */

/* One message of its own arena. */
struct decoded {
    struct arena      arena;
    ProtobufCMessage *m;                /* NULL after an error */
};

static struct decoded decode(const ProtobufCMessageDescriptor *type, struct str bytes, struct error_list *errors) {
    struct decoded d = {.m = NULL};
    arena_init(&d.arena, NULL, 0, DECODED_MAX);
    int status = xds_decode(type, &d.arena, bytes, &d.m);
    if (status == 0)
        return d;
    error_addf(errors, status == MESSAGE_MEMORY ? ERROR_MEMORY : ERROR_SYNTAX, "%s", xds_decode_reason(status));
    d.m = NULL;
    return d;
}

static int end(struct decoded *d, int status) {
    arena_finish(&d->arena);
    return status;
}

static int cluster(struct str bytes, bool is_locality_weighted, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__cluster__v3__cluster__descriptor, bytes, errors);
    (void)is_locality_weighted;
    return end(&d, d.m ? xds_translate_cluster((const Envoy__Config__Cluster__V3__Cluster *)d.m, ret, errors) : -1);
}

static int endpoints(struct str bytes, bool is_locality_weighted, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__endpoint__v3__cluster_load_assignment__descriptor, bytes, errors);
    const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *m =
        (const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *)d.m;
    return end(&d, m ? xds_translate_endpoints(m, is_locality_weighted, ret, errors) : -1);
}

static int listener(struct str bytes, bool is_locality_weighted, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__listener__v3__listener__descriptor, bytes, errors);
    (void)is_locality_weighted;
    return end(&d, d.m ? xds_translate_listener((const Envoy__Config__Listener__V3__Listener *)d.m, ret, errors) : -1);
}

static int routes(struct str bytes, bool is_locality_weighted, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__config__route__v3__route_configuration__descriptor, bytes, errors);
    const Envoy__Config__Route__V3__RouteConfiguration *m = (const Envoy__Config__Route__V3__RouteConfiguration *)d.m;
    (void)is_locality_weighted;
    return end(&d, m ? xds_translate_route_configuration(m, ret, errors) : -1);
}

static int secret(struct str bytes, bool is_locality_weighted, struct xds_made *ret, struct error_list *errors) {
    struct decoded d = decode(&envoy__extensions__transport_sockets__tls__v3__secret__descriptor, bytes, errors);
    const Envoy__Extensions__TransportSockets__Tls__V3__Secret *m =
        (const Envoy__Extensions__TransportSockets__Tls__V3__Secret *)d.m;
    (void)is_locality_weighted;
    return end(&d, m ? xds_translate_secret(m, ret, errors) : -1);
}

const struct xds_translation xds_translations[XDS_ROLES] = {
    [XDS_CLUSTERS] = {"envoy.config.cluster.v3.Cluster", cluster},
    [XDS_ENDPOINTS] = {"envoy.config.endpoint.v3.ClusterLoadAssignment", endpoints},
    [XDS_LISTENERS] = {"envoy.config.listener.v3.Listener", listener},
    [XDS_ROUTES] = {"envoy.config.route.v3.RouteConfiguration", routes},
    [XDS_SECRETS] = {"envoy.extensions.transport_sockets.tls.v3.Secret", secret},
};
