/* A server and a client that do anything in any order, thousands of steps: in the end the client holds what the server
 * has, in all four modes, with ACKs held back and without, whatever was refused and cut on the way. */
#include "tests/unit/controlplane/xds/scripted_server.h"

enum { SEEDS = 100, STEPS = 4000 };

struct play {
    struct machine m;
    struct server  s;
    uint64_t       random;
    bool           is_failing;
    bool           is_gentle;           /* no refusals by data planes, and nothing sent again in the end but what was bad */
};

static unsigned draw(struct play *y, unsigned below) {
    y->random ^= y->random >> 12;
    y->random ^= y->random << 25;
    y->random ^= y->random >> 27;
    return (unsigned)((y->random * UINT64_C(2685821657736338717)) >> 33) % below;
}

static void name_of(unsigned name, char out[2]) {
    out[0] = (char)('a' + name);
    out[1] = '\0';
}

static void play_begin(struct play *y, enum xds_form form, bool is_aggregated, uint64_t seed) {
    *y = (struct play){.m = machine_defaults(form), .s = {.form = form}, .random = seed * 7919 + 1};
    y->is_failing = draw(y, 2);
    y->is_gentle = draw(y, 2);
    y->s.remembers = draw(y, 2);
    y->m.o.is_aggregated = is_aggregated;
    y->m.o.fail_on_data_errors = y->is_failing;
    y->m.o.random = seed + 1;
    y->m.o.nack_wait_max = y->m.o.retry_wait_max = 2 * SECOND;
    y->m.is_held = draw(y, 2);
    y->m.is_explicit = draw(y, 2);
    assert_true(machine_create(&y->m));
}

/* ---- what can happen ---- */

static void client_wants(struct play *y) {
    char name[2];
    size_t type = draw(y, 2);
    name_of(draw(y, NAMES), name);
    struct str what = type == CLUSTERS && draw(y, 3) ? STR("*") : str_of(name);
    if (draw(y, 3))
        assert_int_equal(xds_protocol_subscribe(y->m.p, type, what), XDS_OK);
    else
        xds_protocol_unsubscribe(y->m.p, type, what);
}

static void client_sends(struct play *y, size_t stream) {
    struct xds_request r;
    if (xds_protocol_next_request(y->m.p, stream, y->m.now, &r) != 1)
        return;
    server_take(&y->s, &r);
    xds_protocol_sent(y->m.p, stream, y->m.now);
}

static void client_takes_news(struct play *y) {
    unsigned news;
    while (xds_protocol_take_news(y->m.p, &news))
        assert_true(news != 0);
}

static void client_is_ready(struct play *y) {
    uint64_t ticket = xds_protocol_ticket(y->m.p);
    xds_protocol_ready(y->m.p, ticket > 2 ? ticket - draw(y, 3) : ticket);
}

static void client_refuses(struct play *y) {
    char name[2];
    name_of(draw(y, NAMES), name);
    xds_protocol_refuse(y->m.p, draw(y, 2), str_of(name), xds_protocol_ticket(y->m.p), STR("no port is free"), y->m.now);
}

static void server_changes(struct play *y) {
    server_set(&y->s, draw(y, 2), draw(y, NAMES), draw(y, 4), draw(y, 40) == 0);
}

static void server_speaks(struct play *y, size_t type) {
    struct served_stream *t = &y->s.streams[type];
    if (server_has_more(&y->s, type) && draw(y, 2))
        server_respond(&y->s, type);
    else if (t->is_waiting && xds_protocol_can_receive(y->m.p, stream_of(&y->m, type)))
        assert_int_equal(server_deliver(&y->s, type, &y->m), XDS_OK);
}

static void stream_is_cut(struct play *y, size_t stream) {
    for (size_t type = 0; type < TYPE_COUNT; type++)
        if (stream_of(&y->m, type) == stream)
            server_cut(&y->s, type);
    xds_protocol_closed(y->m.p, stream, STR("cut"), y->m.now);
}

static void streams_open(struct play *y) {
    for (size_t i = 0; i < xds_protocol_stream_count(y->m.p); i++)
        if (xds_protocol_must_reopen(y->m.p, i, y->m.now))
            stream_is_cut(y, i);
    for (size_t i = 0; i < xds_protocol_stream_count(y->m.p); i++)
        if (xds_protocol_is_due(y->m.p, i, y->m.now))
            xds_protocol_opened(y->m.p, i);
}

static void step(struct play *y) {
    size_t stream = draw(y, (unsigned)xds_protocol_stream_count(y->m.p));
    switch (draw(y, 16)) {
    case 0: case 1:         client_wants(y); break;
    case 2: case 3: case 4: client_sends(y, stream); break;
    case 5:                 client_takes_news(y); break;
    case 6:                 client_is_ready(y); break;
    case 7:
        if (!y->is_gentle)
            client_refuses(y);
        break;
    case 8: case 9:         server_changes(y); break;
    case 10: case 11: case 12: case 13: server_speaks(y, draw(y, 2)); break;
    case 14:                pass_time(&y->m, draw(y, 3000) * (SECOND / 1000)); streams_open(y); break;
    default:
        if (draw(y, 4) == 0)
            stream_is_cut(y, stream);
    }
}

