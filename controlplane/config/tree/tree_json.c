#include "controlplane/config/tree/tree_json.h"

#include <stdint.h>

static bool is_json(struct str text) {
    size_t i = 0;
    while (i < text.n && strchr(" \t\r\n", text.p[i]))
        i++;
    return i < text.n && (text.p[i] == '{' || text.p[i] == '[');
}

/* The code unit of "\uXXXX" at p, or 0. */
static unsigned code_unit(const char *p, size_t left) {
    uint8_t bytes[2];
    if (left < 6 || p[0] != '\\' || p[1] != 'u' || hex_decode((struct str){p + 2, 4}, bytes, 2) < 0)
        return 0;
    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* The code point that the two escapes at p stand for, or 0 when they are no pair (RFC 8259 section 7). */
static unsigned surrogate_pair(const char *p, size_t left) {
    unsigned high = code_unit(p, left), low = high ? code_unit(p + 6, left - 6) : 0;
    if (high < 0xd800 || high > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return 0;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static char *put_utf8(char *out, unsigned code) {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 0x3f));
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
    return out;
}

/* Copies what is in front of and between the pairs; an escaped backslash begins no pair. */
static size_t join(struct str text, char *out) {
    const char *start = out;
    bool in_string = false;
    for (size_t i = 0; i < text.n;) {
        unsigned code = in_string ? surrogate_pair(text.p + i, text.n - i) : 0;
        if (code) {
            out = put_utf8(out, code);
            i += 12;
            continue;
        }
        in_string ^= text.p[i] == '"';
        bool is_escape = in_string && text.p[i] == '\\' && i + 1 < text.n;
        *out++ = text.p[i++];
        if (is_escape)
            *out++ = text.p[i++];
    }
    return (size_t)(out - start);
}

struct str tree_join_surrogates(struct arena *arena, struct str text) {
    if (!is_json(text) || !memmem(text.p, text.n, "\\u", 2))
        return text;
    char *joined = arena_alloc(arena, text.n);
    return joined ? (struct str){joined, join(text, joined)} : (struct str){NULL, 0};
}
