/* ewma.c — the latency to expect, as Finagle's peak EWMA has it: a slower response counts at once, a faster one by and by,
 * and what is not measured fades away, so that one that was slow gets another chance. */
#include <math.h>

#include "dataplane/balance/balance.h"

enum {
    FAILURE_LATENCY = 1000000,        /* what a request without a response is taken to have needed at least */
    FAILURE_MOST = 64000000,          /* and at most, so that some nine decays make up for any number of failures */
};

static double weight_of_past(const struct candidate *c, const struct balance_rules *r, uint64_t now) {
    return exp(-(double)(now - c->latency_at) / (double)r->ewma_decay);
}

double candidate_expected_latency(const struct candidate *c, const struct balance_rules *r, uint64_t now) {
    return c->latency > 0 ? c->latency * weight_of_past(c, r, now) : 0;
}

void candidate_note_latency(struct candidate *c, const struct balance_rules *r, uint64_t latency, uint64_t now) {
    double measured = latency ? (double)latency : 1, past = weight_of_past(c, r, now); /* 0 is: not known */
    if (measured >= c->latency)
        c->latency = measured;
    else
        c->latency = c->latency * past + measured * (1 - past);
    c->latency_at = now;
}

/* One that fails fast must not look like a fast one. */
void candidate_note_failure(struct candidate *c, const struct balance_rules *r, uint64_t now) {
    double expected = candidate_expected_latency(c, r, now), doubled = fmin(2 * expected, FAILURE_MOST);
    c->latency = fmax(fmax(expected, doubled), FAILURE_LATENCY);
    c->latency_at = now;
}
