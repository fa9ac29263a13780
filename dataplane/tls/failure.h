/* failure.h — why TLS failed, in one word of a bounded set: for metrics, logs, and what a client is told. */
#pragma once

#include <openssl/types.h>

#include "dataplane/core/stats.h"

enum tls_failure {
#define TLS_FAILURE_MEMBER(name, word) TLS_FAILURE_##name,
    STATS_TLS_FAILURES(TLS_FAILURE_MEMBER)
#undef TLS_FAILURE_MEMBER
};

const char *tls_failure_word(enum tls_failure f);        /* static; "" for TLS_FAILURE_NONE */
/* From OpenSSL's error queue, which is empty afterwards, and from what the verification said. Thread: any. */
enum tls_failure tls_failure_of(const SSL *ssl);
