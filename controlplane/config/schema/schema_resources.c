#include "controlplane/config/schema/schema_listener.h"
#include "controlplane/config/schema/schema_quic_pass.h"
#include "controlplane/config/schema/schema_rule.h"

#define MS  ((uint64_t)1000)
#define DAY ((uint64_t)86400000000)

#define NAME_KEY(what) \
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_name, .flags = SCHEMA_REQUIRED | SCHEMA_ELSEWHERE, \
     .description = what}

/* ---- listeners ---- */

static const struct schema_word listener_protocols[] = {
    {"http1", HEADGATE__LISTENER__PROTOCOL__HTTP1, "HTTP/1.1 and HTTP/1.0."},
    {"http2", HEADGATE__LISTENER__PROTOCOL__HTTP2, "HTTP/2: agreed by ALPN with TLS, by prior knowledge without."},
    {"http3", HEADGATE__LISTENER__PROTOCOL__HTTP3, "HTTP/3, over QUIC: UDP at the same addresses. Needs `tls`."},
    {0},
};

static const struct schema_key tcp_keys[] = {
    {.key = "clusters", .one_as = "cluster", .type = SCHEMA_OBJECT, .object = &schema_weighted_cluster,
     .flags = SCHEMA_LIST, .min = 1, .max = 256, .group = 1,
     .description = "Connections go to these clusters by weight; `cluster: NAME` is one. Their `protocol` has no meaning "
                    "here."},
    {.key = "idle-timeout", .type = SCHEMA_DURATION, .min = 0, .max = 30 * DAY, .flags = SCHEMA_MAY_BE_OFF,
     .absent = "`tunnel-idle` of the top level",
     .description = "How long nothing may come from either side. Then the connection is cut."},
    {.key = "max-connect-attempts", .type = SCHEMA_INTEGER, .min = 1, .max = 100,
     .description = "How many endpoints are tried until one can be connected to. All but the first take from the retry "
                    "budget of the cluster."},
    {0},
};

static const struct schema_object tcp_proxy = {
    .title = "tcp-proxy",
    .description = "Connections are relayed to an endpoint as they are, whatever is spoken on them: TLS is taken off with "
                   "`tls` of the listener, and put on with `tls` of the cluster.",
    .message = &headgate__tcp_proxy__descriptor,
    .keys = tcp_keys,
    .groups = 1 << 1,
    .check = check_tcp,
};

static const struct schema_key log_service_keys[] = {
    {.key = "cluster", .type = SCHEMA_TEXT, .form = &text_name, .kind = HEADGATE__KIND__KIND_CLUSTER,
     .flags = SCHEMA_REQUIRED, .description = "The cluster of the service. Its `protocol` has to be http2."},
    {.key = "log-name", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .max = 256, .flags = SCHEMA_REQUIRED,
     .description = "What the service knows the log by. Listeners with the same cluster and name share streams, one for "
                    "each worker."},
    {.key = "flush-interval", .type = SCHEMA_DURATION, .min = MS, .max = DAY / 24,
     .description = "How long an entry waits for others at most."},
    {.key = "flush-bytes", .type = SCHEMA_SIZE, .min = 0, .max = 1 << 20,
     .description = "So many bytes of entries are sent at once; with 0 each entry."},
    {.key = "buffer", .type = SCHEMA_SIZE, .min = 64 << 10, .max = 2 << 20,
     .description = "So many bytes of entries wait in each worker while the service is behind or away. What finds no room "
                    "is dropped and counted."},
    {0},
};

static const struct schema_object log_service = {
    .title = "access-log-service",
    .description = "A service that is sent an entry for each request, or each connection with `tcp`, by Envoy's gRPC access "
                   "log protocol (`envoy.service.accesslog.v3`).",
    .message = &headgate__access_log_service__descriptor,
    .keys = log_service_keys,
};

