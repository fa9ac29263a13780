#include "dataplane/snapshot/sticky.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "common/secret_memory.h"
#include "dataplane/http/fields.h"
#include "dataplane/tls/secrets.h"

enum { KEY_SIZE = 32, SIGNED_MAX = RESOURCE_NAME_MAX + 1 + ADDRESS_TEXT_MAX, SECOND = 1000000 };

struct keys {
    uint8_t  bytes[STICKY_KEYS_MOST][KEY_SIZE];
    uint32_t count;
};

const struct resource *snapshot_sticky_secret(const struct resource_set *resources) {
    return resource_set_find(resources, HEADGATE__KIND__KIND_SECRET, TLS_TICKET_SECRET);
}

static void fault(struct error_list *errors, const char *name, const char *path, enum error_code code, const char *message) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "cluster/%s", name);
    error_set_resource(errors, error_addf(errors, code, "%s", message), resource, path);
}

/* Nobody who sees cookies learns anything of the key that tickets are authenticated with. */
static int derive(const Headgate__TicketKey *from, uint8_t ret[KEY_SIZE]) {
    static const char purpose[] = "headgate sticky cookie";
    unsigned size = KEY_SIZE;
    return HMAC(EVP_sha256(), from->mac_key.data, (int)from->mac_key.len, (const uint8_t *)purpose, sizeof purpose - 1, ret,
                &size)
               ? 0
               : -1;
}

static int derive_all(const Headgate__TicketKeys *m, struct keys *ret) {
    for (size_t i = 0; m && i < m->n_keys && i < STICKY_KEYS_MOST; i++, ret->count++)
        if (derive(m->keys[i], ret->bytes[i]) < 0)
            return -1;
    return ret->count ? 0 : -1;
}

/* Of the cluster's name, a NUL, and the address. */
static int sign(const uint8_t key[KEY_SIZE], const char *cluster, struct str address, uint8_t ret[STICKY_MAC]) {
    char message[SIGNED_MAX];
    uint8_t whole[EVP_MAX_MD_SIZE];
    unsigned size = sizeof whole;
    size_t n = strlen(cluster) + 1;
    if (n + address.n > sizeof message)
        return -1;
    memcpy(message, cluster, n);
    memcpy(message + n, address.p, address.n);
    if (!HMAC(EVP_sha256(), key, KEY_SIZE, (const uint8_t *)message, n + address.n, whole, &size))
        return -1;
    memcpy(ret, whole, STICKY_MAC);
    return 0;
}

/* Where the same endpoint's signatures are in the previous definition, or NO_PLACE. */
static uint32_t place_before(const struct cluster_members *m, uint32_t place, const struct cluster_definition *previous) {
    if (!previous || !previous->sticky)
        return NO_PLACE;
    if (previous->members == m)
        return place;
    return m->previous_serial == previous->members->serial ? m->previous[place] : NO_PLACE;
}

static int sign_all(uint8_t (*macs)[STICKY_MAC], const struct keys *keys, const char *cluster,
                    const struct cluster_members *m, const struct cluster_definition *previous) {
    for (uint32_t i = 0; i < m->count; i++) {
        uint32_t before = place_before(m, i, previous);
        uint8_t (*own)[STICKY_MAC] = macs + (size_t)i * keys->count;
        if (before != NO_PLACE)
            memcpy(own, previous->sticky->macs + (size_t)before * keys->count, keys->count * sizeof *own);
        for (uint32_t k = 0; before == NO_PLACE && k < keys->count; k++)
            if (sign(keys->bytes[k], cluster, m->endpoints[i].text, own[k]) < 0)
                return -1;
    }
    return 0;
}

/* What would end the cookie's name or path, or the field. */
static bool is_cookie_text(const char *text, const char *not_these) {
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || strchr(not_these, *p))
            return false;
    return *text != '\0';
}

static int check(const Headgate__StickyCookie *m, const char *name, struct error_list *errors) {
    size_t before = errors->count;
    if (!is_cookie_text(m->name, "()<>@,;:\\\"/[]?={}"))
        fault(errors, name, "sticky.name", ERROR_SYNTAX, "not the name of a cookie");
    if (!is_cookie_text(m->path, ";") || m->path[0] != '/')
        fault(errors, name, "sticky.path", ERROR_SYNTAX, "not a path");
    return errors->count == before ? 0 : -1;
}

static int fill(struct sticky *s, struct arena *arena, const Headgate__StickyCookie *m, const struct keys *keys,
                const char *cluster, const struct cluster_members *members, const struct cluster_definition *previous) {
    uint8_t (*macs)[STICKY_MAC] = arena_alloc(arena, ((size_t)members->count * keys->count + 1) * sizeof *macs);
    *s = (struct sticky){.name = arena_str(arena, str_of(m->name)), .path = arena_str(arena, str_of(m->path)),
                         .max_age = m->max_age / SECOND, .secure = m->secure, .key_count = keys->count, .macs = macs};
    if (!macs || !s->name.p || !s->path.p)
        return -1;
    return sign_all(macs, keys, cluster, members, previous);
}

const struct sticky *snapshot_sticky_make(struct arena *arena, const struct resource *cluster, const struct resource *secret,
                                          const struct cluster_members *members, const struct cluster_definition *previous,
                                          struct error_list *errors) {
    const Headgate__StickyCookie *m = ((const Headgate__Cluster *)cluster->message)->sticky;
    const Headgate__Secret *s = secret ? (const Headgate__Secret *)secret->message : NULL;
    struct sticky *made = arena_alloc(arena, sizeof *made);
    struct keys keys = {.count = 0};
    if (check(m, cluster->name, errors) < 0 || !made)
        return NULL;
    if (!s || derive_all(s->ticket_keys, &keys) < 0) {
        fault(errors, cluster->name, "sticky", ERROR_REFERENCE,
              "the secret \"" TLS_TICKET_SECRET "\", which signs it, is missing");
        return NULL;
    }
    int status = fill(made, arena, m, &keys, cluster->name, members, previous);
    secret_clear(&keys, sizeof keys);
    return status == 0 ? made : NULL;
}
