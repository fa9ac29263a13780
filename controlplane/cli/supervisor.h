/* supervisor.h — child processes in the foreground: started, restarted after a crash, stopped together.
 * Thread: main; the default event loop. */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SUPERVISOR_CHILDREN_MAX = 4, CHILD_ARGUMENTS_MAX = 32 };

struct supervisor;

struct child {
    struct supervisor *owner;
    const char *name;                           /* for messages */
    const char *arguments[CHILD_ARGUMENTS_MAX]; /* the first is the program's path; ends with NULL */
    bool is_restarted;                          /* after a crash; an end otherwise is that of everything */
    pid_t pid;                                  /* 0: not running */
    ev_child watcher;
    ev_timer restart;
    double wait;                                /* seconds, before it is started again; doubles until it has lived; at
                                                 * first 0 */
    uint64_t started_at;                        /* by the supervisor's clock */
};

struct supervisor {
    struct ev_loop *loop;
    uint64_t (*clock)(void);                    /* monotonic microseconds: how long children live */
    struct child children[SUPERVISOR_CHILDREN_MAX];
    size_t count;
    bool is_stopping, has_failed;
    int signals;                                /* that asked to stop */
    ev_signal term, interrupt, hangup;
    ev_timer kill;
};

void supervisor_init(struct supervisor *s);
/* A child to be started by supervisor_start. One that is restarted waits 0.2 s first, then twice as long each time, 10 s at
 * most; one that has lived for more than 10 s begins anew. A first process that ends with another exit code than 0
 * could not start, and ends everything; a later one is tried again, for the sake of what runs. Add arguments to it with
 * child_add. */
struct child *supervisor_add(struct supervisor *s, const char *name, const char *program, bool is_restarted);
/* The option and its value; nothing when `value` is NULL. All texts outlive the supervisor. */
void child_add(struct child *c, const char *option, const char *value);
/* Starts all; -1 with a message when one cannot be. */
int supervisor_start(struct supervisor *s);
/* Runs until all children have ended after TERM, INT or supervisor_stop. Returns 0, or -1 when a child's end was the
 * reason. TERM and INT reach the children as TERM, one after the other, the one that was added last first; HUP reaches
 * all at once. A second TERM or INT, or a minute, kills. */
int supervisor_run(struct supervisor *s);
void supervisor_stop(struct supervisor *s);
