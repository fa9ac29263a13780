#include "controlplane/rpc/server.h"

#include <errno.h>
#include <stdio.h>

#include "common/alloc.h"

enum { PEM_MAX = 1 << 20 };

/* Reads a whole text file; the caller frees it. NULL with a reason in `errors`. */
static char *read_pem(const char *path, struct error_list *errors) {
    char *text = hg_malloc(PEM_MAX + 1);
    FILE *file = text ? fopen(path, "re") : NULL;
    size_t size = file ? fread(text, 1, PEM_MAX + 1, file) : 0;
    bool is_read = file && !ferror(file) && size > 0 && size <= PEM_MAX;
    if (file)
        fclose(file);
    if (!is_read) {
        error_addf(errors, text ? ERROR_IO : ERROR_MEMORY, "cannot read %s: %s", path,
                   file ? "empty, too large, or a read error" : strerror(errno));
        hg_free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

grpc_server_credentials *rpc_mutual_tls(const char *certificate_path, const char *key_path,
                                        const char *authority_path, struct error_list *errors) {
    grpc_server_credentials *credentials = NULL;
    char *certificate = read_pem(certificate_path, errors);
    char *key = read_pem(key_path, errors);
    char *authority = read_pem(authority_path, errors);
    if (certificate && key && authority) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = certificate};
        grpc_ssl_server_certificate_config *config = grpc_ssl_server_certificate_config_create(authority,
                                                                                               &pair, 1);
        credentials = grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config(
                GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, config));
        if (!credentials)
            error_addf(errors, ERROR_SYNTAX, "%s and %s are not a usable certificate and key",
                       certificate_path, key_path);
    }
    hg_free(certificate);
    if (key)
        explicit_bzero(key, strlen(key));
    hg_free(key);
    hg_free(authority);
    return credentials;
}
