/* Where certificates come from: files, resources, the message itself. */
#include <openssl/evp.h>

#include "common/alloc.h"
#include "controlplane/config/schema/text_form.h"
#include "controlplane/config/secret_names.h"
#include "controlplane/xds/translate/names.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"
#include "controlplane/xds/translate/values.h"

#define VALIDATION(name)      ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__CERTIFICATE_VALIDATION_CONTEXT__##name
#define VALIDATION_CASE(name) \
    ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_##name
#define GIVEN_INLINE XDS_GIVEN "@inline-"   /* what no mapped name begins with */

enum { PATH_MAX_BYTES = 4096, HASH_USED = 16 };

const struct xds_fields tls_read_source = XDS_TABLE(envoy__config__core__v3__data_source,
    XDS_NOTE("filename", "below the control plane's root of files"),
    XDS_READ("inline_bytes"), XDS_READ("inline_string"),
    XDS_IGNORE("watched_directory", "files are watched where they are"));

const struct xds_fields tls_read_certificate = XDS_TABLE(envoy__extensions__transport_sockets__tls__v3__tls_certificate,
    XDS_INSIDE_NOTE("certificate_chain", &tls_read_source, "PEM; from a file as the key does, or inline as that"),
    XDS_INSIDE_NOTE("private_key", &tls_read_source, "PEM, not encrypted"),
    XDS_INSIDE_NOTE("ocsp_staple", &tls_read_source, "DER; from where the certificate comes"),
    XDS_IGNORE("watched_directory", "files are watched where they are"),
    XDS_IGNORE("signed_certificate_timestamp", "Envoy does not use it either"));

/* What begins like the name of something else than a file is one all the same. */
static char *as_file(struct making *m, char *name) {
    static const struct str others[] = {{XDS_GIVEN, sizeof XDS_GIVEN - 1}, {CONFIG_EMBEDDED, sizeof CONFIG_EMBEDDED - 1}};
    for (size_t i = 0; name && i < sizeof others / sizeof *others; i++)
        if (str_starts(str_of(name), others[i])) {
            char *whole = arena_printf(&m->arena, "./%s", name);
            if (!whole)
                making_out_of_memory(m);
            return whole;
        }
    return name;
}

bool tls_take_source(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__DataSource *from,
                     struct str *ret_inline, char **ret_file) {
    switch (from ? (int)from->specifier_case : 0) {
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME:
        value_text(m, XDS_AT(at, "filename"), from->filename, &text_file, PATH_MAX_BYTES, ret_file);
        *ret_file = as_file(m, *ret_file);
        return *ret_file != NULL;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES:
        *ret_inline = (struct str){(const char *)from->inline_bytes.data, from->inline_bytes.len};
        return ret_inline->n > 0;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING:
        *ret_inline = str_of(from->inline_string);
        return ret_inline->n > 0;
    default: return false;
    }
}

/* ---- what is given ---- */

static bool copy_ticket_keys(struct making *m, struct xds_given *g) {
    struct str *keys = arena_calloc(&m->made->arena, g->ticket_key_count + 1, sizeof *keys);
    bool is_whole = keys != NULL;
    for (size_t i = 0; is_whole && i < g->ticket_key_count; i++) {
        keys[i] = arena_str(&m->made->arena, g->ticket_keys[i]);
        is_whole = keys[i].p != NULL;
    }
    g->ticket_keys = keys;
    return is_whole;
}

static bool copy_given(struct making *m, struct xds_given *g) {
    struct str *texts[] = {&g->certificate, &g->key, &g->ocsp, &g->crl, &g->rules};
    bool is_whole = (g->name = arena_strdup(&m->made->arena, g->name)) != NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i]->n)
            *texts[i] = arena_str(&m->made->arena, *texts[i]);
        is_whole = is_whole && (!texts[i]->n || texts[i]->p);
    }
    return is_whole && copy_ticket_keys(m, g);
}

static bool hash_part(EVP_MD_CTX *digest, struct str part) {
    uint64_t size = part.n;
    return EVP_DigestUpdate(digest, &size, sizeof size) == 1 && (!part.n || EVP_DigestUpdate(digest, part.p, part.n) == 1);
}

