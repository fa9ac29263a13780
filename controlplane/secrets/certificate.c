#include "controlplane/secrets/certificate.h"

#include <stdlib.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

enum { SECURITY_BITS_MIN = 112 }; /* of a signature: NIST SP 800-57 part 1, table 4; below it clients refuse */

static const uint64_t SECOND = 1000000;

/* ---- times ---- */

/* 0 for what is no time. */
static uint64_t time_of(const ASN1_TIME *t) {
    struct tm tm;
    if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    time_t seconds = timegm(&tm);
    return seconds > 0 ? (uint64_t)seconds * SECOND : 0;
}

static const char *date_text(struct arena *arena, uint64_t us) {
    time_t seconds = (time_t)(us / SECOND);
    struct tm tm;
    char text[32];
    if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        return "?";
    const char *copy = arena_strdup(arena, text);
    return copy ? copy : "?";
}

static const char *check_time(const X509 *x, uint64_t now, struct arena *arena) {
    uint64_t from = time_of(X509_get0_notBefore(x)), until = time_of(X509_get0_notAfter(x));
    if (now > until)
        return arena_printf(arena, "the certificate expired on %s", date_text(arena, until));
    if (now < from)
        return arena_printf(arena, "the certificate is not valid before %s", date_text(arena, from));
    return NULL;
}

/* ---- strength ---- */

static const char *check_key_strength(EVP_PKEY *key, struct arena *arena) {
    int bits = EVP_PKEY_get_bits(key);
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        if (bits >= RSA_BITS_MIN)
            return NULL;
        return arena_printf(arena, "an RSA key of %d bits is weak; %d are needed", bits, RSA_BITS_MIN);
    case EVP_PKEY_EC: return bits >= 256 ? NULL : arena_printf(arena, "an elliptic curve of %d bits is weak", bits);
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448: return NULL;
    default: return "the key is neither RSA nor of an elliptic curve";
    }
}

/* The signature of a certificate that signs itself is looked at by nobody. */
static const char *check_signature_strength(X509 *x) {
    int security_bits = 0;
    if (X509_get_extension_flags(x) & EXFLAG_SS)
        return NULL;
    if (X509_get_signature_info(x, NULL, NULL, &security_bits, NULL) == 1 && security_bits < SECURITY_BITS_MIN)
        return "the certificate is signed with a weak algorithm";
    return NULL;
}

/* ---- a pair ---- */

static X509 *parse_certificate(const uint8_t *der, size_t size) {
    const uint8_t *at = der;
    X509 *x = d2i_X509(NULL, &at, (long)size);
    ERR_clear_error();
    return x;
}

static EVP_PKEY *parse_key(const struct pem_block *block) {
    const uint8_t *at = block->der;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)block->size);
    ERR_clear_error();
    return key;
}

static int store_key(EVP_PKEY *key, struct arena *arena, Headgate__KeyPair *m) {
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int size = info ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : -1;
    uint8_t *bytes = size > 0 ? arena_alloc(arena, (size_t)size) : NULL, *at = bytes;
    if (bytes && i2d_PKCS8_PRIV_KEY_INFO(info, &at) != size)
        bytes = NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    m->has_private_key = bytes != NULL;
    m->private_key = (ProtobufCBinaryData){bytes ? (size_t)size : 0, bytes};
    return bytes ? 0 : -1;
}

/* A chain while it is looked at: each certificate is parsed once. */
struct chain {
    const struct pem_blocks *blocks;
    X509                   **x;
    struct arena            *arena;
};

static const char *check_one(const struct chain *c, size_t i, uint64_t now) {
    X509 *x = c->x[i];
    EVP_PKEY *public_key = X509_get0_pubkey(x);
    const char *why = now ? check_time(x, now, c->arena) : NULL;
    if (!why)
        why = public_key ? check_key_strength(public_key, c->arena) : "the certificate has a key of an unknown kind";
    if (!why)
        why = check_signature_strength(x);
    return why && i > 0 ? arena_printf(c->arena, "certificate %zu of the chain: %s", i + 1, why) : why;
}

