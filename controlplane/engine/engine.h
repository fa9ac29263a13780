/* engine.h — what the control plane knows and does: intent and its history, the data planes, and the pushes between them.
 * What is pushed is one layer of the intent, what servers say are others: layers.h.
 *
 * Pushes run one after another. One push is: make the new set of resources, compare, PREPARE on every data plane, store
 * durably when all are READY, COMMIT, gather the ACKs. docs/internals/channel.md has the whole way of a push.
 * Thread: the loop's. */
#pragma once

#include <ev.h>

#include "controlplane/channel/channel.h"
#include "controlplane/config/config.h"
#include "controlplane/discovery/source.h"
#include "controlplane/health/health.h"
#include "controlplane/store/store.h"
#include "proto/admin.pb-c.h"

struct engine;

/* The functions of health.h, or others in a test. */
struct engine_checks {
    struct health *(*create)(const struct health_config *config, struct error_list *errors);
    void (*destroy)(struct health *h);
    int (*set_cluster)(struct health *h, const char *cluster, const struct health_way *way,
                       const Headgate__EndpointSet *endpoints, struct error_list *errors);
    Headgate__Endpoint__Health (*of)(const struct health *h, const char *cluster, const char *address);
    const struct health_counters *(*counters)(const struct health *h);
    const char *(*last_failure)(const struct health *h, const char *cluster, const char *address, uint64_t *ret_at);
};

struct engine_config {
    struct ev_loop *loop;
    const char *state_dir;              /* of the store */
    const char *files_root, *files_base; /* see secret_root_open; NULL is allowed */
    struct channel_config channel;
    const struct engine_checks *checks; /* NULL: nothing is checked */
    struct endpoint_feed *feed;         /* outlives the engine; NULL: no management server is known */
    struct kubernetes *kubernetes;      /* outlives the engine; NULL: no API server is known */
    struct etcd_registry *registry;     /* likewise; NULL: no etcd is known */
    uint64_t keep_versions;             /* retention: of the newest, at least 1 */
    void (*wake)(void *stream_owner);   /* events of the channel for streams */
    void (*end)(void *stream_owner, const char *reason, bool at_once);
    bool (*may_be_called)(void *stream_owner, const char *node, char reason[CHANNEL_REASON_SIZE]);
};

enum { ENGINE_PUSHES_WAITING_MAX = 64 };

/* Opens the store and starts from what it holds. NULL with reasons in `errors`. */
struct engine *engine_create(const struct engine_config *config, struct error_list *errors);
/* Every stream has been disconnected and no push is under way (engine_is_busy), engine_stop was called or nobody waits for
 * an answer; NULL is allowed. */
void engine_destroy(struct engine *e);

struct channel *engine_channel(struct engine *e);
struct store *engine_store(struct engine *e);

/* ---- pushes ---- */

/* Begins or queues a push; `request` is the caller's. `done` runs once, perhaps before this returns; the reply is valid
 * during the call. */
void engine_push(struct engine *e, const Headgate__PushRequest *request,
                 void (*done)(void *context, const Headgate__PushReply *reply), void *context);
/* A push, or the set of a layer, is under way or waits. */
bool engine_is_busy(const struct engine *e);
size_t engine_pushes(const struct engine *e); /* how many */
/* From now on pushes are refused; those under way and waiting go on to their end. Verifications and gcs are left. */
void engine_stop(struct engine *e);

/* Compiles files that came in a message; their variables come with them. See config_compile. */
int engine_compile_sources(const Headgate__Sources *m, struct config_resources *ret, struct error_list *errors,
                           struct error_list *warnings);

/* ---- versions ---- */

/* The resources of one version, of all layers, without what is hidden. */
struct engine_view {
    uint64_t version;                   /* 0: there is none yet, the set is empty */
    struct config_resources set;
    bool is_owned;
    struct snapshot *borrowed;          /* what the set points into, when it is not owned */
};

/* Version `number`; 0: the current one, or the empty set when there is none. 0, or -1 with reasons in `errors`. */
int engine_view(struct engine *e, uint64_t number, struct engine_view *ret, struct error_list *errors);
/* Leaves in it what was pushed. */
void engine_view_keep_pushed(struct engine_view *view);
void engine_view_finish(struct engine_view *view); /* a zeroed struct is allowed */

/* ---- looking after the store ---- */

enum { ENGINE_UPKEEP_MAX = 16 };        /* under way and waiting */

struct upkeep_result {
    bool is_done;                       /* otherwise `errors` has the reason */
    struct store_verify_result verified;
    struct store_gc_result dropped;
    const struct error_list *errors;    /* the faults of a verification, too */
};

typedef void upkeep_done(void *context, const struct upkeep_result *result);

/* store_verify and store_gc, step by step between everything else that the loop does, one job after the other. `done` runs
 * once, at the latest in engine_stop, perhaps before these return; the result is valid during the call. */
void engine_verify(struct engine *e, upkeep_done *done, void *context);
void engine_gc(struct engine *e, const struct store_retention *retention, bool dry_run, upkeep_done *done,
               void *context);

/* ---- for status and metrics ---- */

/* What is wrong with the files of secrets now. Valid until the loop turns. */
const struct error_list *engine_secret_problems(const struct engine *e);
/* Likewise with Secrets of Kubernetes. */
const struct error_list *engine_followed_problems(const struct engine *e);
/* When the first certificate expires, microseconds since 1970; 0: there is none. */
uint64_t engine_first_expiry(const struct engine *e);

struct engine_counters {
    uint64_t pushes[8];                 /* by Headgate__PushReply__Outcome */
    uint64_t push_us, store_us;         /* sums over committed and stored pushes */
    uint64_t store_errors, gc_runs;
};

const struct engine_counters *engine_counters(const struct engine *e);

/* Where a cluster's endpoints come from, and what became of that. False: from the intent alone. */
bool engine_cluster_source(const struct engine *e, const char *cluster, struct source_state *ret);
/* See health_last_failure. */
const char *engine_health_failure(const struct engine *e, const char *cluster, const char *address, uint64_t *ret_at);

/* Of all sources of one kind that there have been. */
struct engine_source_totals {
    const char *kind;
    uint64_t    sources, failing;       /* now; failing: the last time */
    uint64_t    left_out;               /* servers that were found and are not used, now */
    uint64_t    asked, failures;        /* so far */
};

struct engine_endpoint_counters {
    uint64_t generations, saves;        /* made and stored because of endpoints */
    struct engine_source_totals sources[SOURCE_KINDS];
    const struct health_counters *health; /* NULL: nothing is checked */
    const struct resolver_counters *resolver;
    bool has_kubernetes;
    struct reflector_counters kubernetes;
};

/* Goes through all clusters. Valid until the loop turns. */
void engine_endpoint_counters(const struct engine *e, struct engine_endpoint_counters *ret);
