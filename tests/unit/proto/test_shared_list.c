/* Lists that share what did not change: like lists that are made anew, whatever they follow from. */
#include "proto/shared_list.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "tests/unit/common/cmocka_all.h"

enum { NAMES = 1200, STEPS = 400, CHANGES_MAX = 12 };

struct thing {
    unsigned           references;
    struct resource_id id;
    char               name[16];
};

static size_t living;

static struct entry_key key_of(const void *item) {
    const struct thing *t = item;
    return (struct entry_key){HEADGATE__KIND__KIND_ENDPOINT_SET, t->name, t->id.bytes};
}

static void ref(void *item) {
    ((struct thing *)item)->references++;
}

static void unref(void *item) {
    struct thing *t = item;
    if (--t->references > 0)
        return;
    living--;
    free(t);
}

static const struct shared_ops ops = {.key = key_of, .ref = ref, .unref = unref};

static struct thing *make(unsigned number, unsigned content) {
    struct thing *t = calloc(1, sizeof *t);
    t->references = 1;
    snprintf(t->name, sizeof t->name, "c%05u", number);
    memcpy(t->id.bytes, &content, sizeof content);
    living++;
    return t;
}

/* ---- what a list should be ---- */

struct world {
    struct thing *things[NAMES]; /* NULL: not there */
};

static struct shared_list rebuild(const struct world *w) {
    static const struct shared_list nothing;
    struct shared_change changes[NAMES];
    struct shared_list list;
    size_t count = 0;
    for (unsigned i = 0; i < NAMES; i++)
        if (w->things[i])
            changes[count++] = (struct shared_change){key_of(w->things[i]), w->things[i]};
    assert_int_equal(shared_list_change(&nothing, &ops, changes, count, &list), 0);
    return list;
}

static void check_hash(const struct world *w, const struct resource_id *hash) {
    Headgate__Entry entries[NAMES], *list[NAMES];
    struct resource_id expected;
    size_t count = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        if (!w->things[i])
            continue;
        headgate__entry__init(&entries[count]);
        entries[count].kind = HEADGATE__KIND__KIND_ENDPOINT_SET;
        entries[count].name = w->things[i]->name;
        entries[count].id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, w->things[i]->id.bytes};
        list[count] = &entries[count];
        count++;
    }
    assert_int_equal(manifest_hash(list, count, &expected), 0);
    assert_true(resource_id_equal(&expected, hash));
    assert_int_equal(manifest_hash_matches(list, count, hash), 1);
}

static void check_like_new(const struct world *w, const struct shared_list *list) {
    struct shared_list expected = rebuild(w);
    assert_int_equal(list->group_count, expected.group_count);
    assert_int_equal(list->count, expected.count);
    for (size_t i = 0; i < list->group_count; i++) {
        assert_int_equal(list->groups[i]->count, expected.groups[i]->count);
        assert_memory_equal(list->groups[i]->items, expected.groups[i]->items, list->groups[i]->count * sizeof(void *));
        assert_true(resource_id_equal(&list->groups[i]->hash, &expected.groups[i]->hash));
    }
    assert_true(resource_id_equal(&list->hash, &expected.hash));
    check_hash(w, &list->hash);
    shared_list_finish(&expected);
}

static void finish(struct world *w) {
    for (unsigned i = 0; i < NAMES; i++)
        if (w->things[i])
            unref(w->things[i]);
    assert_int_equal(living, 0);
}

static void fill(struct world *w) {
    for (unsigned i = 0; i < NAMES; i++)
        w->things[i] = make(i, i);
}

static size_t shared_groups(const struct shared_list *a, const struct shared_list *b) {
    size_t shared = 0;
    for (size_t i = 0; i < a->group_count; i++)
        for (size_t j = 0; j < b->group_count; j++)
            shared += a->groups[i] == b->groups[j];
    return shared;
}

/* ---- changes ---- */

/* One of the names is set anew, or leaves (or would, were it there). */
static struct shared_change change_one(struct world *w, unsigned number, bool leaves) {
    static struct thing gone[CHANGES_MAX];
    static size_t next;
    struct thing *named = &gone[next++ % CHANGES_MAX];
    snprintf(named->name, sizeof named->name, "c%05u", number);
    if (w->things[number])
        unref(w->things[number]);
    w->things[number] = leaves ? NULL : make(number, (unsigned)rand());
    return (struct shared_change){key_of(leaves ? named : w->things[number]), w->things[number]};
}

static void change_at_random(struct world *w, struct shared_list *list) {
    struct shared_change changes[CHANGES_MAX];
    struct shared_list next;
    size_t count = 0, most = 1 + (size_t)rand() % CHANGES_MAX;
    for (unsigned at = (unsigned)rand() % NAMES; count < most && at < NAMES; at += 1 + (unsigned)rand() % (NAMES / 4))
        changes[count++] = change_one(w, at, rand() % 2);
    assert_int_equal(shared_list_change(list, &ops, changes, count, &next), 0);
    assert_true(shared_groups(list, &next) + 2 * count >= list->group_count); /* a change touches at most two groups */
    shared_list_finish(list);
    *list = next;
}