static const char *parse_chain(struct chain *c, uint64_t now, unsigned *ret_line) {
    c->x = arena_calloc(c->arena, c->blocks->count, sizeof(X509 *));
    if (!c->x)
        return "out of memory";
    for (size_t i = 0; i < c->blocks->count; i++) {
        const struct pem_block *block = &c->blocks->items[i];
        *ret_line = block->line;
        c->x[i] = parse_certificate(block->der, block->size);
        const char *why = c->x[i] ? check_one(c, i, now) : "not a certificate";
        if (why)
            return why;
    }
    return NULL;
}

static void free_chain(const struct chain *c) {
    for (size_t i = 0; c->x && i < c->blocks->count; i++)
        X509_free(c->x[i]);
    ERR_clear_error();
}

/* Who issued one comes next. An authority that signs itself may stand at the end. */
static const char *check_order(const struct chain *c, unsigned *ret_line) {
    for (size_t i = 1; i < c->blocks->count; i++) {
        *ret_line = c->blocks->items[i].line;
        if (X509_NAME_cmp(X509_get_issuer_name(c->x[i - 1]), X509_get_subject_name(c->x[i])) != 0)
            return arena_printf(c->arena, "certificate %zu of the chain did not issue the one before it", i + 1);
    }
    return NULL;
}

static const char *check_match(const struct chain *c, EVP_PKEY *key) {
    if (X509_check_private_key(c->x[0], key) == 1)
        return NULL;
    for (size_t i = 1; i < c->blocks->count; i++)
        if (X509_check_private_key(c->x[i], key) == 1)
            return arena_printf(c->arena, "the key is that of certificate %zu of the chain; the server's own comes first",
                                i + 1);
    return "the key is not that of the certificate";
}

static const char *fill_pair(const struct chain *c, EVP_PKEY *key, Headgate__KeyPair *m) {
    m->chain = arena_calloc(c->arena, c->blocks->count, sizeof *m->chain);
    if (!m->chain || store_key(key, c->arena, m) < 0)
        return "out of memory";
    for (size_t i = 0; i < c->blocks->count; i++)
        m->chain[m->n_chain++] = (ProtobufCBinaryData){c->blocks->items[i].size, c->blocks->items[i].der};
    return NULL;
}

static const char *check_key(const struct chain *c, const struct pem_block *block, Headgate__KeyPair *m, bool *ret_is_key,
                             unsigned *ret_line) {
    EVP_PKEY *key = parse_key(block);
    *ret_is_key = true;
    *ret_line = block->line;
    const char *why = key ? check_match(c, key) : "not a private key";
    if (!why) {
        *ret_is_key = false;
        why = check_order(c, ret_line);
    }
    if (!why)
        why = fill_pair(c, key, m);
    EVP_PKEY_free(key);
    return why;
}

static int fill_facts(X509 *x, struct arena *arena, struct certificate_facts *ret);

const char *certificate_check_pair(const struct pem_blocks *chain, const struct pem_block *key, uint64_t now,
                                   struct arena *arena, Headgate__KeyPair *m, struct certificate_facts *facts,
                                   bool *ret_is_key, unsigned *ret_line) {
    struct chain c = {.blocks = chain, .arena = arena};
    *ret_is_key = false;
    const char *why = parse_chain(&c, now, ret_line);
    if (!why)
        why = check_key(&c, key, m, ret_is_key, ret_line);
    if (!why && fill_facts(c.x[0], arena, facts) < 0)
        why = "out of memory";
    free_chain(&c);
    return why;
}

/* ---- OCSP, RFC 6960 ---- */

