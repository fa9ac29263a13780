/* Datagrams of clients whose QUIC is passed through: packets lie behind each other within the datagram, connection IDs too;
 * an Initial opens or not, and is left as it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/l4/hello.h"
#include "dataplane/l4/initial.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static bool is_within(const uint8_t *part, size_t n, const uint8_t *whole, size_t size) {
    return n == 0 || (part >= whole && (size_t)(part - whole) <= size && n <= size - (size_t)(part - whole));
}

static void open_initial(struct pass_crypto *c, const uint8_t *bytes, const struct pass_packet *p) {
    static struct pass_hello hello;
    struct pass_initial_keys keys;
    const uint8_t *frames;
    struct str name;
    size_t n;
    CHECK(pass_initial_keys_make(c, p->version, PASS_CLIENT, p->dcid, p->dcid_n, &keys) == 0);
    if (pass_initial_open(c, &keys, bytes, p, &frames, &n) < 0)
        return;
    CHECK(n < p->n);
    memset(&hello, 0, sizeof hello);
    if (pass_hello_take(&hello, frames, n) == PASS_FRAMES_TAKEN)
        pass_hello_name(hello.bytes, hello.n, &name);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static struct pass_crypto *crypto;
    struct pass_packet p;
    if (!crypto)
        crypto = pass_crypto_create(NULL);
    uint8_t *copy = malloc(size ? size : 1);
    CHECK(crypto && copy);
    memcpy(copy, bytes, size);
    for (size_t at = 0; at < size && pass_packet_read(copy + at, size - at, &p) == 0; at += p.n) {
        CHECK(p.n > 0 && p.n <= size - at && p.number_at <= p.n);
        CHECK(is_within(p.dcid, p.dcid_n, copy + at, p.n) && is_within(p.scid, p.scid_n, copy + at, p.n));
        if (p.kind == PASS_INITIAL)
            open_initial(crypto, copy + at, &p);
    }
    CHECK(memcmp(copy, bytes, size) == 0);
    free(copy);
    return 0;
}
