#include "dataplane/admin/metrics.h"
#include "dataplane/admin/metrics_tls.h"

#include <inttypes.h>

#include "common/alloc.h"
#include "dataplane/http/http2_faults.h"
#include "dataplane/http/http3_faults.h"
#include "dataplane/snapshot/adopt.h"
#include "dataplane/snapshot/channel_client.h"
#include "dataplane/snapshot/dataplane.h"
#include "dataplane/snapshot/log_output.h"

static void add(struct strbuf *out, const char *name, const char *type, const char *help, uint64_t value) {
    strbuf_printf(out, "# HELP headgate_%s %s\n# TYPE headgate_%s %s\nheadgate_%s %" PRIu64 "\n", name, help,
                  name, type, name, value);
}

static void add_seconds(struct strbuf *out, const char *name, const char *type, const char *help,
                        uint64_t us) {
    strbuf_printf(out,
                  "# HELP headgate_%s %s\n# TYPE headgate_%s %s\nheadgate_%s %" PRIu64 ".%06" PRIu64 "\n",
                  name, help, name, type, name, us / 1000000, us % 1000000);
}

static void add_faults(struct strbuf *out, const char *name, int side, const char *const *words, int count,
                       const uint64_t *values) {
    for (int i = 1; i < count; i++)
        strbuf_printf(out, "%s{side=\"%s\",reason=\"%s\"} %" PRIu64 "\n", name,
                      side == STATS_TLS_CLIENTS ? "clients" : "origins", words[i], values[i]);
}

/* Every series is there from the start, so that a rate has a zero to begin with. */
static void add_h2_faults(struct strbuf *out, const struct totals *t) {
    static const char name[] = "headgate_h2_faults_total";
    static const char *const words[] = {
#define METRICS_WORD(fault, scope, code, word) word,
        H2_FAULTS(METRICS_WORD)
    };
    strbuf_printf(out, "# HELP %s Frames of HTTP/2 that break a rule or a bound, by reason\n# TYPE %s counter\n", name,
                  name);
    for (int side = 0; side < STATS_TLS_SIDES; side++)
        add_faults(out, name, side, words, H2_FAULT_COUNT, t->h2_faults[side]);
}

static void add_h3_faults(struct strbuf *out, const struct totals *t) {
    static const char name[] = "headgate_h3_faults_total";
    static const char *const words[] = {
        H3_FAULTS(METRICS_WORD)
#undef METRICS_WORD
    };
    strbuf_printf(out, "# HELP %s What of HTTP/3 breaks a rule or a bound, by reason\n# TYPE %s counter\n", name, name);
    for (int side = 0; side < STATS_TLS_SIDES; side++)
        add_faults(out, name, side, words, H3_FAULT_COUNT, t->h3_faults[side]);
}

static void add_ejections(struct strbuf *out, const struct totals *t) {
    static const char name[] = "headgate_ejections_total";
    static const char *const words[] = {
#define METRICS_WORD(reason, word) word,
        STATS_EJECTIONS(METRICS_WORD)
#undef METRICS_WORD
    };
    strbuf_printf(out, "# HELP %s Endpoints that outlier detection has ejected, by reason\n# TYPE %s counter\n", name, name);
    for (int i = 0; i < STATS_EJECTION_COUNT; i++)
        strbuf_printf(out, "%s{reason=\"%s\"} %" PRIu64 "\n", name, words[i], t->ejections[i]);
}

static void add_totals(struct strbuf *out, const struct dataplane *dataplane) {
    struct totals t;
    totals_read(dataplane, &t);
#define METRICS_COUNTER(name, help) add(out, #name, "counter", help, t.name);
#define METRICS_GAUGE(name, help) add(out, #name, "gauge", help, t.name);
    STATS_COUNTERS(METRICS_COUNTER)
    STATS_GAUGES(METRICS_GAUGE)
#undef METRICS_COUNTER
#undef METRICS_GAUGE
    metrics_render_tls(t.tls, out);
    add_h2_faults(out, &t);
    add_h3_faults(out, &t);
    add_ejections(out, &t);
}

