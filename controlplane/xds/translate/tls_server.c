#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"
#include "controlplane/xds/translate/values.h"

#define OCSP_POLICY(name) \
    ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__DOWNSTREAM_TLS_CONTEXT__OCSP_STAPLE_POLICY__##name

#define TICKETS(name) \
    ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__DOWNSTREAM_TLS_CONTEXT__SESSION_TICKET_KEYS_TYPE_##name

const struct xds_fields xds_read_downstream_tls = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__downstream_tls_context,
    XDS_INSIDE("common_tls_context", &tls_read_common_server),
    XDS_NOTE("require_client_certificate", "with authorities or hashes to verify it; without it a client's certificate is "
             "optional where there are some"),
    XDS_NOTE("require_sni", "a name that no certificate has is refused"),
    XDS_NOTE("disable_stateless_session_resumption", "no tickets"),
    XDS_INSIDE("session_ticket_keys", &tls_read_ticket_keys),
    XDS_INSIDE("session_ticket_keys_sds_secret_config", &tls_read_secret_config),
    XDS_IGNORE("disable_stateful_session_resumption", "sessions are resumed by tickets alone"),
    XDS_NOTE("session_timeout", "1 s to 7 days"),
    XDS_NOTE("ocsp_staple_policy", "LENIENT_STAPLING"),
    XDS_IGNORE("full_scan_certs_on_sni_mismatch", "certificates for the same names are offered together, whatever their "
               "keys"));

void tls_read_alpn(struct making *m, const struct xds_at *at, const char *field, char *const *names, size_t count,
                   struct tls_alpn *ret) {
    for (size_t i = 0; i < count; i++) {
        struct str name = str_of(names[i]);
        ret->is_said = true;
        if (str_eq(name, STR("h2")))
            ret->has_http2 = true;
        else if (str_eq(name, STR("http/1.1")))
            ret->has_http1 = true;
        else if (str_eq(name, STR("h3")))
            ret->has_http3 = true;
        else
            making_unsupported(m, XDS_AT_ITEM(at, field, i), "only h2 and http/1.1 are");
    }
}

static void take_rules(struct making *m, const struct xds_at *at, const struct tls_trust *trust, Headgate__ServerTls *to) {
    struct tls_names names = {0};
    if (!trust->rules)
        return;
    to->pins = tls_take_pins(m, XDS_AT(at, trust->rules_field), trust->rules);
    if (to->pins && !trust->is_there)
        to->pins->has_only = to->pins->only = true;
    tls_take_names(m, XDS_AT(at, trust->rules_field), trust->rules, false, &names);
    to->match_names = names.matches;
    to->n_match_names = names.match_count;
    if (names.match_count && !trust->is_there)
        making_unsupported(m, at, "names are matched, but there are no authorities");
}

static void take_clients(struct making *m, const struct xds_at *at, const TLS_MESSAGE(DownstreamTlsContext) *context,
                         Headgate__ServerTls *to) {
    struct tls_trust trust = {0};
    bool is_required = context->require_client_certificate && context->require_client_certificate->value;
    tls_take_trust(m, XDS_AT(at, "common_tls_context"), context->common_tls_context, &trust);
    take_rules(m, XDS_AT(at, "common_tls_context"), &trust, to);
    if (is_required && !trust.is_there && !to->pins)
        making_unsupported(m, XDS_AT(at, "require_client_certificate"), "there are no authorities to verify it");
    if (!trust.is_there && !to->pins)
        return;
    to->has_client_certificates = true;
    to->client_certificates = is_required ? HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED
                                          : HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IF_GIVEN;
    to->client_trust = trust.name;
    to->client_trust_file = trust.file;
    to->has_only_verify_leaf_cert_crl = to->only_verify_leaf_cert_crl = trust.is_leaf_only;
}

static void take_algorithms(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsParameters) *from,
                            Headgate__ServerTls *to) {
    struct tls_algorithms a = {0};
    tls_take_algorithms(m, at, from, &a);
    to->has_min_version = a.has_min_version;
    to->has_max_version = a.has_max_version;
    if (a.has_min_version)
        to->min_version = a.min_version;
    if (a.has_max_version)
        to->max_version = a.max_version;
    to->ciphers = a.ciphers;
    to->n_ciphers = a.n_ciphers;
    to->groups = a.groups;
    to->n_groups = a.n_groups;
}

static void take_sessions(struct making *m, const struct xds_at *at, const TLS_MESSAGE(DownstreamTlsContext) *context,
                          Headgate__ServerTls *to) {
    if (context->session_ticket_keys_type_case == TICKETS(DISABLE_STATELESS_SESSION_RESUMPTION)) {
        to->has_tickets = context->disable_stateless_session_resumption;
        to->tickets = !context->disable_stateless_session_resumption;
    }
    if (context->session_ticket_keys_type_case == TICKETS(SESSION_TICKET_KEYS))
        to->ticket_keys = tls_take_ticket_keys(m, XDS_AT(at, "session_ticket_keys"), context->session_ticket_keys);
    if (context->session_ticket_keys_type_case == TICKETS(SESSION_TICKET_KEYS_SDS_SECRET_CONFIG))
        to->ticket_keys = tls_take_named(m, XDS_AT(at, "session_ticket_keys_sds_secret_config"),
                                         context->session_ticket_keys_sds_secret_config);
    value_duration(m, XDS_AT(at, "session_timeout"), context->session_timeout, XDS_SEC, 7 * XDS_DAY,
                   &to->has_session_lifetime, &to->session_lifetime);
    if (context->ocsp_staple_policy != OCSP_POLICY(LENIENT_STAPLING))
        making_unsupported(m, XDS_AT(at, "ocsp_staple_policy"), "a certificate is used without a response, too");
    if (context->require_sni && context->require_sni->value)
        to->has_require_sni_match = to->require_sni_match = true;
}

Headgate__ServerTls *tls_make_server(struct making *m, const struct xds_at *at,
                                     const TLS_MESSAGE(DownstreamTlsContext) *context, struct tls_alpn *ret_alpn) {
    const TLS_MESSAGE(CommonTlsContext) *common = context->common_tls_context;
    const struct xds_at *below = XDS_AT(at, "common_tls_context");
    Headgate__ServerTls *to = making_new(m, &headgate__server_tls__descriptor);
    struct tls_certificates certificates = {0};
    size_t before = m->faults;
    if (!common)
        making_refuse(m, below, ERROR_MISSING, "is missing");
    if (!common || !to)
        return NULL;
    tls_take_certificates(m, below, common, &certificates);
    if (m->faults == before && !certificates.count)
        making_refuse(m, XDS_AT(below, "tls_certificates"), ERROR_MISSING, "there is no certificate");
    to->certificates = certificates.names;
    to->n_certificates = certificates.count;
    to->certificate_files = certificates.files;
    to->n_certificate_files = certificates.count;
    take_clients(m, at, context, to);
    take_algorithms(m, XDS_AT(below, "tls_params"), common->tls_params, to);
    take_sessions(m, at, context, to);
    tls_read_alpn(m, below, "alpn_protocols", common->alpn_protocols, common->n_alpn_protocols, ret_alpn);
    return m->faults == before ? to : NULL;
}