/* Whether it is said of this certificate of this issuer: its name, its key, and the number that it gave. */
static bool is_about(const OCSP_SINGLERESP *single, const X509 *leaf, const X509 *issuer) {
    ASN1_OBJECT *algorithm = NULL;
    OCSP_CERTID *id = (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single);
    OCSP_id_get0_info(NULL, &algorithm, NULL, NULL, id);
    const EVP_MD *md = EVP_get_digestbyobj(algorithm);
    OCSP_CERTID *expected = md ? OCSP_cert_to_id(md, leaf, issuer) : NULL;
    bool is_it = expected && OCSP_id_cmp(expected, id) == 0;
    OCSP_CERTID_free(expected);
    return is_it;
}

static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, const X509 *leaf, const X509 *issuer) {
    for (int i = 0; i < OCSP_resp_count(basic); i++)
        if (is_about(OCSP_resp_get0(basic, i), leaf, issuer))
            return OCSP_resp_get0(basic, i);
    return NULL;
}

/* The issuer alone is trusted: what signed must be the issuer, or a responder that has the right from it (RFC 6960 section
 * 4.2.2.2) and comes with the response. */
static const char *check_signature(OCSP_BASICRESP *basic, X509 *issuer, uint64_t now, struct arena *arena) {
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *signers = sk_X509_new_null();
    bool is_ready = store && signers && sk_X509_push(signers, issuer) && X509_STORE_add_cert(store, issuer) == 1;
    const char *why = NULL;
    if (is_ready) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), (time_t)(now / SECOND));
    }
    if (!is_ready)
        why = "out of memory";
    else if (OCSP_basic_verify(basic, signers, store, 0) != 1)
        why = arena_printf(arena, "it is signed neither by the issuer of the certificate nor by a responder of its (%s)",
                           ERR_reason_error_string(ERR_peek_error()));
    sk_X509_free(signers);
    X509_STORE_free(store);
    return why;
}

static const char *check_single(OCSP_SINGLERESP *single, uint64_t now, struct arena *arena, uint64_t *ret_until) {
    enum { SKEW_SECONDS = 300 };
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    int status = OCSP_single_get0_status(single, NULL, NULL, &from, &until);
    if (status != V_OCSP_CERTSTATUS_GOOD)
        return status == V_OCSP_CERTSTATUS_REVOKED ? "it says that the certificate is revoked"
                                                   : "it does not know the certificate";
    *ret_until = time_of(until);
    if (time_of(from) > now + SKEW_SECONDS * SECOND)
        return arena_printf(arena, "it is not valid before %s", date_text(arena, time_of(from)));
    if (until && now > *ret_until)
        return arena_printf(arena, "it was to be renewed by %s", date_text(arena, *ret_until));
    return NULL;
}

/* What a response says of the leaf, in *ret_basic, which is the caller's to free in any case. NULL, and why. */
static OCSP_SINGLERESP *open_response(struct str der, const X509 *leaf, const X509 *issuer, OCSP_BASICRESP **ret_basic,
                                      const char **ret_why) {
    const uint8_t *at = (const uint8_t *)der.p;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.n);
    bool is_good = response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL;
    OCSP_BASICRESP *basic = is_good ? OCSP_response_get1_basic(response) : NULL;
    OCSP_SINGLERESP *single = basic ? find_single(basic, leaf, issuer) : NULL;
    *ret_basic = basic;
    *ret_why = !response ? "it is not an OCSP response in DER"
               : !basic  ? "it says that the responder failed"
               : !single ? "it is about another certificate"
                         : NULL;
    OCSP_RESPONSE_free(response);
    return single;
}

/* NULL, or why not; *ret_until is when it has to be renewed, 0 when it does not say. */
static const char *check_response(X509 *leaf, X509 *issuer, struct str der, uint64_t now, struct arena *arena,
                                  uint64_t *ret_until) {
    const char *why;
    OCSP_BASICRESP *basic;
    OCSP_SINGLERESP *single = open_response(der, leaf, issuer, &basic, &why);
    if (!why)
        why = check_signature(basic, issuer, now, arena);
    if (!why)
        why = check_single(single, now, arena, ret_until);
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return why;
}

