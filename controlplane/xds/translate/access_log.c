/* Access logs of HTTP and TCP filters: services become services of the listener, files are the settings' business. */
#include "controlplane/xds/translate/listener.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/values.h"
#include "controlplane/xds/types.h"
#include "proto/envoy/config/core/v3/grpc_service.pb-c.h"
#include "proto/envoy/extensions/access_loggers/file/v3/file.pb-c.h"
#include "proto/envoy/extensions/access_loggers/grpc/v3/als.pb-c.h"
#include "proto/envoy/extensions/access_loggers/stream/v3/stream.pb-c.h"

enum { SERVICES_MAX = 8, LOG_NAME_MAX = 256, FLUSH_BYTES_MAX = 1 << 20 };

#define GRPC_LOG(name)   Envoy__Extensions__AccessLoggers__Grpc__V3__##name
#define GRPC_TYPE(name)  envoy__extensions__access_loggers__grpc__v3__##name##__descriptor
#define SETTINGS_LOG     "the gateway's own access log is written as its settings say"

/* ---- what is read ---- */

static const struct xds_fields envoy_grpc_table = XDS_TABLE(envoy__config__core__v3__grpc_service__envoy_grpc,
    XDS_READ("cluster_name"), XDS_IGNORE("retry_policy", "a stream that breaks is opened again"),
    XDS_IGNORE("max_receive_message_length", "nothing that a service says is kept"),
    XDS_IGNORE("skip_envoy_headers", "no such headers are made"));

static const struct xds_fields grpc_service_table = XDS_TABLE(envoy__config__core__v3__grpc_service,
    XDS_INSIDE("envoy_grpc", &envoy_grpc_table), XDS_IGNORE("timeout", "a stream goes on for as long as it can"),
    XDS_IGNORE("retry_policy", "a stream that breaks is opened again"));

static const struct xds_fields common_table = XDS_TABLE(
    envoy__extensions__access_loggers__grpc__v3__common_grpc_access_log_config, XDS_READ("log_name"),
    XDS_INSIDE("grpc_service", &grpc_service_table), XDS_NOTE("transport_api_version", "V3"),
    XDS_NOTE("buffer_flush_interval", "1 ms to 1 hour"), XDS_NOTE("buffer_size_bytes", "more than 1 MiB counts as that"),
    XDS_IGNORE("grpc_stream_retry_policy", "a stream that breaks is opened again"));

const struct xds_fields xds_read_access_log = XDS_TABLE(envoy__config__accesslog__v3__access_log,
    XDS_IGNORE("name", "a name for people"),
    XDS_INSIDE_NOTE("filter", &xds_everything, "of files alone, where it changes nothing: " SETTINGS_LOG),
    {.name = "typed_config", .types = (const struct xds_fields *const[]){
        &(const struct xds_fields)XDS_TABLE(envoy__extensions__access_loggers__file__v3__file_access_log,
            XDS_IGNORE("path", SETTINGS_LOG), XDS_IGNORE("format", SETTINGS_LOG), XDS_IGNORE("json_format", SETTINGS_LOG),
            XDS_IGNORE("typed_json_format", SETTINGS_LOG), XDS_IGNORE("log_format", SETTINGS_LOG)),
        &(const struct xds_fields)XDS_TABLE(envoy__extensions__access_loggers__stream__v3__stdout_access_log,
            XDS_IGNORE("log_format", SETTINGS_LOG)),
        &(const struct xds_fields)XDS_TABLE(envoy__extensions__access_loggers__stream__v3__stderr_access_log,
            XDS_IGNORE("log_format", SETTINGS_LOG)),
        &(const struct xds_fields)XDS_TABLE(envoy__extensions__access_loggers__grpc__v3__http_grpc_access_log_config,
            XDS_INSIDE("common_config", &common_table)),
        &(const struct xds_fields)XDS_TABLE(envoy__extensions__access_loggers__grpc__v3__tcp_grpc_access_log_config,
            XDS_INSIDE("common_config", &common_table)),
        NULL}});

/* ---- services ---- */

static char *cluster_name(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__GrpcService *from) {
    if (from && from->target_specifier_case == ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_ENVOY_GRPC)
        return making_name(m, XDS_AT(at, "grpc_service.envoy_grpc.cluster_name"), from->envoy_grpc->cluster_name);
    making_refuse(m, XDS_AT(at, "grpc_service.envoy_grpc"), ERROR_MISSING, "is missing");
    return NULL;
}

