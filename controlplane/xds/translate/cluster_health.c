#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/cluster.h"
#include "controlplane/xds/translate/tables.h"
#include "proto/envoy/config/core/v3/health_check.pb-c.h"

enum {
    PAYLOAD_MAX = 4096,
    HEADERS_MAX = 64,
    STATUS_MIN = 100, STATUS_END = 600,
    TEXT_MAX = 8192,
    SERVICE_MAX = 1024,
};

#define CHECK(name) Envoy__Config__Core__V3__HealthCheck##name

/* ---- what is read ---- */

static const struct xds_fields payload = XDS_TABLE(envoy__config__core__v3__health_check__payload,
    XDS_NOTE("text", "hexadecimal digits"), XDS_READ("binary"));

static const struct xds_fields header = XDS_TABLE(envoy__config__core__v3__header_value,
    XDS_READ("key"), XDS_NOTE("value", "without variables (%)"));

static const struct xds_fields header_option = XDS_TABLE(envoy__config__core__v3__header_value_option,
    XDS_INSIDE("header", &header),
    XDS_IGNORE("append", "a check has no other fields of that name"),
    XDS_IGNORE("append_action", "a check has no other fields of that name"),
    XDS_IGNORE("keep_empty_value", "an empty value is kept"));

static const struct xds_fields range = XDS_TABLE(envoy__type__v3__int64_range, XDS_READ("start"), XDS_READ("end"));

static const struct xds_fields http_check = XDS_TABLE(envoy__config__core__v3__health_check__http_health_check,
    XDS_NOTE("host", "without it the name of the cluster, where that can be a host"),
    XDS_READ("path"),
    XDS_INSIDE_NOTE("receive", &payload, "one"),
    XDS_IGNORE("response_buffer_size", "the first 64 KiB are looked at"),
    XDS_INSIDE("request_headers_to_add", &header_option),
    XDS_INSIDE_NOTE("expected_statuses", &range, "without them 200"),
    XDS_IGNORE("retriable_statuses", "every other status counts towards unhealthy_threshold"),
    XDS_NOTE("codec_client_type", "checks speak the protocol of the cluster; HTTP2 needs a cluster that does"),
    XDS_READ("method"));

static const struct xds_fields tcp_check = XDS_TABLE(envoy__config__core__v3__health_check__tcp_health_check,
    XDS_INSIDE("send", &payload), XDS_INSIDE_NOTE("receive", &payload, "one"));

static const struct xds_fields grpc_check = XDS_TABLE(envoy__config__core__v3__health_check__grpc_health_check,
    XDS_READ("service_name"), XDS_NOTE("authority", "without it the name of the cluster, where that can be a host"));

#define TRAFFIC "checks are made whether there are requests or not"
#define JITTER "checks have a jitter of a tenth of their interval"
#define LOGS "changes of health are in the log"

const struct xds_fields cluster_read_check = XDS_TABLE(envoy__config__core__v3__health_check,
    XDS_READ("timeout"), XDS_READ("interval"),
    XDS_IGNORE("initial_jitter", JITTER), XDS_IGNORE("interval_jitter", JITTER),
    XDS_IGNORE("interval_jitter_percent", JITTER),
    XDS_NOTE("unhealthy_threshold", "also for statuses that are not expected"),
    XDS_READ("healthy_threshold"), XDS_READ("alt_port"), XDS_NOTE("reuse_connection", "true"),
    XDS_INSIDE("http_health_check", &http_check), XDS_INSIDE("tcp_health_check", &tcp_check),
    XDS_INSIDE("grpc_health_check", &grpc_check),
    XDS_IGNORE("no_traffic_interval", TRAFFIC), XDS_IGNORE("no_traffic_healthy_interval", TRAFFIC),
    XDS_NOTE("unhealthy_interval", "from the first failure on"),
    XDS_IGNORE("always_log_health_check_failures", LOGS), XDS_IGNORE("always_log_health_check_success", LOGS));

/* ---- texts ---- */

