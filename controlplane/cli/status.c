#include <inttypes.h>

#include "common/plural.h"
#include "controlplane/cli/certificates.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/reply.h"

enum {
    ENDPOINTS_SHOWN = 8,        /* of each cluster; --cluster and --output json have more */
    HIDDEN_SHOWN = 8,           /* resources of one layer; likewise */
};

static enum style state_style(const char *state) {
    return strcmp(state, "in-sync") == 0 ? STYLE_GOOD : strcmp(state, "nacked") == 0 ? STYLE_BAD : STYLE_WARN;
}

static void print_head(const struct cli *cli, const Headgate__StatusReply *r) {
    char age[32];
    cli_format_age(r->started_at, age);
    cli_print(cli, STYLE_TITLE, "control plane");
    cli_print(cli, STYLE_PLAIN, "  %s, up %s, ", r->software ? r->software : "", age);
    if (r->has_version)
        cli_print(cli, STYLE_PLAIN, "version %" PRIu64, r->version);
    else
        cli_print(cli, STYLE_WARN, "no version yet");
    if (r->has_pinned_version)
        cli_print(cli, STYLE_WARN, ", pinned to %" PRIu64 " by a rollback", r->pinned_version);
    if (r->watched_file)
        cli_print(cli, STYLE_PLAIN, ", watching %s", r->watched_file);
    cli_print(cli, STYLE_PLAIN, "\n");
}

/* Behind an address. */
static const char *transport_of(const Headgate__ListenerReport *l) {
    return !l->udp ? "" : l->tcp ? "+udp" : "/udp";
}

static void add_listeners(struct table *t, const Headgate__Report *report) {
    struct strbuf text = {0};
    for (size_t i = 0; report && i < report->n_listeners; i++)
        for (size_t j = 0; j < report->listeners[i]->n_addresses; j++)
            strbuf_printf(&text, "%s%s%s", text.n ? " " : "", report->listeners[i]->addresses[j],
                          transport_of(report->listeners[i]));
    table_add(t, STYLE_PLAIN, "%s", text.p ? text.p : "");
    strbuf_finish(&text);
}

static void add_data_plane(struct table *t, const Headgate__DataPlaneStatus *d) {
    char connected[32], acked[32] = "";
    cli_format_age(d->connected_at, connected);
    if (d->has_acked_at)
        cli_format_age(d->acked_at, acked);
    table_add(t, STYLE_NAME, "  %s", d->node ? d->node : "");
    table_add(t, state_style(d->state ? d->state : ""), "%s", d->state ? d->state : "");
    if (d->serving)
        table_add(t, STYLE_PLAIN, "%" PRIu64, d->serving->version);
    else
        table_add(t, STYLE_WARN, "none");
    table_add(t, STYLE_PLAIN, "%s", acked);
    table_add(t, STYLE_PLAIN, "%s", connected);
    table_add(t, STYLE_PLAIN, "%" PRIu64, d->report ? d->report->connections : 0);
    table_add(t, STYLE_PLAIN, "%" PRIu64, d->report ? d->report->requests : 0);
    add_listeners(t, d->report);
}

static void print_data_planes(const struct cli *cli, const Headgate__StatusReply *r) {
    static const char *const titles[] = {"  NODE",    "STATE",       "VERSION",  "SWITCHED",
                                         "CONNECTED", "CONNECTIONS", "REQUESTS", "LISTENS ON"};
    struct table t;
    cli_print(cli, STYLE_TITLE, "data planes\n");
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < t.columns && r->n_data_planes; i++)
        table_add(&t, STYLE_DIM, "%s", titles[i]);
    for (size_t i = 0; i < r->n_data_planes; i++)
        add_data_plane(&t, r->data_planes[i]);
    table_print(cli, &t);
    table_finish(&t);
}

