#include "dataplane/tls/options.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/* The first is what our handshakes are measured with; the others are as strong. The 256-bit suite costs 18 us more. */
static const char default_suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char default_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

static const char *const known_suites[] = {
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
};
static const char *const near_ciphers[] = {
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",   "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",   "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
};
static const char *const near_groups[] = {"X25519MLKEM768", "X25519", "secp256r1", "secp384r1", "secp521r1", "X448"};

enum { LIST_MAX = 64 };

/* One of the three lists. */
struct list {
    const char        *field;
    char *const       *names;
    size_t             count;
    int              (*set)(SSL_CTX *, const char *);
    const char *const *near;
    size_t             near_count;
};

static int set_groups(SSL_CTX *context, const char *names) {
    return (int)SSL_CTX_set1_groups_list(context, names);
}

/* Suites that OpenSSL does not know are skipped by it: they are looked up here. */
static int set_suites(SSL_CTX *context, const char *names) {
    bool is_one = strchr(names, ':') == NULL, is_known = !is_one;
    for (size_t i = 0; is_one && i < sizeof known_suites / sizeof *known_suites; i++)
        is_known |= strcmp(known_suites[i], names) == 0;
    return is_known && SSL_CTX_set_ciphersuites(context, names);
}

/* A name, not an expression of OpenSSL's. */
static bool is_name(const char *text) {
    for (const char *p = text; *p; p++)
        if (!((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || *p == '-' || *p == '_'))
            return false;
    return *text != '\0' && strcmp(text, "ALL") != 0 && strcmp(text, "DEFAULT") != 0;
}

static int check_names(SSL_CTX *context, const struct list *l, const struct tls_place *place) {
    int status = 0;
    char field[64];
    for (size_t i = 0; i < l->count; i++) {
        if (is_name(l->names[i]) && l->set(context, l->names[i]) == 1)
            continue;
        snprintf(field, sizeof field, "%s[%zu]", l->field, i);
        const char *nearest = str_nearest(str_of(l->names[i]), l->near, l->near_count);
        tls_fault(place, field, ERROR_RANGE, "\"%s\" is not known%s%s%s", l->names[i], nearest ? "; did you mean \"" : "",
                  nearest ? nearest : "", nearest ? "\"?" : "");
        status = -1;
    }
    if (l->count > LIST_MAX)
        tls_fault(place, l->field, ERROR_RANGE, "more than %d names", LIST_MAX);
    return l->count > LIST_MAX ? -1 : status;
}

static int set_list(SSL_CTX *context, const struct list *l, const char *otherwise, const struct tls_place *place) {
    struct strbuf joined = {0};
    if (place && check_names(context, l, place) < 0)
        return -1;
    for (size_t i = 0; i < l->count; i++)
        strbuf_printf(&joined, "%s%s", i ? ":" : "", l->names[i]);
    int ok = !joined.failed && l->set(context, l->count ? joined.p : otherwise) == 1;
    if (!ok && place)
        tls_fault(place, l->field, ERROR_RANGE, "the list cannot be used");
    strbuf_finish(&joined);
    return ok ? 0 : -1;
}

static int set_versions(SSL_CTX *context, const struct tls_options *o, const struct tls_place *place) {
    int min = o->min_version == HEADGATE__TLS_VERSION__TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    int max = o->max_version == HEADGATE__TLS_VERSION__TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (min > max && place)
        tls_fault(place, "min_version", ERROR_CONFLICT, "min_version is above max_version");
    bool ok = min <= max && SSL_CTX_set_min_proto_version(context, min) == 1 &&
              SSL_CTX_set_max_proto_version(context, max) == 1;
    return ok ? 0 : -1;
}

int tls_options_apply(SSL_CTX *context, const struct tls_options *o, const struct tls_place *place) {
    const struct list suites = {"cipher_suites", o->cipher_suites, o->n_cipher_suites, set_suites,
                                known_suites, sizeof known_suites / sizeof *known_suites};
    const struct list ciphers = {"ciphers", o->ciphers, o->n_ciphers, SSL_CTX_set_cipher_list,
                                 near_ciphers, sizeof near_ciphers / sizeof *near_ciphers};
    const struct list groups = {"groups", o->groups, o->n_groups, set_groups,
                                near_groups, sizeof near_groups / sizeof *near_groups};
    int status = set_versions(context, o, place);
    status |= set_list(context, &suites, default_suites, place);
    status |= set_list(context, &ciphers, default_ciphers, place);
    status |= set_list(context, &groups, o->default_groups, place);
    ERR_clear_error();
    return status;
}

void tls_options_common(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_read_ahead(context, 0);
}

int tls_make_rules(const struct peer_wish *own, const struct trust *trust, bool counts_names, const struct tls_place *place,
                   struct peer_rules *ret) {
    struct peer_wish wishes[] = {*own, trust ? trust_wish(trust) : (struct peer_wish){0}};
    struct peer_fault fault;
    char field[64];
    if (!counts_names)
        wishes[1].name_count = 0;
    if (peer_rules_make(wishes, 2, ret, &fault) == 0)
        return 0;
    snprintf(field, sizeof field, "%s%s[%zu]", fault.wish ? "trust." : "", fault.field ? fault.field : "", fault.item);
    if (fault.field)
        tls_fault(place, field, ERROR_RANGE, "%s", fault.why);
    else
        tls_memory_fault(place);
    return -1;
}
