#include "dataplane/routing/peer_names.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/alloc.h"
#include "dataplane/routing/regex.h"

struct matcher {
    Headgate__NameMatch__Type     type;
    Headgate__NameMatch__KindCase kind;
    bool                          ignores_case;
    char                         *text;     /* in small letters where case does not count */
    struct regex                 *regex;
};

struct peer_names {
    size_t         count;
    struct matcher matchers[];
};

/* ---- making ---- */

static void make_small(char *text) {
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

static const char *text_of(const Headgate__NameMatch *m) {
    switch (m->kind_case) {
    case HEADGATE__NAME_MATCH__KIND_EXACT: return m->exact;
    case HEADGATE__NAME_MATCH__KIND_PREFIX: return m->prefix;
    case HEADGATE__NAME_MATCH__KIND_SUFFIX: return m->suffix;
    case HEADGATE__NAME_MATCH__KIND_CONTAINS: return m->contains;
    case HEADGATE__NAME_MATCH__KIND_REGEX: return m->regex;
    default: return NULL;
    }
}

static int make_regex(struct matcher *to, char why[128]) {
    size_t offset;
    to->regex = regex_create(str_of(to->text), REGEX_WHOLE, &offset, why);
    return to->regex ? 0 : -1;
}

static int make_matcher(const Headgate__NameMatch *m, struct matcher *to, char why[128]) {
    const char *text = text_of(m);
    bool is_regex = m->kind_case == HEADGATE__NAME_MATCH__KIND_REGEX;
    why[0] = '\0';
    if (!text || !*text || (is_regex && m->ignore_case)) {
        snprintf(why, 128, "%s", is_regex ? "a regular expression says itself what case means"
                                          : "there is nothing to compare with");
        return -1;
    }
    *to = (struct matcher){.type = m->type, .kind = m->kind_case, .text = hg_strdup(text),
                           .ignores_case = m->ignore_case || m->type == HEADGATE__NAME_MATCH__TYPE__DNS};
    if (!to->text)
        return -1;
    if (is_regex)
        return make_regex(to, why);
    if (to->ignores_case)
        make_small(to->text);
    return 0;
}

struct peer_names *peer_names_create(Headgate__NameMatch *const *matches, size_t count, size_t *ret_bad, char why[128]) {
    struct peer_names *names = hg_calloc(1, sizeof *names + count * sizeof *names->matchers);
    why[0] = '\0';
    *ret_bad = 0;
    if (!names)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        names->count = i + 1;
        if (make_matcher(matches[i], &names->matchers[i], why) == 0)
            continue;
        *ret_bad = i;
        peer_names_destroy(names);
        return NULL;
    }
    return names;
}

void peer_names_destroy(struct peer_names *names) {
    for (size_t i = 0; names && i < names->count; i++) {
        hg_free(names->matchers[i].text);
        regex_destroy(names->matchers[i].regex);
    }
    hg_free(names);
}

/* ---- one name ---- */

/* A handshake comes here once or twice, so the memory is not kept. */
static bool regex_fits(const struct regex *regex, struct str name) {
    struct regex_scratch *scratch = regex_scratch_create();
    bool fits = scratch && regex_match(regex, name, 0, true, scratch) == REGEX_YES;
    regex_scratch_destroy(scratch);
    return fits;
}

static bool text_fits(const struct matcher *m, struct str name) {
    struct str text = str_of(m->text);
    switch (m->kind) {
    case HEADGATE__NAME_MATCH__KIND_EXACT: return str_eq(name, text);
    case HEADGATE__NAME_MATCH__KIND_PREFIX: return str_starts(name, text);
    case HEADGATE__NAME_MATCH__KIND_SUFFIX: return str_ends(name, text);
    case HEADGATE__NAME_MATCH__KIND_CONTAINS: return memmem(name.p, name.n, text.p, text.n);
    case HEADGATE__NAME_MATCH__KIND_REGEX: return regex_fits(m->regex, name);
    default: return false;
    }
}

static bool name_fits(const struct matcher *m, const char *name) {
    char *small = m->ignores_case ? hg_strdup(name) : NULL;
    if (m->ignores_case && !small)
        return false;
    if (small)
        make_small(small);
    bool fits = text_fits(m, str_of(small ? small : name));
    hg_free(small);
    return fits;
}

/* Of a name of this type; NULL: it is none, or not a text. */
static const char *text_of_name(const GENERAL_NAME *name, Headgate__NameMatch__Type type, char room[INET6_ADDRSTRLEN]) {
    static const int kinds[] = {
        [HEADGATE__NAME_MATCH__TYPE__DNS] = GEN_DNS, [HEADGATE__NAME_MATCH__TYPE__URI] = GEN_URI,
        [HEADGATE__NAME_MATCH__TYPE__EMAIL] = GEN_EMAIL, [HEADGATE__NAME_MATCH__TYPE__IP] = GEN_IPADD};
    int kind;
    if ((unsigned)type >= sizeof kinds / sizeof *kinds)
        return NULL;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &kind);
    const unsigned char *bytes = kind == kinds[type] ? ASN1_STRING_get0_data(value) : NULL;
    size_t n = bytes ? (size_t)ASN1_STRING_length(value) : 0;
    if (bytes && kind == GEN_IPADD)
        return n == 4 || n == 16 ? inet_ntop(n == 4 ? AF_INET : AF_INET6, bytes, room, INET6_ADDRSTRLEN) : NULL;
    return bytes && strnlen((const char *)bytes, n) == n ? (const char *)bytes : NULL; /* OpenSSL puts a NUL behind it */
}

/* ---- a certificate ---- */

/* OpenSSL knows wildcards, and what an address may look like. A name that begins with a dot is none of a host: it would take
 * that for all names below. */
static bool exact_fits(const struct matcher *m, const X509 *certificate) {
    X509 *x = (X509 *)(uintptr_t)certificate;
    unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    if (m->type == HEADGATE__NAME_MATCH__TYPE__DNS)
        return m->text[0] != '.' && X509_check_host(x, m->text, strlen(m->text), flags, NULL) == 1;
    return X509_check_ip_asc(x, m->text, 0) == 1;
}

static bool any_fits(const struct matcher *m, const GENERAL_NAMES *names) {
    char room[INET6_ADDRSTRLEN];
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const char *name = text_of_name(sk_GENERAL_NAME_value(names, i), m->type, room);
        if (name && name_fits(m, name))
            return true;
    }
    return false;
}

static bool fits(const struct matcher *m, const X509 *certificate, const GENERAL_NAMES *names) {
    bool is_known = m->type == HEADGATE__NAME_MATCH__TYPE__DNS || m->type == HEADGATE__NAME_MATCH__TYPE__IP;
    if (is_known && m->kind == HEADGATE__NAME_MATCH__KIND_EXACT)
        return exact_fits(m, certificate);
    return any_fits(m, names);
}

bool peer_names_fit(const struct peer_names *names, const X509 *certificate) {
    GENERAL_NAMES *own = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool is_found = false;
    for (size_t i = 0; own && i < names->count && !is_found; i++)
        is_found = fits(&names->matchers[i], certificate, own);
    GENERAL_NAMES_free(own);
    ERR_clear_error();
    return is_found;
}

int peer_names_verify(const struct peer_names *names, int is_good, X509_STORE_CTX *store) {
    if (!is_good || !names || X509_STORE_CTX_get_error_depth(store) != 0 ||
        peer_names_fit(names, X509_STORE_CTX_get0_cert(store)))
        return is_good;
    X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
    return 0;
}