static void print_away(const struct cli *cli, const Headgate__StatusReply *r) {
    static const char *const titles[] = {"  NODE", "LAST SEEN", "VERSION", "SOFTWARE"};
    struct table t;
    if (r->n_away == 0)
        return;
    cli_print(cli, STYLE_TITLE, "data planes that are away\n");
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, STYLE_DIM, "%s", titles[i]);
    for (size_t i = 0; i < r->n_away; i++) {
        const Headgate__AwayDataPlane *a = r->away[i];
        char seen[32];
        cli_format_age(a->seen_at, seen);
        table_add(&t, STYLE_NAME, "  %s", a->node ? a->node : "");
        table_add(&t, STYLE_WARN, "%s ago", seen);
        table_add(&t, STYLE_PLAIN, a->has_version ? "%" PRIu64 : "none", a->version);
        table_add(&t, STYLE_PLAIN, "%s", a->software ? a->software : "");
    }
    table_print(cli, &t);
    table_finish(&t);
}

/* What was pushed is not listed: it is what people know. */
static void add_layer(struct table *t, const Headgate__LayerStatus *layer) {
    struct strbuf hidden = {0};
    size_t shown = 0;
    for (size_t i = 0; i < layer->n_items && layer->items[i]->hidden_by && shown < HIDDEN_SHOWN; i++) {
        const Headgate__LayerResource *r = layer->items[i];
        const char *kind = kind_name(r->kind);
        strbuf_printf(&hidden, "%s%s/%s by %s", shown++ ? ", " : "", kind ? kind : "?", r->name ? r->name : "",
                      r->hidden_by);
    }
    if (layer->hidden > shown)
        strbuf_printf(&hidden, "%s%" PRIu64 " more", shown ? " and " : "", layer->hidden - shown);
    table_add(t, STYLE_NAME, "  %s", layer->name ? layer->name : "");
    table_add(t, STYLE_PLAIN, "%" PRIu64, layer->resources);
    table_add(t, STYLE_WARN, "%s", hidden.p ? hidden.p : "");
    strbuf_finish(&hidden);
}

static void print_layers(const struct cli *cli, const Headgate__StatusReply *r) {
    static const char *const titles[] = {"  LAYER", "RESOURCES", "HIDDEN"};
    struct table t;
    if (r->n_layers == 0)
        return;
    cli_print(cli, STYLE_TITLE, "where resources come from\n");
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        table_add(&t, STYLE_DIM, "%s", titles[i]);
    for (size_t i = 0; i < r->n_layers; i++)
        add_layer(&t, r->layers[i]);
    table_print(cli, &t);
    table_finish(&t);
}

static const char *health_text(Headgate__Endpoint__Health health) {
    switch (health) {
    case HEADGATE__ENDPOINT__HEALTH__HEALTHY: return "healthy";
    case HEADGATE__ENDPOINT__HEALTH__UNHEALTHY: return "unhealthy";
    case HEADGATE__ENDPOINT__HEALTH__DRAINING: return "draining";
    default: return "not checked";
    }
}

static enum style health_style(Headgate__Endpoint__Health health) {
    return health == HEADGATE__ENDPOINT__HEALTH__HEALTHY     ? STYLE_GOOD
           : health == HEADGATE__ENDPOINT__HEALTH__UNHEALTHY ? STYLE_BAD
                                                             : STYLE_DIM;
}

static void add_last_failure(struct table *t, const Headgate__EndpointStatus *e) {
    char age[32];
    cli_format_age(e->failed_at, age);
    bool is_over = e->health == HEADGATE__ENDPOINT__HEALTH__HEALTHY;
    if (e->last_failure)
        table_add(t, is_over ? STYLE_DIM : STYLE_WARN, "%s, %s ago", e->last_failure, age);
    else
        table_add(t, STYLE_PLAIN, "%s", "");
}

static void add_cluster(struct table *t, const Headgate__ClusterStatus *c, size_t most) {
    size_t shown = c->n_endpoints < most ? c->n_endpoints : most;
    for (size_t i = 0; i < shown; i++) {
        const Headgate__EndpointStatus *e = c->endpoints[i];
        table_add(t, STYLE_NAME, "  %s", i ? "" : c->name ? c->name : "");
        table_add(t, STYLE_PLAIN, "%s", e->address ? e->address : "");
        table_add(t, STYLE_PLAIN, "%" PRIu32, e->weight);
        table_add(t, health_style(e->health), "%s", health_text(e->health));
        table_add(t, STYLE_DIM, "%s", e->source ? e->source : "");
        add_last_failure(t, e);
    }
    if (c->endpoint_count > shown || c->endpoint_count == 0) {
        table_add(t, STYLE_NAME, "  %s", shown ? "" : c->name ? c->name : "");
        size_t left = (size_t)c->endpoint_count - shown;
        table_add(t, left ? STYLE_DIM : STYLE_WARN, "%s%zu %s%s", shown ? "and " : "", left, shown ? "more" : "endpoint",
                  shown ? "" : plural(left));
        for (int i = 0; i < 4; i++)
            table_add(t, STYLE_PLAIN, "%s", "");
    }
}

