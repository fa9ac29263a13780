/* metrics.h — /metrics of the data plane in Prometheus' text format 0.0.4.
 *
 * The number of series does not depend on the configuration: totals over all workers, and one line each about
 * snapshot, channel, access log and process. Thread: main. */
#pragma once

#include <stdint.h>

#include "common/str.h"
#include "dataplane/admin/totals.h"

struct adopter;
struct channel_client;
struct log_output;

struct metrics_source {
    const struct dataplane      *dataplane;
    const struct adopter        *adopter;
    const struct channel_client *channel;
    const struct log_output     *log;
    const struct process_usage  *usage;
    uint64_t                     started_at;      /* microseconds since 1970 */
};

void metrics_render(const struct metrics_source *source, struct strbuf *out);
