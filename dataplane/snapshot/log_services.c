#include "dataplane/snapshot/log_services.h"

#include <stdio.h>

#include "dataplane/snapshot/clusters.h"
#include "proto/resource.h"

enum { SERVICES_MAX = 64, BUFFER_MAX = 2 << 20, STREAM_BUFFER = 64 << 10 };

/* A service, and what its listener is made of. Lives in the snapshot's arena. */
struct made {
    struct log_service         service;
    struct settings            settings;
    struct listener_definition listener;
    struct bound_table         routes;
    const struct cluster_definition *clusters[1];
    Headgate__RouteTable       table;
    Headgate__Host             host, *hosts[1];
    Headgate__Rule             rule, *rules[1];
    Headgate__Forward          forward;
    Headgate__WeightedCluster  cluster, *weighted[1];
    Headgate__Timeouts         timeouts;
    Headgate__Limits           limits;
    char                      *domains[1];
};

/* ---- checks ---- */

struct place {
    const char        *listener;
    size_t             index;
    struct error_list *errors;
};

static int fault(const struct place *p, const char *key, enum error_code code, const char *format, const char *argument) {
    char resource[RESOURCE_NAME_MAX + 32], path[64];
    snprintf(resource, sizeof resource, "listener/%s", p->listener);
    snprintf(path, sizeof path, "access_log_services[%zu].%s", p->index, key);
    error_set_resource(p->errors, error_addf(p->errors, code, format, argument), resource, path);
    return -1;
}

static int check(const struct place *p, const Headgate__AccessLogService *m) {
    if (!m->cluster || !*m->cluster)
        return fault(p, "cluster", ERROR_MISSING, "%s", "a service without a cluster");
    if (!m->log_name || !*m->log_name)
        return fault(p, "log_name", ERROR_MISSING, "%s", "a service without a name for the log");
    if (m->buffer > BUFFER_MAX || m->flush_bytes > BUFFER_MAX)
        return fault(p, "buffer", ERROR_RANGE, "%s", "at most two mebibytes can wait");
    return 0;
}

/* ---- the listener of its streams ---- */

static void fill_table(struct made *d) {
    static char everything[] = "*", name[] = "access-log-service";
    d->table = (Headgate__RouteTable)HEADGATE__ROUTE_TABLE__INIT;
    d->host = (Headgate__Host)HEADGATE__HOST__INIT;
    d->rule = (Headgate__Rule)HEADGATE__RULE__INIT;
    d->forward = (Headgate__Forward)HEADGATE__FORWARD__INIT;
    d->cluster = (Headgate__WeightedCluster)HEADGATE__WEIGHTED_CLUSTER__INIT;
    d->timeouts = (Headgate__Timeouts)HEADGATE__TIMEOUTS__INIT;
    d->limits = (Headgate__Limits)HEADGATE__LIMITS__INIT;
    d->hosts[0] = &d->host, d->table.hosts = d->hosts, d->table.n_hosts = 1;
    d->domains[0] = everything, d->host.domains = d->domains, d->host.n_domains = 1;
    d->rules[0] = &d->rule, d->host.rules = d->rules, d->host.n_rules = 1;
    d->rule.name = name;
    d->rule.action_case = HEADGATE__RULE__ACTION_FORWARD, d->rule.forward = &d->forward;
    d->weighted[0] = &d->cluster, d->forward.clusters = d->weighted, d->forward.n_clusters = 1;
    d->cluster.name = (char *)(uintptr_t)d->service.cluster.p;
    d->rule.limits = &d->limits;
    d->limits.has_body = true, d->limits.body = UINT64_MAX;
    d->rule.timeouts = &d->timeouts; /* it goes on for as long as it can */
    d->timeouts.has_request = d->timeouts.has_response_head = d->timeouts.has_response = true;
    d->timeouts.has_body = d->timeouts.has_response_body = true;
    d->timeouts.request = d->timeouts.response_head = d->timeouts.response = 0;
    d->timeouts.body = d->timeouts.response_body = 0;
}

