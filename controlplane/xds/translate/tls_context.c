/* What contexts of both sides have: tables, versions, algorithms. */
#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"
#include "controlplane/xds/translate/values.h"

#define TLS_PROTOCOL(name) ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__##name

enum { CIPHERS_MAX = 16, GROUPS_MAX = 16 };

/* ---- what is read ---- */

static const struct xds_fields parameters = XDS_TABLE(envoy__extensions__transport_sockets__tls__v3__tls_parameters,
    XDS_NOTE("tls_minimum_protocol_version", "TLSv1_2, TLSv1_3; without it TLSv1_2"),
    XDS_NOTE("tls_maximum_protocol_version", "TLSv1_2, TLSv1_3; without it TLSv1_3"),
    XDS_NOTE("cipher_suites", "those of TLS 1.2 with ECDHE and AEAD, by OpenSSL's names; `[a|b]` counts as a, b"),
    XDS_NOTE("ecdh_curves", "X25519MLKEM768, X25519, P-256, P-384, P-521"));

const struct xds_fields tls_read_secret_config = XDS_TABLE(envoy__extensions__transport_sockets__tls__v3__sds_secret_config,
    XDS_READ("name"), XDS_INSIDE("sds_config", &xds_read_config_source));

static const struct xds_fields system_roots = XDS_EMPTY_TABLE(
    envoy__extensions__transport_sockets__tls__v3__certificate_validation_context__system_root_certs);

#define AUTHORITIES \
    XDS_INSIDE("trusted_ca", &tls_read_source), \
    XDS_INSIDE_NOTE("crl", &tls_read_source, "inline, beside an inline trusted_ca; a file of authorities may have " \
                    "lists in it"), \
    XDS_IGNORE("watched_directory", "files are watched where they are"), \
    XDS_IGNORE("require_signed_certificate_timestamp", "Envoy does not use it either")

#define RULES \
    XDS_NOTE("verify_certificate_hash", "with or without colons; without authorities it alone counts, as do keys"), \
    XDS_NOTE("verify_certificate_spki", "a certificate that is in either list will do"), \
    XDS_INSIDE("match_typed_subject_alt_names", &tls_read_typed_name_matcher), \
    XDS_INSIDE_NOTE("match_subject_alt_names", &tls_read_name_matcher, "of any type, where " \
                    "match_typed_subject_alt_names is not there")

static const struct xds_fields server_validation = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__certificate_validation_context, AUTHORITIES,
    RULES, XDS_READ("only_verify_leaf_cert_crl"));

static const struct xds_fields client_validation = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__certificate_validation_context, AUTHORITIES,
    XDS_INSIDE("system_root_certs", &system_roots),
    RULES,
    XDS_NOTE("trust_chain_verification", "ACCEPT_UNTRUSTED becomes `insecure`"),
    XDS_READ("only_verify_leaf_cert_crl"));

static const struct xds_fields server_combined = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__common_tls_context__combined_certificate_validation_context,
    XDS_INSIDE_NOTE("default_validation_context", &server_validation, "without authorities"),
    XDS_INSIDE("validation_context_sds_secret_config", &tls_read_secret_config));

static const struct xds_fields client_combined = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__common_tls_context__combined_certificate_validation_context,
    XDS_INSIDE_NOTE("default_validation_context", &client_validation, "without authorities"),
    XDS_INSIDE("validation_context_sds_secret_config", &tls_read_secret_config));

#define COMMON(validation, combined) \
    XDS_INSIDE("tls_params", &parameters), \
    XDS_INSIDE("tls_certificates", &tls_read_certificate), \
    XDS_INSIDE("tls_certificate_sds_secret_configs", &tls_read_secret_config), \
    XDS_INSIDE("validation_context", validation), \
    XDS_INSIDE("validation_context_sds_secret_config", &tls_read_secret_config), \
    XDS_INSIDE("combined_validation_context", combined)

const struct xds_fields tls_read_common_server = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__common_tls_context,
    COMMON(&server_validation, &server_combined),
    XDS_NOTE("alpn_protocols", "h2, http/1.1: the protocols of the listener; of QUIC h3"));

const struct xds_fields tls_read_common_client = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__common_tls_context,
    COMMON(&client_validation, &client_combined), XDS_NOTE("alpn_protocols", "with that of the cluster among them"));

/* ---- versions ---- */

static void take_version(struct making *m, const struct xds_at *at, int version, protobuf_c_boolean *has,
                         Headgate__TlsVersion *ret) {
    switch (version) {
    case TLS_PROTOCOL(TLS_AUTO): return;
    case TLS_PROTOCOL(TLSv1_2): *ret = HEADGATE__TLS_VERSION__TLS_1_2; break;
    case TLS_PROTOCOL(TLSv1_3): *ret = HEADGATE__TLS_VERSION__TLS_1_3; break;
    default: making_unsupported(m, at, "the oldest version is TLSv1_2"); return;
    }
    *has = true;
}

/* ---- algorithms ---- */

/* Appends what stands between `[`, `|` and `]` of one entry. */
static void take_names(struct making *m, const struct xds_at *at, const char *entry, const struct text_form *form,
                       char **items, size_t max, size_t *count) {
    struct str left = str_of(entry);
    if (str_starts(left, STR("[")) && str_ends(left, STR("]")))
        left = (struct str){left.p + 1, left.n - 2};
    do {
        char *name = making_text(m, str_cut(&left, '|'));
        size_t i = 0;
        if (!name)
            return;
        if (!name[0])
            making_refuse(m, at, ERROR_MISSING, "is empty");
        while (i < *count && strcmp(items[i], name) != 0)
            i++;
        if (i < *count)
            continue;
        if (*count == max) {
            making_refuse(m, at, ERROR_RANGE, "is one of more than %zu", max);
            return;
        }
        value_text(m, at, name, form, 256, &items[*count]);
        *count += items[*count] != NULL;
    } while (left.p);
}

static void take_list(struct making *m, const struct xds_at *at, const char *field, char *const *from, size_t count,
                      const struct text_form *form, size_t max, char ***ret_items, size_t *ret_count) {
    char **items = making_array(m, max + 1, sizeof *items);
    for (size_t i = 0; items && i < count; i++)
        take_names(m, XDS_AT_ITEM(at, field, i), from[i], form, items, max, ret_count);
    *ret_items = items;
}

void tls_take_algorithms(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsParameters) *from,
                         struct tls_algorithms *ret) {
    if (!from)
        return;
    take_version(m, XDS_AT(at, "tls_minimum_protocol_version"), from->tls_minimum_protocol_version, &ret->has_min_version,
                 &ret->min_version);
    take_version(m, XDS_AT(at, "tls_maximum_protocol_version"), from->tls_maximum_protocol_version, &ret->has_max_version,
                 &ret->max_version);
    if (ret->has_min_version && ret->has_max_version && ret->min_version > ret->max_version)
        making_refuse(m, XDS_AT(at, "tls_minimum_protocol_version"), ERROR_CONFLICT,
                      "is above tls_maximum_protocol_version");
    take_list(m, at, "cipher_suites", from->cipher_suites, from->n_cipher_suites, &text_cipher, CIPHERS_MAX, &ret->ciphers,
              &ret->n_ciphers);
    take_list(m, at, "ecdh_curves", from->ecdh_curves, from->n_ecdh_curves, &text_group, GROUPS_MAX, &ret->groups,
              &ret->n_groups);
    if (ret->has_min_version && ret->min_version == HEADGATE__TLS_VERSION__TLS_1_3)
        ret->n_ciphers = 0; /* they are those of TLS 1.2, of which nothing is left */
}
