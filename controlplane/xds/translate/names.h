/* names.h — names of a management server as names of our resources.
 *
 * Letters, digits and - _ . : / stay; every other byte becomes @ and two lower-case hex digits: "outbound|80||web" is
 * "outbound@7c80@7c@7cweb". A name that is too long for that is cut, and "@_" and a hash of all of it follow. No two names
 * become the same one. Thread: any. */
#pragma once

#include "common/arena.h"
#include "common/str.h"

#define XDS_GIVEN "sds:"        /* in front of the name of a secret that is given */

/* `prefix` and the mapped name, together at most RESOURCE_NAME_MAX bytes; the prefix is valid in a name, and short. p is
 * NULL without memory. An empty name has no valid form and stays empty. */
struct str xds_name_map(struct arena *arena, struct str prefix, struct str name);

/* For people: appends the server's name of one of ours without its prefix, or as much of it as there is. */
void xds_name_original(struct str name, struct strbuf *out);
