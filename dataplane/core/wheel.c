#include "dataplane/core/wheel.h"

#include <stddef.h>

void wheel_init(struct wheel *w, uint64_t now) {
    for (unsigned i = 0; i < WHEEL_SLOTS; i++)
        w->slots[i].next = w->slots[i].prev = &w->slots[i];
    w->tick = now / WHEEL_TICK_US;
    w->count = 0;
}

static void unlink_timer(struct wheel *w, struct timer *t) {
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->next = t->prev = NULL;
    w->count--;
}

/* The first tick not before the deadline, but within one turn of the wheel. */
static void link_timer(struct wheel *w, struct timer *t) {
    uint64_t tick = (t->deadline + WHEEL_TICK_US - 1) / WHEEL_TICK_US;
    if (tick <= w->tick)
        tick = w->tick + 1;
    if (tick > w->tick + WHEEL_SLOTS - 1)
        tick = w->tick + WHEEL_SLOTS - 1;
    struct timer *head = &w->slots[tick % WHEEL_SLOTS];
    t->slot_time = tick * WHEEL_TICK_US;
    t->next = head;
    t->prev = head->prev;
    head->prev->next = t;
    head->prev = t;
    w->count++;
}

void wheel_remove(struct wheel *w, struct timer *t) {
    t->deadline = 0;
    if (t->next)
        unlink_timer(w, t);
}

void wheel_set(struct wheel *w, struct timer *t, uint64_t deadline) {
    t->deadline = deadline;
    if (deadline == 0)
        return; /* it drops out when the wheel comes by */
    if (t->next && t->slot_time <= deadline + WHEEL_TICK_US)
        return;
    if (t->next)
        unlink_timer(w, t);
    link_timer(w, t);
}

static void visit(struct wheel *w, struct timer *t, uint64_t now) {
    unlink_timer(w, t);
    if (t->deadline == 0)
        return;
    if (t->deadline > now) {
        link_timer(w, t);
        return;
    }
    t->deadline = 0;
    t->fire(t);
}

static void visit_slot(struct wheel *w, struct timer *head, uint64_t now) {
    /* The slot is moved aside first: a timer that fires may put others back into the same slot. */
    struct timer due = {.next = &due, .prev = &due};
    if (head->next == head)
        return;
    due = (struct timer){.next = head->next, .prev = head->prev};
    due.next->prev = due.prev->next = &due;
    head->next = head->prev = head;
    while (due.next != &due)
        visit(w, due.next, now);
}

void wheel_advance(struct wheel *w, uint64_t now) {
    uint64_t target = now / WHEEL_TICK_US;
    if (target > w->tick + WHEEL_SLOTS)
        w->tick = target - WHEEL_SLOTS; /* after a long sleep one turn sees every timer */
    while (w->tick < target) {
        w->tick++;
        visit_slot(w, &w->slots[w->tick % WHEEL_SLOTS], now);
    }
}
