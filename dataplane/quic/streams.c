/* streams.c — what conn.h has for streams. A connection that is closing, and a stream that is gone, do nothing. */
#include "dataplane/quic/conn_private.h"

int quic_open_stream(struct quic_conn *c, bool bidirectional, int64_t *ret_id) {
    if (!c->ng || c->wants_close)
        return -1;
    int status = bidirectional ? ngtcp2_conn_open_bidi_stream(c->ng, ret_id, NULL)
                               : ngtcp2_conn_open_uni_stream(c->ng, ret_id, NULL);
    return status == 0 ? 0 : -1;
}

uint64_t quic_streams_left(const struct quic_conn *c, bool bidirectional) {
    if (!c->ng)
        return 0;
    return bidirectional ? ngtcp2_conn_get_streams_bidi_left(c->ng) : ngtcp2_conn_get_streams_uni_left(c->ng);
}

struct quic_allowance quic_first_allowance(const struct quic_conn *c) {
    if (!c->ng)
        return (struct quic_allowance){0};
    const ngtcp2_transport_params *p = ngtcp2_conn_get_local_transport_params(c->ng);
    return (struct quic_allowance){p->initial_max_stream_data_bidi_remote, p->initial_max_streams_bidi};
}

void quic_extend_streams(struct quic_conn *c, bool bidirectional, size_t n) {
    if (!c->ng)
        return;
    if (bidirectional)
        ngtcp2_conn_extend_max_streams_bidi(c->ng, n);
    else
        ngtcp2_conn_extend_max_streams_uni(c->ng, n);
    quic_mark_dirty(c);
}

void quic_consume_stream(struct quic_conn *c, int64_t id, size_t n) {
    if (!c->ng)
        return;
    ngtcp2_conn_extend_max_stream_offset(c->ng, id, n); /* without memory, or for a stream that is gone: nothing */
    quic_mark_dirty(c);
}

void quic_consume_connection(struct quic_conn *c, size_t n) {
    if (!c->ng)
        return;
    ngtcp2_conn_extend_max_offset(c->ng, n);
    quic_mark_dirty(c);
}

/* They fail for lack of memory alone; a stream that cannot be ended costs the connection. */
static void check(struct quic_conn *c, int status) {
    if (status == NGTCP2_ERR_NOMEM)
        quic_close(c, QUIC_TRANSPORT, QUIC_INTERNAL_ERROR, "");
    quic_mark_dirty(c);
}

void quic_reset_stream(struct quic_conn *c, int64_t id, uint64_t code) {
    if (c->ng)
        check(c, ngtcp2_conn_shutdown_stream_write(c->ng, 0, id, code));
}

void quic_stop_sending(struct quic_conn *c, int64_t id, uint64_t code) {
    if (c->ng)
        check(c, ngtcp2_conn_shutdown_stream_read(c->ng, 0, id, code));
}

void quic_shutdown_stream(struct quic_conn *c, int64_t id, uint64_t code) {
    if (c->ng)
        check(c, ngtcp2_conn_shutdown_stream(c->ng, 0, id, code));
}

uint64_t quic_window_left(const struct quic_conn *c) {
    return c->ng ? ngtcp2_conn_get_max_data_left(c->ng) : 0;
}

uint64_t quic_stream_window_left(const struct quic_conn *c, int64_t id) {
    return c->ng ? ngtcp2_conn_get_max_stream_data_left(c->ng, id) : 0;
}

uint64_t quic_congestion_left(const struct quic_conn *c) {
    return c->ng ? ngtcp2_conn_get_cwnd_left(c->ng) : 0;
}
