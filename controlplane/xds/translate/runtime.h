/* runtime.h — values of runtime layers (RTDS, the bootstrap file): what fields go by that name a `runtime_key`.
 *
 * Keys are flat: {a: {b: 5}} is the value "a.b". Of a key that several layers have the last counts, whatever its value is.
 * What a value is good for is as in Envoy: {numerator, denominator} is a share; a number, or a text that is one, is itself,
 * and as a share so many of a hundred; true and false are neither. Where a value is none of what a field asks for, the
 * default of the field holds. Thread: one at a time; what nobody changes may be read by all. */
#pragma once

#include "common/arena.h"
#include "common/map.h"

enum { XDS_RUNTIME_KEYS_MAX = 65536 };  /* of one layer */

struct xds_runtime_value {
    const char *key;
    bool        is_share, is_number;
    uint32_t    numerator, of;          /* of a share; at most all of it */
    double      number;
};

/* A zeroed struct is a valid empty one. */
struct xds_runtime {
    struct map   by_key;                /* to struct xds_runtime_value, in the arena */
    struct arena arena;
    uint64_t     hash;                  /* of all values; 0: none */
};

/* Sets or replaces. 0, or -1 without memory. */
int  xds_runtime_set(struct xds_runtime *r, const struct xds_runtime_value *value);
void xds_runtime_finish(struct xds_runtime *r);

/* What a text says as a value: a number, or nothing. `key` is kept by reference. */
struct xds_runtime_value xds_runtime_of_text(const char *key, const char *text);

/* ---- what fields ask for; `r` may be NULL: there are no values ---- */

/* Whether there is one; `*numerator` is at most `*of`. Untouched when not. */
bool     xds_runtime_share(const struct xds_runtime *r, const char *key, uint32_t *numerator, uint32_t *of);
/* The whole part of a number that is not negative. */
uint64_t xds_runtime_integer(const struct xds_runtime *r, const char *key, uint64_t otherwise);
double   xds_runtime_number(const struct xds_runtime *r, const char *key, double otherwise);
