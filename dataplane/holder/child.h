/* child.h — the data plane as a child process: starting it, and when to start it again. Thread: main. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dataplane/holder/identity.h"
#include "dataplane/holder/options.h"

enum {
    RESTART_DELAY_FIRST_MS = 10, /* the first restart is at once, the second waits so long, then it doubles */
    RESTART_DELAY_MAX_MS = 1000,
    RESTART_STABLE_MS = 1000, /* having run so long, the next restart is a first one */
};

struct restart_backoff {
    unsigned crashes;               /* in a row */
};

/* Milliseconds to wait before the next start, after a run of `ran_ms`. */
unsigned restart_backoff_next(struct restart_backoff *backoff, uint64_t ran_ms);

/* Starts the data plane with a new socket pair. Returns the process id and *ret_channel, our end
 * (non-blocking), or -1 with errno. A program that cannot be run is a child that exits with 127. */
pid_t child_start(const struct holder_options *options, const struct identity *who, int *ret_channel);
