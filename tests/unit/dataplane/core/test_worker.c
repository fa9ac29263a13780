/* The turn of a worker's loop, its mailbox and its thread. labels: threads */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/core/worker.h"

enum { MESSAGES = 2000, POSTERS = 4 };

static struct worker worker;
static char log_text[64]; /* what happened, a letter each */

static void note(char what) {
    size_t n = strlen(log_text);
    assert_true(n + 1 < sizeof log_text);
    log_text[n] = what;
    log_text[n + 1] = '\0';
}

/* Something with all three roles. */
struct thing {
    struct flushable flushable; /* first */
    struct reapable reapable;
    struct borrower borrower;
    char flush, settle, reap;
    struct thing *then; /* what its reaping marks dirty */
};

static void on_flush(struct flushable *f) {
    note(((struct thing *)f)->flush);
}

static void on_settle(struct borrower *b) {
    note(((struct thing *)((char *)b - offsetof(struct thing, borrower)))->settle);
}

static void on_reap(struct reapable *r) {
    struct thing *t = (struct thing *)((char *)r - offsetof(struct thing, reapable));
    note(t->reap);
    if (t->then)
        worker_mark_dirty(&worker, &t->then->flushable);
}

static struct thing thing_of(const char *letters) {
    return (struct thing){.flushable.flush = on_flush,
                          .reapable.reap = on_reap,
                          .borrower.settle = on_settle,
                          .flush = letters[0],
                          .settle = letters[1],
                          .reap = letters[2]};
}

static int set_up(void **state) {
    (void)state;
    log_text[0] = '\0';
    return worker_init(&worker, 0, EVFLAG_AUTO);
}

static int tear_down(void **state) {
    (void)state;
    worker_finish(&worker);
    return 0;
}

/* ---- a turn ---- */

static void turn_flushes_then_settles_then_reaps(void **state) {
    (void)state;
    struct thing a = thing_of("fsr"), b = thing_of("FSR");
    worker_reap_later(&worker, &a.reapable);
    worker_borrow(&worker, &a.borrower);
    worker_mark_dirty(&worker, &a.flushable);
    worker_mark_dirty(&worker, &b.flushable);
    worker_mark_dirty(&worker, &a.flushable); /* once is enough */
    worker_borrow(&worker, &a.borrower);
    worker_reap_later(&worker, &a.reapable);
    worker.pool.hot_used = 1000;
    worker_end_turn(&worker);
    assert_string_equal(log_text, "fFsr");
    assert_int_equal(worker.pool.hot_used, 0);
    worker_end_turn(&worker);
    assert_string_equal(log_text, "fFsr");
}

static void what_reaping_makes_dirty_is_flushed_in_the_same_turn(void **state) {
    (void)state;
    struct thing a = thing_of("fsr"), b = thing_of("FSR");
    a.then = &b;
    worker_reap_later(&worker, &a.reapable);
    worker_end_turn(&worker);
    assert_string_equal(log_text, "rF");
}

static void forgotten_things_are_left_alone(void **state) {
    (void)state;
    struct thing t[4] = {thing_of("0ax"), thing_of("1bx"), thing_of("2cx"), thing_of("3dx")};
    for (int left = 0; left < 4; left++) {
        log_text[0] = '\0';
        for (int i = 0; i < 4; i++) {
            worker_mark_dirty(&worker, &t[i].flushable);
            worker_borrow(&worker, &t[i].borrower);
        }
        for (int i = 0; i < 4; i++) {
            if (i == left)
                continue;
            worker_forget_dirty(&worker, &t[i].flushable);
            worker_forget_dirty(&worker, &t[i].flushable);
            worker_forget_borrower(&worker, &t[i].borrower);
            worker_forget_borrower(&worker, &t[i].borrower);
        }
        worker_end_turn(&worker);
        char expected[3] = {t[left].flush, t[left].settle, '\0'};
        assert_string_equal(log_text, expected);
    }
}

/* The wheel alone goes on: the loop's own clock is that of the machine. */
static void what_the_pool_does_not_use_is_given_back_in_time(void **state) {
    static const char bytes[BLOCK_SIZE];
    struct slice_queue q = {0};
    (void)state;
    for (int i = 0; i < BLOCKS_KEPT + 10; i++)
        assert_int_equal(slice_queue_copy(&q, &worker.pool, bytes, sizeof bytes), 0);
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_int_equal(worker.wheel.count, 0); /* all of them are used */
    slice_queue_clear(&q, &worker.pool);
    for (uint64_t seconds = 2; seconds <= 4; seconds += 2) {
        assert_int_equal(worker.pool.kept_blocks, BLOCKS_KEPT + 10);
        ev_run(worker.loop, EVRUN_NOWAIT);
        wheel_advance(&worker.wheel, worker.now + seconds * 1000000);
    }
    assert_int_equal(worker.pool.kept_blocks, BLOCKS_KEPT);
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_int_equal(worker.wheel.count, 0);
}