static const struct schema_key scope_key_keys[] = {
    {.key = "header", .type = SCHEMA_TEXT, .form = &text_field_name, .flags = SCHEMA_REQUIRED, .max = 256,
     .description = "The field whose first value counts, in lower case. `host` is what Host or `:authority` says, in lower "
                    "case and with its port."},
    {.key = "separator", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .max = 64, .absent = "the value is one element",
     .description = "What stands between the elements of the value."},
    {.key = "index", .type = SCHEMA_INTEGER, .min = 0, .max = 1000, .group = 1,
     .description = "Which element: 0 is the first."},
    {.key = "element", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .max = 256, .group = 1,
     .description = "Or the name of the element, of which what stands behind `assignment` counts."},
    {.key = "assignment", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .max = 64,
     .description = "What stands between the name of an element and the rest."},
    {0},
};

static const struct schema_object scope_key = {
    .title = "scope-key-part",
    .description = "A part of the key of a request: its field's value, or an element of that.",
    .message = &headgate__scope_key_part__descriptor,
    .keys = scope_key_keys,
    .shorthand = "header",
};

static const struct schema_key scope_keys[] = {
    {.key = "key", .type = SCHEMA_TEXT, .form = &text_any, .flags = SCHEMA_REQUIRED | SCHEMA_LIST | SCHEMA_ONE_OK, .min = 1,
     .max = 8, .description = "Its key: a text for each part of the listener's, compared byte by byte."},
    {.key = "route-table", .type = SCHEMA_TEXT, .form = &text_name, .kind = HEADGATE__KIND__KIND_ROUTE_TABLE,
     .flags = SCHEMA_REQUIRED, .description = "The name of the route table of its requests."},
    {0},
};

static const struct schema_object scope = {
    .title = "scope",
    .description = "Requests with one key, and their route table.",
    .message = &headgate__route_scope__descriptor,
    .keys = scope_keys,
};

static const struct schema_key scoped_routes_keys[] = {
    {.key = "key", .type = SCHEMA_OBJECT, .object = &scope_key, .flags = SCHEMA_REQUIRED | SCHEMA_LIST | SCHEMA_ONE_OK,
     .min = 1, .max = 8, .description = "What the key of a request is made of. A request that lacks a part of it has none."},
    {.key = "scopes", .type = SCHEMA_OBJECT, .object = &scope, .flags = SCHEMA_LIST, .max = 100000,
     .description = "Which key leads where."},
    {0},
};

static const struct schema_object scoped_routes = {
    .title = "scoped-routes",
    .description = "The route table of a request is that of the scope with the request's key. Where there is no such scope, "
                   "or the request has no key, it is answered 404. However many scopes there are, one is found in the same "
                   "time.",
    .message = &headgate__scoped_routes__descriptor,
    .keys = scoped_routes_keys,
    .check = check_scoped_routes,
};

