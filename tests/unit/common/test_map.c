#include "common/map.h"

#include <stdio.h>

#include "common/alloc.h"
#include "tests/unit/common/cmocka_all.h"

enum { KEYS = 500 };

struct model {
    char keys[KEYS][16];
    int values[KEYS]; /* what their addresses stand for */
    bool is_in[KEYS];
    size_t count;
};

static void fill_keys(struct model *m) {
    memset(m, 0, sizeof *m);
    for (int i = 0; i < KEYS; i++)
        snprintf(m->keys[i], sizeof m->keys[i], "key %d", i);
}

static void assert_same(const struct map *map, const struct model *m) {
    size_t position = 0, walked = 0;
    assert_int_equal(map->count, m->count);
    for (int i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(map, str_of(m->keys[i])), m->is_in[i] ? &m->values[i] : NULL);
    for (const struct map_entry *e; (e = map_next(map, &position)); walked++)
        assert_true(m->is_in[(const int *)e->value - m->values]);
    assert_int_equal(walked, m->count);
}

static void random_changes_match_a_model(void **state) {
    (void)state;
    static struct model m;
    struct map map = {0};
    unsigned random = 1;
    fill_keys(&m);
    for (int round = 0; round < 20000; round++) {
        random = random * 1103515245 + 12345;
        int i = (int)(random >> 8) % KEYS;
        /* Grows in the first half of each thousand, shrinks in the second. */
        bool add = (random >> 20) % 10 < (round % 1000 < 500 ? 7u : 3u);
        if (add) {
            assert_int_equal(map_set(&map, str_of(m.keys[i]), &m.values[i]), 0);
        } else {
            void *was = map_remove(&map, str_of(m.keys[i]));
            assert_ptr_equal(was, m.is_in[i] ? &m.values[i] : NULL);
        }
        m.count = m.count + add - m.is_in[i];
        m.is_in[i] = add;
        if (round % 500 == 0)
            assert_same(&map, &m);
    }
    assert_same(&map, &m);
    map_finish(&map);
}

static void an_empty_map(void **state) {
    (void)state;
    struct map map = {0};
    size_t position = 0;
    assert_null(map_get(&map, STR("x")));
    assert_null(map_remove(&map, STR("x")));
    assert_null(map_next(&map, &position));
    map_finish(&map);
}

static void setting_again_replaces_value_and_key(void **state) {
    (void)state;
    struct map map = {0};
    int one, two;
    char first[] = "key", second[] = "key";
    size_t position = 0;
    assert_int_equal(map_set(&map, str_of(first), &one), 0);
    assert_int_equal(map_set(&map, str_of(second), &two), 0);
    assert_int_equal(map.count, 1);
    assert_ptr_equal(map_get(&map, STR("key")), &two);
    assert_ptr_equal(map_next(&map, &position)->key.p, second);
    map_finish(&map);
}

static void the_empty_key_is_a_key(void **state) {
    (void)state;
    struct map map = {0};
    int value;
    assert_int_equal(map_set(&map, (struct str){NULL, 0}, &value), 0);
    assert_ptr_equal(map_get(&map, STR("")), &value);
    assert_ptr_equal(map_get(&map, (struct str){NULL, 0}), &value);
    assert_ptr_equal(map_remove(&map, STR("")), &value);
    assert_null(map_get(&map, STR("")));
    map_finish(&map);
}

static void keys_are_bytes(void **state) {
    (void)state;
    struct map map = {0};
    int one, two;
    assert_int_equal(map_set(&map, (struct str){"a\0b", 3}, &one), 0);
    assert_int_equal(map_set(&map, (struct str){"a\0c", 3}, &two), 0);
    assert_ptr_equal(map_get(&map, (struct str){"a\0b", 3}), &one);
    assert_null(map_get(&map, STR("a")));
    map_finish(&map);
}

static void a_failed_set_changes_nothing(void **state) {
    (void)state;
    static struct model m;
    struct map map = {0};
    unsigned failures = 0;
    fill_keys(&m);
    for (int i = 0; i < KEYS; i++) {
        hg_alloc_fail_at(0, 0);
        if (map_set(&map, str_of(m.keys[i]), &m.values[i]) < 0) {
            failures++;
            assert_same(&map, &m);
            assert_int_equal(map_set(&map, str_of(m.keys[i]), &m.values[i]), 0);
        }
        hg_alloc_fail_at(-1, 0);
        m.is_in[i] = true;
        m.count++;
    }
    assert_same(&map, &m);
    assert_int_equal(failures, 7); /* tables of 16 to 1024 entries */
    map_finish(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_match_a_model),
        cmocka_unit_test(an_empty_map),
        cmocka_unit_test(setting_again_replaces_value_and_key),
        cmocka_unit_test(the_empty_key_is_a_key),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(a_failed_set_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
