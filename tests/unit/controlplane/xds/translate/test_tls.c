/* TLS contexts of listeners and clusters, and secrets: from where they come, what is verified, what is refused. */
#include "tests/unit/controlplane/xds/translate/translating_cluster.h"

#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"

/* ---- towards endpoints ---- */

#define CONTEXT(more) "transport_socket: {name: tls, typed_config: {'@type': type.googleapis.com/envoy.extensions." \
    "transport_sockets.tls.v3.UpstreamTlsContext" more "}}"
#define COMMON(more) CONTEXT(", common_tls_context: {" more "}")
#define AT "cluster/a: transport_socket.typed_config"

#define MADE(yaml, text) check_cluster("{name: a, " yaml "}", "name: a\n" text)
#define REFUSED(yaml, text) check_cluster("{name: a, " yaml "}", AT text "\n")
#define SDS(name) "{name: " name ", sds_config: {ads: {}}}"
#define NEEDS "needs envoy.extensions.transport_sockets.tls.v3.Secret "

static void plain_sockets(void **state) {
    (void)state;
    MADE("transport_socket: {name: envoy.transport_sockets.raw_buffer}", "");
    MADE("transport_socket: {name: x, typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets."
         "raw_buffer.v3.RawBuffer}}", "");
    check_cluster("{name: a, transport_socket: {name: x}}", AT ": is missing\n");
    check_cluster("{name: a, transport_socket: {name: x, typed_config: {'@type': type.googleapis.com/envoy.extensions."
                  "transport_sockets.tls.v3.DownstreamTlsContext}}}", AT ": is of the type \"type.googleapis.com/envoy."
                  "extensions.transport_sockets.tls.v3.DownstreamTlsContext\", which is not supported here\n");
}

#define PROXY(more) "transport_socket: {name: p, typed_config: {'@type': type.googleapis.com/envoy.extensions." \
    "transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport" more "}}"

static void proxy_headers_stand_in_front(void **state) {
    (void)state;
    MADE(PROXY(", " "transport_socket: {name: envoy.transport_sockets.raw_buffer}"), "proxy-protocol: v1\n");
    MADE(PROXY(", config: {version: V2}, " CONTEXT("")), "tls: {insecure: true}\nproxy-protocol: v2\n");
    REFUSED(PROXY(""), ".transport_socket: is missing");
    REFUSED(PROXY(", config: {added_tlvs: [{type: 1}]}, transport_socket: {name: x}"),
            ".config.added_tlvs: is not supported");
}

static void without_authorities_nothing_is_verified(void **state) {
    (void)state;
    MADE(CONTEXT(""), "tls: {insecure: true}\n");
    MADE(CONTEXT(", sni: Web.test, max_session_keys: 0"), "tls: {sni: web.test, insecure: true}\n");
    MADE(COMMON("validation_context: {trusted_ca: {filename: ca.pem}, trust_chain_verification: ACCEPT_UNTRUSTED}"),
         "tls: {insecure: true}\n");
    REFUSED(COMMON("validation_context: {match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a.test}}]}"),
            ".common_tls_context: is not supported: names are matched, but there are no authorities");
    REFUSED(CONTEXT(", auto_sni_san_validation: true"),
            ".common_tls_context: is not supported: names are matched, but there are no authorities");
}

static void authorities_of_files(void **state) {
    (void)state;
    MADE(COMMON("validation_context: {trusted_ca: {filename: /etc/ca.pem}, only_verify_leaf_cert_crl: true}"),
         "tls: {ca: /etc/ca.pem, only-verify-leaf-cert-crl: true, any-name: true}\ntrusts /etc/ca.pem@b70a1cd8\n");
    MADE(COMMON("tls_certificates: [{certificate_chain: {filename: 'sds:a'}, private_key: {filename: 'embedded:a'}}]"),
         "tls: {certificate: ./sds:a, key: ./embedded:a, insecure: true}\nshows ./sds:a@74e18ddc\n");
    MADE(COMMON("validation_context: {system_root_certs: {}}"), "tls: {any-name: true}\ntrusts system-ca\n");
    REFUSED(COMMON("validation_context: {trusted_ca: {environment_variable: CA}}"),
            ".common_tls_context.validation_context.trusted_ca.environment_variable: is not supported");
    REFUSED(COMMON("validation_context: {trusted_ca: {filename: a}, crl: {filename: b}}"),
            ".common_tls_context.validation_context.crl: is not supported: it may be inline beside an inline trusted_ca; "
            "a file "
            "of authorities may have lists in it");
}

