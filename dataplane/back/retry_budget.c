#include "dataplane/back/retry_budget.h"

#include "dataplane/back/cluster.h"

enum { TOKEN = 100, SECOND = 1000000 };
#define DAY (UINT64_C(86400) * SECOND)       /* the longest time that is looked back */

static void pay_in(struct retry_bucket *b, uint64_t hundredths) {
    uint64_t spent = atomic_load_explicit(&b->spent, memory_order_relaxed);
    if (hundredths == 0)
        return;
    while (!atomic_compare_exchange_weak_explicit(&b->spent, &spent, spent > hundredths ? spent - hundredths : 0,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

/* Whoever moves the mark pays in for what lies between; a worker that knows of less than another one finds nothing. */
static void pay_for_requests(struct retry_bucket *b, uint64_t requests, uint32_t percent) {
    uint64_t paid = atomic_load_explicit(&b->paid_requests, memory_order_relaxed);
    while (requests > paid)
        if (atomic_compare_exchange_weak_explicit(&b->paid_requests, &paid, requests, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            pay_in(b, (requests - paid) * percent);
            return;
        }
}

/* The mark moves by as much as was paid for, so that nothing is lost between calls in short succession; but nothing is left
 * over for later when the bucket is full. */
static void pay_for_time(struct retry_bucket *b, uint64_t now, uint64_t rate) {
    uint64_t until = atomic_load_explicit(&b->paid_until, memory_order_relaxed), earned, next;
    do {
        uint64_t elapsed = now > until ? now - until : 0;
        earned = (elapsed < DAY ? elapsed : DAY) * rate / SECOND;
        if (earned == 0)
            return;
        bool is_full = elapsed > DAY || earned >= atomic_load_explicit(&b->spent, memory_order_relaxed);
        next = is_full ? now : until + (earned * SECOND + rate - 1) / rate;
    } while (!atomic_compare_exchange_weak_explicit(&b->paid_until, &until, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    pay_in(b, earned);
}

static bool take_token(struct retry_bucket *b, uint64_t size) {
    uint64_t spent = atomic_load_explicit(&b->spent, memory_order_relaxed);
    do
        if (spent + TOKEN > size * TOKEN)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&b->spent, &spent, spent + TOKEN, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

static bool is_one_more_under_way(struct cluster_shared *shared, const struct breakers *b) {
    uint64_t requests = atomic_load_explicit(&shared->requests, memory_order_relaxed);
    uint64_t most = requests * b->retry_percent / 100;
    uint32_t before = atomic_fetch_add_explicit(&shared->retries, 1, memory_order_relaxed);
    if (before < most || before < b->min_retries)
        return true;
    retry_budget_give(shared);
    return false;
}

bool retry_budget_take(struct cluster_shared *shared, const struct breakers *b, uint64_t now) {
    if (!is_one_more_under_way(shared, b))
        return false;
    pay_for_requests(&shared->bucket, cluster_counts_requests(&shared->counts), b->retry_tokens_percent);
    pay_for_time(&shared->bucket, now, (uint64_t)b->retry_tokens_per_second * TOKEN);
    if (take_token(&shared->bucket, b->retry_tokens))
        return true;
    retry_budget_give(shared);
    return false;
}

void retry_budget_give(struct cluster_shared *shared) {
    breakers_give(&shared->retries);
}
