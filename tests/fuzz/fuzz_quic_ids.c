/* Connection IDs and QUIC-LB: whatever a peer writes is read within its bounds, and what decodes encodes to
 * the same again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/quic/ids.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

enum { SETTINGS = 4 };

/* From memory of exactly that size, so that a read past its end is seen. */
static uint8_t *copy_of(const uint8_t *bytes, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    CHECK(copy);
    memcpy(copy, bytes, n);
    return copy;
}

/* With nonces the same, an ID is made of a server ID in one way. */
static void check_balancer(const struct quic_lb_form *form, const uint8_t *id, size_t n) {
    uint8_t server_id[QUIC_ID_MAX], again[QUIC_ID_MAX], nonce[QUIC_ID_MAX] = {0}, made[QUIC_ID_MAX];
    struct quic_lb *lb = quic_lb_create(form);
    if (!lb)
        return;
    if (quic_lb_decode(lb, id, n, server_id)) {
        CHECK(quic_lb_encode(lb, server_id, nonce, QUIC_ID_MAX, made));
        CHECK(quic_lb_decode(lb, made, QUIC_ID_MAX, again));
        CHECK(memcmp(server_id, again, form->id_n) == 0);
    }
    quic_lb_destroy(lb);
}

static void check_ours(uint8_t worker, uint8_t generation, const struct quic_server_id *server_id, const uint8_t *id,
                       size_t n) {
    static const uint8_t key[QUIC_ID_KEY_SIZE] = {1, 2, 3};
    struct quic_ids ids;
    uint8_t made[QUIC_ID_MAX], read_worker, read_generation;
    if (quic_ids_init(&ids, key, generation, server_id) < 0)
        return;
    if (quic_ids_read(&ids, id, n, &read_worker, &read_generation))
        CHECK(n == ids.n);
    CHECK(quic_ids_make(&ids, worker, made));
    CHECK(quic_ids_read(&ids, made, ids.n, &read_worker, &read_generation));
    CHECK(read_worker == worker && read_generation == generation);
    quic_ids_finish(&ids);
}

/* Four octets of settings, then an ID. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size < SETTINGS || size > SETTINGS + QUIC_ID_MAX)
        return 0;
    uint8_t *id = copy_of(bytes + SETTINGS, size - SETTINGS);
    struct quic_lb_form form = {.config = bytes[0] & 7, .id_n = bytes[1] & 15, .nonce_n = bytes[1] >> 4,
                                .has_key = bytes[0] & 8, .key = {bytes[2]}};
    struct quic_server_id server_id = {.config = form.config, .id_n = form.id_n % (QUIC_SERVER_ID_MAX + 1),
                                       .nonce_n = form.nonce_n, .has_key = form.has_key, .id = {bytes[3]}};
    check_balancer(&form, id, size - SETTINGS);
    if (!server_id.id_n || (server_id.id_n + server_id.nonce_n >= 8 && server_id.id_n + server_id.nonce_n <= 16))
        check_ours(bytes[2], bytes[3], &server_id, id, size - SETTINGS);
    free(id);
    return 0;
}
