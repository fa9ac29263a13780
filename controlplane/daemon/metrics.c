#include "controlplane/daemon/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "controlplane/etcd/layer.h"
#include "controlplane/etcd/registry.h"

/* ---- lines of the text format ---- */

static void head(struct strbuf *out, const char *name, const char *type, const char *help) {
    strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct strbuf *out, const char *name, const char *type, const char *help, uint64_t value) {
    head(out, name, type, help);
    strbuf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void seconds(struct strbuf *out, const char *name, const char *type, const char *help, uint64_t us) {
    head(out, name, type, help);
    strbuf_printf(out, "%s %" PRIu64 ".%06" PRIu64 "\n", name, us / 1000000, us % 1000000);
}

static void labelled(struct strbuf *out, const char *name, const char *label, const char *value,
                     uint64_t number) {
    strbuf_printf(out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, value, number);
}

/* ---- the control plane ---- */

static void add_versions(struct strbuf *out, struct engine *e) {
    const struct snapshot *current = channel_current(engine_channel(e));
    struct store *store = engine_store(e);
    single(out, "headgate_controlplane_version", "gauge", "Version of the intent; 0: none.",
           current ? current->version : 0);
    single(out, "headgate_controlplane_generation", "gauge", "Generation of the state.",
           current ? current->generation : 0);
    single(out, "headgate_controlplane_pinned_version", "gauge", "Version that a rollback pinned; 0: none.",
           store_pinned_version(store));
    single(out, "headgate_controlplane_versions_stored", "gauge", "Versions in the store.",
           store_version_count(store));
    single(out, "headgate_controlplane_certificate_expiry_seconds", "gauge",
           "When the first certificate expires, seconds since 1970; 0: there is none.", engine_first_expiry(e) / 1000000);
    single(out, "headgate_controlplane_certificate_problems", "gauge",
           "Files and Secrets with certificates that are not as they should be.",
           engine_secret_problems(e)->count + engine_followed_problems(e)->count);
    single(out, "headgate_controlplane_resources", "gauge", "Resources of the current version.",
           current ? current->intent->count : 0);
}

static void add_data_planes(struct strbuf *out, const struct channel *channel) {
    static const char *const names[] = {"in-sync", "behind", "nacked"};
    uint64_t counts[3] = {0};
    for (const struct data_plane *dp = channel_first(channel); dp; dp = channel_after(dp))
        if (dp->node && dp->state != DATA_PLANE_ENDED)
            counts[channel_health(channel, dp)]++;
    head(out, "headgate_controlplane_data_planes", "gauge", "Connected data planes.");
    for (int i = 0; i < 3; i++)
        labelled(out, "headgate_controlplane_data_planes", "state", names[i], counts[i]);
}

static void add_channel(struct strbuf *out, const struct channel *channel) {
    const struct channel_counters *c = channel_counters(channel);
    single(out, "headgate_controlplane_streams_total", "counter", "Streams that data planes opened.",
           c->connects);
    single(out, "headgate_controlplane_refusals_total", "counter", "Data planes that were refused.",
           c->refusals);
    single(out, "headgate_controlplane_transfers_total", "counter", "Snapshots that were begun to be sent.",
           c->transfers);
    single(out, "headgate_controlplane_acks_total", "counter", "Switches that data planes acknowledged.",
           c->acks);
    single(out, "headgate_controlplane_nacks_total", "counter", "Snapshots that data planes refused.",
           c->nacks);
    single(out, "headgate_controlplane_losses_total", "counter", "Transfers that ended with their stream.",
           c->losses);
    single(out, "headgate_controlplane_sent_bytes_total", "counter", "Bytes of Prepare messages.",
           c->sent_bytes);
    single(out, "headgate_controlplane_endpoint_serves_total", "counter",
           "Switches of data planes to changed endpoints, outside pushes.", c->served_changes);
    seconds(out, "headgate_controlplane_endpoint_serve_seconds_total", "counter",
            "Their time: from when the change was known until every worker of the data plane had switched.", c->served_us);
}

static void add_pushes(struct strbuf *out, const struct engine *e) {
    const ProtobufCEnumDescriptor *outcomes = &headgate__push_reply__outcome__descriptor;
    const struct engine_counters *c = engine_counters(e);
    head(out, "headgate_controlplane_pushes_total", "counter", "Pushes by outcome.");
    for (unsigned i = 0; i < outcomes->n_values; i++)
        labelled(out, "headgate_controlplane_pushes_total", "outcome", outcomes->values[i].name,
                 c->pushes[outcomes->values[i].value]);
    single(out, "headgate_controlplane_pushes", "gauge", "Pushes that are under way, or wait.", engine_pushes(e));
    seconds(out, "headgate_controlplane_push_seconds_total", "counter",
            "Time of committed and stored pushes, from accepted to every worker switched.", c->push_us);
    seconds(out, "headgate_controlplane_store_seconds_total", "counter",
            "Part of it: making versions durable.", c->store_us);
    single(out, "headgate_controlplane_store_errors_total", "counter", "Versions that could not be stored.",
           c->store_errors);
}

static void add_calls(struct strbuf *out, const struct admin *admin) {
    head(out, "headgate_controlplane_calls_total", "counter", "Calls of the admin service.");
    for (int i = 0; i < ADMIN_METHODS; i++)
        labelled(out, "headgate_controlplane_calls_total", "method", admin_method_name((enum admin_method)i),
                 admin->calls[i]);
    if (!admin->file_source)
        return;
    const struct file_source_counters *c = file_source_counters(admin->file_source);
    single(out, "headgate_controlplane_file_loads_total", "counter",
           "Times that the watched file had changed.", c->loads);
    single(out, "headgate_controlplane_file_failures_total", "counter", "Times that it was refused.",
           c->failures);
    single(out, "headgate_controlplane_file_is_served", "gauge",
           "The watched file as it is now is what is served.",
           !file_source_failure(admin->file_source) && !file_source_is_held_back(admin->file_source));
}

static void add_sources(struct strbuf *out, const struct engine_source_totals totals[SOURCE_KINDS]) {
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } series[] = {
        {"headgate_controlplane_discovery_sources", "gauge", "Clusters whose endpoints are looked for.",
         offsetof(struct engine_source_totals, sources)},
        {"headgate_controlplane_discovery_failing", "gauge", "Of those, whose source failed the last time.",
         offsetof(struct engine_source_totals, failing)},
        {"headgate_controlplane_discovery_left_out", "gauge",
         "Servers that were found and are not used: too many in one answer.",
         offsetof(struct engine_source_totals, left_out)},
        {"headgate_controlplane_discovery_asked_total", "counter", "Times that sources were asked.",
         offsetof(struct engine_source_totals, asked)},
        {"headgate_controlplane_discovery_failures_total", "counter", "Times that they failed.",
         offsetof(struct engine_source_totals, failures)},
    };
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) {
        head(out, series[i].name, series[i].type, series[i].help);
        for (size_t kind = 0; kind < SOURCE_KINDS; kind++)
            labelled(out, series[i].name, "kind", totals[kind].kind,
                     *(const uint64_t *)((const char *)&totals[kind] + series[i].offset));
    }
}

