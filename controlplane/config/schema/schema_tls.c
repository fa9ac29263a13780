#include "controlplane/config/schema/schema_tls.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define MS  ((uint64_t)1000)
#define DAY ((uint64_t)86400000000)

/* ---- what both sides have ---- */

static const struct schema_word versions[] = {
    {"1.2", HEADGATE__TLS_VERSION__TLS_1_2, NULL},
    {"1.3", HEADGATE__TLS_VERSION__TLS_1_3, NULL},
    {0},
};

#define ALGORITHM_KEYS \
    {.key = "min-version", .type = SCHEMA_WORD, .words = versions, .description = "The oldest version of TLS."}, \
    {.key = "max-version", .type = SCHEMA_WORD, .words = versions, .description = "The newest version of TLS."}, \
    {.key = "cipher-suites", .type = SCHEMA_TEXT, .form = &text_cipher_suite, .max = 8, \
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_DISTINCT, .absent = "all of them, AES-128-GCM first", \
     .description = "Of TLS 1.3, in order of preference."}, \
    {.key = "ciphers", .type = SCHEMA_TEXT, .form = &text_cipher, .max = 16, \
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_DISTINCT, .absent = "all of them", \
     .description = "Of TLS 1.2, in order of preference."}, \
    {.key = "groups", .type = SCHEMA_TEXT, .form = &text_group, .max = 16, \
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_DISTINCT, .absent = "[X25519MLKEM768, X25519, P-256, P-384]", \
     .description = "For the exchange of keys, in order of preference."}

#define REVOCATION_KEY \
    {.key = "only-verify-leaf-cert-crl", .type = SCHEMA_BOOL, \
     .description = "Where `ca` has revocation lists, look up the certificate that is shown alone. Otherwise every " \
                    "certificate of its chain is looked up, and each authority needs a list."}

static const struct schema_word name_types[] = {
    {"dns", HEADGATE__NAME_MATCH__TYPE__DNS,
     "A name of a host. Case does not count, and a wildcard of the certificate may cover an `exact` one."},
    {"uri", HEADGATE__NAME_MATCH__TYPE__URI, "For example of SPIFFE."},
    {"email", HEADGATE__NAME_MATCH__TYPE__EMAIL, "An address of mail."},
    {"ip", HEADGATE__NAME_MATCH__TYPE__IP, "An address."},
    {0},
};

static const struct schema_key name_match_keys[] = {
    {.key = "type", .type = SCHEMA_WORD, .words = name_types, .description = "Which kind of name it is."},
    {.key = "exact", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .group = 1, .description = "The whole name."},
    {.key = "prefix", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .group = 1, .description = "How the name begins."},
    {.key = "suffix", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .group = 1, .description = "How the name ends."},
    {.key = "contains", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .group = 1, .description = "A part of the name."},
    {.key = "regex", .type = SCHEMA_TEXT, .form = &text_regex, .group = 1,
     .description = "A regular expression (PCRE2) for the whole name."},
    {.key = "ignore-case", .type = SCHEMA_BOOL,
     .description = "`true`: exact, prefix, suffix and contains take upper and lower case for the same."},
    {0},
};

static const struct schema_object name_match = {
    .title = "name-match",
    .description = "A subject alternative name that a certificate must have. Exactly one of exact, prefix, suffix, contains "
                   "and regex.",
    .message = &headgate__name_match__descriptor,
    .keys = name_match_keys,
    .check = check_name_match,
    .shorthand = "exact",
    .groups = 1 << 1,
};

static const struct schema_key pins_keys[] = {
    {.key = "certificates", .type = SCHEMA_TEXT, .form = &text_certificate_hash, .max = 100,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_DISTINCT,
     .description = "SHA-256 of certificates in DER, in hexadecimal, as `openssl x509 -fingerprint -sha256` has it."},
    {.key = "keys", .type = SCHEMA_TEXT, .form = &text_key_hash, .max = 100,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_DISTINCT,
     .description = "SHA-256 of their keys (SubjectPublicKeyInfo, RFC 7469), in base64: certificates may be renewed."},
    {.key = "only", .type = SCHEMA_BOOL,
     .description = "Nothing else is asked: not who signed the certificate, nor its names, nor whether it has expired."},
    {0},
};

