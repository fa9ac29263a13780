#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/listener.h"

enum { PORT_MAX = 65535 };

static const struct xds_fields socket_address = XDS_TABLE(envoy__config__core__v3__socket_address,
    XDS_NOTE("protocol", "TCP; UDP of a listener of QUIC"), XDS_NOTE("address", "an IP address"), XDS_READ("port_value"));

static const struct xds_fields pipe_address = XDS_TABLE(envoy__config__core__v3__pipe, XDS_READ("path"));

const struct xds_fields xds_read_listen_address = XDS_TABLE(envoy__config__core__v3__address,
    XDS_INSIDE("socket_address", &socket_address), XDS_INSIDE("pipe", &pipe_address));

static char *take_text(struct making *m, const struct xds_at *at, char *text) {
    struct str canonical = str_of(text);
    const char *fault = text ? text_address.check(&m->arena, canonical, &canonical) : NULL;
    if (fault) {
        making_refuse(m, at, ERROR_SYNTAX, "is \"%s\": %s", text, fault);
        return NULL;
    }
    if (!text)
        making_out_of_memory(m);
    return text ? making_text(m, canonical) : NULL;
}

static char *take_socket(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__SocketAddress *a,
                         bool is_udp) {
    if ((a->protocol == ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PROTOCOL__UDP) != is_udp) {
        making_unsupported(m, XDS_AT(at, "protocol"), is_udp ? "QUIC is over UDP" : "only TCP is");
        return NULL;
    }
    if (a->port_specifier_case != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE ||
        a->port_value > PORT_MAX) {
        making_refuse(m, XDS_AT(at, "port_value"), ERROR_RANGE, "is no port");
        return NULL;
    }
    bool is_v6 = strchr(a->address, ':') != NULL;
    return take_text(m, XDS_AT(at, "address"),
                     arena_printf(&m->arena, "%s%s%s:%u", is_v6 ? "[" : "", a->address, is_v6 ? "]" : "", a->port_value));
}

char *listen_address(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Address *address,
                     bool is_udp) {
    switch (address ? (int)address->address_case : 0) {
    case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS:
        return take_socket(m, XDS_AT(at, "socket_address"), address->socket_address, is_udp);
    case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_PIPE:
        return take_text(m, XDS_AT(at, "pipe.path"), arena_printf(&m->arena, "unix:%s", address->pipe->path));
    default: making_refuse(m, at, ERROR_MISSING, "there is no address"); return NULL;
    }
}
