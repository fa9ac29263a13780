#include "controlplane/cli/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

static const double RESTART_FIRST = 0.2, RESTART_MOST = 10., KILL_AFTER = 60.;
static const uint64_t STEADY_US = 10000000;

/* ---- one child ---- */

/* In a process group of its own, so that Ctrl-C reaches it through us; it does not outlive us. */
static void become(const struct child *c) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execv(c->arguments[0], (char *const *)c->arguments);
    fprintf(stderr, "headgate: cannot run %s: %s\n", c->arguments[0], strerror(errno));
    _exit(127);
}

static int child_start(struct child *c) {
    fflush(NULL);
    c->started_at = c->owner->clock();
    pid_t pid = fork();
    if (pid == 0)
        become(c);
    if (pid < 0) {
        fprintf(stderr, "headgate: cannot start %s: %s\n", c->name, strerror(errno));
        return -1;
    }
    c->pid = pid;
    ev_child_set(&c->watcher, pid, 0);
    ev_child_start(c->owner->loop, &c->watcher);
    return 0;
}

static void signal_all(const struct supervisor *s, int signal_number) {
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].pid > 0)
            kill(s->children[i].pid, signal_number);
}

/* One after the other, the last one first: a data plane drains with its control plane still there. */
static void stop_next(struct supervisor *s) {
    for (size_t i = s->count; i > 0; i--)
        if (s->children[i - 1].pid > 0) {
            kill(s->children[i - 1].pid, SIGTERM);
            return;
        }
    ev_break(s->loop, EVBREAK_ALL);
}

/* Its first process has ended by itself, and not well: it has said why, and another one would say the same. */
static bool cannot_start(const struct child *c, int status) {
    return c->wait == 0 && WIFEXITED(status) && WEXITSTATUS(status) != EXIT_SUCCESS;
}

static void tell_end(const struct child *c, int status) {
    if (WIFSIGNALED(status))
        fprintf(stderr, "headgate: %s was killed by signal %d\n", c->name, WTERMSIG(status));
    else
        fprintf(stderr, "headgate: %s ended with exit code %d\n", c->name, WEXITSTATUS(status));
}

static double next_wait(const struct child *c) {
    bool has_lived = c->owner->clock() - c->started_at > STEADY_US;
    if (has_lived || c->wait == 0)
        return RESTART_FIRST;
    return c->wait * 2 < RESTART_MOST ? c->wait * 2 : RESTART_MOST;
}

static void restart_later(struct child *c) {
    c->wait = next_wait(c);
    ev_now_update(c->owner->loop); /* starting may have taken a while */
    ev_timer_set(&c->restart, c->wait, 0.);
    ev_timer_start(c->owner->loop, &c->restart);
}

static void on_child(struct ev_loop *loop, ev_child *watcher, int events) {
    struct child *c = watcher->data;
    struct supervisor *s = c->owner;
    (void)events;
    ev_child_stop(loop, watcher);
    c->pid = 0;
    if (s->is_stopping) {
        stop_next(s);
        return;
    }
    tell_end(c, watcher->rstatus);
    if (c->is_restarted && !cannot_start(c, watcher->rstatus)) {
        restart_later(c);
        return;
    }
    s->has_failed = true;
    supervisor_stop(s);
}

static void on_restart(struct ev_loop *loop, ev_timer *timer, int events) {
    struct child *c = timer->data;
    (void)loop;
    (void)events;
    if (child_start(c) < 0)
        restart_later(c);
}

/* ---- signals ---- */

static void on_kill(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    signal_all(timer->data, SIGKILL);
}

void supervisor_stop(struct supervisor *s) {
    if (s->is_stopping)
        return;
    s->is_stopping = true;
    for (size_t i = 0; i < s->count; i++)
        ev_timer_stop(s->loop, &s->children[i].restart);
    ev_now_update(s->loop);
    ev_timer_start(s->loop, &s->kill);
    stop_next(s);
}

static void on_stop(struct ev_loop *loop, ev_signal *watcher, int events) {
    struct supervisor *s = watcher->data;
    (void)loop;
    (void)events;
    if (s->signals++ > 0)
        signal_all(s, SIGKILL);
    supervisor_stop(s);
}

static void on_hangup(struct ev_loop *loop, ev_signal *watcher, int events) {
    (void)loop;
    (void)events;
    signal_all(watcher->data, SIGHUP);
}

/* ---- all of them ---- */

void supervisor_init(struct supervisor *s) {
    *s = (struct supervisor){.loop = ev_default_loop(EVFLAG_AUTO), .clock = clock_monotonic_us};
    ev_signal_init(&s->term, on_stop, SIGTERM);
    ev_signal_init(&s->interrupt, on_stop, SIGINT);
    ev_signal_init(&s->hangup, on_hangup, SIGHUP);
    ev_timer_init(&s->kill, on_kill, KILL_AFTER, 0.);
    s->term.data = s->interrupt.data = s->hangup.data = s->kill.data = s;
}

struct child *supervisor_add(struct supervisor *s, const char *name, const char *program, bool is_restarted) {
    struct child *c = &s->children[s->count++];
    c->owner = s;
    c->name = name;
    c->arguments[0] = program;
    c->is_restarted = is_restarted;
    ev_init(&c->watcher, on_child);
    ev_init(&c->restart, on_restart);
    c->watcher.data = c->restart.data = c;
    return c;
}

void child_add(struct child *c, const char *option, const char *value) {
    size_t n = 0;
    while (c->arguments[n])
        n++;
    if (!value || n + 3 > CHILD_ARGUMENTS_MAX)
        return;
    c->arguments[n] = option;
    c->arguments[n + 1] = value;
}

int supervisor_start(struct supervisor *s) {
    ev_signal_start(s->loop, &s->term);
    ev_signal_start(s->loop, &s->interrupt);
    ev_signal_start(s->loop, &s->hangup);
    for (size_t i = 0; i < s->count; i++)
        if (child_start(&s->children[i]) < 0)
            return -1;
    return 0;
}

int supervisor_run(struct supervisor *s) {
    ev_run(s->loop, 0);
    ev_timer_stop(s->loop, &s->kill);
    return s->has_failed ? -1 : 0;
}
