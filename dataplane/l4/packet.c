#include "dataplane/l4/packet.h"

#include "dataplane/l4/octets.h"

static int read_short(const uint8_t *bytes, size_t n, struct pass_packet *ret) {
    size_t most = n - 1 < PASS_ID_MAX ? n - 1 : PASS_ID_MAX;
    *ret = (struct pass_packet){.kind = PASS_SHORT, .dcid = bytes + 1, .dcid_n = most, .n = n};
    return 0;
}

/* The two bits mean something else in each version. */
static enum pass_packet_kind kind_of(uint32_t version, uint8_t first) {
    static const enum pass_packet_kind v1[] = {PASS_INITIAL, PASS_ZERO_RTT, PASS_HANDSHAKE, PASS_RETRY};
    unsigned type = first >> 4 & 3;
    switch (version) {
    case 0: return PASS_NEGOTIATION;
    case PASS_VERSION_1: return v1[type];
    case PASS_VERSION_2: return v1[(type + 3) & 3];
    default: return PASS_UNKNOWN;
    }
}

/* Behind the connection IDs of version 1 and 2. A Retry, and what cannot be read, goes to the end. */
static void read_rest(struct octets *o, const uint8_t *bytes, struct pass_packet *p) {
    if (p->kind == PASS_INITIAL) {
        uint64_t token = octets_varint(o);
        p->token_n = token <= octets_left(o) ? (size_t)token : 0;
        octets_take(o, (size_t)token);
    }
    uint64_t length = octets_varint(o);
    p->number_at = (size_t)(o->at - bytes);
    octets_take(o, (size_t)length);
    p->n = (size_t)(o->at - bytes);
}

static bool has_length(enum pass_packet_kind kind) {
    return kind == PASS_INITIAL || kind == PASS_ZERO_RTT || kind == PASS_HANDSHAKE;
}

static int read_long(const uint8_t *bytes, size_t n, struct pass_packet *ret) {
    struct octets o = {bytes + 1, bytes + n, false};
    struct pass_packet p = {.version = (uint32_t)octets_number(&o, 4), .n = n};
    p.kind = kind_of(p.version, bytes[0]);
    p.dcid_n = octets_number(&o, 1);
    p.dcid = octets_take(&o, p.dcid_n);
    p.scid_n = octets_number(&o, 1);
    p.scid = octets_take(&o, p.scid_n);
    bool is_known = p.version == PASS_VERSION_1 || p.version == PASS_VERSION_2;
    if (is_known && (p.dcid_n > PASS_ID_MAX || p.scid_n > PASS_ID_MAX))
        return -1;
    if (has_length(p.kind))
        read_rest(&o, bytes, &p);
    if (o.failed)
        return -1;
    *ret = p;
    return 0;
}

int pass_packet_read(const uint8_t *bytes, size_t n, struct pass_packet *ret) {
    if (n < 2)
        return -1;
    return bytes[0] & 0x80 ? read_long(bytes, n, ret) : read_short(bytes, n, ret);
}
