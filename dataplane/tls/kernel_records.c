#include "dataplane/tls/kernel_records.h"

#include <errno.h>

#include "common/secret_memory.h"
#include "dataplane/core/worker.h"
#include "dataplane/tls/kernel_tls.h"
#include "dataplane/tls/records_private.h"

static const EVP_CIPHER *cipher_of(const struct records *r) {
    return EVP_CIPHER_CTX_get0_cipher(r->read.cipher); /* both directions have the same */
}

static enum kernel_tls_cipher kernel_cipher_of(const struct tls_session *s) {
    const struct tls_library *l = &s->worker->library;
    const EVP_CIPHER *cipher = cipher_of(s->records);
    return cipher == l->aes128   ? KERNEL_TLS_AES_128_GCM
           : cipher == l->aes256 ? KERNEL_TLS_AES_256_GCM
                                 : KERNEL_TLS_CHACHA20_POLY1305;
}

bool tls_is_in_kernel(const struct tls_session *s) {
    return s->records && s->records->is_in_kernel;
}

/* ---- handing over ---- */

/* The key of the secret as it is goes to the kernel. */
static int give_key(struct tls_session *s, int fd, int (*give)(int, const struct kernel_tls_key *)) {
    struct traffic_keys *k = &s->records->write;
    uint8_t key[EVP_MAX_KEY_LENGTH];
    int status = -1, error = ENOMEM;
    if (traffic_keys_derive(k, cipher_of(s->records), s->records->digest, key) == 0) {
        const struct kernel_tls_key given = {kernel_cipher_of(s), key, k->iv, k->sequence};
        status = give(fd, &given);
        error = errno;
    }
    secret_clear(key, sizeof key);
    errno = error;
    return status;
}

static uint64_t wire_position(const struct records *r, uint64_t sequence) {
    return r->wire_base + sequence * RECORD_OVERHEAD + r->wire_content;
}

bool tls_offer_to_kernel(struct tls_session *s, int fd) {
    struct records *r = s->records;
    uint64_t position;
    if (!r || r->was_offered || !kernel_tls_has(kernel_cipher_of(s)))
        return r && r->is_in_kernel;
    r->was_offered = true;
    if (kernel_tls_exact_position(fd, &position) < 0 || give_key(s, fd, kernel_tls_attach) < 0)
        return false;
    r->wire_base = position - r->write.sequence * RECORD_OVERHEAD;
    r->is_in_kernel = r->is_settled = true;
    traffic_keys_drop_cipher(&r->write);
    stats_add(&s->worker->worker->stats->tls[STATS_TLS_CLIENTS].in_kernel, 1);
    return true;
}

/* ---- sending ---- */

size_t tls_kernel_took(struct tls_session *s, size_t n) {
    struct records *r = s->records;
    /* Or more: the kernel may end a record early. REKEY_AT leaves room for that. */
    size_t count = (n + CONTENT_MAX - 1) / CONTENT_MAX;
    r->write.sequence += count;
    r->wire_content += n;
    r->is_settled &= n == 0;
    return n + count * RECORD_OVERHEAD;
}

/* The peer has been told; the kernel goes on with the next key. 0 or -1. */
static int change_key(struct tls_session *s, int fd) {
    struct records *r = s->records;
    uint64_t sequence;
    if (kernel_tls_sequence(fd, kernel_cipher_of(s), &sequence) < 0 || traffic_keys_advance(&r->write, r->digest) < 0)
        return -1;
    r->wire_base = wire_position(r, sequence);
    r->wire_content = 0;
    r->write.sequence = 0;
    return give_key(s, fd, kernel_tls_change_key);
}

int tls_kernel_prepare(struct tls_session *s, int fd) {
    struct records *r = s->records;
    if (!r->owes_update && r->write.sequence < REKEY_AT)
        return 0;
    if (kernel_tls_send_record(fd, CONTENT_HANDSHAKE, records_key_update, KEY_UPDATE_SIZE) < 0)
        return -1;
    r->owes_update = false;
    tls_kernel_took(s, KEY_UPDATE_SIZE);
    if (change_key(s, fd) == 0)
        return 0;
    errno = EIO; /* what comes next would have the wrong key: nothing may */
    return -1;
}

bool tls_kernel_holds(struct tls_session *s, int fd) {
    struct records *r = s->records;
    uint64_t sequence, position;
    if (!r->is_settled)
        r->is_settled = kernel_tls_sequence(fd, kernel_cipher_of(s), &sequence) < 0 ||
                        kernel_tls_position(fd, &position) < 0 || position == UINT64_MAX ||
                        (position >= wire_position(r, sequence) && kernel_tls_has_room(fd));
    return !r->is_settled;
}

size_t tls_kernel_send_alert(struct tls_session *s, int fd) {
    struct tls_io *io = &s->worker->io;
    bool is_sent = io->has_alert && kernel_tls_send_record(fd, CONTENT_ALERT, io->alert, ALERT_SIZE) == 0;
    io->has_alert = false;
    return is_sent ? tls_kernel_took(s, ALERT_SIZE) : 0;
}
