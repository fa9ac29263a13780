#include "dataplane/snapshot/channel_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/address.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"
#include "dataplane/snapshot/backoff.h"
#include "dataplane/snapshot/grpc_stream.h"
#include "dataplane/snapshot/holder_client.h"
#include "dataplane/snapshot/tls_stream.h"

enum {
    READ_SIZE = 65536,
    OUT_ENOUGH = 262144,             /* wire bytes that are made ahead of the socket */
    REPORT_WAITING_MAX = 65536,      /* with more unsent than this, reports are left out */
    REASONS_MAX = 8,                 /* told in the log for one loss of the control plane */
    STABLE_US = 1000000,             /* a connection that lived so long begins the backoff anew */
};

static const double retry_first = 0.05, retry_most = 2, connect_timeout = 5, ping_interval = 20,
                    report_interval = 3; /* seconds */

enum link_state { LINK_DOWN, LINK_ASKING, LINK_CONNECTING, LINK_UP };

struct channel_client {
    struct channel_client_config config;
    struct channel         channel;
    struct channel_client_counts counts;
    enum link_state        state;
    int                    fd;           /* -1: none */
    bool                   is_tcp;
    struct grpc_stream    *stream;
    struct tls_stream     *tls;          /* NULL: plaintext */
    struct strbuf          out;          /* for the wire */
    size_t                 out_at;
    bool                   is_dirty;     /* there may be something to write */
    bool                   is_broken;    /* to be closed before the loop waits again */
    bool                   has_heard;    /* the peer speaks HTTP/2, under TLS that was agreed */
    uint64_t               said[REASONS_MAX]; /* hashes of why there is no connection, as far as told */
    unsigned               said_count;
    uint64_t               up_since;     /* monotonic */
    struct backoff         backoff;
    ev_io                  readable, writable;
    ev_prepare             before_wait;
    ev_timer               retry, deadline, ping, report;
};

/* ---- going down ---- */

static void try_later(struct channel_client *c) {
    ev_timer_set(&c->retry, backoff_next(&c->backoff), 0.);
    ev_timer_start(c->config.loop, &c->retry);
}

static bool was_said(struct channel_client *c, uint64_t reason) {
    for (unsigned i = 0; i < c->said_count; i++)
        if (c->said[i] == reason)
            return true;
    return c->said_count == REASONS_MAX;
}

/* Each reason once for each loss, not for each try. */
static void say_lost(struct channel_client *c, const char *text) {
    uint64_t reason = map_hash(str_of(text));
    if (was_said(c, reason))
        return;
    c->said[c->said_count++] = reason;
    log_warning(c->channel.serving ? "no control plane; the last snapshot is served on"
                                   : "no control plane, and nothing to serve yet",
                LOG_S("reason", text));
}

static void stop_watching(struct channel_client *c) {
    struct ev_loop *loop = c->config.loop;
    ev_io_stop(loop, &c->readable);
    ev_io_stop(loop, &c->writable);
    ev_timer_stop(loop, &c->deadline);
    ev_timer_stop(loop, &c->ping);
    ev_timer_stop(loop, &c->report);
}

static void free_link(struct channel_client *c) {
    stop_watching(c);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    grpc_stream_destroy(c->stream);
    tls_stream_destroy(c->tls);
    c->stream = NULL;
    c->tls = NULL;
    strbuf_finish(&c->out);
    c->out_at = 0;
    c->is_dirty = c->is_broken = c->has_heard = false;
}

/* Never from within a callback of the stream. */
static void disconnect(struct channel_client *c, const char *reason) {
    bool was_up = c->state == LINK_UP;
    c->state = LINK_DOWN;
    say_lost(c, reason);
    c->counts.disconnects += c->has_heard;
    if (was_up) {
        if (clock_monotonic_us() - c->up_since > STABLE_US)
            backoff_reset(&c->backoff);
        channel_close(&c->channel);
    }
    free_link(c);
    try_later(c);
}

static void disconnect_with(struct channel_client *c, struct error_list *errors) {
    struct strbuf text = {0};
    if (errors->count)
        error_format(&errors->items[0], &text);
    disconnect(c, text.p ? text.p : "out of memory");
    strbuf_finish(&text);
    error_list_finish(errors);
}

