/* An explanation as text for people and as JSON. */
#include <inttypes.h>

#include "controlplane/admin/explain.h"

enum { ENDPOINTS_SHOWN = 16 };

/* ---- text ---- */

static void print_request(const struct explained *x, struct strbuf *out) {
    strbuf_printf(out, "request      %.*s %.*s://%.*s%.*s%s%.*s\n", STR_FMT(x->method), STR_FMT(x->scheme),
                  STR_FMT(x->authority), STR_FMT(x->path), x->has_query ? "?" : "", STR_FMT(x->query));
    if (x->listener)
        strbuf_printf(out, "listener     %s%s%s%s\n", x->listener, x->listener_note ? " (" : "",
                      x->listener_note ? x->listener_note : "", x->listener_note ? ")" : "");
    if (x->scope)
        strbuf_printf(out, "scope        %s%s\n", x->scope, x->route_table ? "" : ", and no scope is for that");
    if (x->route_table)
        strbuf_printf(out, "route table  %s\n", x->route_table);
}

static void print_rules(const struct explained *x, struct strbuf *out) {
    for (size_t i = 0; i < x->route.rule_count; i++) {
        const struct route_explained_rule *r = &x->route.rules[i];
        const char *name = x->table->hosts[r->host]->rules[r->rule]->name;
        strbuf_printf(out, "  hosts[%u].rules[%u]%s%s%s  ", r->host, r->rule, name ? " (" : "",
                      name ? name : "", name ? ")" : "");
        if (r->matches)
            strbuf_puts(out, "matches\n");
        else
            strbuf_printf(out, "no: %.*s\n", STR_FMT(r->why_not));
    }
}

static void print_endpoints(const struct explained_cluster *c, struct strbuf *out) {
    size_t count = c->endpoints ? c->endpoints->n_endpoints : 0;
    for (size_t i = 0; i < count && i < ENDPOINTS_SHOWN; i++)
        strbuf_printf(out, "  endpoint   %s, weight %" PRIu32 "\n", c->endpoints->endpoints[i]->address,
                      c->endpoints->endpoints[i]->weight);
    if (count > ENDPOINTS_SHOWN)
        strbuf_printf(out, "  and %zu more\n", count - ENDPOINTS_SHOWN);
    if (count == 0)
        strbuf_puts(out, "  no endpoint: 503\n");
}

static void print_timeout(struct strbuf *out, const char *name, uint64_t us) {
    if (us)
        strbuf_printf(out, " %s %" PRIu64 " ms", name, us / 1000);
}

static void print_forward(const struct explained *x, struct strbuf *out) {
    const struct route *route = x->route.match.route;
    for (size_t i = 0; i < x->cluster_count; i++) {
        const struct explained_cluster *c = &x->clusters[i];
        strbuf_printf(out, "cluster      %s", c->name);
        if (x->cluster_count > 1)
            strbuf_printf(out, ", weight %" PRIu32, c->weight);
        strbuf_puts(out, c->is_missing ? ", which does not exist\n" : "\n");
        print_endpoints(c, out);
    }
    strbuf_printf(out, "origin sees  %.*s %.*s, Host: %.*s\n", STR_FMT(x->method), STR_FMT(x->target),
                  STR_FMT(x->origin_host.n ? x->origin_host : STR("the endpoint's")));
    strbuf_puts(out, "timeouts    ");
    print_timeout(out, "connect", route->timeouts.connect);
    print_timeout(out, "response-head", route->timeouts.response_head);
    print_timeout(out, "request", route->timeouts.request);
    strbuf_putc(out, '\n');
    if (route->retry.retries)
        strbuf_printf(out, "retries      %" PRIu32 "\n", route->retry.retries);
}

static void print_changes(const char *what, const struct explained_change *changes, size_t count, struct strbuf *out) {
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%-12s %s %.*s%s%.*s%s\n", what, changes[i].action, STR_FMT(changes[i].name),
                      changes[i].value.n ? ": " : "", STR_FMT(changes[i].value),
                      changes[i].is_made ? "" : ", which changes nothing");
}

static void print_action(const struct explained *x, struct strbuf *out) {
    const struct route *route = x->route.match.route;
    if (!route) {
        strbuf_puts(out, x->route.match.limit_hit ? "answer       500: whether the last rule matches is not known\n"
                                                  : "answer       404: no rule matches\n");
        return;
    }
    switch (route->action) {
    case ROUTE_RESPOND:
        strbuf_printf(out, "answer       %" PRIu32 ", from the gateway\n", route->rule->respond->status);
        break;
    case ROUTE_REDIRECT:
        strbuf_printf(out, "answer       %" PRIu32 ", Location: %.*s\n", route->rule->redirect->status,
                      STR_FMT(x->location));
        break;
    case ROUTE_FORWARD: print_forward(x, out); break;
    }
    print_changes("request", x->request_changes, x->request_change_count, out);
    print_changes("response", x->response_changes, x->response_change_count, out);
}