static void authorities_that_stand_there(void **state) {
    (void)state;
    MADE(COMMON("validation_context: {trusted_ca: {inline_string: PEM}, crl: {inline_bytes: Q1JM}}"),
         "tls: {ca: \"sds:@inline-3d7d83377ceed390da9d24884bdb0f64\", any-name: true}\n"
         "trusts sds:@inline-3d7d83377ceed390da9d24884bdb0f64\n"
         "given sds:@inline-3d7d83377ceed390da9d24884bdb0f64: certificate=PEM crl=CRL\n");
}

static void authorities_of_the_servers(void **state) {
    (void)state;
    MADE(COMMON("validation_context_sds_secret_config: " SDS("'file:ROOT CA'")),
         "tls: {ca: sds:file:ROOT@20CA, any-name: true}\ntrusts sds:file:ROOT@20CA\n" NEEDS "file:ROOT CA\n");
    MADE(COMMON("combined_validation_context: {default_validation_context: {match_typed_subject_alt_names: [{san_type: DNS,"
         " matcher: {exact: A.test}}, {san_type: DNS, matcher: {exact: b.test}}]}, validation_context_sds_secret_config: "
         SDS("ca") "}"), "tls: {ca: sds:ca, match-names: [A.test, b.test]}\ntrusts sds:ca\n" NEEDS "ca\n");
    REFUSED(COMMON("combined_validation_context: {default_validation_context: {trusted_ca: {filename: x}}}"),
            ".common_tls_context.combined_validation_context.default_validation_context: is not supported: its "
            "authorities are "
            "those of the secret\n"
            AT ".common_tls_context.combined_validation_context.validation_context_sds_secret_config: "
            "is missing");
    REFUSED(COMMON("validation_context_sds_secret_config: {sds_config: {ads: {}}}"),
            ".common_tls_context.validation_context_sds_secret_config.name: is empty");
    REFUSED(COMMON("validation_context_sds_secret_config: {name: x}"),
            ".common_tls_context.validation_context_sds_secret_config"
            ".sds_config: is not supported: without it a secret of the bootstrap is meant, and it has none");
}

static void names_that_a_certificate_must_have(void **state) {
    (void)state;
    MADE(COMMON("validation_context: {system_root_certs: {}, match_subject_alt_names: [{exact: a.test}, {exact: A.test}]}"),
         "tls: {names: [a.test]}\ntrusts system-ca\n");
    MADE(CONTEXT(", auto_host_sni: true, sni: x.test, auto_sni_san_validation: true, common_tls_context: "
                 "{validation_context:"
         " {system_root_certs: {}, match_subject_alt_names: [{exact: a.test}]}}"), "tls: {}\ntrusts system-ca\n");
    MADE("upstream_http_protocol_options: {auto_sni: true, auto_san_validation: true}, "
         CONTEXT(", sni: x.test, common_tls_context: {validation_context: {system_root_certs: {}}}"),
         "tls: {}\ntrusts system-ca\n");
    REFUSED(COMMON("validation_context: {system_root_certs: {}, match_typed_subject_alt_names: [{san_type: DNS, matcher: "
            "{exact: a.test}}, {san_type: DNS, matcher: {exact: a b}}]}"),
            ".common_tls_context.validation_context.match_typed_subject_alt_names[1].matcher.exact: is \"a b\": not a "
                "name "
            "of a host");
    REFUSED(COMMON("validation_context: {system_root_certs: {}, match_typed_subject_alt_names: [{san_type: OTHER_NAME, "
            "matcher: {exact: x}}, {matcher: {exact: x}}, {san_type: URI}, {san_type: URI, matcher: {prefix: ''}}, "
            "{san_type: URI, matcher: {safe_regex: {regex: '('}}}]}"),
            ".common_tls_context.validation_context.match_typed_subject_alt_names[0].san_type: is not supported: only DNS, "
            "URI, EMAIL and IP_ADDRESS are\n"
            AT ".common_tls_context.validation_context.match_typed_subject_alt_names[1].san_type: is not supported: only "
               "DNS, URI, EMAIL and IP_ADDRESS are\n"
            AT ".common_tls_context.validation_context.match_typed_subject_alt_names[2].matcher: says nothing to compare "
               "with\n"
            AT ".common_tls_context.validation_context.match_typed_subject_alt_names[3].matcher.prefix: is empty\n"
            AT ".common_tls_context.validation_context.match_typed_subject_alt_names[4].matcher.safe_regex.regex: is \"(\": "
               "the regular expression is wrong at offset 1: missing closing parenthesis");
    REFUSED(COMMON("validation_context: {system_root_certs: {}, match_typed_subject_alt_names: [{san_type: DNS, matcher:"
            " {custom: {}}}], max_verify_depth: 3, allow_expired_certificate: true}"),
            ".common_tls_context.validation_context.allow_expired_certificate: is not supported\n"
            AT ".common_tls_context.validation_context.match_typed_subject_alt_names[0].matcher.custom: is not supported\n"
            AT ".common_tls_context.validation_context.max_verify_depth: is not supported");
}

