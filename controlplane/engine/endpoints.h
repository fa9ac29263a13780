/* endpoints.h — the endpoints of the engine: what of its state comes from discovery and health checks.
 *
 * Of each cluster that has one of the two: what its source found last, otherwise what the state has, otherwise what the
 * intent declares, each endpoint with the health that is known. Where that differs from the intent it is an endpoint set of
 * the state. For files of the engine alone. Thread: the loop's. */
#pragma once

#include <ev.h>

#include "common/map.h"
#include "controlplane/channel/snapshot.h"
#include "controlplane/config/config.h"
#include "controlplane/discovery/source.h"
#include "controlplane/engine/engine.h"
#include "controlplane/engine/state_saver.h"
#include "controlplane/health/health.h"

struct tracked;

struct engine_endpoints {
    struct resolver *resolver;
    struct health   *health;        /* NULL: nothing is checked */
    struct map       clusters;      /* of the current intent, by name, to struct tracked */
    struct tracked  *dirty;         /* may differ from the state */
    uint64_t         dirty_at;      /* monotonic: when the first of what made them so was known */
    bool             has_strays;    /* the state may have endpoint sets of clusters that the intent has not */
    ev_timer         publish;       /* the next generation */
    uint64_t         published_at;  /* monotonic: the last one */
    uint64_t         saved_at;      /* monotonic: when the last save began; 0: never */
    ev_timer         save;          /* runs while the stored state is not the current one */
    struct state_saver saver;       /* what it begins */
    bool             is_pending;    /* publish when the push under way is over */
    struct engine_source_totals gone[SOURCE_KINDS]; /* of sources that are no more */
    uint64_t         generations, saves; /* so far */
    bool             lacks_clusters; /* some are not followed as the intent has them: there was no memory */
    ev_timer         again;         /* runs while some cluster lacks that, its endpoints or checks */
};

int  engine_endpoints_init(struct engine *e, struct error_list *errors);
/* Nothing is found or checked any more. */
void engine_endpoints_finish(struct engine *e);

/* `state` with the endpoint sets that belong to this intent: those of clusters that are gone leave it. The caller's
 * reference, or NULL without memory. */
struct part *engine_make_endpoints(struct engine *e, const struct config_resources *intent, struct part *state);
/* Sources and checks become those of the current intent. */
void engine_follow_intent(struct engine *e);
/* What clusters lack is tried again, a while later. */
void engine_try_again_later(struct engine *e);
/* Secrets of the current state are others than before. */
void engine_renew_checks(struct engine *e);
/* A push is over. */
void engine_endpoints_resume(struct engine *e);
/* There is more to store than the stored state has: together with what changes within a second. */
void engine_endpoints_save_soon(struct engine *e);
/* Stores the current state when the stored one is older; durable when it returns. */
void engine_endpoints_save(struct engine *e);
