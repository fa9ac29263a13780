/* fallback.c — HTTP/3 towards endpoints, and TCP where UDP does not get through.
 *
 * A handshake that is late gets a connection over TCP beside it; who waits, waits for that one. Whichever is connected first
 * takes all of them. What fails hands them to the other kind once. How it went is remembered: by the worker whether HTTP/3
 * works, by all workers until when it is not to be tried. */
#include <errno.h>
#include <stddef.h>

#include "dataplane/back/pool_private.h"

enum { DOUBLINGS = 32 };

static struct endpoint_runtime *endpoint_of(const struct client_connection *c) {
    return c->endpoint;
}

static bool has_fallback(const struct endpoint_runtime *e) {
    return e->cluster->fallback.codec != NULL;
}

/* One that is being made and that others may wait for. */
static bool is_joint(const struct client_connection *c, bool is_fallback) {
    return !c->is_single && c->is_fallback == is_fallback;
}

static struct client_connection *find_connecting(struct endpoint_runtime *e, bool is_fallback) {
    struct client_connection *c = e->connecting.next;
    while (c != &e->connecting && !is_joint(c, is_fallback))
        c = c->next;
    return c == &e->connecting ? NULL : c;
}

/* ---- what is remembered ---- */

static bool has_failed_lately(const struct endpoint_runtime *e) {
    return atomic_load_explicit(&e->shared->http3_not_before, memory_order_relaxed) > e->cluster->worker->now;
}

/* Twice as long with each failure in a row. */
static void remember_failure(const struct endpoint_runtime *e) {
    const struct fallback_rules *rules = &e->cluster->fallback;
    stats_add(&e->cluster->worker->stats->origin_http3_failures_total, 1);
    uint32_t failures = atomic_fetch_add_explicit(&e->shared->http3_failures, 1, memory_order_relaxed);
    uint64_t time = rules->remember;
    for (unsigned i = 0; i < failures && i < DOUBLINGS && time < rules->remember_most; i++)
        time *= 2;
    time = time < rules->remember_most ? time : rules->remember_most;
    atomic_store_explicit(&e->shared->http3_not_before, e->cluster->worker->now + time, memory_order_relaxed);
}

static void forget_failures(const struct endpoint_runtime *e) {
    atomic_store_explicit(&e->shared->http3_failures, 0, memory_order_relaxed);
    atomic_store_explicit(&e->shared->http3_not_before, 0, memory_order_relaxed);
}

/* ---- handing over ---- */

/* As many as can be; the others stay. */
static void move_to_tcp(struct client_connection *from) {
    struct endpoint_runtime *e = endpoint_of(from);
    struct client_connection *to;
    e->fallback.http3_works = false;
    while (from->waiters && (to = pool_join(e, e->fallback.connect_timeout, true)))
        pool_add_waiter(to, pool_take_waiter(from));
}

/* The last hope of those who wait: nothing comes after it. */
static void move_to_http3(struct client_connection *from) {
    struct client_connection *to = find_connecting(endpoint_of(from), false);
    struct client_waiter *w;
    if (!to)
        return;
    to->has_no_other = true;
    while ((w = pool_take_waiter(from)))
        pool_add_waiter(to, w);
}

struct client_waiter *fallback_take_waiter(struct client_connection *c) {
    struct endpoint_runtime *e = endpoint_of(c);
    struct client_waiter *w = NULL;
    if (!has_fallback(e) || !is_joint(c, false))
        return NULL;
    for (struct client_connection *other = e->connecting.next; other != &e->connecting && !w; other = other->next)
        if (is_joint(other, true))
            w = pool_take_waiter(other);
    return w;
}

/* ---- lateness ---- */

static bool is_late(const struct endpoint_runtime *e, const struct client_connection *c) {
    return e->cluster->worker->now >= c->opened_at + e->cluster->fallback.after;
}

