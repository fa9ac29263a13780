#include "controlplane/rpc/credentials.h"

#include <pthread.h>

#include "common/alloc.h"
#include "common/file_stamp.h"
#include "common/log.h"
#include "controlplane/rpc/pem.h"

enum { FILES = 3 };

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

static void pem_files_finish(struct pem_files *f) {
    for (int i = 0; i < FILES; i++)
        pem_forget(f->texts[i]);
}

static int check(const struct rpc_tls *t, const struct pem_files *f, struct error_list *errors) {
    if (pem_check_certificate(f->texts[AUTHORITY], t->paths[AUTHORITY], errors) < 0)
        return -1;
    return pem_check_pair(f->texts[CERTIFICATE], t->paths[CERTIFICATE], f->texts[KEY], t->paths[KEY], errors);
}

static int read_files(const struct rpc_tls *t, struct pem_files *ret, struct error_list *errors) {
    struct pem_files f = {0};
    bool is_read = true;
    for (int i = 0; i < FILES; i++)
        is_read &= (f.texts[i] = pem_read_file(t->paths[i], errors)) != NULL;
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
