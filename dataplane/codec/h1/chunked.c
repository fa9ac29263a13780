#include "dataplane/codec/h1/chunked.h"

#include "dataplane/codec/h1/bytes.h"
#include "dataplane/codec/h1/lines.h"
#include "dataplane/http/message.h"

enum { SIZE_DIGITS_MAX = 16, FREE_BYTES = 16, FIRST_HOLD = 256 };

/* Places in chunk-ext = *( ";" chunk-ext-name [ "=" ( token / quoted-string ) ] ). */
enum { EXT_NAME_START, EXT_NAME, EXT_VALUE_START, EXT_TOKEN, EXT_QUOTED, EXT_ESCAPE, EXT_QUOTED_END, EXT_BAD };

void chunked_init(struct chunked *c, const struct h1_limits *limits, struct arena *arena) {
    *c = (struct chunked){.limits = limits, .arena = arena, .scan = {.section = H1_TRAILERS}};
}

static void fail(struct chunked *c, enum h1_error error) {
    c->state = CHUNKED_FAILED;
    c->error = error;
}

static enum h1_error error_of(char byte, enum h1_error otherwise) {
    return byte == '\n' ? H1_BARE_LF : otherwise;
}

/* ---- the size line */

static void start_chunk(struct chunked *c) {
    c->state = CHUNKED_SIZE;
    c->left = 0;
    c->digits = 0;
    c->extension_bytes = 0;
}

static void take_size_byte(struct chunked *c, char byte) {
    int digit = h1_hex_value(byte);
    if (digit >= 0 && c->digits < SIZE_DIGITS_MAX) {
        c->left = c->left << 4 | (unsigned)digit;
        c->digits++;
    } else if (digit < 0 && c->digits > 0 && byte == ';') {
        c->state = CHUNKED_EXTENSION;
        c->extension = EXT_NAME_START;
        c->extension_bytes = 1;
    } else if (digit < 0 && c->digits > 0 && byte == '\r') {
        c->state = CHUNKED_SIZE_LF;
    } else {
        fail(c, error_of(byte, H1_CHUNK_SIZE));
    }
}

static int next_place(int place, char byte) {
    bool is_token = h1_is_token_byte(byte);
    switch (place) {
    case EXT_NAME_START: return is_token ? EXT_NAME : EXT_BAD;
    case EXT_NAME: return is_token ? EXT_NAME : byte == '=' ? EXT_VALUE_START : byte == ';' ? EXT_NAME_START : EXT_BAD;
    case EXT_VALUE_START: return is_token ? EXT_TOKEN : byte == '"' ? EXT_QUOTED : EXT_BAD;
    case EXT_TOKEN: return is_token ? EXT_TOKEN : byte == ';' ? EXT_NAME_START : EXT_BAD;
    case EXT_QUOTED:
        if (byte == '"')
            return EXT_QUOTED_END;
        if (byte == '\\')
            return EXT_ESCAPE;
        return h1_byte_class[(uint8_t)byte] & H1_QUOTED_BYTE ? EXT_QUOTED : EXT_BAD;
    case EXT_ESCAPE: return h1_byte_class[(uint8_t)byte] & H1_TEXT_BYTE ? EXT_QUOTED : EXT_BAD;
    case EXT_QUOTED_END: return byte == ';' ? EXT_NAME_START : EXT_BAD;
    default: return EXT_BAD;
    }
}

static void take_extension_byte(struct chunked *c, char byte) {
    bool may_end = c->extension == EXT_NAME || c->extension == EXT_TOKEN || c->extension == EXT_QUOTED_END;
    if (byte == '\r' && may_end) {
        c->state = CHUNKED_SIZE_LF;
        return;
    }
    c->extension = (uint8_t)next_place(c->extension, byte);
    if (c->extension == EXT_BAD || ++c->extension_bytes > CHUNK_EXTENSION_MAX)
        fail(c, error_of(byte, H1_CHUNK_EXTENSION));
}

/* The line with its CRLF, and the CRLF behind the data, against what the chunk may cost. */
static bool is_overhead_in_bounds(struct chunked *c) {
    uint64_t cost = (uint64_t)c->overhead + c->digits + c->extension_bytes + 4;
    uint64_t size = c->left < CHUNK_OVERHEAD_MAX ? c->left : CHUNK_OVERHEAD_MAX;
    uint64_t allowed = FREE_BYTES + 2 * size;
    c->overhead = (uint32_t)(cost > allowed ? cost - allowed : 0);
    return c->overhead <= CHUNK_OVERHEAD_MAX;
}

