/* priority.h — what Priority says of a message (RFC 9218 section 4), as a client asks and as an origin answers. Pure. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "dataplane/http/head.h"

/* Each -1: not stated. */
struct h2_priority {
    int8_t urgency;                        /* 0, first, to 7 */
    int8_t incremental;                    /* 0, 1 */
};

#define H2_PRIORITY_UNSTATED ((struct h2_priority){-1, -1})

/* What a field value ("u=3, i") states is set. Members and parameters that nobody knows are skipped, as are values out of
 * range. */
void h2_priority_read(struct h2_priority *, struct str value);
/* All fields of that name. */
void h2_priority_read_fields(struct h2_priority *, const struct fields *);
/* For the library: what the origin states counts more than what the client asks for (section 8), and that more than the
 * defaults. */
nghttp2_extpri h2_priority_merge(const struct h2_priority *client, const struct h2_priority *origin);
