/* The totals of all workers, and their push over UDP. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/admin/statsd.h"
#include "dataplane/http/http2_faults.h"
#include "dataplane/snapshot/dataplane.h"
#include "tests/unit/dataplane/snapshot/manifest_set.h"

static struct ev_loop *loop;
static struct dataplane *dataplane;
static struct statsd statsd;
static struct address receiver_address;
static int receiver;

static int set_up(void **state) {
    (void)state;
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    receiver_address = (struct address){.length = sizeof receiver_address.u};
    receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(receiver, (struct sockaddr *)&loopback, sizeof loopback) < 0 ||
        getsockname(receiver, &receiver_address.u.any, &receiver_address.length) < 0)
        return -1;
    loop = ev_loop_new(0);
    dataplane = dataplane_create(loop, 2);
    statsd_init(&statsd, loop, dataplane);
    return dataplane ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    statsd_finish(&statsd);
    dataplane_destroy(dataplane);
    ev_loop_destroy(loop);
    return close(receiver);
}

/* The workers are idle: nobody else writes. */
static void count_requests(unsigned worker, uint64_t n) {
    struct stats *stats = (struct stats *)dataplane_worker_stats(dataplane, worker);
    stats_add(&stats->requests_total, n);
}

static struct resource_set *settings_with(const char *address, uint64_t interval) {
    struct manifest m = {0};
    Headgate__Settings settings = HEADGATE__SETTINGS__INIT;
    Headgate__Statsd wish = HEADGATE__STATSD__INIT;
    wish.address = (char *)address;
    wish.has_interval = 1;
    wish.interval = interval;
    settings.statsd = address ? &wish : NULL;
    made_set(&m.intent, HEADGATE__KIND__KIND_SETTINGS, "default", &settings.base);
    manifest_seal(&m, 1, 1);
    return manifest_set(&m);
}

static void configure(const char *address, uint64_t interval) {
    struct resource_set *set = settings_with(address, interval);
    statsd_configure(&statsd, set);
    resource_set_unref(set);
}

