/* Listeners that pass QUIC through, and what somebody sends who wants to harm them or others. */
#include "tests/unit/dataplane/l4/passing.h"

#include <openssl/evp.h>

#include "dataplane/l4/initial.h"

/* ---- a ClientHello in pieces */

enum { HEADER = 22, NUMBER = 4, TAG = 16, HELLO_AT = 4, PACKET_MAX = 1500 };

/* An Initial with octets `from` to `to` of the ClientHello of RFC 9001, number `number`, of so many octets. */
static void seal(struct pass_crypto *c, unsigned number, size_t from, size_t to, uint8_t *bytes, size_t size) {
    static const uint8_t id[8] = "first-id";
    uint8_t frames[sizeof initial_frames / 2], plain[PACKET_MAX] = {0}, nonce[12], mask[16];
    struct pass_initial_keys keys;
    size_t n = size - HEADER - TAG, length = size - HEADER + NUMBER;
    int done = 0;
    assert_int_equal(hex_decode(str_of(initial_frames), frames, sizeof frames), 0);
    assert_int_equal(pass_initial_keys_make(c, PASS_VERSION_1, PASS_CLIENT, id, sizeof id, &keys), 0);
    memset(bytes, 0, size);
    memcpy(bytes, (const uint8_t[]){0xc3, 0, 0, 0, 1, 8}, 6);
    memcpy(bytes + 6, id, 8);
    bytes[16] = (uint8_t)(0x40 | length >> 8);
    bytes[17] = (uint8_t)length;
    bytes[HEADER - 1] = (uint8_t)number;
    memcpy(plain, (const uint8_t[]){6, 0x40, (uint8_t)from, 0x40, (uint8_t)(to - from)}, 5);
    memcpy(plain + 5, frames + HELLO_AT + from, to - from);
    memcpy(nonce, keys.iv, sizeof nonce);
    nonce[11] ^= (uint8_t)number;
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    assert_true(EVP_EncryptInit_ex(x, EVP_aes_128_gcm(), NULL, keys.key, nonce) &&
                EVP_EncryptUpdate(x, NULL, &done, bytes, HEADER) &&
                EVP_EncryptUpdate(x, bytes + HEADER, &done, plain, (int)n) && EVP_EncryptFinal_ex(x, plain, &done) &&
                EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, TAG, bytes + size - TAG));
    EVP_CIPHER_CTX_free(x);
    assert_int_equal(pass_block(c, keys.hp, true, bytes + HEADER - NUMBER + 4, mask), 0);
    bytes[0] ^= mask[0] & 0x0f;
    for (int i = 0; i < NUMBER; i++)
        bytes[HEADER - NUMBER + i] ^= mask[1 + i];
}

static void say_piece(struct pass_crypto *c, int fd, unsigned number, size_t from, size_t to, size_t size) {
    uint8_t bytes[PACKET_MAX];
    seal(c, number, from, to, bytes, size);
    say(fd, bytes, size);
}

/* The name is in the last of them. No two leave in one train, so the first of those that waited tells that nobody is there
 * while the others are sent. */
static void nobody_is_there_while_what_waited_is_sent(void **state) {
    (void)state;
    enum { PIECES = 5, PIECE = 40 };
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    struct pass_crypto *c = pass_crypto_create(NULL);
    worker.free_lists.keep_max = 0; /* what is freed is not kept, so that using it is noticed */
    define_cluster(1, 1, 2);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    int fd = client(), tries = 0, gone = -1;
    while (gone < 0) { /* by the client's address it is either */
        for (unsigned i = PIECES; i-- > 0;)
            say_piece(c, fd, i, i * PIECE, (i + 1) * PIECE, 1200);
        gone = wait_origin(bytes, &n, &from);
        assert_int_equal(++tries, 1);
    }
    close(origins[gone]);
    origins[gone] = -1;
    listener_cut_all(listener);
    worker.now += pass.handshake_timeout + SECOND;
    wheel_advance(&worker.wheel, worker.now);
    worker_end_turn(&worker);
    assert_int_equal(COUNT(flows), 0);
    for (unsigned i = PIECES; i-- > 0;)
        say_piece(c, fd, i, i * PIECE, (i + 1) * PIECE, 1200 + 10 * (PIECES - i));
    TURN_UNTIL(COUNT(refused_total) == 1);
    assert_int_equal(COUNT(hellos), 0);
    assert_int_equal(COUNT(flows), 1); /* towards the other one, for what the client will say again */
    for (unsigned i = PIECES; i-- > 0;)
        say_piece(c, fd, i, i * PIECE, (i + 1) * PIECE, 1200);
    assert_int_equal(wait_origin(bytes, &n, &from), 3 - gone);
    pass_crypto_destroy(c);
}