static char *name_by_content(struct making *m, const struct xds_given *g) {
    const struct str parts[] = {g->certificate, g->key, g->ocsp, g->crl};
    unsigned char hash[EVP_MAX_MD_SIZE];
    char digits[2 * HASH_USED + 1];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool is_whole = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; is_whole && i < sizeof parts / sizeof *parts; i++)
        is_whole = hash_part(digest, parts[i]);
    for (size_t i = 0; is_whole && i < g->ticket_key_count; i++)
        is_whole = hash_part(digest, g->ticket_keys[i]);
    is_whole = is_whole && EVP_DigestFinal_ex(digest, hash, NULL) == 1;
    EVP_MD_CTX_free(digest);
    if (!is_whole)
        return NULL;
    hex_encode(hash, HASH_USED, digits);
    return arena_printf(&m->arena, GIVEN_INLINE "%s", digits);
}

char *tls_give(struct making *m, const struct xds_given *given) {
    struct xds_made *made = m->made;
    struct xds_given g = *given;
    char *name = g.name ? arena_strdup(&m->arena, g.name) : name_by_content(m, &g);
    if (!name) {
        making_out_of_memory(m);
        return NULL;
    }
    g.name = name;
    for (size_t i = 0; i < made->given_count; i++)
        if (strcmp(made->givens[i].name, name) == 0)
            return name;
    if (hg_grow(&made->givens, &made->given_capacity, made->given_count + 1, sizeof *made->givens) < 0 ||
        !copy_given(m, &g)) {
        making_out_of_memory(m);
        return NULL;
    }
    made->givens[made->given_count++] = g;
    return name;
}

/* ---- by the name of a resource ---- */

char *tls_take_named(struct making *m, const struct xds_at *at, const TLS_MESSAGE(SdsSecretConfig) *from) {
    if (!from->name[0]) {
        making_refuse(m, XDS_AT(at, "name"), ERROR_MISSING, "is empty");
        return NULL;
    }
    if (!from->sds_config) {
        making_unsupported(m, XDS_AT(at, "sds_config"), "without it a secret of the bootstrap is meant, and it has none");
        return NULL;
    }
    part_config_source(m, XDS_AT(at, "sds_config"), from->sds_config);
    char *name = (char *)xds_name_map(&m->arena, STR(XDS_GIVEN), str_of(from->name)).p;
    if (!name)
        making_out_of_memory(m);
    making_need(m, XDS_TYPE_SECRET, from->name);
    return name;
}

/* ---- certificates ---- */

static void add_certificate(struct making *m, char *name, char *const files[3], struct tls_certificates *ret) {
    Headgate__CertificateFiles *to = making_new(m, &headgate__certificate_files__descriptor);
    if (!name || !to)
        return;
    to->certificate = files[0];
    to->key = files[1];
    to->ocsp = files[2];
    ret->names[ret->count] = name;
    ret->files[ret->count++] = to;
}

static void take_files(struct making *m, char *const files[3], struct tls_certificates *ret) {
    char *name = secret_name_of_files(&m->arena, files[0], files[1], files[2]);
    if (name)
        add_certificate(m, name, files, ret);
    else
        making_out_of_memory(m);
}

/* What is given stands in the place of files, too. */
static void add_given(struct making *m, char *name, struct tls_certificates *ret) {
    char *const files[3] = {name, name, NULL};
    add_certificate(m, name, files, ret);
}

/* A certificate, its key and its OCSP response: all of files, or all of the message. */
static void take_certificate(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsCertificate) *from,
                             struct tls_certificates *ret) {
    struct str texts[3] = {{0}, {0}, {0}};
    char *files[3] = {NULL, NULL, NULL};
    bool has_chain = tls_take_source(m, XDS_AT(at, "certificate_chain"), from->certificate_chain, &texts[0], &files[0]);
    bool has_key = tls_take_source(m, XDS_AT(at, "private_key"), from->private_key, &texts[1], &files[1]);
    bool has_ocsp = tls_take_source(m, XDS_AT(at, "ocsp_staple"), from->ocsp_staple, &texts[2], &files[2]);
    if (!has_chain || !has_key) {
        making_refuse(m, XDS_AT(at, has_chain ? "private_key" : "certificate_chain"), ERROR_MISSING, "is missing");
    } else if (!files[0] != !files[1] || (has_ocsp && !files[0] != !files[2])) {
        making_unsupported(m, at, "its parts come partly from files");
    } else if (files[0]) {
        take_files(m, files, ret);
    } else {
        add_given(m, tls_give(m, &(struct xds_given){
            .what = CONFIG_SECRET_KEY_PAIR, .certificate = texts[0], .key = texts[1], .ocsp = texts[2],
        }), ret);
    }
}