static Headgate__AccessLogService *make_service(struct making *m, const struct xds_at *at,
                                                const GRPC_LOG(CommonGrpcAccessLogConfig) *from) {
    Headgate__AccessLogService *to = making_new(m, &headgate__access_log_service__descriptor);
    if (!to)
        return NULL;
    to->cluster = cluster_name(m, at, from->grpc_service);
    if (!*from->log_name)
        making_refuse(m, XDS_AT(at, "log_name"), ERROR_MISSING, "is missing");
    value_text(m, XDS_AT(at, "log_name"), from->log_name, &text_any, LOG_NAME_MAX, &to->log_name);
    if (from->transport_api_version == ENVOY__CONFIG__CORE__V3__API_VERSION__V2)
        making_unsupported(m, XDS_AT(at, "transport_api_version"), "only V3 is");
    value_duration(m, XDS_AT(at, "buffer_flush_interval"), from->buffer_flush_interval, XDS_MS, XDS_DAY / 24,
                   &to->has_flush_interval, &to->flush_interval);
    if (from->buffer_size_bytes) {
        to->has_flush_bytes = true;
        to->flush_bytes = from->buffer_size_bytes->value;
        to->flush_bytes = to->flush_bytes < FLUSH_BYTES_MAX ? to->flush_bytes : FLUSH_BYTES_MAX;
    }
    return to;
}

/* ---- logs ---- */

/* NULL: it is no service, or there was an error. */
static const GRPC_LOG(CommonGrpcAccessLogConfig) *common_of(struct listener_making *l, const struct xds_at *at,
                                                            const ProtobufCMessage *config) {
    bool is_http = config->descriptor == &GRPC_TYPE(http_grpc_access_log_config);
    bool is_tcp = config->descriptor == &GRPC_TYPE(tcp_grpc_access_log_config);
    const GRPC_LOG(CommonGrpcAccessLogConfig) *common = NULL;
    if (!is_http && !is_tcp)
        return NULL;
    if (is_tcp != (l->to->tcp != NULL)) {
        making_unsupported(l->making, at, "requests are told of by HttpGrpcAccessLogConfig, connections by "
                                          "TcpGrpcAccessLogConfig");
        return NULL;
    }
    common = is_http ? ((const GRPC_LOG(HttpGrpcAccessLogConfig) *)config)->common_config
                     : ((const GRPC_LOG(TcpGrpcAccessLogConfig) *)config)->common_config;
    if (!common)
        making_refuse(l->making, XDS_AT(at, "common_config"), ERROR_MISSING, "is missing");
    return common;
}

static void add(struct listener_making *l, const struct xds_at *at, const Envoy__Config__Accesslog__V3__AccessLog *from) {
    struct making *m = l->making;
    const struct xds_at *inside = XDS_AT(at, "typed_config");
    if (!from->typed_config)
        making_refuse(m, inside, ERROR_MISSING, "is missing");
    ProtobufCMessage *config = from->typed_config ? making_open(m, inside, from->typed_config) : NULL;
    const GRPC_LOG(CommonGrpcAccessLogConfig) *common = config ? common_of(l, inside, config) : NULL;
    Headgate__AccessLogService *service = common ? make_service(m, XDS_AT(inside, "common_config"), common) : NULL;
    if (!service)
        return;
    if (from->filter)
        making_unsupported(m, XDS_AT(at, "filter"), "a service is told of everything");
    if (l->to->n_access_log_services == SERVICES_MAX)
        making_refuse(m, at, ERROR_RANGE, "is one too many; %d services are possible", SERVICES_MAX);
    else
        l->to->access_log_services[l->to->n_access_log_services++] = service;
}

void listener_access_logs(struct listener_making *l, const struct xds_at *at,
                          Envoy__Config__Accesslog__V3__AccessLog *const *logs, size_t count) {
    if (count && !l->to->access_log_services)
        l->to->access_log_services = making_array(l->making, SERVICES_MAX, sizeof *l->to->access_log_services);
    for (size_t i = 0; l->to->access_log_services && i < count; i++)
        add(l, XDS_AT_ITEM(at, "access_log", i), logs[i]);
}
