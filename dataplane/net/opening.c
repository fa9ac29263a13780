#include "dataplane/net/opening.h"

#include <string.h>

#include "common/alloc.h"
#include "dataplane/core/view.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/net/proxy_protocol.h"
#include "dataplane/tls/session.h"

/* RFC 9113 section 3.4. No HTTP/1 request begins with it. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_SIZE = sizeof preface - 1 };

enum step { STEP_PROXY, STEP_TLS, STEP_PREFACE };

struct opening {
    struct conn                    conn;         /* first */
    struct listener_connection     membership;
    struct address                 peer;
    struct snapshot_view          *view;         /* holds the rules */
    const struct listener_opening *rules;
    enum step                      step;
    uint32_t                       received_n, capacity;
    uint8_t                        received[];   /* of the PROXY header or the preface, and what came with it */
};

static void next_step(struct opening *o, const uint8_t *rest, size_t n);

static struct opening *of_membership(struct listener_connection *m) {
    return (struct opening *)((char *)m - offsetof(struct opening, membership));
}

/* ---- hand-over ---- */

static void hand_over(struct opening *o, bool is_http2, const uint8_t *rest, size_t n) {
    struct listener_runtime *l = o->membership.listener;
    struct accepted a = {.transport = conn_release(&o->conn), .peer = o->peer, .cap_slot = o->membership.cap_slot};
    struct conn *c = (o->rules->raw ? l->codecs->raw : is_http2 ? l->codecs->http2 : l->codecs->http1)(l, &a);
    if (c) {
        o->membership.cap_slot = IP_CAP_UNCOUNTED; /* it is the codec's now */
        conn_go_on(c, rest, n);
    } else {
        conn_discard(&o->conn, &a.transport);
    }
}

static bool begins_with_preface(const struct opening *o) {
    return memcmp(o->received, preface, o->received_n < PREFACE_SIZE ? o->received_n : PREFACE_SIZE) == 0;
}

/* Two words that could begin a request line end with a blank each, and then comes a version. Where the second can be no
 * target and the third is no version it is a preface that went wrong: HTTP/2 has an answer to that, and one of HTTP/1 would
 * be read as a frame. What has come in the first piece decides. */
static bool is_neither(const struct opening *o) {
    struct str line = {(const char *)o->received, o->received_n};
    str_cut(&line, ' ');
    struct str target = line.n ? str_cut(&line, ' ') : line;
    for (size_t i = 0; i < target.n; i++)
        if (memchr("/:*\r\n", target.p[i], 5))
            return false;
    return line.n && memcmp(line.p, "HTTP/", line.n < 5 ? line.n : 5) != 0;
}

static void look_at_preface(struct opening *o) {
    bool may_be = begins_with_preface(o);
    if (!may_be || o->received_n >= PREFACE_SIZE)
        hand_over(o, may_be || is_neither(o), o->received, o->received_n);
}

/* ---- steps ---- */

/* A session is made for who says something: it takes 25 KiB, and a client that only connects nothing. */
static void begin_tls(struct opening *o, const uint8_t *rest, size_t n) {
    o->step = STEP_TLS;
    if (n == 0)
        return;
    o->conn.tls = tls_session_accept(o->conn.worker, o->rules->tls);
    if (o->conn.tls)
        conn_handshake(&o->conn, rest, n);
    else
        conn_close(&o->conn);
}

static void next_step(struct opening *o, const uint8_t *rest, size_t n) {
    const struct listener_opening *rules = o->rules;
    if (rules->tls) {
        begin_tls(o, rest, n);
    } else if (rules->http1 && rules->http2) {
        o->step = STEP_PREFACE;
        o->received_n = (uint32_t)n;
        if (n == 0)
            return;
        memmove(o->received, rest, n);
        look_at_preface(o);
    } else {
        hand_over(o, rules->http2, rest, n);
    }
}

/* The client that the proxy names is counted instead of the proxy. */
static bool take_peer(struct opening *o, const struct proxy_header *header) {
    struct listener_runtime *l = o->membership.listener;
    if (!header->has_addresses)
        return true;
    if (!(o->conn.ends = hg_malloc(sizeof *o->conn.ends)))
        return false;
    *o->conn.ends = (struct conn_ends){.remote = header->source, .local = header->destination};
    address_unmap(&o->conn.ends->remote);
    address_unmap(&o->conn.ends->local);
    o->peer = o->conn.ends->remote;
    uint32_t slot = ip_caps_take(l->caps, &o->peer, l->connections_per_ip);
    if (slot == IP_CAP_REFUSED) {
        stats_add(&o->conn.worker->stats->connections_refused_per_ip_total, 1);
        return false;
    }
    o->membership.cap_slot = slot;
    return true;
}

