/* slices.h — the EndpointSlices of a namespace, as endpoints.
 *
 * A service has any number of slices, each with any number of endpoints; the same endpoint may be in two of them while it
 * moves. https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/ Thread: the loop's. */
#pragma once

#include <cjson/cJSON.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/map.h"
#include "proto/resources.pb-c.h"

enum { SLICES_BYTES_MAX = 256 << 20 };  /* of memory: 262,144 endpoints in full slices need a tenth */

struct slice;

/* All that is known of one namespace. Zeroed but for `changed`, which is called when a service has other slices and must not
 * change them, it knows nothing. */
struct slices {
    void     (*changed)(void *context, const char *service);
    void      *context;
    struct map by_name;                 /* of the slice, to struct slice */
    struct map by_service;              /* to the first struct slice of it */
    struct slice *first;                /* of all */
    uint64_t   round;                   /* of lists: what a list does not name is gone at its end */
    size_t     bytes;                      /* of those of this round */
    bool       is_full;                 /* since the list began one had no room */
};

void slices_finish(struct slices *s);
void slices_list(struct slices *s);     /* a list begins */
void slices_listed(struct slices *s);   /* and ends: slices that were not set in between are gone */
/* An object EndpointSlice that is there now. One that belongs to no service, or has names instead of IP addresses, is left
 * out. False: no memory, or no room. */
bool slices_set(struct slices *s, const cJSON *object);
void slices_remove(struct slices *s, const cJSON *object);

/* The endpoints of a service, in the order of their addresses, each once; in the arena. `port` is the name of a port of the
 * Service ("" has none); NULL: the only one. NULL with a reason in `errors`: there is no slice of that service, none with
 * that port, or more than one port.
 *
 * An endpoint that is ready is used; one that serves without being ready (it terminates) is draining, or used where none is
 * ready; others are left out. Its zone is the first that it is hinted for, otherwise its own. */
Headgate__EndpointSet *slices_endpoints(const struct slices *s, const char *service, const char *port, struct arena *arena,
                                        struct error_list *errors);
