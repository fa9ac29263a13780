/* probe.h — the connection to one endpoint and the checks on it, one after another.
 *
 * A probe is created for a check and may be kept for the next one, when the peer lets it and the owner wants it. Timeouts
 * are the owner's. Thread: the checker's. */
#pragma once

#include <ev.h>

#include "controlplane/health/answer.h"
#include "controlplane/health/check_plan.h"

struct probe;

enum probe_end {
    PROBE_WELL,
    PROBE_UNWELL,
    PROBE_NOT_MADE,                 /* no memory, descriptors or ports here: nothing is known of the endpoint */
};

/* What all probes of a checker share. */
struct probes {
    struct ev_loop *loop;
    uint8_t        *room;           /* PROBE_ROOM bytes, what is read and at once used */
    size_t          open;           /* descriptors now */
    uint64_t        connects, reused;
    /* The check has ended, never within a function here; `reason` of other ends than WELL. `is_reusable`: probe_check may be
     * called again. The owner may destroy the probe, and does unless it keeps it. */
    void (*ended)(struct probes *all, void *owner, enum probe_end end, bool is_reusable, const char *reason);
    /* A kept connection has been closed by the peer. The owner destroys the probe. */
    void (*closed)(struct probes *all, void *owner);
};

enum { PROBE_ROOM = 64 << 10 };

struct probe_target {
    const struct check_plan *plan;        /* outlives the check */
    const char *address;            /* valid during the check, as `hostname` */
    const char *hostname;           /* of the endpoint; NULL: none */
    struct transport *transport;    /* of the plan */
};

/* NULL: no memory. */
struct probe *probe_create(struct probes *all, void *owner);
void          probe_destroy(struct probe *p);       /* at any time; NULL is allowed */

/* Begins a check: on the open connection if that was made the same way, else on a new one. When a kept connection turns
 * out to be closed before anything was answered, a new one is made. */
void          probe_check(struct probe *p, const struct probe_target *target);
/* What the check under way waits for: "connection", "TLS handshake", "answer". */
const char   *probe_waits_for(const struct probe *p);
