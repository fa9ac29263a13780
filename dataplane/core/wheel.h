/* wheel.h — all timers of a worker: one coarse wheel.
 *
 * A deadline is a timestamp. Moving it later costs a store: the timer stays in its slot and goes on to the right one when
 * the wheel comes by. Times are microseconds of the monotonic clock; a timer fires at most one tick late, never early.
 * Thread: one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_SLOTS = 1024, WHEEL_TICK_US = 10000 }; /* 10 ms, about ten seconds around */

struct timer {
    struct timer *next, *prev;             /* NULL: not in the wheel */
    uint64_t      deadline;                /* when to fire; 0: never */
    uint64_t      slot_time;               /* when the wheel looks at it next */
    void        (*fire)(struct timer *);   /* may set or stop any timer, this one too */
};

struct wheel {
    struct timer slots[WHEEL_SLOTS];       /* list heads */
    uint64_t     tick;                     /* the last tick that was looked at */
    uint64_t     count;                    /* timers in the wheel */
};

void wheel_init(struct wheel *w, uint64_t now);
/* Sets the deadline, 0 to stop. A later deadline than the slot's costs no list operation. */
void wheel_set(struct wheel *w, struct timer *t, uint64_t deadline);
void wheel_remove(struct wheel *w, struct timer *t);
/* It fires at `deadline` (0: never) or before. For an owner with several deadlines: when it fires, the owner looks which of
 * them have passed, and sets it to the first that is left. Most deadlines never pass, and cost two comparisons. */
static inline void wheel_hasten(struct wheel *w, struct timer *t, uint64_t deadline) {
    if (deadline && (!t->deadline || deadline < t->deadline))
        wheel_set(w, t, deadline);
}
/* Fires what is due. */
void wheel_advance(struct wheel *w, uint64_t now);