static const struct schema_key listener_keys[] = {
    NAME_KEY("Its name, for logs, metrics and `headgate set`."),
    {.key = "address", .field = "addresses", .type = SCHEMA_TEXT, .form = &text_address, .min = 1, .max = 64,
     .flags = SCHEMA_REQUIRED | SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_ONE_SHOWN,
     .description = "Where it listens: an address or a list of them. With port 0 the system picks a free port. "
                    "A socket of `unix:` is made with the rights of the data plane's user. Two "
                    "listeners can have the same address when one listens on TCP and the other on UDP alone."},
    {.key = "route-table", .type = SCHEMA_TEXT, .form = &text_name,
     .kind = HEADGATE__KIND__KIND_ROUTE_TABLE, .group = 1,
     .description = "The name of the route table that its requests go through."},
    {.key = "scoped-routes", .type = SCHEMA_OBJECT, .object = &scoped_routes, .group = 1,
     .description = "Or several route tables, chosen by header fields of a request."},
    {.key = "tcp", .type = SCHEMA_OBJECT, .object = &tcp_proxy, .group = 1,
     .description = "Where its connections go, when it does not serve HTTP."},
    {.key = "quic-pass", .type = SCHEMA_OBJECT, .object = &schema_quic_pass,
     .absent = "no QUIC is passed through",
     .description = "Where QUIC connections go, which are passed through as they are. Beside one of the keys above it is "
                    "the other half of the address, on UDP; alone it listens on UDP only."},
    {.key = "protocols", .type = SCHEMA_WORD, .words = listener_protocols, .flags = SCHEMA_LIST | SCHEMA_ONE_OK, .max = 8,
     .absent = "http1; with TLS http1 and http2", .description = "What it speaks."},
    {.key = "backlog", .type = SCHEMA_INTEGER, .min = 1, .max = 65535,
     .description = "Connections that may wait to be accepted; the system may have a lower limit."},
    {.key = "timeouts", .type = SCHEMA_OBJECT, .object = &schema_timeouts, .scope = SCOPE_LISTENER, .flags = SCHEMA_ALWAYS,
     .description = "Deadlines over those of the top level."},
    {.key = "tls", .type = SCHEMA_OBJECT, .object = &schema_server_tls, .absent = "plaintext",
     .description = "TLS towards clients."},
    {.key = "proxy-protocol", .type = SCHEMA_OBJECT, .object = &schema_proxy_protocol, .flags = SCHEMA_ALWAYS,
     .description = "What a load balancer in front says about clients."},
    {.key = "http2", .type = SCHEMA_OBJECT, .object = &schema_http2, .scope = SCOPE_LISTENER,
     .description = "Bounds of HTTP/2 towards clients."},
    {.key = "http3", .type = SCHEMA_OBJECT, .object = &schema_http3, .scope = SCOPE_LISTENER,
     .description = "Bounds of HTTP/3 towards clients."},
    {.key = "quic", .type = SCHEMA_OBJECT, .object = &schema_quic, .scope = SCOPE_LISTENER,
     .description = "The transport of HTTP/3 towards clients."},
    {.key = "alt-svc", .type = SCHEMA_OBJECT, .object = &schema_alt_svc, .absent = "clients are not told of HTTP/3",
     .description = "Tells clients of HTTP/1.1 and HTTP/2 that there is HTTP/3; `{}` is enough."},
    {.key = "access-log-services", .type = SCHEMA_OBJECT, .object = &log_service, .flags = SCHEMA_LIST,
     .max = 8, .description = "Who is told of requests by gRPC, beside the access log."},
    {0},
};

static const char *const listener_later[] = {"filters", NULL};

const struct schema_object schema_listener = {
    .title = "listener",
    .description = "An address, or several, on which clients connect. One of route-table, scoped-routes and tcp, or "
                   "quic-pass, or both.",
    .message = &headgate__listener__descriptor,
    .keys = listener_keys,
    .later = listener_later,
    .check = check_listener,
};

/* ---- route tables ---- */

