/* peer_names.h — which subject alternative names a peer's certificate must have: one that fits any of a list (RFC 5280
 * section 4.2.1.6). For TLS of the data plane in both directions, and for health checks of the control plane.
 *
 * Immutable once made; any thread may ask. */
#pragma once

#include <stdbool.h>

#include <openssl/types.h>

#include "proto/resources.pb-c.h"

enum { PEER_NAMES_MAX = 100 };

struct peer_names;

/* NULL: item *ret_bad cannot be used, and `why` says so, or there is no memory (`why` is empty). The texts are copied. */
struct peer_names *peer_names_create(Headgate__NameMatch *const *matches, size_t count, size_t *ret_bad, char why[128]);
void               peer_names_destroy(struct peer_names *names);   /* NULL is allowed */

/* Names with a NUL in them never fit, nor does a name for which a regular expression gives up. */
bool peer_names_fit(const struct peer_names *names, const X509 *certificate);

/* What a verify callback of OpenSSL returns: refuses a certificate that was found good, and is the peer's own, but has none
 * of the names. NULL: any will do. */
int  peer_names_verify(const struct peer_names *names, int is_good, X509_STORE_CTX *store);
