/* Which flow a datagram belongs to, and who gives way when there is no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/l4/flow_table.h"

static struct address client(unsigned port) {
    char text[32];
    struct address a;
    snprintf(text, sizeof text, "192.0.2.1:%u", port);
    assert_int_equal(address_parse(str_of(text), &a), 0);
    return a;
}

static struct pass_packet packet(enum pass_packet_kind kind, const char *dcid, const char *scid) {
    return (struct pass_packet){.kind = kind, .dcid = (const uint8_t *)dcid, .dcid_n = strlen(dcid),
                                .scid = (const uint8_t *)scid, .scid_n = strlen(scid)};
}

static void add(struct flow_table *t, struct flow_node *f, unsigned port, const char *dcid, const char *scid) {
    const struct pass_packet first = packet(PASS_INITIAL, dcid, scid);
    *f = (struct flow_node){.client = client(port)};
    flow_table_add(t, f, &first);
}

static struct flow_node *find(const struct flow_table *t, unsigned port, enum pass_packet_kind kind, const char *dcid,
                              const char *scid) {
    const struct address a = client(port);
    const struct pass_packet p = packet(kind, dcid, scid);
    return flow_table_find(t, &a, &p);
}

static void note(struct flow_table *t, struct flow_node *f, const char *id) {
    flow_table_note_origin_id(t, f, (const uint8_t *)id, strlen(id));
}

static int make_table(void **state) {
    *state = calloc(1, sizeof(struct flow_table));
    return flow_table_init(*state, 4);
}

static int free_table(void **state) {
    struct flow_table *t = *state;
    for (size_t i = 0; i <= t->mask; i++)
        if (t->buckets[i])
            return -1; /* a flow that is gone left a key */
    for (int i = 0; i <= PASS_ID_MAX; i++)
        if (t->lengths[i])
            return -1;
    flow_table_finish(t);
    free(t);
    return 0;
}

static void test_one_flow_of_an_address(void **state) {
    struct flow_table *t = *state;
    struct flow_node f;
    assert_null(find(t, 1, PASS_SHORT, "anything", ""));
    add(t, &f, 1, "first-id", "own");
    assert_ptr_equal(find(t, 1, PASS_SHORT, "anything", ""), &f);
    assert_ptr_equal(find(t, 1, PASS_INITIAL, "first-id", ""), &f);
    assert_ptr_equal(find(t, 1, PASS_INITIAL, "another", "own"), &f);
    assert_null(find(t, 1, PASS_INITIAL, "another", "other")); /* the client begins another connection */
    assert_null(find(t, 1, PASS_INITIAL, "another", ""));
    assert_null(find(t, 2, PASS_SHORT, "anything", ""));
    flow_table_remove(t, &f);
    assert_null(find(t, 1, PASS_SHORT, "anything", ""));
}

/* One socket with many connections, as libraries of clients have it. */
static void test_several_flows_of_an_address(void **state) {
    struct flow_table *t = *state;
    struct flow_node f[3];
    add(t, &f[0], 1, "first-a", "own-a");
    add(t, &f[1], 1, "first-b", "own-b");
    add(t, &f[2], 1, "first-c", "own-c");
    note(t, &f[0], "origin-a");
    note(t, &f[1], "origin-bb");
    assert_ptr_equal(find(t, 1, PASS_SHORT, "origin-aXXXX", ""), &f[0]);
    assert_ptr_equal(find(t, 1, PASS_SHORT, "origin-bbXXX", ""), &f[1]);
    assert_null(find(t, 1, PASS_SHORT, "origin-cXXXX", ""));
    assert_null(find(t, 1, PASS_SHORT, "origin", "")); /* too short for any */
    assert_ptr_equal(find(t, 1, PASS_HANDSHAKE, "origin-a", "own-c"), &f[0]);
    assert_ptr_equal(find(t, 1, PASS_HANDSHAKE, "else", "own-c"), &f[2]);
    assert_ptr_equal(flow_table_first(t, &f[0].client), &f[2]);
    flow_table_remove(t, &f[2]); /* another one is found by the address */
    assert_non_null(flow_table_first(t, &f[0].client));
    flow_table_remove(t, &f[0]);
    assert_ptr_equal(find(t, 1, PASS_SHORT, "anything", ""), &f[1]); /* alone again */
    flow_table_remove(t, &f[1]);
    assert_null(flow_table_first(t, &f[0].client));
}

/* Who is proven stands before those that are not, however new they are. */
static void test_the_first_of_an_address(void **state) {
    struct flow_table *t = *state;
    struct flow_node f[4];
    const struct address a = client(1);
    add(t, &f[0], 1, "first-a", "");
    add(t, &f[1], 1, "first-b", "");
    assert_ptr_equal(flow_table_first(t, &a), &f[1]);
    flow_table_prove(t, &f[0]);
    assert_ptr_equal(flow_table_first(t, &a), &f[0]);
    add(t, &f[2], 1, "first-c", "");
    assert_ptr_equal(flow_table_first(t, &a), &f[0]);
    flow_table_prove(t, &f[2]);
    assert_ptr_equal(flow_table_first(t, &a), &f[2]);
    add(t, &f[3], 1, "first-d", "");
    flow_table_remove(t, &f[2]);
    assert_ptr_equal(flow_table_first(t, &a), &f[0]);
    flow_table_remove(t, &f[0]);
    struct flow_node *other = flow_table_first(t, &a);
    assert_true(other == &f[1] || other == &f[3]);
    flow_table_remove(t, other);
    assert_ptr_equal(flow_table_first(t, &a), other == &f[1] ? &f[3] : &f[1]);
    flow_table_remove(t, &f[other == &f[1] ? 3 : 1]);
    assert_null(flow_table_first(t, &a));
}