static const struct schema_object pins = {
    .title = "pins",
    .description = "Certificates that are known beforehand. The peer's must be one of them, beside all else that is "
                   "verified.",
    .message = &headgate__certificate_pins__descriptor,
    .keys = pins_keys,
    .check = check_pins,
};

/* ---- listeners ---- */

static const struct schema_key certificate_keys[] = {
    {.key = "certificate", .type = SCHEMA_TEXT, .form = &text_file, .flags = SCHEMA_REQUIRED,
     .description = "A PEM file with the chain, the server's own certificate first."},
    {.key = "key", .type = SCHEMA_TEXT, .form = &text_file, .flags = SCHEMA_REQUIRED,
     .description = "A PEM file with the private key, not encrypted."},
    {.key = "ocsp", .type = SCHEMA_TEXT, .form = &text_file, .absent = "nothing is stapled",
     .description = "A DER file with an OCSP response, to be stapled while it is current."},
    {0},
};

static const struct schema_object certificate = {
    .title = "certificate",
    .description = "A certificate and its key. The files are read by the control plane, below its root (of `run FILE` and "
                   "`validate`: beside the file), and read again when they change. `push --embed` sends them instead; they "
                   "are `embedded:NAME` then. `kubernetes:NAMESPACE/NAME` as `certificate` and as `key` is a Secret of "
                   "Kubernetes with `tls.crt` and `tls.key`, which is watched; where there is a `ca`, "
                   "`kubernetes:NAMESPACE/NAME/KEY` is one of the files in it. A push waits a few seconds until it is "
                   "there.",
    .message = &headgate__certificate_files__descriptor,
    .keys = certificate_keys,
};

static const struct schema_word client_modes[] = {
    {"ignored", HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IGNORED, "None is asked for."},
    {"if-given", HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IF_GIVEN, "A client may have none, but not a wrong one."},
    {"required", HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED, "Without a right one there is no connection."},
    {0},
};

static const struct schema_word identities[] = {
    {"xfcc", HEADGATE__SERVER_TLS__IDENTITY__XFCC, "X-Forwarded-Client-Cert, as Envoy writes it."},
    {"client-cert", HEADGATE__SERVER_TLS__IDENTITY__CLIENT_CERT, "Client-Cert, RFC 9440."},
    {0},
};

static const struct schema_key client_certificates_keys[] = {
    {.key = "mode", .field = "client_certificates", .type = SCHEMA_WORD, .words = client_modes,
     .description = "Whether clients are asked for a certificate."},
    {.key = "ca", .field = "client_trust_file", .type = SCHEMA_TEXT, .form = &text_file,
     .description = "A PEM file with the authorities that may have signed it, and with their revocation lists where there "
                    "are any."},
    {.key = "identity", .type = SCHEMA_WORD, .words = identities, .flags = SCHEMA_LIST | SCHEMA_ONE_OK, .max = 2,
     .absent = "[xfcc]",
     .description = "Which fields tell the origin who the client is. Those that a client sends are removed."},
    REVOCATION_KEY,
    {.key = "match-names", .type = SCHEMA_OBJECT, .object = &name_match, .flags = SCHEMA_LIST, .max = 100,
     .absent = "whatever it is called",
     .description = "Subject alternative names of which a client's certificate must have one."},
    {.key = "pins", .type = SCHEMA_OBJECT, .object = &pins, .absent = "any certificate",
     .description = "Certificates of clients that are known beforehand. With `only` there is no `ca`."},
    {0},
};

static const struct schema_object client_certificates = {
    .title = "client-certificates",
    .description = "Certificates of clients.",
    .message = &headgate__server_tls__descriptor,
    .keys = client_certificates_keys,
    .check = check_client_certificates,
};

