#include "dataplane/back/sticky.h"

#include <stdio.h>

#include "dataplane/back/request_hash.h"

struct value {
    uint64_t id;
    uint8_t  mac[STICKY_MAC];
};

static bool parse(struct str text, struct value *ret) {
    uint8_t bytes[STICKY_VALUE / 2];
    if (hex_decode(text, bytes, sizeof bytes) < 0)
        return false;
    ret->id = 0;
    for (unsigned i = 0; i < 8; i++)
        ret->id = ret->id << 8 | bytes[i];
    memcpy(ret->mac, bytes + 8, STICKY_MAC);
    return true;
}

/* The time that it takes says nothing of where the first difference is. */
static bool is_equal(const uint8_t *a, const uint8_t *b) {
    unsigned difference = 0;
    for (unsigned i = 0; i < STICKY_MAC; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

static const uint8_t *mac_of(const struct cluster_definition *d, uint32_t place, uint32_t key) {
    return d->sticky->macs[(size_t)place * d->sticky->key_count + key];
}

void sticky_read(const struct exchange *x, const struct cluster_definition *d, struct pick *p) {
    struct str text;
    struct value value;
    if (!d->sticky || !request_cookie(&x->request.head->fields, d->sticky->name, &text) || !parse(text, &value))
        return;
    uint32_t place = cluster_find_id(d->members, value.id);
    for (uint32_t key = 0; place != NO_PLACE && key < d->sticky->key_count; key++)
        if (is_equal(mac_of(d, place, key), value.mac)) {
            p->sticky = value.id;
            p->sticky_is_newest = key == 0;
            return;
        }
}

static void format(uint64_t id, const uint8_t *mac, char text[STICKY_VALUE + 1]) {
    uint8_t bytes[STICKY_VALUE / 2];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(id >> (56 - 8 * i));
    memcpy(bytes + 8, mac, STICKY_MAC);
    hex_encode(bytes, sizeof bytes, text);
}

/* RFC 6265 section 4.1. Scripts have no use for it, and other sites' requests need not carry it. */
int sticky_write(struct exchange *x, const struct cluster_definition *d, const struct pick *p,
                 const struct endpoint_runtime *e, struct head *response) {
    const struct sticky *s = d->sticky;
    uint64_t id = s ? endpoint_id(str_of(e->text)) : 0;
    uint32_t place = s ? cluster_find_id(d->members, id) : NO_PLACE;
    char value[STICKY_VALUE + 1], max_age[40] = "";
    if (place == NO_PLACE || (p->sticky == id && p->sticky_is_newest))
        return 0;
    format(id, mac_of(d, place, 0), value);
    if (s->max_age)
        snprintf(max_age, sizeof max_age, "; Max-Age=%llu", (unsigned long long)s->max_age);
    char *text = arena_printf(&x->arena, "%.*s=%s; Path=%.*s%s; HttpOnly; SameSite=Lax%s", STR_FMT(s->name), value,
                              STR_FMT(s->path), max_age, s->secure ? "; Secure" : "");
    return text ? fields_add_id(&response->fields, &x->arena, FIELD_SET_COOKIE, str_of(text)) : -1;
}