void tls_take_certificates(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CommonTlsContext) *from,
                           struct tls_certificates *ret) {
    size_t count = from->n_tls_certificates + from->n_tls_certificate_sds_secret_configs;
    ret->names = making_array(m, count, sizeof *ret->names);
    ret->files = making_array(m, count, sizeof *ret->files);
    if (!ret->names || !ret->files)
        return;
    for (size_t i = 0; i < from->n_tls_certificates; i++)
        take_certificate(m, XDS_AT_ITEM(at, "tls_certificates", i), from->tls_certificates[i], ret);
    for (size_t i = 0; i < from->n_tls_certificate_sds_secret_configs; i++) {
        const struct xds_at *item = XDS_AT_ITEM(at, "tls_certificate_sds_secret_configs", i);
        add_given(m, tls_take_named(m, item, from->tls_certificate_sds_secret_configs[i]), ret);
    }
}

/* ---- trust ---- */

/* The authorities of a context itself. */
static void take_authorities(struct making *m, const struct xds_at *at,
                             const TLS_MESSAGE(CertificateValidationContext) *from, struct tls_trust *ret) {
    struct str text = {0}, crl = {0};
    char *crl_file = NULL;
    bool has_trust = tls_take_source(m, XDS_AT(at, "trusted_ca"), from->trusted_ca, &text, &ret->file);
    bool has_crl = tls_take_source(m, XDS_AT(at, "crl"), from->crl, &crl, &crl_file);
    ret->is_there = has_trust || from->system_root_certs;
    if (has_trust && from->system_root_certs)
        making_unsupported(m, XDS_AT(at, "system_root_certs"), "trusted_ca stands beside it");
    else if (has_crl && (crl_file || !has_trust || ret->file))
        making_unsupported(m, XDS_AT(at, "crl"), "it may be inline beside an inline trusted_ca; a file of authorities may "
                                                 "have lists in it");
    else if (from->system_root_certs)
        ret->name = making_text(m, STR(CONFIG_SYSTEM_TRUST));
    else if (ret->file && !(ret->name = secret_name_of_files(&m->arena, ret->file, NULL, NULL)))
        making_out_of_memory(m);
    else if (has_trust && !ret->file)
        ret->file = ret->name = tls_give(m, &(struct xds_given){
            .what = CONFIG_SECRET_TRUST, .certificate = text, .crl = crl,
        });
}

static void take_rules(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CertificateValidationContext) *from,
                       struct tls_trust *ret) {
    ret->rules = from;
    ret->is_leaf_only = from->only_verify_leaf_cert_crl;
    ret->is_untrusted_accepted = from->trust_chain_verification ==
        VALIDATION(TRUST_CHAIN_VERIFICATION__ACCEPT_UNTRUSTED);
    take_authorities(m, at, from, ret);
}

static void take_combined(struct making *m, const struct xds_at *at,
                          const TLS_MESSAGE(CommonTlsContext__CombinedCertificateValidationContext) *from,
                          struct tls_trust *ret) {
    const TLS_MESSAGE(CertificateValidationContext) *rules = from->default_validation_context;
    if (rules && (rules->trusted_ca || rules->system_root_certs || rules->crl))
        making_unsupported(m, XDS_AT(at, "default_validation_context"), "its authorities are those of the secret");
    else if (rules)
        take_rules(m, XDS_AT(at, "default_validation_context"), rules, ret);
    ret->rules_field = "combined_validation_context.default_validation_context";
    if (!from->validation_context_sds_secret_config) {
        making_refuse(m, XDS_AT(at, "validation_context_sds_secret_config"), ERROR_MISSING, "is missing");
        return;
    }
    ret->is_there = ret->is_given_by_name = true;
    ret->file = ret->name = tls_take_named(m, XDS_AT(at, "validation_context_sds_secret_config"),
                                       from->validation_context_sds_secret_config);
}

void tls_take_trust(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CommonTlsContext) *from,
                    struct tls_trust *ret) {
    switch (from->validation_context_type_case) {
    case VALIDATION_CASE(VALIDATION_CONTEXT):
        take_rules(m, XDS_AT(at, "validation_context"), from->validation_context, ret);
        ret->rules_field = "validation_context";
        break;
    case VALIDATION_CASE(VALIDATION_CONTEXT_SDS_SECRET_CONFIG):
        ret->is_there = ret->is_given_by_name = true;
        ret->file = ret->name = tls_take_named(m, XDS_AT(at, "validation_context_sds_secret_config"),
                                           from->validation_context_sds_secret_config);
        break;
    case VALIDATION_CASE(COMBINED_VALIDATION_CONTEXT):
        take_combined(m, XDS_AT(at, "combined_validation_context"), from->combined_validation_context, ret);
        break;
    default: break;
    }
}
