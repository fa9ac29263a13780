/* Checks very many endpoints for a while and says what that cost and what was found: health_checks PORT ENDPOINTS
 * SECONDS.
 *
 * The endpoints are addresses 127.x.y.z with one port, in 20 clusters, all served by whoever listens there; each is
 * checked every five seconds by GET /. Prints a line of JSON at the end, progress on standard error. Exit code 1 when
 * something cannot be begun. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/alloc.h"
#include "controlplane/health/health.h"

enum { CLUSTERS = 20, TOLD_SECONDS = 10, ADDRESS_MAX = 32 };

struct soak {
    struct ev_loop *loop;
    struct health  *health;
    uint64_t        healthy, unhealthy;     /* changes to it */
    unsigned        turns, seconds;
    double          cpu_warm;               /* when every endpoint had been checked */
    uint64_t        checks_warm;
    unsigned        warm_seconds;
};

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long peak_kib(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static void on_changed(void *context, const struct health_change *changes, size_t count) {
    struct soak *s = context;
    for (size_t i = 0; i < count; i++) {
        bool is_well = changes[i].health == HEADGATE__ENDPOINT__HEALTH__HEALTHY;
        s->healthy += is_well;
        s->unhealthy += !is_well;
        if (!is_well && s->unhealthy <= 20)
            fprintf(stderr, "%s %s: %s\n", changes[i].cluster, changes[i].address, changes[i].reason);
    }
}

static void tell(const struct soak *s, unsigned endpoints) {
    const struct health_counters *c = health_counters(s->health);
    double cpu = (cpu_seconds() - s->cpu_warm) / (s->turns - s->warm_seconds);
    double rate = (double)(c->checks - s->checks_warm) / (s->turns - s->warm_seconds);
    printf("{\"endpoints\": %u, \"seconds\": %u, \"checks\": %lu, \"failures\": %lu, \"became_healthy\": %lu, "
           "\"became_unhealthy\": %lu, \"timeouts\": %lu, \"late\": %lu, \"put_off\": %lu, \"connects\": %lu, "
           "\"reused\": %lu, \"connections\": %lu, \"checks_per_second\": %.0f, \"cores\": %.3f, "
           "\"peak_kib\": %ld}\n",
           endpoints, s->turns, c->checks, c->failures, s->healthy, s->unhealthy, c->timeouts, c->late, c->put_off,
           c->connects, c->reused, c->connections, rate, cpu, peak_kib());
}

static void on_second(struct ev_loop *loop, ev_timer *timer, int events) {
    struct soak *s = timer->data;
    const struct health_counters *c = health_counters(s->health);
    (void)events;
    s->turns++;
    if (!s->warm_seconds && c->endpoints && s->healthy + s->unhealthy >= c->endpoints) {
        s->warm_seconds = s->turns;
        s->cpu_warm = cpu_seconds();
        s->checks_warm = c->checks;
    }
    if (s->turns % TOLD_SECONDS == 0)
        fprintf(stderr, "%u s: %lu checks, %lu failures, %lu late, %.2f s of CPU\n", s->turns, c->checks, c->failures,
                c->late, cpu_seconds());
    if (s->turns >= s->seconds)
        ev_break(loop, EVBREAK_ALL);
}

static int add_cluster(struct soak *s, unsigned number, unsigned port, unsigned first, unsigned count) {
    Headgate__HealthCheck check = HEADGATE__HEALTH_CHECK__INIT;
    Headgate__HttpCheck http = HEADGATE__HTTP_CHECK__INIT;
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    const struct health_way way = {.check = &check, .protocol = HEADGATE__CLUSTER__PROTOCOL__HTTP1};
    struct error_list errors = {0};
    char name[16], (*texts)[ADDRESS_MAX] = calloc(count, sizeof *texts);
    Headgate__Endpoint *endpoints = calloc(count, sizeof *endpoints);
    set.endpoints = calloc(count, sizeof *set.endpoints);
    set.n_endpoints = count;
    check.kind_case = HEADGATE__HEALTH_CHECK__KIND_HTTP;
    check.http = &http;
    snprintf(name, sizeof name, "c%u", number);
    for (unsigned i = 0; i < count; i++) {
        unsigned n = first + i + 1;
        snprintf(texts[i], sizeof texts[i], "127.%u.%u.%u:%u", 1 + n / 65536, n / 256 % 256, n % 256, port);
        headgate__endpoint__init(&endpoints[i]);
        endpoints[i].address = texts[i];
        set.endpoints[i] = &endpoints[i];
    }
    int status = health_set_cluster(s->health, name, &way, &set, &errors);
    error_list_finish(&errors);
    free(set.endpoints);
    free(endpoints);
    free(texts);
    return status;
}

int main(int argc, char **argv) {
    struct soak s = {.loop = ev_default_loop(0)};
    struct error_list errors = {0};
    const struct health_config config = {.loop = s.loop, .context = &s, .changed = on_changed};
    unsigned port = argc > 3 ? (unsigned)atoi(argv[1]) : 0, endpoints = argc > 3 ? (unsigned)atoi(argv[2]) : 0;
    ev_timer second;
    if (!port || !endpoints) {
        fprintf(stderr, "usage: health_checks PORT ENDPOINTS SECONDS\n");
        return 1;
    }
    s.seconds = (unsigned)atoi(argv[3]);
    s.health = health_create(&config, &errors);
    int status = s.health ? 0 : -1;
    for (unsigned i = 0; status == 0 && i < CLUSTERS; i++)
        status = add_cluster(&s, i, port, endpoints / CLUSTERS * i, endpoints / CLUSTERS);
    ev_timer_init(&second, on_second, 1, 1);
    second.data = &s;
    ev_timer_start(s.loop, &second);
    if (status == 0) {
        ev_run(s.loop, 0);
        tell(&s, endpoints);
    }
    health_destroy(s.health);
    error_list_finish(&errors);
    return status == 0 ? 0 : 1;
}