static const struct schema_key rule_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_word, .max = 128,
     .absent = "the positions of its host and of itself, such as 0.2",
     .description = "Its name, for logs and metrics."},
    {.key = "match", .type = SCHEMA_OBJECT, .object = &schema_match, .absent = "every request",
     .description = "Which requests the rule is for."},
    {.key = "respond", .type = SCHEMA_OBJECT, .object = &schema_respond, .group = 1, .description = "Answer from here."},
    {.key = "redirect", .type = SCHEMA_OBJECT, .object = &schema_redirect, .group = 1,
     .description = "Send the client elsewhere."},
    {.key = "clusters", .one_as = "cluster", .field = "forward.clusters", .type = SCHEMA_OBJECT,
     .object = &schema_weighted_cluster,
     .flags = SCHEMA_LIST, .min = 1, .max = 256, .group = 1,
     .description = "Forward to these clusters by weight; `cluster: NAME` forwards to one."},
    {.key = "hash", .type = SCHEMA_OBJECT, .object = &schema_hash_on, .flags = SCHEMA_LIST | SCHEMA_ONE_OK,
     .max = 16, .absent = "that of the cluster",
     .description = "What a balancer that hashes hashes: the first of these that the request has. Only with a cluster."},
    {.key = "rewrite", .type = SCHEMA_OBJECT, .object = &schema_rewrite,
     .description = "Change the request on its way. Only with a cluster."},
    {.key = "request-headers", .type = SCHEMA_OBJECT, .object = &schema_header_change, .flags = SCHEMA_LIST,
     .max = 256, .description = "Changes of fields that the origin sees. Only with a cluster."},
    {.key = "response-headers", .type = SCHEMA_OBJECT, .object = &schema_header_change, .flags = SCHEMA_LIST,
     .max = 256, .description = "Changes of fields that the client sees, whoever answers."},
    {.key = "retry", .type = SCHEMA_OBJECT, .object = &schema_retry, .absent = "a request is not sent twice",
     .description = "Try again when it fails. Only with a cluster."},
    {.key = "timeouts", .type = SCHEMA_OBJECT, .object = &schema_timeouts, .scope = SCOPE_RULE, .flags = SCHEMA_ALWAYS,
     .description = "Deadlines over those of the top level."},
    {.key = "limits", .type = SCHEMA_OBJECT, .object = &schema_limits, .scope = SCOPE_RULE, .flags = SCHEMA_ALWAYS,
     .description = "Bounds over those of the top level."},
    {.key = "upgrades", .type = SCHEMA_TEXT, .form = &text_upgrade, .max = 16,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK, .absent = "websocket",
     .description = "Protocols that a request may ask to be upgraded to; `*` is any. Only with a cluster."},
    {.key = "connect", .type = SCHEMA_BOOL,
     .description = "CONNECT opens a tunnel to an endpoint of the cluster, instead of being answered 405. Only with a "
                    "cluster."},
    {0},
};

static const char *const rule_later[] = {"filters", NULL};

static const struct schema_object rule = {
    .title = "rule",
    .description = "What to do with some of a host's requests. Exactly one of respond, redirect, cluster and clusters.",
    .message = &headgate__rule__descriptor,
    .keys = rule_keys,
    .later = rule_later,
    .groups = 1 << 1,
    .check = check_rule,
};

static const struct schema_key host_keys[] = {
    {.key = "domains",
     .type = SCHEMA_TEXT,
     .form = &text_domain,
     .flags = SCHEMA_REQUIRED | SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_UNIQUE,
     .min = 1,
     .max = 100000,
     .description =
         "Names of the host: exact, with `*` for any text at the front (`*.example.com`, `*-eu.example.com`) or at the "
         "end (`example.*`), or `*` for every other name. The most specific one wins: exact, then the longest with "
         "`*` at the front, then the longest with `*` at the end, then `*`. With a port only where the table has "
         "`match-port`."},
    {.key = "rules",
     .type = SCHEMA_OBJECT,
     .object = &rule,
     .flags = SCHEMA_REQUIRED | SCHEMA_LIST,
     .min = 1,
     .max = 100000,
     .description = "The first rule that matches wins. A request that none matches is answered 404."},
    {0},
};

static const char *const host_later[] = {"filters", "tls", NULL};

static const struct schema_object host = {
    .title = "host",
    .description = "A virtual host.",
    .message = &headgate__host__descriptor,
    .keys = host_keys,
    .later = host_later,
    .check = check_hosts,
};

static const struct schema_key table_keys[] = {
    NAME_KEY("Its name, to which listeners refer."),
    {.key = "match-port",
     .type = SCHEMA_BOOL,
     .description =
         "`true`: domains are compared with all that Host says, so `example.com` is not `example.com:8080`. Otherwise "
         "the port does not count."},
    {.key = "hosts",
     .type = SCHEMA_OBJECT,
     .object = &host,
     .flags = SCHEMA_REQUIRED | SCHEMA_LIST,
     .min = 1,
     .max = 100000,
     .description = "Virtual hosts. A request for a host that is not among them is answered 404."},
    {0},
};

static const char *const table_later[] = {"filters", NULL};

const struct schema_object schema_route_table = {
    .title = "route-table",
    .description = "What happens to the requests of a listener, by host and rule.",
    .message = &headgate__route_table__descriptor,
    .keys = table_keys,
    .later = table_later,
};
