/* JSON by the letter of RFC 8259, for texts that come over a network: nothing of YAML is understood, and the first fault
 * ends it. */
#include "common/map.h"
#include "controlplane/config/tree/tree.h"

enum { KEYS_LINEAR_MAX = 16 };

struct reader {
    struct arena       *arena;
    const char         *file;
    struct str          text;
    size_t              at;
    struct tree_place   counted;        /* the place of byte `counted_to`; places only go forward */
    size_t              counted_to;
    struct tree_budget *budget;
    struct error_list  *errors;
    unsigned            depth;
};

/* ---- places and faults ---- */

static struct tree_place place_of(struct reader *r, size_t at) {
    struct tree_place before = {r->file, 1, 1};
    if (at < r->counted_to)
        r->counted_to = 0;
    struct tree_place place = r->counted_to ? r->counted : before;
    for (size_t i = r->counted_to; i < at; i++) {
        if (r->text.p[i] == '\n')
            place = (struct tree_place){r->file, place.line + 1, 1};
        else
            place.column += ((unsigned char)r->text.p[i] & 0xc0) != 0x80;
    }
    r->counted = place;
    r->counted_to = at;
    return place;
}

static int fail_at(struct reader *r, size_t at, enum error_code code, const char *message) {
    struct tree_place place = place_of(r, at);
    struct error *e = error_addf(r->errors, code, "%s", message);
    error_set_place(r->errors, e, place.file, place.line, place.column);
    return -1;
}

static int fail(struct reader *r, const char *message) {
    return fail_at(r, r->at, ERROR_SYNTAX, message);
}

static int out_of_memory(struct reader *r) {
    return fail_at(r, r->at, ERROR_MEMORY, "out of memory, or the text is too large");
}

/* ---- characters ---- */

static char peek(const struct reader *r) {
    return r->at < r->text.n ? r->text.p[r->at] : '\0';
}

static void skip_space(struct reader *r) {
    while (r->at < r->text.n && memchr(" \t\r\n", r->text.p[r->at], 4))
        r->at++;
}

static bool take(struct reader *r, char c) {
    bool is_there = r->at < r->text.n && r->text.p[r->at] == c;
    r->at += is_there;
    return is_there;
}

/* ---- texts ---- */

/* The four digits behind "\u", or -1. */
static int take_code_unit(struct reader *r) {
    uint8_t bytes[2];
    if (r->text.n - r->at < 4 || hex_decode((struct str){r->text.p + r->at, 4}, bytes, sizeof bytes) < 0)
        return -1;
    r->at += 4;
    return bytes[0] << 8 | bytes[1];
}

/* Behind "\u"; -1: no character. */
static int take_code_point(struct reader *r) {
    int high = take_code_unit(r), low;
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || !take(r, '\\') || !take(r, 'u'))
        return -1;
    low = take_code_unit(r);
    return low < 0xdc00 || low > 0xdfff ? -1 : 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static char *put_utf8(char *out, unsigned code) {
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* Behind the backslash; NULL after a fault. */
static char *take_escape(struct reader *r, char *out) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char c = peek(r);
    const char *name = c ? strchr(names, c) : NULL;
    int code = name ? meant[name - names] : -1;
    r->at += c != '\0';
    if (c == 'u')
        code = take_code_point(r);
    if (code < 0)
        fail(r, "not an escape of JSON");
    return code < 0 ? NULL : put_utf8(out, (unsigned)code);
}

/* Checks the text whose quote was taken, up to the other one; *ret_escapes: whether it has any. */
static int find_end(struct reader *r, size_t *ret_end, bool *ret_escapes) {
    size_t i = r->at;
    *ret_escapes = false;
    while (i < r->text.n && r->text.p[i] != '"') {
        unsigned char c = (unsigned char)r->text.p[i];
        size_t n = c < 0x80 ? 1 : utf8_length(r->text.p + i, r->text.n - i);
        if (n == 0)
            return fail_at(r, i, ERROR_SYNTAX, "not UTF-8");
        if (c < 0x20)
            return fail_at(r, i, ERROR_SYNTAX, "a control character");
        *ret_escapes |= c == '\\';
        i += c == '\\' && i + 1 < r->text.n ? 2 : n;
    }
    *ret_end = i;
    return i < r->text.n ? 0 : fail(r, "a text without an end");
}

/* What an escape stands for is shorter than it. */
static int unescape(struct reader *r, size_t end, struct str *ret) {
    char *to = arena_alloc(r->arena, end - r->at + 1), *out = to;
    if (!to)
        return out_of_memory(r);
    while (out && r->at < end) {
        if (take(r, '\\'))
            out = take_escape(r, out);
        else
            *out++ = r->text.p[r->at++];
    }
    if (!out)
        return -1;
    *out = '\0';
    *ret = (struct str){to, (size_t)(out - to)};
    return 0;
}

static int read_text(struct reader *r, struct str *ret) {
    bool has_escapes = false;
    size_t end = 0;
    r->at++;
    if (find_end(r, &end, &has_escapes))
        return -1;
    struct str plain = {r->text.p + r->at, end - r->at};
    if (has_escapes) {
        if (unescape(r, end, ret))
            return -1;
    } else {
        *ret = arena_str(r->arena, plain);
        if (!ret->p)
            return out_of_memory(r);
    }
    r->at = end + 1;
    return 0;
}

/* ---- numbers and words ---- */

static size_t skip_digits(struct reader *r) {
    size_t start = r->at;
    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
    return r->at - start;
}

