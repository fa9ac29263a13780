/* What a rule does, with everything that it inherits. */
#include <stdio.h>

#include "dataplane/routing/authority.h"
#include "dataplane/routing/compiled.h"

enum { BODY_MAX = 1 << 20, RETRIES_MAX = 100, FIELD_PATH_MAX = 64, AUTHORITY_MAX = 262 };

/* ---- what is inherited */

static void inherit_timeouts(struct builder *b, const Headgate__Timeouts *own, struct timeouts *ret) {
    static const Headgate__Timeouts defaults = HEADGATE__TIMEOUTS__INIT;
    const Headgate__Timeouts *base = b->settings && b->settings->timeouts ? b->settings->timeouts : &defaults;
    *ret = (struct timeouts){
        .header = base->header,
        .idle = base->idle,
        .response_head = base->response_head,
        .connect = base->connect,
        .request = base->request,
        .response = base->response,
        .body = base->body,
        .response_body = base->response_body,
        .write = base->write,
        .drain = base->drain,
        .tunnel_idle = base->tunnel_idle,
        .handshake = base->handshake,
    };
    if (!own)
        return;
    if (own->has_header || own->has_idle || own->has_write || own->has_drain || own->has_handshake)
        build_fault(b, ERROR_UNSUPPORTED, "timeouts",
                    "request, response, response-head, body, response-body, connect or tunnel-idle",
                    "header, idle, write, drain and handshake timeouts have no meaning in a rule");
    ret->response = own->has_response ? own->response : ret->response;
    ret->request = own->has_request ? own->request : ret->request;
    ret->response_head = own->has_response_head ? own->response_head : ret->response_head;
    ret->body = own->has_body ? own->body : ret->body;
    ret->response_body = own->has_response_body ? own->response_body : ret->response_body;
    ret->connect = own->has_connect ? own->connect : ret->connect;
    ret->tunnel_idle = own->has_tunnel_idle ? own->tunnel_idle : ret->tunnel_idle;
}

static uint64_t inherit_body_limit(struct builder *b, const Headgate__Limits *own) {
    static const Headgate__Limits defaults = HEADGATE__LIMITS__INIT;
    const Headgate__Limits *base = b->settings && b->settings->limits ? b->settings->limits : &defaults;
    if (!own)
        return base->body;
    if (own->has_header_bytes || own->has_headers || own->has_connections_per_ip || own->has_uri_bytes || own->has_buffer ||
        own->has_worker_buffer || own->has_worker_sessions || own->has_connections ||
        own->has_requests_per_connection || own->has_min_body_rate || own->has_trailer_bytes)
        build_fault(b, ERROR_UNSUPPORTED, "limits", "body", "only the body limit has a meaning in a rule");
    return own->has_body ? own->body : base->body;
}

