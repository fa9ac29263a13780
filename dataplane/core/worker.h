/* worker.h — one thread that serves traffic: its loop, its memory, its lists.
 *
 * A worker shares nothing mutable with other workers but the tables of net/ip_caps.h and what the mailbox carries. One turn
 * of its loop is: events (read, parse, mark dirty) -> flush (write what is dirty) -> settle (borrowed bytes that are still
 * held are copied) -> reap (what is finished is freed) -> the line (who had to wait is read), flush, settle, reap -> wait,
 * unless something was put off to the next turn. Nothing is freed and no socket is written inside a codec callback, so
 * nothing can vanish under its caller. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

#include "common/arena.h"
#include "dataplane/core/free_lists.h"
#include "dataplane/core/pages.h"
#include "dataplane/core/slice.h"
#include "dataplane/core/stats.h"
#include "dataplane/core/wheel.h"

struct worker;
struct log_ring;
struct exchange;
struct snapshot_view;
struct gather;
struct tls_io;
struct quic_room;
struct route_scratch;

/* Something with output to write: a connection, or in tests a loopback leg. */
struct flushable {
    struct flushable *next_dirty, *prev_dirty;
    bool              is_dirty;
    bool              is_put_off;       /* on the list of the next turn */
    void            (*flush)(struct flushable *);
};

struct flushable_list {
    struct flushable *first, *last;
};

/* Something with input that a turn had no time for. Small, as every connection has one. */
struct readable {
    struct readable *next_in_line, *prev_in_line; /* NULL: not in line */
};

/* Something that is freed after the flush of the present turn. */
struct reapable {
    struct reapable *next_reaped;
    bool             is_reaped;
    void           (*reap)(struct reapable *);
};

/* A holder of borrowed slices. The settling code calls `settle`, which copies them and reports lack of memory by itself. */
struct borrower {
    struct borrower *next_borrower, *prev_borrower;
    bool             is_listed;
    void           (*settle)(struct borrower *);
};

/* A message to a worker. Handled once, in order, on the worker's thread at a loop boundary. */
struct worker_message {
    struct worker_message *next;
    void                 (*handle)(struct worker *, struct worker_message *);
};

/* What events of one turn may do, in bytes of input that take as long, before others have to wait; and what is done for
 * those who wait. */
enum { TURN_WORK = 1 << 20 };

struct worker {
    unsigned           index;
    struct ev_loop    *loop;
    uint64_t           now;              /* microseconds, monotonic, as of this turn's wake-up */
    uint64_t           random;           /* state of worker_random() */
    struct slice_pool  pool;
    struct free_lists  free_lists;       /* what libraries allocate */
    struct timer       trimming;         /* of the pool, while it has more than it keeps for good */
    struct page_pool   pages;            /* the same, for blocks of that size that are mostly empty */
    void              *frame_buffer;     /* of all HTTP/2 servers (codec/h2/memory.c); NULL before the first */
    struct gather     *gather;           /* net/gather.h; filled anew for each connection that is flushed */
    struct tls_io     *tls;              /* tls/session.h; NULL before the first TLS connection */
    struct udp_worker *udp;              /* net/udp.h; NULL before the first UDP socket */
    _Atomic size_t     udp_forwarded;    /* bytes of datagrams in the mailbox (net/udp_forward.h). Any thread */
    struct quic_room  *quic;             /* quic/room.h; NULL before the first endpoint or connection of QUIC */
    struct wheel       wheel;
    struct stats      *stats;
    struct log_ring   *access_log;       /* NULL: off */
    struct grpc_logs  *log_services;     /* codec/grpc_log; NULL: entries for them are dropped */
    uint64_t           buffer_used;      /* body bytes held and credit given, for the worker's budget */
    uint64_t           buffer_limit;
    struct arena_budget exchange_memory; /* exchanges and their arenas: heads, and what is made of them */
    struct arena_budget session_memory;  /* what libraries hold for connections of HTTP/2 and QUIC */
    struct snapshot_view *view;          /* what new exchanges begin with; NULL before the first snapshot */
    void              *clusters;         /* back/cluster.h */
    struct route_scratch *route_scratch; /* routing/route.h */
    struct exchange   *free_exchanges;   /* http/exchange.c */
    size_t             free_exchange_count;

