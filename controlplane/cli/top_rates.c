#include "controlplane/cli/top_rates.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"

/* ---- finding what belongs together ---- */

static const Headgate__Observation *observation_of(const Headgate__TopDataPlane *d, uint64_t since) {
    return d->observation && d->observation->asked >= since ? d->observation : NULL;
}

/* What the data plane answered before, this process or an earlier one; NULL: it did not. */
static const Headgate__Observation *earlier(const Headgate__TopReply *before, const Headgate__TopDataPlane *d,
                                            uint64_t since) {
    for (size_t i = 0; before && i < before->n_data_planes; i++) {
        const Headgate__TopDataPlane *b = before->data_planes[i];
        if (b->node && d->node && strcmp(b->node, d->node) == 0)
            return observation_of(b, since);
    }
    return NULL;
}

static int compare_counts(const void *key, const void *element) {
    const Headgate__ClusterCounts *const *c = element;
    return strcmp(key, (*c)->name ? (*c)->name : "");
}

/* Data planes answer in the order of names. */
static const Headgate__ClusterCounts *find_counts(const Headgate__Observation *o, const char *name) {
    if (!o || !o->n_clusters)
        return NULL;
    Headgate__ClusterCounts **found = bsearch(name, o->clusters, o->n_clusters, sizeof *o->clusters, compare_counts);
    return found ? *found : NULL;
}

/* Counts only grow, so a lower one was counted from zero. */
static uint64_t grown(uint64_t before, uint64_t now) {
    return now >= before ? now - before : now;
}

static double rate(uint64_t before, uint64_t now, double seconds) {
    return seconds > 0 ? (double)grown(before, now) / seconds : 0;
}

/* ---- clusters ---- */

struct sample {
    const Headgate__Observation *before, *now;   /* before NULL: from zero */
    double seconds;                              /* between them; 0: no rates */
};

static uint64_t errors_of(const Headgate__ClusterCounts *c) {
    return c->responses_5xx + c->failures + c->refused;
}

static uint64_t under_way(const Headgate__ClusterCounts *c) {
    uint64_t ended = c->succeeded + c->responses_5xx + c->failures + c->cancelled;
    return c->attempts > ended ? c->attempts - ended : 0; /* the counts were not read at one moment */
}

static void add_latencies(struct top_cluster *to, const Headgate__ClusterCounts *before,
                          const Headgate__ClusterCounts *now) {
    bool is_anew = before && now->attempts < before->attempts;
    for (size_t i = 0; i < now->n_latency_buckets && i < HISTOGRAM_BUCKETS; i++) {
        uint64_t had = before && !is_anew && i < before->n_latency_buckets ? before->latency_buckets[i] : 0;
        to->latencies[i] += grown(had, now->latency_buckets[i]);
    }
}

static void add_endpoints(struct top_cluster *to, const Headgate__ClusterCounts *c) {
    uint32_t unwell = c->unhealthy + c->draining + c->ejected;
    if (to->worst && unwell <= to->unhealthy + to->draining + to->ejected)
        return;
    to->worst = c;
    to->endpoints = c->endpoints;
    to->unhealthy = c->unhealthy;
    to->draining = c->draining;
    to->ejected = c->ejected;
}

static void add_cluster(struct top_cluster *to, const struct sample *s, const Headgate__ClusterCounts *c) {
    static const Headgate__ClusterCounts zero;
    const Headgate__ClusterCounts *before = find_counts(s->before, to->name);
    to->attempts += c->attempts;
    to->errors += errors_of(c);
    to->under_way += under_way(c);
    to->waiting += c->waiting;
    to->connections += c->connections;
    add_endpoints(to, c);
    if (s->seconds <= 0)
        return;
    before = before ? before : &zero;
    to->attempts_rate += rate(before->attempts, c->attempts, s->seconds);
    to->errors_rate += rate(errors_of(before), errors_of(c), s->seconds);
    add_latencies(to, before, c);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct top_cluster *)a)->name, ((const struct top_cluster *)b)->name);
}

static struct top_cluster *find_cluster(struct top_view *v, size_t count, const char *name) {
    const struct top_cluster key = {.name = name};
    return bsearch(&key, v->clusters, count, sizeof key, compare_names);
}