/* ---- out ---- */

/* From the stream towards the wire. 0, or -1: no memory. */
static int fill_output(struct channel_client *c) {
    const uint8_t *bytes;
    ptrdiff_t n = 0;
    while (c->out.n - c->out_at < OUT_ENOUGH && (n = grpc_stream_output(c->stream, &bytes)) > 0)
        if (c->tls ? tls_stream_send(c->tls, bytes, (size_t)n) < 0 || tls_stream_output(c->tls, &c->out) < 0
                   : (strbuf_add(&c->out, bytes, (size_t)n), c->out.failed))
            return -1;
    if (n < 0)
        return -1;
    return c->tls ? tls_stream_output(c->tls, &c->out) : 0;
}

/* Returns 1: everything is written, 0: the socket is full, or -1. */
static int write_output(struct channel_client *c) {
    while (c->out_at < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        c->out_at += (size_t)n;
    }
    strbuf_reset(&c->out);
    c->out_at = 0;
    return 1;
}

static void flush(struct channel_client *c) {
    int status = 1;
    while (status > 0) {
        if (fill_output(c) < 0) {
            disconnect(c, "out of memory");
            return;
        }
        if (c->out.n == c->out_at)
            break;
        status = write_output(c);
    }
    if (status < 0)
        disconnect(c, strerror(errno));
    else if (status == 0)
        ev_io_start(c->config.loop, &c->writable);
    else
        ev_io_stop(c->config.loop, &c->writable);
}

static void check_end(struct channel_client *c) {
    int status;
    const char *message;
    struct strbuf text = {0};
    if (!grpc_stream_has_ended(c->stream, &status, &message))
        return;
    strbuf_printf(&text, "the control plane ended the stream (gRPC status %d) %s", status, message);
    disconnect(c, text.p ? text.p : "the control plane ended the stream");
    strbuf_finish(&text);
}

/* Everything that was said in this turn goes out together; a link that broke in a callback is closed here. */
static void on_before_wait(struct ev_loop *loop, ev_prepare *watcher, int events) {
    struct channel_client *c = watcher->data;
    (void)loop;
    (void)events;
    bool is_dirty = c->is_dirty;
    c->is_dirty = false;
    if (c->is_broken)
        disconnect(c, "out of memory, or the control plane takes nothing");
    else if (is_dirty && c->state == LINK_UP)
        flush(c);
    if (is_dirty && c->state == LINK_UP)
        check_end(c);
}

static int on_send(void *owner, const uint8_t *message, size_t size) {
    struct channel_client *c = owner;
    c->is_dirty = true;
    if (grpc_stream_send(c->stream, message, size) == 0)
        return 0;
    c->is_broken = true;
    return -1;
}

/* ---- the protocol's calls ---- */

static void send_report(struct channel_client *c) {
    Headgate__Report report = HEADGATE__REPORT__INIT;
    if (c->state != LINK_UP || grpc_stream_waiting(c->stream) > REPORT_WAITING_MAX)
        return;
    c->config.fill_report(c->config.owner, &report);
    if (channel_report(&c->channel, &report) < 0)
        c->is_broken = true;
}

static void on_prepared(void *owner, const struct error_list *errors, uint64_t build_us) {
    struct channel_client *c = owner;
    c->counts.nacks += !error_list_is_empty(errors);
    if (channel_prepared(&c->channel, errors, build_us) < 0)
        c->is_broken = true;
}

static void on_prepare(void *owner, struct resource_set *candidate) {
    struct channel_client *c = owner;
    c->counts.prepares++;
    backoff_reset(&c->backoff);
    adopt_prepare(c->config.adopter, candidate, on_prepared, c);
}

static void on_committed(void *owner, uint64_t switch_us, const char *persist_error) {
    struct channel_client *c = owner;
    struct resource_set *serving = c->config.adopter->serving;
    c->counts.commits++;
    log_info("snapshot is served", LOG_U("version", serving->id.version),
             LOG_U("generation", serving->id.generation), LOG_U("switch_us", switch_us));
    if (channel_committed(&c->channel, serving, switch_us, persist_error) < 0)
        c->is_broken = true;
    send_report(c);
}

