/* Clusters: their endpoints, where those come from, and how they are checked. */
#include "controlplane/config/schema/schema_cluster.h"

#define MS  ((uint64_t)1000)
#define SEC ((uint64_t)1000000)
#define DAY ((uint64_t)86400000000)

/* ---- endpoints ---- */

static const struct schema_key metadata_keys[] = {
    {.key = "name", .field = "key", .type = SCHEMA_TEXT, .form = &text_word, .max = 128,
     .flags = SCHEMA_REQUIRED, .description = "What is said."},
    {.key = "value", .type = SCHEMA_TEXT, .form = &text_any, .max = 1024, .flags = SCHEMA_REQUIRED,
     .description = "What it is."},
    {0},
};

const struct schema_object schema_metadata = {
    .title = "metadata",
    .description = "Something that is known of an endpoint.",
    .message = &headgate__metadata_entry__descriptor,
    .keys = metadata_keys,
    .shorthand = "value",
};

static const struct schema_key endpoint_keys[] = {
    {.key = "address", .type = SCHEMA_TEXT, .form = &text_endpoint, .flags = SCHEMA_REQUIRED | SCHEMA_UNIQUE,
     .description = "Its address. Names are found by `discovery`."},
    {.key = "weight", .type = SCHEMA_INTEGER, .min = 1, .max = 65535, .description = "Its share of the requests."},
    {.key = "hostname", .type = SCHEMA_TEXT, .form = &text_host, .absent = "none",
     .description = "Its name, for `rewrite.host-from-endpoint` and for TLS."},
    {.key = "priority", .type = SCHEMA_INTEGER, .min = 0, .max = 127,
     .description = "0 is used first, 1 when too few of those are available, and so on without gaps."},
    {.key = "zone", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .max = 128, .absent = "none",
     .description = "Where it is, such as `eu-1/b`."},
    {.key = "metadata", .type = SCHEMA_OBJECT, .object = &schema_metadata, .flags = SCHEMA_LIST | SCHEMA_NAMED, .max = 64,
     .absent = "none", .description = "What else is known of it: `{version: v2, canary: \"yes\"}`."},
    {0},
};

static const struct schema_object endpoint = {
    .title = "endpoint",
    .description = "One server of a cluster.",
    .message = &headgate__endpoint__descriptor,
    .keys = endpoint_keys,
    .shorthand = "address",
};

#define ENDPOINTS_KEY(is_companion) \
    {.key = "endpoints", .type = SCHEMA_OBJECT, .object = &endpoint, .flags = SCHEMA_LIST | (is_companion), .max = 1000000, \
     .absent = "none: every request is answered 503", .description = "Its servers."}

/* ---- where endpoints come from ---- */

static const struct schema_key file_keys[] = {
    {.key = "path", .type = SCHEMA_TEXT, .form = &text_file, .flags = SCHEMA_REQUIRED,
     .description = "A YAML or JSON file with a list of endpoints as it stands under `endpoints`, below the control plane's "
                    "root of files (of `run FILE` and `validate`: beside the file). Read again when it, or a link on the "
                    "way to it, changes."},
    {0},
};

static const struct schema_object file_discovery = {
    .title = "file-discovery",
    .description = "Endpoints from a file. A file that cannot be read, or has a fault, changes nothing.",
    .message = &headgate__file_discovery__descriptor,
    .keys = file_keys,
    .shorthand = "path",
};

static const struct schema_word dns_records[] = {
    {"addresses", HEADGATE__DNS_DISCOVERY__RECORDS__ADDRESSES, "A and AAAA."},
    {"a", HEADGATE__DNS_DISCOVERY__RECORDS__A, "IPv4 alone."},
    {"aaaa", HEADGATE__DNS_DISCOVERY__RECORDS__AAAA, "IPv6 alone."},
    {"srv", HEADGATE__DNS_DISCOVERY__RECORDS__SRV,
     "Servers with port, priority and weight (RFC 2782), and the addresses of each."},
    {0},
};

