/* id_directory.h — where connections live whose IDs say nothing: what proven flows have seen, for all workers.
 *
 * A client that comes from another address, or by whatever reason to another worker, is known by the ID that its origin
 * gave it. The table has a fixed size: 65,536 IDs in 4 MiB. Where an ID finds no room, the one beside it that was used
 * longest ago goes. That costs no flow: only that its client can change its address. Locks are held for a few comparisons,
 * once for each new connection and each datagram of a client that is not known. Thread: any. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/address.h"

enum { DIRECTORY_IDS = 65536, DIRECTORY_ID_MIN = 4 };

/* An endpoint. */
struct id_home {
    uint64_t       until;            /* it drains, or has left its cluster: its connections end then. Microseconds, kept to
                                      * the second; 0: it does not */
    uint32_t       slot;             /* of the cluster, in workers' tables */
    uint32_t       place;            /* in the cluster as it was; a hint */
    struct address address;          /* IPv4 or IPv6 */
};

struct id_directory;

struct id_directory *id_directory_create(void);                   /* NULL without memory */
void                 id_directory_destroy(struct id_directory *);

/* The ID leads there until `expires` (microseconds, monotonic), unless it is noted again; with `now` it leads nowhere. IDs
 * of less than DIRECTORY_ID_MIN octets, which clients could guess, are not noted. */
void id_directory_note(struct id_directory *, const uint8_t *id, size_t n, const struct id_home *, uint64_t now,
                       uint64_t expires);
/* What the octets begin with, of which `n` can be read: the longest ID that is known. Returns its length, or 0. */
size_t id_directory_find(struct id_directory *, const uint8_t *octets, size_t n, uint64_t now, struct id_home *ret);
