/* services.h — the Services of a namespace: which name a port's number has. Thread: the loop's. */
#pragma once

#include <cjson/cJSON.h>

#include "common/map.h"

enum { SERVICES_BYTES_MAX = 256 << 20 };    /* of memory */

struct service;

/* Zeroed, it knows nothing. */
struct services {
    struct map      by_name;            /* to struct service */
    struct service *first;              /* of all */
    uint64_t        round;              /* of lists: what a list does not name is gone at its end */
    size_t          bytes;              /* of those of this round */
    bool            is_full;            /* since the list began one had no room */
};

void services_finish(struct services *s);
void services_list(struct services *s); /* a list begins, and ends */
void services_listed(struct services *s);
/* A Service that is there now. Returns its name, valid until it is set again; NULL: no memory, or no room. */
const char *services_set(struct services *s, const cJSON *object);
/* A Service that has gone. Returns its name, which is the object's; NULL: it was not there. */
const char *services_remove(struct services *s, const cJSON *object);

/* The name of the port with that number ("": it has none); NULL: there is no such Service, or none of its ports has it. */
const char *services_port_name(const struct services *s, const char *service, uint32_t number);
