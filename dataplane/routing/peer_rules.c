#include "dataplane/routing/peer_rules.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/alloc.h"

enum { HASH_SIZE = 32, HEX_SIZE = 2 * HASH_SIZE, BASE64_SIZE = 44 };

struct pin {
    bool    is_key;
    uint8_t hash[HASH_SIZE];
};

struct peer_pins {
    size_t     count;
    struct pin items[];
};

/* ---- reading ---- */

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, uint8_t hash[HASH_SIZE]) {
    if (strlen(text) != HEX_SIZE)
        return false;
    for (size_t i = 0; i < HASH_SIZE; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_base64(const char *text, uint8_t hash[HASH_SIZE]) {
    uint8_t room[BASE64_SIZE], again[BASE64_SIZE + 1];
    bool is_right = strlen(text) == BASE64_SIZE && text[BASE64_SIZE - 1] == '=' &&
                    EVP_DecodeBlock(room, (const uint8_t *)text, BASE64_SIZE) == HASH_SIZE + 1; /* with a 0 for the "=" */
    ERR_clear_error();
    if (!is_right)
        return false;
    EVP_EncodeBlock(again, room, HASH_SIZE);
    memcpy(hash, room, HASH_SIZE);
    return memcmp(again, text, BASE64_SIZE) == 0; /* else it has bits that say nothing */
}

/* ---- making ---- */

static int fail(struct peer_fault *fault, size_t wish, const char *field, size_t item, const char *why) {
    *fault = (struct peer_fault){.wish = wish, .field = field, .item = item};
    snprintf(fault->why, sizeof fault->why, "%s", why);
    return -1;
}

static int fail_for_memory(struct peer_fault *fault) {
    return fail(fault, 0, NULL, 0, "no memory");
}

static int add_pins(struct peer_pins *to, const Headgate__CertificatePins *from, size_t wish, struct peer_fault *fault) {
    for (size_t i = 0; i < from->n_certificates; i++)
        if (!read_hex(from->certificates[i], to->items[to->count++].hash))
            return fail(fault, wish, "pins.certificates", i, "not 64 hexadecimal digits");
    for (size_t i = 0; i < from->n_keys; i++) {
        struct pin *pin = &to->items[to->count++];
        pin->is_key = true;
        if (!read_base64(from->keys[i], pin->hash))
            return fail(fault, wish, "pins.keys", i, "not 32 octets in base64");
    }
    return 0;
}

static int make_pins(const struct peer_wish *wishes, size_t count, struct peer_pins **ret, struct peer_fault *fault) {
    size_t all = 0;
    bool is_any = false;
    for (size_t i = 0; i < count; i++) {
        is_any |= wishes[i].pins != NULL;
        all += wishes[i].pins ? wishes[i].pins->n_certificates + wishes[i].pins->n_keys : 0;
    }
    if (!is_any)
        return 0;
    if (all == 0 || all > PEER_PINS_MAX)
        return fail(fault, 0, "pins", 0, all ? "there are too many" : "there is none");
    struct peer_pins *pins = hg_calloc(1, sizeof *pins + all * sizeof *pins->items);
    if (!pins)
        return fail_for_memory(fault);
    for (size_t i = 0; i < count; i++)
        if (wishes[i].pins && add_pins(pins, wishes[i].pins, i, fault) < 0) {
            hg_free(pins);
            return -1;
        }
    *ret = pins;
    return 0;
}

static void find_wish(const struct peer_wish *wishes, size_t at, struct peer_fault *fault) {
    fault->wish = 0;
    for (; at >= wishes[fault->wish].name_count; fault->wish++)
        at -= wishes[fault->wish].name_count;
    fault->item = at;
}

static int make_names(const struct peer_wish *wishes, size_t count, struct peer_names **ret, struct peer_fault *fault) {
    size_t all = 0, at = 0, bad;
    for (size_t i = 0; i < count; i++)
        all += wishes[i].name_count;
    if (all == 0)
        return 0;
    Headgate__NameMatch **list = hg_malloc(all * sizeof *list);
    if (!list)
        return fail_for_memory(fault);
    for (size_t i = 0; i < count; i++) {
        if (wishes[i].name_count)
            memcpy(list + at, wishes[i].names, wishes[i].name_count * sizeof *list);
        at += wishes[i].name_count;
    }
    *fault = (struct peer_fault){.field = "match_names"};
    *ret = peer_names_create(list, all, &bad, fault->why);
    hg_free(list);
    if (*ret)
        return 0;
    if (!fault->why[0])
        return fail_for_memory(fault);
    find_wish(wishes, bad, fault);
    return -1;
}

int peer_rules_make(const struct peer_wish *wishes, size_t count, struct peer_rules *ret, struct peer_fault *ret_fault) {
    struct peer_rules made = {0};
    if (make_names(wishes, count, &made.names, ret_fault) < 0 || make_pins(wishes, count, &made.pins, ret_fault) < 0) {
        peer_rules_finish(&made);
        return -1;
    }
    *ret = made;
    return 0;
}

void peer_rules_finish(struct peer_rules *rules) {
    peer_names_destroy(rules->names);
    hg_free(rules->pins);
    *rules = (struct peer_rules){0};
}

/* ---- a certificate ---- */

static bool hash_of_key(X509 *certificate, uint8_t ret[HASH_SIZE]) {
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    bool is_made = n > 0 && EVP_Digest(der, (size_t)n, ret, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    return is_made;
}

bool peer_pins_fit(const struct peer_pins *pins, X509 *certificate) {
    uint8_t of_certificate[HASH_SIZE], of_key[HASH_SIZE];
    bool is_found = !pins, is_hashed = pins && X509_digest(certificate, EVP_sha256(), of_certificate, NULL) == 1 &&
                                       hash_of_key(certificate, of_key);
    for (size_t i = 0; is_hashed && i < pins->count && !is_found; i++)
        is_found = memcmp(pins->items[i].hash, pins->items[i].is_key ? of_key : of_certificate, HASH_SIZE) == 0;
    ERR_clear_error();
    return is_found;
}

int peer_rules_verify(const struct peer_rules *rules, int is_good, X509_STORE_CTX *store) {
    is_good = peer_names_verify(rules->names, is_good, store);
    if (!is_good || !rules->pins || X509_STORE_CTX_get_error_depth(store) != 0 ||
        peer_pins_fit(rules->pins, X509_STORE_CTX_get0_cert(store)))
        return is_good;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
}

int peer_rules_verify_pins_only(const struct peer_rules *rules, X509_STORE_CTX *store) {
    bool is_pinned = rules->pins && peer_pins_fit(rules->pins, X509_STORE_CTX_get0_cert(store));
    X509_STORE_CTX_set_error(store, is_pinned ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    return is_pinned;
}