static int add_clusters(struct top_view *v, const struct sample *s) {
    size_t known = v->cluster_count, room = known + s->now->n_clusters;
    struct top_cluster *grown_room = hg_realloc(v->clusters, (room ? room : 1) * sizeof *grown_room);
    if (!grown_room)
        return -1;
    v->clusters = grown_room;
    for (size_t i = 0; i < s->now->n_clusters; i++) {
        const Headgate__ClusterCounts *c = s->now->clusters[i];
        struct top_cluster *to = c->name ? find_cluster(v, known, c->name) : NULL;
        if (!to && c->name) {
            to = &v->clusters[v->cluster_count++];
            *to = (struct top_cluster){.name = c->name};
        }
        if (to)
            add_cluster(to, s, c);
    }
    if (v->cluster_count > known)
        qsort(v->clusters, v->cluster_count, sizeof *v->clusters, compare_names);
    return 0;
}

/* ---- data planes ---- */

/* Between two answers of one process; of a process that is new, since it started. */
static struct sample make_sample(const Headgate__Observation *before, const Headgate__Observation *now) {
    struct sample s = {.now = now};
    if (!before)
        return s;
    bool is_same = before->started_us == now->started_us;
    uint64_t from = is_same ? before->at_us : now->started_us;
    s.before = is_same ? before : NULL;
    s.seconds = now->at_us > from ? (double)(now->at_us - from) / 1e6 : 0;
    return s;
}

static void fill_plane(struct top_plane *p, const struct sample *s, bool had_answered) {
    static const Headgate__Observation zero;
    const Headgate__Observation *before = s->before ? s->before : &zero, *now = s->now;
    p->state = s->seconds > 0 ? TOP_MEASURED : had_answered ? TOP_SILENT : TOP_WAITING;
    p->is_counted = true;
    p->requests = now->requests;
    p->responses_5xx = now->responses_5xx;
    p->connections = now->connections;
    p->quic_connections = now->quic_connections;
    p->exchanges = now->exchanges;
    p->left_out = now->clusters_left_out;
    p->requests_rate = rate(before->requests, now->requests, s->seconds);
    p->responses_4xx_rate = rate(before->responses_4xx, now->responses_4xx, s->seconds);
    p->responses_5xx_rate = rate(before->responses_5xx, now->responses_5xx, s->seconds);
}

static int add_plane(struct top_view *v, const Headgate__TopReply *before, const Headgate__TopDataPlane *d, uint64_t since) {
    struct top_plane *p = &v->planes[v->plane_count++];
    const Headgate__Observation *now = observation_of(d, since), *was = earlier(before, d, since);
    *p = (struct top_plane){.node = d->node ? d->node : "", .sync = d->state ? d->state : "",
                            .state = d->can_be_observed ? TOP_WAITING : TOP_TOO_OLD};
    if (!now)
        return 0;
    const struct sample s = make_sample(was, now);
    fill_plane(p, &s, was != NULL);
    return add_clusters(v, &s);
}

int top_view_make(struct top_view *v, const Headgate__TopReply *before, const Headgate__TopReply *now, uint64_t since,
                  const char *node) {
    *v = (struct top_view){.reply = now};
    v->planes = hg_calloc(now->n_data_planes + 1, sizeof *v->planes);
    int status = v->planes ? 0 : -1;
    for (size_t i = 0; i < now->n_data_planes && status == 0; i++) {
        const Headgate__TopDataPlane *d = now->data_planes[i];
        if (!node || (d->node && strcmp(node, d->node) == 0))
            status = add_plane(v, before, d, since);
    }
    for (size_t i = 0; i < v->cluster_count; i++) {
        v->clusters[i].p50 = histogram_quantile(v->clusters[i].latencies, .5);
        v->clusters[i].p99 = histogram_quantile(v->clusters[i].latencies, .99);
    }
    if (status < 0)
        top_view_finish(v);
    return status;
}

void top_view_finish(struct top_view *v) {
    hg_free(v->planes);
    hg_free(v->clusters);
    *v = (struct top_view){0};
}

bool top_is_answered(const Headgate__TopReply *r, uint64_t since) {
    for (size_t i = 0; i < r->n_data_planes; i++)
        if (r->data_planes[i]->can_be_observed && !observation_of(r->data_planes[i], since))
            return false;
    return true;
}

/* ---- sorting ---- */

static const char *const order_names[TOP_ORDERS] = {"requests", "errors", "p99", "under way", "name"};

const char *top_order_name(enum top_order order) {
    return order_names[order];
}

static double value_of(const struct top_cluster *c, enum top_order order) {
    switch (order) {
    case TOP_BY_RATE: return c->attempts_rate;
    case TOP_BY_ERRORS: return c->errors_rate;
    case TOP_BY_P99: return (double)c->p99;
    case TOP_BY_UNDER_WAY: return (double)c->under_way;
    default: return 0;
    }
}

static int compare_by(const void *a, const void *b, void *order) {
    enum top_order by = *(const enum top_order *)order;
    double x = value_of(a, by), y = value_of(b, by);
    return x != y ? (x < y ? 1 : -1) : compare_names(a, b);
}

