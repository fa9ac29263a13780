/* keys.h — the keys of one direction of a TLS 1.3 connection: RFC 8446 sections 5.2, 5.3, 7.2 and 7.3. Thread: the
 * worker's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>

enum { SECRET_MAX = 48, NONCE_SIZE = 12, TAG_SIZE = 16, RECORD_HEADER = 5 };

struct traffic_secret {
    uint8_t bytes[SECRET_MAX];
    uint8_t n;                        /* 0: not known */
};

struct traffic_keys {
    struct traffic_secret secret;
    EVP_CIPHER_CTX       *cipher;     /* with the key */
    uint8_t               iv[NONCE_SIZE];
    uint64_t              sequence;   /* of the next record */
};

/* Takes the key from the secret. 0, or -1 without memory; can be finished in any case. */
int  traffic_keys_init(struct traffic_keys *k, const EVP_CIPHER *cipher, const EVP_MD *digest, bool is_writer);
void traffic_keys_finish(struct traffic_keys *k);
/* The next generation. 0 or -1. */
int  traffic_keys_update(struct traffic_keys *k, const EVP_MD *digest, bool is_writer);

/* For who encrypts elsewhere. The key of the secret as it is, and the iv to k->iv. 0 or -1; the caller clears the key. */
int  traffic_keys_derive(struct traffic_keys *k, const EVP_CIPHER *cipher, const EVP_MD *digest,
                         uint8_t ret_key[EVP_MAX_KEY_LENGTH]);
/* The next generation of the secret alone. 0 or -1. */
int  traffic_keys_advance(struct traffic_keys *k, const EVP_MD *digest);
/* What encrypts here goes; the secret stays. */
void traffic_keys_drop_cipher(struct traffic_keys *k);

/* Encrypts content and its type as one record into `out`, which has room for n + 1 + TAG_SIZE + RECORD_HEADER
 * bytes. 0 or -1. */
int traffic_keys_seal(struct traffic_keys *k, uint8_t type, const void *content, size_t n, uint8_t *out);
/* Decrypts the `n` bytes behind a record's header into `out`, which has room for n - TAG_SIZE. 0, or -1: not authentic. */
int traffic_keys_open(struct traffic_keys *k, const uint8_t header[RECORD_HEADER], const uint8_t *sealed, size_t n,
                      uint8_t *out);
