#include <stdio.h>

#include "controlplane/config/message/fill.h"
#include "controlplane/config/schema/schema_http3.h"
#include "controlplane/config/schema/schema_listener.h"
#include "controlplane/config/schema/schema_quic_pass.h"
#include "dataplane/routing/scopes.h"

static void conflict(struct fill *f, const struct fill_at *at, const char *key, const char *message, const char *expected) {
    struct fill_at below = fill_down(at, key);
    error_set_expected(f->errors, fill_report_key(f, &below, ERROR_CONFLICT, "%s", message), expected, NULL);
}

/* Whether it serves that, also by default. */
static bool speaks(const Headgate__Listener *listener, Headgate__Listener__Protocol protocol) {
    for (size_t i = 0; i < listener->n_protocols; i++)
        if (listener->protocols[i] == protocol)
            return true;
    return listener->n_protocols == 0 && (protocol == HEADGATE__LISTENER__PROTOCOL__HTTP1 ||
                                          (protocol == HEADGATE__LISTENER__PROTOCOL__HTTP2 && listener->tls));
}

/* ---- TCP ---- */

void check_tcp(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__TcpProxy *tcp = (const Headgate__TcpProxy *)m;
    for (size_t i = 0; i < tcp->n_clusters; i++)
        if (tcp->clusters[i]->weight)
            return;
    struct fill_at clusters = fill_down(at, "clusters");
    fill_report(f, &clusters, ERROR_RANGE, "every weight is 0, so no cluster gets a connection");
}

static void warn_of(struct fill *f, const struct fill_at *at, const char *key) {
    struct fill_at below = fill_down(at, key);
    fill_warn(f, &below, "%s has no effect: on a listener with tcp there are no requests", key);
}

/* What is about requests. */
static void check_beside_tcp(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    const Headgate__Timeouts *timeouts = listener->timeouts;
    struct fill_at at_timeouts = fill_down(at, "timeouts");
    if (listener->n_protocols)
        conflict(f, at, "protocols", "a listener with tcp relays whatever is spoken", "route-table instead of tcp");
    static const char *const keys[] = {"http2", "http3", "quic", "alt-svc"};
    const bool is_there[] = {listener->http2 != NULL, listener->http3 != NULL, listener->quic != NULL,
                             listener->alt_svc != NULL};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_there[i])
            conflict(f, at, keys[i], "a listener with tcp relays whatever is spoken", "route-table instead of tcp");
    if (timeouts && timeouts->has_header)
        warn_of(f, &at_timeouts, "header");
    if (timeouts && timeouts->has_idle)
        warn_of(f, &at_timeouts, "idle");
}

/* ---- scopes ---- */

/* "scoped_routes.scopes[3].key" in the tree, as far as it goes. */
static void report_scope(struct fill *f, const struct fill_at *at, const struct error *e) {
    char list[16] = "", field[16] = "";
    unsigned index = 0;
    if (!e->path || sscanf(e->path, "scoped_routes.%15[a-z][%u].%15[a-z_]", list, &index, field) != 3) {
        fill_report(f, at, e->code, "%s", e->message);
        return;
    }
    struct fill_at below = fill_down(at, list), item = fill_down_to(&below, index), found = fill_down(&item, field);
    fill_report(f, &found, e->code, "%s", e->message);
}

/* As data planes see them. */
void check_scoped_routes(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    struct error_list errors = {0};
    struct arena arena = {0};
    if (!scope_table_build((const Headgate__ScopedRoutes *)m, "", &arena, &errors) && errors.count == 0)
        fill_out_of_memory(f);
    for (size_t i = 0; i < errors.count; i++)
        report_scope(f, at, &errors.items[i]);
    error_list_finish(&errors);
    arena_finish(&arena);
}

/* ---- addresses ---- */

/* Each listener with port 0 is given a port of its own. */
static bool is_port_picked(struct str text) {
    return str_ends(text, STR(":0")) && !str_starts(text, STR("unix:"));
}

static bool is_free(struct fill *f, const struct fill_at *at, const char *transport, const char *address) {
    char *key = arena_printf(f->arena, "%s %s", transport, address);
    if (!key)
        fill_out_of_memory(f);
    return key && fill_is_first(f, at, str_of(key), str_of(address));
}

/* An address can be one listener's for TCP and another's for UDP. */
static void check_addresses(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    struct fill_at addresses = fill_down(at, "address");
    bool is_pass_alone = listener->quic_pass && !listener->route_table && !listener->scoped_routes && !listener->tcp;
    bool is_udp = listener->quic_pass || (!listener->tcp && speaks(listener, HEADGATE__LISTENER__PROTOCOL__HTTP3));
    bool is_tcp = !is_pass_alone && (speaks(listener, HEADGATE__LISTENER__PROTOCOL__HTTP1) ||
                                     speaks(listener, HEADGATE__LISTENER__PROTOCOL__HTTP2));
    for (size_t i = 0; i < listener->n_addresses; i++) {
        const char *address = listener->addresses[i];
        struct fill_at one = addresses.node->type == TREE_LIST ? fill_down_to(&addresses, i) : addresses;
        if (!is_port_picked(str_of(address)) && (!is_tcp || is_free(f, &one, "tcp", address)) && is_udp)
            is_free(f, &one, "udp", address);
    }
}

/* ---- the listener ---- */

static void check_requests(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    if (listener->http2 && !speaks(listener, HEADGATE__LISTENER__PROTOCOL__HTTP2))
        conflict(f, at, "http2", "the listener does not speak HTTP/2", "http2 among its protocols, or tls");
    if (speaks(listener, HEADGATE__LISTENER__PROTOCOL__HTTP3))
        check_http3(f, at, listener);
    else
        check_without_http3(f, at, listener);
    bool has_tcp = speaks(listener, HEADGATE__LISTENER__PROTOCOL__HTTP1) ||
                   speaks(listener, HEADGATE__LISTENER__PROTOCOL__HTTP2);
    if (listener->alt_svc && !has_tcp)
        conflict(f, at, "alt-svc", "the listener has no responses over HTTP/1.1 or HTTP/2 to say it",
                 "http1 or http2 beside http3");
}

static void report_incomplete(struct fill *f, const struct fill_at *at) {
    struct error *e = fill_report(f, at, ERROR_MISSING, "the listener is not complete");
    error_set_expected(f->errors, e, "route-table, scoped-routes, tcp or quic-pass", NULL);
}

void check_listener(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Listener *listener = (const Headgate__Listener *)m;
    check_addresses(f, at, listener);
    if (listener->quic_pass)
        check_beside_quic_pass(f, at, listener);
    if (listener->tcp)
        check_beside_tcp(f, at, listener);
    else if (listener->route_table || listener->scoped_routes)
        check_requests(f, at, listener);
    else if (!listener->quic_pass)
        report_incomplete(f, at);
}
