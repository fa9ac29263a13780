/* The text of the TLS metrics. */
#include "tests/unit/common/cmocka_all.h"

#include "dataplane/admin/metrics_tls.h"

static void test_text(void **state) {
    (void)state;
    struct tls_totals tls[STATS_TLS_SIDES] = {{.full = 3, .resumed = 2, .version_1_3 = 5, .tickets_issued = 4,
                                               .in_kernel = 6,
                                               .handshake_us = 1500}};
    tls[0].buckets[0] = 4;
    tls[0].buckets[2] = 1;
    tls[1].failures[STATS_TLS_FAILURE_COUNT - 1] = 7;
    struct strbuf out = {0};
    metrics_render_tls(tls, &out);
    static const char *const lines[] = {
        "\nheadgate_tls_handshakes_total{side=\"clients\",result=\"full\"} 3\n",
        "\nheadgate_tls_handshakes_total{side=\"clients\",result=\"resumed\"} 2\n",
        "\nheadgate_tls_connections_total{side=\"clients\",version=\"1.3\"} 5\n",
        "\nheadgate_tls_failures_total{side=\"clients\",reason=\"unknown-ca\"} 0\n",
        "\nheadgate_tls_failures_total{side=\"origins\",reason=\"out-of-memory\"} 7\n",
        "\nheadgate_tls_tickets_total{side=\"clients\",result=\"issued\"} 4\n",
        "\nheadgate_tls_kernel{cipher=\"AES-128-GCM\"} 0\n",
        "\nheadgate_tls_kernel{cipher=\"CHACHA20-POLY1305\"} 0\n",
        "\nheadgate_tls_kernel_connections_total 6\n",
        "\nheadgate_tls_handshake_seconds_bucket{side=\"clients\",le=\"0.0005\"} 4\n",
        "\nheadgate_tls_handshake_seconds_bucket{side=\"clients\",le=\"0.001\"} 4\n",
        "\nheadgate_tls_handshake_seconds_bucket{side=\"clients\",le=\"0.0025\"} 5\n",
        "\nheadgate_tls_handshake_seconds_bucket{side=\"clients\",le=\"2.5\"} 5\n",
        "\nheadgate_tls_handshake_seconds_bucket{side=\"clients\",le=\"+Inf\"} 5\n",
        "\nheadgate_tls_handshake_seconds_sum{side=\"clients\"} 0.001500\n",
        "\nheadgate_tls_handshake_seconds_count{side=\"clients\"} 5\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(out.p, lines[i]))
            fail_msg("missing:%s", lines[i]);
    assert_null(strstr(out.p, "reason=\"\""));
    strbuf_finish(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
