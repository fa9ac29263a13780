/* trust.h — authorities and revocation lists, shared by definitions, decoded once per worker. */
#pragma once

#include <openssl/types.h>

#include "dataplane/tls/kept.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/secrets.h"

struct trust;
struct peer_wish;

/* The trust of the secret `name`, with one reference. NULL: the faults have been added. Thread: main. */
struct trust *trust_get(const struct tls_secret *secret, const char *name, const struct tls_place *place);
void          trust_unref(struct trust *t);         /* NULL is allowed */
/* What came along with it; the trust's. */
struct peer_wish trust_wish(const struct trust *t);

/* Of this thread's library; the trust's. NULL: no memory. */
X509_STORE   *trust_store(struct trust *t, struct tls_library *l);
/* The trust is what peers are verified against. Where it has revocation lists, the peer's certificate is looked up in them,
 * and those of its chain unless `leaf_alone`: an authority without a list is not believed then, as with Envoy and nginx. 0,
 * or -1 without memory. */
int           trust_use(struct trust *t, SSL_CTX *context, bool leaf_alone, struct tls_library *l);
/* The subjects of the authorities, for a request for a certificate; the caller's. NULL: no memory. */
STACK_OF(X509_NAME) *trust_subjects(struct trust *t, struct tls_library *l);
