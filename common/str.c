#include "common/str.h"

#include <endian.h>
#include <stdio.h>

#include "common/alloc.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool str_eq_nocase(struct str a, struct str b) {
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

int str_cmp(struct str a, struct str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

struct str str_trim(struct str s) {
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

struct str str_cut(struct str *s, char separator) {
    const char *at = s->n ? memchr(s->p, separator, s->n) : NULL;
    struct str head = *s;
    if (!at) {
        *s = (struct str){NULL, 0};
        return head;
    }
    head.n = (size_t)(at - s->p);
    *s = (struct str){at + 1, s->n - head.n - 1};
    return head;
}

int str_to_uint64(struct str s, uint64_t *ret) {
    enum { SAFE_DIGITS = 19 }; /* so many are below 2^64, whatever they are */
    if (s.n == 0)
        return -1;
    uint64_t value = 0;
    size_t i = 0;
    for (; i < s.n && i < SAFE_DIGITS; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9)
            return -1;
        value = value * 10 + digit;
    }
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, s.p[i] - '0', &value))
            return -1;
    }
    *ret = value;
    return 0;
}

/* One row of the edit-distance table; names longer than the row are "far". */
size_t str_distance(struct str a, struct str b, size_t limit) {
    enum { LONGEST = 64 };
    size_t row[LONGEST + 1];
    if (a.n > LONGEST || b.n > LONGEST)
        return limit + 1;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t replace = diagonal + (lower(a.p[i - 1]) != lower(b.p[j - 1]));
            size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < shorter ? replace : shorter;
        }
    }
    return row[b.n] > limit ? limit + 1 : row[b.n];
}

const char *str_nearest(struct str s, const char *const *candidates, size_t count) {
    size_t limit = s.n <= 3 ? 1 : s.n <= 6 ? 2 : 3;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t distance = str_distance(s, str_of(candidates[i]), limit);
        if (distance > limit)
            continue;
        nearest = candidates[i];
        if (distance == 0)
            return nearest;
        limit = distance - 1;
    }
    return nearest;
}

void strbuf_finish(struct strbuf *b) {
    if (!b)
        return;
    hg_free(b->p);
    *b = (struct strbuf){0};
}

void strbuf_reset(struct strbuf *b) {
    b->n = 0;
    b->failed = false;
    if (b->p)
        b->p[0] = '\0';
}

static bool reserve(struct strbuf *b, size_t more) {
    size_t need;
    if (b->failed)
        return false;
    if (__builtin_add_overflow(b->n, more, &need) || __builtin_add_overflow(need, 1, &need) ||
        hg_grow(&b->p, &b->capacity, need, 1) < 0)
        b->failed = true;
    return !b->failed;
}

void strbuf_add(struct strbuf *b, const void *bytes, size_t n) {
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->p + b->n, bytes, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void strbuf_add_str(struct strbuf *b, struct str s) {
    strbuf_add(b, s.p, s.n);
}

void strbuf_puts(struct strbuf *b, const char *text) {
    strbuf_add(b, text, strlen(text));
}

void strbuf_putc(struct strbuf *b, char c) {
    strbuf_add(b, &c, 1);
}

void strbuf_vprintf(struct strbuf *b, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0)
        b->failed = true;
    if (n < 0 || !reserve(b, (size_t)n))
        return;
    vsnprintf(b->p + b->n, (size_t)n + 1, format, args);
    b->n += (size_t)n;
}

void strbuf_printf(struct strbuf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    strbuf_vprintf(b, format, args);
    va_end(args);
}

size_t utf8_length(const char *text, size_t left) {
    const unsigned char *p = (const unsigned char *)text;
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80             ? 1
               : (p[0] & 0xe0) == 0xc0 ? 2
               : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (n < 2 || n > left)
        return n == 1 ? 1 : 0;
    unsigned code = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? 0 : n;
}

static void add_json_escape(struct strbuf *b, unsigned char c) {
    static const char *const short_form[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    if (c < sizeof short_form / sizeof *short_form && short_form[c])
        strbuf_puts(b, short_form[c]);
    else
        strbuf_printf(b, "\\u%04x", c);
}

void strbuf_add_json(struct strbuf *b, struct str s) {
    strbuf_putc(b, '"');
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        size_t n = utf8_length(s.p + i, s.n - i);
        if (c < 0x20 || c == 0x7f)
            add_json_escape(b, c);
        else if (c == '"' || c == '\\')
            strbuf_putc(b, '\\'), strbuf_putc(b, (char)c);
        else if (n)
            strbuf_add(b, s.p + i, n);
        else
            strbuf_puts(b, "\\ufffd");
        i += n ? n : 1;
    }
    strbuf_putc(b, '"');
}

char *strbuf_take(struct strbuf *b) {
    if (!b->failed && !b->p)
        strbuf_add(b, "", 0);
    char *text = b->failed ? NULL : b->p;
    if (!text)
        hg_free(b->p);
    *b = (struct strbuf){0};
    return text;
}

/* What is above 9 is carried over to 'a'. */
void hex_digits(uint64_t halves, char *out) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    halves &= ones * 0x0f;
    uint64_t is_letter = (halves + ones * 6) >> 4 & ones;
    uint64_t text = htole64(halves + ones * '0' + is_letter * ('a' - '0' - 10));
    memcpy(out, &text, sizeof text);
}

/* Each half byte goes into a byte of its own. */
static void hex_encode_four(const uint8_t *bytes, char *out) {
    uint32_t four;
    memcpy(&four, bytes, sizeof four);
    uint64_t wide = le32toh(four);
    wide = (wide | wide << 16) & UINT64_C(0x0000ffff0000ffff);
    wide = (wide | wide << 8) & UINT64_C(0x00ff00ff00ff00ff);
    hex_digits((wide >> 4 & UINT64_C(0x000f000f000f000f)) | (wide & UINT64_C(0x000f000f000f000f)) << 8, out);
}

void hex_encode(const uint8_t *bytes, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    size_t i = 0, fours = n & ~(size_t)3;
    for (; i < fours; i += 4)
        hex_encode_four(bytes + i, out + 2 * i);
    for (; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(struct str text, uint8_t *out, size_t n) {
    if (text.n != 2 * n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}
