/* ScopedRouteConfiguration: one of the scopes of a listener. */
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/routes.h"

/* ---- what is read ---- */

static const struct xds_fields fragment_table = XDS_TABLE(
    envoy__config__route__v3__scoped_route_configuration__key__fragment, XDS_READ("string_key"));

static const struct xds_fields key_table = XDS_TABLE(envoy__config__route__v3__scoped_route_configuration__key,
    XDS_INSIDE_NOTE("fragments", &fragment_table, "one for each part of the key of the listener, or no request matches"));

const struct xds_fields xds_read_scope = XDS_TABLE(envoy__config__route__v3__scoped_route_configuration,
    XDS_IGNORE("name", "a scope is known by its key"), XDS_INSIDE("key", &key_table), XDS_READ("route_configuration_name"),
    XDS_INSIDE("route_configuration", &xds_read_routes),
    XDS_IGNORE("on_demand", "the routes are asked for at once, and are there when the first request comes"));

/* ---- the scope ---- */

#define NO_FRAGMENT ENVOY__CONFIG__ROUTE__V3__SCOPED_ROUTE_CONFIGURATION__KEY__FRAGMENT__TYPE__NOT_SET

static void check_key(struct making *m, const Envoy__Config__Route__V3__ScopedRouteConfiguration *from) {
    const struct xds_at *at = XDS_AT(NULL, "key");
    if (!from->key || from->key->n_fragments == 0) {
        making_refuse(m, XDS_AT(at, "fragments"), ERROR_MISSING, "are missing");
        return;
    }
    for (size_t i = 0; i < from->key->n_fragments; i++)
        if (from->key->fragments[i]->type_case == NO_FRAGMENT)
            making_refuse(m, XDS_AT_ITEM(at, "fragments", i), ERROR_MISSING, "needs string_key");
}

static void check_routes(struct making *m, const Envoy__Config__Route__V3__ScopedRouteConfiguration *from) {
    bool has_name = from->route_configuration_name[0];
    if (from->route_configuration && has_name)
        making_refuse(m, NULL, ERROR_CONFLICT, "has both route_configuration and route_configuration_name");
    else if (!from->route_configuration && !has_name)
        making_refuse(m, NULL, ERROR_MISSING, "needs one of route_configuration_name and route_configuration");
    else if (from->route_configuration)
        routes_make(m, XDS_AT(NULL, "route_configuration"), from->route_configuration, "scope");
}

int xds_translate_scope(const Envoy__Config__Route__V3__ScopedRouteConfiguration *from, struct xds_made *ret,
                        struct error_list *errors) {
    struct making m;
    if (making_begin(&m, &xds_read_scope, &from->base, "scope", from->name, ret, errors) == 0) {
        check_key(&m, from);
        check_routes(&m, from);
    }
    return making_end(&m);
}