/* At most so many endpoints of each. */
static void print_clusters(const struct cli *cli, const Headgate__StatusReply *r, size_t most) {
    static const char *const titles[] = {"  CLUSTER", "ENDPOINT", "WEIGHT", "HEALTH", "FROM", "LAST FAILURE"};
    struct table t;
    if (r->n_clusters == 0)
        return;
    cli_print(cli, STYLE_TITLE, "clusters\n");
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, STYLE_DIM, "%s", titles[i]);
    for (size_t i = 0; i < r->n_clusters; i++)
        add_cluster(&t, r->clusters[i], most);
    table_print(cli, &t);
    table_finish(&t);
}

static void add_discovery(struct table *t, const char *cluster, const Headgate__DiscoveryStatus *d) {
    char age[32];
    table_add(t, STYLE_NAME, "  %s", cluster ? cluster : "");
    table_add(t, STYLE_PLAIN, "%s", d->kind ? d->kind : "");
    table_add(t, STYLE_PLAIN, "%s", d->target ? d->target : "");
    cli_format_age(d->asked_at, age);
    table_add(t, STYLE_PLAIN, d->has_asked_at ? "%s ago" : "never", age);
    cli_format_age(d->found_at, age);
    table_add(t, d->has_found_at ? STYLE_PLAIN : STYLE_WARN, d->has_found_at ? "%s ago" : "never", age);
    table_add(t, d->failure ? STYLE_BAD : STYLE_GOOD, "%s", d->failure ? "failing" : d->has_found_at ? "ok" : "");
}

static void print_discovery(const struct cli *cli, const Headgate__StatusReply *r) {
    static const char *const titles[] = {"  CLUSTER", "KIND", "WHERE", "ASKED", "FOUND", "STATE"};
    struct table t;
    size_t count = 0;
    for (size_t i = 0; i < r->n_clusters; i++)
        count += r->clusters[i]->discovery != NULL;
    if (count == 0)
        return;
    cli_print(cli, STYLE_TITLE, "discovery\n");
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, STYLE_DIM, "%s", titles[i]);
    for (size_t i = 0; i < r->n_clusters; i++)
        if (r->clusters[i]->discovery)
            add_discovery(&t, r->clusters[i]->name, r->clusters[i]->discovery);
    table_print(cli, &t);
    table_finish(&t);
}

static void add_management_server(struct table *t, const Headgate__ManagementServerStatus *s) {
    const char *state = s->state ? s->state : "";
    bool is_answering = strcmp(state, "answering") == 0, is_failing = strcmp(state, "failing") == 0;
    char answered[32] = "";
    if (s->has_answered_at)
        cli_format_age(s->answered_at, answered);
    table_add(t, STYLE_NAME, "  %s", s->name ? s->name : "");
    table_add(t, is_answering ? STYLE_GOOD : is_failing ? STYLE_BAD : STYLE_DIM, "%s%s", state, s->used ? ", in use" : "");
    table_add(t, s->has_answered_at ? STYLE_PLAIN : STYLE_WARN, s->has_answered_at ? "%s ago" : "never", answered);
    table_add(t, STYLE_PLAIN, "%" PRIu64, s->streams);
    table_add(t, STYLE_PLAIN, "%" PRIu64, s->responses);
    table_add(t, s->nacks ? STYLE_WARN : STYLE_PLAIN, "%" PRIu64, s->nacks);
}

static void print_management_servers(const struct cli *cli, const Headgate__StatusReply *r) {
    static const char *const titles[] = {"  SERVER", "STATE", "ANSWERED", "STREAMS", "RESPONSES", "REFUSED"};
    struct table t;
    if (r->n_management_servers == 0)
        return;
    cli_print(cli, STYLE_TITLE, "management servers\n");
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, STYLE_DIM, "%s", titles[i]);
    for (size_t i = 0; i < r->n_management_servers; i++)
        add_management_server(&t, r->management_servers[i]);
    table_print(cli, &t);
    table_finish(&t);
}

