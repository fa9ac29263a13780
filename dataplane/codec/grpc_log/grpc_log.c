#include "dataplane/codec/grpc_log/grpc_log.h"

#include "common/alloc.h"
#include "dataplane/codec/grpc_log/entry.h"
#include "dataplane/codec/grpc_log/stream.h"
#include "dataplane/core/log_ring.h"

enum {
    PREFIX_MAX = 2560,          /* what stands before the entries: two texts of 1 KiB, and lengths */
    GRPC_HEAD = 5,              /* of a message of gRPC: a flag, four bytes of length */
    CHECK_US = WHEEL_TICK_US,    /* whether a message has left */
    STUCK_US = 1000000,         /* whether one can go on, if nobody says so: memory may have been short */
    STALE_US = 1000000,         /* so long a stream may hold a snapshot that has been replaced */
    PATIENCE_US = 10000000,     /* a service may take that long with the end of a stream */
    STEADY_US = 10000000,       /* a stream that lasted so long was no failure to begin with */
    BACKOFF_US = 100000,
    BACKOFF_DOUBLINGS = 7,      /* 12.8 s */
};

/* Numbers of fields: of StreamAccessLogsMessage, its Identifier, and Node. */
enum { IDENTIFIER = 1, HTTP_LOGS = 2, TCP_LOGS = 3, NODE = 1, LOG_NAME = 2, NODE_ID = 1, NODE_USER_AGENT = 6 };

struct message {                /* the one under way; size 0: none */
    size_t  size, sent;         /* of the entries, which are the oldest bytes of the ring */
    size_t  prefix_size, prefix_sent;
    uint64_t entries;
    uint8_t prefix[PREFIX_MAX];
};

struct grpc_log {
    struct grpc_log          *next;
    struct grpc_logs         *logs;
    const struct log_service *service;   /* of the worker's newest snapshot; NULL: it has none of this key */
    struct str                key, log_name; /* copies, one block */
    bool                      is_tcp;
    uint64_t                  flush_interval, flush_bytes;
    struct flushable          flushable;
    struct timer              timer;
    struct log_ring           ring;
    struct log_waker          waker;     /* of nobody: producer and consumer are one */
    uint64_t                  entries;   /* in the ring */
    struct log_stream        *stream;    /* NULL: none */
    uint64_t                  opened_at;
    bool                      has_identified; /* a message has gone */
    bool                      is_due;
    unsigned                  failures;
    uint64_t                  flush_at, retry_at, stale_at, gone_at; /* 0: not */
    struct message            message;
};

struct grpc_logs {
    struct worker     *worker;
    struct grpc_log   *first;
    struct log_stream *streams;          /* also those that were left */
    bool               is_hurrying;
};

static const char *node_id = "";

void grpc_logs_set_node(const char *node) {
    node_id = node;
}

/* ---- messages ---- */

static size_t waiting(const struct grpc_log *log) {
    struct iovec pieces[2];
    int n = log_ring_peek((struct log_ring *)(uintptr_t)&log->ring, pieces);
    return (n > 0 ? pieces[0].iov_len : 0) + (n > 1 ? pieces[1].iov_len : 0);
}

static void write_identifier(struct wire *w, const struct grpc_log *log) {
    uint8_t *identifier = wire_open(w, IDENTIFIER), *node = wire_open(w, NODE);
    wire_text(w, NODE_ID, str_of(node_id));
    wire_text(w, NODE_USER_AGENT, STR("headgate"));
    wire_close(w, node);
    wire_text(w, LOG_NAME, log->log_name);
    wire_close(w, identifier);
}

/* All entries that wait become one message: they are written as its fields already. */
static void begin_message(struct grpc_log *log) {
    struct message *m = &log->message;
    struct wire w = {.at = m->prefix + GRPC_HEAD, .end = m->prefix + sizeof m->prefix};
    m->size = waiting(log);
    m->entries = log->entries;
    m->sent = m->prefix_sent = 0;
    if (!log->has_identified)
        write_identifier(&w, log);
    wire_announce(&w, log->is_tcp ? TCP_LOGS : HTTP_LOGS, m->size);
    m->prefix_size = (size_t)(w.at - m->prefix);
    size_t length = m->prefix_size - GRPC_HEAD + m->size;
    m->prefix[0] = 0; /* not compressed */
    for (int i = 0; i < 4; i++)
        m->prefix[1 + i] = (uint8_t)(length >> (24 - 8 * i));
    log->is_due = false;
    log->flush_at = 0;
}

/* What is next of its entries, in one piece. */
static struct str next_piece(struct grpc_log *log) {
    const struct message *m = &log->message;
    struct iovec pieces[2];
    log_ring_peek(&log->ring, pieces);
    size_t first = pieces[0].iov_len < m->size ? pieces[0].iov_len : m->size;
    if (m->sent < first)
        return (struct str){(const char *)pieces[0].iov_base + m->sent, first - m->sent};
    return (struct str){(const char *)pieces[1].iov_base + m->sent - first, m->size - m->sent};
}

