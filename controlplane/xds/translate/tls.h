/* tls.h — TLS contexts and secrets of a management server. Thread: one at a time.
 *
 * A certificate or trust comes from files, from a resource of type Secret by its name (a need; our name of it is "sds:" and
 * the mapped name), or stands in the message: then it is given, under a name that a hash of it makes ("sds:@inline-..."), so
 * that another content is another secret. */
#pragma once

#include "controlplane/xds/fields.h"
#include "controlplane/xds/translate/making.h"
#include "proto/envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"

/* What a context of a listener says about the protocols inside, by ALPN. */
struct tls_alpn {
    bool is_said, has_http1, has_http2, has_http3;
};

/* The names of a field; one that is none of these is an error. */
void tls_read_alpn(struct making *m, const struct xds_at *at, const char *field, char *const *names, size_t count,
                   struct tls_alpn *ret);

/* Towards clients; NULL after an error. */
Headgate__ServerTls *tls_make_server(struct making *m, const struct xds_at *at,
                                     const Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext *context,
                                     struct tls_alpn *ret_alpn);

/* What a cluster says elsewhere about TLS towards its endpoints. */
struct tls_client_wishes {
    const char *protocol;               /* that the cluster speaks, by ALPN's name */
    bool wants_sni;                     /* upstream_http_protocol_options.auto_sni */
    bool verifies_sni;                  /* upstream_http_protocol_options.auto_san_validation */
};

/* Towards endpoints; NULL after an error. */
Headgate__ClientTls *tls_make_client(struct making *m, const struct xds_at *at,
                                     const Envoy__Extensions__TransportSockets__Tls__V3__UpstreamTlsContext *context,
                                     const struct tls_client_wishes *wishes);

/* ---- parts, for the files of this half ---- */

#define TLS_MESSAGE(name) Envoy__Extensions__TransportSockets__Tls__V3__##name

/* Versions and algorithms of either side. */
struct tls_algorithms {
    protobuf_c_boolean   has_min_version, has_max_version;
    Headgate__TlsVersion min_version, max_version;
    char               **ciphers, **groups;
    size_t               n_ciphers, n_groups;
};

void tls_take_algorithms(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsParameters) *from,
                         struct tls_algorithms *ret);

/* Names of secrets, and the files that each comes from; what is given has its name there, too. */
struct tls_certificates {
    char                      **names;
    Headgate__CertificateFiles **files;
    size_t                      count;
};

void tls_take_certificates(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CommonTlsContext) *from,
                           struct tls_certificates *ret);

/* Whom a context believes. */
struct tls_trust {
    bool  is_there;                     /* a trust was named, by any of: */
    char *name;                         /* of a secret */
    char *file;                         /* where it comes from; of what is given its name; NULL: the system's */
    bool  is_given_by_name;             /* names and pins may come with it, too */
    bool  is_untrusted_accepted, is_leaf_only;
    const TLS_MESSAGE(CertificateValidationContext) *rules;    /* NULL: there are none */
    const char *rules_field;            /* where they stand, below the context */
};

void tls_take_trust(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CommonTlsContext) *from,
                    struct tls_trust *ret);

/* Names that the certificate of a peer must have one of. Where all are exact names of hosts and `has_hosts`, they are those
 * alone; otherwise they are `matches`. */
struct tls_names {
    char                **hosts;
    size_t                host_count;
    Headgate__NameMatch **matches;
    size_t                match_count;
};

void tls_take_names(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CertificateValidationContext) *rules,
                    bool has_hosts, struct tls_names *ret);

/* Certificates that a peer must have one of; NULL: any, or after an error. */
Headgate__CertificatePins *tls_take_pins(struct making *m, const struct xds_at *at,
                                         const TLS_MESSAGE(CertificateValidationContext) *rules);

/* Whether a source has something; an error where it has in a form that is not understood. Exactly one of the two results is
 * set where it has. */
bool tls_take_source(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__DataSource *from,
                     struct str *ret_inline, char **ret_file);

/* Adds a secret to what is given, unless it is there: its texts are copied. `name` NULL: one by its content. Returns the
 * name in m->arena, or NULL after an error. */
char *tls_give(struct making *m, const struct xds_given *given);

/* Our name of a secret that is named, and a need for it; NULL after an error. */
char *tls_take_named(struct making *m, const struct xds_at *at, const TLS_MESSAGE(SdsSecretConfig) *from);
/* Keys of tickets that stand in the message, under the name that they are given; NULL after an error. */
char *tls_take_ticket_keys(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsSessionTicketKeys) *from);
/* The same into what is given, without a name. */
void tls_read_keys(struct making *m, const struct xds_at *at, const TLS_MESSAGE(TlsSessionTicketKeys) *from,
                   struct xds_given *to);

extern const struct xds_fields tls_read_certificate, tls_read_source, tls_read_ticket_keys, tls_read_secret_config;
extern const struct xds_fields tls_read_name_matcher, tls_read_typed_name_matcher;
extern const struct xds_fields tls_read_common_server, tls_read_common_client;
