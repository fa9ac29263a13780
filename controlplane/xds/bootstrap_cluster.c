/* A static cluster of Envoy's bootstrap as management servers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "controlplane/xds/bootstrap_reader.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/types.h"
#include "proto/envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "proto/envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Endpoint__V3__LbEndpoint lb_endpoint;
typedef Envoy__Extensions__TransportSockets__Tls__V3__UpstreamTlsContext upstream_tls;
typedef Envoy__Extensions__TransportSockets__Tls__V3__CommonTlsContext common_tls;
typedef Envoy__Extensions__TransportSockets__Tls__V3__CertificateValidationContext validation;
typedef Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions protocol_options;

/* Which member of a oneof is set; the generated names are longer than a line. */
#define TLS_V3(name) ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__##name
#define HTTP_V3(name) ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__##name

/* ---- TLS ---- */

static void read_text(struct bootstrap_reader *r, struct str text, struct rpc_pem *ret) {
    struct str copy = arena_str(&r->made->arena, text);
    ret->text = copy.p;
    if (!copy.p)
        bootstrap_no_memory(r);
}

void bootstrap_read_source(struct bootstrap_reader *r, const struct xds_at *at,
                           const Envoy__Config__Core__V3__DataSource *source, struct rpc_pem *ret) {
    if (!source)
        return;
    switch (source->specifier_case) {
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME: ret->path = source->filename; break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING: ret->text = source->inline_string; break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES:
        read_text(r, (struct str){(const char *)source->inline_bytes.data, source->inline_bytes.len}, ret);
        break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_ENVIRONMENT_VARIABLE: {
        const char *value = getenv(source->environment_variable);
        if (value)
            read_text(r, str_of(value), ret);
        else
            bootstrap_fault(r, at, ERROR_REFERENCE, "the variable %s is not set", source->environment_variable);
        break;
    }
    default: bootstrap_fault(r, at, ERROR_MISSING, "names neither a file nor a text");
    }
}

/* The one name that the certificate may be for. */
static const char *name_of_matcher(struct bootstrap_reader *r, const struct xds_at *at, const validation *v) {
    if (v->n_match_typed_subject_alt_names == 0)
        return NULL;
    const Envoy__Extensions__TransportSockets__Tls__V3__SubjectAltNameMatcher *m = v->match_typed_subject_alt_names[0];
    bool is_dns = m->san_type == ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__DNS;
    bool is_exact = m->matcher && !m->matcher->ignore_case &&
                    m->matcher->match_pattern_case == ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT;
    if (v->n_match_typed_subject_alt_names > 1 || !is_dns || !is_exact) {
        bootstrap_fault(r, XDS_AT(at, "match_typed_subject_alt_names"), ERROR_UNSUPPORTED,
                        "only one exact name of the type DNS is supported");
        return NULL;
    }
    return m->matcher->exact;
}

static void read_validation(struct bootstrap_reader *r, const struct xds_at *at, const validation *v,
                            struct rpc_channel_options *ret) {
    const char *name = name_of_matcher(r, at, v);
    bootstrap_read_source(r, XDS_AT(at, "trusted_ca"), v->trusted_ca, &ret->authority);
    if (name && ret->server_name && strcmp(name, ret->server_name) != 0)
        bootstrap_fault(r, XDS_AT(at, "match_typed_subject_alt_names"), ERROR_UNSUPPORTED,
                        "another name than that of sni is not supported");
    if (name)
        ret->server_name = name;
}

static void read_common_tls(struct bootstrap_reader *r, const struct xds_at *at, const common_tls *c,
                            struct rpc_channel_options *ret) {
    bool is_plain =
        c->validation_context_type_case == TLS_V3(COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT);
    if (c->n_tls_certificates > 1)
        bootstrap_fault(r, XDS_AT(at, "tls_certificates"), ERROR_UNSUPPORTED, "only one certificate is supported");
    if (c->n_tls_certificates == 1) {
        const struct xds_at *item = XDS_AT_ITEM(at, "tls_certificates", 0);
        const Envoy__Extensions__TransportSockets__Tls__V3__TlsCertificate *ours = c->tls_certificates[0];
        bootstrap_read_source(r, XDS_AT(item, "certificate_chain"), ours->certificate_chain, &ret->certificate);
        bootstrap_read_source(r, XDS_AT(item, "private_key"), ours->private_key, &ret->key);
        if (!ours->certificate_chain || !ours->private_key)
            bootstrap_fault(r, item, ERROR_MISSING, "needs certificate_chain and private_key");
    }
    if (is_plain && c->validation_context)
        read_validation(r, XDS_AT(at, "validation_context"), c->validation_context, ret);
    if (!ret->authority.path && !ret->authority.text)
        bootstrap_warn(r, at, "has no trusted_ca: the server's certificate is verified with what the system trusts");
}

