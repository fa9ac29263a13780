/* str.h — string views and a growing buffer.
 *
 * A `struct str` does not own its bytes and need not end in NUL. A `struct strbuf` owns its bytes. Thread:
 * none shared. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct str {
    const char *p;
    size_t      n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct str str_of(const char *text) {
    return (struct str){text, text ? strlen(text) : 0};
}

static inline bool str_eq(struct str a, struct str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(struct str s, struct str prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool str_ends(struct str s, struct str suffix) {
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* Copies s to `to`, which has room for it, and returns the place behind it. Most are short: they are copied without a call,
 * as two pieces that may overlap. */
static inline char *str_put(char *to, struct str s) {
    if (s.n - 8 <= 8) {
        memcpy(to + s.n - 8, s.p + s.n - 8, 8);
        memcpy(to, s.p, 8);
    } else if (s.n - 16 <= 16) {
        memcpy(to + s.n - 16, s.p + s.n - 16, 16);
        memcpy(to, s.p, 16);
    } else if (s.n) {
        memcpy(to, s.p, s.n);
    }
    return to + s.n;
}

bool        str_eq_nocase(struct str a, struct str b);      /* ASCII letters only */
int         str_cmp(struct str a, struct str b);            /* byte order, shorter first */
struct str  str_trim(struct str s);                         /* spaces and tabs at both ends */
/* Cuts the view at the first `separator`: returns what stands before it, leaves in *s what stands behind it.
 * With no separator left it returns everything and *s becomes empty with p == NULL. */
struct str  str_cut(struct str *s, char separator);
/* Decimal digits only. Returns 0, or -1 on anything else and on overflow. */
int         str_to_uint64(struct str s, uint64_t *ret);
/* Edits (insert, delete, replace) between two strings; stops counting above `limit`. For "did you mean". */
size_t      str_distance(struct str a, struct str b, size_t limit);
/* The candidate nearest to `s`, or NULL when none is near enough to be a likely slip of the keyboard. */
const char *str_nearest(struct str s, const char *const *candidates, size_t count);

/* Length of the well-formed UTF-8 sequence (RFC 3629) at p, of which `left` bytes (at least 1) can be read,
 * or 0. */
size_t      utf8_length(const char *p, size_t left);

/* A buffer that always ends in NUL (not counted in n). A zeroed struct is a valid empty buffer. When memory
 * runs out, the failed call changes nothing, `failed` stays set, and later appends do nothing: check once at
 * the end. */
struct strbuf {
    char  *p;
    size_t n, capacity;
    bool   failed;
};

void strbuf_finish(struct strbuf *b);
void strbuf_reset(struct strbuf *b);                        /* empties, keeps the memory */
void strbuf_add(struct strbuf *b, const void *bytes, size_t n);
void strbuf_add_str(struct strbuf *b, struct str s);
void strbuf_puts(struct strbuf *b, const char *text);
void strbuf_putc(struct strbuf *b, char c);
void strbuf_printf(struct strbuf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(struct strbuf *b, const char *format, va_list args);
void strbuf_add_json(struct strbuf *b, struct str s); /* a JSON string with its quotes; bad UTF-8 as \ufffd */
char *strbuf_take(struct strbuf *b); /* becomes the caller's (hg_free); NULL when it failed */
static inline struct str strbuf_str(const struct strbuf *b) {
    return (struct str){b->p ? b->p : "", b->n};
}

/* Lower-case hexadecimal; out has room for 2 * n + 1 bytes. */
void hex_encode(const uint8_t *bytes, size_t n, char *out);
/* Eight digits, no NUL: the lower half of each byte of `halves`, the least significant byte first. */
void hex_digits(uint64_t halves, char *out);
int  hex_decode(struct str text, uint8_t *out, size_t n);   /* exactly n bytes; 0 or -1 */