#define HASH "a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1"
#define COLONS "A0:B1:C2:D3:E4:F5:A6:B7:C8:D9:E0:F1:A2:B3:C4:D5:E6:F7:A8:B9:C0:D1:E2:F3:A4:B5:C6:D7:E8:F9:A0:B1"
#define KEY_HASH "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void certificates_by_their_hashes(void **state) {
    (void)state;
    MADE(COMMON("validation_context: {system_root_certs: {}, verify_certificate_hash: ['" COLONS "', " HASH "], "
                "verify_certificate_spki: [" KEY_HASH "]}"),
         "tls:\n  any-name: true\n  pins:\n    certificates: [" HASH "]\n    keys: [" KEY_HASH "]\ntrusts system-ca\n");
    MADE(COMMON("validation_context: {verify_certificate_spki: [" KEY_HASH "]}"),
         "tls:\n  pins: {keys: [" KEY_HASH "], only: true}\n");
    MADE(COMMON("validation_context: {verify_certificate_spki: [" KEY_HASH "], trust_chain_verification: ACCEPT_UNTRUSTED}"),
         "tls: {insecure: true}\n");
    MADE(COMMON("combined_validation_context: {default_validation_context: {verify_certificate_hash: [" HASH "]}, "
                "validation_context_sds_secret_config: " SDS("ca") "}"),
         "tls:\n  ca: sds:ca\n  any-name: true\n  pins:\n    certificates: [" HASH "]\ntrusts sds:ca\n" NEEDS "ca\n");
    REFUSED(COMMON("validation_context: {verify_certificate_hash: [x, " HASH "0], verify_certificate_spki: [" HASH "]}"),
            ".common_tls_context.validation_context.verify_certificate_hash[0]: is \"x\": not 32 octets in hexadecimal\n"
            AT ".common_tls_context.validation_context.verify_certificate_hash[1]: is \"" HASH "0\": not 32 octets in "
            "hexadecimal\n"
            AT ".common_tls_context.validation_context.verify_certificate_spki[0]: is \"" HASH "\": not 32 octets in "
            "base64");
    REFUSED(COMMON("validation_context: {verify_certificate_hash: [" HASH "], match_typed_subject_alt_names: [{san_type: "
                   "DNS, matcher: {exact: a.test}}]}"),
            ".common_tls_context: is not supported: names are matched, but there are no authorities");
}

static void names_by_their_parts(void **state) {
    (void)state;
    MADE(COMMON("validation_context: {system_root_certs: {}, match_subject_alt_names: [{exact: 'spiffe://td/ns/a'}]}"),
         "tls:\n  match-names:\n    - \"spiffe://td/ns/a\"\n    - {type: uri, exact: \"spiffe://td/ns/a\"}\n"
         "    - {type: email, exact: \"spiffe://td/ns/a\"}\n    - {type: ip, exact: \"spiffe://td/ns/a\"}\n"
         "trusts system-ca\n");
    MADE(COMMON("combined_validation_context: {default_validation_context: {match_typed_subject_alt_names: ["
                "{san_type: DNS, matcher: {exact: a.test, ignore_case: true}}, {san_type: URI, matcher: "
                "{prefix: 'spiffe://td/', ignore_case: true}}, {san_type: EMAIL, matcher: {suffix: '@a.test'}}, "
                "{san_type: IP_ADDRESS, matcher: {contains: '0.0'}}, "
                "{san_type: URI, matcher: {safe_regex: {regex: 'spiffe://.*/x'}}}]}, "
                "validation_context_sds_secret_config: " SDS("ca") "}"),
         "tls:\n  ca: sds:ca\n  match-names:\n    - a.test\n"
         "    - {type: uri, prefix: \"spiffe://td/\", ignore-case: true}\n    - {type: email, suffix: \"@a.test\"}\n"
         "    - {type: ip, contains: \"0.0\"}\n    - {type: uri, regex: \"spiffe://.*/x\"}\n"
         "trusts sds:ca\n" NEEDS "ca\n");
}

