/* Listener -> Listener: addresses, filter chains, TLS. */
#include "controlplane/xds/translate/listener.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/quic.h"

#include <stdlib.h>

#include "controlplane/xds/translate/values.h"
#include "proto/envoy/extensions/filters/listener/http_inspector/v3/http_inspector.pb-c.h"
#include "proto/envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.pb-c.h"
#include "proto/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb-c.h"

enum { ADDRESSES_MAX = 64, BACKLOG_MAX = 65535, CHAINS_MAX = 1000 };

/* ---- what is read ---- */

#define SNI_IS_SEEN "what a client says first is looked at anyway"

static const struct xds_fields match_table = XDS_TABLE(
    envoy__config__listener__v3__filter_chain_match,
    XDS_NOTE(
        "server_names",
        "of the chains of one listener, which must have the same filters: a certificate is chosen by its "
        "own names"),
    XDS_NOTE("transport_protocol", "tls in chains with TLS, raw_buffer in those without, quic over UDP"),
    XDS_NOTE("application_protocols", "where the transport socket offers the same by ALPN"));

static const struct xds_fields network_filter_table = XDS_TABLE(envoy__config__listener__v3__filter,
    XDS_IGNORE("name", "a name for people"), XDS_TYPES("typed_config", &xds_read_http_manager, &xds_read_tcp_proxy));

static const struct xds_fields raw_table = XDS_EMPTY_TABLE(envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer);
static const struct xds_fields socket_table = XDS_TABLE(envoy__config__core__v3__transport_socket,
    XDS_NOTE("name", "without typed_config: " XDS_RAW_BUFFER "; otherwise its type counts"),
    XDS_TYPES("typed_config", &xds_read_downstream_tls, &xds_read_quic_transport, &raw_table));

static const struct xds_fields chain_table = XDS_TABLE(envoy__config__listener__v3__filter_chain,
    XDS_INSIDE("filter_chain_match", &match_table), XDS_INSIDE("filters", &network_filter_table),
    XDS_IGNORE("metadata", "nothing reads it"), XDS_INSIDE("transport_socket", &socket_table),
    XDS_READ("transport_socket_connect_timeout"), XDS_IGNORE("name", "a name for people"));

static const struct xds_fields proxy_table = XDS_TABLE(
    envoy__extensions__filters__listener__proxy_protocol__v3__proxy_protocol,
    XDS_IGNORE("stat_prefix", "metrics are named by the listener"));
static const struct xds_fields tls_inspector_table = XDS_TABLE(
    envoy__extensions__filters__listener__tls_inspector__v3__tls_inspector,
    XDS_IGNORE("enable_ja3_fingerprinting", "nothing reads it"), XDS_IGNORE("enable_ja4_fingerprinting", "nothing reads it"),
    XDS_IGNORE("initial_read_buffer_size", SNI_IS_SEEN), XDS_IGNORE("max_client_hello_size", SNI_IS_SEEN),
    XDS_IGNORE("close_connection_on_client_hello_parsing_errors", "a broken ClientHello ends its connection"));
static const struct xds_fields http_inspector_table =
    XDS_EMPTY_TABLE(envoy__extensions__filters__listener__http_inspector__v3__http_inspector);

static const struct xds_fields listener_filter_table = XDS_TABLE(envoy__config__listener__v3__listener_filter,
    XDS_IGNORE("name", "a name for people"),
    XDS_TYPES("typed_config", &proxy_table, &tls_inspector_table, &http_inspector_table));

static const struct xds_fields additional_table = XDS_TABLE(envoy__config__listener__v3__additional_address,
    XDS_INSIDE("address", &xds_read_listen_address));