static const struct schema_key server_tls_keys[] = {
    {.key = "certificates", .field = "certificate_files", .type = SCHEMA_OBJECT, .object = &certificate,
     .flags = SCHEMA_REQUIRED | SCHEMA_LIST, .min = 1, .max = 100000,
     .description = "Certificates, picked by the name that the client asks for: exact before wildcard, then the first. "
                    "Several for the same names with different kinds of key (RSA beside ECDSA) are offered together."},
    ALGORITHM_KEYS,
    {.key = "client-certificates", .type = SCHEMA_OBJECT, .object = &client_certificates, .flags = SCHEMA_INLINE,
     .description = "Certificates of clients."},
    {.key = "tickets", .type = SCHEMA_BOOL, .description = "Clients may resume a session by a ticket."},
    {.key = "ticket-keys", .type = SCHEMA_TEXT, .form = &text_name, .absent = "those of tls-tickets",
     .description = "The keys of tickets, where a management server gives them: `sds:NAME`. Otherwise they are made by the "
                    "control plane."},
    {.key = "session-lifetime", .type = SCHEMA_DURATION, .min = 1000 * MS, .max = 7 * DAY,
     .description = "How long a ticket is good."},
    {.key = "session-total-lifetime", .type = SCHEMA_DURATION, .min = 1000 * MS, .max = 7 * DAY,
     .description = "How long after its full handshake a session can be resumed. Each resumption gives a new ticket; this "
                    "ends them all."},
    {.key = "require-sni-match", .type = SCHEMA_BOOL,
     .description = "A client that asks for a name that no certificate has is refused, instead of given the first one."},
    {0},
};

const struct schema_object schema_server_tls = {
    .title = "tls",
    .description = "TLS towards clients.",
    .message = &headgate__server_tls__descriptor,
    .keys = server_tls_keys,
    .check = check_server_tls,
};

static const struct schema_word proxy_modes[] = {
    {"off", HEADGATE__PROXY_PROTOCOL__MODE__OFF, "What a client sends is what it is."},
    {"accept", HEADGATE__PROXY_PROTOCOL__MODE__ACCEPT,
     "A trusted source must begin with a header of version 1 or 2; of any other the connection is taken as it is."},
    {0},
};

static const struct schema_key proxy_keys[] = {
    {.key = "mode", .type = SCHEMA_WORD, .words = proxy_modes, .description = "Whether such headers are expected."},
    {.key = "trusted", .type = SCHEMA_TEXT, .form = &text_prefix,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_UNIQUE, .max = 10000, .absent = "nobody",
     .description = "Who may send them. Needed with `accept`."},
    {0},
};

const struct schema_object schema_proxy_protocol = {
    .title = "proxy-protocol",
    .description = "The PROXY protocol: a load balancer in front says who the client is.",
    .message = &headgate__proxy_protocol__descriptor,
    .keys = proxy_keys,
    .check = check_proxy_protocol,
    .shorthand = "mode",
};

/* ---- clusters ---- */

static const struct schema_key client_tls_keys[] = {
    {.key = "sni", .type = SCHEMA_TEXT, .form = &text_dns_name,
     .absent = "the endpoint's host name, otherwise the Host that it gets",
     .description = "The name that is asked for."},
    {.key = "ca", .field = "trust_file", .type = SCHEMA_TEXT, .form = &text_file, .absent = "the authorities of the system",
     .description = "A PEM file with the authorities that may have signed the endpoint's certificate, and with their "
                    "revocation lists where there are any."},
    REVOCATION_KEY,
    {.key = "certificate", .field = "certificate_files.certificate", .type = SCHEMA_TEXT, .form = &text_file,
     .absent = "none is presented",
     .description = "A PEM file with the certificate, or chain, that is presented. Needs `key`."},
    {.key = "key", .field = "certificate_files.key", .type = SCHEMA_TEXT, .form = &text_file,
     .description = "A PEM file with its private key, not encrypted."},
    {.key = "insecure", .type = SCHEMA_BOOL,
     .description = "Verify nothing: anybody between here and the endpoint can read and change everything. Shown in "
                    "`headgate status`."},
    {.key = "names", .type = SCHEMA_TEXT, .form = &text_dns_name, .max = 100,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_DISTINCT, .absent = "the name that is asked for",
     .description = "Names of which the endpoint's certificate must have one."},
    {.key = "any-name", .type = SCHEMA_BOOL,
     .description = "Verify who signed the endpoint's certificate, but not for which name: every certificate of those "
                    "authorities will do."},
    {.key = "match-names", .type = SCHEMA_OBJECT, .object = &name_match, .flags = SCHEMA_LIST, .max = 100,
     .absent = "`names` says it",
     .description = "Subject alternative names of which the endpoint's certificate must have one, instead of `names`."},
    {.key = "pins", .type = SCHEMA_OBJECT, .object = &pins, .absent = "any certificate",
     .description = "Certificates of endpoints that are known beforehand."},
    ALGORITHM_KEYS,
    {0},
};