static void what_is_presented(void **state) {
    (void)state;
    MADE(COMMON("tls_certificates: [{certificate_chain: {filename: c.pem}, private_key: {filename: c.key}}]"),
         "tls: {certificate: c.pem, key: c.key, insecure: true}\nshows c.pem@b68da5f5\n");
    MADE(COMMON("tls_certificates: [{certificate_chain: {inline_string: CERT}, private_key: {inline_string: KEY}}]"),
         "tls:\n  certificate: \"sds:@inline-69beecdff69e682fae30a4e5b82b10ce\"\n"
         "  key: \"sds:@inline-69beecdff69e682fae30a4e5b82b10ce\"\n  insecure: true\n"
         "shows sds:@inline-69beecdff69e682fae30a4e5b82b10ce\n"
         "given sds:@inline-69beecdff69e682fae30a4e5b82b10ce: certificate=CERT key=KEY\n");
    MADE(COMMON("tls_certificate_sds_secret_configs: [" SDS("own") "]"),
         "tls: {certificate: sds:own, key: sds:own, insecure: true}\nshows sds:own\n" NEEDS "own\n");
    REFUSED(COMMON("tls_certificate_sds_secret_configs: [" SDS("a") ", " SDS("b") "]"),
            ".common_tls_context.tls_certificates: is not supported: one certificate is presented, not several");
    REFUSED(COMMON("tls_certificates: [{certificate_chain: {filename: c.pem}, private_key: {inline_string: x}}]"),
            ".common_tls_context.tls_certificates[0]: is not supported: its parts come partly from files");
    REFUSED(COMMON("tls_certificates: [{certificate_chain: {filename: c.pem}}]"),
            ".common_tls_context.tls_certificates[0].private_key: is missing");
    REFUSED(COMMON("tls_certificates: [{pkcs12: {filename: c}, password: {filename: c}, private_key_provider: {}}]"),
            ".common_tls_context.tls_certificates[0].password: is not supported\n"
            AT ".common_tls_context.tls_certificates[0].private_key_provider: is not supported\n"
            AT ".common_tls_context.tls_certificates[0].pkcs12: is not supported");
}

#define PARAMETERS(more) COMMON("tls_params: {" more "}")

static void versions_and_algorithms(void **state) {
    (void)state;
    MADE(PARAMETERS("tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_2, cipher_suites: "
         "['[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]', ECDHE-RSA-AES128-GCM-SHA256,"
         " ECDHE-ECDSA-AES128-GCM-SHA256], ecdh_curves: [X25519, P-256]"),
         "tls:\n  insecure: true\n  min-version: 1.2\n  max-version: 1.2\n  ciphers:\n    - ECDHE-ECDSA-AES128-GCM-SHA256\n"
         "    - ECDHE-ECDSA-CHACHA20-POLY1305\n    - ECDHE-RSA-AES128-GCM-SHA256\n  groups: [X25519, P-256]\n");
    MADE(PARAMETERS("tls_minimum_protocol_version: TLSv1_3, cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256]"),
         "tls: {insecure: true, min-version: 1.3}\n");
    REFUSED(PARAMETERS("tls_minimum_protocol_version: TLSv1_0"),
            ".common_tls_context.tls_params.tls_minimum_protocol_version:"
            " is not supported: the oldest version is TLSv1_2");
    REFUSED(PARAMETERS("tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2"),
            ".common_tls_context."
            "tls_params.tls_minimum_protocol_version: is above tls_maximum_protocol_version");
    REFUSED(PARAMETERS("cipher_suites: [AES128-SHA, '[]'], ecdh_curves: [P-224]"),
            ".common_tls_context.tls_params.cipher_suites[0]: is \"AES128-SHA\": not a cipher of TLS 1.2 with forward "
            "secrecy "
            "and authenticated encryption\n" AT ".common_tls_context.tls_params.cipher_suites[1]: is empty\n"
            AT ".common_tls_context.tls_params.ecdh_curves[0]: is \"P-224\": not a group");
    REFUSED(PARAMETERS("signature_algorithms: [x], compliance_policies: [FIPS_202205]"),
            ".common_tls_context.tls_params.signature_algorithms: is not supported\n"
            AT ".common_tls_context.tls_params.compliance_policies: is not supported");
}

static void what_is_spoken_inside(void **state) {
    (void)state;
    MADE(COMMON("alpn_protocols: [h2, http/1.1]"), "tls: {insecure: true}\n");
    MADE("http2_protocol_options: {}, " COMMON("alpn_protocols: [h2]"),
         "protocol: http2\ntls: {insecure: true}\nhttp2: {}\n");
    REFUSED(COMMON("alpn_protocols: [h2]"),
            ".common_tls_context.alpn_protocols: has no \"http/1.1\", which is what the cluster speaks");
    REFUSED(CONTEXT(", allow_renegotiation: true, common_tls_context: {key_log: {path: x}, custom_handshaker: {name: x}}"),
            ".common_tls_context.custom_handshaker: is not supported\n" AT ".common_tls_context.key_log: is not supported\n"
            AT ".allow_renegotiation: is not supported");
}

/* ---- sockets by endpoint ---- */

#define MATCH(match, more) "transport_socket_matches: [{name: m, match: {" match "}" more "}]"
#define TLS_OF(sni) "transport_socket: {name: tls, typed_config: {'@type': type.googleapis.com/envoy.extensions." \
    "transport_sockets.tls.v3.UpstreamTlsContext, sni: " sni "}}"
