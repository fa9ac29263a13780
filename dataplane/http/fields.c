#include "dataplane/http/fields.h"

#include <endian.h>

enum { LONGEST_NAME = 24 };

static const struct str known[FIELD_ID_COUNT] = {
#define X(id, text, flags) [FIELD_##id] = {text, sizeof(text) - 1},
    FIELD_NAMES(X)
#undef X
};

/* The first id whose name has at least that many bytes. */
static const uint8_t first_of_length[LONGEST_NAME + 2] = {
    [0] = FIELD_TE, [1] = FIELD_TE,
    [2] = FIELD_TE,
    [3] = FIELD_AGE,
    [4] = FIELD_HOST,
    [5] = FIELD_RANGE,
    [6] = FIELD_ACCEPT,
    [7] = FIELD_TRAILER,
    [8] = FIELD_IF_MATCH,
    [9] = FIELD_FORWARDED,
    [10] = FIELD_CONNECTION,
    [11] = FIELD_CLIENT_CERT,
    [12] = FIELD_CONTENT_TYPE,
    [13] = FIELD_CACHE_CONTROL,
    [14] = FIELD_CONTENT_LENGTH,
    [15] = FIELD_ACCEPT_ENCODING,
    [16] = FIELD_CONTENT_ENCODING,
    [17] = FIELD_CLIENT_CERT_CHAIN,
    [18] = FIELD_PROXY_AUTHENTICATE,
    [19] = FIELD_IF_UNMODIFIED_SINCE,
    [20] = FIELD_SEC_WEBSOCKET_ACCEPT,
    [21] = FIELD_SEC_WEBSOCKET_VERSION,
    [22] = FIELD_SEC_WEBSOCKET_PROTOCOL,
    [23] = FIELD_X_FORWARDED_CLIENT_CERT,
    [24] = FIELD_SEC_WEBSOCKET_EXTENSIONS,
    [25] = FIELD_ID_COUNT,
};

/* The same names, with zeros behind them. */
static const char known_bytes[FIELD_ID_COUNT][LONGEST_NAME + 1] = {
#define X(id, text, flags) [FIELD_##id] = text,
    FIELD_NAMES(X)
#undef X
};

static uint64_t word_at(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return le64toh(word);
}

static uint64_t half_word_at(const char *p) {
    uint32_t half;
    memcpy(&half, p, sizeof half);
    return le32toh(half);
}

static uint64_t byte_at(const char *name, size_t i) {
    return (uint64_t)(uint8_t)name[i] << 8 * i;
}

/* The first eight bytes, or a shorter name with zeros behind it: its parts may overlap. */
static uint64_t first_word(const char *name, size_t n) {
    if (n >= 8)
        return word_at(name);
    if (n >= 4)
        return half_word_at(name) | half_word_at(name + n - 4) << 8 * (n - 4);
    return byte_at(name, 0) | byte_at(name, n / 2) | byte_at(name, n - 1);
}

/* What lies behind the first word; the last two words may overlap those before them. */
static bool is_same_rest(const char *a, const char *b, size_t n) {
    if (n > 16 && word_at(a + 8) != word_at(b + 8))
        return false;
    return n <= 8 || word_at(a + n - 8) == word_at(b + n - 8);
}

_Static_assert(LONGEST_NAME <= 24, "three words compare a name");

enum field_id field_lookup(const char *name, size_t n) {
    if (n == 0 || n > LONGEST_NAME)
        return FIELD_OTHER;
    uint64_t first = first_word(name, n);
    for (unsigned id = first_of_length[n]; id < first_of_length[n + 1]; id++)
        if (word_at(known_bytes[id]) == first && is_same_rest(known_bytes[id], name, n))
            return id;
    return FIELD_OTHER;
}

struct str field_id_name(enum field_id id) {
    return id < FIELD_ID_COUNT ? known[id] : (struct str){NULL, 0};
}

