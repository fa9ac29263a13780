#include "controlplane/rpc/credentials.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/file_stamp.h"
#include "common/log.h"

enum { PEM_MAX = 1 << 20, FILES = 3 };

enum which_file { CERTIFICATE, KEY, AUTHORITY };

struct rpc_tls {
    char *paths[FILES];
    grpc_server_credentials *credentials;
    /* What gRPC's threads share: they ask for every handshake. */
    pthread_mutex_t lock;
    struct file_stamp stamps[FILES];
    bool has_given;
};

/* ---- the files ---- */

struct pem_files {
    char *texts[FILES];
};

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

static void pem_files_finish(struct pem_files *f) {
    if (f->texts[KEY])
        explicit_bzero(f->texts[KEY], strlen(f->texts[KEY]));
    for (int i = 0; i < FILES; i++)
        hg_free(f->texts[i]);
}

static X509 *parse_certificate(const char *text) {
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return certificate;
}

static EVP_PKEY *parse_key(const char *text) {
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return key;
}

/* gRPC would say no more than that something is wrong. */
static int check(const struct rpc_tls *t, const struct pem_files *f, struct error_list *errors) {
    X509 *certificate = parse_certificate(f->texts[CERTIFICATE]), *authority = parse_certificate(f->texts[AUTHORITY]);
    EVP_PKEY *key = parse_key(f->texts[KEY]);
    size_t before = errors->count;
    if (!certificate || !authority)
        error_addf(errors, ERROR_SYNTAX, "there is no PEM certificate in %s",
                   t->paths[certificate ? AUTHORITY : CERTIFICATE]);
    else if (!key)
        error_addf(errors, ERROR_SYNTAX, "there is no PEM key without a passphrase in %s", t->paths[KEY]);
    else if (X509_check_private_key(certificate, key) != 1)
        error_addf(errors, ERROR_CONFLICT, "%s is not the key of the certificate in %s", t->paths[KEY],
                   t->paths[CERTIFICATE]);
    X509_free(certificate);
    X509_free(authority);
    EVP_PKEY_free(key);
    return errors->count == before ? 0 : -1;
}

static int read_files(const struct rpc_tls *t, struct pem_files *ret, struct error_list *errors) {
    struct pem_files f = {0};
    bool is_read = true;
    for (int i = 0; i < FILES; i++)
        is_read &= (f.texts[i] = read_pem(t->paths[i], errors)) != NULL;
    if (is_read && check(t, &f, errors) == 0) {
        *ret = f;
        return 0;
    }
    pem_files_finish(&f);
    return -1;
}

static grpc_ssl_server_certificate_config *load(const struct rpc_tls *t, struct error_list *errors) {
    struct pem_files f;
    if (read_files(t, &f, errors) < 0)
        return NULL;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = f.texts[KEY], .cert_chain = f.texts[CERTIFICATE]};
    grpc_ssl_server_certificate_config *config = grpc_ssl_server_certificate_config_create(f.texts[AUTHORITY], &pair, 1);
    pem_files_finish(&f);
    return config;
}

/* ---- what gRPC asks before each handshake, on threads of its own ---- */

static bool have_changed(struct rpc_tls *t) {
    bool is_changed = !t->has_given;
    for (int i = 0; i < FILES; i++) {
        struct file_stamp now = file_stamp_of(t->paths[i]);
        is_changed |= !file_stamp_equal(&now, &t->stamps[i]);
        t->stamps[i] = now;
    }
    return is_changed;
}

static grpc_ssl_certificate_config_reload_status give(struct rpc_tls *t, grpc_ssl_server_certificate_config **ret) {
    struct error_list errors = {0};
    if (!have_changed(t))
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    *ret = load(t, &errors);
    if (!*ret)
        log_warning("the certificates of before are used on",
                    LOG_S("reason", errors.count ? errors.items[0].message : "out of memory"));
    else if (t->has_given)
        log_info("certificates are read again", LOG_S("certificate", t->paths[CERTIFICATE]));
    t->has_given |= *ret != NULL;
    error_list_finish(&errors);
    return *ret ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
}

static grpc_ssl_certificate_config_reload_status on_handshake(void *context, grpc_ssl_server_certificate_config **ret) {
    struct rpc_tls *t = context;
    pthread_mutex_lock(&t->lock);
    grpc_ssl_certificate_config_reload_status status = give(t, ret);
    pthread_mutex_unlock(&t->lock);
    return status;
}

/* ---- life ---- */

static int fill(struct rpc_tls *t, const struct rpc_tls_files *files, struct error_list *errors) {
    const char *const paths[FILES] = {files->certificate, files->key, files->authority};
    struct pem_files f;
    for (int i = 0; i < FILES; i++)
        if (!(t->paths[i] = hg_strdup(paths[i]))) {
            error_addf(errors, ERROR_MEMORY, "no memory for certificates");
            return -1;
        }
    if (read_files(t, &f, errors) < 0)
        return -1;
    pem_files_finish(&f);
    t->credentials = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, on_handshake, t));
    return 0;
}

struct rpc_tls *rpc_tls_create(const struct rpc_tls_files *files, struct error_list *errors) {
    struct rpc_tls *t = hg_calloc(1, sizeof *t);
    if (!t) {
        error_addf(errors, ERROR_MEMORY, "no memory for certificates");
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    if (fill(t, files, errors) == 0)
        return t;
    rpc_tls_destroy(t);
    return NULL;
}

void rpc_tls_destroy(struct rpc_tls *t) {
    if (!t)
        return;
    if (t->credentials)
        grpc_server_credentials_release(t->credentials);
    for (int i = 0; i < FILES; i++)
        hg_free(t->paths[i]);
    pthread_mutex_destroy(&t->lock);
    hg_free(t);
}

grpc_server_credentials *rpc_tls_credentials(const struct rpc_tls *t) {
    return t->credentials;
}