#define KEY "envoy.transport_socket_match."

static void sockets_by_endpoint(void **state) {
    (void)state;
    MADE("transport_socket_matches: [{name: a, match: {tlsMode: istio, deep: true}, " TLS_OF("a.test") "}, {name: b, match: "
         "{}, transport_socket: {name: envoy.transport_sockets.raw_buffer}}], " TLS_OF("own.test"),
         "tls: {sni: own.test, insecure: true}\ntls-choices:\n  - match:\n      " KEY "deep: \"true\"\n      "
         KEY "tlsMode: istio\n"
         "    tls: {sni: a.test, insecure: true}\n  - {}\n");
    MADE(MATCH("a: b", ""), "tls-choices:\n  - match: {" KEY "a: b}\n");
    MADE("http2_protocol_options: {}, " MATCH("a: 8", ", " TLS_OF("a.test")),
         "protocol: http2\ntls-choices:\n  - match: {" KEY "a: \"8\"}\n    tls: {sni: a.test, insecure: true}\n"
         "http2: {}\n");
    MADE(PROXY(", transport_socket: {name: envoy.transport_sockets.raw_buffer}") ", transport_socket_matches: [{name: a, "
         PROXY(", config: {version: V1}, " CONTEXT("")) "}]",
         "tls-choices:\n  - tls: {insecure: true}\nproxy-protocol: v1\n");
}

static void sockets_by_endpoint_that_cannot_be(void **state) {
    (void)state;
    check_cluster("{name: a, " MATCH("a: [b], '': x, b: {c: d}, 'a b': c", "") "}",
                  "cluster/a: transport_socket_matches[0].match.fields[\"a\"]: is not supported: only texts, numbers and "
                  "true or false are\n"
                  "cluster/a: transport_socket_matches[0].match.fields[\"\"]: has no name\n"
                  "cluster/a: transport_socket_matches[0].match.fields[\"b\"]: is not supported: only texts, numbers and "
                  "true or false are\n"
                  "cluster/a: transport_socket_matches[0].match.fields[\"a b\"]: is \"a b\": not a single word\n");
    check_cluster("{name: a, " MATCH("", ", " PROXY(", transport_socket: {name: envoy.transport_sockets.raw_buffer}")) "}",
                  "cluster/a: transport_socket_matches[0].transport_socket: is not supported: all sockets of a cluster send "
                  "the same PROXY header\n");
    check_cluster("{name: a, " MATCH("", ", transport_socket: {name: x}") "}",
                  "cluster/a: transport_socket_matches[0].transport_socket.typed_config: is missing\n");
    check_cluster("{name: a, transport_socket_matcher: {}}", "cluster/a: transport_socket_matcher: is not supported\n");
}

/* ---- towards clients ---- */

static int translate_server(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    struct making making;
    struct tls_alpn alpn = {0};
    if (making_begin(&making, &xds_read_downstream_tls, m, "listener", "l", ret, errors) == 0) {
        Headgate__Listener *l = making_new(&making, &headgate__listener__descriptor);
        Headgate__ServerTls *tls = tls_make_server(&making, NULL, (const void *)m, &alpn);
        if (l && tls) {
            l->tls = tls;
            l->route_table = making_text(&making, alpn.has_http2 ? STR("h2") : STR("h1"));
            making_emit(&making, HEADGATE__KIND__KIND_LISTENER, "l", &l->base);
        }
    }
    return making_end(&making);
}

static void print_names(char *const *names, size_t count, struct strbuf *out) {
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, " %s", names[i]);
}

static void print_server(const struct xds_made *made, struct strbuf *out) {
    struct error_list errors = {0};
    const struct config_resource *r = &made->set.items[0];
    Headgate__Listener *l = (Headgate__Listener *)resource_decode(r->kind, str_of(r->name), r->bytes, r->size, &errors);
    assert_non_null(l);
    const Headgate__ServerTls *tls = l->tls;
    strbuf_puts(out, "shows");
    print_names(tls->certificates, tls->n_certificates, out);
    for (size_t i = 0; i < tls->n_certificate_files; i++)
        strbuf_printf(out, " of %s %s %s", tls->certificate_files[i]->certificate, tls->certificate_files[i]->key,
                      tls->certificate_files[i]->ocsp ? tls->certificate_files[i]->ocsp : "-");
    strbuf_printf(out, "\nclients %d trust %s file %s leaf %d\n", (int)tls->client_certificates,
                  tls->client_trust ? tls->client_trust : "-", tls->client_trust_file ? tls->client_trust_file : "-",
                  tls->only_verify_leaf_cert_crl);
    strbuf_printf(out, "tickets %d lifetime %llus sni %d versions %d-%d %s\n", tls->tickets,
                  (unsigned long long)tls->session_lifetime / 1000000, tls->require_sni_match, (int)tls->min_version,
                  (int)tls->max_version, l->route_table);
    if (tls->ticket_keys)
        strbuf_printf(out, "keys %s\n", tls->ticket_keys);
    if (tls->pins)
        strbuf_printf(out, "pins %zu %zu only %d\n", tls->pins->n_certificates, tls->pins->n_keys, tls->pins->only);
    for (size_t i = 0; i < tls->n_match_names; i++)
        strbuf_printf(out, "client %d %s\n", (int)tls->match_names[i]->type, tls->match_names[i]->exact);
    for (size_t i = 0; i < made->need_count; i++)
        strbuf_printf(out, "needs %s\n", made->needs[i].name);
    headgate__listener__free_unpacked(l, NULL);
    error_list_finish(&errors);
}