void explained_print(const struct explained *x, struct strbuf *out) {
    print_request(x, out);
    if (!x->route_table) {
        strbuf_puts(out, "answer       404\n");
        return;
    }
    if (x->path_error != PATH_OK) {
        strbuf_printf(out, "answer       400: the path is refused (%s)\n", path_error_word(x->path_error));
        return;
    }
    if (!str_eq(x->path, x->canonical))
        strbuf_printf(out, "path         %.*s, in canonical form\n", STR_FMT(x->canonical));
    if (x->route.has_host)
        strbuf_printf(out, "host         hosts[%" PRIu32 "], by \"%.*s\"\n", x->route.host,
                      STR_FMT(x->route.domain));
    else
        strbuf_puts(out, "host         none has this name\n");
    print_rules(x, out);
    print_action(x, out);
}

/* ---- JSON ---- */

static void add_key(struct strbuf *out, const char *key, struct str value) {
    strbuf_printf(out, ",\"%s\":", key);
    strbuf_add_json(out, value);
}

static void add_rules(const struct explained *x, struct strbuf *out) {
    strbuf_puts(out, ",\"rules\":[");
    for (size_t i = 0; i < x->route.rule_count; i++) {
        const struct route_explained_rule *r = &x->route.rules[i];
        strbuf_printf(out, "%s{\"host\":%" PRIu32 ",\"rule\":%" PRIu32 ",\"matches\":%s", i ? "," : "",
                      r->host, r->rule, r->matches ? "true" : "false");
        if (!r->matches)
            add_key(out, "why_not", r->why_not);
        strbuf_putc(out, '}');
    }
    strbuf_putc(out, ']');
}

static void add_cluster(const struct explained_cluster *c, struct strbuf *out) {
    strbuf_puts(out, "{\"name\":");
    strbuf_add_json(out, str_of(c->name));
    strbuf_printf(out, ",\"weight\":%" PRIu32 ",\"endpoints\":[", c->weight);
    for (size_t i = 0; c->endpoints && i < c->endpoints->n_endpoints; i++) {
        strbuf_puts(out, i ? ",{\"address\":" : "{\"address\":");
        strbuf_add_json(out, str_of(c->endpoints->endpoints[i]->address));
        strbuf_printf(out, ",\"weight\":%" PRIu32 "}", c->endpoints->endpoints[i]->weight);
    }
    strbuf_puts(out, "]}");
}

static void add_forward(const struct explained *x, struct strbuf *out) {
    strbuf_puts(out, ",\"clusters\":[");
    for (size_t i = 0; i < x->cluster_count; i++) {
        strbuf_puts(out, i ? "," : "");
        add_cluster(&x->clusters[i], out);
    }
    strbuf_putc(out, ']');
    add_key(out, "target", x->target);
    if (x->origin_host.n)
        add_key(out, "origin_host", x->origin_host);
}

static void add_changes(const char *key, const struct explained_change *changes, size_t count, struct strbuf *out) {
    if (!count)
        return;
    strbuf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < count; i++) {
        strbuf_printf(out, "%s{\"action\":\"%s\",\"name\":", i ? "," : "", changes[i].action);
        strbuf_add_json(out, changes[i].name);
        strbuf_puts(out, ",\"value\":");
        strbuf_add_json(out, changes[i].value);
        strbuf_printf(out, ",\"is_made\":%s}", changes[i].is_made ? "true" : "false");
    }
    strbuf_puts(out, "]");
}

static void add_action(const struct explained *x, struct strbuf *out) {
    const struct route *route = x->route.match.route;
    if (!route) {
        strbuf_puts(out, x->route.match.limit_hit ? ",\"status\":500" : ",\"status\":404");
        return;
    }
    add_key(out, "route", route->name);
    switch (route->action) {
    case ROUTE_RESPOND: strbuf_printf(out, ",\"status\":%" PRIu32, route->rule->respond->status); break;
    case ROUTE_REDIRECT:
        strbuf_printf(out, ",\"status\":%" PRIu32, route->rule->redirect->status);
        add_key(out, "location", x->location);
        break;
    case ROUTE_FORWARD: add_forward(x, out); break;
    }
    add_changes("request_changes", x->request_changes, x->request_change_count, out);
    add_changes("response_changes", x->response_changes, x->response_change_count, out);
}

void explained_print_json(const struct explained *x, struct strbuf *out) {
    strbuf_puts(out, "{\"method\":");
    strbuf_add_json(out, x->method);
    if (x->listener)
        add_key(out, "listener", str_of(x->listener));
    if (x->scope)
        add_key(out, "scope", str_of(x->scope));
    if (x->route_table)
        add_key(out, "route_table", str_of(x->route_table));
    if (!x->route_table) {
        strbuf_puts(out, ",\"status\":404");
    } else if (x->path_error != PATH_OK) {
        strbuf_puts(out, ",\"status\":400");
        add_key(out, "path_error", str_of(path_error_word(x->path_error)));
    } else {
        add_key(out, "path", x->canonical);
        if (x->route.has_host)
            add_key(out, "domain", x->route.domain);
        add_rules(x, out);
        add_action(x, out);
    }
    strbuf_puts(out, "}\n");
}