static const struct schema_key dns_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_dns_name, .flags = SCHEMA_REQUIRED,
     .description = "The whole name: search domains and `/etc/hosts` have no say."},
    {.key = "port", .type = SCHEMA_INTEGER, .min = 1, .max = 65535, .absent = "that of the SRV record",
     .description = "Where endpoints listen. Needed, except with `srv`."},
    {.key = "records", .type = SCHEMA_WORD, .words = dns_records, .description = "What is asked for."},
    {.key = "hostname", .type = SCHEMA_TEXT, .form = &text_host, .absent = "none; with `srv` the server's name",
     .description = "The host name of every endpoint that is found, for `rewrite.host-from-endpoint` and for TLS."},
    {.key = "min-refresh", .type = SCHEMA_DURATION, .min = SEC, .max = DAY,
     .description = "An answer counts at least so long, whatever its time to live."},
    {.key = "max-refresh", .type = SCHEMA_DURATION, .min = SEC, .max = 7 * DAY, .description = "And at most so long."},
    {.key = "failure-refresh", .type = SCHEMA_DURATION, .min = SEC, .max = DAY,
     .description = "When to ask again after a failure; doubled with each further one, up to `max-refresh`."},
    {.key = "servers", .type = SCHEMA_TEXT, .form = &text_udp, .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_UNIQUE,
     .max = 8, .absent = "those of `/etc/resolv.conf`", .description = "Whom to ask, by address and port."},
    {.key = "timeout", .type = SCHEMA_DURATION, .min = 100 * MS, .max = 60 * SEC,
     .description = "How long to wait for an answer: in that time each server is asked twice."},
    {0},
};

static const struct schema_object dns_discovery = {
    .title = "dns-discovery",
    .description = "Endpoints from DNS. An answer counts for the smallest time to live of the records that it is made of. A "
                   "failure, and a name that is gone or empty, change nothing: the last answer is kept.",
    .message = &headgate__dns_discovery__descriptor,
    .keys = dns_keys,
    .check = check_dns_discovery,
};

static const struct schema_key xds_keys[] = {
    {.key = "service", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .max = 4096, .flags = SCHEMA_REQUIRED,
     .description = "The name of the assignment, as the server has it."},
    {.key = "locality-weighted", .type = SCHEMA_BOOL,
     .description = "The weights of localities count, times those of endpoints; otherwise those of endpoints alone."},
    {0},
};

static const struct schema_object xds_discovery = {
    .title = "xds-discovery",
    .description = "Endpoints from the management servers of `--xds-bootstrap`, by EDS. What they assigned last is kept as "
                   "long as they say nothing else.",
    .message = &headgate__xds_discovery__descriptor,
    .keys = xds_keys,
    .shorthand = "service",
};

static const struct schema_key kubernetes_keys[] = {
    {.key = "service", .type = SCHEMA_TEXT, .form = &text_dns_label, .flags = SCHEMA_REQUIRED, .description = "Its name."},
    {.key = "namespace", .type = SCHEMA_TEXT, .form = &text_dns_label,
     .absent = "that of the control plane's pod, or `default`", .description = "Where it is."},
    {.key = "port", .type = SCHEMA_TEXT, .form = &text_service_port, .absent = "the only one",
     .description = "A port of the Service, by name or number."},
    {0},
};

static const struct schema_object kubernetes_discovery = {
    .title = "kubernetes-discovery",
    .description = "The EndpointSlices of a Service, watched. Endpoints that terminate are drained. Needs a pod's service "
                   "account, or the control plane's `--kubernetes-server`. While the API server is away, the last endpoints "
                   "are kept.",
    .message = &headgate__kubernetes_discovery__descriptor,
    .keys = kubernetes_keys,
    .shorthand = "service",
};

static const struct schema_key etcd_keys[] = {
    {.key = "service", .type = SCHEMA_TEXT, .form = &text_dns_label, .flags = SCHEMA_REQUIRED,
     .description = "Its name: the part of the key before that of the instance."},
    {0},
};