static void order_survives_forgetting_the_last_one(void **state) {
    (void)state;
    struct thing a = thing_of("1.."), b = thing_of("2.."), c = thing_of("3..");
    worker_mark_dirty(&worker, &a.flushable);
    worker_mark_dirty(&worker, &b.flushable);
    worker_forget_dirty(&worker, &b.flushable);
    worker_mark_dirty(&worker, &c.flushable);
    worker_mark_dirty(&worker, &b.flushable);
    worker_end_turn(&worker);
    assert_string_equal(log_text, "132");
}

static uint32_t seed;

static uint32_t dice(uint32_t below) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

static void assert_lists(const struct thing *things, size_t count) {
    size_t dirty = 0, borrowers = 0, expected_dirty = 0, expected_borrowers = 0;
    const struct flushable *last = NULL;
    for (const struct flushable *f = worker.dirty.first; f; last = f, f = f->next_dirty, dirty++)
        assert_ptr_equal(f->prev_dirty, last);
    assert_ptr_equal(worker.dirty.last, last);
    last = NULL;
    for (const struct flushable *f = worker.put_off.first; f; last = f, f = f->next_dirty, dirty++)
        assert_ptr_equal(f->prev_dirty, last);
    assert_ptr_equal(worker.put_off.last, last);
    const struct borrower *before = NULL;
    for (const struct borrower *b = worker.borrowers; b; before = b, b = b->next_borrower, borrowers++)
        assert_ptr_equal(b->prev_borrower, before);
    for (size_t i = 0; i < count; i++) {
        expected_dirty += things[i].flushable.is_dirty;
        expected_borrowers += things[i].borrower.is_listed;
    }
    assert_int_equal(dirty, expected_dirty);
    assert_int_equal(borrowers, expected_borrowers);
}

static void lists_stay_whole_in_any_order(void **state) {
    (void)state;
    struct thing things[8];
    for (seed = 1; seed < 100; seed += 7)
        for (int step = 0; step < 400; step++) {
            if (step == 0)
                for (int i = 0; i < 8; i++)
                    things[i] = thing_of("...");
            struct thing *t = &things[dice(8)];
            switch (dice(5)) {
            case 0: worker_mark_dirty(&worker, &t->flushable); break;
            case 1: worker_forget_dirty(&worker, &t->flushable); break;
            case 2: worker_put_off(&worker, &t->flushable); break;
            case 3: worker_borrow(&worker, &t->borrower); break;
            default: worker_forget_borrower(&worker, &t->borrower); break;
            }
            assert_lists(things, 8);
            if (step == 399) {
                ev_run(worker.loop, EVRUN_NOWAIT); /* what was put off is dirty now */
                worker_end_turn(&worker);
                assert_null(worker.put_off.first);
            }
            log_text[0] = '\0';
        }
}

static void reading_more_than_the_hot_buffer_flushes_and_settles_first(void **state) {
    (void)state;
    struct thing a = thing_of("fsr");
    for (size_t read = 0; read < HOT_SIZE - READ_MAX + 1; read += READ_MAX) {
        assert_non_null(worker_read_room(&worker));
        slice_pool_read_done(&worker.pool, READ_MAX);
    }
    worker_mark_dirty(&worker, &a.flushable);
    worker_borrow(&worker, &a.borrower);
    worker_reap_later(&worker, &a.reapable);
    assert_ptr_equal(worker_read_room(&worker), worker.pool.hot);
    assert_string_equal(log_text, "fs");
    worker_end_turn(&worker);
    assert_string_equal(log_text, "fsr");
}

/* Puts itself off four times, and then ends the loop. */
static void on_flush_again(struct flushable *f) {
    note('f');
    if (strlen(log_text) < 5)
        worker_put_off(&worker, f);
    else
        ev_break(worker.loop, EVBREAK_ALL);
}

