/* pace.h — how often: a token bucket, and waits that double. Times are microseconds of a monotonic clock that the
 * caller reads. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Full at first. */
struct token_bucket {
    uint32_t tokens_max;        /* 0: no limit */
    uint32_t fill_per_second;   /* at least 1 where there is a limit */
    uint32_t tokens;
    uint64_t filled_at;         /* up to when tokens have been added */
};

void     token_bucket_init(struct token_bucket *b, uint32_t tokens_max, uint32_t fill_per_second, uint64_t now);
bool     token_bucket_has(struct token_bucket *b, uint64_t now);
void     token_bucket_take(struct token_bucket *b);         /* after token_bucket_has said yes */
uint64_t token_bucket_ready_at(const struct token_bucket *b); /* when it has one; 0: it has */

/* The wait after failure number `failures` (from 1): `base` doubled each time up to `max`, a fifth more or less by
 * chance. `random` is the state of the generator, never 0. */
uint64_t backoff_wait(uint64_t base, uint64_t max, uint32_t failures, uint64_t *random);

/* Until the next poll: from `base` to below twice that, as in Envoy, so that many clients do not ask at once. */
uint64_t poll_wait(uint64_t base, uint64_t *random);
