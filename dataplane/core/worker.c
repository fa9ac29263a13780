#include "dataplane/core/worker.h"

#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

#include "common/alloc.h"
#include "common/clock.h"

#define TICK_SECONDS 0.02
enum { TRIM_US = 1000000 };

#ifdef HG_ARENA_EMULATE
enum { KEEP = 0 }; /* late uses of freed pieces are to be seen */
#else
enum { KEEP = FREE_LISTS_KEEP };
#endif

static struct worker *worker_of(struct ev_loop *loop) {
    return ev_userdata(loop);
}

/* ---- end of a turn ---- */

static void flush_dirty(struct worker *w) {
    struct flushable *f;
    while ((f = w->dirty.first)) {
        worker_forget_dirty(w, f);
        f->flush(f);
    }
}

static void settle_borrowers(struct worker *w) {
    struct borrower *b;
    while ((b = w->borrowers)) {
        worker_forget_borrower(w, b);
        b->settle(b);
    }
    w->pool.hot_used = 0;
}

static void reap_finished(struct worker *w) {
    struct reapable *r;
    while ((r = w->reaped)) {
        w->reaped = r->next_reaped;
        r->reap(r);
    }
}

/* Reaping can make more dirty (a pooled connection goes to a waiting exchange), so it goes round until all is quiet. */
void worker_end_turn(struct worker *w) {
    do {
        flush_dirty(w);
        settle_borrowers(w);
        reap_finished(w);
    } while (w->dirty.first || w->borrowers);
}

/* Behind the flush, so that what others said is on its way already. Each turn has time for one at least, whatever its events
 * took: nobody stands in line for ever. */
static void read_line(struct worker *w) {
    size_t end = w->turn_work + TURN_WORK;
    while (worker_has_line(w) && w->turn_work < end) {
        struct readable *r = w->line.next_in_line;
        worker_leave_line(r);
        w->read(r);
    }
}

static void resume_put_off(struct worker *w) {
    struct flushable *f;
    while ((f = w->put_off.first)) {
        worker_forget_dirty(w, f);
        worker_mark_dirty(w, f);
    }
}

static void trim_pool(struct timer *t) {
    slice_pool_trim(&((struct worker *)((char *)t - offsetof(struct worker, trimming)))->pool);
}

static void on_before_wait(struct ev_loop *loop, ev_prepare *watcher, int events) {
    (void)watcher;
    (void)events;
    struct worker *w = worker_of(loop);
    worker_end_turn(w);
    if (worker_has_line(w)) {
        read_line(w);
        worker_end_turn(w);
    }
    if (w->put_off.first || worker_has_line(w))
        ev_async_send(loop, &w->mailbox_wakeup); /* the loop does not sleep, and needs no system call to know */
    if (slice_pool_has_spare(&w->pool) && !w->trimming.deadline)
        worker_set_timer(w, &w->trimming, w->now + TRIM_US);
    if (w->wheel.count && !ev_is_active(&w->ticker))
        ev_timer_again(loop, &w->ticker);
}

static void on_after_wait(struct ev_loop *loop, ev_check *watcher, int events) {
    (void)watcher;
    (void)events;
    struct worker *w = worker_of(loop);
    w->now = clock_monotonic_us();
    w->turn++;
    w->turn_work = 0;
    resume_put_off(w);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)events;
    struct worker *w = worker_of(loop);
    wheel_advance(&w->wheel, w->now);
    if (w->wheel.count == 0)
        ev_timer_stop(loop, timer);
}

/* ---- mailbox ---- */

static struct worker_message *take_messages(struct worker *w) {
    pthread_mutex_lock(&w->mailbox_lock);
    struct worker_message *first = w->mailbox_first;
    w->mailbox_first = w->mailbox_last = NULL;
    pthread_mutex_unlock(&w->mailbox_lock);
    return first;
}

static bool handle_messages(struct worker *w) {
    struct worker_message *first = take_messages(w);
    for (struct worker_message *m = first, *next; m; m = next) {
        next = m->next; /* handling it may post it again */
        m->handle(w, m);
    }
    return first != NULL;
}

void worker_empty_mailbox(struct worker *w) {
    while (handle_messages(w))
        ;
}

static void on_mail(struct ev_loop *loop, ev_async *watcher, int events) {
    (void)watcher;
    (void)events;
    handle_messages(worker_of(loop));
}

void worker_post(struct worker *w, struct worker_message *m) {
    m->next = NULL;
    pthread_mutex_lock(&w->mailbox_lock);
    if (w->mailbox_last)
        w->mailbox_last->next = m;
    else
        w->mailbox_first = m;
    w->mailbox_last = m;
    pthread_mutex_unlock(&w->mailbox_lock);
    ev_async_send(w->loop, &w->mailbox_wakeup);
}

/* ---- life ---- */