/* ---- the end: nobody changes anything, and all is good ---- */

static bool is_quiet(const struct play *y) {
    bool is_busy = false;
    for (size_t type = 0; type < TYPE_COUNT; type++)
        is_busy |= y->s.streams[type].is_waiting || server_has_more(&y->s, type);
    return !is_busy && xds_protocol_deadline(y->m.p) == UINT64_MAX;
}

static void settle(struct play *y) {
    for (size_t type = 0; type < TYPE_COUNT; type++)
        for (unsigned i = 0; i < NAMES; i++)
            if (!y->is_gentle || y->s.has[type][i].is_bad)
                server_set(&y->s, type, i, y->s.has[type][i].value, false);
    if (draw(y, 2))
        stream_is_cut(y, 0);
    for (unsigned turn = 0; turn < 2000 && !is_quiet(y); turn++) {
        streams_open(y);
        for (size_t i = 0; i < xds_protocol_stream_count(y->m.p); i++)
            client_sends(y, i);
        for (size_t type = 0; type < TYPE_COUNT; type++)
            server_speaks(y, type);
        xds_protocol_ready(y->m.p, xds_protocol_ticket(y->m.p));
        client_takes_news(y);
        pass_time(&y->m, SECOND);
    }
    client_takes_news(y);
    client_takes_news(y);
    assert_true(is_quiet(y));
}

static void check_present(const struct play *y, const struct xds_resource *r, unsigned value) {
    char text[32];
    (void)y;
    snprintf(text, sizeof text, "%u", value);
    assert_non_null(r);
    assert_string_equal(xds_state_name(r->state), "ACKED");
    assert_non_null(r->copy);
    assert_str(r->copy->bytes, text);
}

/* In the state of the world nothing tells that endpoints are gone: a copy from before stays, and counts as good. */
static void check_absent(const struct play *y, size_t type, const struct xds_resource *r) {
    bool is_told = y->s.form == XDS_DELTA || type == CLUSTERS;
    if (!r)
        return;
    if (!r->is_named)
        fail_msg("%.*s is held and nobody has it", STR_FMT(r->name));
    if (is_told || !r->copy)
        assert_true(r->state == XDS_DOES_NOT_EXIST || (r->state == XDS_NACKED && !is_told));
    if (is_told && y->is_failing)
        assert_null(r->copy);
}

static void check(struct play *y, const bool wants_all[TYPE_COUNT]) {
    char name[2];
    for (size_t type = 0; type < TYPE_COUNT; type++)
        for (unsigned i = 0; i < NAMES; i++) {
            name_of(i, name);
            const struct xds_resource *r = held(&y->m, type, name);
            unsigned value = y->s.has[type][i].value;
            bool is_wanted = wants_all[type] || (r && r->is_named);
            if (is_wanted && value)
                check_present(y, r, value);
            else if (is_wanted)
                check_absent(y, type, r);
            else
                assert_null(r);
        }
}

static void play(enum xds_form form, bool is_aggregated) {
    uint64_t acks = 0, nacks = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct play y;
        play_begin(&y, form, is_aggregated, seed);
        for (unsigned i = 0; i < STEPS; i++)
            step(&y);
        bool wants_all[TYPE_COUNT] = {draw(&y, 2), false};
        if (wants_all[CLUSTERS])
            want(&y.m, CLUSTERS, "*");
        else
            xds_protocol_unsubscribe(y.m.p, CLUSTERS, STR("*"));
        settle(&y);
        check(&y, wants_all);
        acks += xds_protocol_counters(y.m.p)->acks;
        nacks += xds_protocol_counters(y.m.p)->nacks;
        xds_protocol_destroy(y.m.p);
    }
    assert_true(acks > 50 * SEEDS && nacks > 5 * SEEDS);       /* or little was tried */
}

static void test_world_aggregated(void **state) {
    (void)state;
    play(XDS_STATE_OF_THE_WORLD, true);
}

static void test_world_by_type(void **state) {
    (void)state;
    play(XDS_STATE_OF_THE_WORLD, false);
}

static void test_delta_aggregated(void **state) {
    (void)state;
    play(XDS_DELTA, true);
}

static void test_delta_by_type(void **state) {
    (void)state;
    play(XDS_DELTA, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_world_aggregated),
        cmocka_unit_test(test_world_by_type),
        cmocka_unit_test(test_delta_aggregated),
        cmocka_unit_test(test_delta_by_type),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