static const struct translating server = {
    &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor, translate_server, print_server,
};

#define OWN "tls_certificate_sds_secret_configs: [" SDS("own") "]"
#define USUAL "tickets 1 lifetime 43200s sni 0 versions 2-3 h1\n"

static void contexts_of_listeners(void **state) {
    (void)state;
    assert_translated(&server, "{common_tls_context: {" OWN "}}",
                      "shows sds:own of sds:own sds:own -\nclients 0 trust - file - leaf 0\n" USUAL "needs own\n");
    assert_translated(&server, "{common_tls_context: {tls_certificates: [{certificate_chain: {filename: c.pem}, private_key:"
                      " {filename: c.key}, ocsp_staple: {filename: c.der}}, {certificate_chain: {filename: d.pem},"
                      " private_key: {filename: d.key}}], validation_context: {trusted_ca: {filename: ca.pem}},"
                      " alpn_protocols: [h2, http/1.1]}, require_client_certificate: true, require_sni: true, "
                      "session_timeout:"
                      " 3600s, disable_stateless_session_resumption: true, disable_stateful_session_resumption: true}",
                      "shows c.pem@486190f6 d.pem@7eece36e of c.pem c.key c.der of d.pem d.key -\n"
                      "clients 2 trust ca.pem@84e32f04 file ca.pem leaf 0\n"
                      "tickets 0 lifetime 3600s sni 1 versions 2-3 h2\n");
    assert_translated(&server, "{common_tls_context: {" OWN ", combined_validation_context: {default_validation_context:"
                      " {only_verify_leaf_cert_crl: true}, validation_context_sds_secret_config: " SDS("ca") "}}}",
                      "shows sds:own of sds:own sds:own -\nclients 1 trust sds:ca file sds:ca leaf 1\n" USUAL "needs "
                      "own\nneeds ca\n");
}

static void contexts_of_listeners_that_are_refused(void **state) {
    (void)state;
    assert_translated(&server, "{}", "listener/l: common_tls_context: is missing\n");
    assert_translated(&server, "{common_tls_context: {}}",
                      "listener/l: common_tls_context.tls_certificates: there is no certificate\n");
    assert_translated(&server, "{common_tls_context: {" OWN ", alpn_protocols: [istio]}, require_client_certificate: true,"
                      " ocsp_staple_policy: MUST_STAPLE, session_timeout: 0s}",
                      "listener/l: require_client_certificate: is not supported: there are no authorities to verify it\n"
                      "listener/l: session_timeout: is 0s; 1s to 7d are possible\n"
                      "listener/l: ocsp_staple_policy: is not supported: a certificate is used without a response, too\n"
                      "listener/l: common_tls_context.alpn_protocols[0]: is not supported: only h2 and http/1.1 are\n");
    assert_translated(&server, "{common_tls_context: {" OWN ", validation_context: {"
                      "trust_chain_verification: ACCEPT_UNTRUSTED}}, session_ticket_keys: {keys: [{filename: x}]}, "
                      "prefer_client_ciphers: true}",
                      "listener/l: common_tls_context.validation_context.trust_chain_verification: is not supported\n"
                      "listener/l: session_ticket_keys.keys[0].filename: is not supported\n"
                      "listener/l: prefer_client_ciphers: is not supported\n");
}

static void keys_of_tickets(void **state) {
    (void)state;
    assert_translated(&server, "{common_tls_context: {" OWN "}, session_ticket_keys_sds_secret_config: " SDS("t k") "}",
                      "shows sds:own of sds:own sds:own -\nclients 0 trust - file - leaf 0\n" USUAL
                      "keys sds:t@20k\nneeds own\nneeds t k\n");
    assert_translated(&server, "{common_tls_context: {" OWN "}, session_ticket_keys: {}}",
                      "listener/l: session_ticket_keys.keys: has 0 keys; 1 to 16 are possible\n");
    assert_translated(&server, "{common_tls_context: {" OWN "}, session_ticket_keys: {keys: [{inline_string: short}]}}",
                      "listener/l: session_ticket_keys.keys[0]: has 5 bytes; there must be 80\n");
}