int fields_grow(struct fields *fields, struct arena *arena, uint32_t more) {
    uint32_t need;
    if (__builtin_add_overflow(fields->count, more, &need) || need > UINT32_MAX / 2)
        return -1;
    uint32_t capacity = fields->capacity ? fields->capacity * 2 : 16;
    if (capacity < need)
        capacity = need;
    struct field *v = arena_alloc(arena, capacity * sizeof *v);
    if (!v)
        return -1;
    if (fields->count)
        memcpy(v, fields->v, fields->count * sizeof *v);
    fields->v = v;
    fields->capacity = capacity;
    return 0;
}

static void append(struct fields *fields, enum field_id id, struct str name, struct str value) {
    fields->v[fields->count++] = (struct field){name.p, value.p, (uint32_t)value.n, (uint16_t)name.n, (uint16_t)id};
}

/* Out of line: where there is room no registers need saving. */
__attribute__((noinline)) static int append_grown(struct fields *fields, struct arena *arena, enum field_id id,
                                                  struct str name, struct str value) {
    if (fields_grow(fields, arena, 1))
        return -1;
    append(fields, id, name, value);
    return 0;
}

int fields_add(struct fields *fields, struct arena *arena, struct str name, struct str value) {
    enum field_id id = field_lookup(name.p, name.n);
    if (fields->count == fields->capacity)
        return append_grown(fields, arena, id, name, value);
    append(fields, id, name, value);
    return 0;
}

int fields_add_id(struct fields *fields, struct arena *arena, enum field_id id, struct str value) {
    if (fields->count == fields->capacity)
        return append_grown(fields, arena, id, known[id], value);
    append(fields, id, known[id], value);
    return 0;
}

int fields_set(struct fields *fields, struct arena *arena, struct str name, struct str value) {
    enum field_id id = field_lookup(name.p, name.n);
    if (id != FIELD_OTHER)
        return fields_set_id(fields, arena, id, value);
    struct field *first = fields_find_name(fields, name);
    if (!first)
        return fields_add(fields, arena, name, value);
    first->value = value.p;
    first->value_len = (uint32_t)value.n;
    struct field *again;
    while ((again = fields_next_name(fields, first, name)))
        fields_remove_at(fields, (uint32_t)(again - fields->v));
    return 0;
}

int fields_set_id(struct fields *fields, struct arena *arena, enum field_id id, struct str value) {
    struct field *first = fields_find(fields, id);
    if (!first)
        return fields_add_id(fields, arena, id, value);
    first->value = value.p;
    first->value_len = (uint32_t)value.n;
    struct field *again;
    while ((again = fields_next(fields, first, id)))
        fields_remove_at(fields, (uint32_t)(again - fields->v));
    return 0;
}

int fields_append(struct fields *fields, struct arena *arena, const struct fields *from) {
    if (from->count == 0)
        return 0;
    if (fields_reserve(fields, arena, from->count))
        return -1;
    memcpy(fields->v + fields->count, from->v, from->count * sizeof *from->v);
    fields->count += from->count;
    return 0;
}

void fields_remove_at(struct fields *fields, uint32_t index) {
    fields->count--;
    memmove(fields->v + index, fields->v + index + 1, (fields->count - index) * sizeof *fields->v);
}

uint32_t fields_remove_ids(struct fields *fields, uint64_t mask) {
    uint32_t kept = 0, count = fields->count;
    while (kept < count && !(FIELD_BIT(fields->v[kept].id) & mask))
        kept++; /* those before the first that goes stay where they are */
    for (uint32_t i = kept; i < count; i++)
        if (!(FIELD_BIT(fields->v[i].id) & mask))
            fields->v[kept++] = fields->v[i];
    fields->count = kept;
    return count - kept;
}

uint32_t fields_remove(struct fields *fields, enum field_id id) {
    return fields_remove_ids(fields, FIELD_BIT(id));
}

uint32_t fields_remove_name(struct fields *fields, struct str name) {
    uint32_t kept = 0, count = fields->count;
    for (uint32_t i = 0; i < count; i++)
        if (!field_is(&fields->v[i], name))
            fields->v[kept++] = fields->v[i];
    fields->count = kept;
    return count - kept;
}

bool field_list_next(struct str *rest, struct str *ret_member) {
    while (rest->p) {
        struct str member = str_trim(str_cut(rest, ','));
        if (member.n) {
            *ret_member = member;
            return true;
        }
    }
    return false;
}
