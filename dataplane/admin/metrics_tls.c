#include "dataplane/admin/metrics_tls.h"

#include <inttypes.h>
#include <stdio.h>

#include "dataplane/tls/kernel_tls.h"

static const char *const sides[STATS_TLS_SIDES] = {"clients", "origins"};

static void head(struct strbuf *out, const char *name, const char *type, const char *help) {
    strbuf_printf(out, "# HELP headgate_%s %s\n# TYPE headgate_%s %s\n", name, help, name, type);
}

static void series(struct strbuf *out, const char *name, int side, const char *label, const char *value, uint64_t n) {
    strbuf_printf(out, "headgate_%s{side=\"%s\",%s=\"%s\"} %" PRIu64 "\n", name, sides[side], label, value, n);
}

static void add_handshakes(const struct tls_totals *tls, struct strbuf *out) {
    static const char name[] = "tls_handshakes_total";
    head(out, name, "counter", "TLS handshakes that were done");
    for (int side = 0; side < STATS_TLS_SIDES; side++) {
        series(out, name, side, "result", "full", tls[side].full);
        series(out, name, side, "result", "resumed", tls[side].resumed);
    }
}

static void add_versions(const struct tls_totals *tls, struct strbuf *out) {
    static const char name[] = "tls_connections_total";
    head(out, name, "counter", "TLS connections by version");
    for (int side = 0; side < STATS_TLS_SIDES; side++) {
        series(out, name, side, "version", "1.2", tls[side].version_1_2);
        series(out, name, side, "version", "1.3", tls[side].version_1_3);
    }
}

static void add_failures(const struct tls_totals *tls, struct strbuf *out) {
    static const char name[] = "tls_failures_total";
    static const char *const words[] = {
#define METRICS_WORD(failure, word) word,
        STATS_TLS_FAILURES(METRICS_WORD)
#undef METRICS_WORD
    };
    head(out, name, "counter", "TLS handshakes and connections that failed, by reason");
    for (int side = 0; side < STATS_TLS_SIDES; side++)
        for (int i = 1; i < STATS_TLS_FAILURE_COUNT; i++)
            series(out, name, side, "reason", words[i], tls[side].failures[i]);
}

static void add_tickets(const struct tls_totals *tls, struct strbuf *out) {
    static const char name[] = "tls_tickets_total";
    head(out, name, "counter", "Session tickets given to clients, and those that came back and could not be opened");
    series(out, name, STATS_TLS_CLIENTS, "result", "issued", tls[STATS_TLS_CLIENTS].tickets_issued);
    series(out, name, STATS_TLS_CLIENTS, "result", "rejected", tls[STATS_TLS_CLIENTS].tickets_rejected);
}

static void add_kernel(const struct tls_totals *tls, struct strbuf *out) {
    head(out, "tls_kernel", "gauge", "Whether the kernel makes the records of this cipher, for sending to clients");
    for (int i = 0; i < KERNEL_TLS_CIPHERS; i++)
        strbuf_printf(out, "headgate_tls_kernel{cipher=\"%s\"} %d\n", kernel_tls_cipher_names[i],
                      kernel_tls_has((enum kernel_tls_cipher)i));
    head(out, "tls_kernel_connections_total", "counter", "Connections that it took");
    strbuf_printf(out, "headgate_tls_kernel_connections_total %" PRIu64 "\n", tls[STATS_TLS_CLIENTS].in_kernel);
}

static void add_times(const struct tls_totals *tls, struct strbuf *out) {
    static const char name[] = "tls_handshake_seconds";
    static const uint64_t bounds[] = STATS_TLS_BOUNDS;
    char bucket[32], text[32];
    head(out, name, "histogram", "Time from the first byte of a handshake to its end, with the waiting for the peer");
    snprintf(bucket, sizeof bucket, "%s_bucket", name);
    for (int side = 0; side < STATS_TLS_SIDES; side++) {
        uint64_t count = 0;
        for (int i = 0; i < STATS_TLS_BUCKETS; i++) {
            count += tls[side].buckets[i];
            snprintf(text, sizeof text, "%g", i < STATS_TLS_BUCKETS - 1 ? (double)bounds[i] / 1e6 : 0);
            series(out, bucket, side, "le", i < STATS_TLS_BUCKETS - 1 ? text : "+Inf", count);
        }
        strbuf_printf(out, "headgate_%s_sum{side=\"%s\"} %.6f\n", name, sides[side], (double)tls[side].handshake_us / 1e6);
        strbuf_printf(out, "headgate_%s_count{side=\"%s\"} %" PRIu64 "\n", name, sides[side], count);
    }
}

void metrics_render_tls(const struct tls_totals *tls, struct strbuf *out) {
    add_handshakes(tls, out);
    add_versions(tls, out);
    add_failures(tls, out);
    add_tickets(tls, out);
    add_kernel(tls, out);
    add_times(tls, out);
}
