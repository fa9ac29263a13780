#include "dataplane/codec/grpc_log/wire.h"

enum { VARINT = 0, LENGTH = 2, VARINT_MAX = 10 };

static void put_varint(struct wire *w, uint64_t value) {
    if (w->end - w->at < VARINT_MAX) {
        w->is_full = true;
        return;
    }
    for (; value >= 0x80; value >>= 7)
        *w->at++ = (uint8_t)(value | 0x80);
    *w->at++ = (uint8_t)value;
}

static void put_key(struct wire *w, unsigned field, unsigned type) {
    put_varint(w, field << 3 | type);
}

void wire_uint(struct wire *w, unsigned field, uint64_t value) {
    if (value == 0)
        return;
    put_key(w, field, VARINT);
    put_varint(w, value);
}

void wire_announce(struct wire *w, unsigned field, uint64_t size) {
    put_key(w, field, LENGTH);
    put_varint(w, size);
}

/* As many bytes as came. */
static void put_valid(struct wire *w, struct str text) {
    for (size_t i = 0; i < text.n;) {
        size_t n = utf8_length(text.p + i, text.n - i);
        if (n)
            memcpy(w->at, text.p + i, n);
        else
            *w->at = '!';
        n = n ? n : 1;
        w->at += n;
        i += n;
    }
}

void wire_text(struct wire *w, unsigned field, struct str text) {
    if (!text.n)
        return;
    text.n = text.n < WIRE_TEXT_MAX ? text.n : WIRE_TEXT_MAX;
    wire_announce(w, field, text.n);
    if ((size_t)(w->end - w->at) < text.n)
        w->is_full = true;
    if (!w->is_full)
        put_valid(w, text);
}

/* One byte is left for the length, which is most often enough. */
uint8_t *wire_open(struct wire *w, unsigned field) {
    put_key(w, field, LENGTH);
    if (w->at == w->end)
        w->is_full = true;
    else
        w->at++;
    return w->at;
}

void wire_close(struct wire *w, uint8_t *opened) {
    size_t n = (size_t)(w->at - opened), more = n < 1 << 7 ? 0 : n < 1 << 14 ? 1 : 2;
    if (w->is_full || (size_t)(w->end - w->at) < more || n >= 1 << 21) {
        w->is_full = true;
        return;
    }
    memmove(opened + more, opened, n);
    for (uint8_t *at = opened - 1; at < opened + more; at++, n >>= 7)
        *at = (uint8_t)((n & 0x7f) | (at < opened + more - 1 ? 0x80 : 0));
    w->at += more;
}

void wire_time(struct wire *w, unsigned field, uint64_t us) {
    uint8_t *time = wire_open(w, field);
    wire_uint(w, 1, us / 1000000);
    wire_uint(w, 2, us % 1000000 * 1000);
    wire_close(w, time);
}