/* Nobody stands before or behind the gateway here: there is nothing to tell of a client. */
static void fill_settings(struct settings *to, const struct settings *from) {
    *to = *from;
    to->limits.buffer = STREAM_BUFFER;
    to->trusted_hops = 0;
    to->x_forwarded = to->x_real_ip = to->forwarded = false;
    memset(to->via, 0, sizeof to->via);
    to->request_id_header = (struct str){NULL, 0};
    to->request_id_field = FIELD_OTHER;
    to->access_log_format = HEADGATE__ACCESS_LOG__FORMAT__OFF;
}

static int make_listener(struct snapshot *s, struct made *d, const struct place *p) {
    size_t place;
    const struct cluster_definition *cluster = snapshot_find_cluster(s, d->service.cluster, &place);
    if (!cluster)
        return fault(p, "cluster", ERROR_REFERENCE, "there is no cluster \"%s\"", d->cluster.name);
    struct route_table *table = route_table_build(&d->table, "access-log-service", s->settings.message, p->errors);
    if (!table)
        return -1;
    s->log_tables[s->log_service_count] = table;
    fill_settings(&d->settings, &s->settings);
    d->clusters[0] = cluster;
    d->routes = (struct bound_table){.table = table, .clusters = d->clusters};
    d->listener = (struct listener_definition){.name = STR("access-log-service"), .settings = &d->settings,
                                               .timeouts = s->settings.timeouts, .routes = &d->routes, .is_internal = true};
    return 0;
}

/* ---- services ---- */

static int fill_service(struct snapshot *s, const Headgate__AccessLogService *m, bool is_tcp, struct log_service *ret) {
    char *key = arena_printf(&s->arena, "%d %llu %llu %llu %s %s", is_tcp, (unsigned long long)m->flush_interval,
                             (unsigned long long)m->flush_bytes, (unsigned long long)m->buffer, m->cluster, m->log_name);
    *ret = (struct log_service){
        .key = str_of(key ? key : ""), .cluster = arena_str(&s->arena, str_of(m->cluster)),
        .log_name = arena_str(&s->arena, str_of(m->log_name)), .is_tcp = is_tcp, .flush_interval = m->flush_interval,
        .flush_bytes = m->flush_bytes, .buffer = m->buffer,
    };
    return key && ret->cluster.p && ret->log_name.p ? 0 : -1;
}

static const struct log_service *find(const struct snapshot *s, struct str key) {
    for (unsigned i = 0; i < s->log_service_count; i++)
        if (str_eq(s->log_services[i]->key, key))
            return s->log_services[i];
    return NULL;
}

static const struct log_service *add(struct snapshot *s, const struct place *p, const Headgate__AccessLogService *m,
                                     bool is_tcp) {
    struct made *d = arena_calloc(&s->arena, 1, sizeof *d);
    if (!d || fill_service(s, m, is_tcp, &d->service) < 0)
        return NULL;
    const struct log_service *same = find(s, d->service.key);
    if (same)
        return same;
    if (s->log_service_count == SERVICES_MAX) {
        fault(p, "cluster", ERROR_RANGE, "%s", "there are more than 64 access log services");
        return NULL;
    }
    fill_table(d);
    if (make_listener(s, d, p) < 0)
        return NULL;
    d->service.listener = &d->listener;
    s->log_services[s->log_service_count++] = &d->service;
    return &d->service;
}

int snapshot_add_log_services(struct snapshot *s, const Headgate__Listener *m, struct listener_definition *d,
                              struct error_list *errors) {
    size_t n = m->n_access_log_services;
    if (!n)
        return 0;
    const struct log_service **list = arena_calloc(&s->arena, n, sizeof *list);
    if (!s->log_services) {
        s->log_tables = arena_calloc(&s->arena, SERVICES_MAX, sizeof *s->log_tables);
        s->log_services = s->log_tables ? arena_calloc(&s->arena, SERVICES_MAX, sizeof *s->log_services) : NULL;
    }
    if (!list || !s->log_services)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct place p = {d->name.p, i, errors};
        const Headgate__AccessLogService *service = m->access_log_services[i];
        list[i] = check(&p, service) == 0 ? add(s, &p, service, m->tcp != NULL) : NULL;
        if (!list[i])
            return -1;
    }
    d->log_services = list;
    d->log_service_count = (unsigned)n;
    return 0;
}

void snapshot_drop_log_services(struct snapshot *s) {
    for (unsigned i = 0; i < s->log_service_count; i++)
        route_table_free(s->log_tables[i]);
}