const struct xds_fields xds_read_listener = XDS_TABLE(envoy__config__listener__v3__listener,
    XDS_READ("name"), XDS_INSIDE("address", &xds_read_listen_address),
    XDS_INSIDE("additional_addresses", &additional_table), XDS_IGNORE("stat_prefix", "metrics are named by the listener"),
    XDS_INSIDE("filter_chains", &chain_table), XDS_INSIDE("default_filter_chain", &chain_table),
    XDS_IGNORE("per_connection_buffer_limit_bytes", "what is held of an exchange is bounded by the settings"),
    XDS_IGNORE("metadata", "nothing reads it"),
    XDS_IGNORE("drain_type", "a listener drains when it changes or goes, and when the gateway ends"),
    XDS_INSIDE("listener_filters", &listener_filter_table), XDS_INSIDE("udp_listener_config", &xds_read_udp_listener),
    XDS_NOTE("listener_filters_timeout", "with the TLS handshake in one time"),
    XDS_IGNORE("tcp_fast_open_queue_length", "connections are made without it"),
    XDS_IGNORE("traffic_direction", "nothing reads it"),
    XDS_IGNORE("connection_balance_config", "every worker accepts from a queue of its own"),
    XDS_IGNORE("reuse_port", "every worker accepts from a queue of its own"),
    XDS_IGNORE("enable_reuse_port", "every worker accepts from a queue of its own"),
    XDS_NOTE("tcp_backlog_size", "more than 65535 counts as that"),
    XDS_IGNORE("max_connections_to_accept_per_socket_event", "it is about how Envoy is built"),
    XDS_NOTE("bind_to_port", "true"),
    XDS_IGNORE("ignore_global_conn_limit", "the limits of the settings hold"),
    XDS_IGNORE("bypass_overload_manager", "the limits of the settings hold"));

/* ---- addresses ---- */

static void add_address(struct listener_making *l, const struct xds_at *at, const Envoy__Config__Core__V3__Address *from) {
    char *text = listen_address(l->making, at, from, l->is_quic);
    if (text)
        l->to->addresses[l->to->n_addresses++] = text;
}

static void addresses(struct listener_making *l, const Envoy__Config__Listener__V3__Listener *from) {
    struct making *m = l->making;
    Headgate__Listener *to = l->to;
    to->addresses = making_array(m, from->n_additional_addresses + 1, sizeof *to->addresses);
    if (!to->addresses)
        return;
    if (from->n_additional_addresses >= ADDRESSES_MAX)
        making_refuse(m, XDS_AT(NULL, "additional_addresses"), ERROR_RANGE, "are %zu; fewer than %d are possible",
                      from->n_additional_addresses, ADDRESSES_MAX);
    add_address(l, XDS_AT(NULL, "address"), from->address);
    for (size_t i = 0; i < from->n_additional_addresses; i++)
        add_address(l, XDS_AT(XDS_AT_ITEM(NULL, "additional_addresses", i), "address"),
                    from->additional_addresses[i]->address);
}

/* ---- chains ---- */

struct chain {
    const Envoy__Config__Listener__V3__FilterChain *m;
    const struct xds_at *at;
    bool is_default;
};

Headgate__Timeouts *listener_timeouts(struct listener_making *l) {
    if (!l->to->timeouts)
        l->to->timeouts = making_new(l->making, &headgate__timeouts__descriptor);
    return l->to->timeouts;
}

/* NULL: plaintext, or after an error. A socket that only has the name of TLS is none of plaintext. */
static ProtobufCMessage *open_socket(struct making *m, const struct xds_at *at,
                                     const Envoy__Config__Core__V3__TransportSocket *socket) {
    if (socket && socket->typed_config)
        return making_open(m, at, socket->typed_config);
    if (socket && strcmp(socket->name, XDS_RAW_BUFFER) != 0)
        making_refuse(m, at, ERROR_MISSING, "is missing");
    return NULL;
}

/* The context of a chain's TLS, or NULL: plaintext, or after an error. */
static Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext *
open_tls(struct listener_making *l, const struct chain *c, const struct xds_at *at, bool is_first) {
    ProtobufCMessage *opened = open_socket(l->making, at, c->m->transport_socket);
    bool is_quic = opened && opened->descriptor == xds_read_quic_transport.type;
    if (is_quic != l->is_quic) {
        making_unsupported(l->making, at,
                           l->is_quic ? "that of QUIC is QuicDownstreamTransport" : "it is that of QUIC, over UDP");
        return NULL;
    }
    if (is_quic)
        return quic_tls(l, at, (const Envoy__Extensions__TransportSockets__Quic__V3__QuicDownstreamTransport *)opened,
                        is_first);
    bool is_tls = opened &&
                  opened->descriptor == &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor;
    return is_tls ? (Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext *)opened : NULL;
}

static void check_alpn(struct listener_making *l, const struct xds_at *at, const struct tls_alpn *alpn) {
    if (alpn->is_said && alpn->has_http3 != l->is_quic)
        making_unsupported(l->making, XDS_AT(at, "common_tls_context.alpn_protocols"),
                           "h3 is for QUIC, and for nothing else");
}

