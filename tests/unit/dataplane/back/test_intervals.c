/* Intervals of a very large cluster: reports are written and judged by some work in each turn of the worker's loop, counted
 * here, and the results are those of one look at everything as it was when the interval ended. */
#define MANY_ENDPOINTS 100000
#include "tests/unit/dataplane/back/many_endpoints.h"

#include <math.h>

/* In a turn; half a unit is a report's entry, and so on: backlog.c, judgement.c. */
enum { UNITS = 1024, REPORTED = 2 * UNITS, ADDED = 2 * UNITS, READ = 16 * UNITS, SORTED = 64 * UNITS, EJECTED = UNITS / 2,
       RELEASED = 4 * UNITS, SLACK = 64 };
enum { REQUESTS = 20, ENDED = 512, FEW = 3000 };

static const struct outlier_rules rules = {.is_on = true, .has_intervals = true, .interval = SECOND, .min_endpoints = 5,
                                           .min_requests = 10, .base_ejection = 100 * SECOND, .max_ejection = 100 * SECOND,
                                           .max_ejected_percent = 100};

/* All of them well. */
static void define_judged(const struct outlier_rules *r) {
    define_many(BALANCE_RANDOM);
    d.cluster.outliers = *r;
    for (uint32_t i = 0; i < MANY; i++)
        many[i].is_usable = true, many[i].is_draining = false;
}

static struct cluster_runtime *bring_judged(uint32_t count, const struct outlier_rules *r) {
    define_judged(r);
    struct cluster_runtime *c = bring_count(count);
    worker_empty_mailbox(&worker);
    assert_int_equal(count_made(c), count);
    return c;
}

static void ask(const struct cluster_runtime *c, uint32_t place, unsigned requests, unsigned failures, uint64_t latency) {
    struct endpoint_runtime *e = endpoint_of(c, place);
    for (unsigned i = 0; i < requests; i++) {
        endpoint_began(e);
        endpoint_ended(e, i < failures ? ENDPOINT_5XX : ENDPOINT_SUCCESS, latency);
    }
}

/* Most fail seldom; some more often, a few very often; and the same of latencies. Others are asked too little. */
static unsigned requests_of(uint32_t i) {
    return i % 11 == 10 ? 5 : REQUESTS;
}

static unsigned failures_of(uint32_t i) {
    return i % 101 == 100 ? 5 + i % 15 : i % 7 == 0;
}

static uint64_t latency_of(uint32_t i) {
    return i % 97 == 96 ? 1000 + i % 100 : 100 + i % 50;
}

static void ask_all(const struct cluster_runtime *c) {
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        ask(c, i, requests_of(i), failures_of(i), latency_of(i));
}

/* ---- turns ---- */

/* What is due. */
static void pass(uint64_t time) {
    worker.now += time;
    worker.turn++;
    wheel_advance(&worker.wheel, worker.now);
}

/* Of the messages that are there. */
static void one_turn(void) {
    struct worker_message *m = worker.mailbox_first, *next;
    worker.turn++;
    worker.mailbox_first = worker.mailbox_last = NULL;
    for (; m; m = next) {
        next = m->next;
        m->handle(&worker, m);
    }
}

static void pass_to_end_of_interval(const struct cluster_runtime *c) {
    pass(c->gathering.interval_end - worker.now + WHEEL_TICK_US);
}

static void pass_to_judgement(void) {
    pass(SECOND / 10);
}

static uint64_t count_ejections(void) {
    uint64_t sum = 0;
    for (int reason = 0; reason < STATS_EJECTION_COUNT; reason++)
        sum += stats_read(&worker.stats->ejections[reason]);
    return sum;
}

static unsigned write_report(const struct cluster_runtime *c) {
    unsigned turns = 0;
    for (uint32_t seen = c->gathering.report->count; c->gathering.report; turns++) {
        one_turn();
        uint32_t count = c->gathering.report ? c->gathering.report->count : seen;
        assert_in_range(count - seen, 0, REPORTED + SLACK);
        seen = count;
        assert_true(turns < MANY);
    }
    return turns;
}

