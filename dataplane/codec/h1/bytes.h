/* bytes.h — the byte classes of HTTP/1.1 (RFC 9110 section 5.6.2, RFC 9112) for scanner, parser and decoder.
 *
 * Internal to the codec. Thread: any. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/http/fields.h"

enum h1_byte_class {
    H1_TARGET_BYTE = 1, /* visible ASCII but "#": what a request target may hold */
    H1_QUOTED_BYTE = 2, /* qdtext of a quoted-string: HTAB, SP, visible but '"' and '\', and obs-text */
    H1_TEXT_BYTE = 4,   /* HTAB, SP, visible, obs-text: a field value, a reason, behind '\' in a quoted-string */
};
extern const uint8_t h1_byte_class[256];

static inline bool h1_is_token_byte(char c) {
    return field_token_lower[(uint8_t)c] != 0;
}

/* The value of a hexadecimal digit, or -1. */
static inline int h1_hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
