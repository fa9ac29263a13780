#include "controlplane/config/message/fill.h"
#include "controlplane/config/schema/schema_tls.h"

static void conflict(struct fill *f, const struct fill_at *at, const char *key, const char *message, const char *expected) {
    struct fill_at below = fill_down(at, key);
    error_set_expected(f->errors, fill_report_key(f, &below, ERROR_CONFLICT, "%s", message), expected, NULL);
}

/* ---- both sides ---- */

/* What is not given counts as its default. */
static void check_versions(struct fill *f, const struct fill_at *at, int min, int max, bool has_suites, bool has_ciphers) {
    if (min > max)
        conflict(f, at, "min-version", "min-version is above max-version", "a version that is not above max-version");
    else if (has_suites && max < HEADGATE__TLS_VERSION__TLS_1_3)
        conflict(f, at, "cipher-suites", "cipher-suites are those of TLS 1.3, which max-version leaves out", "ciphers");
    else if (has_ciphers && min > HEADGATE__TLS_VERSION__TLS_1_2)
        conflict(f, at, "ciphers", "ciphers are those of TLS 1.2, which min-version leaves out", "cipher-suites");
}

void check_name_match(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__NameMatch *name = (const Headgate__NameMatch *)m;
    if (name->ignore_case && name->kind_case == HEADGATE__NAME_MATCH__KIND_REGEX)
        conflict(f, at, "ignore-case", "a regular expression says itself what case means", "(?i) in the regular expression");
}

void check_pins(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__CertificatePins *pins = (const Headgate__CertificatePins *)m;
    if (pins->n_certificates || pins->n_keys)
        return;
    struct error *e = fill_report(f, at, ERROR_MISSING, "there is no pin, so that no certificate would do");
    error_set_expected(f->errors, e, "certificates, keys, or both", NULL);
}

static bool has_only_pins(const Headgate__CertificatePins *pins) {
    return pins && pins->only;
}

/* ---- listeners ---- */

static void check_ignored(struct fill *f, const struct fill_at *at, const Headgate__ServerTls *tls) {
    static const char mode[] = "mode: if-given or mode: required beside it";
    if (tls->client_trust_file)
        conflict(f, at, "ca", "there is a ca, but mode is ignored: no client is asked for a certificate", mode);
    else if (tls->n_match_names)
        conflict(f, at, "match-names", "there are names, but mode is ignored: no client is asked for a certificate", mode);
    else if (tls->pins)
        conflict(f, at, "pins", "there are pins, but mode is ignored: no client is asked for a certificate", mode);
}

void check_client_certificates(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__ServerTls *tls = (const Headgate__ServerTls *)m;
    bool is_ignored = tls->client_certificates == HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IGNORED;
    if (is_ignored) {
        check_ignored(f, at, tls);
    } else if (has_only_pins(tls->pins)) {
        if (tls->client_trust_file || tls->n_match_names)
            conflict(f, at, "pins", "with only, pins take the place of ca and match-names", "one of them");
    } else if (!tls->client_trust_file) {
        struct error *e = fill_report(f, at, ERROR_MISSING, "the key \"ca\" is missing");
        error_set_expected(f->errors, e, "a PEM file with the authorities that may have signed certificates of clients",
                           NULL);
    }
}

void check_server_tls(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__ServerTls *tls = (const Headgate__ServerTls *)m;
    check_versions(f, at, tls->min_version, tls->max_version, tls->n_cipher_suites, tls->n_ciphers);
    if (tls->ticket_keys && !tls->tickets)
        conflict(f, at, "ticket-keys", "there are keys for tickets, but tickets is false", "tickets: true");
}

void check_proxy_protocol(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__ProxyProtocol *proxy = (const Headgate__ProxyProtocol *)m;
    bool is_accepted = proxy->mode == HEADGATE__PROXY_PROTOCOL__MODE__ACCEPT;
    if (is_accepted && proxy->n_trusted == 0) {
        struct error *e = fill_report(f, at, ERROR_MISSING, "the key \"trusted\" is missing: anybody could be anybody");
        error_set_expected(f->errors, e, "{mode: accept, trusted: [10.0.0.0/8]}, with the addresses of the load balancers",
                           NULL);
    } else if (!is_accepted && proxy->n_trusted) {
        conflict(f, at, "trusted", "there are trusted sources, but mode is off", "mode: accept beside it");
    }
}

/* ---- clusters ---- */

void check_client_tls(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__ClientTls *tls = (const Headgate__ClientTls *)m;
    const Headgate__CertificateFiles *files = tls->certificate_files;
    if (files && !files->key)
        conflict(f, at, "certificate", "there is a certificate without its key", "key beside it");
    else if (files && !files->certificate)
        conflict(f, at, "key", "there is a key without its certificate", "certificate beside it");
    if (tls->insecure && tls->trust_file)
        conflict(f, at, "ca", "insecure verifies nothing, so that ca has no use", "insecure or ca, not both");
    if (tls->insecure && tls->n_names)
        conflict(f, at, "names", "insecure verifies nothing, so that names have no use", "insecure or names, not both");
    if (tls->any_name && (tls->insecure || tls->n_names))
        conflict(f, at, "any-name", "any name will do, so that names and insecure have no use",
                 "one of any-name, names and insecure");
    if (tls->n_match_names && (tls->insecure || tls->any_name || tls->n_names))
        conflict(f, at, "match-names", "match-names takes the place of names, any-name and insecure", "one of them");
    if (tls->pins && tls->insecure)
        conflict(f, at, "pins", "insecure verifies nothing, so that pins have no use", "insecure or pins, not both");
    else if (has_only_pins(tls->pins) && (tls->trust_file || tls->any_name || tls->n_names || tls->n_match_names))
        conflict(f, at, "pins", "with only, pins take the place of ca, names, any-name and match-names", "one of them");
    check_versions(f, at, tls->min_version, tls->max_version, tls->n_cipher_suites, tls->n_ciphers);
}