/* How many steps the sort is past. */
static uint64_t sorted_of(const struct sorting *s) {
    uint64_t middle = s->begin + s->width < s->count ? s->begin + s->width : s->count, passes = 0;
    for (uint64_t width = s->width; width > 1; width /= 2)
        passes++;
    return passes * s->count + s->left + s->right - middle;
}

struct progress {
    unsigned stage;
    uint64_t count, at, sorted, ejections;
};

static struct progress progress_of(const struct cluster_runtime *c) {
    const struct outlier_judgement *j = &c->judgement;
    return (struct progress){.stage = j->stage, .count = j->count, .at = j->at, .sorted = sorted_of(&j->sorting),
                             .ejections = count_ejections()};
}

/* Within a stage nothing goes on by more than a turn has. */
static void check_progress(const struct progress *before, const struct progress *after) {
    assert_in_range(after->ejections - before->ejections, 0, EJECTED + SLACK);
    if (after->stage != before->stage)
        return;
    assert_true(after->count <= before->count + ADDED + SLACK);
    assert_true(before->count <= after->count + READ + SLACK);
    assert_true(after->at <= before->at + READ + SLACK);
    assert_true(after->sorted <= before->sorted + SORTED + SLACK);
}

static unsigned judge(const struct cluster_runtime *c) {
    unsigned turns = 0;
    for (; c->judgement.is_under_way; turns++) {
        struct progress before = progress_of(c);
        one_turn();
        struct progress after = progress_of(c);
        check_progress(&before, &after);
        assert_true(turns < MANY);
    }
    return turns;
}

/* ---- results ---- */

static double rate_of(uint32_t i) {
    return 1 - (double)failures_of(i) / requests_of(i);
}

static bool is_judged(uint32_t i) {
    return requests_of(i) >= rules.min_requests;
}

static double lowest_rate(double factor) {
    double sum = 0, squares = 0, count = 0;
    for (uint32_t i = 0; i < MANY; i++)
        if (is_judged(i))
            sum += rate_of(i), count++;
    for (uint32_t i = 0; i < MANY; i++)
        if (is_judged(i))
            squares += (rate_of(i) - sum / count) * (rate_of(i) - sum / count);
    return sum / count - factor * sqrt(squares / count);
}

static int upwards(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double median_latency(void) {
    static uint64_t all[MANY];
    size_t count = 0;
    for (uint32_t i = 0; i < MANY; i++)
        if (is_judged(i))
            all[count++] = latency_of(i);
    qsort(all, count, sizeof *all, upwards);
    return (double)(all[(count - 1) / 2] + all[count / 2]) / 2;
}

static void many_are_judged_by_and_by(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    r.success_rate_factor = 1900;
    r.latency_factor = 300;
    struct cluster_runtime *c = bring_judged(MANY, &r);
    ask_all(c);
    pass_to_end_of_interval(c);
    assert_int_equal(c->gathering.report->count, 0);
    assert_in_range(write_report(c), MANY / (REPORTED + SLACK), MANY);
    pass_to_judgement();
    assert_true(c->judgement.is_under_way);
    assert_int_equal(c->judgement.count, 0);
    assert_in_range(judge(c), MANY / (ADDED + SLACK), MANY);
    double lowest = lowest_rate(1.9), slowest = 3 * median_latency();
    uint64_t bad = 0, slow = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        bool is_bad = is_judged(i) && rate_of(i) < lowest, is_slow = is_judged(i) && (double)latency_of(i) > slowest;
        assert_int_equal(atomic_load(endpoint_of(c, i)->candidate.out_until) != 0, is_bad || is_slow);
        bad += is_bad;
        slow += is_slow && !is_bad;
    }
    assert_true(bad > 500 && slow > 500);
    assert_int_equal(stats_read(&worker.stats->ejections[EJECTION_SUCCESS_RATE]), bad);
    assert_int_equal(stats_read(&worker.stats->ejections[EJECTION_LATENCY]), slow);
    assert_null(atomic_load(&cluster_shared.reports));
    assert_false(atomic_load(&cluster_shared.is_judging));
}

