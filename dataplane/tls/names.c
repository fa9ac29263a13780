#include "dataplane/tls/names.h"

#include <openssl/x509v3.h>

#include "common/alloc.h"

static bool is_host_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

struct str tls_name_canonical(struct str name, char room[DNS_NAME_MAX + 1]) {
    const struct str none = {"", 0};
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > DNS_NAME_MAX)
        return none;
    for (size_t i = 0; i < name.n; i++) {
        room[i] = lower(name.p[i]);
        if (!is_host_byte(room[i]))
            return none;
    }
    room[name.n] = '\0';
    return (struct str){room, name.n};
}

/* A host name, or one whose first label is "*". */
static int add_name(struct tls_names *names, struct str name) {
    char room[DNS_NAME_MAX + 3] = "*.";
    size_t star = str_starts(name, STR("*.")) ? 2 : 0;
    struct str host = tls_name_canonical((struct str){name.p + star, name.n - star}, room + 2);
    if (host.n == 0)
        return 0;
    if (hg_grow(&names->items, &names->capacity, names->count + 1, sizeof *names->items) < 0)
        return -1;
    char *copy = hg_strndup(room + 2 - star, host.n + star);
    if (!copy)
        return -1;
    names->items[names->count++] = copy;
    return 0;
}

/* ASN.1 strings carry their length; a NUL inside makes add_name leave them out. */
static int add_string(struct tls_names *names, const ASN1_STRING *s) {
    return add_name(names, (struct str){(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)});
}

static int add_alternatives(struct tls_names *names, const GENERAL_NAMES *alternatives) {
    int status = 0;
    for (int i = 0; status == 0 && i < sk_GENERAL_NAME_num(alternatives); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(alternatives, i);
        if (g->type == GEN_DNS)
            status = add_string(names, g->d.dNSName);
    }
    return status;
}

static int add_common_names(struct tls_names *names, const X509_NAME *subject) {
    int status = 0;
    for (int i = -1; status == 0 && (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;)
        status = add_string(names, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));
    return status;
}

int tls_names_of(const X509 *certificate, struct tls_names *ret) {
    struct tls_names names = {0};
    GENERAL_NAMES *alternatives = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int status = alternatives ? add_alternatives(&names, alternatives)
                              : add_common_names(&names, X509_get_subject_name(certificate));
    GENERAL_NAMES_free(alternatives);
    if (status < 0)
        tls_names_finish(&names);
    else
        *ret = names;
    return status;
}

void tls_names_finish(struct tls_names *names) {
    for (size_t i = 0; i < names->count; i++)
        hg_free(names->items[i]);
    hg_free(names->items);
    *names = (struct tls_names){0};
}

void *tls_names_find(const struct map *by_name, struct str name) {
    void *found = map_get(by_name, name);
    const char *dot = found || name.n == 0 ? NULL : memchr(name.p, '.', name.n);
    if (!dot)
        return found;
    char wildcard[DNS_NAME_MAX + 2] = "*";
    struct str rest = {dot, name.n - (size_t)(dot - name.p)};
    memcpy(wildcard + 1, rest.p, rest.n);
    return map_get(by_name, (struct str){wildcard, rest.n + 1});
}
