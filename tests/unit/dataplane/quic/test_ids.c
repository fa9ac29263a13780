/* Connection IDs: the draft's vectors, what a worker can read back, and what nobody else can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/halfsiphash.h"
#include "dataplane/quic/ids.h"

enum { MANY = 4096 };

static const uint8_t key[QUIC_ID_KEY_SIZE] = {0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4};

static size_t unhex(const char *text, uint8_t *ret) {
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        char octet[3] = {text[2 * i], text[2 * i + 1], '\0'}, *end;
        ret[i] = (uint8_t)strtoul(octet, &end, 16);
        assert_true(*end == '\0');
    }
    return n;
}

/* The reference implementation's vectors_hsip32[8]: key 00..07, message 00..07, in little-endian words. */
static void hash_is_the_reference_one(void **state) {
    (void)state;
    assert_int_equal(halfsiphash_of_8(0x03020100, 0x07060504, 0x03020100, 0x07060504), 0x8f84b8d0);
}

struct vector {
    uint8_t     config;
    const char *server_id, *nonce, *key, *id;
};

/* draft-ietf-quic-load-balancers-21, appendix "Load Balancer Test Vectors", and the example of its section on encryption.
 * Left out is the one with a nonce of nine hexadecimal digits; the one of 18 octets has configuration 0 in its first octet,
 * and 3 beside it. */
static const struct vector vectors[] = {
    {0, "c4605e", "4504cc4f", NULL, "07c4605e4504cc4f"},
    {0, "ed793a", "ee080dbf", "8f95f09245765f80256934e50c66207f", "0720b1d07b359d3c"},
    {1, "ed793a51d49b8f5fab65", "ee080dbf48", "8f95f09245765f80256934e50c66207f", "2fcc381bc74cb4fbad2823a3d1f8fed2"},
    {2, "ed793a51d49b8f5f", "ee080dbf48c0d1e5", "8f95f09245765f80256934e50c66207f", "504dd2d05a7b0de9b2b9907afb5ecf8cc3"},
    {0, "ed793a51d49b8f5fab", "ee080dbf48c0d1e55d", "8f95f09245765f80256934e50c66207f",
     "125779c9cc86beb3a3a4a3ca96fce4bfe0cdbc"},
    {0, "31441a", "9c69c275", "fdf726a9893ec05c0632d3956680baf0", "0767947d29be054a"},
};

static struct quic_lb *balancer_of(const struct vector *v) {
    struct quic_lb_form form = {.config = v->config, .id_n = (uint8_t)(strlen(v->server_id) / 2),
                                .nonce_n = (uint8_t)(strlen(v->nonce) / 2), .has_key = v->key != NULL};
    if (v->key)
        assert_int_equal(unhex(v->key, form.key), sizeof form.key);
    struct quic_lb *lb = quic_lb_create(&form);
    assert_non_null(lb);
    return lb;
}

static void check_vector(const struct vector *v) {
    uint8_t server_id[20], nonce[20], want[20], id[20], read[20];
    size_t id_n = unhex(v->server_id, server_id), n = unhex(v->id, want);
    struct quic_lb *lb = balancer_of(v);
    unhex(v->nonce, nonce);
    assert_true(quic_lb_encode(lb, server_id, nonce, n, id));
    assert_memory_equal(id, want, n);
    assert_true(quic_lb_decode(lb, want, n, read));
    assert_memory_equal(read, server_id, id_n);
    assert_false(quic_lb_decode(lb, want, n - 1, read)); /* too short */
    want[0] ^= 0x20;
    assert_false(quic_lb_decode(lb, want, n, read)); /* of another configuration */
    quic_lb_destroy(lb);
}

static void vectors_of_the_draft(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        check_vector(&vectors[i]);
}

