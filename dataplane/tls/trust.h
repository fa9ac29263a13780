/* trust.h — authorities and revocation lists, shared by definitions, decoded once per worker. */
#pragma once

#include <openssl/types.h>

#include "dataplane/tls/kept.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/secrets.h"

struct trust;

/* The trust of the secret `name`, with one reference. NULL: the faults have been added. Thread: main. */
struct trust *trust_get(const struct tls_secret *secret, const char *name, const struct tls_place *place);
void          trust_unref(struct trust *t);         /* NULL is allowed */

/* Of this thread's library; the trust's. NULL: no memory. */
X509_STORE   *trust_store(struct trust *t, struct tls_library *l);
/* The subjects of the authorities, for a request for a certificate; the caller's. NULL: no memory. */
STACK_OF(X509_NAME) *trust_subjects(struct trust *t, struct tls_library *l);