static const struct schema_object etcd_discovery = {
    .title = "etcd-discovery",
    .description = "What is registered under `PREFIX/endpoints/SERVICE/` of the etcd of `--etcd`: each key has one "
                   "endpoint as JSON, `{\"address\": \"10.0.0.1:8080\"}`, with the keys that an endpoint has here. "
                   "A registration with a lease goes with its lease. While etcd is away, and when nothing is "
                   "registered, the last endpoints are kept.",
    .message = &headgate__etcd_discovery__descriptor,
    .keys = etcd_keys,
    .shorthand = "service",
};

static const struct schema_key discovery_keys[] = {
    {.key = "file", .type = SCHEMA_OBJECT, .object = &file_discovery, .group = 1, .description = "A file."},
    {.key = "dns", .type = SCHEMA_OBJECT, .object = &dns_discovery, .group = 1, .description = "A name in DNS."},
    {.key = "xds", .type = SCHEMA_OBJECT, .object = &xds_discovery, .group = 1, .description = "A management server."},
    {.key = "kubernetes", .type = SCHEMA_OBJECT, .object = &kubernetes_discovery, .group = 1,
     .description = "A Service of Kubernetes."},
    {.key = "etcd", .type = SCHEMA_OBJECT, .object = &etcd_discovery, .group = 1, .description = "A service in etcd."},
    {0},
};

static const struct schema_object discovery = {
    .title = "discovery",
    .description = "Where endpoints come from. What was found last is kept, also over a restart of the control plane.",
    .message = &headgate__discovery__descriptor,
    .keys = discovery_keys,
    .groups = 1 << 1,
};

/* ---- checks ---- */

static const struct schema_key header_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_field_name, .flags = SCHEMA_REQUIRED, .description = "Its name."},
    {.key = "value", .type = SCHEMA_TEXT, .form = &text_field_value, .absent = "empty", .description = "Its value."},
    {0},
};

static const struct schema_object check_header = {
    .title = "check-header",
    .description = "A field of the response to a check.",
    .message = &headgate__header_field__descriptor,
    .keys = header_keys,
    .shorthand = "value",
};

static const struct schema_key request_header_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_check_field_name, .flags = SCHEMA_REQUIRED,
     .description = "Its name. Host, Connection, Content-Length and the like are the check's own."},
    {.key = "value", .type = SCHEMA_TEXT, .form = &text_field_value, .absent = "empty", .description = "Its value."},
    {0},
};

static const struct schema_object check_request_header = {
    .title = "check-request-header",
    .description = "A field of a check's request.",
    .message = &headgate__header_field__descriptor,
    .keys = request_header_keys,
    .shorthand = "value",
};

static const struct schema_key http_check_keys[] = {
    {.key = "path", .type = SCHEMA_TEXT, .form = &text_location,
     .description = "What is asked for, with a query where wanted."},
    {.key = "host", .type = SCHEMA_TEXT, .form = &text_host,
     .absent = "the endpoint's host name, otherwise the cluster's name",
     .description = "The Host of the request."},
    {.key = "method", .type = SCHEMA_TEXT, .form = &text_method, .description = "Its method."},
    {.key = "headers", .type = SCHEMA_OBJECT, .object = &check_request_header,
     .flags = SCHEMA_LIST | SCHEMA_NAMED, .max = 64,
     .absent = "none", .description = "Further fields of the request."},
    {.key = "statuses", .type = SCHEMA_INTEGER, .min = 100, .max = 599, .flags = SCHEMA_LIST | SCHEMA_ONE_OK,
     .absent = "200 to 299", .description = "The statuses of a healthy endpoint."},
    {.key = "body-contains", .type = SCHEMA_TEXT, .form = &text_body, .min = 1, .max = 4096, .absent = "not looked at",
     .description = "A text within the first 64 KiB of the body."},
    {.key = "expect-headers", .type = SCHEMA_OBJECT, .object = &check_header, .flags = SCHEMA_LIST | SCHEMA_NAMED,
     .max = 64, .absent = "not looked at",
     .description = "Fields that the response must have, with that value; an empty one: any."},
    {0},
};

