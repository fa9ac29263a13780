/* kernel_tls.h — the kernel's own TLS records (Linux's "tls" on a TCP socket), for sending: what this kernel can do, and the
 * system calls. Whose keys, and when: kernel_records.h.
 *
 * The kernel's sending side is used when it does all that our own records do; that includes new keys on an open connection
 * (Linux 6.14), since a peer may ask for them at any time. Detection runs once, on the main thread, before the sandbox (it
 * listens on a loopback socket) and before the workers, which only read its result. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum kernel_tls_cipher {
    KERNEL_TLS_AES_128_GCM,
    KERNEL_TLS_AES_256_GCM,
    KERNEL_TLS_CHACHA20_POLY1305,
    KERNEL_TLS_CIPHERS,
};

/* The names of RFC 8446 without TLS_ and the digest, for log and metrics. */
extern const char *const kernel_tls_cipher_names[KERNEL_TLS_CIPHERS];

struct kernel_tls_key {
    enum kernel_tls_cipher cipher;
    const uint8_t         *key;               /* 16 bytes for AES-128-GCM, else 32 */
    const uint8_t         *iv;                /* 12 bytes */
    uint64_t               sequence;          /* of the next record */
};

/* As the functions of the C library. `unsent` is ioctl(SIOCOUTQ): bytes that TCP has and the peer has not acknowledged. */
struct kernel_tls_calls {
    int     (*set)(int fd, int level, int option, const void *value, socklen_t n);
    int     (*get)(int fd, int level, int option, void *value, socklen_t *n);
    ssize_t (*send)(int fd, const struct msghdr *message, int flags);
    int     (*unsent)(int fd, int *ret);
};

/* For tests: these instead of the system's, until NULL is given. */
void kernel_tls_use_calls(const struct kernel_tls_calls *calls);

/* Tries everything on a connection over loopback and keeps the result. Returns a static word: "used", or why not: "absent",
 * "no-key-update" (older than 6.14), "no-socket". Another result each time it is called, for tests. */
const char *kernel_tls_detect(void);
/* Nothing is given to the kernel, as before detection. */
void        kernel_tls_turn_off(void);
bool        kernel_tls_has(enum kernel_tls_cipher cipher);

/* All return 0, or -1 with errno. A socket whose kernel_tls_attach has failed sends plainly, as before. */
int kernel_tls_attach(int fd, const struct kernel_tls_key *key);
int kernel_tls_change_key(int fd, const struct kernel_tls_key *key);
/* One record of another type than data, n <= 16: all of it or nothing. EAGAIN: no room now. */
int kernel_tls_send_record(int fd, uint8_t type, const void *bytes, size_t n);
/* The sequence number of the next record. */
int kernel_tls_sequence(int fd, enum kernel_tls_cipher cipher, uint64_t *ret);
/* How far TCP's stream has got, counted from some point that is the same for the whole connection. Never more than is true;
 * less when an acknowledgement arrives meanwhile. UINT64_MAX: the connection is dead. */
int kernel_tls_position(int fd, uint64_t *ret);
/* TCP takes another record now, however small. True also where that cannot be told. */
bool kernel_tls_has_room(int fd);
/* Exact, as long as nobody writes. */
int kernel_tls_exact_position(int fd, uint64_t *ret);