static void note_late(struct client_connection *c) {
    struct endpoint_runtime *e = endpoint_of(c);
    if (!c->waiters || c->has_no_other)
        return;
    if (e->cluster->fallback.after)
        stats_add(&e->cluster->worker->stats->origin_http3_late_total, 1);
    move_to_tcp(c);
}

/* Looks at all that are being made, and comes again when the next is late. */
static void look(struct endpoint_runtime *e) {
    uint64_t next = UINT64_MAX;
    for (struct client_connection *c = e->connecting.next; c != &e->connecting; c = c->next) {
        uint64_t when = c->opened_at + e->cluster->fallback.after;
        if (!is_joint(c, false))
            continue;
        if (is_late(e, c))
            note_late(c);
        else if (when < next)
            next = when;
    }
    worker_set_timer(e->cluster->worker, &e->fallback.timer, next == UINT64_MAX ? 0 : next);
}

static void fire(struct timer *t) {
    struct endpoint_runtime *e = (struct endpoint_runtime *)((char *)t - offsetof(struct endpoint_runtime, fallback.timer));
    if (has_fallback(e) && !endpoint_is_gone(e))
        look(e);
}

/* ---- for the pool ---- */

/* HTTP/3 is not the way now: it failed, or whoever tries it waits for long already. */
static bool prefers_tcp(struct endpoint_runtime *e) {
    const struct client_connection *c = find_connecting(e, false);
    return has_failed_lately(e) || (c && is_late(e, c) && !c->has_no_other);
}

static int wait_for_tcp(struct endpoint_runtime *e, struct client_waiter *w) {
    e->fallback.http3_works = false; /* else it is worn out from its beginning */
    struct client_connection *c = pool_join(e, e->fallback.connect_timeout, true);
    if (!c)
        return -1;
    pool_add_waiter(c, w);
    return 0;
}

int fallback_wait(struct endpoint_runtime *e, uint64_t connect_timeout, struct client_waiter *w) {
    e->fallback.connect_timeout = connect_timeout;
    if (prefers_tcp(e))
        return wait_for_tcp(e, w);
    struct client_connection *c = pool_join(e, connect_timeout, false);
    if (!c)
        return errno == EUSERS || errno == EDQUOT ? -1 : wait_for_tcp(e, w);
    pool_add_waiter(c, w);
    e->fallback.timer.fire = fire;
    look(e);
    return 0;
}

void fallback_note_connected(struct client_connection *c) {
    struct endpoint_runtime *e = endpoint_of(c);
    if (!has_fallback(e) || !is_joint(c, false))
        return;
    e->fallback.http3_works = true;
    forget_failures(e);
}

void fallback_close_others(struct client_connection *c) {
    struct endpoint_runtime *e = endpoint_of(c);
    struct client_connection *other, *next;
    if (!has_fallback(e) || !is_joint(c, false))
        return;
    for (other = e->connecting.next; other != &e->connecting; other = next) {
        next = other->next;
        if (is_joint(other, true) && !other->waiters)
            pool_close(other);
    }
    for (other = e->open.next; other != &e->open; other = next) {
        next = other->next;
        if (other->is_fallback && other->active == 0)
            pool_close(other);
    }
}

void fallback_note_failed(struct client_connection *c, int error) {
    struct endpoint_runtime *e = endpoint_of(c);
    if (!has_fallback(e) || c->is_single || c->epoch != e->cluster->epoch)
        return;
    if (c->is_fallback) {
        move_to_http3(c);
        return;
    }
    if (!pool_error_is_ours(error))
        remember_failure(e);
    if (!c->has_no_other && !endpoint_is_gone(e))
        move_to_tcp(c);
}

void fallback_note_used(struct client_connection *c) {
    struct endpoint_runtime *e = endpoint_of(c);
    if (c->is_fallback && has_fallback(e) && !has_failed_lately(e) && !find_connecting(e, false))
        pool_connect(e, e->fallback.connect_timeout, false); /* where it cannot be made, TCP serves on */
}

void fallback_finish(struct endpoint_runtime *e) {
    wheel_remove(&e->cluster->worker->wheel, &e->fallback.timer);
}
