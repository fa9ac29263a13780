#include "dataplane/tls/library.h"

#include <stdatomic.h>

#include <openssl/crypto.h>

#include "common/alloc.h"

struct retired {
    struct retired *next;
    OSSL_LIB_CTX   *context;
};

static unsigned worker_count = 1;
static struct tls_library main_library;
static struct retired *_Atomic retired; /* also by workers that lacked memory for all of theirs */

void tls_set_worker_count(unsigned count) {
    worker_count = count;
}

unsigned tls_slot_count(void) {
    return worker_count + 1;
}

int tls_library_init(struct tls_library *l, unsigned slot) {
    /* No configuration file: what a gateway does is said by its snapshot alone. */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
    l->slot = slot;
    l->context = OSSL_LIB_CTX_new();
    if (!l->context)
        return -1;
    l->ticket_cipher = EVP_CIPHER_fetch(l->context, "AES-256-CBC", NULL);
    l->sha256 = EVP_MD_fetch(l->context, "SHA256", NULL);
    l->sha384 = EVP_MD_fetch(l->context, "SHA384", NULL);
    l->aes128 = EVP_CIPHER_fetch(l->context, "AES-128-GCM", NULL);
    l->aes256 = EVP_CIPHER_fetch(l->context, "AES-256-GCM", NULL);
    l->chacha = EVP_CIPHER_fetch(l->context, "ChaCha20-Poly1305", NULL);
    return l->ticket_cipher && l->sha256 && l->sha384 && l->aes128 && l->aes256 && l->chacha ? 0 : -1;
}

void tls_library_retire(struct tls_library *l) {
    EVP_CIPHER_free(l->ticket_cipher);
    EVP_CIPHER_free(l->aes128);
    EVP_CIPHER_free(l->aes256);
    EVP_CIPHER_free(l->chacha);
    EVP_MD_free(l->sha256);
    EVP_MD_free(l->sha384);
    struct retired *r = l->context ? hg_malloc(sizeof *r) : NULL;
    if (r) {
        *r = (struct retired){.next = atomic_load(&retired), .context = l->context};
        while (!atomic_compare_exchange_weak(&retired, &r->next, r))
            ;
    }
    *l = (struct tls_library){0}; /* without memory for the list the context stays for good: the process ends anyway */
}

const EVP_CIPHER *tls_library_record_cipher(const struct tls_library *l, uint16_t suite, bool *ret_is_384) {
    *ret_is_384 = suite == 0x1302;
    switch (suite) { /* RFC 8446 appendix B.4 */
    case 0x1301:
        return l->aes128;
    case 0x1302:
        return l->aes256;
    case 0x1303:
        return l->chacha;
    default:
        return NULL;
    }
}

struct tls_library *tls_main_library(void) {
    if (!main_library.context && tls_library_init(&main_library, worker_count) < 0)
        tls_library_retire(&main_library);
    main_library.slot = worker_count;
    return main_library.context ? &main_library : NULL;
}

void tls_libraries_free(void) {
    tls_library_retire(&main_library);
    for (struct retired *r = atomic_exchange(&retired, NULL), *next; r; r = next) {
        next = r->next;
        OSSL_LIB_CTX_free(r->context);
        hg_free(r);
    }
}