static void names_of_clients(void **state) {
    (void)state;
    assert_translated(&server, "{common_tls_context: {" OWN ", validation_context: {trusted_ca: {filename: ca.pem}, "
                      "match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: A}}, {san_type: URI, matcher: "
                      "{exact: 'spiffe://a'}}]}}}",
                      "shows sds:own of sds:own sds:own -\nclients 1 trust ca.pem@84e32f04 file ca.pem leaf 0\n" USUAL
                      "client 0 A\nclient 1 spiffe://a\nneeds own\n");
    assert_translated(&server, "{common_tls_context: {" OWN ", validation_context: {match_typed_subject_alt_names: ["
                      "{san_type: URI, matcher: {exact: 'spiffe://a'}}]}}}",
                      "listener/l: common_tls_context: is not supported: names are matched, but there are no authorities\n");
}

static void hashes_of_clients(void **state) {
    (void)state;
    assert_translated(&server, "{require_client_certificate: true, common_tls_context: {" OWN ", validation_context: "
                      "{trusted_ca: {filename: ca.pem}, verify_certificate_hash: [" HASH "]}}}",
                      "shows sds:own of sds:own sds:own -\nclients 2 trust ca.pem@84e32f04 file ca.pem leaf 0\n" USUAL
                      "pins 1 0 only 0\nneeds own\n");
    assert_translated(&server, "{common_tls_context: {" OWN ", validation_context: {verify_certificate_spki: [" KEY_HASH
                      "]}}}", "shows sds:own of sds:own sds:own -\nclients 1 trust - file - leaf 0\n" USUAL
                      "pins 0 1 only 1\nneeds own\n");
}

/* ---- secrets ---- */

static int translate_secret(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    return xds_translate_secret((const void *)m, ret, errors);
}

static void print_rules(struct str rules, struct strbuf *out) {
    Headgate__Trust *t = headgate__trust__unpack(NULL, rules.n, (const uint8_t *)rules.p);
    assert_non_null(t);
    for (size_t i = 0; i < t->n_match_names; i++)
        strbuf_printf(out, "rule %d %s\n", (int)t->match_names[i]->type, t->match_names[i]->prefix);
    for (size_t i = 0; t->pins && i < t->pins->n_certificates; i++)
        strbuf_printf(out, "rule %s\n", t->pins->certificates[i]);
    for (size_t i = 0; t->pins && i < t->pins->n_keys; i++)
        strbuf_printf(out, "rule %s\n", t->pins->keys[i]);
    headgate__trust__free_unpacked(t, NULL);
}

static void print_secret(const struct xds_made *made, struct strbuf *out) {
    assert_int_equal(made->set.count, 0);
    assert_int_equal(made->given_count, 1);
    print_given(&made->givens[0], out);
    print_rules(made->givens[0].rules, out);
}

static const struct translating secret = {
    &envoy__extensions__transport_sockets__tls__v3__secret__descriptor, translate_secret, print_secret,
};

#define X15 "xxxxxxxxxxxxxxx"
#define X75 X15 X15 X15 X15 X15

static void secrets_are_given(void **state) {
    (void)state;
    assert_translated(&secret, "{name: kubernetes://web, tls_certificate: {certificate_chain: {inline_string: CERT},"
                      " private_key: {inline_bytes: S0VZ}, ocsp_staple: {inline_bytes: REVS}}}",
                      "given sds:kubernetes://web: certificate=CERT key=KEY ocsp=DER\n");
    assert_translated(&secret, "{name: a b, validation_context: {trusted_ca: {inline_string: CA}, crl: {inline_string: "
                      "CRL}}}",
                      "given sds:a@20b: certificate=CA crl=CRL\n");
    assert_translated(&secret, "{name: r, validation_context: {trusted_ca: {inline_string: CA}, "
                      "match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: 'spiffe://td/'}}], "
                      "verify_certificate_hash: [" HASH "], verify_certificate_spki: [" KEY_HASH "]}}",
                      "given sds:r: certificate=CA\nrule 1 spiffe://td/\nrule " HASH "\nrule " KEY_HASH "\n");
    assert_translated(&secret, "{name: t, session_ticket_keys: {keys: [{inline_string: first" X75 "}, {inline_string: "
                      "other" X75
                      "}]}}", "given sds:t: first other\n");
}

