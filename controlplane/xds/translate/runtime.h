/* runtime.h — values of runtime layers (RTDS): what fields go by that name a `runtime_key`.
 *
 * Keys are flat: {a: {b: 5}} is the value "a.b". Of a key that several layers have the last counts. Only shares have a
 * meaning here: a whole number is so many of a hundred, {numerator, denominator} says it itself; anything else is a value
 * that is none, so that the default of the field holds. Thread: one at a time; what nobody changes may be read by all. */
#pragma once

#include "common/arena.h"
#include "common/map.h"

enum { XDS_RUNTIME_KEYS_MAX = 65536 };  /* of one layer */

struct xds_runtime_value {
    const char *key;
    uint32_t    numerator, of;          /* of 0: no share */
};

/* A zeroed struct is a valid empty one. */
struct xds_runtime {
    struct map   by_key;                /* to struct xds_runtime_value, in the arena */
    struct arena arena;
    uint64_t     hash;                  /* of all values; 0: none */
};

/* Sets or replaces. 0, or -1 without memory. */
int  xds_runtime_set(struct xds_runtime *r, const struct xds_runtime_value *value);
/* NULL: no layer has it. `r` may be NULL. */
const struct xds_runtime_value *xds_runtime_find(const struct xds_runtime *r, const char *key);
void xds_runtime_finish(struct xds_runtime *r);
