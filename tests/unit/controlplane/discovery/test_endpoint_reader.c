/* Endpoints one by one from the bytes of a set: as decoding has them, and nothing beyond bytes that are no message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/discovery/endpoints.h"

enum { MANY = 100000 };

static Headgate__Endpoint endpoints[MANY];
static Headgate__Endpoint *listed[MANY];
static char addresses[MANY][32];
static uint8_t *bytes;
static size_t size;

/* Of all kinds of fields, and all states of health. */
static void pack(size_t count) {
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    for (size_t i = 0; i < count; i++) {
        Headgate__Endpoint *e = listed[i] = &endpoints[i];
        headgate__endpoint__init(e);
        snprintf(addresses[i], sizeof addresses[i], "10.%zu.%zu.%zu:80", i / 65536, i / 256 % 256, i % 256);
        e->address = addresses[i];
        e->has_weight = i % 2;
        e->weight = (uint32_t)i;
        e->has_health = i % 5 != 4;
        e->health = (Headgate__Endpoint__Health)(i % 5 % 4);
        e->hostname = i % 3 ? (char *)"origin.example" : NULL;
        e->zone = i % 7 ? NULL : (char *)"here/a";
    }
    set.n_endpoints = count;
    set.endpoints = listed;
    size = headgate__endpoint_set__get_packed_size(&set);
    bytes = malloc(size); /* of its own, so that a read beyond its end is seen */
    assert_non_null(bytes);
    headgate__endpoint_set__pack(&set, bytes);
}

static void very_many_are_read_as_they_are(void **state) {
    struct endpoint_reader r;
    const uint8_t *one;
    size_t n, count = 0;
    (void)state;
    pack(MANY);
    endpoint_reader_begin(&r, bytes, size);
    for (; endpoint_reader_next(&r, &one, &n); count++) {
        assert_true(count < MANY);
        assert_int_equal(endpoint_health_of(one, n), count % 5 == 4 ? 0 : count % 5);
        if (count % 100)
            continue;
        Headgate__Endpoint *e = headgate__endpoint__unpack(NULL, n, one);
        assert_non_null(e);
        assert_string_equal(e->address, addresses[count]);
        headgate__endpoint__free_unpacked(e, NULL);
    }
    assert_int_equal(count, MANY);
    free(bytes);
}

/* Cut anywhere it ends early; changed anywhere it ends somewhere. */
static void nothing_is_read_beyond_the_end(void **state) {
    (void)state;
    pack(20);
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *part = malloc(cut ? cut : 1);
        assert_non_null(part);
        memcpy(part, bytes, cut);
        for (unsigned flip = 0; flip < 256; flip += cut ? 15 : 255) {
            struct endpoint_reader r;
            const uint8_t *one;
            size_t n, count = 0;
            if (cut)
                part[cut / 2] ^= (uint8_t)flip;
            endpoint_reader_begin(&r, part, cut);
            for (; endpoint_reader_next(&r, &one, &n); count++) {
                assert_true(one >= part && n <= cut && one + n <= part + cut);
                endpoint_health_of(one, n);
            }
            assert_true(count <= cut);
        }
        free(part);
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(very_many_are_read_as_they_are),
        cmocka_unit_test(nothing_is_read_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