static void add_dns(struct strbuf *out, const struct resolver_counters *c) {
    single(out, "headgate_controlplane_dns_queries_total", "counter", "Queries to DNS servers.", c->queries);
    head(out, "headgate_controlplane_dns_answers_total", "counter", "What came of them.");
    labelled(out, "headgate_controlplane_dns_answers_total", "outcome", "found", c->answers);
    labelled(out, "headgate_controlplane_dns_answers_total", "outcome", "nothing", c->nothing);
    labelled(out, "headgate_controlplane_dns_answers_total", "outcome", "failed", c->failures);
}

static void add_kubernetes(struct strbuf *out, const struct reflector_counters *c) {
    single(out, "headgate_controlplane_kubernetes_lists_total", "counter", "Collections of an API server that were listed.",
           c->lists);
    single(out, "headgate_controlplane_kubernetes_watches_total", "counter", "Watches that were begun.", c->watches);
    single(out, "headgate_controlplane_kubernetes_events_total", "counter", "Events of watches.", c->events);
    single(out, "headgate_controlplane_kubernetes_bookmarks_total", "counter", "Of those, bookmarks.", c->bookmarks);
    single(out, "headgate_controlplane_kubernetes_gone_total", "counter",
           "Times that the place of a watch was no longer known to the server (410).", c->gone);
    single(out, "headgate_controlplane_kubernetes_failures_total", "counter", "Lists and watches that failed.", c->failures);
}