/* What the next push says, as one text; runs the loop until it is there. */
static struct strbuf next_push(void) {
    struct strbuf text = {0};
    char bytes[2048];
    struct pollfd readable = {.fd = receiver, .events = POLLIN};
    while (poll(&readable, 1, 0) == 0)
        ev_run(loop, EVRUN_ONCE);
    for (ssize_t n; (n = recv(receiver, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;) {
        assert_true(n <= STATSD_DATAGRAM_MAX);
        assert_int_equal(bytes[n - 1], '\n'); /* whole lines only */
        strbuf_add(&text, bytes, (size_t)n);
    }
    return text;
}

static void totals_are_sums_over_workers(void **state) {
    (void)state;
    struct totals t;
    count_requests(0, 3);
    count_requests(1, 4);
    totals_read(dataplane, &t);
    assert_int_equal(t.requests_total, 7);
    assert_int_equal(t.retries_total, 0);
}

static void counters_are_pushed_as_what_was_added(void **state) {
    (void)state;
    char address[ADDRESS_TEXT_MAX];
    address_format(&receiver_address, address);
    count_requests(0, 5); /* before statsd was on: not its business */
    configure(address, 100000);
    count_requests(0, 3);
    count_requests(1, 4);
    struct strbuf first = next_push();
    assert_non_null(strstr(first.p, "headgate.requests_total:7|c\n"));
    assert_non_null(strstr(first.p, "headgate.connections:0|g\n"));
    assert_null(strstr(first.p, "retries_total")); /* did not move */
    struct strbuf second = next_push();
    assert_null(strstr(second.p, "requests_total"));
    strbuf_finish(&first);
    strbuf_finish(&second);
}

static void expect_line(const struct strbuf *push, const char *line) {
    bool is_there = strstr(push->p, line);
    if (!is_there)
        print_message("no %s in:\n%s", line, push->p);
    assert_true(is_there);
}

/* The series that /metrics has. */
static void handshakes_are_pushed(void **state) {
    (void)state;
    struct totals last = {0}, now = {0};
    struct strbuf out = {0};
    struct tls_totals *clients = &now.tls[STATS_TLS_CLIENTS], *origins = &now.tls[STATS_TLS_ORIGINS];
    last.tls[STATS_TLS_CLIENTS].full = 5;
    *clients = (struct tls_totals){.full = 7, .resumed = 3, .version_1_2 = 1, .version_1_3 = 4, .tickets_issued = 5,
                                   .tickets_rejected = 6, .handshake_us = 1234, .in_kernel = 8};
    clients->buckets[0] = 2;
    clients->buckets[STATS_TLS_BUCKETS - 1] = 1;
    origins->failures[1] = 9;
    statsd_render("a.b", &last, &now, &out);
    static const char *const lines[] = {
        "a.b.tls_handshakes_total.clients.full:2|c\n",    "a.b.tls_handshakes_total.clients.resumed:3|c\n",
        "a.b.tls_connections_total.clients.1_2:1|c\n",    "a.b.tls_connections_total.clients.1_3:4|c\n",
        "a.b.tls_tickets_total.clients.issued:5|c\n",     "a.b.tls_tickets_total.clients.rejected:6|c\n",
        "a.b.tls_handshake_us_bucket.clients.le_500:2|c\n", "a.b.tls_handshake_us_bucket.clients.le_2500000:2|c\n",
        "a.b.tls_handshake_us_bucket.clients.le_inf:3|c\n", "a.b.tls_handshake_us_sum.clients:1234|c\n",
        "a.b.tls_kernel_connections_total.clients:8|c\n",
        "a.b.tls_handshake_us_count.clients:3|c\n",       "a.b.tls_failures_total.origins.not-tls:9|c\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        expect_line(&out, lines[i]);
    assert_null(strstr(out.p, "tls_handshakes_total.origins")); /* did not move */
    strbuf_finish(&out);
}

static void faults_of_http2_are_pushed(void **state) {
    (void)state;
    struct totals last = {0}, now = {0};
    struct strbuf out = {0};
    last.h2_faults[STATS_TLS_CLIENTS][H2_FAULT_PREFACE] = 5;
    now.h2_faults[STATS_TLS_CLIENTS][H2_FAULT_PREFACE] = 7;
    now.h2_faults[STATS_TLS_ORIGINS][H2_FAULT_SETTINGS_TIMEOUT] = 1;
    now.h2_faults[STATS_TLS_ORIGINS][H2_FAULT_COUNT - 1] = 2;
    statsd_render("a.b", &last, &now, &out);
    expect_line(&out, "a.b.h2_faults_total.clients.preface:2|c\n");
    expect_line(&out, "a.b.h2_faults_total.origins.settings-timeout:1|c\n");
    expect_line(&out, "a.b.h2_faults_total.origins.other:2|c\n");
    assert_null(strstr(out.p, "h2_faults_total.clients.settings-timeout")); /* did not move */
    strbuf_finish(&out);
}

static void it_can_be_switched_off_and_to_nowhere(void **state) {
    (void)state;
    char address[ADDRESS_TEXT_MAX];
    address_format(&receiver_address, address);
    configure(address, 100000);
    assert_true(ev_is_active(&statsd.timer));
    configure(NULL, 0);
    assert_false(ev_is_active(&statsd.timer));
    assert_int_equal(statsd.fd, -1);
    configure("127.0.0.1:1", 100000); /* nobody there: pushes are lost, nothing else happens */
    for (int i = 0; i < 3; i++)
        ev_run(loop, EVRUN_ONCE);
    assert_true(ev_is_active(&statsd.timer));
}

static void rendering_without_memory_says_so(void **state) {
    (void)state;
    struct totals last = {0}, now = {.requests_total = 1};
    struct strbuf out = {0};
    hg_alloc_fail_at(0, 1);
    statsd_render("headgate", &last, &now, &out);
    hg_alloc_fail_at(-1, 0);
    assert_true(out.failed);
    strbuf_finish(&out);
}

static void usage_of_the_process_is_known(void **state) {
    (void)state;
    struct process_usage usage;
    process_usage_init(&usage);
    assert_true(process_resident_bytes(&usage) > 100000);
    assert_true(process_cpu_us() > 0);
    process_usage_finish(&usage);
    assert_int_equal(process_resident_bytes(&usage), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(totals_are_sums_over_workers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counters_are_pushed_as_what_was_added, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_can_be_switched_off_and_to_nowhere, set_up, tear_down),
        cmocka_unit_test(handshakes_are_pushed),
        cmocka_unit_test(faults_of_http2_are_pushed),
        cmocka_unit_test(rendering_without_memory_says_so),
        cmocka_unit_test(usage_of_the_process_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