/* No event comes: the loop would wait for ever. */
static void what_was_put_off_goes_on_in_the_next_turn(void **state) {
    (void)state;
    struct flushable f = {.flush = on_flush_again};
    worker_mark_dirty(&worker, &f);
    worker_put_off(&worker, &f); /* dirty is sooner */
    worker_end_turn(&worker);
    assert_string_equal(log_text, "f");
    worker_end_turn(&worker);
    assert_string_equal(log_text, "f");
    uint64_t turn = worker.turn;
    ev_run(worker.loop, 0);
    assert_string_equal(log_text, "fffff");
    assert_int_equal(worker.turn, turn + 4);
    worker_put_off(&worker, &f);
    worker_mark_dirty(&worker, &f);
    log_text[0] = '\0';
    worker_end_turn(&worker);
    assert_string_equal(log_text, "f");
    worker_forget_dirty(&worker, &f);
}

/* Takes some of a turn's time to read. */
struct speaker {
    struct readable readable; /* first */
    char letter;
    size_t work;
};

static void on_read(struct readable *r) {
    assert_false(worker_is_in_line(r));
    note(((struct speaker *)r)->letter);
    worker.turn_work += ((struct speaker *)r)->work;
}

static struct flushable *marked; /* by what is read */

static void on_read_marking(struct readable *r) {
    on_read(r);
    worker_mark_dirty(&worker, marked);
}

static void who_stands_in_line_is_read_in_order_some_in_each_turn(void **state) {
    (void)state;
    struct speaker all[6];
    for (int i = 0; i < 6; i++) {
        all[i] = (struct speaker){.letter = (char)('0' + i), .work = TURN_WORK / 2};
        worker_stand_in_line(&worker, &all[i].readable, on_read);
        worker_stand_in_line(&worker, &all[0].readable, on_read); /* it keeps its place */
    }
    worker_leave_line(&all[2].readable);
    worker_leave_line(&all[2].readable);
    worker_leave_line(&all[5].readable);
    worker_end_turn(&worker);
    assert_string_equal(log_text, "");
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_string_equal(log_text, "01");
    all[3].work = (size_t)4 * TURN_WORK;
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_string_equal(log_text, "013");
    worker.turn_work = (size_t)4 * TURN_WORK; /* its events took that long */
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_string_equal(log_text, "0134");
    assert_false(worker_has_line(&worker));
}

/* What has been said is on its way before more is read, and what that leads to goes in the same turn. */
static void line_is_read_between_two_flushes(void **state) {
    (void)state;
    struct thing t = thing_of("fsr");
    struct speaker s = {.letter = 'R'};
    worker_mark_dirty(&worker, &t.flushable);
    worker_stand_in_line(&worker, &s.readable, on_read);
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_string_equal(log_text, "fR");
    worker_stand_in_line(&worker, &s.readable, on_read_marking);
    marked = &t.flushable;
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_string_equal(log_text, "fRRf");
}

/* ---- timers ---- */

static void on_timer(struct timer *t) {
    (void)t;
    note('t');
    ev_break(worker.loop, EVBREAK_ALL);
}

static void timers_run_with_the_loop_and_let_it_rest(void **state) {
    (void)state;
    struct timer t = {.fire = on_timer};
    worker_set_timer(&worker, &t, worker.now + 30000);
    ev_run(worker.loop, 0);
    assert_string_equal(log_text, "t");
    assert_true(worker.now >= 30000);
    while (ev_is_active(&worker.ticker))
        ev_run(worker.loop, EVRUN_ONCE);
    assert_int_equal(worker.wheel.count, 0);
}

static void on_input(struct ev_loop *loop, ev_io *io, int events) {
    (void)events;
    note('i');
    ev_io_stop(loop, io);
}

/* Both are due: what has come is no reason any more to call it missing. */
static void what_has_come_goes_before_timers(void **state) {
    (void)state;
    struct timer t = {.fire = on_timer};
    ev_io io;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    worker_set_timer(&worker, &t, worker.now + 1);
    ev_run(worker.loop, EVRUN_NOWAIT); /* the ticker runs from here on */
    assert_true(ev_is_active(&worker.ticker));
    ev_io_init(&io, on_input, ends[0], EV_READ);
    ev_io_start(worker.loop, &io);
    assert_int_equal(write(ends[1], "x", 1), 1);
    usleep(50000); /* longer than a tick */
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_string_equal(log_text, "it");
    close(ends[0]);
    close(ends[1]);
}

/* ---- mailbox ---- */

struct mail {
    struct worker_message message; /* first */
    int number, poster;
};

