#include "dataplane/routing/path.h"

#include <stdbool.h>

/* What a byte of a path is. Zero: refused. */
enum byte_class {
    REFUSED,
    PLAIN,      /* pchar of RFC 3986 but for "%" and what stands below */
    SEPARATOR,  /* "/" */
    DOT,
    PERCENT,
    SEMICOLON,
    BACKSLASH,
    TO_ESCAPE,  /* visible, but not allowed raw */
};

static const uint8_t class_of[256] = {
    ['!'] = PLAIN, ['"'] = TO_ESCAPE, ['$'] = PLAIN, ['%'] = PERCENT, ['&' ... '-'] = PLAIN, ['.'] = DOT, ['/'] = SEPARATOR,
    ['0' ... '9'] = PLAIN, [':'] = PLAIN, [';'] = SEMICOLON, ['<'] = TO_ESCAPE, ['='] = PLAIN, ['>'] = TO_ESCAPE,
    ['@'] = PLAIN, ['A' ... 'Z'] = PLAIN, ['['] = TO_ESCAPE, ['\\'] = BACKSLASH, [']'] = TO_ESCAPE, ['^'] = TO_ESCAPE,
    ['_'] = PLAIN, ['`'] = TO_ESCAPE, ['a' ... 'z'] = PLAIN, ['{'] = TO_ESCAPE, ['|'] = TO_ESCAPE, ['}'] = TO_ESCAPE,
    ['~'] = PLAIN,
};

struct path_policy path_policy_of(const Headgate__PathPolicy *message) {
    static const Headgate__PathPolicy defaults = HEADGATE__PATH_POLICY__INIT;
    if (!message)
        message = &defaults;
    /* protobuf-c fills in the defaults of what is not set. */
    return (struct path_policy){message->escaped_slash, message->backslash, message->dot_segments, message->double_slash,
                                message->semicolon};
}

const char *path_error_word(enum path_error error) {
    static const char *const words[PATH_ERROR_COUNT] = {
#define X(code, word) [PATH_##code] = word,
        PATH_ERRORS(X)
#undef X
    };
    return words[error];
}

/* Only plain bytes, single separators and dots that begin no segment: nothing to do, whatever the policy. */
static bool is_plainly_canonical(struct str raw) {
    bool at_start = true;
    if (raw.n == 0 || raw.p[0] != '/')
        return false;
    for (size_t i = 1; i < raw.n; i++) {
        uint8_t class = class_of[(uint8_t)raw.p[i]];
        if (class != PLAIN && (class > DOT || class == REFUSED || at_start))
            return false;
        at_start = class == SEPARATOR;
    }
    return true;
}

/* ---- the slow way */

struct rewriter {
    const struct path_policy *policy;
    char                     *out;
    size_t                    n;
    size_t                    segment;   /* where the current segment begins */
    size_t                    part;      /* where it goes on behind its last kept "/" or "\", else `segment` */
    size_t                    parameter; /* where the first ";" of that part stands; 0: none */
};

static void put_escape(struct rewriter *r, unsigned value) {
    static const char digits[] = "0123456789ABCDEF";
    r->out[r->n++] = '%';
    r->out[r->n++] = digits[value >> 4];
    r->out[r->n++] = digits[value & 15];
}

/* 1 for ".", 2 for "..", else 0. */
static unsigned count_dots(const char *p, size_t n) {
    if (n == 1 && p[0] == '.')
        return 1;
    return n == 2 && p[0] == '.' && p[1] == '.' ? 2 : 0;
}

/* Takes the segment before the current one away, if there is one. The slash in front of it stays. */
static void pop_segment(struct rewriter *r) {
    r->n = r->segment;
    if (r->segment == 1)
        return;
    r->n--;
    while (r->out[r->n - 1] != '/')
        r->n--;
    r->segment = r->n;
}

/* A kept "%2F" or "%5C", or the segment, ends. Dots beside such an escape, or before a ";", are ".." to some origins. */
static enum path_error close_part(struct rewriter *r, bool is_whole_segment) {
    const char *part = r->out + r->part;
    if (r->parameter && count_dots(part, r->parameter - r->part))
        return PATH_PARAMETER;
    if (!is_whole_segment && count_dots(part, r->n - r->part))
        return PATH_DOT_SEGMENT;
    r->parameter = 0;
    return PATH_OK;
}

/* Resolves the current segment when it is made of dots. *ret_is_gone: it was. */
static enum path_error close_segment(struct rewriter *r, bool *ret_is_gone) {
    enum path_error error = close_part(r, r->part == r->segment);
    unsigned dots = count_dots(r->out + r->segment, r->n - r->segment);
    *ret_is_gone = dots > 0;
    if (!error && dots && r->policy->dot_segments == HEADGATE__PATH_POLICY__DOTS__REFUSE)
        return PATH_DOT_SEGMENT;
    if (dots == 1)
        r->n = r->segment;
    else if (dots == 2)
        pop_segment(r);
    r->part = r->segment;
    return error;
}