/* The host of a check: what is said, otherwise the server's name of the cluster, if it can be one. */
static void take_host(struct cluster_making *c, const struct xds_at *at, const char *said, char **ret) {
    struct str name = str_of(c->from->name), canonical = name;
    if (said[0])
        value_text(c->making, at, said, &text_host, TEXT_MAX, ret);
    else if (name.n && value_fits(c->making, &text_host, name, &canonical))
        *ret = making_text(c->making, canonical);
}

/* Bytes that are sent or expected; false: there are none, or an error. */
static bool take_payload(struct cluster_making *c, const struct xds_at *at, const CHECK(__Payload) *p, struct str *ret) {
    if (p->payload_case == ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__PAYLOAD__PAYLOAD_BINARY) {
        *ret = (struct str){(const char *)p->binary.data, p->binary.len};
    } else if (p->payload_case == ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__PAYLOAD__PAYLOAD_TEXT) {
        struct str digits = str_of(p->text);
        uint8_t *bytes = making_array(c->making, digits.n / 2, 1);
        if (!bytes)
            return false;
        if (digits.n % 2 || hex_decode(digits, bytes, digits.n / 2) < 0) {
            making_refuse(c->making, XDS_AT(at, "text"), ERROR_SYNTAX, "is not hexadecimal");
            return false;
        }
        *ret = (struct str){(const char *)bytes, digits.n / 2};
    }
    if (ret->n > PAYLOAD_MAX)
        making_refuse(c->making, at, ERROR_RANGE, "has %zu bytes; %d are possible", ret->n, PAYLOAD_MAX);
    return ret->n > 0 && ret->n <= PAYLOAD_MAX;
}

/* The only one of several. */
static bool take_only_payload(struct cluster_making *c, const struct xds_at *at, CHECK(__Payload) *const *items,
                              size_t count, struct str *ret) {
    if (count > 1) {
        making_unsupported(c->making, at, "one text is looked for, not several");
        return false;
    }
    return count == 1 && take_payload(c, XDS_AT_ITEM(at->up, at->field, 0), items[0], ret);
}

/* ---- HTTP ---- */

static Headgate__HeaderField *take_header(struct cluster_making *c, const struct xds_at *at,
                                          const Envoy__Config__Core__V3__HeaderValueOption *option) {
    const Envoy__Config__Core__V3__HeaderValue *h = option->header;
    Headgate__HeaderField *to = making_new(c->making, &headgate__header_field__descriptor);
    if (!h || !h->key[0])
        making_refuse(c->making, XDS_AT(at, "header.key"), ERROR_MISSING, "is empty");
    else if (strchr(h->value, '%'))
        making_unsupported(c->making, XDS_AT(at, "header.value"), "there are no variables in checks");
    else if (to) {
        value_text(c->making, XDS_AT(at, "header.key"), h->key, &text_check_field_name, TEXT_MAX, &to->name);
        value_text(c->making, XDS_AT(at, "header.value"), h->value, &text_field_value, TEXT_MAX, &to->value);
    }
    return to && to->name ? to : NULL;
}

static void take_headers(struct cluster_making *c, const struct xds_at *at, const CHECK(__HttpHealthCheck) *from,
                         Headgate__HttpCheck *to) {
    size_t count = from->n_request_headers_to_add;
    if (count > HEADERS_MAX) {
        making_refuse(c->making, XDS_AT(at, "request_headers_to_add"), ERROR_RANGE, "has %zu fields; %d are possible", count,
                      HEADERS_MAX);
        return;
    }
    to->headers = making_array(c->making, count, sizeof *to->headers);
    for (size_t i = 0; to->headers && i < count; i++) {
        Headgate__HeaderField *field = take_header(c, XDS_AT_ITEM(at, "request_headers_to_add", i),
                                                   from->request_headers_to_add[i]);
        if (field)
            to->headers[to->n_headers++] = field;
    }
}

