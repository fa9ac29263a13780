/* effective.h — one cluster's endpoints with what is known of their health, as bytes. For endpoints.c alone. Thread: any. */
#pragma once

#include "common/arena.h"
#include "proto/resource.h"

/* What health is known of an address; UNKNOWN: none. */
struct effective_health {
    Headgate__Endpoint__Health (*of)(void *context, const char *address);
    void *context;
};

/* An endpoint set as it was stored, as the base of a new one: what was found stays, what was checked does not. */
void effective_forget_checks(Headgate__EndpointSet *set);
/* `base` with health: what the base says is draining stays so. Then, with checks (`health` not NULL), what they know,
 * otherwise what the address had in `before`, an encoded set (empty: none). The bytes are in the arena. 0, or -1 without
 * memory. */
int effective_encode(const Headgate__EndpointSet *base, const struct effective_health *health,
                     struct str before, struct arena *arena, struct str *ret);
