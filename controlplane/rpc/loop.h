/* loop.h — the completions of gRPC, delivered on the daemon's event loop.
 *
 * One libev loop owns all the state of the control plane and runs every handler. One helper thread blocks in
 * grpc_completion_queue_next and hands what it gets to the loop. So handlers need no locks, and timers, signals,
 * file watches and the admin listener are ordinary watchers beside them.
 *
 * Thread: the loop's, but for the helper inside. */
#pragma once

#include <ev.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdbool.h>

/* The tag of one operation; embed it in what the operation belongs to. It must live until `done` has been called. */
struct rpc_completion {
    void (*done)(struct rpc_completion *c, bool ok);
    void *owner;                    /* the embedding object, for `done` */
    bool ok;                        /* these two are the loop's */
    struct rpc_completion *next;
};

struct rpc_loop {
    struct ev_loop *ev;
    grpc_completion_queue *queue;
    ev_async arrived;
    pthread_t helper;
    pthread_mutex_t lock;
    struct rpc_completion *first, **last; /* handed over, not yet run; under the lock */
};

/* Starts gRPC, the queue and the helper thread. gRPC's own messages go to common/log.h. Returns 0, or -1 without the means
 * for a thread. */
int rpc_loop_init(struct rpc_loop *loop, struct ev_loop *ev);
/* Runs the completions that are left, then stops the helper and gRPC. Servers must have been destroyed before. */
void rpc_loop_finish(struct rpc_loop *loop);

/* Waits until the caller is this process' only thread, a second at most: for the end of a program that had a loop or a
 * client. When grpc_shutdown_blocking returns, threads of gRPC's timers may still be about to end, and only that gives
 * back what libraries keep for a thread. */
void rpc_await_threads(void);
