#include "dataplane/back/retry_policy.h"

#include "common/clock.h"
#include "dataplane/http/date.h"

enum { SECOND = 1000000, EXPONENT_MAX = 32 };

bool retry_allows_method(const struct exchange *x) {
    const struct route *r = x->route;
    return r->retry.method_count ? route_retries_method(r, x->request.head) : method_is_idempotent(x->request.head->method);
}

enum retry_reason retry_by_rule(const struct exchange *x, enum abort_code code) {
    const struct route_retry *r = &x->route->retry;
    switch (code) {
    case ABORT_CONNECT_FAILED:
    case ABORT_CONNECT_TIMEOUT: return r->on_connect_failure ? RETRY_CONNECT : RETRY_NOT;
    case ABORT_ORIGIN_RESET:
    case ABORT_ORIGIN_STREAM_RESET: return r->on_reset && retry_allows_method(x) ? RETRY_RESET : RETRY_NOT;
    case ABORT_ORIGIN_TIMEOUT: return r->on_reset && retry_allows_method(x) ? RETRY_TIMEOUT : RETRY_NOT;
    default: return RETRY_NOT;
    }
}

static uint64_t longest_backoff(const struct route_retry *r, uint32_t n) {
    uint64_t times = (UINT64_C(1) << (n < EXPONENT_MAX ? n : EXPONENT_MAX)) - 1;
    return r->backoff > r->max_backoff / times ? r->max_backoff : r->backoff * times;
}

/* Full jitter: those that failed together come back spread over the whole time. */
uint64_t retry_backoff(const struct route_retry *r, uint32_t n, struct worker *w) {
    uint64_t most = r->backoff ? longest_backoff(r, n) : 0;
    if (most == 0)
        return 0;
    uint64_t random = (uint64_t)worker_random(w) << 32 | worker_random(w);
    return random % (most + 1);
}

bool retry_after(const struct head *head, uint64_t *ret) {
    bool may_say = head->status == 429 || head->status == 503;
    const struct field *f = may_say ? fields_find(&head->fields, FIELD_RETRY_AFTER) : NULL;
    struct str value = f ? str_trim(field_value(f)) : (struct str){NULL, 0};
    uint64_t seconds, now = clock_realtime_us();
    int64_t date;
    if (!value.n)
        return false;
    if (str_to_uint64(value, &seconds) == 0) {
        *ret = seconds > UINT32_MAX ? UINT64_MAX : seconds * SECOND;
        return true;
    }
    if (!date_parse(value, &date) || date < 0)
        return false;
    uint64_t when = (uint64_t)date * SECOND;
    *ret = when > now ? when - now : 0;
    return true;
}

void retry_count(struct stats *s, enum retry_reason reason) {
    stats_add(&s->retries_total, 1);
    switch (reason) {
    case RETRY_NOT: break;
    case RETRY_UNPROCESSED: stats_add(&s->retries_unprocessed_total, 1); break;
    case RETRY_CONNECT: stats_add(&s->retries_connect_total, 1); break;
    case RETRY_RESET: stats_add(&s->retries_reset_total, 1); break;
    case RETRY_TIMEOUT: stats_add(&s->retries_timeout_total, 1); break;
    case RETRY_STATUS: stats_add(&s->retries_status_total, 1); break;
    }
}