/* Initials that cannot be opened, and behind them one with the whole ClientHello, in one datagram. */
static void say_behind(struct pass_crypto *c, int fd, unsigned broken) {
    enum { BROKEN = 60, WHOLE = 300, HELLO = 241 };
    uint8_t bytes[DATAGRAM] = {0};
    for (unsigned i = 0; i < broken; i++) {
        seal(c, i, 0, 1, bytes + i * BROKEN, BROKEN);
        bytes[(i + 1) * BROKEN - 1] ^= 1;
    }
    seal(c, broken, 0, HELLO, bytes + broken * BROKEN, WHOLE);
    say(fd, bytes, sizeof bytes);
}

/* What is tried at one datagram is bounded. */
static void packets_that_cannot_be_opened(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    struct pass_crypto *c = pass_crypto_create(NULL);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    say_behind(c, client(), 7);
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    say_behind(c, client(), 8);
    TURN_UNTIL(COUNT(dropped_hello_total) > 0 || is_readable(origins[2]));
    assert_int_equal(COUNT(dropped_hello_total), 1);
    assert_int_equal(COUNT(flows), 1);
    pass_crypto_destroy(c);
}

/* ---- forged addresses */

/* Somebody says first packets with the address of a client that is served. What that client says with an ID that only its
 * endpoint knows still goes where it went. */
