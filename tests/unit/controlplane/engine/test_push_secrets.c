/* Pushes whose certificates are checked aside, while the loop goes on. labels: threads */
#include "tests/unit/controlplane/secrets/maker.h"

#include "common/alloc.h"
#include "tests/unit/controlplane/engine/fixture.h"

enum { PAIRS = 40, TICKET_KEYS = 1, FAILURES = 2000 };

#define OUTCOME(name) HEADGATE__PUSH_REPLY__OUTCOME__##name

struct secured {
    struct fixture *fixture;
    struct folder *folder;
};

static int secured_setup(void **state) {
    struct secured *s = calloc(1, sizeof *s);
    void *fixture = NULL, *folder = NULL;
    if (fixture_setup(&fixture) < 0 || folder_setup(&folder) < 0)
        return -1;
    *s = (struct secured){fixture, folder};
    *state = s;
    return 0;
}

static int secured_teardown(void **state) {
    struct secured *s = *state;
    void *fixture = s->fixture, *folder = s->folder;
    fixture_teardown(&fixture);
    folder_teardown(&folder);
    free(s);
    return 0;
}

static long fails_at = -1; /* the allocation of the next push that fails */

/* One listener with that many pairs, which are in the files 0.pem, 0.key and so on. */
static void push_pairs(const struct secured *s, unsigned count, unsigned status) {
    struct strbuf yaml = {0};
    strbuf_puts(&yaml, "listeners:\n  - name: web\n    address: 127.0.0.1:1\n    route-table: site\n");
    strbuf_puts(&yaml, "    tls:\n      certificates:\n");
    for (unsigned i = 0; i < count; i++)
        strbuf_printf(&yaml, "        - {certificate: %s/%u.pem, key: %s/%u.key}\n", s->folder->path, i, s->folder->path, i);
    strbuf_printf(&yaml, "route-tables: [{name: site, hosts: [{domains: ['*'], rules: [{respond: {status: %u}}]}]}]\n",
                  status);
    hg_alloc_fail_at(fails_at, 0);
    fixture_push_text(s->fixture, strbuf_str(&yaml).p);
    strbuf_finish(&yaml);
}

static void make_pairs(const struct secured *s, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char name[16], names[32];
        snprintf(name, sizeof name, "%u", i);
        snprintf(names, sizeof names, "DNS:%u.example", i);
        folder_pair(s->folder, name, names, false);
    }
}

static void run_until(const struct fixture *f, int replies) {
    while (f->replies < replies)
        ev_run(f->loop, EVRUN_ONCE);
}

static size_t secrets_of(const struct fixture *f) {
    const struct part *state = channel_current(engine_channel(f->engine))->state;
    size_t n = 0;
    for (size_t i = 0; i < state->count; i++)
        n += state->entries[i]->kind == HEADGATE__KIND__KIND_SECRET;
    return n;
}

static void the_loop_goes_on_and_other_pushes_wait(void **state) {
    struct secured *s = *state;
    struct fixture *f = s->fixture;
    fixture_push_port(f, 1);
    assert_int_equal(f->replies, 1);
    make_pairs(s, PAIRS);
    push_pairs(s, PAIRS, 204);
    fixture_push_port(f, 2);
    assert_int_equal(f->replies, 1);
    assert_int_equal(engine_pushes(f->engine), 2);
    fixture_connect(f, 0); /* while they are checked a data plane comes, and is given what there is */
    fixture_settle(&f->nodes[0]);
    assert_int_equal(f->nodes[0].version, 1);
    while (f->replies < 3) {
        ev_run(f->loop, EVRUN_ONCE);
        fixture_settle(&f->nodes[0]);
    }
    assert_int_equal(f->reply->outcome, OUTCOME(COMMITTED));
    assert_int_equal(f->reply->version, 3);
    assert_int_equal(engine_pushes(f->engine), 0);
}

