/* statsd_tls.h — the series of metrics_tls.h for a push to statsd. Thread: main. */
#pragma once

#include "common/str.h"
#include "dataplane/admin/totals.h"

/* Both have STATS_TLS_SIDES elements. Names are those of /metrics, with what are labels there behind them:
 * "prefix.tls_handshakes_total.clients.full:3|c\n". The buckets of times count, as there, all that took at most so many
 * microseconds: "prefix.tls_handshake_us_bucket.clients.le_500". What did not move is left out. */
void statsd_render_tls(const char *prefix, const struct tls_totals *last, const struct tls_totals *now, struct strbuf *out);
