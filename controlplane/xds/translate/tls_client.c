#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"
#include "controlplane/xds/translate/values.h"

enum { SNI_MAX = 255 };

const struct xds_fields xds_read_upstream_tls = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__upstream_tls_context,
    XDS_INSIDE_NOTE("common_tls_context", &tls_read_common_client, "one certificate; without authorities and "
                    "hashes nothing is verified, without matchers of names whoever they signed is believed"),
    XDS_NOTE("sni", "without it the endpoint's host name is asked for, otherwise the Host that it gets"),
    XDS_NOTE("auto_host_sni", "takes the place of sni"),
    XDS_NOTE("auto_sni_san_validation", "the certificate must be for the name that is asked for"),
    XDS_IGNORE("max_session_keys", "how many sessions are kept is the gateway's own"),
    XDS_IGNORE("enforce_rsa_key_usage", "it is always enforced"));

/* ---- who is believed ---- */

/* Beside names that may come with authorities all of them are matchers. */
static void take_names(struct making *m, const struct xds_at *at, const struct tls_trust *trust, Headgate__ClientTls *to) {
    struct tls_names names = {0};
    tls_take_names(m, at, trust->rules, !trust->is_given_by_name, &names);
    to->names = names.hosts;
    to->n_names = names.host_count;
    to->match_names = names.matches;
    to->n_match_names = names.match_count;
}

static void take_trust(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CommonTlsContext) *common,
                       bool verifies_sni, Headgate__ClientTls *to) {
    struct tls_trust trust = {0};
    tls_take_trust(m, at, common, &trust);
    to->pins = trust.rules ? tls_take_pins(m, XDS_AT(at, trust.rules_field), trust.rules) : NULL;
    to->has_insecure = to->insecure = trust.is_untrusted_accepted || (!trust.is_there && !to->pins);
    if (!verifies_sni && trust.rules)
        take_names(m, XDS_AT(at, trust.rules_field), &trust, to);
    if (!trust.is_there && (to->n_names || to->n_match_names || verifies_sni))
        making_unsupported(m, at, "names are matched, but there are no authorities");
    if (to->insecure) {
        to->n_names = to->n_match_names = 0;
        to->pins = NULL;
        return;
    }
    if (!trust.is_there) {
        to->pins->has_only = to->pins->only = true;
        return;
    }
    to->trust = trust.name;
    to->trust_file = trust.file;
    to->has_only_verify_leaf_cert_crl = to->only_verify_leaf_cert_crl = trust.is_leaf_only;
    to->has_any_name = to->any_name = !verifies_sni && !to->n_names && !to->n_match_names;
}

/* ---- the rest ---- */

static void take_certificate(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CommonTlsContext) *common,
                             Headgate__ClientTls *to) {
    struct tls_certificates certificates = {0};
    tls_take_certificates(m, at, common, &certificates);
    if (certificates.count > 1)
        making_unsupported(m, XDS_AT(at, "tls_certificates"), "one certificate is presented, not several");
    if (certificates.count == 1) {
        to->certificate = certificates.names[0];
        to->certificate_files = certificates.files[0];
    }
    if (to->certificate_files && to->certificate_files->ocsp)
        making_unsupported(m, XDS_AT(at, "tls_certificates[0].ocsp_staple"), "nothing is stapled towards endpoints");
}

static void take_algorithms(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsParameters) *from,
                            Headgate__ClientTls *to) {
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

/* What is offered is what the cluster speaks. */
static void check_alpn(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CommonTlsContext) *common,
                       const char *own) {
    size_t i = 0;
    while (i < common->n_alpn_protocols && strcmp(common->alpn_protocols[i], own) != 0)
        i++;
    if (common->n_alpn_protocols && i == common->n_alpn_protocols)
        making_refuse(m, XDS_AT(at, "alpn_protocols"), ERROR_CONFLICT, "has no \"%s\", which is what the cluster speaks",
                      own);
}

Headgate__ClientTls *tls_make_client(struct making *m, const struct xds_at *at,
                                     const TLS_MESSAGE(UpstreamTlsContext) *context,
                                     const struct tls_client_wishes *wishes) {
    static const TLS_MESSAGE(CommonTlsContext) none =
        ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__INIT;
    const TLS_MESSAGE(CommonTlsContext) *common = context->common_tls_context ? context->common_tls_context : &none;
    const struct xds_at *below = XDS_AT(at, "common_tls_context");
    Headgate__ClientTls *to = making_new(m, &headgate__client_tls__descriptor);
    size_t before = m->faults;
    if (!to)
        return NULL;
    if (!context->auto_host_sni && !wishes->wants_sni)
        value_text(m, XDS_AT(at, "sni"), context->sni, &text_dns_name, SNI_MAX, &to->sni);
    take_trust(m, below, common, wishes->verifies_sni || context->auto_sni_san_validation, to);
    take_certificate(m, below, common, to);
    take_algorithms(m, XDS_AT(below, "tls_params"), common->tls_params, to);
    check_alpn(m, below, common, wishes->protocol);
    return m->faults == before ? to : NULL;
}