static void all_of_them_are_there_at_the_end(void **state) {
    struct secured *s = *state;
    make_pairs(s, PAIRS);
    push_pairs(s, PAIRS, 204);
    assert_int_equal(s->fixture->replies, 0);
    run_until(s->fixture, 1);
    assert_int_equal(s->fixture->reply->outcome, OUTCOME(STORED));
    assert_int_equal(secrets_of(s->fixture), PAIRS + TICKET_KEYS);
    push_pairs(s, PAIRS, 404); /* nothing that secrets depend on: nobody looks */
    assert_int_equal(s->fixture->replies, 2);
    assert_int_equal(secrets_of(s->fixture), PAIRS + TICKET_KEYS);
}

static void what_is_wrong_is_told_with_its_place(void **state) {
    struct secured *s = *state;
    make_pairs(s, 3);
    folder_write(s->folder, "1.key", "no key\n");
    push_pairs(s, 3, 204);
    run_until(s->fixture, 1);
    const Headgate__PushReply *r = s->fixture->reply;
    assert_int_equal(r->outcome, OUTCOME(REFUSED));
    assert_int_equal(r->n_problems, 1);
    assert_string_equal(r->problems[0]->path, "listeners[0].tls.certificates[1].key");
    assert_int_equal(r->problems[0]->line, 8);
    folder_pair(s->folder, "1", "DNS:1.example", false);
    push_pairs(s, 3, 204);
    run_until(s->fixture, 2);
    assert_int_equal(s->fixture->reply->outcome, OUTCOME(STORED));
}

static void wait_for_generation_after(const struct fixture *f, uint64_t generation) {
    while (channel_current(engine_channel(f->engine))->generation == generation)
        ev_run(f->loop, EVRUN_ONCE);
}

/* Puts an empty one in its place, with the old one in it. */
static void replace_folder(const struct folder *f) {
    char aside[sizeof f->path + 8], inside[sizeof f->path + 8];
    snprintf(aside, sizeof aside, "%s.old", f->path);
    snprintf(inside, sizeof inside, "%s/old", f->path);
    assert_int_equal(rename(f->path, aside), 0);
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(rename(aside, inside), 0);
}

static void a_folder_that_is_replaced_is_watched(void **state) {
    struct secured *s = *state;
    make_pairs(s, 1);
    push_pairs(s, 1, 204);
    run_until(s->fixture, 1);
    uint64_t pushed = channel_current(engine_channel(s->fixture->engine))->generation;
    replace_folder(s->folder);
    make_pairs(s, 1);
    wait_for_generation_after(s->fixture, pushed);
    make_pairs(s, 1); /* into a folder of the same name as before, which is another one */
    wait_for_generation_after(s->fixture, pushed + 1);
}

static void a_stop_waits_for_the_push(void **state) {
    struct secured *s = *state;
    make_pairs(s, PAIRS);
    push_pairs(s, PAIRS, 204);
    engine_stop(s->fixture->engine);
    assert_true(engine_is_busy(s->fixture->engine));
    run_until(s->fixture, 1);
    assert_int_equal(s->fixture->reply->outcome, OUTCOME(STORED));
    assert_false(engine_is_busy(s->fixture->engine));
}

static void every_allocation_may_fail(void **state) {
    struct secured *s = *state;
    struct fixture *f = s->fixture;
    make_pairs(s, 1);
    for (int n = 0; n < FAILURES; n++) {
        int replies = f->replies;
        fails_at = n;
        push_pairs(s, 1, 204);
        run_until(f, replies + 1);
        hg_alloc_fail_at(fails_at = -1, 0);
        assert_false(engine_is_busy(f->engine));
        if (f->reply && f->reply->outcome == OUTCOME(STORED))
            break;
    }
    assert_non_null(f->reply);
    assert_int_equal(f->reply->outcome, OUTCOME(STORED));
    assert_int_equal(secrets_of(f), 1 + TICKET_KEYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_loop_goes_on_and_other_pushes_wait, secured_setup, secured_teardown),
        cmocka_unit_test_setup_teardown(all_of_them_are_there_at_the_end, secured_setup, secured_teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_told_with_its_place, secured_setup, secured_teardown),
        cmocka_unit_test_setup_teardown(a_folder_that_is_replaced_is_watched, secured_setup, secured_teardown),
        cmocka_unit_test_setup_teardown(a_stop_waits_for_the_push, secured_setup, secured_teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, secured_setup, secured_teardown),
    };
    return cmocka_run_group_tests_name("pushes with certificates", tests, NULL, NULL);
}
