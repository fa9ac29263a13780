/* maker.h — a folder with certificates and keys, made when the test runs. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/clock.h"
#include "common/secret_memory.h"
#include "controlplane/secrets/secrets.h"
#include "tests/unit/common/cmocka_all.h"

struct folder {
    char path[64];
    struct secret_root root;
};

static inline int folder_remove(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int folder_setup(void **state) {
    struct folder *f = calloc(1, sizeof *f);
    struct error_list errors = {0};
    snprintf(f->path, sizeof f->path, "%s/headgate-secrets-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    *state = f;
    return mkdtemp(f->path) && secret_root_open(f->path, NULL, &f->root, &errors) == 0 ? 0 : -1;
}

static inline int folder_teardown(void **state) {
    struct folder *f = *state;
    secret_root_close(&f->root);
    nftw(f->path, folder_remove, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static inline FILE *folder_create(const struct folder *f, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    return file;
}

static inline void folder_write(const struct folder *f, const char *name, const char *text) {
    FILE *file = folder_create(f, name);
    fputs(text, file);
    fclose(file);
}

/* NAME.pem and NAME.key: signed by itself, from yesterday for 90 days. `names` as OpenSSL has them: "DNS:a,DNS:b". */
static inline void folder_pair(const struct folder *f, const char *name, const char *names, bool is_rsa) {
    char file_name[64];
    EVP_PKEY *key = is_rsa ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
                           : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), 90L * 86400);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    snprintf(file_name, sizeof file_name, "%s.pem", name);
    FILE *file = folder_create(f, file_name);
    PEM_write_X509(file, x);
    fclose(file);
    snprintf(file_name, sizeof file_name, "%s.key", name);
    file = folder_create(f, file_name);
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* ---- what is wanted ---- */

struct wish {
    struct config_secret items[8];
    size_t list[8];
    struct config_secret_list listener;
    struct config_secrets secrets;
};

/* Adds NAME.pem with NAME.key to the one listener. */
static inline void wish_pair(struct wish *w, const char *name, const char *certificate, const char *key) {
    w->list[w->listener.count] = w->secrets.count;
    w->listener = (struct config_secret_list){w->list, w->listener.count + 1};
    w->items[w->secrets.count++] = (struct config_secret){.name = name, .what = CONFIG_SECRET_KEY_PAIR,
                                                          .certificate = certificate, .key = key, .resource = "listener/web",
                                                          .path = "tls.certificates[0]"};
    w->secrets.items = w->items;
    w->secrets.listeners = &w->listener;
    w->secrets.listener_count = 1;
}

static inline void wish_tickets(struct wish *w, uint64_t rotate, unsigned keep) {
    w->items[w->secrets.count++] = (struct config_secret){.name = CONFIG_TICKET_KEYS, .what = CONFIG_SECRET_TICKET_KEYS,
                                                          .resource = "settings/default", .path = "tls-tickets"};
    w->secrets.items = w->items;
    w->secrets.ticket_rotate = rotate;
    w->secrets.ticket_keep = keep;
}

/* ---- what comes of it ---- */

struct made {
    int status;
    struct secret_set set;
    struct error_list errors, warnings;
};

static inline struct made make(const struct folder *f, const struct wish *w, const struct secret_set *before, uint64_t now,
                               bool keep_old) {
    struct made m = {0};
    const struct config_resources previous = {.items = before ? before->items : NULL, .count = before ? before->count : 0};
    const struct secret_source source = {
        .root = &f->root, .previous = &previous, .keep_old = keep_old, .now = now ? now : clock_realtime_us()};
    m.status = secrets_make(&source, &w->secrets, &m.set, &m.errors, &m.warnings);
    return m;
}

static inline void made_finish(struct made *m) {
    secret_set_finish(&m->set);
    error_list_finish(&m->errors);
    error_list_finish(&m->warnings);
}

static inline Headgate__Secret *made_message(const struct made *m, const char *name) {
    for (size_t i = 0; i < m->set.count; i++)
        if (strcmp(m->set.items[i].name, name) == 0)
            return headgate__secret__unpack(NULL, m->set.items[i].size, m->set.items[i].bytes);
    fail_msg("there is no secret %s", name);
    return NULL;
}
