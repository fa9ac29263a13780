/* certificate.h — certificates and keys are judged here, before any data plane gets to see them.
 *
 * Nothing of a private key gets into a message. Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>

#include "common/arena.h"
#include "common/error.h"
#include "controlplane/secrets/pem.h"
#include "proto/resources.pb-c.h"

enum { RSA_BITS_MIN = 2048, FINGERPRINT_TEXT = 3 * 32 };

/* What people may know of a certificate. Texts are in the arena that was given. */
struct certificate_facts {
    const char  *subject, *issuer;      /* RFC 2253 */
    const char **names;                 /* DNS names and addresses of subjectAltName, lower case, sorted */
    size_t       name_count;
    uint64_t     not_before, not_after; /* microseconds since 1970 */
    const char  *key;                   /* "RSA 2048", "EC P-256", "ED25519" */
    bool         is_rsa;
    char         fingerprint[FINGERPRINT_TEXT]; /* SHA-256 of the certificate, "AB:CD:..." */
    uint64_t     ocsp_until;            /* nextUpdate of the response that is stapled; 0: there is none, or it has no end */
};

/* Checks a pair: the leaf is of now (0: of any time), not weak, and of that key; the chain is in order. NULL, or what is
 * wrong: a sentence in the arena, with *ret_is_key whether the file of the key is to blame, and *ret_line the line of the
 * block there. `m`, which was initialized, gets the chain and the key as PKCS #8, in the arena: clear the key when it is
 * done with. `facts` gets what certificate_facts says, but for OCSP. */
const char *certificate_check_pair(const struct pem_blocks *chain, const struct pem_block *key, uint64_t now,
                                   struct arena *arena, Headgate__KeyPair *m, struct certificate_facts *facts,
                                   bool *ret_is_key, unsigned *ret_line);
/* NULL, or why the response cannot be stapled with the pair's certificate now: it must be about that, of these days, and
 * signed by the issuer that follows in the chain, or in its name (RFC 6960 section 4.2.2.2). *ret_until is when it has to be
 * renewed; it stays untouched when the response does not say. */
const char *certificate_check_ocsp(const Headgate__KeyPair *m, struct str response, uint64_t now, struct arena *arena,
                                   uint64_t *ret_until);
/* Of the leaf of a checked pair. -1: no memory, or not a certificate. */
int certificate_facts(const Headgate__KeyPair *m, struct arena *arena, struct certificate_facts *ret);
/* NULL, or why the DER is not a certificate of an authority, or not a revocation list. */
const char *certificate_check_trusted(const struct pem_block *block);