/* How work is spread over threads. Their number is the process's, not the configuration's. */
static void add_workers(struct strbuf *out, const struct dataplane *dataplane) {
    static const struct {
        const char *name, *type, *help;
        size_t at; /* in struct stats */
    } series[] = {
        {"worker_requests_total", "counter", "Requests received, by worker", offsetof(struct stats, requests_total)},
        {"worker_connections", "gauge", "Open connections of clients, by worker", offsetof(struct stats, connections)},
    };
    add(out, "workers", "gauge", "Threads that serve traffic", dataplane_worker_count(dataplane));
    for (size_t k = 0; k < sizeof series / sizeof *series; k++) {
        strbuf_printf(out, "# HELP headgate_%s %s\n# TYPE headgate_%s %s\n", series[k].name, series[k].help, series[k].name,
                      series[k].type);
        for (unsigned i = 0; i < dataplane_worker_count(dataplane); i++) {
            const char *stats = (const char *)dataplane_worker_stats(dataplane, i);
            strbuf_printf(out, "headgate_%s{worker=\"%u\"} %" PRIu64 "\n", series[k].name, i,
                          stats_read((const _Atomic uint64_t *)(const void *)(stats + series[k].at)));
        }
    }
}

static void add_snapshot(struct strbuf *out, const struct metrics_source *s) {
    const struct resource_set *serving = s->adopter->serving;
    add(out, "snapshot_version", "gauge", "Version of the intent that is served, 0: none",
        serving ? serving->id.version : 0);
    add(out, "snapshot_generation", "gauge", "Generation of the state that is served",
        serving ? serving->id.generation : 0);
    add(out, "snapshot_resources", "gauge", "Resources that are served",
        serving ? serving->intent.count + serving->state.count : 0);
    add(out, "snapshot_is_last_known_good", "gauge",
        "1: what is served comes from disk and was not confirmed since", channel_client_is_unconfirmed(s->channel));
}

static void add_channel(struct strbuf *out, const struct channel_client *channel) {
    const struct channel_client_counts *c = channel_client_counts(channel);
    add(out, "control_plane_connected", "gauge", "1: the channel to the control plane is up",
        channel_client_is_connected(channel));
    add(out, "control_plane_connects_total", "counter", "Connections made to the control plane", c->connects);
    add(out, "control_plane_disconnects_total", "counter", "Connections to the control plane that ended",
        c->disconnects);
    add(out, "snapshots_prepared_total", "counter", "Snapshots that were checked and built", c->prepares);
    add(out, "snapshots_refused_total", "counter", "Snapshots that were refused after they had been checked",
        c->nacks);
    add(out, "snapshots_committed_total", "counter", "Snapshots that were committed by the control plane",
        c->commits);
}

static void add_log(struct strbuf *out, const struct log_output *log) {
    struct log_writer_counts c = log_output_counts(log);
    add(out, "access_log_written_bytes_total", "counter", "Bytes of the access log that were written",
        c.bytes);
    add(out, "access_log_lost_total", "counter", "Access log records lost in writes that failed", c.lost);
    add(out, "access_log_write_failures_total", "counter", "Writes of the access log that failed",
        c.failures);
}

static void add_process(struct strbuf *out, const struct metrics_source *s) {
    add(out, "draining", "gauge", "1: no new connections are taken", dataplane_is_draining(s->dataplane));
    add(out, "resident_bytes", "gauge", "Resident memory of the data plane",
        process_resident_bytes(s->usage));
    add(out, "heap_allocations_total", "counter",
        "Heap allocations of the data plane's own code, and through its free lists of libraries", hg_alloc_count());
    add_seconds(out, "cpu_seconds_total", "counter", "Processor time of the data plane", process_cpu_us());
    add_seconds(out, "start_time_seconds", "gauge", "When the data plane started, since 1970", s->started_at);
}

void metrics_render(const struct metrics_source *s, struct strbuf *out) {
    add_totals(out, s->dataplane);
    add_workers(out, s->dataplane);
    add_snapshot(out, s);
    add_channel(out, s->channel);
    add_log(out, s->log);
    add_process(out, s);
}
