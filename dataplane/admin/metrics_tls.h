/* metrics_tls.h — handshakes, failures by reason, versions, tickets and times, for both sides. Thread: main. */
#pragma once

#include "common/str.h"
#include "dataplane/admin/totals.h"

/* `tls` has STATS_TLS_SIDES elements. Every series is there from the start, so that a rate has a zero to begin with. */
void metrics_render_tls(const struct tls_totals *tls, struct strbuf *out);
