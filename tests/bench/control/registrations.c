/* How long 100,000 registrations in an etcd take to be read, as programs write them (JSON) and as people may
 * (YAML), and how long one that changes. One core; asserts nothing but that all are there. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/arena.h"
#include "controlplane/etcd/registry.h"

enum { COUNT = 100000, SERVICES = 1000 };

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void on_changed(void *context) {
    (void)context;
}

static void on_failed(void *context, const char *reason) {
    (void)context;
    (void)reason;
}

static void put(struct etcd_registry *r, const char *form, unsigned n, unsigned port) {
    char key[64], value[160];
    snprintf(key, sizeof key, "s%u/i%u", n % SERVICES, n);
    snprintf(value, sizeof value, form, n / 65536, n / 256 % 256, n % 256, port);
    if (!etcd_registry_ops.set(r, str_of(key), str_of(value), 1))
        abort();
}

static void measure(const char *name, const char *form) {
    struct etcd_service_follower f = {.changed = on_changed, .failed = on_failed};
    struct etcd_registry *r = etcd_registry_create(NULL);
    struct error_list errors = {0};
    struct arena arena = {0};
    if (!r || etcd_registry_join(r, "s7", &f) < 0)
        abort();
    double began = now_ms();
    etcd_registry_ops.list(r);
    for (unsigned i = 0; i < COUNT; i++)
        put(r, form, i, 80);
    etcd_registry_ops.settled(r);
    double all = now_ms() - began;
    began = now_ms();
    put(r, form, 7, 81);
    const Headgate__EndpointSet *set = etcd_registry_endpoints(&f, &arena, &errors);
    double one = now_ms() - began;
    if (!set || set->n_endpoints != COUNT / SERVICES || errors.count || etcd_registry_count(r) != COUNT)
        abort();
    printf("| %s | %.0f | %.3f |\n", name, all, one);
    etcd_registry_leave(&f);
    etcd_registry_destroy(r);
    arena_finish(&arena);
}

int main(void) {
    printf("| values of 100,000 registrations | all, ms | one, and the endpoints of its service, ms |\n|---|---|---|\n");
    measure("JSON", "{\"address\": \"10.%u.%u.%u:%u\", \"weight\": 2, \"zone\": \"r/a\"}");
    measure("YAML", "{address: 10.%u.%u.%u:%u, weight: 2, zone: r/a}");
    return 0;
}
