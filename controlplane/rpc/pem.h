/* pem.h — certificates and keys as PEM texts, read and looked at before gRPC gets them: it would say no more than that
 * something is wrong. Thread: any. */
#pragma once

#include "common/error.h"

/* Reads a whole text file; the caller frees it. NULL with a reason in `errors`. */
char *pem_read_file(const char *path, struct error_list *errors);
/* Forgets a text, which may be a key; NULL is allowed. */
void pem_forget(char *text);
/* Whether `text` holds a certificate; otherwise -1 with a reason that names `where`, as below. */
int pem_check_certificate(const char *text, const char *where, struct error_list *errors);
/* Whether `key` is one, has no passphrase, and belongs to the first certificate of `certificate`. */
int pem_check_pair(const char *certificate, const char *certificate_where, const char *key, const char *key_where,
                   struct error_list *errors);