static void end_size_line(struct chunked *c, char byte) {
    if (byte != '\n')
        fail(c, H1_BARE_CR);
    else if (c->left > INT64_MAX)
        fail(c, H1_CHUNK_SIZE);
    else if (!is_overhead_in_bounds(c))
        fail(c, H1_CHUNK_OVERHEAD);
    else
        c->state = c->left ? CHUNKED_IN_DATA : CHUNKED_TRAILERS;
}

static void take_byte(struct chunked *c, char byte) {
    switch (c->state) {
    case CHUNKED_SIZE: take_size_byte(c, byte); break;
    case CHUNKED_EXTENSION: take_extension_byte(c, byte); break;
    case CHUNKED_SIZE_LF: end_size_line(c, byte); break;
    case CHUNKED_DATA_CR:
        if (byte == '\r')
            c->state = CHUNKED_DATA_LF;
        else
            fail(c, error_of(byte, H1_CHUNK_END));
        break;
    case CHUNKED_DATA_LF:
        if (byte == '\n')
            start_chunk(c);
        else
            fail(c, H1_BARE_CR);
        break;
    default: break; /* the others are not read by the byte */
    }
}

/* ---- the trailer section */

static void parse_trailers(struct chunked *c, uint32_t end) {
    struct h1_field_section section = {.arena = c->arena, .fields = &c->trailers, .limit = c->limits->headers};
    enum h1_error error = h1_read_fields(c->held, c->held + end, &section);
    if (!error && !message_clean_trailers(&c->trailers))
        error = H1_TRAILER_FIELD;
    if (error)
        fail(c, error);
    else
        c->state = CHUNKED_DONE;
}

static int hold(struct chunked *c, const char *bytes, size_t n) {
    uint32_t need = c->held_bytes + (uint32_t)n;
    if (need > c->held_capacity) {
        uint32_t capacity = c->held_capacity ? c->held_capacity * 2 : FIRST_HOLD;
        if (capacity < need)
            capacity = need;
        char *grown = arena_alloc(c->arena, capacity);
        if (!grown)
            return -1;
        if (c->held_bytes)
            memcpy(grown, c->held, c->held_bytes);
        c->held = grown;
        c->held_capacity = capacity;
    }
    memcpy(c->held + c->held_bytes, bytes, n);
    c->held_bytes = need;
    return 0;
}

/* Takes what belongs to the section and returns how much that is. */
static size_t take_trailers(struct chunked *c, const char *bytes, size_t n) {
    if (c->held_bytes == 0 && n >= 2 && memcmp(bytes, "\r\n", 2) == 0) {
        c->state = CHUNKED_DONE; /* nearly always */
        return 2;
    }
    uint32_t before = c->held_bytes;
    size_t room = (size_t)c->limits->trailer_bytes + 3 - before; /* one more than the scan lets pass */
    if (n > room)
        n = room;
    if (hold(c, bytes, n)) {
        fail(c, H1_MEMORY);
        return n;
    }
    switch (h1_scan_head(&c->scan, c->limits, c->held, c->held_bytes)) {
    case H1_SCAN_MORE: return n;
    case H1_SCAN_DONE: parse_trailers(c, c->scan.end); return c->scan.end - before;
    case H1_SCAN_ERROR: fail(c, c->scan.error); break;
    }
    return n;
}

/* ---- */

static struct str take_data(struct chunked *c, const char *bytes, size_t n) {
    struct str span = {bytes, n < c->left ? n : (size_t)c->left};
    c->left -= span.n;
    if (c->left == 0)
        c->state = CHUNKED_DATA_CR;
    return span;
}

enum chunked_event chunked_next(struct chunked *c, const char *bytes, size_t n, size_t *ret_used, struct str *ret_data) {
    size_t used = 0;
    while (used < n && c->state < CHUNKED_DONE) {
        if (c->state == CHUNKED_IN_DATA) {
            *ret_data = take_data(c, bytes + used, n - used);
            *ret_used = used + ret_data->n;
            return CHUNKED_EVENT_DATA;
        }
        if (c->state == CHUNKED_TRAILERS)
            used += take_trailers(c, bytes + used, n - used);
        else
            take_byte(c, bytes[used++]);
    }
    *ret_used = used;
    if (c->state == CHUNKED_FAILED)
        return CHUNKED_EVENT_ERROR;
    return c->state == CHUNKED_DONE ? CHUNKED_EVENT_END : CHUNKED_EVENT_MORE;
}

size_t chunked_write_size(uint64_t size, char out[CHUNK_SIZE_LINE_MAX]) {
    size_t digits = 1;
    for (uint64_t rest = size >> 4; rest; rest >>= 4)
        digits++;
    for (size_t i = digits; i-- > 0; size >>= 4)
        out[i] = "0123456789abcdef"[size & 15];
    memcpy(out + digits, "\r\n", 2);
    return digits + 2;
}