/* More stand out than may be out: nearly all. */
static void the_worst_of_many_come_first(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    uint32_t out_of[REQUESTS + 1] = {0}, all_of[REQUESTS + 1] = {0}, left = MANY / 10;
    r.failure_percent = 5;
    r.max_ejected_percent = 10;
    struct cluster_runtime *c = bring_judged(MANY, &r);
    for (uint32_t i = 0; i < MANY; i++)
        ask(c, i, REQUESTS, i * 7 % (REQUESTS + 1), 100);
    pass_to_end_of_interval(c);
    write_report(c);
    pass_to_judgement();
    judge(c);
    for (uint32_t i = 0; i < MANY; i++) {
        all_of[i * 7 % (REQUESTS + 1)]++;
        out_of[i * 7 % (REQUESTS + 1)] += atomic_load(endpoint_of(c, i)->candidate.out_until) != 0;
    }
    for (unsigned failures = REQUESTS; failures > 0; failures--) {
        uint32_t want = all_of[failures] < left ? all_of[failures] : left;
        assert_int_equal(out_of[failures], want);
        left -= want;
    }
    assert_int_equal(count_ejected(newest), MANY / 10);
}

/* ---- what happens meanwhile ---- */

/* Of 20 requests half fail in one interval, within bounds; what fails while the report is written is of the next. */
static void requests_during_the_report_are_of_the_next_interval(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    r.failure_percent = 60;
    struct cluster_runtime *c = bring_judged(MANY, &r);
    for (uint32_t i = 0; i < MANY; i++)
        ask(c, i, REQUESTS, REQUESTS / 2, 100);
    pass_to_end_of_interval(c);
    one_turn();
    assert_in_range(c->gathering.report->count, 1, REPORTED + SLACK);
    for (uint32_t i = 0; i < MANY; i += 1000) /* some are reported, most are not */
        ask(c, i, REQUESTS, REQUESTS, 100);
    write_report(c);
    for (struct outlier_report *report = atomic_load(&cluster_shared.reports); report; report = report->next) {
        assert_int_equal(report->count, MANY);
        for (uint32_t i = 0; i < report->count; i++) {
            assert_int_equal(report->entries[i].counts.requests, REQUESTS);
            assert_int_equal(report->entries[i].counts.failures, REQUESTS / 2);
        }
    }
    pass_to_judgement();
    judge(c);
    assert_int_equal(count_ejected(newest), 0);
    pass_to_end_of_interval(c);
    write_report(c);
    pass_to_judgement();
    judge(c);
    assert_int_equal(count_ejected(newest), MANY / 1000);
}

/* An interval that ends before the report on the last one is written goes on. */
static void the_next_report_waits_for_the_last(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    r.failure_percent = 60;
    r.interval = SECOND / 2;
    struct cluster_runtime *c = bring_judged(MANY, &r);
    ask_all(c);
    pass_to_end_of_interval(c);
    one_turn();
    ask(c, 0, 6, 6, 100);
    uint64_t end = c->gathering.interval_end;
    pass_to_end_of_interval(c);
    assert_int_equal(c->gathering.interval_end, end + SECOND / 2);
    ask(c, 0, 6, 6, 100); /* twelve in both */
    write_report(c);
    pass_to_judgement();
    judge(c);
    uint32_t out = count_ejected(newest);
    ask(c, 1, REQUESTS, 0, 100), ask(c, 2, REQUESTS, 0, 100), ask(c, 3, REQUESTS, 0, 100), ask(c, 4, REQUESTS, 0, 100);
    pass_to_end_of_interval(c);
    write_report(c);
    pass_to_judgement();
    judge(c);
    assert_int_equal(count_ejected(newest), out + 1);
    assert_true(atomic_load(endpoint_of(c, 0)->candidate.out_until) != 0);
}

/* There was no memory for its report; the next one has nothing of it, and room for its own alone. */
static void a_forgotten_interval_stays_forgotten(void **state) {
    (void)state;
    enum { ASKED = 10 };
    struct outlier_rules r = rules;
    r.failure_percent = 60;
    struct cluster_runtime *c = bring_judged(FEW, &r);
    ask_all(c);
    hg_alloc_fail_at(0, 1);
    pass_to_end_of_interval(c);
    hg_alloc_fail_at(-1, 0);
    assert_null(c->gathering.report);
    for (uint32_t i = 0; i < ASKED; i++)
        ask(c, i, REQUESTS, 0, 100);
    pass_to_end_of_interval(c);
    assert_non_null(c->gathering.report);
    for (uint32_t i = ASKED; i < 20 * ASKED; i++) /* they have something of the one before */
        ask(c, i, 1, 0, 100);
    assert_int_equal(c->gathering.report->count, 0);
    one_turn();
    assert_int_equal(atomic_load(&cluster_shared.reports)->count, ASKED);
}

