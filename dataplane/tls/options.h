/* options.h — versions, suites and groups of a context, as a definition names them; what a peer's certificate must be. */
#pragma once

#include <openssl/types.h>

#include "dataplane/routing/peer_rules.h"
#include "dataplane/tls/secrets.h"
#include "dataplane/tls/trust.h"

struct tls_options {
    Headgate__TlsVersion min_version, max_version;
    char *const         *cipher_suites;
    size_t               n_cipher_suites;
    char *const         *ciphers;
    size_t               n_ciphers;
    char *const         *groups;
    size_t               n_groups;
    const char          *default_groups;
};

/* Sets them. Returns 0, or -1 with faults that name the field and the unknown name. With `place` NULL nothing is
 * reported: the same options passed before. */
int tls_options_apply(SSL_CTX *context, const struct tls_options *o, const struct tls_place *place);
/* What holds for every context. */
void tls_options_common(SSL_CTX *context);

/* What a peer's certificate must be: as the definition says it, and as the trust does (NULL: there is none); its names only
 * where they count. Returns 0, or -1 with a fault. */
int  tls_make_rules(const struct peer_wish *own, const struct trust *trust, bool counts_names, const struct tls_place *place,
                    struct peer_rules *ret);
