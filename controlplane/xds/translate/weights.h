/* weights.h — shares of any size as weights of 1 to 65535. Thread: any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { WEIGHT_MAX = 65535 };

/* `shares` are above 0. Proportions are kept where whole numbers can; otherwise the largest share becomes WEIGHT_MAX, and
 * the others are rounded to the nearest, but never to 0. */
void weights_of_shares(const double *shares, size_t count, uint32_t *ret_weights);