/* Nothing but the handshake turns a client away that a chain is not for. */
static void check_protocols(struct listener_making *l, const struct xds_at *at,
                            const Envoy__Config__Listener__V3__FilterChainMatch *match, const struct tls_alpn *alpn) {
    struct tls_alpn offered = *alpn, wanted = {0};
    if (l->is_quic)
        offered.is_said = offered.has_http3 = true;
    tls_read_alpn(l->making, at, "application_protocols", match->application_protocols, match->n_application_protocols,
                  &wanted);
    if (memcmp(&wanted, &offered, sizeof wanted) != 0)
        making_unsupported(l->making, XDS_AT(at, "application_protocols"),
                           "the transport socket does not offer the same by ALPN");
}

static void check_match(struct listener_making *l, const struct chain *c, bool has_tls, const struct tls_alpn *alpn) {
    struct making *m = l->making;
    const char *transport = l->is_quic ? "quic" : has_tls ? "tls" : "raw_buffer";
    const Envoy__Config__Listener__V3__FilterChainMatch *match = c->m->filter_chain_match;
    const struct xds_at *at = XDS_AT(c->at, "filter_chain_match");
    if (!match)
        return;
    if (match->transport_protocol[0] && strcmp(match->transport_protocol, transport) != 0)
        making_unsupported(m, XDS_AT(at, "transport_protocol"), "it is not that of the chain's transport socket");
    if (match->n_server_names && !has_tls)
        making_unsupported(m, XDS_AT(at, "server_names"), "without TLS there are none");
    if (match->n_application_protocols && !has_tls)
        making_unsupported(m, XDS_AT(at, "application_protocols"), "without TLS there are none");
    else if (match->n_application_protocols)
        check_protocols(l, at, match, alpn);
}

/* Appends the certificates of another chain, each once. */
static void add_certificates(struct making *m, Headgate__ServerTls *to, const Headgate__ServerTls *from) {
    char **names = making_array(m, to->n_certificates + from->n_certificates, sizeof *names);
    Headgate__CertificateFiles **files = making_array(m, to->n_certificates + from->n_certificates, sizeof *files);
    if (!names || !files)
        return;
    memcpy(names, to->certificates, to->n_certificates * sizeof *names);
    memcpy(files, to->certificate_files, to->n_certificate_files * sizeof *files);
    size_t count = to->n_certificates;
    for (size_t i = 0; i < from->n_certificates; i++) {
        bool is_known = false;
        for (size_t k = 0; k < to->n_certificates && !is_known; k++)
            is_known = strcmp(to->certificates[k], from->certificates[i]) == 0;
        if (is_known)
            continue;
        files[count] = from->n_certificate_files ? from->certificate_files[i] : NULL;
        names[count++] = from->certificates[i];
    }
    to->certificates = names;
    to->n_certificates = count;
    if (to->n_certificate_files || from->n_certificate_files) {
        to->certificate_files = files;
        to->n_certificate_files = count;
    }
}

/* All but the certificates must be the same, since a handshake begins before the chain is known. */
static bool has_same_rules(struct making *m, const Headgate__ServerTls *a, const Headgate__ServerTls *b) {
    Headgate__ServerTls rules[2] = {*a, *b};
    uint8_t *bytes[2] = {NULL, NULL};
    size_t sizes[2];
    bool is_same = false;
    for (int i = 0; i < 2; i++) {
        rules[i].n_certificates = rules[i].n_certificate_files = 0;
        sizes[i] = protobuf_c_message_get_packed_size(&rules[i].base);
        bytes[i] = making_array(m, sizes[i], 1);
        if (bytes[i])
            protobuf_c_message_pack(&rules[i].base, bytes[i]);
    }
    if (bytes[0] && bytes[1])
        is_same = sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) == 0;
    return is_same;
}