static void add_health(struct strbuf *out, const struct health_counters *c) {
    single(out, "headgate_controlplane_health_checks_total", "counter", "Checks of endpoints.", c->checks);
    single(out, "headgate_controlplane_health_failures_total", "counter", "Checks that failed.", c->failures);
    single(out, "headgate_controlplane_health_timeouts_total", "counter", "Checks that took too long.", c->timeouts);
    single(out, "headgate_controlplane_health_connects_total", "counter", "Connections for checks.", c->connects);
    single(out, "headgate_controlplane_health_changes_total", "counter",
           "Times that an endpoint became healthy or unhealthy.", c->changes);
    single(out, "headgate_controlplane_health_late_total", "counter",
           "Checks that began more than a second late: the checking thread is overloaded.", c->late);
    single(out, "headgate_controlplane_health_reused_total", "counter", "Checks on a kept connection.", c->reused);
    single(out, "headgate_controlplane_health_put_off_total", "counter",
           "Checks that were not made for want of memory, descriptors or ports here.", c->put_off);
    single(out, "headgate_controlplane_health_connections", "gauge", "Connections for checks that are open.",
           c->connections);
    single(out, "headgate_controlplane_health_endpoints", "gauge", "Endpoints that are checked.", c->endpoints);
    single(out, "headgate_controlplane_health_unhealthy", "gauge", "Of those, unhealthy ones.", c->unhealthy);
}

static void add_endpoints(struct strbuf *out, const struct engine *e) {
    struct engine_endpoint_counters c;
    engine_endpoint_counters(e, &c);
    single(out, "headgate_controlplane_endpoint_generations_total", "counter",
           "Generations of the state that were made for changed endpoints.", c.generations);
    single(out, "headgate_controlplane_endpoint_saves_total", "counter", "Times that they were stored.", c.saves);
    add_sources(out, c.sources);
    add_dns(out, c.resolver);
    if (c.has_kubernetes)
        add_kubernetes(out, &c.kubernetes);
    if (c.health)
        add_health(out, c.health);
}

/* ---- management servers ---- */

static void add_of_each_server(struct strbuf *out, const struct xds_client *xds, const char *name, size_t offset) {
    for (size_t i = 0; i < xds_client_server_count(xds); i++) {
        struct xds_server_status s;
        uint64_t value;
        xds_client_server_status(xds, i, &s);
        memcpy(&value, (const char *)&s + offset, sizeof value);
        strbuf_printf(out, "%s{server=", name);
        strbuf_add_json(out, str_of(s.name));
        strbuf_printf(out, "} %" PRIu64 "\n", value);
    }
}

static void add_server_states(struct strbuf *out, const struct xds_client *xds) {
    static const char name[] = "headgate_controlplane_xds_server";
    head(out, name, "gauge", "State of each management server; `used`: its resources count.");
    for (size_t i = 0; i < xds_client_server_count(xds); i++) {
        struct xds_server_status s;
        xds_client_server_status(xds, i, &s);
        strbuf_printf(out, "%s{server=", name);
        strbuf_add_json(out, str_of(s.name));
        strbuf_printf(out, ",state=\"%s\",used=\"%s\",connected=\"%s\"} 1\n", xds_server_state_name(s.state),
                      s.is_used ? "yes" : "no", s.is_connected ? "yes" : "no");
    }
}

