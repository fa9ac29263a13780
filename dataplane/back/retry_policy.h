/* retry_policy.h — whether a request may be sent again, why, and when. What it decides is carried out in retries.c.
 * Thread: the worker's. */
#pragma once

#include "dataplane/http/exchange.h"

enum retry_reason {
    RETRY_NOT,
    RETRY_UNPROCESSED,       /* the origin has not looked at it: a kept connection was closed, or it refused the stream */
    RETRY_CONNECT,
    RETRY_RESET,
    RETRY_TIMEOUT,
    RETRY_STATUS
};

/* Whether the route lets a request with this method be sent twice. */
bool retry_allows_method(const struct exchange *);
/* By the route's rules; RETRY_NOT: they do not allow it. How many were made is not looked at. */
enum retry_reason retry_by_rule(const struct exchange *, enum abort_code);
/* How long to wait before retry `n` (1, 2, ...): a random time of up to backoff * (2^n - 1), bounded by max_backoff. */
uint64_t retry_backoff(const struct route_retry *, uint32_t n, struct worker *);
/* Retry-After of a 429 or 503, in microseconds from now (RFC 9110 section 10.2.3). False: none that can be read. */
bool retry_after(const struct head *, uint64_t *ret);
void retry_count(struct stats *, enum retry_reason);
