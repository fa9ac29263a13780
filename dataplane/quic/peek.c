#include "dataplane/quic/peek.h"

#include <string.h>

/* A cursor that stays at its end once something is missing. */
struct cursor {
    const uint8_t *at, *end;
    bool           is_cut;
};

static uint64_t take_number(struct cursor *c) {
    size_t n = c->at < c->end ? (size_t)1 << (*c->at >> 6) : 1; /* RFC 9000 section 16 */
    if ((size_t)(c->end - c->at) < n) {
        c->is_cut = true;
        return 0;
    }
    uint64_t value = *c->at++ & 0x3f;
    while (--n > 0)
        value = value << 8 | *c->at++;
    return value;
}

static void skip(struct cursor *c, uint64_t n) {
    if ((uint64_t)(c->end - c->at) < n)
        c->is_cut = true;
    else
        c->at += n;
}

static void skip_numbers(struct cursor *c, unsigned n) {
    while (n-- > 0 && !c->is_cut)
        take_number(c);
}

static void skip_ack(struct cursor *c, bool has_ecn) {
    skip_numbers(c, 2);
    uint64_t ranges = take_number(c);
    skip_numbers(c, 1);
    for (; ranges > 0 && !c->is_cut; ranges--)
        skip_numbers(c, 2);
    skip_numbers(c, has_ecn ? 3 : 0);
}

static void skip_stream(struct cursor *c, uint64_t type) {
    skip_numbers(c, type & 4 ? 2 : 1);
    skip(c, type & 2 ? take_number(c) : (uint64_t)(c->end - c->at));
}

/* A unidirectional stream of this side. */
static bool is_ours(uint64_t id, bool is_server) {
    return (id & 3) == (is_server ? 3 : 2);
}

static void read_reset(struct quic_peeked *p, bool is_server, struct cursor *c) {
    uint64_t id = take_number(c);
    skip_numbers(c, 2);
    p->resets_ours |= !c->is_cut && is_ours(id, is_server);
}

/* The last place is for a stream of ours: that ends a connection of HTTP/3, whatever else is stopped. */
static void read_stop(struct quic_peeked *p, bool is_server, struct cursor *c) {
    uint64_t id = take_number(c), code = take_number(c);
    size_t most = is_ours(id, is_server) ? QUIC_STOPS_MAX : QUIC_STOPS_MAX - 1;
    if (!c->is_cut && p->stop_count < most)
        p->stops[p->stop_count++] = (struct quic_stop){(int64_t)id, code};
}

/* Frames that are numbers alone: how many behind the type (section 19); 0xff: others. */
static unsigned count_numbers(uint64_t type) {
    static const uint8_t counts[] = {
        [0x00] = 0, [0x01] = 0, [0x10] = 1, [0x11] = 2, [0x12] = 1, [0x13] = 1, [0x14] = 1, [0x15] = 2, [0x16] = 1,
        [0x17] = 1, [0x19] = 1, [0x1e] = 0, [0x02] = 0xff, [0x03] = 0xff, [0x04] = 0xff, [0x05] = 0xff, [0x06] = 0xff,
        [0x07] = 0xff, [0x08] = 0xff, [0x09] = 0xff, [0x0a] = 0xff, [0x0b] = 0xff, [0x0c] = 0xff, [0x0d] = 0xff,
        [0x0e] = 0xff, [0x0f] = 0xff, [0x18] = 0xff, [0x1a] = 0xff, [0x1b] = 0xff, [0x1c] = 0xff, [0x1d] = 0xff,
    };
    return type < sizeof counts ? counts[type] : 0xff;
}

static void read_other(struct quic_peeked *p, bool is_server, struct cursor *c, uint64_t type) {
    switch (type) {
    case 0x02:
    case 0x03:
        skip_ack(c, type == 0x03);
        break;
    case 0x04:
        read_reset(p, is_server, c);
        break;
    case 0x05:
        read_stop(p, is_server, c);
        break;
    case 0x06: /* CRYPTO */
        skip_numbers(c, 1);
        skip(c, take_number(c));
        break;
    case 0x07: /* NEW_TOKEN */
        skip(c, take_number(c));
        break;
    case 0x18: /* NEW_CONNECTION_ID */
        skip_numbers(c, 2);
        skip(c, c->at < c->end ? 1u + *c->at + 16 : 1);
        break;
    case 0x1a: /* PATH_CHALLENGE, PATH_RESPONSE */
    case 0x1b:
        skip(c, 8);
        break;
    case 0x30: /* DATAGRAM (RFC 9221), which nobody here reads; to the packet's end, or with its length */
        c->at = c->end;
        break;
    case 0x31:
        skip(c, take_number(c));
        break;
    default:
        if (type >= 0x08 && type <= 0x0f)
            skip_stream(c, type);
        else
            c->is_cut = true;
    }
}

void quic_peek(struct quic_peeked *p, bool is_server, const uint8_t *payload, size_t n) {
    if (n > 0 && !memchr(payload, 0x04, n) && !memchr(payload, 0x05, n))
        return; /* most packets of a client: acknowledgements */
    struct cursor c = {payload, payload + n, false};
    while (c.at < c.end && !c.is_cut) {
        uint64_t type = take_number(&c);
        unsigned numbers = count_numbers(type);
        if (c.is_cut)
            return;
        if (numbers == 0xff)
            read_other(p, is_server, &c, type);
        else
            skip_numbers(&c, numbers);
    }
}
