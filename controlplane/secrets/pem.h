/* pem.h — the blocks of a PEM file (RFC 7468). Thread: any, nothing is shared. */
#pragma once

#include "common/arena.h"
#include "common/str.h"

enum pem_label {
    PEM_CERTIFICATE,            /* also "X509 CERTIFICATE" */
    PEM_REVOCATION_LIST,        /* "X509 CRL" */
    PEM_PRIVATE_KEY,            /* "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY" */
    PEM_ENCRYPTED_KEY,          /* "ENCRYPTED PRIVATE KEY", or a key with the headers of an encrypted one; not decoded */
    PEM_OTHER,                  /* parameters, requests ...; not decoded */
};

struct pem_block {
    enum pem_label label;
    unsigned       line;        /* of its BEGIN, from 1 */
    uint8_t       *der;         /* in the arena */
    size_t         size;
};

struct pem_blocks {
    struct pem_block *items;    /* in the arena; in the order of the file */
    size_t            count;
};

/* NULL, or what is wrong with the text: a static sentence, with *ret_line the line. What stands between blocks is passed
 * over. */
const char *pem_read(struct str text, struct arena *arena, struct pem_blocks *ret, unsigned *ret_line);
