/* HTTP filters: those that stand in a listener, and those that it names and that come by themselves (ECDS). Of all that
 * there are, the router alone is known here; it is what every listener does anyway, so that nothing becomes of it. */
#include "controlplane/xds/translate/listener.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/types.h"
#include "proto/envoy/extensions/filters/http/router/v3/router.pb-c.h"

#define HCM(name) Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__##name

#define ROUTER "envoy.extensions.filters.http.router.v3.Router"

/* ---- what is read ---- */

static const struct xds_fields router_table = XDS_TABLE(envoy__extensions__filters__http__router__v3__router,
    XDS_IGNORE("dynamic_stats", "metrics are the gateway's own"), XDS_IGNORE("start_child_span", "nothing is traced"),
    XDS_IGNORE("suppress_envoy_headers", "no such headers are made"),
    XDS_IGNORE("suppress_grpc_request_failure_code_stats", "metrics are the gateway's own"));

static const struct xds_fields discovery_table = XDS_TABLE(envoy__config__core__v3__extension_config_source,
    XDS_INSIDE("config_source", &xds_read_config_source),
    XDS_INSIDE_NOTE("default_config", &xds_everything, "`" ROUTER "`, as in a listener"),
    XDS_NOTE("apply_default_config_without_warming", "with `default_config`"),
    XDS_NOTE("type_urls", "at least one must be that of `" ROUTER "`"));

const struct xds_fields xds_read_http_filter =
    XDS_TABLE(envoy__extensions__filters__network__http_connection_manager__v3__http_filter,
    XDS_NOTE("name", "for people; with `config_discovery` the resource that is asked for"),
    XDS_INSIDE_NOTE("typed_config", &xds_everything,
                    "`" ROUTER "`, as the last; others only where they are optional or "
                    "disabled. Of the router only what changes nothing here"),
    XDS_INSIDE_NOTE("config_discovery", &discovery_table,
                    "a listener waits for its filters. One that does not come, has no default and was never there keeps the "
                    "listener from being used; Envoy would answer 500"),
    XDS_NOTE("is_optional", "a filter that is not known is left out then"),
    XDS_NOTE("disabled", "the filter is left out"));

const struct xds_fields xds_read_extension = XDS_TABLE(envoy__config__core__v3__typed_extension_config,
    XDS_READ("name"), XDS_TYPES("typed_config", &router_table));

/* ---- filters that stand in a listener ---- */

#define CASE(name) \
    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_##name

/* NULL: it does not stand here. */
static const Google__Protobuf__Any *config_of(const HCM(HttpFilter) *filter) {
    return filter->config_type_case == CASE(TYPED_CONFIG) ? filter->typed_config : NULL;
}

/* NULL: it does not come by itself. */
static const Envoy__Config__Core__V3__ExtensionConfigSource *discovery_of(const HCM(HttpFilter) *filter) {
    return filter->config_type_case == CASE(CONFIG_DISCOVERY) ? filter->config_discovery : NULL;
}

static bool is_router_url(const char *url) {
    return xds_type_of_url(str_of(url)) == &envoy__extensions__filters__http__router__v3__router__descriptor;
}

/* The Any may be NULL. */
static void check_router(struct making *m, const struct xds_at *at, const Google__Protobuf__Any *any) {
    const char *type = any ? any->type_url : "";
    if (!is_router_url(type)) {
        making_refuse(m, at, ERROR_UNSUPPORTED, "is of the type \"%s\", which is not supported here", type);
        return;
    }
    ProtobufCMessage *router = making_open(m, at, any);
    if (router)
        making_look(m, at, &router_table, router);
}

/* ---- filters that come by themselves ---- */

static bool may_be_router(const Envoy__Config__Core__V3__ExtensionConfigSource *from) {
    bool may_be = false;
    for (size_t i = 0; i < from->n_type_urls; i++)
        may_be |= is_router_url(from->type_urls[i]);
    return may_be;
}

static enum xds_awaited awaited_of(const Envoy__Config__Core__V3__ExtensionConfigSource *from) {
    if (!from->default_config)
        return XDS_AWAITED;
    return from->apply_default_config_without_warming ? XDS_NOT_AWAITED : XDS_AWAITED_OR_DEFAULT;
}

static void discover(struct making *m, const struct xds_at *at, const HCM(HttpFilter) *filter) {
    const Envoy__Config__Core__V3__ExtensionConfigSource *from = discovery_of(filter);
    const struct xds_at *here = XDS_AT(at, "config_discovery");
    if (!filter->name[0])
        making_refuse(m, XDS_AT(at, "name"), ERROR_MISSING, "is empty, and is what is asked for");
    if (!may_be_router(from))
        making_unsupported(m, XDS_AT(here, "type_urls"), "one of them must be " ROUTER);
    part_config_source(m, XDS_AT(here, "config_source"), from->config_source);
    if (from->default_config)
        check_router(m, XDS_AT(here, "default_config"), from->default_config);
    else if (from->apply_default_config_without_warming)
        making_refuse(m, XDS_AT(here, "apply_default_config_without_warming"), ERROR_MISSING, "needs default_config");
    making_need_or(m, XDS_TYPE_EXTENSION, filter->name, awaited_of(from));
}

/* ---- all of a listener ---- */

static bool is_known(const HCM(HttpFilter) *filter) {
    const Google__Protobuf__Any *config = config_of(filter);
    if (discovery_of(filter))
        return may_be_router(discovery_of(filter));
    return config && is_router_url(config->type_url);
}

static void check_filter(struct making *m, const struct xds_at *at, const HCM(HttpFilter) *filter) {
    if (discovery_of(filter))
        discover(m, at, filter);
    else
        check_router(m, XDS_AT(at, "typed_config"), config_of(filter));
}

void http_filters(struct making *m, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    bool has_router = false;
    for (size_t i = 0; i < from->n_http_filters; i++) {
        const HCM(HttpFilter) *filter = from->http_filters[i];
        if (filter->disabled || (filter->is_optional && !is_known(filter)))
            continue;
        has_router |= is_known(filter);
        check_filter(m, XDS_AT_ITEM(at, "http_filters", i), filter);
    }
    if (!has_router)
        making_refuse(m, XDS_AT(at, "http_filters"), ERROR_MISSING, "need " ROUTER);
}

/* ---- the filter itself ---- */

int xds_translate_extension(const Envoy__Config__Core__V3__TypedExtensionConfig *m, struct xds_made *ret,
                            struct error_list *errors) {
    struct making making;
    if (making_begin(&making, &xds_read_extension, &m->base, "extension", m->name, ret, errors) == 0 && !m->typed_config)
        making_refuse(&making, XDS_AT(NULL, "typed_config"), ERROR_MISSING, "is missing");
    return making_end(&making);
}