/* Each status of the ranges once, in order. */
static void take_statuses(struct cluster_making *c, const struct xds_at *at, const CHECK(__HttpHealthCheck) *from,
                          Headgate__HttpCheck *to) {
    bool is_expected[STATUS_END] = {[200] = from->n_expected_statuses == 0};
    for (size_t i = 0; i < from->n_expected_statuses; i++) {
        const Envoy__Type__V3__Int64Range *r = from->expected_statuses[i];
        if (r->start < STATUS_MIN || r->end > STATUS_END || r->start >= r->end)
            making_refuse(c->making, XDS_AT_ITEM(at, "expected_statuses", i), ERROR_RANGE,
                          "is no range within %d to below %d", STATUS_MIN, STATUS_END);
        else
            for (int64_t status = r->start; status < r->end; status++)
                is_expected[status] = true;
    }
    to->statuses = making_array(c->making, STATUS_END - STATUS_MIN, sizeof *to->statuses);
    for (uint32_t status = STATUS_MIN; to->statuses && status < STATUS_END; status++)
        if (is_expected[status])
            to->statuses[to->n_statuses++] = status;
}

static void take_method(struct cluster_making *c, const struct xds_at *at, int method, Headgate__HttpCheck *to) {
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
        &envoy__config__core__v3__request_method__descriptor, method);
    if (method == ENVOY__CONFIG__CORE__V3__REQUEST_METHOD__CONNECT)
        making_unsupported(c->making, XDS_AT(at, "method"), "a check is no tunnel");
    else if (value && method != ENVOY__CONFIG__CORE__V3__REQUEST_METHOD__METHOD_UNSPECIFIED)
        to->method = making_text(c->making, str_of(value->name));
}

static void check_codec(struct cluster_making *c, const struct xds_at *at, int codec) {
    if (codec == ENVOY__TYPE__V3__CODEC_CLIENT_TYPE__HTTP3)
        making_unsupported(c->making, at, "checks speak the protocol of the cluster");
    if (codec == ENVOY__TYPE__V3__CODEC_CLIENT_TYPE__HTTP2 && c->to->protocol != HEADGATE__CLUSTER__PROTOCOL__HTTP2)
        making_unsupported(c->making, at, "checks speak the protocol of the cluster, which is HTTP/1");
}

static void take_http(struct cluster_making *c, const struct xds_at *at, const CHECK(__HttpHealthCheck) *from,
                      Headgate__HealthCheck *check) {
    Headgate__HttpCheck *to = making_new(c->making, &headgate__http_check__descriptor);
    struct str expected = {0};
    if (!to)
        return;
    if (!from->path[0])
        making_refuse(c->making, XDS_AT(at, "path"), ERROR_MISSING, "is empty");
    value_text(c->making, XDS_AT(at, "path"), from->path, &text_location, TEXT_MAX, &to->path);
    take_host(c, XDS_AT(at, "host"), from->host, &to->host);
    take_headers(c, at, from, to);
    take_statuses(c, at, from, to);
    take_method(c, at, from->method, to);
    check_codec(c, XDS_AT(at, "codec_client_type"), from->codec_client_type);
    if (take_only_payload(c, XDS_AT(at, "receive"), from->receive, from->n_receive, &expected)) {
        if (memchr(expected.p, '\0', expected.n))
            making_unsupported(c->making, XDS_AT(at, "receive"), "there is a NUL in it");
        to->body_contains = making_text(c->making, expected);
    }
    check->kind_case = HEADGATE__HEALTH_CHECK__KIND_HTTP;
    check->http = to;
}

/* ---- others ---- */

static void set_bytes(struct str from, protobuf_c_boolean *has, ProtobufCBinaryData *to) {
    *has = true;
    *to = (ProtobufCBinaryData){from.n, (uint8_t *)(uintptr_t)from.p};
}

static void take_tcp(struct cluster_making *c, const struct xds_at *at, const CHECK(__TcpHealthCheck) *from,
                     Headgate__HealthCheck *check) {
    Headgate__TcpCheck *to = making_new(c->making, &headgate__tcp_check__descriptor);
    struct str sent = {0}, expected = {0};
    if (!to)
        return;
    if (from->send && take_payload(c, XDS_AT(at, "send"), from->send, &sent))
        set_bytes(sent, &to->has_send, &to->send);
    if (take_only_payload(c, XDS_AT(at, "receive"), from->receive, from->n_receive, &expected))
        set_bytes(expected, &to->has_expect, &to->expect);
    check->kind_case = HEADGATE__HEALTH_CHECK__KIND_TCP;
    check->tcp = to;
}

