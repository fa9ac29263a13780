/* number.h — durations, sizes and whole numbers as users write them. Thread: any. */
#pragma once

#include <stdint.h>

#include "common/str.h"

/* "250ms", "30s", "5m", also us, h and d: a whole number and a unit, in microseconds; "0" needs no unit. 0, or -1. */
int  duration_parse(struct str text, uint64_t *ret_microseconds);
/* In the largest unit that divides it. */
void duration_format(uint64_t microseconds, struct strbuf *out);

/* "64KiB", "1MiB", also B, GiB and TiB: a whole number and a unit, in bytes; without a unit it is bytes. 0, or -1. */
int  size_parse(struct str text, uint64_t *ret_bytes);
void size_format(uint64_t bytes, struct strbuf *out);
