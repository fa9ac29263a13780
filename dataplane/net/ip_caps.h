/* ip_caps.h — how many connections each client address has, over all workers.
 *
 * A fixed table of atomics shared by the workers: no lock, bounded memory. An address whose part of the table is crowded is
 * not counted (and so not capped) rather than refused. Thread: any. */
#pragma once

#include <stdint.h>

#include "common/address.h"

enum { IP_CAP_REFUSED = UINT32_MAX, IP_CAP_UNCOUNTED = UINT32_MAX - 1 };

struct ip_caps;

struct ip_caps *ip_caps_create(void);                    /* 512 KiB; NULL without memory */
void            ip_caps_destroy(struct ip_caps *);
/* Counts one more connection of this address (IPv6: of its /64). Returns the slot to give back later, IP_CAP_UNCOUNTED, or
 * IP_CAP_REFUSED when `limit` is reached. Unix-domain peers are not counted. */
uint32_t        ip_caps_take(struct ip_caps *, const struct address *peer, uint32_t limit);
void            ip_caps_give(struct ip_caps *, uint32_t slot);