static const struct schema_object http_check = {
    .title = "http-check",
    .description = "A request, in the cluster's protocol and over its TLS.",
    .message = &headgate__http_check__descriptor,
    .keys = http_check_keys,
    .shorthand = "path",
};

static const struct schema_key tcp_check_keys[] = {
    {.key = "send", .type = SCHEMA_TEXT, .form = &text_body, .max = 4096, .absent = "nothing",
     .description = "What is sent."},
    {.key = "expect", .type = SCHEMA_TEXT, .form = &text_body, .max = 4096, .absent = "nothing: connecting is enough",
     .description = "What the first 64 KiB that come back must contain."},
    {0},
};

static const struct schema_object tcp_check = {
    .title = "tcp-check",
    .description = "A connection.",
    .message = &headgate__tcp_check__descriptor,
    .keys = tcp_check_keys,
};

static const struct schema_key grpc_check_keys[] = {
    {.key = "service", .type = SCHEMA_TEXT, .form = &text_any, .max = 1024, .absent = "the server as a whole",
     .description = "The service that is asked about."},
    {.key = "authority", .type = SCHEMA_TEXT, .form = &text_host,
     .absent = "the endpoint's host name, otherwise the cluster's name", .description = "The `:authority` of the request."},
    {0},
};

static const struct schema_object grpc_check = {
    .title = "grpc-check",
    .description = "A call of `grpc.health.v1.Health/Check`.",
    .message = &headgate__grpc_check__descriptor,
    .keys = grpc_check_keys,
    .shorthand = "service",
};

static const struct schema_key tls_check_keys[] = {{0}};

static const struct schema_object tls_check = {
    .title = "tls-check",
    .description = "A handshake by the rules of the cluster's `tls`.",
    .message = &headgate__tls_check__descriptor,
    .keys = tls_check_keys,
};

static const struct schema_key health_keys[] = {
    {.key = "interval", .type = SCHEMA_DURATION, .min = 100 * MS, .max = DAY,
     .description = "From one check of an endpoint to the next, give or take a tenth."},
    {.key = "unhealthy-interval", .type = SCHEMA_DURATION, .min = 100 * MS, .max = DAY,
     .description = "Likewise from the first failure on, until it is healthy again."},
    {.key = "timeout", .type = SCHEMA_DURATION, .min = 10 * MS, .max = 600 * SEC,
     .description = "How long one check may take."},
    {.key = "healthy-after", .type = SCHEMA_INTEGER, .min = 1, .max = 1000,
     .description = "Successes in a row that make an endpoint healthy again. For the first check one is enough."},
    {.key = "unhealthy-after", .type = SCHEMA_INTEGER, .min = 1, .max = 1000,
     .description = "Failures in a row that make it unhealthy."},
    {.key = "http", .type = SCHEMA_OBJECT, .object = &http_check, .group = 1, .description = "A request: `http: /healthz`."},
    {.key = "tcp", .type = SCHEMA_OBJECT, .object = &tcp_check, .group = 1, .description = "A connection; `{}` is enough."},
    {.key = "grpc", .type = SCHEMA_OBJECT, .object = &grpc_check, .group = 1,
     .description = "The health protocol of gRPC; `{}` is enough."},
    {.key = "tls", .type = SCHEMA_OBJECT, .object = &tls_check, .group = 1, .description = "A handshake; `{}` is enough."},
    {.key = "port", .type = SCHEMA_INTEGER, .min = 1, .max = 65535, .absent = "the endpoint's",
     .description = "Where checks go instead."},
    {0},
};

