/* totals.h — the counters of all workers, summed; and what the process uses. Thread: main. */
#pragma once

#include <stdint.h>

#include "dataplane/core/stats.h"

struct dataplane;

/* As struct stats, plain numbers. */
struct totals {
#define TOTALS_MEMBER(name, help) uint64_t name;
    STATS_COUNTERS(TOTALS_MEMBER)
    STATS_GAUGES(TOTALS_MEMBER)
#undef TOTALS_MEMBER
    struct tls_totals {
#define TOTALS_TLS_MEMBER(name) uint64_t name;
        STATS_TLS_MEMBERS(TOTALS_TLS_MEMBER)
#undef TOTALS_TLS_MEMBER
        uint64_t failures[STATS_TLS_FAILURE_COUNT], buckets[STATS_TLS_BUCKETS];
    } tls[STATS_TLS_SIDES];
    uint64_t h2_faults[STATS_TLS_SIDES][STATS_H2_FAULTS_MAX];
    uint64_t h3_faults[STATS_TLS_SIDES][STATS_H3_FAULTS_MAX];
    uint64_t ejections[STATS_EJECTION_COUNT];
};

void totals_read(const struct dataplane *dataplane, struct totals *ret);

/* Kept open from before the sandbox. */
struct process_usage {
    int statm_fd;                 /* -1: not to be had */
};
void     process_usage_init(struct process_usage *u);
void     process_usage_finish(struct process_usage *u);
uint64_t process_resident_bytes(const struct process_usage *u);  /* 0: not known */
uint64_t process_cpu_us(void);                                   /* user and system */