const struct schema_object schema_client_tls = {
    .title = "cluster-tls",
    .description = "TLS towards endpoints.",
    .message = &headgate__client_tls__descriptor,
    .keys = client_tls_keys,
    .check = check_client_tls,
};

/* ---- HTTP/2 ---- */

static const struct schema_key http2_keys[] = {
    {.key = "max-concurrent-streams", .type = SCHEMA_INTEGER, .min = 1, .max = 100000,
     .description = "Requests at one time on one connection."},
    {.key = "initial-stream-window", .type = SCHEMA_SIZE, .min = KIB, .max = 64 * MIB,
     .description = "Bytes that a peer may send of one message before they are taken. More than `limits.buffer` counts as "
                    "that."},
    {.key = "initial-connection-window", .type = SCHEMA_SIZE, .min = 64 * KIB - 1, .max = 1024 * MIB,
     .description = "Likewise of all messages of a connection."},
    {.key = "header-table-size", .type = SCHEMA_SIZE, .min = 0, .max = 64 * KIB,
     .description = "Memory for the compression of fields, for each connection and direction."},
    {.key = "max-frame-size", .type = SCHEMA_SIZE, .min = 16 * KIB, .max = MIB,
     .description = "The largest frame that a peer may send."},
    {.key = "resets-per-second", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "Streams that a peer may reset, or make the gateway reset, on average."},
    {.key = "reset-burst", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000, .description = "How many of them at once."},
    {.key = "control-frames-per-second", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "Frames without a use for a request (SETTINGS, PING, PRIORITY, empty ones, idle window updates), on "
                    "average."},
    {.key = "control-frame-burst", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "How many of them at once."},
    {.key = "continuation-frames", .type = SCHEMA_INTEGER, .min = 0, .max = 1000,
     .description = "CONTINUATION frames of one block of fields."},
    {.key = "extended-connect", .type = SCHEMA_BOOL, .scopes = SCOPE_LISTENER,
     .description = "Offer WebSocket and the like over HTTP/2 (RFC 8441)."},
    {.key = "ping-interval", .type = SCHEMA_DURATION, .min = 0, .max = DAY, .flags = SCHEMA_MAY_BE_OFF,
     .description = "Silence of a connection with open requests after which it is asked whether it is alive."},
    {.key = "settings-timeout", .type = SCHEMA_DURATION, .min = MS, .max = DAY,
     .description = "How long a peer may take to acknowledge the settings that it is sent. Then its connection is closed "
                    "with SETTINGS_TIMEOUT."},
    {.key = "header-bytes-held", .type = SCHEMA_SIZE, .min = 4 * KIB, .max = 1024 * MIB,
     .description = "Bytes of the heads and trailers that a peer has sent, of all open requests of one connection together. "
                    "Beyond it: 431 for a client, 502 for an origin."},
    {0},
};

const struct schema_object schema_http2 = {
    .title = "http2",
    .description = "HTTP/2: what is offered to the peer, and what one connection may cost. A peer that goes beyond is cut "
                   "off with ENHANCE_YOUR_CALM.",
    .message = &headgate__http2_options__descriptor,
    .keys = http2_keys,
};
