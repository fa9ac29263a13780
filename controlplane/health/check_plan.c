#include "controlplane/health/check_plan.h"

#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/health/answer.h"
#include "controlplane/health/grpc_health.pb-c.h"
#include "proto/message.h"

enum { MICROSECONDS = 1000000, SHORTEST_US = 1000, GRPC_PREFIX = 5 };

/* ---- what is derived ---- */

static double seconds(uint64_t us) {
    return (double)(us < SHORTEST_US ? SHORTEST_US : us) / MICROSECONDS;
}

static void tell_timeout(struct check_plan *p) {
    uint64_t ms = (uint64_t)(p->timeout * 1000);
    if (ms % 1000 == 0)
        snprintf(p->timeout_text, sizeof p->timeout_text, "%llus", (unsigned long long)(ms / 1000));
    else
        snprintf(p->timeout_text, sizeof p->timeout_text, "%llums", (unsigned long long)ms);
}

static int set_kind(struct check_plan *p) {
    switch (p->check->kind_case) {
    case HEADGATE__HEALTH_CHECK__KIND_HTTP: p->kind = PLAN_HTTP; return 0;
    case HEADGATE__HEALTH_CHECK__KIND_TCP: p->kind = PLAN_TCP; return 0;
    case HEADGATE__HEALTH_CHECK__KIND_GRPC: p->kind = PLAN_GRPC; return 0;
    case HEADGATE__HEALTH_CHECK__KIND_TLS: p->kind = PLAN_TLS; return 0;
    default: return -1;
    }
}

