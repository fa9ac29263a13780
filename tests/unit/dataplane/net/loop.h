/* loop.h — a worker that the test turns by hand, with real sockets. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "dataplane/core/worker.h"
#include "dataplane/net/gather.h"

static struct worker worker;
static struct gather gather;

static inline int worker_set_up(void **state) {
    (void)state;
    if (worker_init(&worker, 0, EVFLAG_AUTO) < 0)
        return -1;
    worker.gather = &gather;
    return 0;
}

static inline int worker_tear_down(void **state) {
    (void)state;
    hg_alloc_fail_at(-1, 0);
    worker_finish(&worker);
    return 0;
}

/* Turns the loop until the expression holds. What never comes ends in the test's own time limit. */
#define TURN_UNTIL(condition)                          \
    do {                                               \
        while (worker_end_turn(&worker), !(condition)) \
            ev_run(worker.loop, EVRUN_ONCE);           \
    } while (0)

/* Handles what is ready, and does not wait for more. */
static inline void turn(void) {
    ev_run(worker.loop, EVRUN_NOWAIT);
    ev_run(worker.loop, EVRUN_NOWAIT);
}
