#include "dataplane/admin/totals.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dataplane/snapshot/dataplane.h"

static void add_tls(struct tls_totals *sum, const struct stats_tls *s) {
#define TOTALS_TLS_ADD(name) sum->name += stats_read(&s->name);
    STATS_TLS_MEMBERS(TOTALS_TLS_ADD)
#undef TOTALS_TLS_ADD
    for (int i = 0; i < STATS_TLS_FAILURE_COUNT; i++)
        sum->failures[i] += stats_read(&s->failures[i]);
    for (int i = 0; i < STATS_TLS_BUCKETS; i++)
        sum->buckets[i] += stats_read(&s->buckets[i]);
}

static void add_faults(struct totals *sum, const struct stats *s) {
    for (int side = 0; side < STATS_TLS_SIDES; side++) {
        for (int i = 0; i < STATS_H2_FAULTS_MAX; i++)
            sum->h2_faults[side][i] += stats_read(&s->h2_faults[side][i]);
        for (int i = 0; i < STATS_H3_FAULTS_MAX; i++)
            sum->h3_faults[side][i] += stats_read(&s->h3_faults[side][i]);
    }
}

void totals_read(const struct dataplane *dataplane, struct totals *ret) {
    struct totals sum = {0};
    for (unsigned i = 0; i < dataplane_worker_count(dataplane); i++) {
        const struct stats *s = dataplane_worker_stats(dataplane, i);
#define TOTALS_ADD(name, help) sum.name += stats_read(&s->name);
        STATS_COUNTERS(TOTALS_ADD)
        STATS_GAUGES(TOTALS_ADD)
#undef TOTALS_ADD
        for (int side = 0; side < STATS_TLS_SIDES; side++)
            add_tls(&sum.tls[side], &s->tls[side]);
        add_faults(&sum, s);
        for (int reason = 0; reason < STATS_EJECTION_COUNT; reason++)
            sum.ejections[reason] += stats_read(&s->ejections[reason]);
    }
    *ret = sum;
}

void process_usage_init(struct process_usage *u) {
    u->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

void process_usage_finish(struct process_usage *u) {
    if (u->statm_fd >= 0)
        close(u->statm_fd);
    u->statm_fd = -1;
}

uint64_t process_resident_bytes(const struct process_usage *u) {
    char text[128];
    unsigned long long size, resident;
    ssize_t n = u->statm_fd >= 0 ? pread(u->statm_fd, text, sizeof text - 1, 0) : -1;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return sscanf(text, "%llu %llu", &size, &resident) == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t microseconds(const struct timeval *t) {
    return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

uint64_t process_cpu_us(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? microseconds(&usage.ru_utime) + microseconds(&usage.ru_stime)
                                               : 0;
}
