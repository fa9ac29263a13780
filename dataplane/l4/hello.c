#include "dataplane/l4/hello.h"

#include <string.h>

#include "dataplane/l4/octets.h"

/* ---- frames ---- */

enum {
    FRAME_PADDING = 0x00, FRAME_PING = 0x01, FRAME_ACK = 0x02, FRAME_ACK_ECN = 0x03, FRAME_CRYPTO = 0x06,
    FRAME_CONNECTION_CLOSE = 0x1c,
};

static void put(struct pass_hello *h, size_t at, const uint8_t *bytes, size_t n) {
    memcpy(h->bytes + at, bytes, n);
    for (size_t i = at; i < at + n; i++)
        h->has[i / 8] |= (uint8_t)(1u << i % 8);
    while (h->n < PASS_HELLO_MAX && h->has[h->n / 8] >> h->n % 8 & 1)
        h->n++;
}

/* False: beyond what is looked at. */
static bool take_crypto(struct pass_hello *h, struct octets *o) {
    uint64_t at = octets_varint(o), n = octets_varint(o);
    const uint8_t *bytes = n <= octets_left(o) ? octets_take(o, (size_t)n) : NULL;
    if (!bytes) {
        o->failed = true;
        return true;
    }
    if (at > PASS_HELLO_MAX || n > PASS_HELLO_MAX - at)
        return false;
    put(h, (size_t)at, bytes, (size_t)n);
    return true;
}

static void skip_varints(struct octets *o, uint64_t count) {
    for (uint64_t i = 0; i < count && !o->failed; i++)
        octets_varint(o);
}

static void skip_ack(struct octets *o, bool has_ecn) {
    skip_varints(o, 2);
    uint64_t ranges = octets_varint(o);
    skip_varints(o, 1);
    for (uint64_t i = 0; i < ranges && !o->failed; i++)
        skip_varints(o, 2);
    skip_varints(o, has_ecn ? 3 : 0);
}

static void skip_close(struct octets *o) {
    skip_varints(o, 2);
    uint64_t reason = octets_varint(o);
    o->failed |= reason > octets_left(o);
    octets_take(o, (size_t)reason);
}

/* False: beyond what is looked at. */
static bool take_frame(struct pass_hello *h, struct octets *o) {
    uint64_t type = octets_varint(o);
    switch (type) {
    case FRAME_PADDING:
    case FRAME_PING: return true;
    case FRAME_ACK:
    case FRAME_ACK_ECN: skip_ack(o, type == FRAME_ACK_ECN); return true;
    case FRAME_CRYPTO: return take_crypto(h, o);
    case FRAME_CONNECTION_CLOSE: skip_close(o); return true;
    default: o->failed = true; return true;
    }
}

enum pass_frames pass_hello_take(struct pass_hello *h, const uint8_t *frames, size_t n) {
    struct octets o = {frames, frames + n, false};
    while (o.at < o.end && !o.failed)
        if (!take_frame(h, &o))
            return PASS_FRAMES_TOO_MUCH;
    return o.failed ? PASS_FRAMES_MALFORMED : PASS_FRAMES_TAKEN;
}

/* ---- the name ---- */

enum { CLIENT_HELLO = 1, SERVER_NAME = 0, HOST_NAME = 0, RANDOM = 32 };

/* A part of the message, by offsets: it ends at `end` by what it says, and `have` octets of the message have come. */
struct part {
    const uint8_t *bytes;
    size_t         at, end, have;
    bool           is_malformed, is_short;  /* final, and not yet */
};

static bool is_over(const struct part *p) {
    return p->is_malformed || p->is_short;
}

static const uint8_t *take(struct part *p, size_t n) {
    size_t from = p->at;
    if (is_over(p))
        return NULL;
    if (p->end - from < n)
        p->is_malformed = true;
    else if (from > p->have || p->have - from < n)
        p->is_short = true;
    else
        p->at += n;
    return is_over(p) ? NULL : p->bytes + from;
}

static size_t number(struct part *p, size_t n) {
    const uint8_t *from = take(p, n);
    size_t value = 0;
    for (size_t i = 0; from && i < n; i++)
        value = value << 8 | from[i];
    return value;
}

/* A vector whose length stands in so many octets. It is passed over; whether it has come is seen by who reads it, or what
 * stands behind it. */
static struct part vector(struct part *p, size_t length_octets) {
    size_t n = number(p, length_octets);
    p->is_malformed |= !is_over(p) && p->end - p->at < n;
    struct part v = *p;
    if (is_over(p))
        return v;
    v.end = p->at += n;
    return v;
}

static enum pass_verdict unfinished(const struct part *p) {
    return p->is_malformed ? PASS_NAME_MALFORMED : PASS_NAME_MORE;
}

/* The list has one name: others are of types that nobody has defined. */
static enum pass_verdict read_names(struct part extension, struct str *ret) {
    struct part list = vector(&extension, 2);
    size_t type = number(&list, 1);
    struct part name = vector(&list, 2);
    size_t n = name.end - name.at;
    const uint8_t *bytes = take(&name, n);
    if (!bytes)
        return unfinished(&name);
    if (type != HOST_NAME || n == 0)
        return PASS_NAME_MALFORMED;
    *ret = (struct str){(const char *)bytes, n};
    return PASS_NAME_FOUND;
}

static enum pass_verdict read_extensions(struct part list, struct str *ret) {
    while (!is_over(&list) && list.at < list.end) {
        size_t type = number(&list, 2);
        struct part extension = vector(&list, 2);
        if (!is_over(&list) && type == SERVER_NAME)
            return read_names(extension, ret);
    }
    if (is_over(&list))
        return unfinished(&list);
    return list.at > list.have ? PASS_NAME_MORE : PASS_NAME_NONE;
}

enum pass_verdict pass_hello_name(const uint8_t *bytes, size_t n, struct str *ret_name) {
    struct part p = {.bytes = bytes, .end = 4, .have = n};
    if (n && bytes[0] != CLIENT_HELLO)
        return PASS_NAME_MALFORMED;
    take(&p, 1);
    p.end += number(&p, 3);
    take(&p, 2 + RANDOM);
    vector(&p, 1); /* session id */
    vector(&p, 2); /* cipher suites */
    vector(&p, 1); /* compression methods */
    if (is_over(&p))
        return unfinished(&p);
    if (p.at == p.end)
        return p.at > p.have ? PASS_NAME_MORE : PASS_NAME_NONE; /* before TLS 1.3; nobody speaks that over QUIC */
    struct part extensions = vector(&p, 2);
    return is_over(&p) ? unfinished(&p) : read_extensions(extensions, ret_name);
}
