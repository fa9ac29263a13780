#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/tables.h"

static const struct xds_fields api_source = XDS_TABLE(envoy__config__core__v3__api_config_source,
    XDS_IGNORE("api_type", "the servers of the bootstrap are asked in the form that stands there"),
    XDS_NOTE("transport_api_version", "V3"),
    XDS_IGNORE("cluster_names", "the servers of the bootstrap are asked"),
    XDS_IGNORE("grpc_services", "the servers of the bootstrap are asked"),
    XDS_IGNORE("refresh_delay", "the bootstrap says how often a server is asked"),
    XDS_IGNORE("request_timeout", "the bootstrap says how long a server may take"),
    XDS_IGNORE("rate_limit_settings", "requests are paced as the bootstrap says"),
    XDS_IGNORE("set_node_on_first_message_only", "the node always stands in the first request of a stream alone"));

static const struct xds_fields ads = XDS_EMPTY_TABLE(envoy__config__core__v3__aggregated_config_source);
static const struct xds_fields self = XDS_TABLE(envoy__config__core__v3__self_config_source,
    XDS_NOTE("transport_api_version", "V3"));

const struct xds_fields xds_read_config_source = XDS_TABLE(envoy__config__core__v3__config_source,
    XDS_INSIDE("api_config_source", &api_source),
    XDS_INSIDE("ads", &ads),
    XDS_INSIDE("self", &self),
    XDS_IGNORE("initial_fetch_timeout", "the bootstrap says how long a resource is waited for"),
    XDS_NOTE("resource_api_version", "V3"));

static void check_version(struct making *m, const struct xds_at *at, Envoy__Config__Core__V3__ApiVersion version) {
    if (version == ENVOY__CONFIG__CORE__V3__API_VERSION__V2)
        making_unsupported(m, at, "only V3 is");
}

int part_config_source(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__ConfigSource *source) {
    size_t before = m->faults;
    if (!source)
        return making_refuse(m, at, ERROR_MISSING, "is missing");
    check_version(m, XDS_AT(at, "resource_api_version"), source->resource_api_version);
    switch (source->config_source_specifier_case) {
    case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_API_CONFIG_SOURCE:
        check_version(m, XDS_AT(at, "api_config_source.transport_api_version"),
                      source->api_config_source->transport_api_version);
        break;
    case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_SELF:
        check_version(m, XDS_AT(at, "self.transport_api_version"), source->self->transport_api_version);
        break;
    case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS: break;
    default: return making_refuse(m, at, ERROR_MISSING, "names no source");
    }
    return m->faults == before ? 0 : -1;
}
