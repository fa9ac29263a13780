/* names.h — the host names of a certificate, and finding a certificate by name. */
#pragma once

#include <openssl/types.h>

#include "common/map.h"

enum { DNS_NAME_MAX = 253 };

/* Lower case, "*.example.com" for wildcards. A zeroed struct is valid. */
struct tls_names {
    char **items;
    size_t count, capacity;
};

/* The dNSName entries of the subject alternative names; without such an extension the common names. What is not a
 * host name (a NUL in it, too long, letters outside of ASCII) is left out. Returns 0, or -1 without memory. */
int  tls_names_of(const X509 *certificate, struct tls_names *ret);
void tls_names_finish(struct tls_names *names);

/* Lower-cases a name that a peer sent, without a dot at its end, into room for DNS_NAME_MAX + 1 bytes. Empty: it
 * is not a host name. */
struct str tls_name_canonical(struct str name, char room[DNS_NAME_MAX + 1]);
/* The value of the exact name, else that of the wildcard for its first label, else NULL. `name` is canonical. */
void *tls_names_find(const struct map *by_name, struct str name);
