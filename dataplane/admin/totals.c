#include "dataplane/admin/totals.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dataplane/snapshot/dataplane.h"

void totals_read(const struct dataplane *dataplane, struct totals *ret) {
    struct totals sum = {0};
    for (unsigned i = 0; i < dataplane_worker_count(dataplane); i++) {
        const struct stats *s = dataplane_worker_stats(dataplane, i);
#define TOTALS_ADD(name, help) sum.name += stats_read(&s->name);
        STATS_COUNTERS(TOTALS_ADD)
        STATS_GAUGES(TOTALS_ADD)
#undef TOTALS_ADD
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