/* Whoever issued the leaf comes next in the chain, where it is not the leaf itself. NULL: it does not come. */
static X509 *parse_issuer(const Headgate__KeyPair *m, X509 *leaf) {
    X509 *issuer = m->n_chain > 1 ? parse_certificate(m->chain[1].data, m->chain[1].len) : NULL;
    if (!issuer && X509_up_ref(leaf))
        issuer = leaf;
    if (!issuer || X509_check_issued(issuer, leaf) == X509_V_OK)
        return issuer;
    X509_free(issuer);
    return NULL;
}

const char *certificate_check_ocsp(const Headgate__KeyPair *m, struct str response, uint64_t now, struct arena *arena,
                                   uint64_t *ret_until) {
    X509 *leaf = parse_certificate(m->chain[0].data, m->chain[0].len);
    X509 *issuer = leaf ? parse_issuer(m, leaf) : NULL;
    const char *why = !leaf     ? "out of memory"
                      : !issuer ? "its signature cannot be checked, since the issuer's certificate is not in the chain: put "
                                  "it behind the server's own"
                                : check_response(leaf, issuer, response, now, arena, ret_until);
    X509_free(issuer);
    X509_free(leaf);
    return why;
}

/* Of a response that was checked. 0: it does not say. */
static uint64_t renewal_of(const Headgate__KeyPair *m, X509 *leaf) {
    const char *why;
    OCSP_BASICRESP *basic = NULL;
    ASN1_GENERALIZEDTIME *until = NULL;
    X509 *issuer = parse_issuer(m, leaf);
    struct str der = {(const char *)m->ocsp_response.data, m->ocsp_response.len};
    OCSP_SINGLERESP *single = issuer ? open_response(der, leaf, issuer, &basic, &why) : NULL;
    if (single)
        OCSP_single_get0_status(single, NULL, NULL, NULL, &until);
    uint64_t when = time_of(until);
    OCSP_BASICRESP_free(basic);
    X509_free(issuer);
    return when;
}

/* ---- trust ---- */

const char *certificate_check_trusted(const struct pem_block *block) {
    const uint8_t *at = block->der;
    if (block->label == PEM_REVOCATION_LIST) {
        X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)block->size);
        bool is_right = crl;
        X509_CRL_free(crl);
        ERR_clear_error();
        return is_right ? NULL : "not a revocation list";
    }
    X509 *x = parse_certificate(block->der, block->size);
    bool is_right = x;
    X509_free(x);
    return is_right ? NULL : "not a certificate";
}

/* ---- facts ---- */

static const char *name_text(const X509_NAME *name, struct arena *arena) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    if (!bio || X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0) {
        BIO_free(bio);
        return NULL;
    }
    long n = BIO_get_mem_data(bio, &bytes);
    struct str text = arena_str(arena, (struct str){bytes, (size_t)n});
    BIO_free(bio);
    return text.p;
}