static void add_member(struct table *t, const Headgate__EtcdMemberStatus *m) {
    char answered[32] = "";
    if (m->has_answered_at)
        cli_format_age(m->answered_at, answered);
    table_add(t, STYLE_NAME, "  %s", m->name ? m->name : "");
    table_add(t, m->error ? STYLE_BAD : STYLE_GOOD, "%s%s", m->error ? "failing" : m->connected ? "connected" : "idle",
              m->used ? ", in use" : "");
    table_add(t, m->has_answered_at ? STYLE_PLAIN : STYLE_WARN, m->has_answered_at ? "%s ago" : "never", answered);
    table_add(t, m->failures ? STYLE_WARN : STYLE_PLAIN, "%" PRIu64, m->failures);
}

static void print_etcd(const struct cli *cli, const Headgate__StatusReply *r) {
    static const char *const titles[] = {"  MEMBER", "STATE", "ANSWERED", "FAILURES"};
    const Headgate__EtcdStatus *e = r->etcd;
    struct table t;
    if (!e)
        return;
    cli_print(cli, STYLE_TITLE, "etcd");
    cli_print(cli, STYLE_PLAIN, " %s: configuration %s", e->prefix ? e->prefix : "", e->state ? e->state : "");
    if (e->has_pushed_version)
        cli_print(cli, STYLE_PLAIN, ", version %" PRIu64 " by %s%s%s", e->pushed_version, e->author ? e->author : "somebody",
                  e->message ? ": " : "", e->message ? e->message : "");
    cli_print(cli, STYLE_PLAIN, "\n");
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, STYLE_DIM, "%s", titles[i]);
    for (size_t i = 0; i < e->n_members; i++)
        add_member(&t, e->members[i]);
    table_print(cli, &t);
    table_finish(&t);
}

static void print_problems(const struct cli *cli, const Headgate__StatusReply *r) {
    if (r->n_problems == 0) {
        cli_print(cli, STYLE_GOOD, "nothing is wrong\n");
        return;
    }
    cli_print(cli, STYLE_TITLE, "what is wrong\n");
    for (size_t i = 0; i < r->n_problems; i++) {
        const struct error e = cli_problem_error(r->problems[i]);
        struct strbuf text = {0};
        error_format(&e, &text);
        cli_print(cli, r->problems[i]->is_warning ? STYLE_WARN : STYLE_BAD, "  %s\n", text.p ? text.p : "");
        strbuf_finish(&text);
    }
}

static void print_all(const struct cli *cli, const Headgate__StatusReply *r) {
    print_head(cli, r);
    print_data_planes(cli, r);
    print_away(cli, r);
    print_layers(cli, r);
    print_clusters(cli, r, ENDPOINTS_SHOWN);
    print_discovery(cli, r);
    print_management_servers(cli, r);
    print_etcd(cli, r);
    print_certificates(cli, r);
    print_problems(cli, r);
}

static void print_one(const struct cli *cli, const Headgate__StatusReply *r) {
    print_clusters(cli, r, SIZE_MAX);
    print_discovery(cli, r);
    print_problems(cli, r);
}

int command_status(struct cli *cli, const struct options *options) {
    Headgate__StatusRequest request = HEADGATE__STATUS_REQUEST__INIT;
    int exit_code = EXIT_DONE;
    request.cluster = (char *)(uintptr_t)options_get(options, "cluster");
    Headgate__StatusReply *reply = cli_call(cli, "/headgate.Admin/Status", &request,
                                            &headgate__status_reply__descriptor, "asking", &exit_code);
    if (!reply)
        return exit_code;
    if (request.cluster && reply->n_clusters == 0) {
        cli_error(cli, "there is no cluster \"%s\"", request.cluster);
        exit_code = EXIT_REFUSED;
    } else if (cli->is_json) {
        reply_print_json(reply);
    } else {
        (request.cluster ? print_one : print_all)(cli, reply);
    }
    headgate__status_reply__free_unpacked(reply, NULL);
    return exit_code;
}
