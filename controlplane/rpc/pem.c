#include "controlplane/rpc/pem.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/input_file.h"

enum { PEM_MAX = 1 << 20 };

char *pem_read_file(const char *path, struct error_list *errors) {
    char *text = hg_malloc(PEM_MAX + 1);
    FILE *file = text ? input_file_open(path) : NULL;
    size_t size = file ? fread(text, 1, PEM_MAX + 1, file) : 0;
    bool is_read = file && !ferror(file) && size > 0 && size <= PEM_MAX;
    if (file)
        fclose(file);
    if (!is_read) {
        error_addf(errors, text ? ERROR_IO : ERROR_MEMORY, "cannot read %s: %s", path,
                   file ? "empty, too large, or a read error" : input_file_reason(errno));
        hg_free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

void pem_forget(char *text) {
    if (text)
        explicit_bzero(text, strlen(text));
    hg_free(text);
}

static X509 *parse_certificate(const char *text) {
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return certificate;
}

/* Nobody is asked for a passphrase. */
static int no_passphrase(char *buffer, int size, int is_writing, void *context) {
    (void)buffer;
    (void)size;
    (void)is_writing;
    (void)context;
    return -1;
}

static EVP_PKEY *parse_key(const char *text) {
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    return key;
}

int pem_check_certificate(const char *text, const char *where, struct error_list *errors) {
    X509 *certificate = parse_certificate(text);
    X509_free(certificate);
    if (certificate)
        return 0;
    error_addf(errors, ERROR_SYNTAX, "there is no PEM certificate in %s", where);
    return -1;
}

int pem_check_pair(const char *certificate, const char *certificate_where, const char *key, const char *key_where,
                   struct error_list *errors) {
    X509 *ours = parse_certificate(certificate);
    EVP_PKEY *its_key = parse_key(key);
    int status = -1;
    if (!ours)
        error_addf(errors, ERROR_SYNTAX, "there is no PEM certificate in %s", certificate_where);
    else if (!its_key)
        error_addf(errors, ERROR_SYNTAX, "there is no PEM key without a passphrase in %s", key_where);
    else if (X509_check_private_key(ours, its_key) != 1)
        error_addf(errors, ERROR_CONFLICT, "%s is not the key of the certificate in %s", key_where, certificate_where);
    else
        status = 0;
    X509_free(ours);
    EVP_PKEY_free(its_key);
    return status;
}
