/* date.h — the present time as text, made once a second per thread. Thread: any, each has its own copy. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"

struct date_texts {
    struct str http;       /* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7) */
    struct str iso;        /* "1994-11-06T08:49:37" */
    struct str log;        /* "06/Nov/1994:08:49:37 +0000" */
    unsigned   ms;         /* of the present second */
};

/* Valid until the thread's next call. `now_us`: the worker's clock; the real-time clock is read at most every millisecond of
 * it. */
const struct date_texts *date_now(uint64_t now_us);

/* RFC 9110 section 5.6.7, in all three forms: seconds since 1970. False: it is no date. */
bool date_parse(struct str text, int64_t *ret);