static void send_message(struct grpc_log *log) {
    struct message *m = &log->message;
    const struct str rest = {(const char *)m->prefix + m->prefix_sent, m->prefix_size - m->prefix_sent};
    m->prefix_sent += log_stream_send(log->stream, rest);
    while (m->prefix_sent == m->prefix_size && m->sent < m->size) {
        struct str piece = next_piece(log);
        size_t sent = log_stream_send(log->stream, piece);
        m->sent += sent;
        if (sent < piece.n)
            break;
    }
}

/* It is with the connection: the ring need not keep it any longer. */
static void finish_message(struct grpc_log *log) {
    struct message *m = &log->message;
    struct stats *stats = log->logs->worker->stats;
    if (!m->size || m->sent < m->size || !log_stream_is_empty(log->stream))
        return;
    log_ring_take(&log->ring, m->size);
    log->entries -= m->entries;
    log->has_identified = true;
    stats_add(&stats->access_log_service_entries_total, m->entries);
    stats_sub(&stats->access_log_service_waiting_bytes, m->size);
    m->size = 0;
}

/* ---- streams ---- */

static void on_stream(void *owner);

static void leave_stream(struct grpc_log *log) {
    if (log->stream)
        log_stream_leave(log->stream, PATIENCE_US);
    log->stream = NULL;
    log->stale_at = 0;
    log->message.size = 0;
}

/* Later each time, and not all at once. */
static void fail(struct grpc_log *log) {
    struct worker *w = log->logs->worker;
    bool was_steady = log->stream && w->now - log->opened_at >= STEADY_US;
    log->failures = was_steady ? 0 : log->failures;
    uint64_t backoff = (uint64_t)BACKOFF_US << (log->failures < BACKOFF_DOUBLINGS ? log->failures : BACKOFF_DOUBLINGS);
    log->failures++;
    log->retry_at = w->now + backoff / 2 + worker_random(w) % (backoff / 2);
    log->is_due = true;
    stats_add(&w->stats->access_log_service_failures_total, 1);
    leave_stream(log);
}

static bool open_stream(struct grpc_log *log) {
    struct worker *w = log->logs->worker;
    if (!log->service || !w->view || w->now < log->retry_at)
        return false;
    log->retry_at = 0;
    log->has_identified = false;
    log->opened_at = w->now;
    log->stream = log_stream_open(w, &log->logs->streams, log->service->listener, log->service->cluster, on_stream, log);
    if (!log->stream)
        fail(log);
    else
        stats_add(&w->stats->access_log_service_streams_total, 1);
    return log->stream != NULL;
}

/* ---- what is to be done now, and when next ---- */

static uint64_t earlier(uint64_t a, uint64_t b) {
    return !a || (b && b < a) ? b : a;
}

static void set_timer(struct grpc_log *log) {
    struct worker *w = log->logs->worker;
    uint64_t when = earlier(log->stale_at, log->gone_at);
    when = earlier(when, log->is_due ? log->retry_at : log->flush_at);
    if (log->message.size)
        when = earlier(when, w->now + (log->message.sent == log->message.size ? CHECK_US : STUCK_US));
    if (log->stream && log->logs->is_hurrying)
        when = earlier(when, w->now + CHECK_US);
    worker_set_timer(w, &log->timer, when);
}

/* Enough wait, or the first of them has waited long enough. */
static void look_at_entries(struct grpc_log *log) {
    uint64_t now = log->logs->worker->now;
    if (!log->entries)
        log->is_due = false;
    else if (log->logs->is_hurrying || waiting(log) >= log->flush_bytes || (log->flush_at && log->flush_at <= now))
        log->is_due = true;
    else if (!log->flush_at)
        log->flush_at = now + log->flush_interval;
}

/* The data plane ends, all has been sent, and there is nobody left to tell of: the service is to say that it has it. */
static bool is_complete(const struct grpc_log *log) {
    return log->logs->is_hurrying && !log->entries && stats_read(&log->logs->worker->stats->connections) == 0;
}

static void go_on(struct grpc_log *log) {
    uint64_t now = log->logs->worker->now;
    if (log->stream && !log_stream_is_open(log->stream))
        fail(log);
    if (log->stream)
        finish_message(log);
    if (!log->message.size) {
        if ((log->stale_at && log->stale_at <= now) || is_complete(log))
            leave_stream(log);
        look_at_entries(log);
        if (log->is_due && (log->stream || open_stream(log)))
            begin_message(log);
    }
    if (log->message.size && log->stream)
        send_message(log);
    set_timer(log);
}

static void on_stream(void *owner) {
    go_on(owner);
}

static void log_free(struct grpc_log *log) {
    struct worker *w = log->logs->worker;
    stats_add(&w->stats->access_log_service_dropped_total, log->entries);
    stats_sub(&w->stats->access_log_service_waiting_bytes, waiting(log));
    leave_stream(log);
    worker_forget_dirty(w, &log->flushable);
    wheel_remove(&w->wheel, &log->timer);
    log_ring_finish(&log->ring);
    hg_free((void *)(uintptr_t)log->key.p);
    hg_free(log);
}

static void remove_log(struct grpc_log *log) {
    struct grpc_log **at = &log->logs->first;
    while (*at != log)
        at = &(*at)->next;
    *at = log->next;
    log_free(log);
}