static const struct schema_object health = {
    .title = "health",
    .description = "Checks of every endpoint, made by the control plane, once for all data planes. Without a control plane "
                   "the last known health stays.",
    .message = &headgate__health_check__descriptor,
    .keys = health_keys,
    .groups = 1 << 1,
};

/* ---- clusters ---- */

#define NAME_KEY(what) \
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_name, .flags = SCHEMA_REQUIRED | SCHEMA_ELSEWHERE, \
     .description = what}

static const struct schema_word cluster_protocols[] = {
    {"http1", HEADGATE__CLUSTER__PROTOCOL__HTTP1, "HTTP/1.1."},
    {"http2", HEADGATE__CLUSTER__PROTOCOL__HTTP2, "HTTP/2: agreed by ALPN with TLS, by prior knowledge without."},
    {"http3", HEADGATE__CLUSTER__PROTOCOL__HTTP3, "HTTP/3, over QUIC: UDP at the endpoint's port. Needs `tls`."},
    {0},
};

static const struct schema_key http3_fallback_keys[] = {
    {.key = "after", .type = SCHEMA_DURATION, .min = 0, .max = DAY,
     .description = "How long the handshake of a new connection may take until another one over TCP is begun beside it. "
                    "Requests go to whichever is ready first. 0: both begin at once."},
    {.key = "remember", .type = SCHEMA_DURATION, .min = MS, .max = DAY,
     .description = "How long HTTP/3 to an endpoint is not tried after it has failed; twice as long after each further "
                    "failure."},
    {.key = "remember-most", .type = SCHEMA_DURATION, .min = MS, .max = 30 * DAY, .description = "At most so long."},
    {0},
};

static const struct schema_object http3_fallback = {
    .title = "http3-fallback",
    .description = "HTTP/2 over TCP and TLS, at the same address, where UDP does not get through to an endpoint. Once "
                   "HTTP/3 works, connections over TCP take no more requests.",
    .message = &headgate__http3_fallback__descriptor,
    .keys = http3_fallback_keys,
    .check = check_http3_fallback,
};

static const struct schema_word send_proxy[] = {
    {"off", HEADGATE__CLUSTER__SEND_PROXY__SEND_OFF, "Nothing is sent."},
    {"v1", HEADGATE__CLUSTER__SEND_PROXY__SEND_V1, "The header of version 1, a line of text."},
    {"v2", HEADGATE__CLUSTER__SEND_PROXY__SEND_V2, "The header of version 2, in binary."},
    {0},
};

static const struct schema_key tls_choice_keys[] = {
    {.key = "match", .type = SCHEMA_OBJECT, .object = &schema_metadata, .flags = SCHEMA_LIST | SCHEMA_NAMED, .max = 16,
     .absent = "every endpoint",
     .description = "What the endpoint's metadata must have, all of it: `{tls: mutual}`."},
    {.key = "tls", .type = SCHEMA_OBJECT, .object = &schema_client_tls, .absent = "plaintext",
     .description = "TLS towards such endpoints; `{}` is enough."},
    {0},
};

static const struct schema_object tls_choice = {
    .title = "tls-choice",
    .description = "TLS, or none, towards those endpoints that are marked for it by their metadata.",
    .message = &headgate__tls_choice__descriptor,
    .keys = tls_choice_keys,
};

