/* tunnel.c — exchanges that become tunnels: CONNECT (RFC 9110 section 9.3.6), Upgrade (section 7.8), WebSocket (RFC 6455),
 * extended CONNECT (RFC 8441); and connections that are relayed, which are tunnels from their first byte.
 *
 * A request that asks for one is whole with its head; what comes behind it waits until the origin has agreed with a head of
 * status 101, whatever the version. From then on both flows carry bytes as they are, the end of a flow is a half-close, and
 * only the idle deadline remains. docs/internals/exchange.md, "Tunnels". */
#include "dataplane/http/exchange_private.h"

/* RFC 9113 section 8.1: HTTP/2 within HTTP/1.1 by Upgrade is no more. */
static bool is_another_http(struct str token) {
    return str_eq_nocase(token, STR("h2c")) || (token.n > 5 && str_eq_nocase((struct str){token.p, 5}, STR("http/")));
}

bool tunnel_is_asked(const struct exchange *x, const struct head *head) {
    return head->upgrade.n && x->route && x->route->action == ROUTE_FORWARD && !is_another_http(head->upgrade) &&
           route_allows_upgrade(x->route, head->upgrade);
}

enum abort_code tunnel_ask(struct exchange *x, struct head *head) {
    if (head->method != METHOD_CONNECT && !tunnel_is_asked(x, head)) {
        bool is_extended_connect = head->upgrade.n && x->log_version >= 20; /* RFC 9220 section 3: 501 */
        head->upgrade = (struct str){NULL, 0};
        return is_extended_connect ? ABORT_METHOD_NOT_IMPLEMENTED : ABORT_NONE;
    }
    x->tunnel = TUNNEL_ASKED;
    x->withholds_credit = true;
    return ABORT_NONE;
}

/* Nobody said anything. What is behind looks at a head all the same, and this one asks for nothing but a tunnel. The table
 * of such a listener has one rule, for everything (snapshot/tcp_rule.h). */
void exchange_on_connection(struct leg *leg) {
    struct exchange *x = leg->exchange;
    struct head *head = arena_alloc(&x->arena, sizeof *head);
    if (!head) {
        exchange_fail(x, ABORT_MEMORY);
        return;
    }
    head_init(head);
    head->method = METHOD_CONNECT;
    head->form = TARGET_AUTHORITY;
    struct route_request request = {.method = STR("CONNECT"), .fields = &head->fields};
    x->routes = x->listener->routes;
    route_table_match(x->routes->table, &request, x->worker->route_scratch, &x->match);
    x->route = x->match.route;
    x->request.head = head;
    x->log_method = STR("TCP");
    exchange_note_ends(x);
    x->tunnel = TUNNEL_ASKED;
    x->withholds_credit = true;
    flow_advance(&x->request, FLOW_BODY);
    exchange_enter_layers(x, 0);
}

/* ---- the answer */

/* By their keys their logs are found. */
static bool copy_log_services(struct exchange *x, struct listener_definition *to) {
    unsigned n = x->listener->log_service_count;
    const struct log_service **list = arena_calloc(&x->arena, n, sizeof *list);
    struct log_service *copies = arena_calloc(&x->arena, n, sizeof *copies);
    bool ok = list && copies;
    for (unsigned i = 0; ok && i < n; i++) {
        copies[i].key = arena_str(&x->arena, x->listener->log_services[i]->key);
        ok = copies[i].key.p;
        list[i] = &copies[i];
    }
    to->log_services = list;
    to->log_service_count = n;
    return ok;
}

/* Of what the log says. */
static bool copy_from_snapshot(struct exchange *x) {
    struct listener_definition *d = arena_alloc(&x->arena, sizeof *d);
    struct settings *s = arena_alloc(&x->arena, sizeof *s);
    if (!d || !s)
        return false;
    *s = (struct settings){.limits = x->listener->settings->limits, .timeouts = x->listener->settings->timeouts,
                           .access_log_format = x->listener->settings->access_log_format};
    *d = (struct listener_definition){.name = arena_str(&x->arena, x->listener->name), .settings = s,
                                      .timeouts = x->listener->timeouts};
    struct str route = arena_str(&x->arena, x->route->name), cluster = arena_str(&x->arena, x->cluster);
    if (!d->name.p || !route.p || !cluster.p || !copy_log_services(x, d))
        return false;
    x->route_name = route;
    x->cluster = cluster;
    x->listener = d;
    x->routes = NULL;
    x->route = NULL;
    return true;
}

