/* peer_rules.h — what a peer's certificate must be, beside signed by an authority: one that has a name of a list
 * (peer_names.h), and one of a list of pins. For TLS of the data plane in both directions, and for health checks of the
 * control plane.
 *
 * Immutable once made; any thread may ask. */
#pragma once

#include "dataplane/routing/peer_names.h"

enum { PEER_PINS_MAX = 400 };

struct peer_pins;

/* A zeroed struct asks for nothing. */
struct peer_rules {
    struct peer_names *names;
    struct peer_pins  *pins;
};

/* One of those who say it: a listener or cluster, the authorities that it names. Their lists count as one. */
struct peer_wish {
    Headgate__NameMatch *const      *names;
    size_t                           name_count;
    const Headgate__CertificatePins *pins;      /* NULL: none */
};

struct peer_fault {
    size_t      wish;
    const char *field;                          /* "match_names", "pins.certificates", "pins.keys"; NULL: no memory */
    size_t      item;
    char        why[128];
};

/* 0, or -1 with *ret_fault, and `ret` as it was. */
int  peer_rules_make(const struct peer_wish *wishes, size_t count, struct peer_rules *ret, struct peer_fault *ret_fault);
void peer_rules_finish(struct peer_rules *rules);
static inline bool peer_rules_ask(const struct peer_rules *rules) {
    return rules->names || rules->pins;
}

/* Whether it is one of them. NULL: any is. */
bool peer_pins_fit(const struct peer_pins *pins, X509 *certificate);

/* What a verify callback of OpenSSL returns: refuses a certificate that was found good, and is the peer's own, but is not as
 * the rules have it. */
int  peer_rules_verify(const struct peer_rules *rules, int is_good, X509_STORE_CTX *store);
/* Instead of all that OpenSSL verifies (SSL_CTX_set_cert_verify_callback): 1 for a pinned certificate, otherwise 0. */
int  peer_rules_verify_pins_only(const struct peer_rules *rules, X509_STORE_CTX *store);