static struct mail mails[POSTERS][MESSAGES];
static int handled, next_of[POSTERS];
static pthread_t handled_on;

static void handle(struct worker *w, struct worker_message *m) {
    const struct mail *mail = (const struct mail *)m;
    assert_ptr_equal(w, &worker);
    assert_int_equal(mail->number, next_of[mail->poster]);
    next_of[mail->poster]++;
    handled++;
    handled_on = pthread_self();
}

static void *post_all(void *arg) {
    struct mail *mine = arg;
    for (int i = 0; i < MESSAGES; i++)
        worker_post(&worker, &mine[i].message);
    return NULL;
}

static void prepare_mail(void) {
    handled = 0;
    memset(next_of, 0, sizeof next_of);
    for (int p = 0; p < POSTERS; p++)
        for (int i = 0; i < MESSAGES; i++)
            mails[p][i] = (struct mail){.message.handle = handle, .number = i, .poster = p};
}

static void messages_of_each_thread_come_once_and_in_order(void **state) {
    (void)state;
    pthread_t posters[POSTERS];
    prepare_mail();
    assert_int_equal(worker_start(&worker), 0);
    for (int p = 0; p < POSTERS; p++)
        assert_int_equal(pthread_create(&posters[p], NULL, post_all, mails[p]), 0);
    for (int p = 0; p < POSTERS; p++)
        pthread_join(posters[p], NULL);
    pthread_t thread = worker.thread;
    worker_stop_and_join(&worker); /* its own message comes last */
    assert_int_equal(handled, POSTERS * MESSAGES);
    assert_true(pthread_equal(handled_on, thread));
    worker_stop_and_join(&worker);
}

static void mail_that_is_left_is_handled_at_the_end(void **state) {
    (void)state;
    prepare_mail();
    post_all(mails[0]);
    assert_int_equal(handled, 0);
    worker_finish(&worker);
    assert_int_equal(handled, MESSAGES);
}

static void handle_and_post_again(struct worker *w, struct worker_message *m) {
    if (++handled < 10)
        worker_post(w, m);
}

static void mail_that_is_posted_while_the_mailbox_is_emptied_is_handled_too(void **state) {
    (void)state;
    struct worker_message m = {.handle = handle_and_post_again};
    handled = 0;
    worker_post(&worker, &m);
    worker_finish(&worker);
    assert_int_equal(handled, 10);
}

/* ---- life ---- */

static void worker_without_memory_can_be_finished(void **state) {
    (void)state;
    uint64_t before = hg_alloc_count();
    struct worker other;
    assert_int_equal(worker_init(&other, 1, EVFLAG_AUTO), 0);
    uint64_t needed = hg_alloc_count() - before;
    worker_finish(&other);
    for (uint64_t nth = 0; nth < needed; nth++) {
        hg_alloc_fail_at((long)nth, 0);
        assert_int_equal(worker_init(&other, 1, EVFLAG_AUTO), -1);
        hg_alloc_fail_at(-1, 0);
        worker_finish(&other);
    }
    memset(&other, 0, sizeof other);
    worker_finish(NULL);
}

static void random_numbers_differ(void **state) {
    (void)state;
    uint32_t all = 0, none = UINT32_MAX, last = worker_random(&worker);
    for (int i = 0; i < 1000; i++) {
        uint32_t next = worker_random(&worker);
        assert_int_not_equal(next, last);
        all |= next;
        none &= next;
        last = next;
    }
    assert_int_equal(all, UINT32_MAX); /* each bit was set and unset at least once */
    assert_int_equal(none, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(turn_flushes_then_settles_then_reaps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_reaping_makes_dirty_is_flushed_in_the_same_turn, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(forgotten_things_are_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_pool_does_not_use_is_given_back_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(order_survives_forgetting_the_last_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_stay_whole_in_any_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reading_more_than_the_hot_buffer_flushes_and_settles_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_put_off_goes_on_in_the_next_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_stands_in_line_is_read_in_order_some_in_each_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(line_is_read_between_two_flushes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(timers_run_with_the_loop_and_let_it_rest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_has_come_goes_before_timers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_of_each_thread_come_once_and_in_order, set_up, tear_down),
        cmocka_unit_test_setup(mail_that_is_left_is_handled_at_the_end, set_up),
        cmocka_unit_test_setup(mail_that_is_posted_while_the_mailbox_is_emptied_is_handled_too, set_up),
        cmocka_unit_test_setup_teardown(worker_without_memory_can_be_finished, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_numbers_differ, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