static void secrets_that_mean_nothing_here_are_refused(void **state) {
    (void)state;
    assert_translated(&secret, "{tls_certificate: {}}", "secret/: name: is empty\n"
                      "secret/: tls_certificate.certificate_chain: is missing\nsecret/: tls_certificate.private_key: is "
                      "missing\n");
    assert_translated(&secret, "{name: a}", "secret/a: there is no secret in it\n");
    assert_translated(&secret, "{name: a, generic_secret: {}}", "secret/a: generic_secret: is not supported\n");
    assert_translated(&secret, "{name: a, validation_context: {trusted_ca: {filename: x}, max_verify_depth: 1}}",
                      "secret/a: validation_context.trusted_ca.filename: is not supported\n"
                      "secret/a: validation_context.max_verify_depth: is not supported\n");
    assert_translated(&secret, "{name: a, validation_context: {trusted_ca: {inline_string: CA}, "
                      "match_typed_subject_alt_names: [{san_type: OTHER_NAME, matcher: {exact: a}}], "
                      "verify_certificate_hash: [ab], verify_certificate_spki: ['']}}",
                      "secret/a: validation_context.match_typed_subject_alt_names[0].san_type: is not supported: only DNS, "
                      "URI, EMAIL and IP_ADDRESS are\n"
                      "secret/a: validation_context.verify_certificate_hash[0]: is \"ab\": not 32 octets in hexadecimal\n"
                      "secret/a: validation_context.verify_certificate_spki[0]: is empty\n");
    assert_translated(&secret, "{name: a, validation_context: {verify_certificate_hash: [" HASH "]}}",
                      "secret/a: validation_context.trusted_ca: is missing\n");
    assert_translated(&secret, "{name: a, session_ticket_keys: {keys: [{inline_string: s}]}}",
                      "secret/a: session_ticket_keys.keys[0]: has 1 byte; there must be 80\n");
    assert_translated(&secret, "{name: a, session_ticket_keys: {}}",
                      "secret/a: session_ticket_keys.keys: has 0 keys; 1 to 16 are possible\n");
}

/* ---- all of it ---- */

static void the_same_content_is_given_once(void **state) {
    (void)state;
    char *text = translated(&whole_cluster, "{name: a, " COMMON("tls_certificates: [{certificate_chain: {inline_string: C},"
        " private_key: {inline_string: K}}], validation_context: {trusted_ca: {inline_string: C}}") "}");
    const char *first = strstr(text, "given sds:@inline-"), *second = first ? strstr(first + 1, "given sds:@inline-") : NULL;
    assert_non_null(second); /* a pair and a trust are two, though the certificates are the same */
    assert_memory_not_equal(first, second, 50);
    hg_free(text);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    assert_survives_failures(&whole_cluster, "{name: a, " COMMON("tls_certificates: [{certificate_chain: {inline_string: C},"
        " private_key: {inline_string: K}}], tls_params: {ecdh_curves: [X25519]}, combined_validation_context: {"
        "default_validation_context: {match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: A.test}}]},"
        " validation_context_sds_secret_config: " SDS("ca") "}") "}");
    assert_survives_failures(&whole_cluster, "{name: a, " MATCH("a: b", ", " TLS_OF("a.test")) "}");
    assert_survives_failures(&server, "{common_tls_context: {tls_certificates: [{certificate_chain: {filename: c.pem},"
        " private_key: {filename: c.key}}], validation_context: {trusted_ca: {filename: ca.pem}}}}");
    assert_survives_failures(&secret, "{name: a b, validation_context: {trusted_ca: {inline_string: CA}, "
        "match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: x}}], verify_certificate_hash: [" HASH "]}}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_sockets),
        cmocka_unit_test(proxy_headers_stand_in_front),
        cmocka_unit_test(without_authorities_nothing_is_verified),
        cmocka_unit_test(authorities_of_files),
        cmocka_unit_test(authorities_that_stand_there),
        cmocka_unit_test(authorities_of_the_servers),
        cmocka_unit_test(names_that_a_certificate_must_have), cmocka_unit_test(names_by_their_parts),
        cmocka_unit_test(certificates_by_their_hashes),
        cmocka_unit_test(what_is_presented),
        cmocka_unit_test(versions_and_algorithms),
        cmocka_unit_test(what_is_spoken_inside),
        cmocka_unit_test(sockets_by_endpoint), cmocka_unit_test(sockets_by_endpoint_that_cannot_be),
        cmocka_unit_test(contexts_of_listeners), cmocka_unit_test(keys_of_tickets),
        cmocka_unit_test(names_of_clients), cmocka_unit_test(hashes_of_clients),
        cmocka_unit_test(contexts_of_listeners_that_are_refused),
        cmocka_unit_test(secrets_are_given),
        cmocka_unit_test(secrets_that_mean_nothing_here_are_refused),
        cmocka_unit_test(the_same_content_is_given_once),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