static void take_grpc(struct cluster_making *c, const struct xds_at *at, const CHECK(__GrpcHealthCheck) *from,
                      Headgate__HealthCheck *check) {
    Headgate__GrpcCheck *to = making_new(c->making, &headgate__grpc_check__descriptor);
    if (!to)
        return;
    value_text(c->making, XDS_AT(at, "service_name"), from->service_name, &text_any, SERVICE_MAX, &to->service);
    take_host(c, XDS_AT(at, "authority"), from->authority, &to->authority);
    check->kind_case = HEADGATE__HEALTH_CHECK__KIND_GRPC;
    check->grpc = to;
}

/* ---- all ---- */

static void take_kind(struct cluster_making *c, const struct xds_at *at, const CHECK() *from, Headgate__HealthCheck *to) {
    switch (from->health_checker_case) {
    case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_HTTP_HEALTH_CHECK:
        take_http(c, XDS_AT(at, "http_health_check"), from->http_health_check, to);
        break;
    case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_TCP_HEALTH_CHECK:
        take_tcp(c, XDS_AT(at, "tcp_health_check"), from->tcp_health_check, to);
        break;
    case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_GRPC_HEALTH_CHECK:
        take_grpc(c, XDS_AT(at, "grpc_health_check"), from->grpc_health_check, to);
        break;
    default: making_refuse(c->making, at, ERROR_MISSING, "says not what is asked"); break;
    }
}

static void require(struct cluster_making *c, const struct xds_at *at, const void *field) {
    if (!field)
        making_refuse(c->making, at, ERROR_MISSING, "is missing");
}

static void take_times(struct cluster_making *c, const struct xds_at *at, const CHECK() *from, Headgate__HealthCheck *to) {
    struct making *m = c->making;
    require(c, XDS_AT(at, "timeout"), from->timeout);
    require(c, XDS_AT(at, "interval"), from->interval);
    require(c, XDS_AT(at, "unhealthy_threshold"), from->unhealthy_threshold);
    require(c, XDS_AT(at, "healthy_threshold"), from->healthy_threshold);
    value_duration(m, XDS_AT(at, "timeout"), from->timeout, 10 * XDS_MS, 600 * XDS_SEC, &to->has_timeout, &to->timeout);
    value_duration(m, XDS_AT(at, "interval"), from->interval, 100 * XDS_MS, XDS_DAY, &to->has_interval, &to->interval);
    to->has_unhealthy_interval = to->has_interval;
    to->unhealthy_interval = to->interval;
    value_duration(m, XDS_AT(at, "unhealthy_interval"), from->unhealthy_interval, 100 * XDS_MS, XDS_DAY,
                   &to->has_unhealthy_interval, &to->unhealthy_interval);
    value_uint32(m, XDS_AT(at, "unhealthy_threshold"), from->unhealthy_threshold, 1, 1000, &to->has_unhealthy_after,
                 &to->unhealthy_after);
    value_uint32(m, XDS_AT(at, "healthy_threshold"), from->healthy_threshold, 1, 1000, &to->has_healthy_after,
                 &to->healthy_after);
}

void cluster_take_health(struct cluster_making *c) {
    const struct xds_at *at = XDS_AT_ITEM(NULL, "health_checks", 0);
    if (c->from->n_health_checks > 1)
        making_unsupported(c->making, XDS_AT_ITEM(NULL, "health_checks", 1), "an endpoint has one check");
    if (c->from->n_health_checks != 1)
        return;
    const CHECK() *from = c->from->health_checks[0];
    Headgate__HealthCheck *to = making_new(c->making, &headgate__health_check__descriptor);
    if (!to)
        return;
    take_times(c, at, from, to);
    take_kind(c, at, from, to);
    value_uint32(c->making, XDS_AT(at, "alt_port"), from->alt_port, 1, 65535, &to->has_port, &to->port);
    if (from->reuse_connection && !from->reuse_connection->value)
        making_unsupported(c->making, XDS_AT(at, "reuse_connection"), "connections of checks are kept");
    c->to->health = to;
}