static void connections_that_others_begin_in_its_name(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address mine, from;
    int fd = client();
    int origin = proven(fd, "origin-id", &mine);
    for (char i = '0'; i < '8'; i++) {
        char id[] = "forged-0";
        id[7] = i;
        say_long(fd, SOME_VERSION, id, id);
        wait_origin(bytes, &n, &from);
        assert_false(address_equal(&from, &mine));
    }
    say_short(fd, "another-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_true(address_equal(&from, &mine));
}

/* The client's own next connection over the same socket takes the place once it is proven. */
static void a_second_connection_that_is_real(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address first, second, from;
    int fd = client();
    proven(fd, "origin-id", &first);
    say_long(fd, SOME_VERSION, "second-id", "2");
    int origin = wait_origin(bytes, &n, &second);
    n = long_packet(bytes, SOME_VERSION, "2", "origin-2", 100);
    assert_int_equal(sendto(origins[origin], bytes, n, 0, &second.u.any, second.length), n);
    expect_client(fd, bytes, n);
    say_short(fd, "origin-2");
    wait_origin(bytes, &n, &from);
    say_short(fd, "another-id");
    wait_origin(bytes, &n, &from);
    assert_true(address_equal(&from, &second));
    say_short(fd, "origin-id");
    wait_origin(bytes, &n, &from);
    assert_true(address_equal(&from, &first));
}

/* A connection comes to the address of another one, known by what its ID says alone: it gets one flow, and not one for each
 * ID that it uses. */
static void where_another_one_was(void **state) {
    (void)state;
    static const struct quic_lb_form form = {.config = 2, .id_n = 2, .nonce_n = 5};
    static const struct pass_server servers[] = {{.cluster = &clusters[0], .place = 0},
                                                 {.cluster = &clusters[0], .place = 1}};
    static const char *const ids[2][2] = {{"\x40" "AAnonce", "\x40" "AAother"}, {"\x40" "BBnonce", "\x40" "BBother"}};
    uint8_t bytes[65536];
    size_t n;
    struct address mine, from;
    assert_int_equal(map_set(&pass.by_server, STR("\002" "AA"), (void *)(uintptr_t)&servers[0]), 0);
    assert_int_equal(map_set(&pass.by_server, STR("\002" "BB"), (void *)(uintptr_t)&servers[1]), 0);
    pass.lb[2] = &form;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    int fd = client();
    int origin = proven(fd, "origin-id", &mine);
    for (int i = 0; i < 6; i++) {
        say_short(fd, ids[1 - origin][i % 2]);
        assert_int_equal(wait_origin(bytes, &n, &from), 1 - origin);
    }
    assert_int_equal(COUNT(flows), 2);
    say_short(fd, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
}

/* ---- */

/* After a Retry the client is proven by its ID, before the server has said its own. That one is known, too. */
static void the_id_after_a_retry(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client();
    int origin = answered(fd, "retry-id", &from);
    say_long(fd, SOME_VERSION, "retry-id", "own");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(proven_total), 1);
    n = long_packet(bytes, SOME_VERSION, "own", "server-id", 100);
    assert_int_equal(sendto(origins[origin], bytes, n, 0, &from.u.any, from.length), n);
    expect_client(fd, bytes, n);
    say_short(fd, "server-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    for (int i = 0; i < 10; i++) {
        say_short(client(), "server-id");
        assert_int_equal(wait_origin(bytes, &n, &from), origin);
    }
    assert_int_equal(COUNT(moved_total), 10);
}

/* The machine has just been started: the clock is young. */
static void ids_are_known_from_the_first_second(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    pass.idle_timeout = 1000 * worker.now;
    int origin = proven(client(), "origin-id", &from);
    for (int i = 0; i < 10; i++) {
        say_short(client(), "origin-id");
        assert_int_equal(wait_origin(bytes, &n, &from), origin);
    }
    assert_int_equal(COUNT(moved_total), 10);
}

static void a_bound_that_has_become_lower(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    pass.max_flows = 8;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    for (int i = 0; i < 8; i++) {
        say_long(client(), SOME_VERSION, "first-id", "own");
        wait_origin(bytes, &n, &from);
    }
    pass.max_flows = 2;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    for (int i = 0; i < 6; i++) {
        say_long(client(), SOME_VERSION, "first-id", "own");
        wait_origin(bytes, &n, &from);
    }
    assert_int_equal(COUNT(flows), 2);
}

static void a_bound_of_names_that_has_become_lower(void **state) {
    (void)state;
    enum { BEFORE = 8, NOW = 2 };
    struct pass_crypto *c = pass_crypto_create(NULL);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    pass.max_flows = 2 * BEFORE;
    pass.max_hellos = BEFORE;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    for (unsigned i = 0; i < BEFORE + BEFORE - NOW; i++) {
        if (i == BEFORE)
            pass.max_hellos = NOW;
        say_piece(c, client(), 0, 0, 40, DATAGRAM); /* the name comes behind it */
        TURN_UNTIL(COUNT(flows_total) == i + 1);
    }
    assert_int_equal(COUNT(hellos), NOW);
    assert_int_equal(COUNT(flows), NOW);
    pass_crypto_destroy(c);
}

/* What a listener that leaves has is let finish; IDs do not begin anything there. */
static void nothing_begins_by_an_id_while_draining(void **state) {
    (void)state;
    static const struct quic_lb_form form = {.config = 2, .id_n = 2, .nonce_n = 5};
    static const struct pass_server servers[] = {{.cluster = &clusters[1], .place = 0}};
    uint8_t bytes[65536];
    size_t n;
    struct address mine, from;
    assert_int_equal(map_set(&pass.by_server, STR("\002" "CC"), (void *)(uintptr_t)&servers[0]), 0);
    pass.lb[2] = &form;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    int fd = client();
    int origin = proven(fd, "origin-id", &mine);
    listener_drain(listener, 30 * SECOND);
    say_short(fd, "\x40" "CCnonce");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_int_equal(COUNT(flows), 1);
    listener_cut_all(listener);
    worker_end_turn(&worker);
    assert_null(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nobody_is_there_while_what_waited_is_sent), TEST(packets_that_cannot_be_opened),
        TEST(connections_that_others_begin_in_its_name), TEST(a_second_connection_that_is_real),
        TEST(where_another_one_was), TEST(the_id_after_a_retry), TEST(ids_are_known_from_the_first_second),
        TEST(a_bound_that_has_become_lower), TEST(a_bound_of_names_that_has_become_lower),
        TEST(nothing_begins_by_an_id_while_draining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