static void endpoints_may_leave_in_the_middle(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    r.failure_percent = 20;
    for (unsigned turns = 0; turns < 12; turns++) {
        struct cluster_runtime *c = bring_judged(FEW, &r);
        ask_all(c);
        pass_to_end_of_interval(c);
        for (unsigned i = 0; i < turns % 3; i++)
            one_turn();
        memmove(many, many + 100, (FEW - 100) * sizeof *many);
        bring_count(FEW - (turns < 6 ? 100 : 2900)); /* few leave, or nearly all */
        worker_empty_mailbox(&worker);
        pass_to_judgement();
        for (unsigned i = 0; i < turns % 2; i++)
            one_turn();
        memmove(many, many + 10, 50 * sizeof *many);
        bring_count(50);
        worker_empty_mailbox(&worker);
        assert_null(atomic_load(&cluster_shared.reports));
        assert_int_equal(atomic_load(&cluster_shared.reports_to_come), 0);
        assert_false(c->judgement.is_under_way || atomic_load(&cluster_shared.is_judging));
        cluster_drop(&worker, d.cluster.slot);
        worker_empty_mailbox(&worker);
    }
}

/* Turns that are much smaller, until it is in that stage: 0 is the report's, 12 after the last. */
static void go_on_to(struct cluster_runtime *c, unsigned stage) {
    pass_to_end_of_interval(c);
    intervals_go_on(c, FEW / 4);
    if (stage == 0)
        return;
    intervals_go_on(c, FEW);
    pass_to_judgement();
    while (c->judgement.is_under_way && 1 + c->judgement.stage < stage)
        judgement_go_on(c, 1);
    judgement_go_on(c, 1);
}

/* Whatever it is at, nothing is left. */
static void the_cluster_may_be_dropped_in_the_middle(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    r.success_rate_factor = 1000, r.failure_percent = 5, r.latency_factor = 150;
    define_judged(&r);
    for (unsigned stage = 0; stage <= 12; stage++) {
        newest = NULL;
        struct cluster_runtime *c = bring_count(FEW);
        worker_empty_mailbox(&worker);
        ask_all(c);
        go_on_to(c, stage);
        assert_int_equal(c->gathering.report != NULL, stage == 0);
        assert_int_equal(c->judgement.is_under_way, stage > 0 && stage < 12);
        cluster_drop(&worker, d.cluster.slot);
        worker_empty_mailbox(&worker);
        outliers_finish_worker(&worker);
        for (uint32_t i = 0; i < FEW; i++)
            assert_int_equal(atomic_load(&newest->endpoints[i].shared->references), 1);
        assert_null(atomic_load(&cluster_shared.reports));
        assert_int_equal(atomic_load(&cluster_shared.reports_to_come), 0);
        assert_false(atomic_load(&cluster_shared.is_judging));
        atomic_store(&cluster_shared.ejected, 0);
    }
}

/* What is held for it is given back by and by, too. */
static void dropping_it_takes_no_turn_much_time(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    r.latency_factor = 300;
    struct cluster_runtime *c = bring_judged(MANY, &r);
    ask_all(c);
    pass_to_end_of_interval(c);
    write_report(c);
    pass_to_judgement();
    while (c->judgement.stage < 2)
        one_turn();
    cluster_hold(c);
    cluster_drop(&worker, d.cluster.slot);
    for (unsigned turns = 0; c->judgement.is_under_way; turns++) {
        uint32_t count = c->judgement.count;
        one_turn();
        assert_true(count - c->judgement.count <= RELEASED + SLACK && turns < MANY);
    }
    cluster_release(c);
}