static void on_commit(void *owner) {
    struct channel_client *c = owner;
    adopt_commit(c->config.adopter, false, on_committed, c);
}

static void on_abort(void *owner) {
    struct channel_client *c = owner;
    adopt_abort(c->config.adopter);
}

static void on_refused(void *owner, const char *reason) {
    (void)owner;
    log_error("the control plane refuses this data plane", LOG_S("reason", reason));
}

/* One that finds no room is not answered: the next is. */
static void on_observe(void *owner, uint64_t asked) {
    struct channel_client *c = owner;
    Headgate__Observation observation = HEADGATE__OBSERVATION__INIT;
    if (grpc_stream_waiting(c->stream) > REPORT_WAITING_MAX)
        return;
    observation.has_asked = true;
    observation.asked = asked;
    c->config.fill_observation(c->config.owner, &observation);
    if (channel_observation(&c->channel, &observation) < 0)
        c->is_broken = true;
}

static const struct channel_ops channel_calls = {.send = on_send,
                                                 .prepare = on_prepare,
                                                 .commit = on_commit,
                                                 .abort = on_abort,
                                                 .refused = on_refused,
                                                 .observe = on_observe};

/* ---- in ---- */

static int on_message(void *owner, const uint8_t *message, size_t size) {
    struct channel_client *c = owner;
    struct error_list errors = {0};
    int status = channel_receive(&c->channel, message, size, &errors);
    for (size_t i = 0; i < errors.count; i++)
        log_error("the control plane does not keep to the protocol", LOG_S("fault", errors.items[i].message));
    error_list_finish(&errors);
    return status;
}

static int take_plain_bytes(struct channel_client *c, const uint8_t *bytes, size_t size,
                            struct error_list *errors) {
    if (grpc_stream_receive(c->stream, bytes, size, errors) < 0)
        return -1;
    if (c->has_heard)
        return 0;
    c->has_heard = true;
    c->said_count = 0;
    c->counts.connects++;
    log_info("connected to the control plane");
    return 0;
}

static int take_wire_bytes(struct channel_client *c, const uint8_t *bytes, size_t size,
                           struct error_list *errors) {
    struct strbuf plain = {0};
    if (!c->tls)
        return take_plain_bytes(c, bytes, size, errors);
    int status = tls_stream_receive(c->tls, bytes, size, &plain, errors);
    if (status == 0 && plain.n)
        status = take_plain_bytes(c, (const uint8_t *)plain.p, plain.n, errors);
    strbuf_finish(&plain);
    return status;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events) {
    struct channel_client *c = watcher->data;
    static uint8_t bytes[READ_SIZE];
    struct error_list errors = {0};
    (void)loop;
    (void)events;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->is_dirty = true; /* window updates, pongs */
    if (n <= 0)
        disconnect(c, n ? strerror(errno) : "the control plane closed the connection");
    else if (take_wire_bytes(c, bytes, (size_t)n, &errors) < 0)
        disconnect_with(c, &errors);
}

/* ---- going up ---- */

static void link_is_up(struct channel_client *c) {
    struct ev_loop *loop = c->config.loop;
    c->state = LINK_UP;
    c->up_since = clock_monotonic_us();
    c->is_dirty = true;
    ev_timer_stop(loop, &c->deadline);
    ev_io_stop(loop, &c->writable);
    ev_io_start(loop, &c->readable);
    if (c->is_tcp)
        ev_timer_again(loop, &c->ping);
    ev_timer_again(loop, &c->report);
    if (channel_open(&c->channel) < 0)
        c->is_broken = true;
}

/* The connection is made, or has failed. */
static void finish_connecting(struct channel_client *c) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error) {
        disconnect(c, strerror(error));
        return;
    }
    c->stream = grpc_stream_create(c->config.tls ? "https" : "http", "headgate",
                                   "/headgate.SnapshotService/Stream", on_message, c);
    c->tls = c->config.tls ? tls_stream_create(c->config.tls) : NULL;
    if (!c->stream || (c->config.tls && !c->tls))
        disconnect(c, "out of memory");
    else
        link_is_up(c);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events) {
    struct channel_client *c = watcher->data;
    (void)loop;
    (void)events;
    if (c->state == LINK_CONNECTING)
        finish_connecting(c);
    else
        flush(c);
}

