#include "controlplane/rpc/loop.h"

#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "common/log.h"

static void log_for_grpc(gpr_log_func_args *args) {
    enum log_level level = args->severity == GPR_LOG_SEVERITY_ERROR  ? LOG_LEVEL_WARNING
                           : args->severity == GPR_LOG_SEVERITY_INFO ? LOG_LEVEL_INFO
                                                                     : LOG_LEVEL_DEBUG;
    const struct log_value values[] = {LOG_S("text", args->message), LOG_S("file", args->file), {0}};
    log_write(level, "gRPC", values);
}

static void hand_over(struct rpc_loop *loop, struct rpc_completion *c, bool ok) {
    c->ok = ok;
    c->next = NULL;
    pthread_mutex_lock(&loop->lock);
    *loop->last = c;
    loop->last = &c->next;
    pthread_mutex_unlock(&loop->lock);
    ev_async_send(loop->ev, &loop->arrived);
}

static void *wait_for_completions(void *arg) {
    struct rpc_loop *loop = arg;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(loop->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE)
            hand_over(loop, event.tag, event.success);
    }
}

static struct rpc_completion *take_all(struct rpc_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    struct rpc_completion *first = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    pthread_mutex_unlock(&loop->lock);
    return first;
}

static void run_all(struct rpc_loop *loop) {
    struct rpc_completion *c = take_all(loop);
    while (c) {
        struct rpc_completion *next = c->next; /* `done` may free c */
        c->done(c, c->ok);
        c = next;
    }
}

static void on_arrived(struct ev_loop *ev, ev_async *watcher, int events) {
    (void)ev;
    (void)events;
    run_all(watcher->data);
}

/* Signals are the loop thread's business. */
static int start_helper(struct rpc_loop *loop) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&loop->helper, NULL, wait_for_completions, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? -1 : 0;
}

int rpc_loop_init(struct rpc_loop *loop, struct ev_loop *ev) {
    *loop = (struct rpc_loop){.ev = ev};
    gpr_set_log_function(log_for_grpc);
    grpc_init();
    loop->queue = grpc_completion_queue_create_for_next(NULL);
    pthread_mutex_init(&loop->lock, NULL);
    loop->last = &loop->first;
    ev_async_init(&loop->arrived, on_arrived);
    loop->arrived.data = loop;
    ev_async_start(ev, &loop->arrived);
    if (start_helper(loop) == 0)
        return 0;
    ev_async_stop(ev, &loop->arrived);
    grpc_completion_queue_shutdown(loop->queue);
    grpc_completion_queue_destroy(loop->queue);
    grpc_shutdown_blocking();
    return -1;
}

void rpc_loop_finish(struct rpc_loop *loop) {
    grpc_completion_queue_shutdown(loop->queue);
    pthread_join(loop->helper, NULL);
    run_all(loop);
    ev_async_stop(loop->ev, &loop->arrived);
    grpc_completion_queue_destroy(loop->queue);
    pthread_mutex_destroy(&loop->lock);
    grpc_shutdown_blocking();
}

/* A folder has two links of its own, and one for each folder in it. */
static bool is_only_thread(void) {
    struct stat tasks;
    return stat("/proc/self/task", &tasks) < 0 || tasks.st_nlink <= 3;
}

void rpc_await_threads(void) {
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < 1000 && !is_only_thread(); i++)
        nanosleep(&pause, NULL);
}
