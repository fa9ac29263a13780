/* identity.h — who a client is, by its certificate, as text that is safe in a header field. Thread: the worker's. */
#pragma once

#include "dataplane/tls/session_private.h"

enum { IDENTITY_NAMES_MAX = 4096 };      /* bytes of URI= and DNS= parts; more are left out */

/* Fills `peer` of the session from the certificate. 0, or -1 without memory. */
int tls_identity_fill(struct tls_session *s, X509 *certificate);
