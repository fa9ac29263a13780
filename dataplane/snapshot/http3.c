#include "dataplane/snapshot/http3.h"

#include <stdio.h>

#include "dataplane/snapshot/listen_sockets.h"
#include "dataplane/snapshot/quic_options.h"

enum { UDP_PAYLOAD_MIN = 1200, UDP_PAYLOAD_MAX = 65527 }; /* RFC 9000 sections 14 and 18.2 */

static int fault(struct error_list *errors, const char *name, const char *path, enum error_code code, const char *message) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "listener/%s", name);
    error_set_resource(errors, error_addf(errors, code, "%s", message), resource, path);
    return -1;
}

static bool has_unix_address(const Headgate__Listener *m) {
    for (size_t i = 0; i < m->n_addresses; i++)
        if (str_starts(str_of(m->addresses[i]), STR("unix:")))
            return true;
    return false;
}

static int check_quic(const Headgate__QuicOptions *m, const char *name, struct error_list *errors) {
    if (!m)
        return 0;
    if (m->max_udp_payload < UDP_PAYLOAD_MIN || m->max_udp_payload > UDP_PAYLOAD_MAX)
        return fault(errors, name, "quic.max_udp_payload", ERROR_RANGE, "between 1200 and 65527 bytes are possible");
    if (m->max_handshakes == 0)
        return fault(errors, name, "quic.max_handshakes", ERROR_RANGE, "at least 1 is needed");
    return 0;
}

static int build_transport(const Headgate__Listener *m, const char *name, struct listener_definition *d,
                           struct error_list *errors) {
    if (!m->tls || m->tls->max_version < HEADGATE__TLS_VERSION__TLS_1_3)
        return fault(errors, name, "protocols", ERROR_CONFLICT, "there is no HTTP/3 without TLS 1.3");
    if (has_unix_address(m))
        return fault(errors, name, "addresses", ERROR_CONFLICT, "there is no HTTP/3 at a Unix-domain address");
    if (check_quic(m->quic, name, errors) < 0)
        return -1;
    http3_options_init(&d->http3, m->http3, d->settings->limits.header_bytes);
    if (quic_options_init(&d->quic, m->quic, m->http3, d->timeouts.handshake) < 0)
        return fault(errors, name, "quic.server_id", ERROR_RANGE, "the server id, its nonce or its key cannot be used");
    if (d->quic.initial_stream_window > d->settings->limits.buffer)
        d->quic.initial_stream_window = (uint32_t)d->settings->limits.buffer;
    return 0;
}

/* ---- Alt-Svc ---- */

/* Its port is known once the address is bound. */
struct unnamed_port {
    struct unnamed_port        *next;
    struct listener_definition *definition;
    const Headgate__AltSvc     *message;
    struct address              address;
};

static int say(struct snapshot *s, struct listener_definition *d, const Headgate__AltSvc *m, unsigned port) {
    char *text = arena_printf(&s->arena, "h3=\":%u\"; ma=%llu%s", port, (unsigned long long)(m->max_age / 1000000),
                              m->persist ? "; persist=1" : "");
    d->alt_svc = str_of(text ? text : "");
    return text ? 0 : -1;
}

static int say_later(struct snapshot *s, struct listener_definition *d, const Headgate__AltSvc *m, const struct address *a) {
    struct unnamed_port *u = arena_alloc(&s->arena, sizeof *u);
    if (!u)
        return -1;
    *u = (struct unnamed_port){s->unnamed_ports, d, m, *a};
    s->unnamed_ports = u;
    return 0;
}

static int build_alt_svc(struct snapshot *s, const Headgate__Listener *m, const char *name, struct listener_definition *d,
                         struct error_list *errors) {
    struct address a;
    if (m->alt_svc->has_port)
        return say(s, d, m->alt_svc, m->alt_svc->port);
    if (m->n_addresses == 0 || address_parse(str_of(m->addresses[0]), &a) < 0)
        return -1; /* which has been said */
    if (a.u.any.sa_family == AF_UNIX)
        return fault(errors, name, "alt_svc.port", ERROR_MISSING, "a Unix-domain address has no port");
    return address_port(&a) ? say(s, d, m->alt_svc, address_port(&a)) : say_later(s, d, m->alt_svc, &a);
}

int snapshot_name_ports(struct snapshot *s, const struct listen_sockets *sockets) {
    int status = 0;
    for (struct unnamed_port *u = s->unnamed_ports; u; u = u->next) {
        const struct address *bound = listen_socket_bound(sockets, &u->address);
        if (bound)
            status |= say(s, u->definition, u->message, address_port(bound));
    }
    return status;
}

int snapshot_build_http3(struct snapshot *s, const Headgate__Listener *m, const char *name, struct listener_definition *d,
                         struct error_list *errors) {
    int status = d->opening.http3 ? build_transport(m, name, d, errors) : 0;
    return m->alt_svc ? status | build_alt_svc(s, m, name, d, errors) : status;
}