void top_view_sort(struct top_view *v, enum top_order order) {
    if (v->cluster_count)
        qsort_r(v->clusters, v->cluster_count, sizeof *v->clusters, compare_by, &order);
}

/* ---- JSON ---- */

static const char *state_name(enum top_plane_state state) {
    switch (state) {
    case TOP_MEASURED: return "measured";
    case TOP_WAITING: return "waiting";
    case TOP_SILENT: return "silent";
    case TOP_TOO_OLD: return "too-old";
    }
    return "";
}

static void add_plane_json(const struct top_plane *p, struct strbuf *out) {
    strbuf_puts(out, "{\"node\":");
    strbuf_add_json(out, str_of(p->node));
    strbuf_puts(out, ",\"sync\":");
    strbuf_add_json(out, str_of(p->sync));
    strbuf_printf(out, ",\"state\":\"%s\"", state_name(p->state));
    if (p->is_counted)
        strbuf_printf(out,
                      ",\"requests\":%" PRIu64 ",\"responses_5xx\":%" PRIu64 ",\"connections\":%" PRIu64
                      ",\"quic_connections\":%" PRIu64 ",\"exchanges\":%" PRIu64 ",\"clusters_left_out\":%" PRIu64,
                      p->requests, p->responses_5xx, p->connections, p->quic_connections, p->exchanges, p->left_out);
    if (p->state == TOP_MEASURED)
        strbuf_printf(out,
                      ",\"requests_per_second\":%.3f,\"responses_4xx_per_second\":%.3f"
                      ",\"responses_5xx_per_second\":%.3f",
                      p->requests_rate, p->responses_4xx_rate, p->responses_5xx_rate);
    strbuf_putc(out, '}');
}

static const char *why_name(Headgate__UnwellEndpoint__Why why) {
    return why == HEADGATE__UNWELL_ENDPOINT__WHY__UNHEALTHY  ? "unhealthy"
           : why == HEADGATE__UNWELL_ENDPOINT__WHY__DRAINING ? "draining"
                                                             : "ejected";
}

static void add_unwell_json(const Headgate__ClusterCounts *c, struct strbuf *out) {
    strbuf_puts(out, ",\"unwell\":[");
    for (size_t i = 0; c && i < c->n_unwell; i++) {
        strbuf_printf(out, "%s{\"address\":", i ? "," : "");
        strbuf_add_json(out, str_of(c->unwell[i]->address ? c->unwell[i]->address : ""));
        strbuf_printf(out, ",\"why\":\"%s\"}", why_name(c->unwell[i]->why));
    }
    strbuf_putc(out, ']');
}

static void add_cluster_json(const struct top_cluster *c, struct strbuf *out) {
    strbuf_puts(out, "{\"name\":");
    strbuf_add_json(out, str_of(c->name));
    strbuf_printf(out,
                  ",\"attempts\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"attempts_per_second\":%.3f,\"errors_per_second\":%.3f"
                  ",\"under_way\":%" PRIu64 ",\"waiting\":%" PRIu64 ",\"connections\":%" PRIu64,
                  c->attempts, c->errors, c->attempts_rate, c->errors_rate, c->under_way, c->waiting, c->connections);
    if (c->p99)
        strbuf_printf(out, ",\"p50_us\":%" PRIu64 ",\"p99_us\":%" PRIu64, c->p50, c->p99);
    strbuf_printf(out, ",\"endpoints\":%" PRIu32 ",\"unhealthy\":%" PRIu32 ",\"draining\":%" PRIu32 ",\"ejected\":%" PRIu32,
                  c->endpoints, c->unhealthy, c->draining, c->ejected);
    add_unwell_json(c->worst, out);
    strbuf_putc(out, '}');
}

void top_view_add_json(const struct top_view *v, struct strbuf *out) {
    strbuf_puts(out, "{\"data_planes\":[");
    for (size_t i = 0; i < v->plane_count; i++) {
        strbuf_puts(out, i ? "," : "");
        add_plane_json(&v->planes[i], out);
    }
    strbuf_puts(out, "],\"away\":[");
    for (size_t i = 0; i < v->reply->n_away; i++) {
        strbuf_puts(out, i ? "," : "");
        strbuf_add_json(out, str_of(v->reply->away[i]->node ? v->reply->away[i]->node : ""));
    }
    strbuf_puts(out, "],\"clusters\":[");
    for (size_t i = 0; i < v->cluster_count; i++) {
        strbuf_puts(out, i ? "," : "");
        add_cluster_json(&v->clusters[i], out);
    }
    strbuf_puts(out, "]}");
}