static enum path_error put_separator(struct rewriter *r) {
    bool is_gone;
    enum path_error error = close_segment(r, &is_gone);
    bool is_merged = r->n == r->segment && r->policy->double_slash == HEADGATE__PATH_POLICY__SLASHES__MERGE;
    if (error || is_gone || is_merged)
        return error;
    r->out[r->n++] = '/';
    r->segment = r->part = r->n;
    return PATH_OK;
}

/* A "/" or backslash that does not separate segments. */
static enum path_error put_kept(struct rewriter *r, char c) {
    enum path_error error = close_part(r, false);
    put_escape(r, (uint8_t)c);
    r->part = r->n;
    return error;
}

static enum path_error put_backslash(struct rewriter *r) {
    switch (r->policy->backslash) {
    case HEADGATE__PATH_POLICY__BACKSLASH__KEEP_BACKSLASH: return put_kept(r, '\\');
    case HEADGATE__PATH_POLICY__BACKSLASH__TO_SLASH: return put_separator(r);
    default: return PATH_BACKSLASH;
    }
}

static enum path_error put_escaped_slash(struct rewriter *r) {
    switch (r->policy->escaped_slash) {
    case HEADGATE__PATH_POLICY__ESCAPE__KEEP: return put_kept(r, '/');
    case HEADGATE__PATH_POLICY__ESCAPE__DECODE: return put_separator(r);
    default: return PATH_ESCAPED_SLASH;
    }
}

/* A ";" is about to be put, raw or as an escape. */
static enum path_error note_parameter(struct rewriter *r) {
    if (r->policy->semicolon == HEADGATE__PATH_POLICY__PARAMETERS__REJECT_PARAMETERS)
        return PATH_PARAMETER;
    if (!r->parameter)
        r->parameter = r->n;
    return PATH_OK;
}

static bool is_unreserved(unsigned c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == '~';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value of "%XX" at p, or -1. */
static int escape_value(const char *p, const char *end) {
    if (end - p < 3 || *p != '%')
        return -1;
    int high = hex_digit(p[1]), low = hex_digit(p[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* The first two bytes of an overlong UTF-8 sequence (RFC 3629 section 3), both escaped. */
static bool is_overlong(unsigned first, int second) {
    if (second < 0x80 || second > 0xbf)
        return false;
    return first == 0xc0 || first == 0xc1 || (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
}

static enum path_error put_escaped(struct rewriter *r, const char *p, const char *end) {
    int value = escape_value(p, end);
    if (value < 0)
        return PATH_ESCAPE;
    if (value == 0)
        return PATH_NUL;
    if (value == '/')
        return put_escaped_slash(r);
    if (value == '\\')
        return put_backslash(r);
    if (value >= 0xc0 && is_overlong((unsigned)value, escape_value(p + 3, end)))
        return PATH_OVERLONG;
    enum path_error error = value == ';' ? note_parameter(r) : PATH_OK;
    if (error)
        return error;
    if (is_unreserved((unsigned)value))
        r->out[r->n++] = (char)value;
    else
        put_escape(r, (unsigned)value);
    return PATH_OK;
}

static enum path_error put_byte(struct rewriter *r, const char *p, const char *end) {
    enum path_error error = PATH_OK;
    switch (class_of[(uint8_t)*p]) {
    case SEMICOLON: error = note_parameter(r); /* fall through */
    case PLAIN:
    case DOT: r->out[r->n++] = *p; return error;
    case SEPARATOR: return put_separator(r);
    case PERCENT: return put_escaped(r, p, end);
    case BACKSLASH: return put_backslash(r);
    case TO_ESCAPE: put_escape(r, (uint8_t)*p); return PATH_OK;
    default: return PATH_BYTE;
    }
}

static enum path_error rewrite(struct rewriter *r, struct str raw) {
    const char *p = raw.p + 1, *end = raw.p + raw.n;
    bool is_gone;
    r->out[r->n++] = '/';
    r->segment = r->part = 1;
    while (p < end) {
        enum path_error error = put_byte(r, p, end);
        if (error)
            return error;
        p += *p == '%' ? 3 : 1;
    }
    return close_segment(r, &is_gone);
}

static size_t room_needed(struct str raw) {
    size_t n = raw.n;
    for (size_t i = 0; i < raw.n; i++) {
        uint8_t class = class_of[(uint8_t)raw.p[i]];
        n += class == TO_ESCAPE || class == BACKSLASH ? 2 : 0;
    }
    return n;
}

enum path_error path_canonicalize(const struct path_policy *policy, struct str raw, struct arena *arena, struct str *ret) {
    if (is_plainly_canonical(raw) || str_eq(raw, STR("*"))) {
        *ret = raw;
        return PATH_OK;
    }
    if (raw.n == 0 || (raw.p[0] != '/' && raw.p[0] != '\\'))
        return PATH_RELATIVE;
    if (raw.p[0] == '\\' && policy->backslash != HEADGATE__PATH_POLICY__BACKSLASH__TO_SLASH)
        return PATH_RELATIVE;
    struct rewriter r = {.policy = policy, .out = arena_alloc(arena, room_needed(raw))};
    if (!r.out)
        return PATH_MEMORY;
    enum path_error error = rewrite(&r, raw);
    if (!error)
        *ret = (struct str){r.out, r.n};
    return error;
}
