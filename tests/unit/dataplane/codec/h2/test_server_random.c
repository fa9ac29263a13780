/* Bodies both ways on many streams at once, under random schedules, windows and sizes: all arrive whole, and no bound is
 * passed. */
#include "tests/unit/dataplane/codec/h2/peer.h"

#include <inttypes.h>

enum { SCHEDULES = 300, STREAMS = 8, BODY_MAX = 200000, STEPS_MAX = 400000 };

static uint64_t seed, first_seed;
static char     bytes[BODY_MAX];

static uint32_t dice(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static struct str random_body(void) {
    size_t n = dice(4) ? dice(BODY_MAX) : dice(100);
    return (struct str){bytes + dice((uint32_t)(BODY_MAX - n)), n};
}

struct plan {
    struct str   request, response;
    struct call *call;
    struct back *back;
    bool         has_trailers;
};

static struct client client;
static struct plan   plans[STREAMS];
static unsigned      plan_count;

/* Which exchange is whose: the path says it. */
static struct back *find_back(unsigned index) {
    for (unsigned i = 0; i < back_count; i++)
        if (backs[i].target[1] == (char)('a' + index))
            return &backs[i];
    return NULL;
}

static void begin(unsigned index) {
    static const nghttp2_nv trailer = {(uint8_t *)"x-end", (uint8_t *)"yes", 5, 3, NGHTTP2_NV_FLAG_NONE};
    struct plan *p = &plans[index];
    char path[3] = {'/', (char)('a' + index), '\0'};
    const nghttp2_nv fields[] = {BASIC("POST", path)};
    *p = (struct plan){.request = random_body(), .response = random_body(), .has_trailers = dice(2)};
    p->call = request_fields(&client, fields, 4, p->request, true);
    p->call->most = dice(2) ? 1 + dice(20000) : 0;
    p->call->request_trailers = p->has_trailers ? &trailer : NULL;
}

static void answer_plan(struct plan *p) {
    struct arena *arena = exchange_arena(p->back->x);
    if (p->has_trailers) {
        assert_int_equal(fields_add(&p->back->trailers, arena, STR("x-end"), STR("yes")), 0);
        p->back->loop.trailers = &p->back->trailers;
    }
    p->back->loop.to_send = p->response;
    answer(p->back, 200, dice(2) ? (int64_t)p->response.n : -1, false);
}

static void check_bounds(const struct plan *p) {
    const struct exchange *x = p->back ? p->back->x : NULL;
    uint64_t limit = settings.limits.buffer;
    if (!x)
        return;
    assert_true(x->request.used + x->request.granted <= (limit < 65535 ? 65535 : limit));
    assert_true(x->response.used + x->response.granted <= limit);
}

/* The origin does something, or nothing. */
static void step_origin(unsigned index) {
    struct plan *p = &plans[index];
    if (!p->back && !(p->back = find_back(index)))
        return;
    check_bounds(p);
    if (!p->back->x && !p->back->loop.leg.exchange)
        return;
    if (dice(2))
        loopback_pull(&p->back->loop, 1 + dice(30000));
    if (p->back->x && p->back->x->response.state == FLOW_HEAD && dice(4) == 0 && p->back->loop.received_end)
        answer_plan(p);
    else if (p->back->x && p->back->x->response.state != FLOW_HEAD && dice(2))
        loopback_push(&p->back->loop, 1 + dice(30000));
}

static bool all_done(void) {
    for (unsigned i = 0; i < plan_count; i++)
        if (!plans[i].call->closed)
            return false;
    return true;
}

static void check_plan(const struct plan *p) {
    assert_int_equal(p->call->code, NGHTTP2_NO_ERROR);
    assert_int_equal(p->call->status, 200);
    assert_true(p->call->ended);
    assert_int_equal(p->back->loop.received.n, p->request.n);
    assert_int_equal(p->call->body.n, p->response.n);
    assert_true(p->request.n == 0 || memcmp(p->back->loop.received.p, p->request.p, p->request.n) == 0);
    assert_true(p->response.n == 0 || memcmp(p->call->body.p, p->response.p, p->response.n) == 0);
    assert_int_equal(p->back->loop.received_trailers != NULL, p->has_trailers);
    assert_int_equal(p->call->trailers.n > 0, p->has_trailers);
}

static void run_schedule(void) {
    static const uint32_t windows[] = {4096, 5000, 16384, 65535, 1 << 20};
    client_init(&client, connect_gateway(), windows[dice(5)]);
    plan_count = 1 + dice(STREAMS);
    for (unsigned i = 0; i < plan_count; i++)
        begin(i);
    for (unsigned step = 0; !all_done(); step++) {
        if (client.has_goaway || step >= STEPS_MAX)
            fail_msg("seed %" PRIu64 ": goaway %d with code %u after %u steps", first_seed, client.has_goaway,
                     client.goaway_code, step);
        if (dice(3))
            client_send(&client);
        overwrite_frame_buffer();
        ev_run(worker.loop, EVRUN_NOWAIT);
        if (dice(3))
            client_receive(&client);
        for (unsigned i = 0; i < plan_count; i++)
            step_origin(i);
    }
    for (unsigned i = 0; i < plan_count; i++)
        check_plan(&plans[i]);
    client_finish(&client);
    for (int i = 0; i < SETTLED; i++)
        ev_run(worker.loop, EVRUN_NOWAIT);
}

static void everything_arrives_whole(void **state) {
    (void)state;
    static const uint64_t buffers[] = {16384, 30000, 65536, 1 << 20};
    for (size_t i = 0; i < BODY_MAX; i++)
        bytes[i] = (char)('a' + i * 7 % 26 + i / 1000 % 3);
    for (unsigned i = 1; i <= SCHEDULES; i++) {
        first_seed = seed = i * 0x9e3779b97f4a7c15ULL;
        settings.limits.buffer = buffers[dice(4)];
        run_schedule();
        assert_int_equal(worker.buffer_used, 0);
        for (unsigned k = 0; k < back_count; k++)
            loopback_finish(&backs[k].loop);
        back_count = 0;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_arrives_whole, gateway_set_up, gateway_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
