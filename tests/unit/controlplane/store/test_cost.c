/* What it costs: figures for reading, nothing is asserted of them. */
#include "common/clock.h"
#include "tests/unit/controlplane/store/fixture.h"

enum { RESOURCES = 3000, ONE_CHANGE = 100, HISTORY = 100 };

struct cost {
    uint64_t began;
    unsigned syncs, creates;
    size_t bytes;
};

static int count_step(void *context, struct disk_step *step) {
    struct cost *c = context;
    c->creates += step->op == DISK_CREATE;
    c->syncs += step->op == DISK_SYNC_FILE || step->op == DISK_SYNC_FOLDER || step->op == DISK_SYNC_ALL;
    c->bytes += step->op == DISK_WRITE ? step->bytes.n : 0;
    return 0;
}

static void begin(struct cost *c) {
    *c = (struct cost){.began = clock_monotonic_us()};
    disk_set_hook(count_step, c);
}

static void end(const struct cost *c, const char *what, unsigned times) {
    disk_set_hook(NULL, NULL);
    uint64_t took = clock_monotonic_us() - c->began;
    print_message("%-44s %9.3f ms %6u files %4u syncs %8zu bytes\n", what, (double)took / 1000 / times,
                  c->creates / times, c->syncs / times, c->bytes / times);
}

/* Names and sizes as of clusters with a few endpoints. */
static void make_intent(struct intent *in) {
    char name[32], text[512];
    for (unsigned i = 0; i < RESOURCES; i++) {
        snprintf(name, sizeof name, "service-%04u.example", i);
        int n = snprintf(text, sizeof text, "%s: ", name);
        memset(text + n, 'x', 200);
        text[n + 200] = '\0';
        intent_set(in, name, text);
    }
}

static void change_one(struct store *s, struct intent *in, unsigned i) {
    char name[32], text[64];
    snprintf(name, sizeof name, "service-%04u.example", i);
    snprintf(text, sizeof text, "changed in round %u", i);
    intent_set(in, name, text);
    commit_intent(s, in);
}

static void costs_of_three_thousand_resources(void **state) {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16];
    struct intent *in = calloc(1, sizeof *in);
    struct cost c;
    struct error_list errors = {0};
    struct store_verify_result verified;
    struct store_gc_result dropped;
    (void)state;
    make_folder(folder);
    snprintf(path, sizeof path, "%s/store", folder);
    make_intent(in);
    begin(&c);
    struct store *s = open_store(path);
    end(&c, "making a store", 1);
    begin(&c);
    commit_intent(s, in);
    end(&c, "commit of 3,000 new resources", 1);
    begin(&c);
    for (unsigned i = 0; i < ONE_CHANGE; i++)
        change_one(s, in, i);
    end(&c, "commit of one change among 3,000", ONE_CHANGE);
    struct store_state saved = {.generation = 1, .resources = in->resources, .count = in->count};
    begin(&c);
    assert_int_equal(store_save_state(s, &saved, &errors), 0);
    end(&c, "saving a state of 3,000 resources", 1);
    store_close(s);
    begin(&c);
    s = open_store(path);
    end(&c, "opening it", 1);
    begin(&c);
    assert_int_equal(store_verify(s, NULL, NULL, &verified, &errors), 0);
    end(&c, "verify of 101 versions, 3,100 objects", 1);
    begin(&c);
    assert_int_equal(store_gc(s, &(struct store_retention){.versions = HISTORY}, false, &dropped, &errors),
                     0);
    end(&c, "gc that keeps 100 versions", 1);
    assert_no_errors(&errors);
    assert_int_equal(verified.faults, 0);
    store_close(s);
    intent_finish(in);
    free(in);
    remove_tree(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(costs_of_three_thousand_resources)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