static void add_xds(struct strbuf *out, const struct xds_client *xds) {
#define OF_SERVER(field) offsetof(struct xds_server_status, field)
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } series[] = {
        {"streams", "gauge", "Streams that are open.", OF_SERVER(streams_open)},
        {"streams_opened_total", "counter", "Streams that were opened, or tried to be.", OF_SERVER(streams_opened)},
        {"stream_failures_total", "counter", "Streams that ended before an answer.", OF_SERVER(streams_failed)},
        {"requests_total", "counter", "Requests.", OF_SERVER(counters.requests)},
        {"responses_total", "counter", "Responses.", OF_SERVER(counters.responses)},
        {"acks_total", "counter", "Responses that were accepted.", OF_SERVER(counters.acks)},
        {"nacks_total", "counter", "Responses that were refused.", OF_SERVER(counters.nacks)},
        {"ignored_resources_total", "counter", "Resources that nobody asked for.", OF_SERVER(counters.ignored_resources)},
        {"resource_timeouts_total", "counter", "Resources that did not come in time.", OF_SERVER(counters.timeouts)},
        {"resources_expired_total", "counter", "Resources whose time to live was over.", OF_SERVER(counters.expired)},
        {"deletions_ignored_total", "counter", "Resources that are used although the server has them no more.",
         OF_SERVER(counters.deletions_ignored)},
        {"holds_expired_total", "counter", "Responses that were accepted before data planes were ready.",
         OF_SERVER(counters.holds_expired)},
        {"late_refusals_total", "counter", "Refusals by data planes of what had been accepted.",
         OF_SERVER(counters.late_refusals)},
    };
#undef OF_SERVER
    add_server_states(out, xds);
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) {
        char name[96];
        snprintf(name, sizeof name, "headgate_controlplane_xds_%s", series[i].name);
        head(out, name, series[i].type, series[i].help);
        add_of_each_server(out, xds, name, series[i].offset);
    }
}

/* ---- etcd ---- */

static void add_of_each_member(struct strbuf *out, const struct etcd *e, const char *name, size_t offset) {
    for (size_t i = 0; i < etcd_member_count(e); i++) {
        struct etcd_member_status s;
        uint64_t value;
        etcd_member_status(e, i, &s);
        memcpy(&value, (const char *)&s + offset, sizeof value);
        strbuf_printf(out, "%s{member=", name);
        strbuf_add_json(out, str_of(s.name));
        strbuf_printf(out, "} %" PRIu64 "\n", value);
    }
}

static void add_members(struct strbuf *out, const struct etcd *e) {
    static const char state[] = "headgate_controlplane_etcd_member";
    static const char failures[] = "headgate_controlplane_etcd_member_failures_total";
    head(out, state, "gauge", "Members; `used`: the one that is asked.");
    for (size_t i = 0; i < etcd_member_count(e); i++) {
        struct etcd_member_status s;
        etcd_member_status(e, i, &s);
        strbuf_printf(out, "%s{member=", state);
        strbuf_add_json(out, str_of(s.name));
        strbuf_printf(out, ",used=\"%s\",connected=\"%s\"} 1\n", s.is_used ? "yes" : "no", s.is_connected ? "yes" : "no");
    }
    head(out, failures, "counter", "Calls and watches that failed there.");
    add_of_each_member(out, e, failures, offsetof(struct etcd_member_status, failures));
}

static void add_followed(struct strbuf *out, const struct etcd_follower_counters *configuration,
                         const struct etcd_follower_counters *endpoints) {
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } series[] = {
        {"lists_total", "counter", "Times that all keys were asked for.", offsetof(struct etcd_follower_counters, lists)},
        {"watches_total", "counter", "Watches that were begun.", offsetof(struct etcd_follower_counters, watches)},
        {"events_total", "counter", "Answers of watches that said something.",
         offsetof(struct etcd_follower_counters, events)},
        {"failures_total", "counter", "Lists and watches that failed.", offsetof(struct etcd_follower_counters, failures)},
        {"revision", "gauge", "Revision of etcd up to which all changes are known; 0: none.",
         offsetof(struct etcd_follower_counters, revision)},
    };
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) {
        char name[96];
        snprintf(name, sizeof name, "headgate_controlplane_etcd_%s", series[i].name);
        head(out, name, series[i].type, series[i].help);
        labelled(out, name, "of", "configuration", *(const uint64_t *)((const char *)configuration + series[i].offset));
        labelled(out, name, "of", "endpoints", *(const uint64_t *)((const char *)endpoints + series[i].offset));
    }
}