static void chain_tls(struct listener_making *l, const struct chain *c, bool is_first) {
    const struct xds_at *socket = XDS_AT(XDS_AT(c->at, "transport_socket"), "typed_config");
    const struct xds_at *inner = XDS_AT(socket, "downstream_tls_context"), *at = l->is_quic ? inner : socket;
    struct tls_alpn alpn = {0};
    Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext *context = open_tls(l, c, socket, is_first);
    Headgate__ServerTls *tls = context ? tls_make_server(l->making, at, context, &alpn) : NULL;
    check_alpn(l, at, &alpn);
    check_match(l, c, context != NULL, &alpn);
    if (is_first) {
        l->to->tls = tls;
        l->has_tls = context != NULL;
        l->alpn = alpn;
    } else if (l->has_tls != (context != NULL)) {
        making_unsupported(l->making, c->at, "all chains of a listener have TLS, or none");
    } else if (tls && l->to->tls) {
        if (!has_same_rules(l->making, l->to->tls, tls) || memcmp(&alpn, &l->alpn, sizeof alpn) != 0)
            making_unsupported(l->making, at, "the chains of a listener differ by their certificates alone");
        add_certificates(l->making, l->to->tls, tls);
    }
}

static bool has_same_filters(const struct chain *a, const struct chain *b) {
    const Google__Protobuf__Any *x = a->m->n_filters == 1 ? a->m->filters[0]->typed_config : NULL;
    const Google__Protobuf__Any *y = b->m->n_filters == 1 ? b->m->filters[0]->typed_config : NULL;
    return x && y && strcmp(x->type_url, y->type_url) == 0 && x->value.len == y->value.len &&
           (x->value.len == 0 || memcmp(x->value.data, y->value.data, x->value.len) == 0);
}

static void chain_filter(struct listener_making *l, const struct chain *c) {
    const struct xds_at *at = XDS_AT(XDS_AT_ITEM(c->at, "filters", 0), "typed_config");
    if (c->m->n_filters != 1 || !c->m->filters[0]->typed_config) {
        making_refuse(l->making, XDS_AT(c->at, "filters"), ERROR_UNSUPPORTED,
                      "are %zu; one HttpConnectionManager or TcpProxy is possible", c->m->n_filters);
        return;
    }
    ProtobufCMessage *m = making_open(l->making, at, c->m->filters[0]->typed_config);
    if (!m)
        return;
    if (m->descriptor == xds_read_http_manager.type)
        listener_http(
            l, at,
            (const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager *)m);
    else if (l->is_quic)
        making_unsupported(l->making, at, "over UDP only HTTP/3 is served");
    else
        listener_tcp(l, at, (const Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy *)m);
}

/* Whether a client whose name no chain expects is turned away. */
static bool expects_names(const struct chain *chains, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const Envoy__Config__Listener__V3__FilterChainMatch *match = chains[i].m->filter_chain_match;
        if (chains[i].is_default || !match || match->n_server_names == 0)
            return false;
    }
    return true;
}

/* 0: nothing is said. */
static uint64_t chain_time(struct listener_making *l, const struct chain *c) {
    uint64_t time = 0;
    protobuf_c_boolean has_time = false;
    value_duration(l->making, XDS_AT(c->at, "transport_socket_connect_timeout"), c->m->transport_socket_connect_timeout,
                   XDS_MS, XDS_DAY, &has_time, &time);
    return time;
}

static void set_handshake_time(struct listener_making *l, uint64_t time) {
    if (time == 0 || !listener_timeouts(l))
        return;
    l->to->timeouts->has_handshake = true;
    l->to->timeouts->handshake = time;
}

static void make_chains(struct listener_making *l, const struct chain *chains, size_t count) {
    uint64_t time = chain_time(l, &chains[0]);
    for (size_t i = 0; i < count; i++) {
        chain_tls(l, &chains[i], i == 0);
        if (i && !has_same_filters(&chains[0], &chains[i]))
            making_unsupported(l->making, XDS_AT(chains[i].at, "filters"), "the chains of a listener have the same filters");
        if (i && chain_time(l, &chains[i]) != time)
            making_unsupported(l->making, XDS_AT(chains[i].at, "transport_socket_connect_timeout"),
                               "the chains of a listener have the same");
    }
    if (l->to->tls && expects_names(chains, count))
        l->to->tls->has_require_sni_match = l->to->tls->require_sni_match = true;
    set_handshake_time(l, time);
    chain_filter(l, &chains[0]);
}

