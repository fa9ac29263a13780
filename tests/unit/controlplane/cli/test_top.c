/* top: rates of two samples, and how they are shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/cli/top_screen.h"

enum { CLUSTERS_MAX = 1000 };

/* One reply with one data plane, whose parts point at each other. */
struct sample {
    Headgate__TopReply reply;
    Headgate__TopDataPlane plane, *planes[1];
    Headgate__Observation observation;
    Headgate__ClusterCounts counts[CLUSTERS_MAX], *clusters[CLUSTERS_MAX];
    char names[CLUSTERS_MAX][32];
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static void sample_init(struct sample *s, uint64_t asked, uint64_t started, uint64_t at, size_t count) {
    headgate__top_reply__init(&s->reply);
    headgate__top_data_plane__init(&s->plane);
    headgate__observation__init(&s->observation);
    s->planes[0] = &s->plane;
    s->reply.data_planes = s->planes;
    s->reply.n_data_planes = 1;
    s->reply.asked = asked;
    s->plane.node = (char *)"a";
    s->plane.state = (char *)"in-sync";
    s->plane.can_be_observed = true;
    s->plane.observation = &s->observation;
    s->observation.asked = asked;
    s->observation.started_us = started;
    s->observation.at_us = at;
    s->observation.clusters = s->clusters;
    s->observation.n_clusters = count;
    for (size_t i = 0; i < count; i++) {
        headgate__cluster_counts__init(&s->counts[i]);
        snprintf(s->names[i], sizeof s->names[i], "c%04zu", i);
        s->counts[i].name = s->names[i];
        s->clusters[i] = &s->counts[i];
    }
    memset(s->buckets, 0, sizeof s->buckets);
}

static struct sample first, second;

static void make(struct top_view *v) {
    assert_int_equal(top_view_make(v, &first.reply, &second.reply, 1, NULL), 0);
}

static void assert_near(double a, double b) {
    assert_true(fabs(a - b) < 1e-6);
}

/* ---- rates ---- */

static void rates_of_two_samples(void **state) {
    struct top_view v;
    (void)state;
    sample_init(&first, 1, 5, 1000000, 1);
    sample_init(&second, 2, 5, 3000000, 1);
    first.observation.requests = 100;
    second.observation.requests = 300;
    first.counts[0].attempts = 10;
    first.counts[0].succeeded = 10;
    second.counts[0].attempts = 50;
    second.counts[0].succeeded = 30;
    second.counts[0].responses_5xx = 6;
    second.counts[0].failures = 4;
    second.counts[0].cancelled = 1;
    second.counts[0].refused = 2;
    make(&v);
    assert_int_equal(v.planes[0].state, TOP_MEASURED);
    assert_near(v.planes[0].requests_rate, 100);
    assert_int_equal(v.clusters[0].attempts, 50);
    assert_int_equal(v.clusters[0].errors, 12);
    assert_near(v.clusters[0].attempts_rate, 20);
    assert_near(v.clusters[0].errors_rate, 6);
    assert_int_equal(v.clusters[0].under_way, 9);
    top_view_finish(&v);
}

/* A process that is another one counts from its start. */
static void a_data_plane_that_was_started_anew(void **state) {
    struct top_view v;
    (void)state;
    sample_init(&first, 1, 5, 1000000, 1);
    sample_init(&second, 2, 2000000, 2500000, 1);
    first.observation.requests = 100;
    first.counts[0].attempts = 3;
    second.observation.requests = 200; /* more than before: what tells is the process */
    second.counts[0].attempts = 10;
    make(&v);
    assert_near(v.planes[0].requests_rate, 400);
    assert_near(v.clusters[0].attempts_rate, 20);
    top_view_finish(&v);
}

/* A cluster that was removed and came back. */
static void a_counter_that_fell(void **state) {
    struct top_view v;
    (void)state;
    sample_init(&first, 1, 5, 1000000, 1);
    sample_init(&second, 2, 5, 2000000, 1);
    first.counts[0].attempts = 1000;
    first.counts[0].latency_buckets = first.buckets;
    first.counts[0].n_latency_buckets = 40;
    first.buckets[20] = 990;
    first.buckets[30] = 1;
    second.counts[0].attempts = 7;
    second.counts[0].latency_buckets = second.buckets;
    second.counts[0].n_latency_buckets = 40;
    second.buckets[20] = 5;
    second.buckets[30] = 2;
    make(&v);
    assert_near(v.clusters[0].attempts_rate, 7);
    assert_int_equal(v.clusters[0].latencies[20], 5);
    assert_int_equal(v.clusters[0].latencies[30], 2);
    top_view_finish(&v);
}

static void latencies_are_of_the_interval(void **state) {
    struct top_view v;
    unsigned slow = histogram_bucket(1000000), quick = histogram_bucket(1000);
    (void)state;
    sample_init(&first, 1, 5, 1000000, 1);
    sample_init(&second, 2, 5, 2000000, 1);
    first.counts[0].latency_buckets = first.buckets;
    first.counts[0].n_latency_buckets = HISTOGRAM_BUCKETS;
    second.counts[0].latency_buckets = second.buckets;
    second.counts[0].n_latency_buckets = HISTOGRAM_BUCKETS;
    first.buckets[slow] = second.buckets[slow] = 1000;
    second.buckets[quick] = 10;
    make(&v);
    assert_in_range(v.clusters[0].p50, 875, 1125);
    assert_in_range(v.clusters[0].p99, 875, 1125);
    top_view_finish(&v);
}

static void what_others_asked_for_is_not_looked_at(void **state) {
    struct top_view v;
    (void)state;
    sample_init(&first, 3, 5, 1000000, 1);
    sample_init(&second, 4, 5, 2000000, 1);
    assert_int_equal(top_view_make(&v, &first.reply, &second.reply, 4, NULL), 0);
    assert_int_equal(v.planes[0].state, TOP_WAITING);
    assert_near(v.planes[0].requests_rate, 0);
    top_view_finish(&v);
    assert_int_equal(top_view_make(&v, NULL, &second.reply, 5, NULL), 0);
    assert_int_equal(v.cluster_count, 0);
    assert_false(v.planes[0].is_counted);
    top_view_finish(&v);
    assert_true(top_is_answered(&second.reply, 4));
    assert_false(top_is_answered(&second.reply, 5));
}

static void one_that_is_silent_or_too_old(void **state) {
    struct top_view v;
    (void)state;
    sample_init(&first, 1, 5, 1000000, 1);
    sample_init(&second, 1, 5, 1000000, 1);
    second.counts[0].attempts = 5;
    make(&v);
    assert_int_equal(v.planes[0].state, TOP_SILENT);
    assert_near(v.clusters[0].attempts_rate, 0);
    top_view_finish(&v);
    second.plane.observation = NULL;
    second.plane.can_be_observed = false;
    make(&v);
    assert_int_equal(v.planes[0].state, TOP_TOO_OLD);
    assert_true(top_is_answered(&second.reply, 9));
    top_view_finish(&v);
}

/* Two data planes have one cluster together, and one each of their own. */
static void clusters_are_summed(void **state) {
    static struct sample other;
    Headgate__TopDataPlane *both[2];
    struct top_view v;
    (void)state;
    sample_init(&second, 2, 5, 2000000, 2);
    sample_init(&other, 2, 6, 2000000, 2);
    second.counts[0].attempts = 3;
    second.counts[0].endpoints = other.counts[0].endpoints = 4;
    other.plane.node = (char *)"b";
    other.counts[0].attempts = 5;
    other.counts[0].ejected = 2;
    other.counts[1].name = (char *)"a-first";
    other.clusters[0] = &other.counts[1];
    other.clusters[1] = &other.counts[0];
    both[0] = &second.plane;
    both[1] = &other.plane;
    second.reply.data_planes = both;
    second.reply.n_data_planes = 2;
    assert_int_equal(top_view_make(&v, NULL, &second.reply, 1, NULL), 0);
    assert_int_equal(v.cluster_count, 3);
    assert_string_equal(v.clusters[0].name, "a-first");
    assert_int_equal(v.clusters[1].attempts, 8);
    assert_int_equal(v.clusters[1].endpoints, 4);
    assert_int_equal(v.clusters[1].ejected, 2);
    top_view_finish(&v);
    assert_int_equal(top_view_make(&v, NULL, &second.reply, 1, "b"), 0);
    assert_int_equal(v.plane_count, 1);
    assert_int_equal(v.cluster_count, 2);
    assert_int_equal(v.clusters[1].attempts, 5);
    top_view_finish(&v);
}

static void order(void **state) {
    struct top_view v;
    (void)state;
    sample_init(&first, 1, 5, 1000000, 3);
    sample_init(&second, 2, 5, 2000000, 3);
    second.counts[1].attempts = 9;
    second.counts[2].attempts = 5;
    second.counts[2].failures = 5;
    make(&v);
    top_view_sort(&v, TOP_BY_RATE);
    assert_string_equal(v.clusters[0].name, "c0001");
    assert_string_equal(v.clusters[1].name, "c0002");
    top_view_sort(&v, TOP_BY_ERRORS);
    assert_string_equal(v.clusters[0].name, "c0002");
    assert_string_equal(v.clusters[1].name, "c0000");
    top_view_sort(&v, TOP_BY_NAME);
    assert_string_equal(v.clusters[0].name, "c0000");
    top_view_finish(&v);
}

static void without_memory(void **state) {
    struct top_view v;
    (void)state;
    sample_init(&second, 2, 5, 2000000, 3);
    for (long nth = 0; nth < 2; nth++) {
        hg_alloc_fail_at(nth, 0);
        assert_int_equal(top_view_make(&v, NULL, &second.reply, 1, NULL), -1);
    }
    hg_alloc_fail_at(-1, 0);
}

/* ---- the screen ---- */

static void assert_fits(const char *text, unsigned width, unsigned height) {
    unsigned lines = 0, used = 0;
    for (; *text; text++) {
        used++;
        if (*text != '\n')
            continue;
        assert_true(used - 1 <= width);
        used = 0;
        lines++;
    }
    assert_int_equal(used, 0);
    assert_true(!height || lines <= height);
}

static char *render(struct top_screen *s, const struct top_view *v) {
    struct strbuf out = {0};
    top_screen_render(s, v, &out);
    assert_false(out.failed);
    return strbuf_take(&out);
}

static void every_size_is_kept(void **state) {
    struct top_view v;
    (void)state;
    sample_init(&first, 1, 5, 1000000, CLUSTERS_MAX);
    sample_init(&second, 2, 5, 2000000, CLUSTERS_MAX);
    make(&v);
    for (unsigned width = 1; width < 200; width += 7)
        for (unsigned height = 1; height < 60; height += 3) {
            struct top_screen s = {.width = width, .height = height, .has_keys = true};
            char *text = render(&s, &v);
            assert_fits(text, width, height);
            hg_free(text);
        }
    top_view_finish(&v);
}

static void narrow_screens_have_fewer_columns(void **state) {
    struct top_view v;
    struct top_screen wide = {.width = 120, .height = 24}, narrow = {.width = 40, .height = 24};
    (void)state;
    sample_init(&first, 1, 5, 1000000, 2);
    sample_init(&second, 2, 5, 2000000, 2);
    second.counts[0].attempts = 1234;
    second.counts[0].endpoints = 3;
    second.counts[0].ejected = 1;
    make(&v);
    char *text = render(&wide, &v);
    assert_non_null(strstr(text, "ENDPOINTS"));
    assert_non_null(strstr(text, "1234"));
    assert_non_null(strstr(text, "1 ejected"));
    assert_null(strchr(text, '\033'));
    hg_free(text);
    text = render(&narrow, &v);
    assert_null(strstr(text, "ENDPOINTS"));
    assert_non_null(strstr(text, "ERR/S"));
    hg_free(text);
    top_view_finish(&v);
}

static void one_is_no_plural(void **state) {
    struct top_view v;
    struct top_screen s = {.width = 120, .height = 24};
    (void)state;
    for (unsigned count = 1; count <= 2; count++) {
        sample_init(&first, 1, 5, 1000000, count);
        sample_init(&second, 2, 5, 2000000, count);
        second.observation.clusters_left_out = count;
        make(&v);
        char *text = render(&s, &v);
        assert_non_null(strstr(text, count == 1 ? "  1 cluster by requests" : "  2 clusters by requests"));
        assert_non_null(strstr(text, count == 1 ? "(1 cluster left out)" : "(2 clusters left out)"));
        hg_free(text);
        top_view_finish(&v);
    }
}

static void connections_of_quic_are_told_apart(void **state) {
    struct top_view v;
    struct top_screen s = {.width = 120, .height = 24};
    struct strbuf json = {0};
    (void)state;
    sample_init(&first, 1, 5, 1000000, 1);
    sample_init(&second, 2, 5, 2000000, 1);
    second.observation.connections = 12;
    make(&v);
    char *text = render(&s, &v);
    assert_non_null(strstr(text, "     12 conns      0 under way"));
    hg_free(text);
    top_view_finish(&v);
    second.observation.quic_connections = 3;
    make(&v);
    text = render(&s, &v);
    assert_non_null(strstr(text, "     12 conns (3 QUIC)      0 under way"));
    hg_free(text);
    top_view_add_json(&v, &json);
    assert_non_null(strstr(strbuf_str(&json).p, "\"connections\":12,\"quic_connections\":3,"));
    strbuf_finish(&json);
    top_view_finish(&v);
}

static void scrolling_ends_at_the_end(void **state) {
    struct top_view v;
    struct top_screen s = {.width = 80, .height = 24, .first = UINT32_MAX, .order = TOP_BY_NAME};
    (void)state;
    sample_init(&first, 1, 5, 1000000, CLUSTERS_MAX);
    sample_init(&second, 2, 5, 2000000, CLUSTERS_MAX);
    make(&v);
    char *text = render(&s, &v);
    assert_non_null(strstr(text, "c0999"));
    assert_true(s.first > 900 && s.first < CLUSTERS_MAX);
    hg_free(text);
    top_view_finish(&v);
}

static void names_cannot_move_the_cursor(void **state) {
    struct top_view v;
    struct top_screen s = {.width = 80, .height = 24};
    (void)state;
    sample_init(&second, 2, 5, 2000000, 1);
    second.counts[0].name = (char *)"\033[2Jx";
    assert_int_equal(top_view_make(&v, NULL, &second.reply, 1, NULL), 0);
    char *text = render(&s, &v);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "?[2Jx"));
    hg_free(text);
    top_view_finish(&v);
}