/* A Retry, then the server; more than two are the last. */
static void test_ids_of_the_origin(void **state) {
    struct flow_table *t = *state;
    struct flow_node f;
    const struct pass_packet a = packet(PASS_HANDSHAKE, "id-a", ""), b = packet(PASS_SHORT, "id-bb----", ""),
                             c = packet(PASS_SHORT, "id-c", ""), cut = packet(PASS_SHORT, "id-b", "");
    add(t, &f, 1, "first-id", "");
    assert_false(flow_node_knows_id(&f, &a, 1));
    note(t, &f, "id-a");
    note(t, &f, "id-a");
    note(t, &f, "id-bb");
    assert_true(flow_node_knows_id(&f, &a, 1));
    assert_true(flow_node_knows_id(&f, &a, 4));
    assert_false(flow_node_knows_id(&f, &a, 5));
    assert_true(flow_node_knows_id(&f, &b, 5));
    assert_false(flow_node_knows_id(&f, &cut, 1));
    note(t, &f, "id-c");
    assert_true(flow_node_knows_id(&f, &a, 1));
    assert_false(flow_node_knows_id(&f, &b, 1));
    assert_true(flow_node_knows_id(&f, &c, 1));
    assert_ptr_equal(find(t, 1, PASS_INITIAL, "id-a", ""), &f); /* after a Retry */
    flow_table_remove(t, &f);
}

static void test_who_gives_way(void **state) {
    struct flow_table *t = *state;
    struct flow_node f[5];
    for (unsigned i = 0; i < 3; i++)
        add(t, &f[i], i + 1, "first-id", "");
    assert_null(flow_table_victim(t));
    add(t, &f[3], 4, "first-id", "");
    assert_true(flow_table_is_full(t));
    assert_ptr_equal(flow_table_victim(t), &f[0]);
    flow_table_prove(t, &f[0]);
    flow_table_prove(t, &f[0]);
    assert_int_equal(t->proven, 1);
    assert_ptr_equal(flow_table_victim(t), &f[1]);
    flow_table_remove(t, &f[1]);
    assert_null(flow_table_victim(t));
    add(t, &f[4], 5, "first-id", "");
    for (unsigned i = 2; i < 5; i++)
        flow_table_prove(t, &f[i]);
    assert_true(flow_table_is_full(t));
    assert_null(flow_table_victim(t)); /* none of these */
    flow_table_remove(t, &f[0]);
    for (unsigned i = 2; i < 5; i++)
        flow_table_remove(t, &f[i]);
    assert_int_equal(t->proven, 0);
    assert_int_equal(t->count, 0);
}

/* IDs of unknown versions may have more octets than are compared. */
static void test_long_ids(void **state) {
    struct flow_table *t = *state;
    struct flow_node f;
    add(t, &f, 1, "an-id-of-more-than-twenty-octets", "another-one-of-more-than-twenty");
    assert_ptr_equal(find(t, 1, PASS_UNKNOWN, "an-id-of-more-than-twenty-octets", "not-this"), &f);
    assert_ptr_equal(find(t, 1, PASS_UNKNOWN, "not-this", "another-one-of-more-than-twenty"), &f);
    assert_null(find(t, 1, PASS_UNKNOWN, "an-id-of-more", "another-one-of"));
    note(t, &f, "the-origins-id-of-more-than-twenty");
    const struct pass_packet p = packet(PASS_UNKNOWN, "the-origins-id-of-more-than-twenty", "");
    assert_true(flow_node_knows_id(&f, &p, 4));
    flow_table_remove(t, &f);
}

static void test_another_bound(void **state) {
    struct flow_table *t = *state;
    enum { MANY = 200 };
    static struct flow_node f[MANY];
    for (unsigned i = 0; i < 4; i++)
        add(t, &f[i], i + 1, "first-id", "own");
    hg_alloc_fail_at(0, 1);
    flow_table_set_max(t, MANY);
    hg_alloc_fail_at(-1, 0);
    assert_false(flow_table_is_full(t));
    for (unsigned i = 4; i < 8; i++) /* in the old buckets */
        add(t, &f[i], i + 1, "first-id", "own");
    size_t before = t->mask;
    flow_table_set_max(t, MANY);
    assert_true(t->mask > before);
    for (unsigned i = 8; i < MANY; i++)
        add(t, &f[i], i + 1, "first-id", "own");
    assert_true(flow_table_is_full(t));
    for (unsigned i = 0; i < MANY; i++)
        assert_ptr_equal(find(t, i + 1, PASS_INITIAL, "first-id", ""), &f[i]);
    flow_table_set_max(t, 2);
    assert_ptr_equal(flow_table_victim(t), &f[0]);
    for (unsigned i = 0; i < MANY; i++)
        flow_table_remove(t, &f[i]);
}

static void test_without_memory(void **state) {
    (void)state;
    struct flow_table t;
    hg_alloc_fail_at(0, 1);
    assert_int_equal(flow_table_init(&t, 100), -1);
    hg_alloc_fail_at(-1, 0);
    flow_table_finish(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_flow_of_an_address, make_table, free_table),
        cmocka_unit_test_setup_teardown(test_several_flows_of_an_address, make_table, free_table),
        cmocka_unit_test_setup_teardown(test_the_first_of_an_address, make_table, free_table),
        cmocka_unit_test_setup_teardown(test_ids_of_the_origin, make_table, free_table),
        cmocka_unit_test_setup_teardown(test_who_gives_way, make_table, free_table),
        cmocka_unit_test_setup_teardown(test_long_ids, make_table, free_table),
        cmocka_unit_test_setup_teardown(test_another_bound, make_table, free_table),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