static const struct schema_key cluster_keys[] = {
    NAME_KEY("Its name, to which rules refer."),
    ENDPOINTS_KEY(SCHEMA_COMPANION),
    {.key = "discovery", .type = SCHEMA_OBJECT, .object = &discovery, .absent = "`endpoints` are all there are",
     .description = "Where endpoints come from. `endpoints` then count until the first answer."},
    {.key = "health", .type = SCHEMA_OBJECT, .object = &health, .absent = "endpoints are not checked",
     .description = "How they are checked."},
    {.key = "protocol", .type = SCHEMA_WORD, .words = cluster_protocols, .description = "What its endpoints speak."},
    {.key = "balancer", .type = SCHEMA_WORD, .words = schema_balancers, .description = "How an endpoint is picked."},
    {.key = "balancing", .type = SCHEMA_OBJECT, .object = &schema_balancing, .flags = SCHEMA_ALWAYS,
     .description = "More about that."},
    {.key = "sticky", .type = SCHEMA_OBJECT, .object = &schema_sticky, .absent = "no cookie",
     .description = "Brings clients back to their endpoint; `{}` is enough."},
    {.key = "outlier-detection", .field = "outliers", .type = SCHEMA_OBJECT, .object = &schema_outlier_detection,
     .absent = "none", .description = "Leaves endpoints that fail alone for a time; `{}` is enough."},
    {.key = "circuit-breakers", .field = "breakers", .type = SCHEMA_OBJECT, .object = &schema_circuit_breakers,
     .flags = SCHEMA_ALWAYS, .description = "Bounds of what is asked of it."},
    {.key = "connect-timeout", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .absent = "that of the route",
     .description = "Connecting to an endpoint, over what route and top level say."},
    {.key = "idle-connections", .type = SCHEMA_INTEGER, .min = 0, .max = 65535,
     .description = "Connections kept open for later requests, for each endpoint and worker."},
    {.key = "idle-timeout", .type = SCHEMA_DURATION, .min = MS, .max = DAY,
     .description = "How long a kept connection may wait. The endpoint's own timeout of QUIC counts where it is shorter."},
    {.key = "connection-lifetime", .type = SCHEMA_DURATION, .min = MS, .max = 30 * DAY,
     .description = "Age at which a connection is closed, after the exchange that it carries."},
    {.key = "requests-per-connection", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000000,
     .description = "Requests after which a connection is closed."},
    {.key = "tls", .type = SCHEMA_OBJECT, .object = &schema_client_tls, .absent = "plaintext",
     .description = "TLS towards its endpoints; `{}` is enough."},
    {.key = "tls-choices", .type = SCHEMA_OBJECT, .object = &tls_choice, .flags = SCHEMA_LIST, .max = 64,
     .absent = "`tls` is for all of them",
     .description = "Where endpoints differ: the first choice that fits an endpoint counts for it, and for its checks, "
                    "instead of `tls`."},
    {.key = "http2", .type = SCHEMA_OBJECT, .object = &schema_http2, .scope = SCOPE_CLUSTER,
     .description = "Bounds of HTTP/2 towards its endpoints."},
    {.key = "http3", .type = SCHEMA_OBJECT, .object = &schema_http3, .scope = SCOPE_CLUSTER,
     .description = "Bounds of HTTP/3 towards its endpoints."},
    {.key = "quic", .type = SCHEMA_OBJECT, .object = &schema_quic, .scope = SCOPE_CLUSTER,
     .description = "The transport of HTTP/3 towards its endpoints."},
    {.key = "http3-fallback", .type = SCHEMA_OBJECT, .object = &http3_fallback, .absent = "HTTP/3 alone",
     .description = "What to do where HTTP/3 does not get through; `{}` is enough."},
    {.key = "proxy-protocol", .field = "send_proxy", .type = SCHEMA_WORD, .words = send_proxy,
     .description = "Tells endpoints who the client is, before anything else. Such a connection serves one client only."},
    {0},
};

static const char *const cluster_later[] = {"filters", NULL};

const struct schema_object schema_cluster = {
    .title = "cluster",
    .description = "Servers that are alike, and how to reach them.",
    .message = &headgate__cluster__descriptor,
    .companion = &headgate__endpoint_set__descriptor,
    .keys = cluster_keys,
    .later = cluster_later,
    .check = check_cluster,
};

static const struct schema_key endpoint_set_keys[] = {ENDPOINTS_KEY(0), {0}};

const struct schema_object schema_endpoint_set = {
    .title = "endpoint-set",
    .description = "The endpoints of the cluster of the same name.",
    .message = &headgate__endpoint_set__descriptor,
    .keys = endpoint_set_keys,
    .check = check_endpoint_set,
};