/* What frames a message or belongs to one connection is for the check to say. */
bool check_plan_sends(const Headgate__HeaderField *field) {
    static const char *const ours[] = {"host", "content-length", "transfer-encoding", "connection",
                                       "keep-alive", "proxy-connection", "te", "upgrade"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (str_eq_nocase(str_of(field->name), str_of(ours[i])))
            return false;
    return true;
}

static bool has_field(const Headgate__HttpCheck *c, const char *name) {
    for (size_t i = 0; i < c->n_headers; i++)
        if (str_eq_nocase(str_of(c->headers[i]->name), str_of(name)))
            return true;
    return false;
}

const char *check_plan_user_agent(const struct check_plan *p) {
    return p->kind == PLAN_HTTP && !has_field(p->check->http, "user-agent") ? "headgate-health" : NULL;
}

static void write_request(struct check_plan *p, const Headgate__HttpCheck *c) {
    bool has_body = strcmp(c->method, "GET") != 0 && strcmp(c->method, "HEAD") != 0;
    strbuf_printf(&p->head, "%s %s HTTP/1.1\r\nHost: ", c->method, c->path);
    strbuf_puts(&p->tail, "\r\n");
    if (check_plan_user_agent(p))
        strbuf_printf(&p->tail, "User-Agent: %s\r\n", check_plan_user_agent(p));
    if (has_body)
        strbuf_puts(&p->tail, "Content-Length: 0\r\n");
    for (size_t i = 0; i < c->n_headers; i++)
        if (check_plan_sends(c->headers[i]))
            strbuf_printf(&p->tail, "%s: %s\r\n", c->headers[i]->name, c->headers[i]->value ? c->headers[i]->value : "");
    strbuf_puts(&p->tail, "\r\n");
}

static void write_grpc(struct check_plan *p, const Headgate__GrpcCheck *c) {
    Headgate__GrpcHealth__HealthCheckRequest m = HEADGATE__GRPC_HEALTH__HEALTH_CHECK_REQUEST__INIT;
    m.service = c->service && *c->service ? c->service : NULL;
    size_t n = headgate__grpc_health__health_check_request__get_packed_size(&m);
    uint8_t *bytes = hg_malloc(GRPC_PREFIX + n);
    if (!bytes) {
        p->grpc.failed = true;
        return;
    }
    bytes[0] = 0;
    for (int i = 0; i < 4; i++)
        bytes[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    headgate__grpc_health__health_check_request__pack(&m, bytes + GRPC_PREFIX);
    strbuf_add(&p->grpc, bytes, GRPC_PREFIX + n);
    hg_free(bytes);
}

/* ---- the parts ---- */

static Headgate__HealthCheck *copy_check(const Headgate__HealthCheck *check) {
    size_t n = headgate__health_check__get_packed_size(check);
    uint8_t *packed = hg_malloc(n + 1);
    ProtobufCMessage *copy = NULL;
    if (packed && message_unpack(&headgate__health_check__descriptor, NULL,
                                 (struct str){(char *)packed, headgate__health_check__pack(check, packed)}, &copy) < 0)
        copy = NULL;
    hg_free(packed);
    return (Headgate__HealthCheck *)copy;
}

static const char *wanted_host(const struct check_plan *p) {
    const char *host = p->kind == PLAN_HTTP ? p->check->http->host : p->kind == PLAN_GRPC ? p->check->grpc->authority : NULL;
    return host && *host ? host : NULL;
}

/* `before`: that of the plan before in the same place. */
static struct transport *make_transport(const struct check_plan *p, const struct health_way *way,
                                        const Headgate__ClientTls *tls, const struct health_config *config,
                                        struct transport *before, struct error_list *errors) {
    bool is_http2 = p->kind == PLAN_GRPC || way->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP2;
    bool only_connects = p->kind == PLAN_TCP && p->check->tcp->send.len == 0 && p->check->tcp->expect.len == 0;
    const struct transport_wish wish = {
        .tls = only_connects ? NULL : tls,
        .is_http2 = p->kind != PLAN_TCP && is_http2,
        .has_alpn = p->kind != PLAN_TCP,
        .port = (uint16_t)p->check->port,
        .host = wanted_host(p),
        .secret = config->secret,
        .context = config->context,
    };
    return transport_make(&wish, before, errors);
}

static int make_transports(struct check_plan *p, const struct health_way *way, const struct health_config *config,
                           const struct check_plan *before, struct error_list *errors) {
    static const Headgate__ClientTls of_the_system = HEADGATE__CLIENT_TLS__INIT;
    size_t count = way->choice_count + 1, old_count = before ? before->transport_count : 0;
    p->transports = hg_calloc(count, sizeof(struct transport *));
    while (p->transports && p->transport_count < count) {
        size_t i = p->transport_count;
        bool is_last = i + 1 == count;
        const Headgate__ClientTls *tls = is_last ? way->tls : way->choices[i]->tls;
        struct transport *old = is_last && old_count ? before->transports[old_count - 1]
                                : i + 1 < old_count  ? before->transports[i]
                                                     : NULL;
        if (is_last && !tls && p->kind == PLAN_TLS)
            tls = &of_the_system;
        p->transports[i] = make_transport(p, way, tls, config, old, errors);
        if (!p->transports[i])
            return -1;
        p->transport_count++;
    }
    return p->transports ? 0 : -1;
}

static int fill(struct check_plan *p) {
    p->interval = seconds(p->check->interval);
    p->unhealthy_interval = seconds(p->check->unhealthy_interval);
    p->timeout = seconds(p->check->timeout);
    tell_timeout(p);
    if (p->kind == PLAN_HTTP)
        write_request(p, p->check->http);
    if (p->kind == PLAN_GRPC)
        write_grpc(p, p->check->grpc);
    return p->head.failed || p->tail.failed || p->grpc.failed ? -1 : 0;
}

struct check_plan *check_plan_make(const char *cluster, const struct health_way *way, const struct health_config *config,
                       const struct check_plan *before, struct error_list *errors) {
    struct check_plan *p = hg_calloc(1, sizeof *p);
    size_t errors_before = errors->count;
    int status = -1;
    if (p) {
        p->references = 1;
        p->cluster = hg_strdup(cluster);
        p->check = copy_check(way->check);
        if (p->check && set_kind(p) < 0)
            error_addf(errors, ERROR_MISSING, "the health check does not say what to check");
        else if (p->cluster && p->check)
            status = make_transports(p, way, config, before, errors);
    }
    if (p && status == 0 && fill(p) == 0)
        return p;
    if (errors->count == errors_before)
        error_addf(errors, ERROR_MEMORY, "no memory for health checks");
    check_plan_unref(p);
    return NULL;
}

struct check_plan *check_plan_ref(struct check_plan *p) {
    atomic_fetch_add(&p->references, 1);
    return p;
}

void check_plan_unref(struct check_plan *p) {
    if (!p || atomic_fetch_sub(&p->references, 1) != 1)
        return;
    for (size_t i = 0; i < p->transport_count; i++)
        transport_unref(p->transports[i]);
    hg_free(p->transports);
    if (p->check)
        headgate__health_check__free_unpacked(p->check, NULL);
    strbuf_finish(&p->head);
    strbuf_finish(&p->tail);
    strbuf_finish(&p->grpc);
    hg_free(p->cluster);
    hg_free(p);
}

/* ---- names ---- */

const char *check_plan_host(const struct check_plan *p, const char *hostname) {
    const char *host = wanted_host(p);
    return host ? host : hostname && *hostname ? hostname : p->cluster;
}

const char *check_plan_tls_name(const struct check_plan *p, const char *hostname) {
    const char *host = wanted_host(p);
    return hostname && *hostname ? hostname : host ? host : "";
}
