/* priority.h — what Priority says of a message (RFC 9218 section 4), as a client asks and as an origin answers. Pure. */
#pragma once

#include "dataplane/http/head.h"

/* Each -1: not stated. */
struct priority {
    int8_t urgency;                        /* 0, first, to 7 */
    int8_t incremental;                    /* 0, 1 */
};

enum { PRIORITY_DEFAULT_URGENCY = 3, PRIORITY_URGENCIES = 8 };

#define PRIORITY_UNSTATED ((struct priority){-1, -1})

/* What a field value ("u=3, i") states is set. Members and parameters that nobody knows are skipped, as are values out of
 * range. */
void priority_read(struct priority *, struct str value);
/* All fields of that name. */
void priority_read_fields(struct priority *, const struct fields *);
/* What a PRIORITY_UPDATE says: all that it leaves out is the default (section 7). */
struct priority priority_of_update(struct str value);
/* Whole. */
struct priority_level {
    uint32_t urgency;
    bool     incremental;
};
/* What the origin states counts more than what the client asks for (section 8), and that more than the defaults. */
struct priority_level priority_merge(const struct priority *client, const struct priority *origin);

enum { PRIORITY_EARLY_MOST = 8 };

/* PRIORITY_UPDATEs of a connection that came before their requests. Zeroed: none. */
struct early_priorities {
    struct {
        uint64_t        id;
        struct priority said;
    } list[PRIORITY_EARLY_MOST];
    unsigned count, at;
};
/* Takes the place of what was said of the same request before, or else of what came longest ago. */
void early_priorities_note(struct early_priorities *, uint64_t id, struct priority said);
/* PRIORITY_UNSTATED: nothing was said of it. */
struct priority early_priorities_find(const struct early_priorities *, uint64_t id);