static ProtobufCMessage *open_any(struct bootstrap_reader *r, const struct xds_at *at, const Google__Protobuf__Any *any) {
    const ProtobufCMessageDescriptor *type = xds_type_of_url(str_of(any->type_url));
    ProtobufCMessage *m = NULL;
    struct str bytes = {any->value.len ? (const char *)any->value.data : "", any->value.len};
    int status = type ? xds_decode(type, &r->made->arena, bytes, &m) : -1;
    if (status != 0)
        bootstrap_fault(r, at, ERROR_SYNTAX, "%s", type ? xds_decode_reason(status) : "is of an unknown type");
    return status == 0 ? m : NULL;
}

static void read_transport(struct bootstrap_reader *r, const struct xds_at *at, const cluster *m,
                           struct rpc_channel_options *ret) {
    const struct xds_at *place = XDS_AT(at, "transport_socket.typed_config");
    ret->security = RPC_SECURITY_PLAINTEXT;
    if (!m->transport_socket)
        return;
    if (!m->transport_socket->typed_config) {
        bootstrap_fault(r, XDS_AT(at, "transport_socket"), ERROR_MISSING, "needs typed_config");
        return;
    }
    const ProtobufCMessage *opened = open_any(r, place, m->transport_socket->typed_config);
    if (!opened || opened->descriptor != &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor)
        return; /* raw_buffer; another is told by the table */
    const upstream_tls *tls = (const upstream_tls *)opened;
    ret->security = RPC_SECURITY_TLS;
    ret->server_name = *tls->sni ? tls->sni : NULL;
    if (tls->common_tls_context)
        read_common_tls(r, XDS_AT(place, "common_tls_context"), tls->common_tls_context, ret);
}

/* ---- pings, time-outs ---- */

static uint64_t microseconds(struct bootstrap_reader *r, const struct xds_at *at, const Google__Protobuf__Duration *d) {
    enum { SECONDS_MAX = 1000000 };
    if (!d)
        return 0;
    if (d->seconds < 0 || d->nanos < 0 || d->seconds > SECONDS_MAX) {
        bootstrap_fault(r, at, ERROR_RANGE, "is not between 0 s and %d s", SECONDS_MAX);
        return 0;
    }
    return (uint64_t)d->seconds * 1000000 + (uint64_t)d->nanos / 1000;
}

static void read_keepalive(struct bootstrap_reader *r, const struct xds_at *at,
                           const Envoy__Config__Core__V3__Http2ProtocolOptions *o, struct rpc_channel_options *ret) {
    const Envoy__Config__Core__V3__KeepaliveSettings *k = o ? o->connection_keepalive : NULL;
    if (!k)
        return;
    ret->keepalive_us = microseconds(r, XDS_AT(at, "connection_keepalive.interval"), k->interval);
    ret->keepalive_timeout_us = microseconds(r, XDS_AT(at, "connection_keepalive.timeout"), k->timeout);
}

/* Returns whether they say HTTP/2. */
static bool read_protocol_options(struct bootstrap_reader *r, const struct xds_at *at, const Google__Protobuf__Any *any,
                                  struct rpc_channel_options *ret) {
    const ProtobufCMessage *opened = open_any(r, at, any);
    if (!opened || opened->descriptor != &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor)
        return false;
    const protocol_options *o = (const protocol_options *)opened;
    bool is_explicit = o->upstream_protocol_options_case == HTTP_V3(UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG);
    const Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__ExplicitHttpConfig *e =
        is_explicit ? o->explicit_http_config : NULL;
    if (!e || e->protocol_config_case != HTTP_V3(EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS))
        return false;
    read_keepalive(r, XDS_AT(at, "explicit_http_config.http2_protocol_options"), e->http2_protocol_options, ret);
    return true;
}

/* Likewise. */
static bool read_connection(struct bootstrap_reader *r, const struct xds_at *at, const cluster *m,
                            struct rpc_channel_options *ret) {
    bool is_http2 = m->http2_protocol_options;
    read_transport(r, at, m, ret);
    ret->connect_timeout_us = microseconds(r, XDS_AT(at, "connect_timeout"), m->connect_timeout);
    read_keepalive(r, XDS_AT(at, "http2_protocol_options"), m->http2_protocol_options, ret);
    for (size_t i = 0; i < m->n_typed_extension_protocol_options; i++)
        if (m->typed_extension_protocol_options[i]->value)
            is_http2 |= read_protocol_options(
                r, XDS_AT_KEY(at, "typed_extension_protocol_options", m->typed_extension_protocol_options[i]->key),
                m->typed_extension_protocol_options[i]->value, ret);
    return is_http2;
}