static const char *alternative_name(const GENERAL_NAME *name, struct arena *arena) {
    if (name->type == GEN_DNS) {
        const ASN1_STRING *dns = name->d.dNSName;
        struct str text = {(const char *)ASN1_STRING_get0_data(dns), (size_t)ASN1_STRING_length(dns)};
        struct str copy = arena_str(arena, text);
        for (size_t i = 0; copy.p && i < copy.n; i++)
            if (copy.p[i] >= 'A' && copy.p[i] <= 'Z')
                ((char *)(uintptr_t)copy.p)[i] |= 0x20;
        return copy.p;
    }
    const uint8_t *b = name->type == GEN_IPADD ? ASN1_STRING_get0_data(name->d.iPAddress) : NULL;
    int n = b ? ASN1_STRING_length(name->d.iPAddress) : 0;
    if (n == 4)
        return arena_printf(arena, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
    if (n != 16)
        return NULL;
    return arena_printf(arena, "%x:%x:%x:%x:%x:%x:%x:%x", b[0] << 8 | b[1], b[2] << 8 | b[3], b[4] << 8 | b[5],
                        b[6] << 8 | b[7], b[8] << 8 | b[9], b[10] << 8 | b[11], b[12] << 8 | b[13], b[14] << 8 | b[15]);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int fill_names(X509 *x, struct arena *arena, struct certificate_facts *facts) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int count = names ? sk_GENERAL_NAME_num(names) : 0;
    facts->names = arena_calloc(arena, (size_t)count + 1, sizeof *facts->names);
    for (int i = 0; i < count && facts->names; i++) {
        const char *name = alternative_name(sk_GENERAL_NAME_value(names, i), arena);
        if (name)
            facts->names[facts->name_count++] = name;
    }
    GENERAL_NAMES_free(names);
    if (facts->names)
        qsort(facts->names, facts->name_count, sizeof *facts->names, compare_names);
    return facts->names ? 0 : -1;
}

static const char *curve_text(EVP_PKEY *key, struct arena *arena) {
    static const char *const known[][2] = {{"prime256v1", "P-256"}, {"secp384r1", "P-384"}, {"secp521r1", "P-521"}};
    char group[64] = "";
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, NULL);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(group, known[i][0]) == 0)
            return arena_printf(arena, "EC %s", known[i][1]);
    return arena_printf(arena, "EC %s", group);
}

static void fill_key(EVP_PKEY *key, struct arena *arena, struct certificate_facts *facts) {
    int id = EVP_PKEY_get_base_id(key);
    facts->is_rsa = id == EVP_PKEY_RSA || id == EVP_PKEY_RSA_PSS;
    facts->key = facts->is_rsa      ? arena_printf(arena, "RSA %d", EVP_PKEY_get_bits(key))
                 : id == EVP_PKEY_EC ? curve_text(key, arena)
                                     : arena_strdup(arena, OBJ_nid2sn(id));
}

static void fill_fingerprint(const X509 *x, struct certificate_facts *facts) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (X509_digest(x, EVP_sha256(), digest, &n) != 1 || n != 32)
        return;
    for (unsigned i = 0; i < n; i++) {
        static const char digits[] = "0123456789ABCDEF";
        facts->fingerprint[3 * i] = digits[digest[i] >> 4];
        facts->fingerprint[3 * i + 1] = digits[digest[i] & 15];
        facts->fingerprint[3 * i + 2] = i + 1 < n ? ':' : '\0';
    }
}

static int fill_facts(X509 *x, struct arena *arena, struct certificate_facts *ret) {
    struct certificate_facts facts = {0};
    if (fill_names(x, arena, &facts) < 0)
        return -1;
    facts.subject = name_text(X509_get_subject_name(x), arena);
    facts.issuer = name_text(X509_get_issuer_name(x), arena);
    facts.not_before = time_of(X509_get0_notBefore(x));
    facts.not_after = time_of(X509_get0_notAfter(x));
    if (X509_get0_pubkey(x))
        fill_key(X509_get0_pubkey(x), arena, &facts);
    fill_fingerprint(x, &facts);
    if (!facts.subject || !facts.issuer || !facts.key)
        return -1;
    *ret = facts;
    return 0;
}

int certificate_facts(const Headgate__KeyPair *m, struct arena *arena, struct certificate_facts *ret) {
    X509 *x = m->n_chain ? parse_certificate(m->chain[0].data, m->chain[0].len) : NULL;
    int status = x ? fill_facts(x, arena, ret) : -1;
    if (status == 0 && m->has_ocsp_response)
        ret->ocsp_until = renewal_of(m, x);
    X509_free(x);
    ERR_clear_error();
    return status;
}
