/* plural.h — numbers before nouns, in what people read. Thread: any. */
#pragma once

#include <stdint.h>

/* What makes a plural of the noun behind a number: "s", but for 1. */
static inline const char *plural(uint64_t count) {
    return count == 1 ? "" : "s";
}
