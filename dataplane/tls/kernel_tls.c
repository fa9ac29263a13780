#include "dataplane/tls/kernel_tls.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/secret_memory.h"

const char *const kernel_tls_cipher_names[KERNEL_TLS_CIPHERS] = {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"};

/* ---- the system's calls, or a test's ---- */

static int unsent_bytes(int fd, int *ret) {
    return ioctl(fd, SIOCOUTQ, ret);
}

static const struct kernel_tls_calls real_calls = {setsockopt, getsockopt, sendmsg, unsent_bytes};
static const struct kernel_tls_calls *calls = &real_calls;
static bool has[KERNEL_TLS_CIPHERS];

void kernel_tls_use_calls(const struct kernel_tls_calls *others) {
    calls = others ? others : &real_calls;
}

bool kernel_tls_has(enum kernel_tls_cipher cipher) {
    return has[cipher];
}

void kernel_tls_turn_off(void) {
    memset(has, 0, sizeof has);
}

/* ---- keys ---- */

union crypto_info {
    struct tls_crypto_info                     head;
    struct tls12_crypto_info_aes_gcm_128       aes128;
    struct tls12_crypto_info_aes_gcm_256       aes256;
    struct tls12_crypto_info_chacha20_poly1305 chacha;
};

/* Where the parts are in the kernel's structure. Its salt and iv together are TLS 1.3's iv. */
struct layout {
    uint16_t  type;
    socklen_t size;
    size_t    key_n, salt_n;
    size_t    key_at, salt_at, iv_at, sequence_at;
};

#define LAYOUT(type, s, key_n, salt_n)                                                                          \
    {type, sizeof(struct s), key_n, salt_n, offsetof(struct s, key), offsetof(struct s, salt), offsetof(struct s, iv), \
     offsetof(struct s, rec_seq)}

static const struct layout layouts[KERNEL_TLS_CIPHERS] = {
    LAYOUT(TLS_CIPHER_AES_GCM_128, tls12_crypto_info_aes_gcm_128, 16, 4),
    LAYOUT(TLS_CIPHER_AES_GCM_256, tls12_crypto_info_aes_gcm_256, 32, 4),
    LAYOUT(TLS_CIPHER_CHACHA20_POLY1305, tls12_crypto_info_chacha20_poly1305, 32, 0),
};
#undef LAYOUT

enum { IV_SIZE = 12, SEQUENCE_SIZE = 8, EXACT_TRIES = 8 };

int kernel_tls_change_key(int fd, const struct kernel_tls_key *k) {
    const struct layout *l = &layouts[k->cipher];
    union crypto_info info = {.head = {TLS_1_3_VERSION, l->type}};
    uint8_t *at = (uint8_t *)&info;
    memcpy(at + l->key_at, k->key, l->key_n);
    memcpy(at + l->salt_at, k->iv, l->salt_n);
    memcpy(at + l->iv_at, k->iv + l->salt_n, IV_SIZE - l->salt_n);
    for (int i = 0; i < SEQUENCE_SIZE; i++)
        at[l->sequence_at + (size_t)i] = (uint8_t)(k->sequence >> (8 * (SEQUENCE_SIZE - 1 - i)));
    int status = calls->set(fd, SOL_TLS, TLS_TX, &info, l->size), error = errno;
    secret_clear(&info, sizeof info);
    errno = error;
    return status;
}

int kernel_tls_attach(int fd, const struct kernel_tls_key *k) {
    return calls->set(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") < 0 ? -1 : kernel_tls_change_key(fd, k);
}

int kernel_tls_sequence(int fd, enum kernel_tls_cipher cipher, uint64_t *ret) {
    const struct layout *l = &layouts[cipher];
    union crypto_info info = {0};
    socklen_t n = l->size;
    uint64_t sequence = 0;
    int status = calls->get(fd, SOL_TLS, TLS_TX, &info, &n), error = errno;
    for (int i = 0; i < SEQUENCE_SIZE; i++)
        sequence = sequence << 8 | ((const uint8_t *)&info)[l->sequence_at + (size_t)i];
    secret_clear(&info, sizeof info); /* the key is in it, too */
    errno = error;
    if (status == 0)
        *ret = sequence;
    return status;
}

/* ---- sending ---- */

int kernel_tls_send_record(int fd, uint8_t type, const void *bytes, size_t n) {
    union {
        struct cmsghdr head;
        uint8_t        room[CMSG_SPACE(1)];
    } control = {.room = {0}};
    struct iovec piece = {(void *)(uintptr_t)bytes, n};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    control.head = (struct cmsghdr){.cmsg_level = SOL_TLS, .cmsg_type = TLS_SET_RECORD_TYPE, .cmsg_len = CMSG_LEN(1)};
    *CMSG_DATA(&control.head) = type;
    return calls->send(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n ? 0 : -1;
}

enum { STATE_CLOSED = 7 }; /* TCP_CLOSE of netinet/tcp.h, whose tcp_info is too old */

static int acknowledged(int fd, uint64_t *ret, bool *ret_is_dead) {
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    if (calls->get(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
        return -1;
    *ret = info.tcpi_bytes_acked;
    *ret_is_dead = info.tcpi_state == STATE_CLOSED;
    return 0;
}

/* In this order: what is acknowledged in between is missing from the sum, instead of being in it twice. */
int kernel_tls_position(int fd, uint64_t *ret) {
    uint64_t done;
    int unsent;
    bool is_dead;
    if (acknowledged(fd, &done, &is_dead) < 0 || calls->unsent(fd, &unsent) < 0)
        return -1;
    *ret = is_dead ? UINT64_MAX : done + (uint64_t)unsent;
    return 0;
}

bool kernel_tls_has_room(int fd) {
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t n = sizeof info;
    return calls->get(fd, SOL_SOCKET, SO_MEMINFO, info, &n) < 0 || info[SK_MEMINFO_WMEM_QUEUED] < info[SK_MEMINFO_SNDBUF];
}

int kernel_tls_exact_position(int fd, uint64_t *ret) {
    uint64_t before, after;
    int unsent;
    bool is_dead;
    if (acknowledged(fd, &before, &is_dead) < 0)
        return -1;
    for (int i = 0; i < EXACT_TRIES; i++, before = after) {
        if (calls->unsent(fd, &unsent) < 0 || acknowledged(fd, &after, &is_dead) < 0)
            return -1;
        if (before == after) {
            *ret = after + (uint64_t)unsent;
            return 0;
        }
    }
    errno = EAGAIN;
    return -1;
}

/* ---- detection ---- */

/* A connection over loopback; its other end is nobody's. Returns a descriptor or -1. */
static int connect_to(const struct sockaddr_in *where) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)where, sizeof *where) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static const char *try_cipher(int fd, enum kernel_tls_cipher cipher) {
    static const uint8_t zeros[32];
    const struct kernel_tls_key first = {cipher, zeros, zeros, 1}, second = {cipher, zeros, zeros, 0};
    uint64_t sequence = 0, position;
    if (kernel_tls_attach(fd, &first) < 0)
        return "absent";
    if (kernel_tls_sequence(fd, cipher, &sequence) < 0 || sequence != 1 || kernel_tls_position(fd, &position) < 0)
        return "absent";
    return kernel_tls_change_key(fd, &second) < 0 ? "no-key-update" : "used";
}

static const char *try_ciphers(const struct sockaddr_in *where) {
    const char *best = "no-socket";
    for (int cipher = 0; cipher < KERNEL_TLS_CIPHERS; cipher++) {
        int fd = connect_to(where);
        const char *word = fd >= 0 ? try_cipher(fd, (enum kernel_tls_cipher)cipher) : "no-socket";
        has[cipher] = strcmp(word, "used") == 0;
        if (has[cipher] || strcmp(best, "used") != 0)
            best = word;
        if (fd >= 0)
            close(fd);
    }
    return best;
}

const char *kernel_tls_detect(void) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof where;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *word = "no-socket";
    kernel_tls_turn_off();
    if (fd >= 0 && bind(fd, (struct sockaddr *)&where, sizeof where) == 0 && listen(fd, KERNEL_TLS_CIPHERS) == 0 &&
        getsockname(fd, (struct sockaddr *)&where, &n) == 0)
        word = try_ciphers(&where);
    if (fd >= 0)
        close(fd);
    return word;
}
