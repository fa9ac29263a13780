#include "dataplane/tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "common/alloc.h"
#include "common/secret_memory.h"

enum { NAME_SIZE = 16, IV_SIZE = 16, KEY_SIZE = 32 };

struct ticket_key {
    uint8_t name[NAME_SIZE], encryption[KEY_SIZE], mac[KEY_SIZE];
};

struct ticket_keys {
    struct kept        kept;       /* first */
    struct ticket_key *keys;       /* secret memory */
    size_t             count;
};

static void keys_destroy(struct kept *kept) {
    struct ticket_keys *k = (struct ticket_keys *)kept;
    secret_free(k->keys);
    hg_free(k);
}

void ticket_keys_unref(struct ticket_keys *k) {
    kept_unref(k ? &k->kept : NULL);
}

static int refuse(const struct tls_place *place, enum error_code code, const char *message) {
    tls_secret_fault(place, TLS_TICKET_SECRET, "ticket_keys.keys", code, message);
    return -1;
}

static int copy(uint8_t *room, size_t n, const ProtobufCBinaryData *from) {
    if (from->len != n)
        return -1;
    memcpy(room, from->data, n);
    return 0;
}

static int fill(struct ticket_keys *k, const Headgate__TicketKeys *m, const struct tls_place *place) {
    if (m->n_keys == 0 || m->n_keys > TICKET_KEYS_MAX)
        return refuse(place, ERROR_RANGE, "1 to 16 keys are wanted");
    k->keys = secret_alloc(m->n_keys * sizeof *k->keys);
    if (!k->keys)
        return refuse(place, ERROR_MEMORY, "out of memory");
    for (; k->count < m->n_keys; k->count++) {
        struct ticket_key *to = &k->keys[k->count];
        const Headgate__TicketKey *from = m->keys[k->count];
        if (copy(to->name, NAME_SIZE, &from->name) < 0 || copy(to->encryption, KEY_SIZE, &from->encryption_key) < 0 ||
            copy(to->mac, KEY_SIZE, &from->mac_key) < 0)
            return refuse(place, ERROR_RANGE, "a name has 16 bytes, a key 32");
    }
    return 0;
}

struct ticket_keys *ticket_keys_get(const struct tls_secret *secret, const struct tls_place *place) {
    struct ticket_keys *k = (struct ticket_keys *)kept_find(&secret->id, keys_destroy);
    if (k)
        return k;
    k = hg_calloc(1, sizeof *k);
    if (!k || kept_add(&k->kept, &secret->id, keys_destroy) < 0) {
        refuse(place, ERROR_MEMORY, "out of memory");
        hg_free(k);
        return NULL;
    }
    if (fill(k, secret->message->ticket_keys, place) == 0)
        return k;
    ticket_keys_unref(k);
    return NULL;
}

/* ---- use ---- */

static int set_mac(EVP_MAC_CTX *mac, const struct ticket_key *key) {
    char digest[] = "SHA256";
    uint8_t bytes[KEY_SIZE];
    memcpy(bytes, key->mac, sizeof bytes);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, bytes, sizeof bytes),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    int ok = EVP_MAC_CTX_set_params(mac, params);
    secret_clear(bytes, sizeof bytes);
    return ok;
}

static int seal(const struct ticket_key *key, const struct tls_library *l, unsigned char *name, unsigned char *iv,
                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
    memcpy(name, key->name, NAME_SIZE);
    bool ok = RAND_bytes_ex(l->context, iv, IV_SIZE, 0) == 1 &&
              EVP_EncryptInit_ex2(cipher, l->ticket_cipher, key->encryption, iv, NULL) == 1 && set_mac(mac, key) == 1;
    return ok ? 1 : -1;
}

/* 1: use it; 2: use it, and send a new ticket, since this key is not the newest; 0: not one of ours. */
static int open_ticket(const struct ticket_keys *k, const struct tls_library *l, const unsigned char *name,
                       const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
    for (size_t i = 0; i < k->count; i++) {
        const struct ticket_key *key = &k->keys[i];
        if (memcmp(name, key->name, NAME_SIZE) != 0)
            continue;
        bool ok = EVP_DecryptInit_ex2(cipher, l->ticket_cipher, key->encryption, iv, NULL) == 1 && set_mac(mac, key) == 1;
        return !ok ? -1 : i == 0 ? 1 : 2;
    }
    return 0;
}

int ticket_keys_use(const struct ticket_keys *k, const struct tls_library *l, unsigned char *name, unsigned char *iv,
                    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt) {
    return encrypt ? seal(&k->keys[0], l, name, iv, cipher, mac) : open_ticket(k, l, name, iv, cipher, mac);
}