static void nobody_is_there(void **state) {
    struct top_view v;
    struct top_screen s = {.width = 80, .height = 24, .trouble = "the control plane does not answer"};
    Headgate__TopReply reply = HEADGATE__TOP_REPLY__INIT;
    (void)state;
    assert_int_equal(top_view_make(&v, NULL, &reply, 1, NULL), 0);
    char *text = render(&s, &v);
    assert_non_null(strstr(text, "no version yet"));
    assert_non_null(strstr(text, "no data plane is connected"));
    assert_non_null(strstr(text, "does not answer"));
    hg_free(text);
    top_view_finish(&v);
}

static void nobody_of_that_name_is_there(void **state) {
    struct top_view v;
    struct top_screen s = {.width = 80, .height = 24};
    (void)state;
    sample_init(&second, 2, 5, 2000000, 1);
    assert_int_equal(top_view_make(&v, NULL, &second.reply, 1, "b"), 0);
    char *text = render(&s, &v);
    assert_non_null(strstr(text, "no data plane of that name is connected"));
    hg_free(text);
    top_view_finish(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_of_two_samples),
        cmocka_unit_test(a_data_plane_that_was_started_anew),
        cmocka_unit_test(a_counter_that_fell),
        cmocka_unit_test(latencies_are_of_the_interval),
        cmocka_unit_test(what_others_asked_for_is_not_looked_at),
        cmocka_unit_test(one_that_is_silent_or_too_old),
        cmocka_unit_test(clusters_are_summed),
        cmocka_unit_test(order),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(every_size_is_kept),
        cmocka_unit_test(narrow_screens_have_fewer_columns),
        cmocka_unit_test(one_is_no_plural),
        cmocka_unit_test(connections_of_quic_are_told_apart),
        cmocka_unit_test(scrolling_ends_at_the_end),
        cmocka_unit_test(names_cannot_move_the_cursor),
        cmocka_unit_test(nobody_is_there),
        cmocka_unit_test(nobody_of_that_name_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
