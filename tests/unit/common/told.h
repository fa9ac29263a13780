/* told.h — what callbacks were told, as one text: each adds a word, and a test compares all since the last time. */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/common/cmocka_all.h"

static char told[1024];                 /* "list +a=1 -b settled " */

__attribute__((format(printf, 1, 2))) static inline void tell(const char *format, ...) {
    size_t n = strlen(told);
    va_list args;
    va_start(args, format);
    vsnprintf(told + n, sizeof told - n, format, args);
    va_end(args);
}

#define assert_told(text)                \
    do {                                 \
        assert_string_equal(told, text); \
        told[0] = '\0';                  \
    } while (0)