/* ---- addresses ---- */

static const char *target_of_socket(struct bootstrap_reader *r, const struct xds_at *at,
                                    const Envoy__Config__Core__V3__SocketAddress *a) {
    bool has_port = a->port_specifier_case == ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    if (!has_port || a->port_value == 0 || a->port_value > UINT16_MAX || !*a->address) {
        bootstrap_fault(r, at, ERROR_MISSING, "needs an address and a port_value of 1 to 65535");
        return NULL;
    }
    bool is_ipv6 = strchr(a->address, ':');
    const char *text = arena_printf(&r->made->arena, is_ipv6 ? "[%s]:%u" : "%s:%u", a->address, a->port_value);
    if (!text)
        bootstrap_no_memory(r);
    return text;
}

static const char *target_of(struct bootstrap_reader *r, const struct xds_at *at, const lb_endpoint *e) {
    const Envoy__Config__Core__V3__Address *a = e->endpoint ? e->endpoint->address : NULL;
    const char *text = NULL;
    if (a && a->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
        return target_of_socket(r, XDS_AT(at, "endpoint.address.socket_address"), a->socket_address);
    if (a && a->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_PIPE) {
        text = arena_printf(&r->made->arena, "unix:%s", a->pipe->path);
        if (!text)
            bootstrap_no_memory(r);
        return text;
    }
    bootstrap_fault(r, at, ERROR_MISSING, "needs an endpoint with a socket_address or a pipe");
    return NULL;
}

static void add_endpoint(struct bootstrap_reader *r, const struct xds_at *at, const lb_endpoint *e,
                         const struct xds_server *like) {
    if (e->host_identifier_case == ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT_NAME)
        return; /* the table tells of it */
    const char *target = target_of(r, at, e);
    struct xds_server *server = target ? bootstrap_add_server(r, at) : NULL;
    if (!server)
        return;
    *server = *like;
    server->name = server->channel.target = target;
}

/* Those of one priority, in their order; returns whether any has a higher number. */
static bool add_priority(struct bootstrap_reader *r, const struct xds_at *at, const cluster *m, uint32_t priority,
                         const struct xds_server *like, uint32_t *ret_next) {
    bool has_more = false;
    for (size_t i = 0; i < m->load_assignment->n_endpoints; i++) {
        const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l = m->load_assignment->endpoints[i];
        const struct xds_at *place = XDS_AT_ITEM(at, "load_assignment.endpoints", i);
        for (size_t k = 0; l->priority == priority && k < l->n_lb_endpoints; k++)
            add_endpoint(r, XDS_AT_ITEM(place, "lb_endpoints", k), l->lb_endpoints[k], like);
        if (l->priority > priority && (!has_more || l->priority < *ret_next)) {
            *ret_next = l->priority;
            has_more = true;
        }
    }
    return has_more;
}

static bool has_fixed_endpoints(const cluster *m) {
    return m->cluster_discovery_type_case != ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE &&
           (m->type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC ||
            m->type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STRICT_DNS ||
            m->type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS);
}

void bootstrap_read_cluster(struct bootstrap_reader *r, const struct xds_at *at, const cluster *m,
                            const struct xds_server *like) {
    struct xds_server made = *like;
    size_t before = r->made->server_count, faults = r->faults;
    uint32_t priority = 0;
    bootstrap_walk(r, at, &bootstrap_cluster_fields, &m->base);
    if (!has_fixed_endpoints(m)) {
        bootstrap_fault(r, XDS_AT(at, "type"), ERROR_UNSUPPORTED,
                        "a management server's cluster is STATIC, STRICT_DNS or LOGICAL_DNS");
        return;
    }
    const char *name = made.channel.server_name;
    made.is_http2 = read_connection(r, at, m, &made.channel);
    made.channel.server_name = made.channel.server_name ? made.channel.server_name : name;
    while (m->load_assignment && add_priority(r, at, m, priority, &made, &priority))
        continue;
    if (r->made->server_count == before && r->faults == faults)
        bootstrap_fault(r, XDS_AT(at, "load_assignment"), ERROR_MISSING, "a management server needs an endpoint");
}
