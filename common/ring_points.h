/* ring_points.h — how many points the members of a ketama ring have. Both planes need to know: one makes rings, the other
 * says before that which are too large. Thread: any. */
#pragma once

#include <stdint.h>

/* Points for a weight of one: `size` at least in all, and one at least for the lightest. A power of two, so that it stays
 * the same when a member comes or goes: otherwise each of the others would gain or lose points, and with them keys. Less
 * where that would be more than 8388608 points. The weights are of all members together, and of the lightest: above 0. */
double   ring_scale(double total_weight, uint32_t least_weight, uint32_t size);
/* Points of a member, at least one. */
uint32_t ring_points(uint32_t weight, double scale);