static void look_at_proxy_header(struct opening *o) {
    struct proxy_header header;
    int used = proxy_header_read(o->received, o->received_n, &header);
    if (used == 0 && o->received_n < o->capacity)
        return;
    if (used <= 0)
        stats_add(&o->conn.worker->stats->proxy_header_errors_total, 1);
    if (used > 0 && take_peer(o, &header))
        next_step(o, o->received + used, o->received_n - (size_t)used);
    else
        conn_close(&o->conn);
}

/* ---- from the connection ---- */

static size_t read_limit(struct conn *c) {
    struct opening *o = (struct opening *)c;
    return o->step == STEP_TLS ? READ_MAX : o->capacity - o->received_n;
}

static void on_bytes(struct conn *c, uint8_t *bytes, size_t n) {
    struct opening *o = (struct opening *)c;
    if (o->step == STEP_TLS) {
        begin_tls(o, bytes, n);
        return;
    }
    memcpy(o->received + o->received_n, bytes, n);
    o->received_n += (uint32_t)n;
    if (o->step == STEP_PROXY)
        look_at_proxy_header(o);
    else
        look_at_preface(o);
}

static void on_connected(struct conn *c) {
    struct opening *o = (struct opening *)c;
    struct str agreed = tls_protocol(c->tls);
    hand_over(o, str_eq(agreed, STR("h2")) || !o->rules->http1, NULL, 0);
}

static void on_eof(struct conn *c) {
    conn_close(c);
}

static void on_error(struct conn *c, int error) {
    (void)error;
    conn_close(c);
}

static bool produce(struct conn *c, struct gather *g) {
    (void)c;
    (void)g;
    return false;
}

static void on_written(struct conn *c) {
    (void)c;
}

static void on_deadline(struct conn *c, enum conn_deadline which) {
    struct opening *o = (struct opening *)c;
    struct stats *s = c->worker->stats;
    (void)which;
    stats_add(o->step == STEP_TLS ? &s->client_handshake_timeouts_total : &s->client_header_timeouts_total, 1);
    conn_close(c);
}

static void destroy(struct conn *c) {
    struct opening *o = (struct opening *)c;
    struct snapshot_view *view = o->view;
    struct worker *w = c->worker;
    listener_remove(&o->membership);
    hg_free(o);
    if (view)
        view_unref(w, view);
}

static const struct conn_ops opening_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_error,
    .on_connected = on_connected, .produce = produce, .on_written = on_written, .on_deadline = on_deadline,
    .destroy = destroy, .is_client = true,
};

/* A client that has said nothing yet loses nothing; one in the middle of a handshake is let finish it. */
static void close_opening(struct listener_connection *m, bool only_idle) {
    struct opening *o = of_membership(m);
    if (!only_idle || (o->received_n == 0 && !o->conn.tls && !conn_has_input(&o->conn)))
        conn_close(&o->conn);
}

int opening_begin(struct listener_runtime *l, const struct accepted *a) {
    const struct listener_opening *rules = l->opening;
    bool has_proxy = rules->proxy && proxy_is_trusted(rules->proxy, &a->peer);
    size_t capacity = has_proxy ? PROXY_HEADER_MAX : PREFACE_SIZE;
    struct opening *o = hg_calloc(1, sizeof *o + capacity);
    if (!o)
        return -1;
    conn_init(&o->conn, l->worker, a->transport, &opening_ops);
    o->membership.close = close_opening;
    listener_add(l, &o->membership, a->cap_slot);
    o->peer = a->peer;
    o->rules = rules;
    o->capacity = (uint32_t)capacity;
    if ((o->view = l->view))
        view_ref(o->view);
    if (rules->timeout)
        conn_set_deadline(&o->conn, DEADLINE_READ, l->worker->now + rules->timeout);
    conn_want_read(&o->conn);
    if (!has_proxy)
        next_step(o, NULL, 0);
    return 0;
}
