#include "controlplane/xds/translate/weights.h"

#include <math.h>
#include <stdbool.h>

/* How far from a whole number still counts as one: some hundred roundings of a double. */
static const double NEAR = 1e-9;

static bool is_whole(double number) {
    return fabs(number - nearbyint(number)) <= NEAR * number;
}

/* The largest step of which all shares are multiples, by at most WEIGHT_MAX; 0: there is none among the candidates. */
static double common_step(const double *shares, size_t count, double smallest, double largest) {
    enum { DIVISORS_MAX = 64 };
    for (int divisor = 1; divisor <= DIVISORS_MAX && largest / smallest * divisor <= WEIGHT_MAX; divisor++) {
        double step = smallest / divisor;
        size_t i = 0;
        while (i < count && is_whole(shares[i] / step))
            i++;
        if (i == count)
            return step;
    }
    return 0;
}

void weights_of_shares(const double *shares, size_t count, uint32_t *ret_weights) {
    double smallest = INFINITY, largest = 0;
    for (size_t i = 0; i < count; i++) {
        smallest = fmin(smallest, shares[i]);
        largest = fmax(largest, shares[i]);
    }
    double step = count ? common_step(shares, count, smallest, largest) : 0;
    if (step == 0)
        step = largest / WEIGHT_MAX;
    for (size_t i = 0; i < count; i++) {
        double weight = nearbyint(shares[i] / step);
        ret_weights[i] = weight < 1 ? 1 : weight > WEIGHT_MAX ? WEIGHT_MAX : (uint32_t)weight;
    }
}
