#include "common/plural.h"
#include "controlplane/xds/translate/names.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"

enum { TICKET_KEYS_MAX = 16 };

#define SECRET_CASE(name) ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_##name
#define INLINE_ONLY "inline: files are named by listeners and clusters"

static const struct xds_fields inline_source = XDS_TABLE(envoy__config__core__v3__data_source,
    XDS_READ("inline_bytes"), XDS_READ("inline_string"));

static const struct xds_fields certificate = XDS_TABLE(envoy__extensions__transport_sockets__tls__v3__tls_certificate,
    XDS_INSIDE_NOTE("certificate_chain", &inline_source, "PEM, " INLINE_ONLY),
    XDS_INSIDE_NOTE("private_key", &inline_source, "PEM, not encrypted"),
    XDS_INSIDE_NOTE("ocsp_staple", &inline_source, "DER"),
    XDS_IGNORE("watched_directory", "there is no file"),
    XDS_IGNORE("signed_certificate_timestamp", "Envoy does not use it either"));

static const struct xds_fields trust = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__certificate_validation_context,
    XDS_INSIDE_NOTE("trusted_ca", &inline_source, "PEM, " INLINE_ONLY),
    XDS_INSIDE_NOTE("crl", &inline_source, "PEM"),
    XDS_IGNORE("watched_directory", "there is no file"),
    XDS_IGNORE("require_signed_certificate_timestamp", "Envoy does not use it either"),
    XDS_INSIDE_NOTE("match_typed_subject_alt_names", &tls_read_typed_name_matcher, "beside those of the context that names "
                    "the secret: any of either"),
    XDS_INSIDE_NOTE("match_subject_alt_names", &tls_read_name_matcher, "of any type, where match_typed_subject_alt_names is "
                    "not there"),
    XDS_NOTE("verify_certificate_hash", "beside those of the context"),
    XDS_NOTE("verify_certificate_spki", "beside those of the context"));

const struct xds_fields tls_read_ticket_keys = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__tls_session_ticket_keys,
    XDS_INSIDE_NOTE("keys", &inline_source, "80 bytes each, at most 16"));

const struct xds_fields xds_read_secret = XDS_TABLE(envoy__extensions__transport_sockets__tls__v3__secret,
    XDS_READ("name"),
    XDS_INSIDE("tls_certificate", &certificate),
    XDS_INSIDE("session_ticket_keys", &tls_read_ticket_keys),
    XDS_INSIDE_NOTE("validation_context", &trust, "with authorities"));

/* What is there, inline; an empty text otherwise. */
static struct str take(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__DataSource *from) {
    struct str text = {0};
    char *file = NULL;
    tls_take_source(m, at, from, &text, &file);
    return text;
}

static struct str take_required(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__DataSource *from) {
    struct str text = take(m, at, from);
    if (!text.n)
        making_refuse(m, at, ERROR_MISSING, "is missing");
    return text;
}

static void take_pair(struct making *m, const TLS_MESSAGE(TlsCertificate) *from, struct xds_given *to) {
    const struct xds_at *at = XDS_AT(NULL, "tls_certificate");
    to->what = CONFIG_SECRET_KEY_PAIR;
    to->certificate = take_required(m, XDS_AT(at, "certificate_chain"), from->certificate_chain);
    to->key = take_required(m, XDS_AT(at, "private_key"), from->private_key);
    to->ocsp = take(m, XDS_AT(at, "ocsp_staple"), from->ocsp_staple);
}

/* They go with the authorities, wherever these are named. */
static struct str take_rules(struct making *m, const struct xds_at *at,
                             const TLS_MESSAGE(CertificateValidationContext) *from) {
    Headgate__Trust rules = HEADGATE__TRUST__INIT;
    struct tls_names names = {0};
    tls_take_names(m, at, from, false, &names);
    rules.match_names = names.matches;
    rules.n_match_names = names.match_count;
    rules.pins = tls_take_pins(m, at, from);
    if (m->faults)
        return (struct str){0};
    size_t size = headgate__trust__get_packed_size(&rules);
    uint8_t *bytes = making_array(m, size, 1);
    return bytes ? (struct str){(char *)bytes, headgate__trust__pack(&rules, bytes)} : (struct str){0};
}

static void take_trust(struct making *m, const TLS_MESSAGE(CertificateValidationContext) *from, struct xds_given *to) {
    const struct xds_at *at = XDS_AT(NULL, "validation_context");
    to->what = CONFIG_SECRET_TRUST;
    to->certificate = take_required(m, XDS_AT(at, "trusted_ca"), from->trusted_ca);
    to->crl = take(m, XDS_AT(at, "crl"), from->crl);
    to->rules = take_rules(m, at, from);
}

void tls_read_keys(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsSessionTicketKeys) *from,
                   struct xds_given *to) {
    to->what = CONFIG_SECRET_TICKET_KEYS;
    if (from->n_keys == 0 || from->n_keys > TICKET_KEYS_MAX) {
        making_refuse(m, XDS_AT(at, "keys"), ERROR_RANGE, "has %zu keys; 1 to %d are possible", from->n_keys,
                      TICKET_KEYS_MAX);
        return;
    }
    struct str *keys = making_array(m, from->n_keys, sizeof *keys);
    for (size_t i = 0; keys && i < from->n_keys; i++) {
        keys[i] = take(m, XDS_AT_ITEM(at, "keys", i), from->keys[i]);
        if (keys[i].n != XDS_TICKET_KEY_SIZE)
            making_refuse(m, XDS_AT_ITEM(at, "keys", i), ERROR_RANGE, "has %zu byte%s; there must be %d", keys[i].n,
                          plural(keys[i].n), XDS_TICKET_KEY_SIZE);
    }
    to->ticket_keys = keys;
    to->ticket_key_count = keys ? from->n_keys : 0;
}

char *tls_take_ticket_keys(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsSessionTicketKeys) *from) {
    struct xds_given given = {0};
    size_t before = m->faults;
    tls_read_keys(m, at, from, &given);
    return m->faults == before ? tls_give(m, &given) : NULL;
}

static void take_secret(struct making *m, const TLS_MESSAGE(Secret) *from) {
    struct xds_given given = {0};
    if (!from->name[0])
        making_refuse(m, XDS_AT(NULL, "name"), ERROR_MISSING, "is empty");
    switch (from->type_case) {
    case SECRET_CASE(TLS_CERTIFICATE): take_pair(m, from->tls_certificate, &given); break;
    case SECRET_CASE(VALIDATION_CONTEXT): take_trust(m, from->validation_context, &given); break;
    case SECRET_CASE(SESSION_TICKET_KEYS):
        tls_read_keys(m, XDS_AT(NULL, "session_ticket_keys"), from->session_ticket_keys, &given);
        break;
    default: making_refuse(m, NULL, ERROR_MISSING, "there is no secret in it"); break;
    }
    given.name = xds_name_map(&m->arena, STR(XDS_GIVEN), str_of(from->name)).p;
    if (!given.name)
        making_out_of_memory(m);
    else if (!m->faults)
        tls_give(m, &given);
}

int xds_translate_secret(const TLS_MESSAGE(Secret) *m, struct xds_made *ret, struct error_list *errors) {
    struct making making;
    if (making_begin(&making, &xds_read_secret, &m->base, "secret", m->name, ret, errors) == 0)
        take_secret(&making, m);
    return making_end(&making);
}