/* Names that only the gateway may set. */
static bool is_reserved(struct str name) {
    static const char *const names[] = {
        "connection", "content-length",    "host",    "keep-alive", "proxy-connection", "te",
        "trailer",    "transfer-encoding", "upgrade",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

static void check_header_field(struct builder *b, const Headgate__HeaderField *f, size_t number) {
    char field[FIELD_PATH_MAX];
    struct str name = str_of(f->name);
    snprintf(field, sizeof field, "respond.headers[%zu]", number);
    if (!field_name_is_valid(name))
        build_fault(b, ERROR_SYNTAX, field, "a field name in lower case", "\"%s\" is no field name", f->name ? f->name : "");
    else if (is_reserved(name))
        build_fault(b, ERROR_CONFLICT, field, NULL, "\"%s\" is set by the gateway alone", f->name);
    if (!f->value || !field_value_is_valid(str_of(f->value)))
        build_fault(b, ERROR_SYNTAX, field, "text without control bytes, and without white space at its ends",
                    "not a field value");
}

/* ---- changes of fields */

static void build_change(struct builder *b, const Headgate__HeaderChange *m, const char *field, bool is_response,
                         struct header_change *ret) {
    struct str name = str_of(m->name);
    if (!field_name_is_valid(name))
        build_fault(b, ERROR_SYNTAX, field, "a field name in lower case", "\"%s\" is no field name", m->name ? m->name : "");
    else if (is_reserved(name))
        build_fault(b, ERROR_CONFLICT, field, NULL, "\"%s\" is set by the gateway alone", m->name);
    if (m->value && !field_value_is_valid(str_of(m->value)))
        build_fault(b, ERROR_SYNTAX, field, "text without control bytes, and without white space at its ends",
                    "not a field value");
    const char *bad = header_change_build(&b->table->arena, m, is_response, ret);
    if (bad)
        build_fault(b, ERROR_SYNTAX, field, NULL, "%s", bad);
}

static void build_changes(struct builder *b, Headgate__HeaderChange *const *m, size_t n, const char *field, bool is_response,
                          struct header_changes *ret) {
    struct header_change *items = build_alloc(b, n, sizeof *items);
    if (n > HEADER_CHANGES_MAX)
        build_fault(b, ERROR_RANGE, field, "at most 256", "%zu are too many", n);
    for (size_t i = 0; items && i < n && n <= HEADER_CHANGES_MAX; i++) {
        char item[FIELD_PATH_MAX + 32];
        snprintf(item, sizeof item, "%s[%zu]", field, i);
        build_change(b, m[i], item, is_response, &items[i]);
    }
    *ret = (struct header_changes){items, (uint32_t)n};
}

/* ---- respond */

static void build_respond(struct builder *b, const Headgate__Respond *m, struct rule *rule) {
    rule->route.action = ROUTE_RESPOND;
    if (m->status < 200 || m->status > 599)
        build_fault(b, ERROR_RANGE, "respond.status", "200 to 599", "%u is no status of a response", m->status);
    if (m->body.len > BODY_MAX)
        build_fault(b, ERROR_RANGE, "respond.body", "at most 1 MiB", "%zu bytes are too many", m->body.len);
    if (m->body.len && (m->status == 204 || m->status == 304))
        build_fault(b, ERROR_CONFLICT, "respond.body", NULL, "a response with status %u has no body", m->status);
    if (!field_value_is_valid(str_of(m->content_type)))
        build_fault(b, ERROR_SYNTAX, "respond.content_type", "a media type", "not a field value");
    for (size_t i = 0; i < m->n_headers; i++)
        check_header_field(b, m->headers[i], i);
}

/* ---- redirect */

static bool is_authority(struct str text) {
    char copy[AUTHORITY_MAX];
    struct str host;
    uint16_t port;
    if (text.n == 0 || text.n > sizeof copy)
        return false;
    memcpy(copy, text.p, text.n);
    return authority_parse(copy, text.n, &host, &port) == 0;
}

/* What may stand in a Location or a request line as it is: "/" and visible ASCII, but no fragment and no second "/". */
static bool is_location_path(const char *text) {
    if (text[0] != '/' || text[1] == '/')
        return false;
    for (const char *p = text; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f || *p == '#' || *p == '\\')
            return false;
    return true;
}

static void set_new_prefix(struct builder *b, const char *text, const char *field, struct rule *rule) {
    if (rule->path_kind == PATH_KIND_REGEX)
        build_fault(b, ERROR_CONFLICT, field, "a rule that matches a prefix, an exact path, or every path",
                    "a rule that matches by regular expression has no prefix to replace");
    if (text[0] && !build_path(b, text, field, &rule->new_prefix))
        return;
    if (rule->path_kind != PATH_KIND_STARTS && rule->new_prefix.n && rule->new_prefix.p[rule->new_prefix.n - 1] == '/')
        rule->new_prefix.n--;
    rule->has_new_prefix = true;
}

/* "\1" is a group, "\\" a backslash; everything else must be able to stand in a path. */
static void build_substitution(struct builder *b, const char *text, const char *field, struct rule *rule) {
    unsigned groups = regex_group_count(rule->rewrite_regex);
    size_t n = strlen(text);
    rule->pieces = build_alloc(b, n + 1, sizeof *rule->pieces);
    if (!rule->pieces)
        return;
    struct piece *piece = rule->pieces;
    *piece = (struct piece){{text, 0}, -1};
    for (const char *p = text; *p; p++) {
        if (*p != '\\') {
            if (*p <= 0x20 || *p >= 0x7f || *p == '?' || *p == '#')
                build_fault(b, ERROR_SYNTAX, field, "bytes that may stand in a path", "byte 0x%02x is not allowed",
                            (unsigned char)*p);
            piece->literal.n++;
            continue;
        }
        p++;
        if (*p < '0' || *p > '9' || (unsigned)(*p - '0') > groups) {
            build_fault(b, ERROR_SYNTAX, field, "\"\\0\" to \"\\9\"",
                        "\"\\%.1s\" names no group of the regular expression", p);
            return;
        }
        piece->group = *p - '0';
        *++piece = (struct piece){{p + 1, 0}, -1};
    }
    rule->piece_count = (uint32_t)(piece - rule->pieces) + 1;
}

/* The regular expression and the substitution of a rewrite or a redirect; `part` is "rewrite" or "redirect". */
static void build_replacement(struct builder *b, const char *regex, const char *substitution, const char *part,
                              struct rule *rule) {
    char regex_field[FIELD_PATH_MAX], substitution_field[FIELD_PATH_MAX];
    snprintf(regex_field, sizeof regex_field, "%s.regex", part);
    snprintf(substitution_field, sizeof substitution_field, "%s.substitution", part);
    if (!regex != !substitution)
        build_fault(b, ERROR_MISSING, regex ? substitution_field : regex_field, NULL,
                    "regex and substitution belong together");
    if (regex)
        rule->rewrite_regex = build_regex(b, regex, REGEX_PART, regex_field);
    if (rule->rewrite_regex && substitution)
        build_substitution(b, substitution, substitution_field, rule);
}

static bool is_redirect_status(unsigned status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void check_redirect_path(struct builder *b, const Headgate__Redirect *m) {
    if ((m->path != NULL) + (m->prefix != NULL) + (m->regex != NULL) > 1)
        build_fault(b, ERROR_CONFLICT, "redirect.prefix", NULL, "a redirect has one of path, prefix and regex");
    if (m->path && !is_location_path(m->path))
        build_fault(b, ERROR_SYNTAX, "redirect.path", "a path that begins with one \"/\"", "\"%s\" is no path", m->path);
    if (m->keep_query && !m->path)
        build_fault(b, ERROR_CONFLICT, "redirect.keep_query", NULL, "only with a path the query is dropped at all");
}

static void build_redirect(struct builder *b, const Headgate__Redirect *m, struct rule *rule) {
    rule->route.action = ROUTE_REDIRECT;
    if (!is_redirect_status(m->status))
        build_fault(b, ERROR_RANGE, "redirect.status", "301, 302, 303, 307 or 308", "%u does not redirect", m->status);
    if (m->scheme && strcmp(m->scheme, "http") != 0 && strcmp(m->scheme, "https") != 0)
        build_fault(b, ERROR_RANGE, "redirect.scheme", "http or https", "\"%s\" is no scheme of a gateway", m->scheme);
    if (m->host && !is_authority(str_of(m->host)))
        build_fault(b, ERROR_SYNTAX, "redirect.host", "a host name or address, with or without a port", "\"%s\" is no host",
                    m->host);
    if (m->port > UINT16_MAX)
        build_fault(b, ERROR_RANGE, "redirect.port", "1 to 65535", "%u is no port", m->port);
    check_redirect_path(b, m);
    if (m->prefix)
        set_new_prefix(b, m->prefix, "redirect.prefix", rule);
    build_replacement(b, m->regex, m->substitution, "redirect", rule);
    if (!m->scheme && !m->host && !m->port && !m->path && !m->prefix && !m->regex && !m->strip_query)
        build_fault(b, ERROR_MISSING, "redirect", "scheme, host, port, path, prefix, regex or strip-query",
                    "this redirect leads back to the same place");
}

/* ---- forward */

static void build_cluster_changes(struct builder *b, const Headgate__WeightedCluster *c, size_t number,
                                  struct weighted *ret) {
    char field[FIELD_PATH_MAX];
    snprintf(field, sizeof field, "forward.clusters[%zu].request_headers", number);
    build_changes(b, c->request_headers, c->n_request_headers, field, false, &ret->request_changes);
    snprintf(field, sizeof field, "forward.clusters[%zu].response_headers", number);
    build_changes(b, c->response_headers, c->n_response_headers, field, true, &ret->response_changes);
}

static void build_forward(struct builder *b, const Headgate__Forward *m, struct rule *rule) {
    uint64_t sum = 0;
    rule->route.action = ROUTE_FORWARD;
    rule->clusters = build_alloc(b, m->n_clusters, sizeof *rule->clusters);
    for (size_t i = 0; rule->clusters && i < m->n_clusters; i++) {
        const Headgate__WeightedCluster *c = m->clusters[i];
        char field[FIELD_PATH_MAX];
        snprintf(field, sizeof field, "forward.clusters[%zu].name", i);
        sum += c->weight;
        if (!c->name || !*c->name)
            build_fault(b, ERROR_MISSING, field, "the name of a cluster", "a cluster without a name");
        else
            rule->clusters[i] = (struct weighted){.cluster = build_cluster(b, c), .upto = sum};
        build_cluster_changes(b, c, i, &rule->clusters[i]);
    }
    rule->cluster_count = rule->clusters ? (uint32_t)m->n_clusters : 0;
    if (m->n_clusters == 0)
        build_fault(b, ERROR_MISSING, "forward.clusters", NULL, "at least one cluster is needed");
    else if (rule->clusters && (sum == 0 || sum > UINT32_MAX))
        build_fault(b, ERROR_RANGE, "forward.clusters", "a sum from 1 to 4294967295", "the weights add up to %llu",
                    (unsigned long long)sum);
}

static void build_rewrite(struct builder *b, const Headgate__Rewrite *m, struct rule *rule) {
    if (m->prefix && m->regex)
        build_fault(b, ERROR_CONFLICT, "rewrite.regex", NULL, "a rewrite has a prefix or a regex, not both");
    if (m->prefix)
        set_new_prefix(b, m->prefix, "rewrite.prefix", rule);
    build_replacement(b, m->regex, m->substitution, "rewrite", rule);
    if (m->host && !is_authority(str_of(m->host)))
        build_fault(b, ERROR_SYNTAX, "rewrite.host", "a host name or address, with or without a port", "\"%s\" is no host",
                    m->host);
    if (m->host && m->host_from_endpoint)
        build_fault(b, ERROR_CONFLICT, "rewrite.host", NULL, "host and host-from-endpoint exclude each other");
}

static void build_retry(struct builder *b, const Headgate__Retry *m, struct rule *rule) {
    struct route_retry *retry = &rule->route.retry;
    *retry = (struct route_retry){.retries = m->retries,
                                  .on_connect_failure = m->n_on + m->n_statuses + m->n_grpc_statuses == 0,
                                  .per_try_timeout = m->per_try_timeout,
                                  .backoff = m->backoff,
                                  .max_backoff = m->max_backoff,
                                  .max_retry_after = m->max_retry_after,
                                  .hedge_after = m->hedge_after,
                                  .body = m->retries ? m->body : 0,
                                  .method_count = (uint32_t)m->n_methods};
    for (size_t i = 0; i < m->n_statuses; i++)
        if (m->statuses[i] < 200 || m->statuses[i] > 599)
            build_fault(b, ERROR_RANGE, "retry.statuses", "200 to 599", "%u is no status of a response", m->statuses[i]);
    if (m->retries > RETRIES_MAX)
        build_fault(b, ERROR_RANGE, "retry.retries", "at most 100", "%u are too many", m->retries);
    for (size_t i = 0; i < m->n_on; i++) {
        switch (m->on[i]) {
        case HEADGATE__RETRY__ON__CONNECT_FAILURE: retry->on_connect_failure = true; break;
        case HEADGATE__RETRY__ON__RESET: retry->on_reset = true; break;
        case HEADGATE__RETRY__ON__GATEWAY_ERROR: rule->retry_statuses |= RETRY_502 | RETRY_503 | RETRY_504; break;
        case HEADGATE__RETRY__ON__SERVER_ERROR: rule->retry_statuses |= RETRY_5XX; break;
        case HEADGATE__RETRY__ON__CONFLICT: rule->retry_statuses |= RETRY_409; break;
        case HEADGATE__RETRY__ON__STATUS_429: rule->retry_statuses |= RETRY_429; break;
        case HEADGATE__RETRY__ON__STATUS_502: rule->retry_statuses |= RETRY_502; break;
        case HEADGATE__RETRY__ON__STATUS_503: rule->retry_statuses |= RETRY_503; break;
        case HEADGATE__RETRY__ON__STATUS_504: rule->retry_statuses |= RETRY_504; break;
        default: build_fault(b, ERROR_UNSUPPORTED, "retry.on", NULL, "condition %d is not known", (int)m->on[i]); break;
        }
    }
}

void build_action(struct builder *b, const Headgate__Rule *m, struct rule *rule) {
    inherit_timeouts(b, m->timeouts, &rule->route.timeouts);
    rule->route.body_limit = inherit_body_limit(b, m->limits);
    switch (m->action_case) {
    case HEADGATE__RULE__ACTION_RESPOND: build_respond(b, m->respond, rule); break;
    case HEADGATE__RULE__ACTION_REDIRECT: build_redirect(b, m->redirect, rule); break;
    case HEADGATE__RULE__ACTION_FORWARD: build_forward(b, m->forward, rule); break;
    default:
        build_fault(b, ERROR_MISSING, NULL, "respond, redirect, cluster or clusters", "a rule without an action");
        return;
    }
    bool is_forward = m->action_case == HEADGATE__RULE__ACTION_FORWARD;
    build_changes(b, m->request_headers, m->n_request_headers, "request_headers", false, &rule->route.request_changes);
    build_changes(b, m->response_headers, m->n_response_headers, "response_headers", true, &rule->route.response_changes);
    if (!is_forward && m->n_request_headers)
        build_fault(b, ERROR_CONFLICT, "request_headers", NULL, "only a rule that forwards has an origin to tell");
    if (!is_forward && m->rewrite)
        build_fault(b, ERROR_CONFLICT, "rewrite", NULL, "only a rule that forwards can rewrite");
    else if (m->rewrite)
        build_rewrite(b, m->rewrite, rule);
    if (!is_forward && m->retry)
        build_fault(b, ERROR_CONFLICT, "retry", NULL, "only a rule that forwards can retry");
    else if (m->retry)
        build_retry(b, m->retry, rule);
}
