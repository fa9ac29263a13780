/* A user that ends its connection while it is asked what to write: what it gave before is gone with that. */
#include "tests/unit/dataplane/quic/clients.h"

#define FAR_HOST "192.0.2.1" /* towards which MORE is several packets */

enum { PLENTY_US = 10000000, SAID = 1000, MORE = 8000, POISON = 0xa5, CODE = 0x99, ASKS_MOST = 4 };

static const char piece[] = "piece";
static int64_t    piece_stream;
static unsigned   asks_left, pieces_taken;

/* ---- the user ---- */

static void poison(struct echo *e) {
    for (unsigned i = 0; i < STREAMS; i++)
        if (e->streams[i].is_used)
            memset(e->streams[i].bytes, POISON, e->streams[i].n);
}

static size_t next_or_close(struct quic_user *u, int64_t *ret_id, bool *ret_fin, struct iovec *vec, size_t most) {
    struct echo_stream *s = echo_stream((struct echo *)u, piece_stream);
    (void)ret_fin, (void)most;
    assert_false(quic_is_closing(u->conn));
    *ret_id = s->id;
    vec[0] = (struct iovec){s->bytes, s->n};
    if (asks_left-- == 0) {
        poison((struct echo *)u);
        quic_close(u->conn, QUIC_APPLICATION, CODE, "");
    }
    return 1;
}

static void count_pieces(struct quic_user *u, int64_t id, size_t n) {
    (void)u;
    assert_int_equal(id, piece_stream);
    assert_int_equal(n, sizeof piece);
    pieces_taken++;
}

static void begin_pieces(struct echo *e) {
    assert_int_equal(quic_open_stream(e->user.conn, false, &piece_stream), 0);
    struct echo_stream *s = echo_stream_new(e, piece_stream);
    memcpy(s->bytes, piece, sizeof piece);
    s->n = sizeof piece;
}

static void close_after(struct echo *e, unsigned asks) {
    static struct quic_ops ops;
    ops = echo_ops;
    ops.next = next_or_close;
    ops.on_taken = count_pieces;
    e->user.ops = &ops;
    asks_left = asks;
    pieces_taken = 0;
}

/* ---- conditions ---- */

static size_t awaited;

static bool is_said(void) {
    for (unsigned i = 0; i < STREAMS; i++)
        if (echoes[0].streams[i].n == awaited && echoes[0].streams[i].end_taken)
            return true;
    return false;
}

static bool is_over(void) {
    return net.peers[0]->is_over;
}

/* ---- tests ---- */

/* All pieces that were taken came as they were, and of what was lost came nothing but what had been said. */
static void expect_nothing_of_it(const struct peer *p) {
    const struct strbuf *pieces = &p->got[0], *said = &p->got[1];
    assert_int_equal(ngtcp2_conn_get_ccerr(p->conn)->error_code, CODE);
    assert_int_equal(pieces->n, pieces_taken * sizeof piece);
    for (size_t i = 0; i < pieces->n; i += sizeof piece)
        assert_string_equal(pieces->p + i, piece);
    for (size_t i = 0; i < said->n; i++)
        assert_int_equal(said->p[i], large[i]);
}

static void have_said(struct peer *p, size_t n) {
    awaited = n;
    peer_send(p, large, n);
    assert_true(net_run(is_said, PLENTY_US));
    net_run(NULL, DELAY_US); /* for its pacing: the next to come is an acknowledgement, or nothing */
}

static struct peer *lose_an_answer(void) {
    struct peer *p = open_one(&(struct peer_wish){.host = FAR_HOST});
    peer_send(p, "", 0); /* whose number is that of the pieces */
    assert_true(net_run(all_answered, PLENTY_US));
    net_run(NULL, PLENTY_US);
    begin_pieces(&echoes[0]);
    net.mtu[TO_CLIENT] = 1;
    have_said(p, SAID);
    net.mtu[TO_CLIENT] = 0;
    return p;
}

static void end_it(struct peer *p, unsigned asks) {
    close_after(&echoes[0], asks);
    assert_true(net_run(is_over, PLENTY_US));
    expect_nothing_of_it(p);
}

/* Nothing is acknowledged: what is on its way is sent again. */
static void a_probe_holds_nothing_of_it(void **state) {
    for (unsigned asks = 0; asks < ASKS_MOST; asks++) {
        assert_int_equal(net_setup(state), 0);
        struct peer *p = lose_an_answer();
        p->is_mute = true;
        end_it(p, asks);
        assert_int_equal(net_teardown(state), 0);
    }
}

/* The packets behind it are acknowledged: it waits to be sent again. */
static void nothing_of_it_is_sent_again(void **state) {
    for (unsigned asks = 0; asks < ASKS_MOST; asks++) {
        assert_int_equal(net_setup(state), 0);
        struct peer *p = lose_an_answer();
        have_said(p, MORE);
        end_it(p, asks);
        assert_true(net.worker.stats->quic_packets_lost_total > 0);
        assert_int_equal(net_teardown(state), 0);
    }
}

int main(void) {
    fill_large();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_holds_nothing_of_it),
        cmocka_unit_test(nothing_of_it_is_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
