#include "dataplane/snapshot/tcp_rule.h"

#include <stdio.h>

#include "proto/resource.h"

enum { ATTEMPTS_MAX = 100 };

/* ---- checks ---- */

struct place {
    const char        *listener;
    struct error_list *errors;
};

static void fault(const struct place *p, const char *path, enum error_code code, const char *message) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "listener/%s", p->listener);
    error_set_resource(p->errors, error_addf(p->errors, code, "%s", message), resource, path);
}

static void check_clusters(const struct place *p, const Headgate__TcpProxy *tcp) {
    uint64_t sum = 0;
    for (size_t i = 0; i < tcp->n_clusters; i++) {
        const Headgate__WeightedCluster *c = tcp->clusters[i];
        char path[64];
        snprintf(path, sizeof path, "tcp.clusters[%zu].name", i);
        sum += c->weight;
        if (!c->name || !*c->name)
            fault(p, path, ERROR_MISSING, "a cluster without a name");
    }
    if (tcp->n_clusters == 0)
        fault(p, "tcp.clusters", ERROR_MISSING, "at least one cluster is needed");
    else if (sum == 0 || sum > UINT32_MAX)
        fault(p, "tcp.clusters", ERROR_RANGE, "the weights must add up to 1 to 4294967295");
}

int tcp_rule_check(const Headgate__Listener *m, const char *name, struct error_list *errors) {
    const struct place p = {name, errors};
    size_t before = errors->count;
    check_clusters(&p, m->tcp);
    if (m->tcp->max_connect_attempts < 1 || m->tcp->max_connect_attempts > ATTEMPTS_MAX)
        fault(&p, "tcp.max_connect_attempts", ERROR_RANGE, "1 to 100 attempts are possible");
    if (m->route_table)
        fault(&p, "route_table", ERROR_CONFLICT, "a listener has a route table or tcp, not both");
    if (m->scoped_routes)
        fault(&p, "scoped_routes", ERROR_CONFLICT, "a listener has route tables or tcp, not both");
    if (m->n_protocols)
        fault(&p, "protocols", ERROR_CONFLICT, "a listener with tcp relays whatever is spoken");
    if (m->http2)
        fault(&p, "http2", ERROR_CONFLICT, "a listener with tcp relays whatever is spoken");
    return errors->count == before ? 0 : -1;
}

/* ---- the table ---- */

void tcp_rule_fill(struct tcp_rule *r, const Headgate__TcpProxy *tcp) {
    static char everything[] = "*", name[] = "tcp";
    *r = (struct tcp_rule){
        HEADGATE__ROUTE_TABLE__INIT, HEADGATE__HOST__INIT, {&r->host}, HEADGATE__RULE__INIT, {&r->rule},
        HEADGATE__FORWARD__INIT, HEADGATE__RETRY__INIT, HEADGATE__TIMEOUTS__INIT, {everything},
    };
    r->table.n_hosts = r->host.n_domains = r->host.n_rules = 1;
    r->table.hosts = r->hosts;
    r->host.domains = r->domains;
    r->host.rules = r->rules;
    r->rule.name = name;
    r->rule.action_case = HEADGATE__RULE__ACTION_FORWARD;
    r->rule.forward = &r->forward;
    r->forward.n_clusters = tcp->n_clusters;
    r->forward.clusters = tcp->clusters;
    r->rule.retry = &r->retry; /* of what connecting fails; another endpoint need not be waited for */
    r->retry.retries = tcp->max_connect_attempts - 1;
    r->retry.backoff = 0;
    r->rule.timeouts = &r->timeouts;
    r->timeouts.has_tunnel_idle = tcp->has_idle_timeout;
    r->timeouts.tunnel_idle = tcp->idle_timeout;
}