/* The chain for everybody first: its certificate is what a client without a name gets. */
static void chains(struct listener_making *l, const Envoy__Config__Listener__V3__Listener *from) {
    size_t count = 0, all = from->n_filter_chains + (from->default_filter_chain != NULL);
    if (all == 0 || all > CHAINS_MAX) {
        making_refuse(l->making, XDS_AT(NULL, "filter_chains"), ERROR_RANGE, "are %zu; 1 to %d are possible",
                      all, CHAINS_MAX);
        return;
    }
    struct chain *list = making_array(l->making, all, sizeof *list);
    struct xds_at *places = making_array(l->making, all, sizeof *places);
    if (!list || !places)
        return;
    if (from->default_filter_chain) {
        places[0] = *XDS_AT(NULL, "default_filter_chain");
        list[count++] = (struct chain){from->default_filter_chain, &places[0], true};
    }
    for (size_t i = 0; i < from->n_filter_chains; i++, count++) {
        places[count] = *XDS_AT_ITEM(NULL, "filter_chains", i);
        list[count] = (struct chain){from->filter_chains[i], &places[count], false};
    }
    make_chains(l, list, count);
}

/* ---- the rest ---- */

/* Envoy believes whoever connects, and wants the header of everybody. */
static void accept_proxy_protocol(struct making *m, Headgate__Listener *to) {
    Headgate__ProxyProtocol *p = making_new(m, &headgate__proxy_protocol__descriptor);
    if (!p || !(p->trusted = making_array(m, 2, sizeof *p->trusted)))
        return;
    p->has_mode = true;
    p->mode = HEADGATE__PROXY_PROTOCOL__MODE__ACCEPT;
    p->trusted[p->n_trusted++] = (char *)"0.0.0.0/0";
    p->trusted[p->n_trusted++] = (char *)"::/0";
    to->proxy_protocol = p;
}

static void listener_filters(struct making *m, const Envoy__Config__Listener__V3__Listener *from, Headgate__Listener *to) {
    for (size_t i = 0; i < from->n_listener_filters; i++) {
        const struct xds_at *at = XDS_AT(XDS_AT_ITEM(NULL, "listener_filters", i), "typed_config");
        const Google__Protobuf__Any *any = from->listener_filters[i]->typed_config;
        const ProtobufCMessage *opened = any ? making_open(m, at, any) : NULL;
        if (!any)
            making_refuse(m, at, ERROR_MISSING, "is missing");
        else if (opened && opened->descriptor == proxy_table.type)
            accept_proxy_protocol(m, to);
    }
}

static void handshake_time(struct listener_making *l, const Envoy__Config__Listener__V3__Listener *from) {
    uint64_t timeout = 0;
    protobuf_c_boolean has = false;
    value_duration(l->making, XDS_AT(NULL, "listener_filters_timeout"), from->listener_filters_timeout, 0, XDS_DAY, &has,
                   &timeout);
    if (has && listener_timeouts(l) && !l->to->timeouts->has_handshake)
        set_handshake_time(l, timeout ? timeout : XDS_DAY);
}

static void make_listener(struct listener_making *l, const Envoy__Config__Listener__V3__Listener *from) {
    struct making *m = l->making;
    listener_udp(l, XDS_AT(NULL, "udp_listener_config"), from->udp_listener_config);
    addresses(l, from);
    if (from->bind_to_port && !from->bind_to_port->value)
        making_unsupported(m, XDS_AT(NULL, "bind_to_port"), "connections cannot come from another listener");
    if (from->tcp_backlog_size)
        value_number(m, XDS_AT(NULL, "tcp_backlog_size"),
                     from->tcp_backlog_size->value > BACKLOG_MAX ? BACKLOG_MAX
                                                                 : from->tcp_backlog_size->value,
                     1, BACKLOG_MAX, &l->to->has_backlog, &l->to->backlog);
    listener_filters(m, from, l->to);
    chains(l, from);
    handshake_time(l, from);
    making_emit(m, HEADGATE__KIND__KIND_LISTENER, l->name, &l->to->base);
}

int xds_translate_listener(const Envoy__Config__Listener__V3__Listener *from, const struct xds_scopes *scopes,
                           struct xds_made *ret, struct error_list *errors) {
    struct making m;
    if (making_begin(&m, &xds_read_listener, &from->base, "listener", from->name, ret, errors) == 0) {
        struct listener_making l = {
            .making = &m, .to = making_new(&m, &headgate__listener__descriptor),
            .name = making_name(&m, XDS_AT(NULL, "name"), from->name), .server_name = from->name,
            .scopes = scopes ? scopes->items : NULL, .scope_count = scopes ? scopes->count : 0,
        };
        if (l.to && l.name)
            make_listener(&l, from);
    }
    return making_end(&m);
}
