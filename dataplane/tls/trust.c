#include "dataplane/tls/trust.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "common/alloc.h"
#include "dataplane/routing/peer_rules.h"

struct trust {
    struct kept  kept;             /* first */
    uint8_t     *bytes;            /* DER of all, one behind the other */
    size_t      *sizes;
    size_t       certificates, lists;
    X509_STORE **stores;           /* one per slot */
    Headgate__Trust *rules;        /* what came along with them, alone */
};

static void trust_destroy(struct kept *k) {
    struct trust *t = (struct trust *)k;
    for (unsigned i = 0; t->stores && i < tls_slot_count(); i++)
        X509_STORE_free(t->stores[i]);
    hg_free(t->stores);
    hg_free(t->bytes);
    hg_free(t->sizes);
    if (t->rules)
        headgate__trust__free_unpacked(t->rules, NULL);
    hg_free(t);
}

struct peer_wish trust_wish(const struct trust *t) {
    return (struct peer_wish){t->rules->match_names, t->rules->n_match_names, t->rules->pins};
}

void trust_unref(struct trust *t) {
    kept_unref(t ? &t->kept : NULL);
}

/* ---- decoding ---- */

static int add_certificate(X509_STORE *store, const uint8_t *der, size_t n, struct tls_library *l) {
    const unsigned char *p = der;
    X509 *x = X509_new_ex(l->context, NULL);
    int status = x && d2i_X509(&x, &p, (long)n) && p == der + n && X509_STORE_add_cert(store, x) ? 0 : -1;
    X509_free(x);
    return status;
}

static int add_list(X509_STORE *store, const uint8_t *der, size_t n, struct tls_library *l) {
    const unsigned char *p = der;
    X509_CRL *list = X509_CRL_new_ex(l->context, NULL);
    int status = list && d2i_X509_CRL(&list, &p, (long)n) && p == der + n && X509_STORE_add_crl(store, list) ? 0 : -1;
    X509_CRL_free(list);
    return status;
}

/* *ret_bad: the number of the part that is at fault, or that of the parts. */
static X509_STORE *decode(const struct trust *t, struct tls_library *l, size_t *ret_bad) {
    X509_STORE *store = X509_STORE_new();
    const uint8_t *p = t->bytes;
    size_t i = 0, n = t->certificates + t->lists;
    int status = store ? 0 : -1;
    for (; status == 0 && i < n; p += t->sizes[i++]) {
        status = i < t->certificates ? add_certificate(store, p, t->sizes[i], l) : add_list(store, p, t->sizes[i], l);
        if (status < 0)
            break;
    }
    *ret_bad = i;
    ERR_clear_error();
    if (status == 0) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | (t->lists ? X509_V_FLAG_CRL_CHECK : 0));
        return store;
    }
    X509_STORE_free(store);
    return NULL;
}

X509_STORE *trust_store(struct trust *t, struct tls_library *l) {
    size_t bad;
    if (!t->stores[l->slot])
        t->stores[l->slot] = decode(t, l, &bad);
    return t->stores[l->slot];
}

int trust_use(struct trust *t, SSL_CTX *context, bool leaf_alone, struct tls_library *l) {
    X509_STORE *store = trust_store(t, l);
    if (!store || SSL_CTX_set1_verify_cert_store(context, store) != 1)
        return -1;
    /* without CRL_CHECK, which is the store's, this asks for nothing */
    unsigned long flags = leaf_alone ? 0 : X509_V_FLAG_CRL_CHECK_ALL;
    return X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), flags) == 1 ? 0 : -1;
}

STACK_OF(X509_NAME) *trust_subjects(struct trust *t, struct tls_library *l) {
    X509_STORE *store = trust_store(t, l);
    STACK_OF(X509) *all = store ? X509_STORE_get1_all_certs(store) : NULL;
    STACK_OF(X509_NAME) *names = all ? sk_X509_NAME_new_null() : NULL;
    for (int i = 0; names && i < sk_X509_num(all); i++) {
        X509_NAME *copy = X509_NAME_dup(X509_get_subject_name(sk_X509_value(all, i)));
        if (copy && sk_X509_NAME_push(names, copy))
            continue;
        X509_NAME_free(copy);
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        names = NULL;
    }
    OSSL_STACK_OF_X509_free(all);
    return names;
}

/* ---- from the message ---- */

static void copy_part(struct trust *t, size_t *at, const ProtobufCBinaryData *from) {
    memcpy(t->bytes + *at, from->data, from->len);
    t->sizes[t->certificates + t->lists] = from->len;
    *at += from->len;
}

static int copy_rules(struct trust *t, const Headgate__Trust *m) {
    Headgate__Trust rules = HEADGATE__TRUST__INIT;
    rules.match_names = m->match_names;
    rules.n_match_names = m->n_match_names;
    rules.pins = m->pins;
    uint8_t *packed = hg_malloc(headgate__trust__get_packed_size(&rules) + 1);
    if (packed)
        t->rules = headgate__trust__unpack(NULL, headgate__trust__pack(&rules, packed), packed);
    hg_free(packed);
    return t->rules ? 0 : -1;
}

static int copy(struct trust *t, const Headgate__Trust *m) {
    size_t all = 0, at = 0;
    for (size_t i = 0; i < m->n_certificates; i++)
        all += m->certificates[i].len;
    for (size_t i = 0; i < m->n_revocation_lists; i++)
        all += m->revocation_lists[i].len;
    t->bytes = hg_malloc(all + 1);
    t->sizes = hg_calloc(m->n_certificates + m->n_revocation_lists + 1, sizeof *t->sizes);
    t->stores = hg_calloc(tls_slot_count(), sizeof(X509_STORE *));
    if (!t->bytes || !t->sizes || !t->stores)
        return -1;
    for (; t->certificates < m->n_certificates; t->certificates++)
        copy_part(t, &at, &m->certificates[t->certificates]);
    for (; t->lists < m->n_revocation_lists; t->lists++)
        copy_part(t, &at, &m->revocation_lists[t->lists]);
    return copy_rules(t, m);
}

static int check(struct trust *t, const char *name, const struct tls_place *place) {
    struct tls_library *l = tls_main_library();
    char field[64];
    size_t bad = 0;
    X509_STORE *store = l ? decode(t, l, &bad) : NULL;
    X509_STORE_free(store);
    if (store && t->certificates > 0)
        return 0;
    bool is_list = bad >= t->certificates;
    snprintf(field, sizeof field, "trust.%s[%zu]", is_list ? "revocation_lists" : "certificates",
             is_list ? bad - t->certificates : bad);
    if (t->certificates == 0)
        tls_secret_fault(place, name, "trust.certificates", ERROR_MISSING, "there is no certificate");
    else
        tls_secret_fault(place, name, field, ERROR_SYNTAX, is_list ? "not a revocation list in DER"
                                                                   : "not an X.509 certificate in DER");
    return -1;
}

struct trust *trust_get(const struct tls_secret *secret, const char *name, const struct tls_place *place) {
    struct trust *t = (struct trust *)kept_find(&secret->id, trust_destroy);
    if (t)
        return t;
    t = hg_calloc(1, sizeof *t);
    if (!t || kept_add(&t->kept, &secret->id, trust_destroy) < 0) {
        tls_secret_fault(place, name, "trust", ERROR_MEMORY, "out of memory");
        hg_free(t);
        return NULL;
    }
    if (copy(t, secret->message->trust) < 0)
        tls_secret_fault(place, name, "trust", ERROR_MEMORY, "out of memory");
    else if (check(t, name, place) == 0)
        return t;
    trust_unref(t);
    return NULL;
}