static void add_etcd(struct strbuf *out, const struct etcd_layer *layer, const struct etcd_registry *registry) {
    const struct etcd *e = etcd_layer_etcd(layer);
    struct etcd_follower_counters endpoints;
    struct etcd_layer_status s;
    etcd_layer_status(layer, &s);
    etcd_registry_counters(registry, &endpoints);
    head(out, "headgate_controlplane_etcd_configuration", "gauge", "State of the configuration that etcd has.");
    labelled(out, "headgate_controlplane_etcd_configuration", "state", etcd_layer_state_name(s.state), 1);
    single(out, "headgate_controlplane_etcd_version", "gauge", "Version of it that is in use; 0: none since the start.",
           s.version);
    single(out, "headgate_controlplane_etcd_pushed_version", "gauge", "Version that was pushed last; 0: none.",
           s.pushed.version);
    single(out, "headgate_controlplane_etcd_registrations", "gauge", "Endpoints that are registered, of all services.",
           etcd_registry_count(registry));
    single(out, "headgate_controlplane_etcd_logins_total", "counter", "Tokens that were fetched.", etcd_logins(e));
    add_members(out, e);
    add_followed(out, &s.counters, &endpoints);
}

/* ---- the process ---- */

static uint64_t resident_bytes(void) {
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_descriptors(void) {
    uint64_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count > 3 ? count - 3 : 0; /* ".", "..", and the folder itself */
}

static void add_process(struct strbuf *out, const struct admin *admin) {
    single(out, "process_resident_memory_bytes", "gauge", "Resident memory size.", resident_bytes());
    single(out, "process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
    seconds(out, "process_cpu_seconds_total", "counter", "User and system time.",
            clock_read_us(CLOCK_PROCESS_CPUTIME_ID));
    seconds(out, "process_start_time_seconds", "gauge", "Start since 1970.", admin->started_at);
}

static void add_all(struct strbuf *out, const struct admin *admin) {
    head(out, "headgate_build_info", "gauge", "Constant.");
    strbuf_puts(out, "headgate_build_info{version=\"" HG_VERSION "\"} 1\n");
    add_versions(out, admin->engine);
    add_data_planes(out, engine_channel(admin->engine));
    add_channel(out, engine_channel(admin->engine));
    add_pushes(out, admin->engine);
    add_endpoints(out, admin->engine);
    add_calls(out, admin);
    if (admin->xds)
        add_xds(out, admin->xds);
    if (admin->etcd)
        add_etcd(out, admin->etcd, admin->registry);
    add_process(out, admin);
}

/* ---- paths ---- */

static void answer_probe(struct admin_http_answer *answer, bool is_good, const char *why_not) {
    answer->status = is_good ? 200 : 503;
    strbuf_printf(&answer->body, "%s\n", is_good ? "ok" : why_not);
}

void metrics_answer(void *metrics_source, struct str path, struct admin_http_answer *answer) {
    const struct metrics_source *m = metrics_source;
    if (str_eq(path, STR("/livez"))) {
        answer_probe(answer, true, NULL);
    } else if (str_eq(path, STR("/startupz"))) {
        answer_probe(answer, m->is_started, "starting");
    } else if (str_eq(path, STR("/readyz"))) {
        answer_probe(answer, m->is_started && !m->is_stopping, m->is_stopping ? "stopping" : "starting");
    } else if (str_eq(path, STR("/metrics"))) {
        answer->status = 200;
        answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
        add_all(&answer->body, m->admin);
    }
}
