#include "controlplane/discovery/endpoints.h"

static const struct blob *find(const struct part *part, const char *cluster) {
    ssize_t at = part_find(part, HEADGATE__KIND__KIND_ENDPOINT_SET, cluster);
    return at < 0 ? NULL : part_body(part, at);
}

static Headgate__EndpointSet *decode(const struct part *part, const char *cluster) {
    const struct blob *body = find(part, cluster);
    return body ? headgate__endpoint_set__unpack(NULL, body->size, body->bytes) : NULL;
}

void cluster_endpoints_init(struct cluster_endpoints *ret, const struct snapshot *s, const char *cluster) {
    *ret = (struct cluster_endpoints){.set = decode(s->state, cluster), .source = "state"};
    if (!ret->set)
        *ret = (struct cluster_endpoints){.set = decode(s->intent, cluster), .source = "static"};
}

void cluster_endpoints_finish(struct cluster_endpoints *e) {
    if (e->set)
        headgate__endpoint_set__free_unpacked(e->set, NULL);
    *e = (struct cluster_endpoints){0};
}

/* ---- bytes ----
 * As the encoding of protocol buffers has them: a tag, then a number, so many bytes, or a length and what it is of. */

enum { ENDPOINTS_FIELD = 1, HEALTH_FIELD = 3 };
enum { WIRE_NUMBER = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct field {
    uint64_t number;
    unsigned wire;
    uint64_t value;                 /* of a number, or the size of bytes */
    const uint8_t *bytes;
};

static bool take_number(const uint8_t **at, const uint8_t *end, uint64_t *ret) {
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool take_field(const uint8_t **at, const uint8_t *end, struct field *ret) {
    uint64_t tag, size;
    if (!take_number(at, end, &tag))
        return false;
    *ret = (struct field){.number = tag >> 3, .wire = tag & 7};
    switch (ret->wire) {
    case WIRE_NUMBER: return take_number(at, end, &ret->value);
    case WIRE_64: size = 8; break;
    case WIRE_32: size = 4; break;
    case WIRE_BYTES:
        if (!take_number(at, end, &size))
            return false;
        break;
    default: return false;
    }
    if (size > (uint64_t)(end - *at))
        return false;
    ret->bytes = *at;
    ret->value = size;
    *at += size;
    return true;
}

void endpoint_reader_begin(struct endpoint_reader *ret, const uint8_t *bytes, size_t size) {
    *ret = (struct endpoint_reader){.at = bytes, .end = bytes + size, .source = "state"};
}

void endpoint_reader_init(struct endpoint_reader *ret, const struct snapshot *s, const char *cluster) {
    const struct blob *in_state = find(s->state, cluster), *body = in_state ? in_state : find(s->intent, cluster);
    static const uint8_t none[1];
    endpoint_reader_begin(ret, body ? body->bytes : none, body ? body->size : 0);
    ret->source = in_state ? "state" : "static";
}

bool endpoint_reader_next(struct endpoint_reader *r, const uint8_t **ret, size_t *ret_size) {
    struct field f;
    while (take_field(&r->at, r->end, &f))
        if (f.number == ENDPOINTS_FIELD && f.wire == WIRE_BYTES) {
            *ret = f.bytes;
            *ret_size = f.value;
            return true;
        }
    return false;
}

/* The last one counts, as for whoever decodes it. */
Headgate__Endpoint__Health endpoint_health_of(const uint8_t *bytes, size_t size) {
    const uint8_t *end = bytes + size;
    struct field f;
    Headgate__Endpoint__Health health = HEADGATE__ENDPOINT__HEALTH__UNKNOWN;
    while (take_field(&bytes, end, &f))
        if (f.number == HEALTH_FIELD && f.wire == WIRE_NUMBER)
            health = (Headgate__Endpoint__Health)f.value;
    return health;
}