    uint64_t           turn;             /* counts them; for what may be done only so often in one */
    size_t             turn_work;        /* what this one did, in bytes of input that take as long (net/conn.c) */
    struct readable    line;             /* ring of those who wait to be read, with itself in it */
    void             (*read)(struct readable *); /* the place of one of them has come, and it is in line no more */
    struct flushable_list dirty;
    struct flushable_list put_off;       /* dirty from the next turn on */
    struct reapable   *reaped;
    struct borrower   *borrowers;

    pthread_t          thread;
    bool               has_thread;
    pthread_mutex_t    mailbox_lock;     /* guards mailbox_first and mailbox_last only */
    struct worker_message *mailbox_first, *mailbox_last;
    ev_async           mailbox_wakeup;
    ev_prepare         before_wait;
    ev_check           after_wait;
    ev_timer           ticker;           /* runs only while the wheel has timers */
};

/* Sets up loop and memory, no thread. `loop_flags` as for ev_loop_new. Returns 0, or -1 without memory; a half-built or
 * zeroed worker can be finished. Thread: main. */
int  worker_init(struct worker *w, unsigned index, unsigned loop_flags);
/* Handles messages until there are none, also those that a handler posts. Thread: the worker's, or main after that has
 * ended. */
void worker_empty_mailbox(struct worker *w);
/* Thread: main, after the worker's thread has ended. Empties the mailbox; whoever gave the worker more than worker_init did
 * (a view, clusters) does so before taking that away. */
void worker_finish(struct worker *w);
int  worker_start(struct worker *w);                  /* begins the thread; 0 or an errno */
void worker_stop_and_join(struct worker *w);

/* Puts a message into the worker's mailbox and wakes it. Thread: any. The message is the worker's from here on. */
void worker_post(struct worker *w, struct worker_message *m);

/* Thread of all below: the worker's. */
void worker_mark_dirty(struct worker *w, struct flushable *f);
/* Marks it dirty for the next turn, which then begins without waiting for an event: for what has more to do than is fair to
 * others in one turn. One that is dirty already stays so. */
void worker_put_off(struct worker *w, struct flushable *f);
void worker_forget_dirty(struct worker *w, struct flushable *f);  /* it will not be flushed any more */
/* Has it read behind those who are in line already: at the end of this turn or of a later one. Once is enough. All are of
 * one kind, which has one way to be read. */
void worker_stand_in_line(struct worker *w, struct readable *r, void (*read)(struct readable *));
void worker_leave_line(struct readable *r);
void worker_reap_later(struct worker *w, struct reapable *r);     /* each thing once */
void worker_borrow(struct worker *w, struct borrower *b);         /* it now holds borrowed slices */
void worker_forget_borrower(struct worker *w, struct borrower *b);
/* Room of READ_MAX bytes for a read. May flush and settle, so not to be called from within a codec. Never NULL. */
uint8_t *worker_read_room(struct worker *w);
/* Flush, settle and reap, as at the end of a turn. Nobody in line is read. Tests without a running loop call it. */
void worker_end_turn(struct worker *w);
uint32_t worker_random(struct worker *w);                         /* not for secrets */
uint64_t worker_random_bits(struct worker *w);                    /* the same, 64 bits; the low ones are the weaker half */

static inline bool worker_is_in_line(const struct readable *r) { return r->next_in_line != NULL; }
static inline bool worker_has_line(const struct worker *w) { return w->line.next_in_line != &w->line; }

static inline void worker_set_timer(struct worker *w, struct timer *t, uint64_t deadline) {
    wheel_set(&w->wheel, t, deadline);
}

static inline void worker_hasten_timer(struct worker *w, struct timer *t, uint64_t deadline) {
    wheel_hasten(&w->wheel, t, deadline);
}
