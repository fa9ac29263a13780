#include "common/ring_points.h"

#include <math.h>

enum { POINTS_MOST = 8388608 };

double ring_scale(double total_weight, uint32_t least_weight, uint32_t size) {
    double for_all = size / total_weight, for_lightest = 1.0 / least_weight;
    double scale = exp2(ceil(log2(for_all > for_lightest ? for_all : for_lightest)));
    return scale * total_weight > POINTS_MOST ? POINTS_MOST / total_weight : scale;
}

uint32_t ring_points(uint32_t weight, double scale) {
    double n = floor(weight * scale + 0.5);
    return n < 1 ? 1 : (uint32_t)n;
}
