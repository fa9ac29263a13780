/* What is kept of priorities that come before their requests. */
#include "tests/unit/common/cmocka_all.h"

#include "dataplane/http/priority.h"

static int urgency_of(const struct early_priorities *early, uint64_t id) {
    return early_priorities_find(early, id).urgency;
}

static void the_newest_are_kept(void **state) {
    (void)state;
    struct early_priorities early = {0};
    assert_int_equal(urgency_of(&early, 0), -1);
    for (uint64_t id = 0; id < PRIORITY_EARLY_MOST; id++)
        early_priorities_note(&early, id, priority_of_update(STR("u=1")));
    early_priorities_note(&early, 1, priority_of_update(STR("u=6")));
    for (uint64_t id = 0; id < PRIORITY_EARLY_MOST; id++)
        assert_int_equal(urgency_of(&early, id), id == 1 ? 6 : 1);
    early_priorities_note(&early, 100, priority_of_update(STR("u=2, i")));
    assert_int_equal(urgency_of(&early, 0), -1);
    assert_int_equal(urgency_of(&early, 1), 6);
    assert_int_equal(early_priorities_find(&early, 100).incremental, 1);
}

static void an_update_states_everything(void **state) {
    (void)state;
    struct priority said = priority_of_update(STR(""));
    assert_int_equal(said.urgency, PRIORITY_DEFAULT_URGENCY);
    assert_int_equal(said.incremental, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_are_kept),
        cmocka_unit_test(an_update_states_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