static void flush(struct flushable *f) {
    struct grpc_log *log = (struct grpc_log *)((char *)f - offsetof(struct grpc_log, flushable));
    if (log->gone_at && log->gone_at <= log->logs->worker->now)
        remove_log(log);
    else
        go_on(log);
}

static void mark(struct grpc_log *log) {
    worker_mark_dirty(log->logs->worker, &log->flushable);
}

static void on_timer(struct timer *t) {
    mark((struct grpc_log *)((char *)t - offsetof(struct grpc_log, timer)));
}

/* ---- entries ---- */

static struct grpc_log *find(const struct grpc_logs *logs, const struct log_service *service) {
    for (struct grpc_log *log = logs->first; log; log = log->next)
        if (log->service == service)
            return log;
    for (struct grpc_log *log = logs->first; log; log = log->next)
        if (str_eq(log->key, service->key)) /* of an exchange that began with an older snapshot */
            return log;
    return NULL;
}

static bool put(struct grpc_log *log, const uint8_t *entry, size_t size) {
    struct worker *w = log->logs->worker;
    if (!log_ring_put(&log->ring, entry, size))
        return false;
    stats_add(&w->stats->access_log_service_waiting_bytes, size);
    log->entries++;
    if (!log->flush_at || log->logs->is_hurrying || (!log->message.size && waiting(log) >= log->flush_bytes))
        mark(log);
    return true;
}

/* Apart from its caller, for its frame. */
__attribute__((noinline)) static void write_entry(const struct exchange *x) {
    uint8_t entry[LOG_ENTRY_MAX];
    struct worker *w = x->worker;
    size_t size = log_entry_write(x, entry, sizeof entry);
    for (unsigned i = 0; i < x->listener->log_service_count; i++) {
        struct grpc_log *log = find(w->log_services, x->listener->log_services[i]);
        if (!log || !size || !put(log, entry, size))
            stats_add(&w->stats->access_log_service_dropped_total, 1);
    }
}

void grpc_logs_write(struct exchange *x) {
    if (x->listener->log_service_count && x->worker->log_services)
        write_entry(x);
}

/* ---- logs ---- */

static struct grpc_log *log_create(struct grpc_logs *logs, const struct log_service *service) {
    struct grpc_log *log = hg_calloc(1, sizeof *log);
    char *key = hg_malloc(service->key.n + service->log_name.n);
    if (!log || !key || log_ring_init(&log->ring, service->buffer, &log->waker) < 0) {
        hg_free(key);
        hg_free(log);
        return NULL;
    }
    atomic_store_explicit(&log->waker.word, 1, memory_order_relaxed); /* nobody sleeps: no system call wakes him */
    log->key = (struct str){key, service->key.n};
    log->log_name = (struct str){key + service->key.n, service->log_name.n};
    str_put(str_put(key, service->key), service->log_name);
    log->is_tcp = service->is_tcp;
    log->flush_interval = service->flush_interval;
    log->flush_bytes = service->flush_bytes;
    log->logs = logs;
    log->flushable.flush = flush;
    log->timer.fire = on_timer;
    log->next = logs->first;
    logs->first = log;
    return log;
}

/* Without memory its entries are dropped, and counted, until the next snapshot. */
static void use_service(struct grpc_logs *logs, const struct log_service *service) {
    struct grpc_log *log = find(logs, service);
    if (!log)
        log = log_create(logs, service);
    if (!log)
        return;
    log->service = service;
    log->gone_at = 0;
}

void grpc_logs_renew(struct grpc_logs *logs, const struct log_service *const *services, unsigned count, uint64_t patience) {
    uint64_t now = logs->worker->now;
    for (struct grpc_log *log = logs->first; log; log = log->next)
        log->service = NULL; /* of a snapshot that may go */
    for (unsigned i = 0; i < count; i++)
        use_service(logs, services[i]);
    for (struct grpc_log *log = logs->first; log; log = log->next) {
        uint64_t most = log->flush_interval < STALE_US ? log->flush_interval : STALE_US;
        if (!log->service && !log->gone_at)
            log->gone_at = now + patience;
        if (log->service && log->stream && !log->stale_at)
            log->stale_at = now + most;
        mark(log);
    }
}

void grpc_logs_hurry(struct grpc_logs *logs) {
    logs->is_hurrying = true;
    for (struct grpc_log *log = logs->first; log; log = log->next)
        mark(log);
}

struct grpc_logs *grpc_logs_create(struct worker *w) {
    struct grpc_logs *logs = hg_calloc(1, sizeof *logs);
    if (logs)
        logs->worker = w;
    return logs;
}

void grpc_logs_end(struct grpc_logs *logs) {
    if (!logs)
        return;
    logs->is_hurrying = true;
    for (struct grpc_log *log = logs->first; log; log = log->next) {
        go_on(log);
        leave_stream(log);
    }
}

void grpc_logs_destroy(struct grpc_logs *logs) {
    if (!logs)
        return;
    while (logs->first)
        remove_log(logs->first);
    log_streams_cut(logs->streams);
    logs->worker->log_services = NULL;
    hg_free(logs);
}