static void on_socket(void *owner, struct holder_answer *answer) {
    struct channel_client *c = owner;
    if (answer->error || answer->count != 1) {
        disconnect(c, strerror(answer->error ? answer->error : EIO));
        return;
    }
    c->fd = answer->fds[0];
    answer->count = 0;
    c->is_tcp = answer->address.u.any.sa_family != AF_UNIX;
    if (c->is_tcp)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    c->state = LINK_CONNECTING;
    ev_io_set(&c->readable, c->fd, EV_READ);
    ev_io_set(&c->writable, c->fd, EV_WRITE);
    ev_io_start(c->config.loop, &c->writable);
    ev_timer_set(&c->deadline, connect_timeout, 0.);
    ev_timer_start(c->config.loop, &c->deadline);
}

static void connect_now(struct channel_client *c) {
    c->state = LINK_ASKING;
    if (holder_connect_control_plane(c->config.holder, on_socket, c) < 0)
        disconnect(c, "out of memory");
}

/* ---- timers ---- */

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    connect_now(timer->data);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    disconnect(timer->data, "the control plane does not answer");
}

static void on_ping(struct ev_loop *loop, ev_timer *timer, int events) {
    struct channel_client *c = timer->data;
    (void)loop;
    (void)events;
    if (grpc_stream_awaits_pong(c->stream))
        disconnect(c, "the control plane does not answer a ping");
    else if (grpc_stream_ping(c->stream) < 0)
        disconnect(c, "out of memory");
    else
        c->is_dirty = true;
}

static void on_report(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    send_report(timer->data);
}

/* ---- the client ---- */

static void init_watchers(struct channel_client *c) {
    ev_io_init(&c->readable, on_readable, -1, EV_READ);
    ev_io_init(&c->writable, on_writable, -1, EV_WRITE);
    ev_prepare_init(&c->before_wait, on_before_wait);
    ev_timer_init(&c->retry, on_retry, 0., 0.);
    ev_timer_init(&c->deadline, on_deadline, 0., 0.);
    ev_timer_init(&c->ping, on_ping, 0., ping_interval);
    ev_timer_init(&c->report, on_report, 0., report_interval);
    c->readable.data = c->writable.data = c->before_wait.data = c;
    c->retry.data = c->deadline.data = c->ping.data = c->report.data = c;
}

struct channel_client *channel_client_create(const struct channel_client_config *config) {
    struct channel_client *c = hg_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->config = *config;
    c->fd = -1;
    c->backoff = (struct backoff){
        .first = retry_first, .most = retry_most, .random = clock_monotonic_us() ^ (uint64_t)getpid() << 32};
    channel_init(&c->channel, &channel_calls, c, &config->self);
    init_watchers(c);
    return c;
}

void channel_client_start(struct channel_client *c, struct resource_set *serving) {
    if (serving)
        channel_set_serving(&c->channel, serving);
    ev_prepare_start(c->config.loop, &c->before_wait);
    connect_now(c);
}

void channel_client_retry_now(struct channel_client *c) {
    backoff_reset(&c->backoff);
    if (!ev_is_active(&c->retry))
        return;
    ev_timer_stop(c->config.loop, &c->retry);
    connect_now(c);
}

void channel_client_destroy(struct channel_client *c) {
    if (!c)
        return;
    holder_cancel(c->config.holder, c);
    ev_prepare_stop(c->config.loop, &c->before_wait);
    ev_timer_stop(c->config.loop, &c->retry);
    free_link(c);
    channel_finish(&c->channel);
    hg_free(c);
}

bool channel_client_is_unconfirmed(const struct channel_client *c) {
    return c->channel.is_from_last_known_good;
}

bool channel_client_is_connected(const struct channel_client *c) {
    return c->has_heard;
}

const struct channel_client_counts *channel_client_counts(const struct channel_client *c) {
    return &c->counts;
}
