/* followed.h — Secrets of Kubernetes: those that resources name are watched, and given to the engine. For files of the
 * engine alone.
 *
 * A push that names one that is not known yet waits until it is, or for FOLLOWED_PATIENCE seconds. What was given stays when
 * the API server is away, the Secret is deleted, or holds nothing that can be used. Thread: the loop's. */
#pragma once

#include <ev.h>
#include <stdbool.h>

#include "controlplane/config/config.h"
#include "controlplane/kubernetes/kubernetes.h"

enum { FOLLOWED_PATIENCE = 5 };

struct engine;
struct followed;

struct engine_followed {
    struct followed  *first;
    ev_timer          waiting;          /* a push does */
    bool              is_settled;       /* the intent has been looked at */
    struct reflector_counters gone;     /* of those that nobody names any more */
    struct error_list problems;
};

void followed_init(struct engine *e);
void followed_finish(struct engine *e);
/* Those of the current intent are followed from now on, and no others. */
void followed_settle(struct engine *e);
/* True: what `want` names has to be waited for, beside what the intent names: push_job_go_on is called. */
bool followed_wait(struct engine *e, const struct config_secrets *want);
void followed_count(const struct engine *e, struct reflector_counters *sum); /* adds to it */
/* Why there is none, of those that `want` names. 0, or -1 after adding an error for each. */
int  followed_check(const struct engine *e, const struct config_secrets *want, struct error_list *errors);