/* Every pair of lengths that the draft allows comes back, with a key and in plain. */
static void server_ids_of_every_length_come_back(void **state) {
    (void)state;
    static const uint8_t server_id[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, nonce[19] = {0xa5, 0x5a, 0xff};
    for (uint8_t id_n = 1; id_n <= 15; id_n++)
        for (uint8_t nonce_n = 4; id_n + nonce_n <= 19; nonce_n++)
            for (int has_key = 0; has_key < 2; has_key++) {
                struct quic_lb *lb = quic_lb_create(
                    &(struct quic_lb_form){.config = 5, .id_n = id_n, .nonce_n = nonce_n, .has_key = has_key, .key = {9}});
                uint8_t id[20], read[20];
                assert_non_null(lb);
                assert_true(quic_lb_encode(lb, server_id, nonce, sizeof id, id));
                assert_int_equal(memcmp(id + 1, server_id, id_n) == 0, !has_key);
                assert_true(quic_lb_decode(lb, id, (size_t)1 + id_n + nonce_n, read));
                assert_memory_equal(read, server_id, id_n);
                quic_lb_destroy(lb);
            }
}

static void forms_out_of_bounds_are_refused(void **state) {
    (void)state;
    static const struct quic_lb_form wrong[] = {
        {.config = 7, .id_n = 3, .nonce_n = 4},
        {.config = 0, .id_n = 0, .nonce_n = 8},
        {.config = 0, .id_n = 8, .nonce_n = 3},
        {.config = 0, .id_n = 15, .nonce_n = 5},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_null(quic_lb_create(&wrong[i]));
}

static const struct quic_server_id kinds[] = {
    {.id_n = 0},
    {.id_n = 2, .nonce_n = 6, .config = 1, .id = {0xab, 0xcd}},
    {.id_n = 4, .nonce_n = 8, .config = 2, .id = {1, 2, 3, 4}, .has_key = true, .key = {7, 7, 7}},
    {.id_n = 8, .nonce_n = 8, .config = 6, .id = {8, 7, 6, 5, 4, 3, 2, 1}, .has_key = true, .key = {5}},
};

static void workers_and_generations_are_read_back(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (unsigned i = 0; i < MANY; i++) {
            struct quic_ids ids;
            uint8_t id[QUIC_ID_MAX], worker, generation;
            assert_int_equal(quic_ids_init(&ids, key, (uint8_t)(i >> 4), &kinds[k]), 0);
            assert_true(quic_ids_make(&ids, (uint8_t)i, id));
            assert_true(quic_ids_read(&ids, id, ids.n, &worker, &generation));
            assert_int_equal(worker, (uint8_t)i);
            assert_int_equal(generation, (uint8_t)(i >> 4));
            quic_ids_finish(&ids);
        }
}

static void ids_say_their_length_and_server(void **state) {
    (void)state;
    static const size_t lengths[] = {12, 12, 16, 20};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct quic_ids ids;
        uint8_t id[QUIC_ID_MAX], read[QUIC_ID_MAX];
        assert_int_equal(quic_ids_init(&ids, key, 3, &kinds[k]), 0);
        assert_int_equal(ids.n, lengths[k]);
        assert_int_equal(quic_ids_length(&kinds[k]), lengths[k]);
        assert_true(quic_ids_make(&ids, 1, id));
        assert_int_equal(id[0] & 0x1f, ids.n - 1);
        assert_int_equal(id[0] >> 5, kinds[k].id_n ? kinds[k].config : QUIC_LB_UNROUTABLE);
        if (ids.lb) {
            assert_true(quic_lb_decode(ids.lb, id, ids.n, read));
            assert_memory_equal(read, kinds[k].id, kinds[k].id_n);
        }
        quic_ids_finish(&ids);
    }
}

static unsigned taken_for_ours(const struct quic_ids *ids, unsigned tries) {
    unsigned taken = 0;
    uint8_t worker, generation;
    for (unsigned i = 0; i < tries; i++) {
        uint8_t id[QUIC_ID_MAX];
        struct quic_ids other = *ids;
        other.key[0] ^= 1; /* who does not have the key writes anything */
        assert_true(quic_ids_make(&other, (uint8_t)i, id));
        taken += quic_ids_read(ids, id, ids->n, &worker, &generation) && generation == ids->generation;
    }
    return taken;
}

/* 65,536 in expectation to one; 60 of 65,536 has a probability below 10^-60. */
static void ids_of_others_are_not_taken_for_ours(void **state) {
    (void)state;
    struct quic_ids ids;
    assert_int_equal(quic_ids_init(&ids, key, 9, &kinds[0]), 0);
    assert_true(taken_for_ours(&ids, 65536) < 60);
    quic_ids_finish(&ids);
}

/* Whatever they hold: of 4,096 some would look right by chance. */
static void ids_of_another_length_are_not_ours(void **state) {
    (void)state;
    struct quic_ids ids;
    uint8_t id[QUIC_ID_MAX + 1] = {0}, worker, generation;
    assert_int_equal(quic_ids_init(&ids, key, 9, &kinds[0]), 0);
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(quic_ids_make(&ids, 0, id));
        assert_false(quic_ids_read(&ids, id, ids.n - 1u, &worker, &generation));
        assert_false(quic_ids_read(&ids, id, ids.n + 1u, &worker, &generation));
    }
    quic_ids_finish(&ids);
}

/* Two IDs of one worker have nothing in common but the first octet: the routing octets are masked. */
static void routing_is_masked(void **state) {
    (void)state;
    struct quic_ids ids;
    unsigned same[QUIC_ID_ROUTING] = {0};
    uint8_t first[QUIC_ID_MAX], id[QUIC_ID_MAX];
    assert_int_equal(quic_ids_init(&ids, key, 1, &kinds[0]), 0);
    assert_true(quic_ids_make(&ids, 2, first));
    for (int i = 0; i < MANY; i++) {
        assert_true(quic_ids_make(&ids, 2, id));
        for (int octet = 0; octet < QUIC_ID_ROUTING; octet++)
            same[octet] += id[9 + octet] == first[9 + octet];
    }
    for (int octet = 0; octet < QUIC_ID_ROUTING; octet++)
        assert_in_range(same[octet], 0, 100); /* 16 in expectation */
    quic_ids_finish(&ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_the_reference_one),
        cmocka_unit_test(vectors_of_the_draft),
        cmocka_unit_test(server_ids_of_every_length_come_back),
        cmocka_unit_test(forms_out_of_bounds_are_refused),
        cmocka_unit_test(workers_and_generations_are_read_back),
        cmocka_unit_test(ids_say_their_length_and_server),
        cmocka_unit_test(ids_of_others_are_not_taken_for_ours),
        cmocka_unit_test(ids_of_another_length_are_not_ours),
        cmocka_unit_test(routing_is_masked),
    };
    return cmocka_run_group_tests_name("quic/ids", tests, NULL, NULL);
}