static void switched_off_nobody_is_ejected_any_more(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    r.failure_percent = 1;
    struct cluster_runtime *c = bring_judged(MANY, &r);
    for (uint32_t i = 0; i < MANY; i++)
        ask(c, i, REQUESTS, REQUESTS, 100);
    pass_to_end_of_interval(c);
    write_report(c);
    pass_to_judgement();
    while (count_ejections() == 0)
        one_turn();
    uint64_t ejections = count_ejections();
    assert_in_range(ejections, 1, EJECTED + SLACK);
    d.cluster.outliers = (struct outlier_rules){.is_on = false};
    bring_count(MANY);
    worker_empty_mailbox(&worker);
    assert_int_equal(count_ejections(), ejections);
    assert_int_equal(count_ejected(newest), 0);
    assert_false(c->judgement.is_under_way || atomic_load(&cluster_shared.is_judging));
}

/* ---- many that end at once ---- */

static void ejections_end_by_and_by(void **state) {
    (void)state;
    struct outlier_rules r = rules;
    r.consecutive_5xx = 1;
    r.has_intervals = false;
    struct cluster_runtime *c = bring_judged(MANY, &r);
    for (uint32_t i = 0; i < MANY; i += 10)
        ask(c, i, 1, 1, 100);
    assert_int_equal(atomic_load(&cluster_shared.ejected), MANY / 10);
    pass(100 * SECOND + WHEEL_TICK_US);
    uint32_t left = atomic_load(&cluster_shared.ejected);
    for (unsigned turns = 0; left; turns++) {
        assert_true(endpoint_is_available(endpoint_of(c, 10))); /* by the clock, whoever has not ended yet */
        pass(WHEEL_TICK_US);
        assert_in_range(left - atomic_load(&cluster_shared.ejected), 0, ENDED);
        left = atomic_load(&cluster_shared.ejected);
        assert_true(turns < 2 * MANY / 10 / ENDED + 10);
    }
    assert_int_equal(count_ejected(newest), 0);
    assert_int_equal(stats_read(&worker.stats->endpoints_ejected), 0);
}

/* Not one large cluster, but many. */
static void intervals_of_many_clusters_share_a_turn(void **state) {
    (void)state;
    enum { CLUSTERS = 200, EACH = 100 };
    static struct cluster_runtime *c[CLUSTERS];
    struct outlier_rules r = rules;
    r.failure_percent = 60;
    define_judged(&r);
    uint64_t first_end = UINT64_MAX, last_end = 0;
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        d.cluster.slot = i;
        newest = NULL;
        c[i] = bring_count(EACH);
        for (uint32_t place = 0; place < EACH; place++)
            ask(c[i], place, REQUESTS, 1, 100);
        uint64_t end = c[i]->gathering.interval_end;
        first_end = end < first_end ? end : first_end;
        last_end = end > last_end ? end : last_end;
    }
    assert_true(last_end - first_end > SECOND / 2); /* not all at once */
    pass(SECOND + WHEEL_TICK_US);
    for (uint32_t reported = 0, turns = 0; reported < CLUSTERS * EACH; turns++) {
        uint32_t now = 0;
        one_turn();
        for (uint32_t i = 0; i < CLUSTERS; i++)
            now += c[i]->gathering.report ? c[i]->gathering.report->count : EACH;
        assert_in_range(now - reported, 1, REPORTED + EACH);
        reported = now;
        assert_true(turns < CLUSTERS * EACH);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, interval_set_up, back_tear_down)

/* What is shared begins anew. */
static int interval_set_up(void **state) {
    cluster_counts_finish(&cluster_shared.counts);
    cluster_shared = (struct cluster_shared){0};
    return back_set_up(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(many_are_judged_by_and_by),
        TEST(the_worst_of_many_come_first),
        TEST(requests_during_the_report_are_of_the_next_interval),
        TEST(the_next_report_waits_for_the_last),
        TEST(a_forgotten_interval_stays_forgotten),
        TEST(endpoints_may_leave_in_the_middle),
        TEST(the_cluster_may_be_dropped_in_the_middle),
        TEST(dropping_it_takes_no_turn_much_time),
        TEST(switched_off_nobody_is_ejected_any_more),
        TEST(ejections_end_by_and_by),
        TEST(intervals_of_many_clusters_share_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