/* The client's connection may go before the exchange: what the log says of it, in its own texts or in a field. */
static bool let_client_go(struct exchange *x) {
    struct str peer = arena_str(&x->arena, x->peer), client = arena_str(&x->arena, x->client);
    struct field *f = fields_find(&x->request.head->fields, FIELD_X_FORWARDED_FOR);
    struct str forwarded = f ? arena_str(&x->arena, field_value(f)) : peer;
    if (!peer.p || !client.p || !forwarded.p)
        return false;
    x->peer = peer;
    x->client = client;
    if (f)
        f->value = forwarded.p; /* of the connection, or a rule's */
    x->tls = NULL;
    return true;
}

void tunnel_let_snapshot_go(struct exchange *x) {
    struct snapshot_view *view = x->view;
    x->keeps_view_for_head = false;
    if (!copy_from_snapshot(x))
        return;
    x->view = NULL;
    view_unref(x->worker, view);
}

static enum abort_code open_tunnel(struct exchange *x) {
    if (!let_client_go(x))
        return ABORT_MEMORY;
    x->tunnel_idle = x->route->timeouts.tunnel_idle;
    x->tunnel = TUNNEL_OPEN;
    x->request_deadline = 0;
    x->last_activity = x->worker->now;
    exchange_set_phase_deadline(x, x->tunnel_idle ? x->worker->now + x->tunnel_idle : 0);
    stats_add(&x->worker->stats->tunnels_total, !exchange_is_tcp(x));
    stats_add(&x->worker->stats->tunnels, !exchange_is_tcp(x));
    flow_turn_on_demand(x, &x->request);
    flow_turn_on_demand(x, &x->response);
    if (x->terminal->opened)
        x->terminal->opened(x);
    x->keeps_view_for_head = x->view && !x->layer_count;
    return ABORT_NONE;
}

uint16_t tunnel_status(const struct exchange *x) {
    if (exchange_is_tcp(x))
        return 0;
    return x->request.head->method == METHOD_CONNECT || x->log_version >= 20 ? 200 : 101;
}

/* The request is an ordinary one that has been answered. */
static void decline(struct exchange *x) {
    x->tunnel = TUNNEL_NONE;
    x->withholds_credit = false;
    x->request.pulled_end = true;
    flow_drop(x, &x->request);
    if (x->request.state != FLOW_BODY)
        return;
    flow_advance(&x->request, FLOW_END);
    if (x->request.source)
        x->request.source->ops->stop(x->request.source);
}

enum abort_code tunnel_answered(struct exchange *x, const struct head *head) {
    bool is_success = head->status >= 200 && head->status < 300;
    if (head->status == 101)
        return open_tunnel(x);
    decline(x);
    /* To an extended CONNECT any 2xx means that the tunnel is open; from an HTTP/1.1 origin it means that it is not. */
    return is_success && !x->is_reply && x->log_version >= 20 ? ABORT_ORIGIN_PROTOCOL : ABORT_NONE;
}

void tunnel_begin(struct exchange *x) {
    x->withholds_credit = false;
    flow_grant(x, &x->request);
    if (x->request.sink)
        x->request.sink->ops->want_pull(x->request.sink);
}

/* ---- the end */

/* RFC 9113 section 8.5, RFC 9114 section 4.4: an error of the origin's connection has a code of its own. */
enum abort_code tunnel_abort_code(const struct exchange *x, enum abort_code code) {
    bool is_reset = code == ABORT_ORIGIN_RESET || code == ABORT_ORIGIN_STREAM_RESET;
    return x->tunnel == TUNNEL_OPEN && is_reset ? ABORT_TUNNEL_CUT : code;
}

void tunnel_leave(struct exchange *x, struct leg *leg) {
    if (flow_of_source(x, leg)->state == FLOW_END && flow_of_sink(x, leg)->pulled_end)
        leg_detach(x, leg);
    if (!x->front && !x->back)
        exchange_over(x);
}

void tunnel_stop(struct exchange *x, struct leg *leg, struct flow *f) {
    struct leg *source = f->source;
    if (f->state == FLOW_BODY)
        flow_advance(f, FLOW_END);
    tunnel_leave(x, leg);
    if (source && !x->is_over)
        tunnel_leave(x, source);
}

void tunnel_on_deadline(struct exchange *x) {
    uint64_t until = x->last_activity + x->tunnel_idle;
    if (until <= x->worker->now)
        exchange_fail(x, ABORT_TUNNEL_IDLE);
    else
        exchange_set_phase_deadline(x, until);
}
