/* given.h — secrets whose content is given, by a management server for one, instead of read from files. Thread: one at a
 * time. */
#pragma once

#include "controlplane/config/config.h"

/* PEM and DER as files have them; what is not of the kind is empty. */
struct given_secret {
    enum config_secret_what what;       /* CONFIG_SECRET_KEY_PAIR, _TRUST or _TICKET_KEYS */
    struct str certificate;             /* PEM: of a pair the chain, leaf first; of a trust its authorities */
    struct str key;                     /* PEM; of a pair */
    struct str ocsp;                    /* DER; of a pair, empty where there is none */
    struct str crl;                     /* PEM; of a trust, empty where there is none */
    struct str rules;                   /* of a trust: an encoded message Trust with names and pins alone; empty: none */
    const struct str *ticket_keys;      /* 80 bytes each, as Envoy has them: name, key of HMAC-SHA-256, key of AES-256 */
    size_t ticket_key_count;            /* 1 to GIVEN_TICKET_KEYS_MAX; the first encrypts */
};

enum { GIVEN_TICKET_KEYS_MAX = 16 };

/* "sds:" and something that a resource's name may have, or what config_kubernetes_secret reads. */
bool given_name_is_valid(const char *name);

/* Checks the content as that of files is checked, but for times: a certificate that has expired, or is not valid yet, is the
 * affair of who gives it. `ret` becomes the encoded secret: of secret memory, which the caller frees with secret_free;
 * equal to `previous` (NULL: none) when the content is. 0, or -1 after adding an error with the resource "secret/NAME". */
int given_secret_make(const char *name, const struct given_secret *content, const struct config_resource *previous,
                      struct config_resource *ret, struct error_list *errors);