int worker_init(struct worker *w, unsigned index, unsigned loop_flags) {
    *w = (struct worker){.index = index, .buffer_limit = UINT64_MAX,
                         .exchange_memory.limit = SIZE_MAX, .session_memory.limit = SIZE_MAX};
    pthread_mutex_init(&w->mailbox_lock, NULL);
    w->now = clock_monotonic_us();
    wheel_init(&w->wheel, w->now);
    w->trimming.fire = trim_pool;
    w->line = (struct readable){&w->line, &w->line};
    if (getrandom(&w->random, sizeof w->random, 0) != (ssize_t)sizeof w->random)
        w->random = w->now;
    w->random |= 1;
    w->stats = hg_calloc(1, sizeof *w->stats);
    w->loop = ev_loop_new(loop_flags);
    if (!w->stats || !w->loop || slice_pool_init(&w->pool) < 0 || free_lists_init(&w->free_lists, KEEP) < 0)
        return -1;
    ev_set_userdata(w->loop, w);
    ev_prepare_init(&w->before_wait, on_before_wait);
    ev_prepare_start(w->loop, &w->before_wait);
    ev_unref(w->loop);
    ev_check_init(&w->after_wait, on_after_wait);
    ev_set_priority(&w->after_wait, EV_MAXPRI);
    ev_check_start(w->loop, &w->after_wait);
    ev_unref(w->loop);
    ev_async_init(&w->mailbox_wakeup, on_mail);
    ev_async_start(w->loop, &w->mailbox_wakeup);
    ev_init(&w->ticker, on_tick);
    ev_set_priority(&w->ticker, EV_MINPRI); /* what has come is read before it counts as missing */
    w->ticker.repeat = TICK_SECONDS;
    return 0;
}

void worker_finish(struct worker *w) {
    if (!w)
        return;
    if (w->loop) {
        worker_empty_mailbox(w);
        worker_end_turn(w);
        ev_loop_destroy(w->loop);
    }
    slice_pool_finish(&w->pool);
    free_lists_finish(&w->free_lists);
    page_pool_finish(&w->pages);
    hg_free(w->frame_buffer);
    hg_free(w->udp);
    hg_free(w->stats);
    pthread_mutex_destroy(&w->mailbox_lock);
    *w = (struct worker){0};
}

static void *run_thread(void *arg) {
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof name, "worker-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    ev_run(w->loop, 0);
    return NULL;
}

int worker_start(struct worker *w) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    int error = pthread_create(&w->thread, NULL, run_thread, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    w->has_thread = error == 0;
    return error;
}


static void handle_stop(struct worker *w, struct worker_message *m) {
    (void)m;
    ev_break(w->loop, EVBREAK_ALL);
}

void worker_stop_and_join(struct worker *w) {
    struct worker_message stop = {.handle = handle_stop};
    if (!w->has_thread)
        return;
    worker_post(w, &stop);
    pthread_join(w->thread, NULL);
    w->has_thread = false;
}

/* ---- lists ---- */

static void append_flushable(struct flushable_list *list, struct flushable *f) {
    f->is_dirty = true;
    f->next_dirty = NULL;
    f->prev_dirty = list->last;
    *(list->last ? &list->last->next_dirty : &list->first) = f;
    list->last = f;
}

void worker_mark_dirty(struct worker *w, struct flushable *f) {
    if (f->is_put_off)
        worker_forget_dirty(w, f);
    if (!f->is_dirty)
        append_flushable(&w->dirty, f);
}

void worker_put_off(struct worker *w, struct flushable *f) {
    if (f->is_dirty)
        return;
    f->is_put_off = true;
    append_flushable(&w->put_off, f);
}

void worker_forget_dirty(struct worker *w, struct flushable *f) {
    if (!f->is_dirty)
        return;
    struct flushable_list *list = f->is_put_off ? &w->put_off : &w->dirty;
    *(f->prev_dirty ? &f->prev_dirty->next_dirty : &list->first) = f->next_dirty;
    *(f->next_dirty ? &f->next_dirty->prev_dirty : &list->last) = f->prev_dirty;
    f->is_dirty = f->is_put_off = false;
    f->next_dirty = f->prev_dirty = NULL;
}

void worker_stand_in_line(struct worker *w, struct readable *r, void (*read)(struct readable *)) {
    w->read = read;
    if (worker_is_in_line(r))
        return;
    r->next_in_line = &w->line;
    r->prev_in_line = w->line.prev_in_line;
    r->prev_in_line->next_in_line = r;
    w->line.prev_in_line = r;
}

void worker_leave_line(struct readable *r) {
    if (!worker_is_in_line(r))
        return;
    r->prev_in_line->next_in_line = r->next_in_line;
    r->next_in_line->prev_in_line = r->prev_in_line;
    *r = (struct readable){0};
}

void worker_reap_later(struct worker *w, struct reapable *r) {
    if (r->is_reaped)
        return;
    r->is_reaped = true;
    r->next_reaped = w->reaped;
    w->reaped = r;
}

void worker_borrow(struct worker *w, struct borrower *b) {
    if (b->is_listed)
        return;
    b->is_listed = true;
    b->prev_borrower = NULL;
    b->next_borrower = w->borrowers;
    if (b->next_borrower)
        b->next_borrower->prev_borrower = b;
    w->borrowers = b;
}

void worker_forget_borrower(struct worker *w, struct borrower *b) {
    if (!b->is_listed)
        return;
    *(b->prev_borrower ? &b->prev_borrower->next_borrower : &w->borrowers) = b->next_borrower;
    if (b->next_borrower)
        b->next_borrower->prev_borrower = b->prev_borrower;
    b->is_listed = false;
}

uint8_t *worker_read_room(struct worker *w) {
    uint8_t *room = slice_pool_read_room(&w->pool);
    if (room)
        return room;
    flush_dirty(w);
    settle_borrowers(w);
    return slice_pool_read_room(&w->pool);
}

uint64_t worker_random_bits(struct worker *w) {
    w->random ^= w->random << 13; /* xorshift64* (Vigna) */
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random * 0x2545f4914f6cdd1dULL;
}

uint32_t worker_random(struct worker *w) {
    return (uint32_t)(worker_random_bits(w) >> 32);
}
