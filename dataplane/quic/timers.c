/* timers.c — when a connection has to do something: loss, acknowledgements, pacing, idleness. conn_private.h
 *
 * Most deadlines are far away and never pass: the worker's wheel, to which they cost a store. What is near
 * (acknowledgements, pacing, probes of short paths) needs more than its 10 ms: a timer of the loop, to the millisecond,
 * which is only touched when a deadline comes before it; when it fires too early, it is set again. */
#include "dataplane/quic/conn_private.h"

enum { NEAR_US = 60000 };

static struct quic_conn *conn_of(struct timer *t) {
    return (struct quic_conn *)((char *)t - offsetof(struct quic_conn, timer));
}

static void on_wheel(struct timer *t) {
    quic_check_timer(conn_of(t));
}

static void on_near(struct ev_loop *loop, ev_timer *t, int events) {
    (void)loop, (void)events;
    quic_check_timer(t->data);
}

void quic_timers_init(struct quic_conn *c) {
    c->timer.fire = on_wheel;
    c->expiry = UINT64_MAX;
    ev_init(&c->near, on_near);
    c->near.data = c;
}

static void start_near(struct quic_conn *c, uint64_t when) {
    if (ev_is_active(&c->near) && c->near_at <= when)
        return;
    c->near_at = when;
    uint64_t now = c->worker->now;
    c->near.repeat = when > now ? (double)(when - now) / 1e6 : 1e-6;
    ev_timer_again(c->worker->loop, &c->near);
}

void quic_set_deadline(struct quic_conn *c, uint64_t when) {
    c->expiry = when;
    if (when == UINT64_MAX)
        worker_set_timer(c->worker, &c->timer, 0);
    else if (when > c->worker->now + NEAR_US)
        worker_set_timer(c->worker, &c->timer, when);
    else
        start_near(c, when);
}

void quic_set_timer(struct quic_conn *c) {
    ngtcp2_tstamp expiry = ngtcp2_conn_get_expiry(c->ng);
    uint64_t      when = expiry == UINT64_MAX ? UINT64_MAX : expiry / 1000 + 1, ask_at = quic_unproven_deadline(c);
    quic_set_deadline(c, ask_at < when ? ask_at : when);
}

void quic_stop_timers(struct quic_conn *c) {
    worker_set_timer(c->worker, &c->timer, 0);
    wheel_remove(&c->worker->wheel, &c->timer);
    ev_timer_stop(c->worker->loop, &c->near);
}

static void expire(struct quic_conn *c) {
    int status = ngtcp2_conn_handle_expiry(c->ng, quic_now(c));
    if (status == NGTCP2_ERR_IDLE_CLOSE) {
        quic_end(c, QUIC_IDLE, QUIC_OVER);
    } else if (status == NGTCP2_ERR_HANDSHAKE_TIMEOUT) {
        stats_add(&c->worker->stats->quic_handshake_timeouts_total, c->role->is_server);
        quic_end(c, QUIC_HANDSHAKE_TIMEOUT, QUIC_OVER);
    } else {
        if (status != 0)
            quic_fail(c, status);
        else
            quic_path_check(c);
        worker_mark_dirty(c->worker, &c->flushable);
    }
}

void quic_check_timer(struct quic_conn *c) {
    ev_timer_stop(c->worker->loop, &c->near);
    if (c->state == QUIC_OVER)
        return;
    if (c->expiry > c->worker->now)
        quic_set_deadline(c, c->expiry);
    else if (c->ng)
        expire(c);
    else
        quic_cut(c); /* it has been closing for long enough */
}