static void a_changed_list_is_like_one_made_anew(void **state) {
    (void)state;
    struct world w = {0};
    srand(4);
    fill(&w);
    struct shared_list list = rebuild(&w);
    assert_in_range(list.group_count, NAMES / 64, NAMES / 16);
    for (unsigned i = 0; i < STEPS; i++) {
        change_at_random(&w, &list);
        check_like_new(&w, &list);
    }
    shared_list_finish(&list);
    finish(&w);
}

static void what_is_not_near_a_change_is_shared(void **state) {
    (void)state;
    struct world w = {0};
    fill(&w);
    struct shared_list list = rebuild(&w), next;
    unsigned middle = NAMES / 2, before = w.things[0]->references;
    struct shared_change change = change_one(&w, middle, false);
    assert_int_equal(shared_list_change(&list, &ops, &change, 1, &next), 0);
    assert_int_equal(shared_groups(&list, &next), list.group_count - 1);
    assert_int_equal(w.things[0]->references, before);
    shared_list_finish(&list);
    check_like_new(&w, &next);
    shared_list_finish(&next);
    finish(&w);
}

static void groups_join_and_part_with_what_begins_them(void **state) {
    (void)state;
    struct world w = {0};
    fill(&w);
    struct shared_list list = rebuild(&w), joined, parted;
    const struct thing *first = list.groups[2]->items[0];
    unsigned number = (unsigned)strtoul(first->name + 1, NULL, 10);
    struct shared_change change = change_one(&w, number, true);
    assert_int_equal(shared_list_change(&list, &ops, &change, 1, &joined), 0);
    assert_int_equal(joined.group_count, list.group_count - 1);
    check_like_new(&w, &joined);
    change = change_one(&w, number, false);
    assert_int_equal(shared_list_change(&joined, &ops, &change, 1, &parted), 0);
    assert_int_equal(parted.group_count, list.group_count);
    check_like_new(&w, &parted);
    shared_list_finish(&list);
    shared_list_finish(&joined);
    shared_list_finish(&parted);
    finish(&w);
}

static void everything_may_leave_and_come(void **state) {
    (void)state;
    struct world w = {0}, empty = {0};
    fill(&w);
    static struct shared_change all[NAMES];
    struct shared_list list = rebuild(&w), none, again;
    for (unsigned i = 0; i < NAMES; i++)
        all[i] = (struct shared_change){.key = key_of(w.things[i])};
    assert_int_equal(shared_list_change(&list, &ops, all, NAMES, &none), 0);
    assert_int_equal(none.group_count + none.count, 0);
    check_like_new(&empty, &none);
    for (unsigned i = 0; i < NAMES; i++)
        all[i].item = w.things[i];
    assert_int_equal(shared_list_change(&none, &ops, all, NAMES, &again), 0);
    check_like_new(&w, &again);
    shared_list_finish(&list);
    shared_list_finish(&none);
    shared_list_finish(&again);
    finish(&w);
}

static void disorder_is_refused(void **state) {
    (void)state;
    struct world w = {0};
    fill(&w);
    struct shared_list list = rebuild(&w), untouched = {.count = 7};
    struct shared_change twice[2] = {{.key = key_of(w.things[5])}, {.key = key_of(w.things[5])}};
    struct shared_change swapped[2] = {{.key = key_of(w.things[6])}, {.key = key_of(w.things[5])}};
    assert_int_equal(shared_list_change(&list, &ops, twice, 2, &untouched), -1);
    assert_int_equal(shared_list_change(&list, &ops, swapped, 2, &untouched), -1);
    assert_int_equal(untouched.count, 7);
    shared_list_finish(&list);
    finish(&w);
}

static void without_memory_nothing_changes(void **state) {
    (void)state;
    struct world w = {0};
    fill(&w);
    struct shared_list list = rebuild(&w), next;
    const struct thing *first = list.groups[2]->items[0];
    struct shared_change change = change_one(&w, (unsigned)strtoul(first->name + 1, NULL, 10), true);
    int status = -1;
    for (long nth = 0; status < 0; nth++) {
        assert_in_range(nth, 0, 100);
        hg_alloc_fail_at(nth, 0);
        status = shared_list_change(&list, &ops, &change, 1, &next);
        hg_alloc_fail_at(-1, 0);
    }
    check_like_new(&w, &next);
    shared_list_finish(&list);
    shared_list_finish(&next);
    finish(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_list_is_like_one_made_anew),
        cmocka_unit_test(what_is_not_near_a_change_is_shared),
        cmocka_unit_test(groups_join_and_part_with_what_begins_them),
        cmocka_unit_test(everything_may_leave_and_come),
        cmocka_unit_test(disorder_is_refused),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