static bool skip_number(struct reader *r) {
    take(r, '-');
    bool is_zero = take(r, '0');
    if (!is_zero && skip_digits(r) == 0)
        return false;
    if (take(r, '.') && skip_digits(r) == 0)
        return false;
    if (!take(r, 'e') && !take(r, 'E'))
        return true;
    if (!take(r, '+'))
        take(r, '-');
    return skip_digits(r) > 0;
}

static bool skip_word(struct reader *r) {
    static const char *const words[] = {"true", "false", "null"};
    struct str left = {r->text.p + r->at, r->text.n - r->at};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_starts(left, str_of(words[i]))) {
            r->at += strlen(words[i]);
            return true;
        }
    return false;
}

static int read_plain(struct reader *r, struct tree_node *node) {
    size_t start = r->at;
    bool is_number = peek(r) == '-' || (peek(r) >= '0' && peek(r) <= '9');
    if (r->at == r->text.n)
        return fail(r, "the text ends where a value is expected");
    if (is_number ? !skip_number(r) : !skip_word(r))
        return fail_at(r, start, ERROR_SYNTAX, is_number ? "not a number of JSON" : "not a value of JSON");
    node->text = arena_str(r->arena, (struct str){r->text.p + start, r->at - start});
    return node->text.p ? 0 : out_of_memory(r);
}

/* ---- lists and maps ---- */

static struct tree_node *read_value(struct reader *r);

static int read_list(struct reader *r, struct tree_node *list) {
    r->at++;
    skip_space(r);
    if (take(r, ']'))
        return 0;
    do {
        struct tree_node *node = read_value(r);
        if (!node)
            return -1;
        if (tree_append(r->arena, list, node) < 0)
            return out_of_memory(r);
        skip_space(r);
    } while (take(r, ','));
    return take(r, ']') ? 0 : fail(r, "expected \",\" or \"]\"");
}

/* The items by key, once there are many. 0, or -1 without memory. */
static int remember_key(struct map *keys, const struct tree_node *map) {
    if (map->count < KEYS_LINEAR_MAX)
        return 0;
    struct tree_item *i = keys->count ? map->last : map->first;
    for (; i; i = i->next)
        if (map_set(keys, i->key, i) < 0)
            return -1;
    return 0;
}

static bool has_key(const struct map *keys, const struct tree_node *map, struct str key) {
    if (keys->count)
        return map_get(keys, key);
    for (const struct tree_item *i = map->first; i; i = i->next)
        if (str_eq(i->key, key))
            return true;
    return false;
}

static int read_pair(struct reader *r, struct tree_node *map, struct map *keys) {
    struct str key;
    skip_space(r);
    struct tree_place place = place_of(r, r->at);
    if (peek(r) != '"')
        return fail(r, "expected a key in quotes");
    if (read_text(r, &key))
        return -1;
    if (has_key(keys, map, key))
        return fail(r, "the key before this place stands there twice");
    skip_space(r);
    if (!take(r, ':'))
        return fail(r, "expected \":\"");
    struct tree_node *node = read_value(r);
    if (!node)
        return -1;
    if (tree_set(r->arena, map, key.p, node) < 0)
        return out_of_memory(r);
    map->last->key = key;
    map->last->key_place = place;
    return remember_key(keys, map) < 0 ? out_of_memory(r) : 0;
}

static int read_pairs(struct reader *r, struct tree_node *map, struct map *keys) {
    r->at++;
    skip_space(r);
    if (take(r, '}'))
        return 0;
    do {
        if (read_pair(r, map, keys))
            return -1;
        skip_space(r);
    } while (take(r, ','));
    return take(r, '}') ? 0 : fail(r, "expected \",\" or \"}\"");
}

static int read_map(struct reader *r, struct tree_node *map) {
    struct map keys = {0};
    int status = read_pairs(r, map, &keys);
    map_finish(&keys);
    return status;
}

/* ---- values ---- */

static int read_collection(struct reader *r, struct tree_node *node) {
    if (r->depth == TREE_JSON_DEPTH_MAX)
        return fail_at(r, r->at, ERROR_RANGE, "nested too deeply");
    r->depth++;
    int status = node->type == TREE_MAP ? read_map(r, node) : read_list(r, node);
    r->depth--;
    return status;
}

static int read_into(struct reader *r, struct tree_node *node) {
    if (node->type != TREE_SCALAR)
        return read_collection(r, node);
    node->is_quoted = peek(r) == '"';
    return node->is_quoted ? read_text(r, &node->text) : read_plain(r, node);
}

static struct tree_node *read_value(struct reader *r) {
    skip_space(r);
    char c = peek(r);
    if (r->budget->nodes == 0) {
        fail_at(r, r->at, ERROR_RANGE, "too many values in one text");
        return NULL;
    }
    r->budget->nodes--;
    struct tree_node *node = tree_create(r->arena, c == '{' ? TREE_MAP : c == '[' ? TREE_LIST : TREE_SCALAR);
    if (!node) {
        out_of_memory(r);
        return NULL;
    }
    node->place = place_of(r, r->at);
    return read_into(r, node) ? NULL : node;
}

struct tree_node *tree_read_json(struct arena *arena, const char *file, struct str text, struct tree_budget *budget,
                                 struct error_list *errors) {
    struct reader r = {.arena = arena, .file = file, .text = text, .budget = budget, .errors = errors};
    struct tree_node *node = read_value(&r);
    skip_space(&r);
    if (node && r.at < text.n) {
        fail(&r, "more than one value");
        return NULL;
    }
    return node;
}
