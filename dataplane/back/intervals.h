/* intervals.h — endpoints judged by what they did in an interval: success rates, shares of failures, latencies.
 *
 * Each worker counts by itself. Intervals end for all workers at the same times; what a worker has counted by then is closed
 * at that moment, and becomes its report: of just that interval, whatever its endpoints do while it is written. A
 * little later one worker takes the reports that are there, adds them up and judges. None of it takes a turn of the loop
 * much time, however many endpoints there are: some of it is done in each (backlog.c). docs/internals/clusters.md,
 * "Outliers". Thread: the worker's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/back/outliers.h"
#include "dataplane/back/sorting.h"
#include "dataplane/core/wheel.h"

struct outlier_counts {
    uint64_t latency;                    /* of all answers, microseconds */
    uint32_t requests, failures, answers;
    bool     is_out;                     /* by definition, when it was reported */
};

/* What an endpoint did on one worker. In one of the cluster's lists once there is something. */
struct outlier_tally {
    struct outlier_tally *next, *prev;   /* NULL: nothing */
    struct outlier_counts counts;
    uint32_t              interval;      /* when that was, by the gathering's number */
};

/* What an endpoint did, in a report on one worker, in a judgement on all. */
struct outlier_entry {
    struct endpoint_shared *endpoint;    /* counted */
    struct outlier_counts   counts;
};

/* Once it is whole it is in the list of the cluster, for whoever judges. */
struct outlier_report {
    struct outlier_report *next;
    uint32_t               interval;
    uint32_t               count;
    struct outlier_entry   entries[];
};

/* One worker's, of a cluster. */
struct outlier_gathering {
    struct outlier_tally   tallies, closed; /* list heads: of the present interval; what the report does not have yet */
    uint32_t               count;        /* of `tallies` */
    uint32_t               interval;     /* numbers them; the first is 1 */
    struct timer           end, judgement; /* of the interval; when it is to be judged */
    uint64_t               interval_end, reported_until;
    uint64_t               waits_until;  /* the judgement, for reports that are being written */
    struct outlier_report *report;       /* being written; NULL: none */
};

/* What one worker judges, for all of them. */
struct outlier_judgement {
    bool                   is_under_way;
    unsigned               stage;        /* judgement.c */
    uint32_t               at;           /* the entry to go on from in this stage */
    uint64_t               until;        /* end of the interval */
    struct outlier_rules   rules;        /* as of its beginning */
    struct outlier_report *reports;      /* not added up yet */
    struct outlier_entry  *entries;
    uint32_t               count;
    uint32_t               standing_out; /* of the keys; by success rate or latency */
    double                 sum, squares; /* of success rates; of their distances from the mean */
    double                 bound;        /* who is beyond it stands out */
    struct sort_key       *keys;         /* room for twice as many as entries */
    struct sorting         sorting;
};

void     intervals_init(struct cluster_runtime *);
/* As outliers_note. Only with rules that have intervals. */
void     intervals_note(struct endpoint_runtime *, enum endpoint_outcome, uint64_t head_latency);
/* The endpoint has left the cluster: what was not reported of it is forgotten. */
void     intervals_leave(struct endpoint_runtime *);
/* Once all endpoints have left. What is held for a report or a judgement is given back by and by. */
void     intervals_finish(struct cluster_runtime *);
/* As leaving_go_on (reconcile.h): writes the report, judges. */
uint32_t intervals_go_on(struct cluster_runtime *, uint32_t most);
bool     intervals_have_work(const struct cluster_runtime *);

/* ---- judgement.c */

/* Begins, if there are reports. False: another worker judges, which is over soon. Without memory nobody is judged. */
bool     judgement_begin(struct cluster_runtime *, uint64_t until);
/* What is left of it is given back by and by, and these reports with it. */
void     judgement_give_up(struct cluster_runtime *, struct outlier_report *);
uint32_t judgement_go_on(struct cluster_runtime *, uint32_t most);
