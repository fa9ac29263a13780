#include "controlplane/engine/aside.h"

#include <signal.h>

static void *run(void *aside) {
    struct aside *a = aside;
    a->work(a->context);
    ev_async_send(a->loop, &a->over);
    return NULL;
}

static void on_over(struct ev_loop *loop, ev_async *over, int events) {
    struct aside *a = over->data;
    (void)events;
    pthread_join(a->thread, NULL);
    ev_async_stop(loop, &a->over);
    a->done(a->context);
}

/* Signals are the other thread's business. */
static int start_thread(struct aside *a, const char *name) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&a->thread, NULL, run, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed)
        pthread_setname_np(a->thread, name); /* for those who look at threads */
    return failed ? -1 : 0;
}

void aside_run(struct aside *a, struct ev_loop *loop, const char *name, void (*work)(void *context),
               void (*done)(void *context), void *context) {
    *a = (struct aside){.loop = loop, .work = work, .done = done, .context = context};
    ev_async_init(&a->over, on_over);
    a->over.data = a;
    ev_async_start(loop, &a->over);
    if (start_thread(a, name) == 0)
        return;
    ev_async_stop(loop, &a->over);
    work(context);
    done(context);
}

void aside_drop(struct aside *a) {
    pthread_join(a->thread, NULL);
    ev_async_stop(a->loop, &a->over);
}
