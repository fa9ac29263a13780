/* The HTTP core between two loopback legs, under random schedules, with filters that hold, grow and park. No socket, no clock
 * but the one that the test turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/codec/loopback/loopback.h"
#include "dataplane/http/exchange.h"
#include "dataplane/net/gather.h"
#include "dataplane/snapshot/settings.h"

enum { SCHEDULES = 400, BODY_MAX = 300000 };

/* ---- a gateway without sockets ---- */

struct bench {
    struct worker                worker;
    struct arena                 arena;
    struct settings              settings;
    struct listener_definition   listener;
    struct bound_table           routes;
    struct snapshot_view         view;
    struct exchange_origin       origin;
    struct filter                filters[4];
    struct loopback              front, back;
    struct exchange             *exchange;
    struct head                  request, response;
    bool                         answers;       /* the back has sent its head */
    unsigned                     attempts, finished, logged, views_quiet;
    unsigned                     resets_left;   /* attempts that the origin resets before it answers */
    uint16_t                     logged_status;
    enum abort_code              logged_abort;
    char                        *request_body, *response_body;
    size_t                       request_size, response_size;
};

static struct bench *bench; /* hooks have no argument */
static uint64_t seed;

static uint32_t dice(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static void terminal_start(struct exchange *x) {
    enum abort_code bad = exchange_prepare_forward(x);
    if (bad) {
        exchange_fail(x, bad);
        return;
    }
    bench->attempts++;
    loopback_finish(&bench->back);
    loopback_init(&bench->back, &bench->worker);
    bench->answers = false;
    bench->back.to_send = (struct str){bench->response_body, bench->response_size};
    exchange_attach_back(x, &bench->back.leg);
}

static bool terminal_retry(struct exchange *x, enum abort_code code) {
    (void)code;
    if (bench->resets_left == 0 || !exchange_is_replayable(x))
        return false;
    bench->resets_left--;
    bench->attempts++;
    loopback_finish(&bench->back);
    loopback_init(&bench->back, &bench->worker);
    bench->back.to_send = (struct str){bench->response_body, bench->response_size};
    exchange_attach_back(x, &bench->back.leg);
    return true;
}

static void terminal_deadline(struct exchange *x) {
    exchange_fail(x, ABORT_ORIGIN_TIMEOUT);
}

static void terminal_finish(struct exchange *x) {
    (void)x;
    bench->finished++;
}

static void log_exchange(struct exchange *x) {
    bench->logged++;
    bench->logged_status = x->status;
    bench->logged_abort = x->abort;
}

static void on_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
    bench->views_quiet++;
}

static const struct terminal_ops test_terminal = {
    .name = "test", .start = terminal_start, .retry = terminal_retry, .on_deadline = terminal_deadline, .finish = terminal_finish,
};

static struct route_table *make_table(struct bench *b) {
    static char *any[] = {"*"};
    static Headgate__WeightedCluster cluster = HEADGATE__WEIGHTED_CLUSTER__INIT;
    static Headgate__WeightedCluster *clusters[] = {&cluster};
    static Headgate__Forward forward = HEADGATE__FORWARD__INIT;
    static Headgate__Rule rule = HEADGATE__RULE__INIT;
    static Headgate__Rule *rules[] = {&rule};
    static Headgate__Host host = HEADGATE__HOST__INIT;
    static Headgate__Host *hosts[] = {&host};
    static Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    struct error_list errors = {0};
    cluster.name = "origin";
    forward.clusters = clusters, forward.n_clusters = 1;
    rule.action_case = HEADGATE__RULE__ACTION_FORWARD, rule.forward = &forward;
    host.domains = any, host.n_domains = 1;
    host.rules = rules, host.n_rules = 1;
    table.hosts = hosts, table.n_hosts = 1;
    struct route_table *t = route_table_build(&table, "test", b->settings.message, &errors);
    assert_non_null(t);
    error_list_finish(&errors);
    return t;
}

static void set_up(struct bench *b) {
    static const struct exchange_hooks hooks = {.terminal = &test_terminal, .log = log_exchange};
    memset(b, 0, sizeof *b);
    bench = b;
    assert_int_equal(worker_init(&b->worker, 0, EVFLAG_AUTO), 0);
    b->worker.gather = hg_malloc(sizeof(struct gather));
    b->worker.route_scratch = route_scratch_create();
    b->worker.view = &b->view;
    b->view.quiet = on_quiet;
    view_ref(&b->view);
    assert_int_equal(settings_fill(&b->settings, NULL, &b->arena), 0);
    b->settings.limits.buffer = 16384;
    b->routes.table = make_table(b);
    b->listener = (struct listener_definition){.name = STR("test"), .settings = &b->settings, .routes = &b->routes,
                                               .timeouts = b->settings.timeouts, .filters = b->filters};
    b->origin = (struct exchange_origin){.listener = &b->listener, .peer = STR("192.0.2.1"), .version = 11};
    loopback_init(&b->front, &b->worker);
    loopback_init(&b->back, &b->worker);
    exchange_set_hooks(&hooks);
}

static void tear_down(struct bench *b) {
    worker_end_turn(&b->worker);
    assert_int_equal(b->worker.buffer_used, 0);
    assert_int_equal(b->worker.exchange_memory.used, 0);
    assert_int_equal(stats_read(&b->worker.stats->exchanges), 0);
    assert_int_equal(stats_read(&b->worker.stats->buffered_bytes), 0);
    assert_int_equal(b->view.references, 1);
    exchange_free_cache(&b->worker);
    route_table_free((struct route_table *)(uintptr_t)b->routes.table);
    route_scratch_destroy(b->worker.route_scratch);
    hg_free(b->worker.gather);
    worker_finish(&b->worker);
    loopback_finish(&b->front);
    loopback_finish(&b->back);
    arena_finish(&b->arena);
    free(b->request_body);
    free(b->response_body);
}

static void add_filter(struct bench *b, const struct filter_ops *ops) {
    b->filters[b->listener.filter_count++] = (struct filter){.ops = ops};
}

static char *random_body(size_t n) {
    char *body = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)('a' + dice(26));
    return body;
}

static void make_request(struct bench *b, enum method method, size_t body) {
    struct head *h = &b->request;
    head_init(h);
    h->method = method;
    h->method_text = method_name(method);
    h->host = h->authority = STR("example.com");
    h->target = h->path = STR("/");
    h->content_length = body ? (int64_t)body : -1;
    b->request_body = random_body(b->request_size = body);
    b->front.to_send = (struct str){b->request_body, body};
}

static void make_response(struct bench *b, unsigned status, size_t body) {
    head_init(&b->response);
    b->response.status = (uint16_t)status;
    b->response.content_length = (int64_t)body;
    b->response_body = random_body(b->response_size = body);
}

static void begin(struct bench *b) {
    b->exchange = exchange_open(&b->worker, &b->front.leg, &b->origin);
    assert_non_null(b->exchange);
    exchange_on_head(&b->front.leg, &b->request, b->request_size == 0);
    if (b->request_size == 0)
        b->front.has_ended = true;
}

static void send_response_head(struct bench *b) {
    struct head *copy = &b->response;
    b->answers = true;
    exchange_on_head(&b->back.leg, copy, false);
}

static void check_bounds(const struct bench *b) {
    const struct exchange *x = b->front.leg.exchange;
    if (!x)
        return;
    assert_true(x->request.used + x->request.granted <= x->request.limit);
    assert_true(x->response.used + x->response.granted <= x->response.limit);
    assert_int_equal(x->request.used, x->request.queue.bytes);
    assert_int_equal(x->response.used, x->response.queue.bytes);
}

/* One random step; false when nothing could be done. */
static bool step(struct bench *b) {
    switch (dice(6)) {
    case 0: return loopback_push(&b->front, 1 + dice(9000));
    case 1: return b->back.leg.exchange && loopback_pull(&b->back, 1 + dice(9000));
    case 2:
        if (!b->back.leg.exchange || b->answers || b->back.head_count == 0)
            return false;
        send_response_head(b);
        return true;
    case 3: return b->answers && loopback_push(&b->back, 1 + dice(9000));
    case 4: return loopback_pull(&b->front, 1 + dice(9000));
    default: worker_end_turn(&b->worker); return false;
    }
}

/* Runs until the exchange is over. A schedule that makes no progress for long has stalled. */
static void run(struct bench *b) {
    for (unsigned idle = 0; b->front.leg.exchange && idle < 2000;) {
        idle = step(b) ? 0 : idle + 1;
        check_bounds(b);
    }
    assert_null(b->front.leg.exchange);
    worker_end_turn(&b->worker);
}

static void assert_received(const struct loopback *l, const char *body, size_t n) {
    assert_int_equal(l->received.n, n);
    assert_memory_equal(strbuf_str(&l->received).p, body, n);
}

/* ---- plain forwarding ---- */

static void bodies_arrive_whole(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_POST, dice(4) ? dice(BODY_MAX) : 0);
        make_response(&b, 200, dice(4) ? dice(BODY_MAX) : 0);
        begin(&b);
        run(&b);
        assert_true(b.front.received_end);
        assert_received(&b.front, b.response_body, b.response_size);
        if (!b.front.is_stopped && b.back.received_end)
            assert_received(&b.back, b.request_body, b.request_size);
        assert_int_equal(b.logged_status, 200);
        assert_int_equal(b.finished, 1);
        assert_int_equal(b.logged, 1);
        tear_down(&b);
    }
}

static void trailers_and_interim_heads_pass(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 5);
    b.response.content_length = -1;
    begin(&b);
    struct head early;
    head_init(&early);
    early.status = 103;
    exchange_on_head(&b.back.leg, &early, false);
    send_response_head(&b);
    struct fields trailers = {0};
    fields_add(&trailers, exchange_arena(b.exchange), STR("x-sum"), STR("1"));
    b.back.trailers = &trailers;
    run(&b);
    assert_int_equal(b.front.head_count, 2);
    assert_int_equal(b.front.heads[0]->status, 103);
    assert_ptr_equal(b.front.received_trailers, &trailers);
    tear_down(&b);
}

/* Hop-by-hop fields of an interim head, and what its Connection names, end here. */
static void interim_heads_lose_what_concerns_the_connection(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 5);
    begin(&b);
    struct arena *arena = exchange_arena(b.exchange);
    struct str named[] = {STR("x-hop")};
    struct head early;
    head_init(&early);
    early.status = 103;
    early.nominated = named;
    early.nominated_count = 1;
    fields_add(&early.fields, arena, STR("connection"), STR("x-hop"));
    fields_add(&early.fields, arena, STR("x-hop"), STR("1"));
    fields_add(&early.fields, arena, STR("link"), STR("</a>"));
    exchange_on_head(&b.back.leg, &early, false);
    const struct fields *sent = &b.front.heads[0]->fields;
    assert_int_equal(sent->count, 1);
    assert_true(str_eq(field_name(&sent->v[0]), STR("link")));
    send_response_head(&b);
    run(&b);
    tear_down(&b);
}

/* ---- who the client is ---- */

static void assert_client(const char *forwarded_for, const char *client) {
    struct bench b;
    struct arena arena = {0};
    set_up(&b);
    b.settings.trusted_hops = 1;
    b.settings.x_real_ip = true;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 0);
    fields_add(&b.request.fields, &arena, STR("x-forwarded-for"), str_of(forwarded_for));
    begin(&b);
    assert_true(str_eq(b.exchange->client, str_of(client)));
    const struct field *real = fields_find(&b.back.heads[0]->fields, FIELD_X_REAL_IP);
    assert_true(str_eq(field_value(real), str_of(client)));
    send_response_head(&b);
    run(&b);
    tear_down(&b);
    arena_finish(&arena);
}

static void only_an_address_becomes_the_client(void **state) {
    (void)state;
    assert_client("198.51.100.7", "198.51.100.7");
    assert_client("203.0.113.1, 198.51.100.7:4711", "198.51.100.7");
    assert_client("2001:db8::7", "2001:db8::7");
    assert_client("[2001:db8::7]:4711", "2001:db8::7");
    assert_client("unknown", "192.0.2.1");
    assert_client("198.51.100.7, <script>", "192.0.2.1");
    assert_client("_hidden", "192.0.2.1");
}

/* ---- filters ---- */

struct hold_state {
    struct slice *held;
};

/* Keeps one slice back until the next one, or the end, comes. */
static enum pull hold_pull(struct layer *l, size_t max, struct slice **ret, enum pull (*inner)(struct layer *, size_t, struct slice **)) {
    struct hold_state *h = l->state;
    struct slice *s = NULL;
    enum pull result = h->held && h->held->n > max ? PULL_ROOM : inner(l, max < 512 ? max : 512, &s);
    if (result == PULL_DATA) {
        struct slice_queue q = {0};
        slice_queue_push(&q, s);
        if (slice_queue_settle(&q, &exchange_worker(l->exchange)->pool) < 0)
            fail();
        s = slice_queue_pop(&q);
        struct slice *out = h->held;
        h->held = s;
        if (!out)
            return hold_pull(l, max, ret, inner);
        *ret = out;
        return PULL_DATA;
    }
    if ((result == PULL_END || result == PULL_ABORT) && h->held) {
        *ret = h->held;
        h->held = NULL;
        return PULL_DATA;
    }
    return result;
}

static enum pull hold_response(struct layer *l, size_t max, struct slice **ret) {
    return hold_pull(l, max, ret, layer_pull_response);
}

static unsigned entered, done;

static enum verdict count_request(struct layer *l, struct head *h) {
    (void)l;
    (void)h;
    entered++;
    return GO_ON;
}

static void count_done(struct layer *l) {
    struct hold_state *h = l->state;
    if (l->filter->ops->state_size)
        slice_free(&exchange_worker(l->exchange)->pool, h->held);
    done++;
}

static const struct filter_ops holder = {
    .name = "holder", .state_size = sizeof(struct hold_state), .hold_max = 512, .on_request = count_request,
    .pull_response = hold_response, .on_done = count_done,
};

static void stages_that_hold_complete(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        struct bench b;
        set_up(&b);
        add_filter(&b, &holder);
        add_filter(&b, &holder);
        entered = done = 0;
        make_request(&b, METHOD_GET, 0);
        make_response(&b, 200, dice(60000));
        begin(&b);
        for (unsigned idle = 0; b.front.leg.exchange && idle < 4000;)
            idle = (dice(3) ? step(&b) : loopback_pull(&b.front, 512 + dice(4000))) ? 0 : idle + 1;
        assert_true(b.front.received_end);
        assert_received(&b.front, b.response_body, b.response_size);
        assert_int_equal(entered, 2);
        assert_int_equal(done, 2);
        tear_down(&b);
    }
}

static struct layer *parked;

static enum verdict park(struct layer *l, struct head *h) {
    (void)h;
    parked = l;
    return WAIT;
}

static enum verdict park_and_resume(struct layer *l, struct head *h) {
    (void)h;
    exchange_resume(l->exchange, l, GO_ON);
    return WAIT;
}

static const struct filter_ops parker = {.name = "parker", .on_request = park, .on_response = park};
static const struct filter_ops hasty = {.name = "hasty", .on_request = park_and_resume, .on_response = park_and_resume};

static void parked_exchanges_go_on(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    add_filter(&b, &parker);
    add_filter(&b, &hasty);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 100);
    begin(&b);
    assert_int_equal(b.attempts, 0);
    exchange_resume(b.exchange, parked, GO_ON);
    assert_int_equal(b.attempts, 1);
    send_response_head(&b);
    assert_int_equal(b.front.head_count, 0);
    exchange_resume(b.exchange, parked, GO_ON);
    assert_int_equal(b.front.head_count, 1);
    run(&b);
    assert_received(&b.front, b.response_body, 100);
    tear_down(&b);
}

static enum verdict refuse(struct layer *l, struct head *h) {
    (void)h;
    assert_int_equal(exchange_reply(l->exchange, 403, "text/plain", "no\n", 3), 0);
    return REPLIED;
}

static const struct filter_ops refuser = {.name = "refuser", .on_request = refuse};

static unsigned responses_seen;

static enum verdict see_response(struct layer *l, struct head *h) {
    (void)l;
    (void)h;
    responses_seen++;
    return GO_ON;
}

static const struct filter_ops watcher = {.name = "watcher", .on_response = see_response};

static void a_reply_passes_only_outer_layers(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    add_filter(&b, &watcher);
    add_filter(&b, &refuser);
    add_filter(&b, &watcher);
    responses_seen = 0;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 0);
    begin(&b);
    run(&b);
    assert_int_equal(b.attempts, 0);
    assert_int_equal(responses_seen, 1);
    assert_int_equal(b.logged_status, 403);
    assert_received(&b.front, "no\n", 3);
    tear_down(&b);
}

static enum verdict replace(struct layer *l, struct head *h) {
    (void)h;
    assert_int_equal(exchange_reply(l->exchange, 451, "text/plain", "gone\n", 5), 0);
    return REPLIED;
}

static const struct filter_ops replacer = {.name = "replacer", .on_response = replace};

static void a_response_can_be_replaced(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    add_filter(&b, &watcher);
    add_filter(&b, &replacer);
    add_filter(&b, &watcher);
    responses_seen = 0;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 100);
    begin(&b);
    send_response_head(&b);
    assert_int_equal(b.back.aborted, ABORT_SHUTDOWN);
    run(&b);
    assert_int_equal(responses_seen, 2); /* the inner one saw the origin's, the outer one the new one */
    assert_int_equal(b.logged_status, 451);
    assert_received(&b.front, "gone\n", 5);
    tear_down(&b);
}

/* Takes everything in and gives a count at the end, as a compressor or a digest does. */
struct swallow_state {
    size_t swallowed;
    bool   told;
};

static enum pull swallow(struct layer *l, size_t max, struct slice **ret) {
    struct swallow_state *s = l->state;
    struct slice_pool *pool = &exchange_worker(l->exchange)->pool;
    struct slice *in;
    enum pull result = layer_pull_response(l, max, &in);
    if (result == PULL_DATA) {
        s->swallowed += in->n;
        slice_free(pool, in);
        return PULL_WAIT;
    }
    if (result != PULL_END || s->told)
        return result;
    struct slice_queue q = {0};
    char *text = arena_printf(exchange_arena(l->exchange), "%zu", s->swallowed);
    assert_int_equal(slice_queue_copy(&q, pool, text, strlen(text)), 0);
    *ret = slice_queue_pop(&q);
    s->told = true;
    return PULL_DATA;
}

static const struct filter_ops swallower = {.name = "swallower", .state_size = sizeof(struct swallow_state),
                                            .pull_response = swallow};

static void a_stage_that_takes_and_gives_nothing_gets_more(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    add_filter(&b, &swallower);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 60000);
    begin(&b);
    run(&b);
    assert_received(&b.front, "60000", 5);
    tear_down(&b);
}

/* ---- what goes wrong ---- */

static void a_reset_before_the_answer_is_retried_or_502(void **state) {
    (void)state;
    for (unsigned resets = 0; resets < 3; resets++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_GET, 0);
        make_response(&b, 200, 10);
        b.resets_left = resets;
        begin(&b);
        for (unsigned i = 0; i < 2; i++)
            if (b.back.leg.exchange)
                exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
        run(&b);
        assert_int_equal(b.logged_status, resets < 2 ? 502 : 200);
        assert_int_equal(b.attempts, resets < 2 ? resets + 1 : 3);
        tear_down(&b);
    }
}

static void a_reset_in_the_body_cuts_the_client(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 100000);
    begin(&b);
    send_response_head(&b);
    loopback_push(&b.back, 1000);
    exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
    assert_int_equal(b.front.aborted, ABORT_ORIGIN_RESET);
    assert_null(b.front.leg.exchange);
    tear_down(&b);
}

static void a_client_that_leaves_takes_everything_along(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_POST, 1 + dice(50000));
        make_response(&b, 200, dice(50000));
        begin(&b);
        for (uint32_t steps = dice(40); steps > 0 && b.front.leg.exchange; steps--)
            step(&b);
        if (b.front.leg.exchange) {
            exchange_on_abort(&b.front.leg, ABORT_CLIENT_GONE);
            assert_int_equal(b.logged_abort, ABORT_CLIENT_GONE);
        }
        assert_null(b.back.leg.exchange);
        tear_down(&b);
    }
}

static void a_body_over_the_limit_is_413(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 40000);
    b.request.content_length = -1;
    make_response(&b, 200, 0);
    begin(&b);
    ((struct route *)(uintptr_t)b.exchange->route)->body_limit = 20000;
    for (int i = 0; i < 100 && b.front.head_count == 0; i++) {
        loopback_push(&b.front, 4096);
        if (b.back.leg.exchange)
            loopback_pull(&b.back, 8192);
        worker_end_turn(&b.worker);
    }
    assert_int_equal(b.front.head_count, 1);
    assert_int_equal(b.front.heads[0]->status, 413);
    run(&b);
    tear_down(&b);
}

static void an_early_response_stops_the_request(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 100000);
    make_response(&b, 400, 10);
    begin(&b);
    loopback_push(&b.front, 5000);
    send_response_head(&b);
    while (loopback_push(&b.back, 100))
        ;
    assert_true(b.front.is_stopped);
    while (loopback_pull(&b.front, 100))
        ;
    assert_true(b.front.received_end);
    tear_down(&b);
}

static void an_expected_continue_waits_for_the_origin(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 1000);
    b.request.expect_continue = true;
    make_response(&b, 200, 10);
    begin(&b);
    assert_int_equal(exchange_credit(&b.front.leg), 0);
    struct head go;
    head_init(&go);
    go.status = 100;
    exchange_on_head(&b.back.leg, &go, false);
    assert_true(exchange_credit(&b.front.leg) > 0);
    run(&b);
    assert_received(&b.back, b.request_body, 1000);
    tear_down(&b);
}

static void deadlines_answer_504(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 10);
    begin(&b);
    b.worker.now += b.settings.timeouts.response_head + 1000000;
    for (int i = 0; i < 100 && b.front.head_count == 0; i++) {
        wheel_advance(&b.worker.wheel, b.worker.now);
        worker_end_turn(&b.worker);
    }
    assert_int_equal(b.front.heads[0]->status, 504);
    run(&b);
    tear_down(&b);
}

/* The origin reads no more of the request: its answer is awaited as if it had read all. */
static void a_stopped_request_has_a_deadline(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 50000);
    make_response(&b, 200, 10);
    begin(&b);
    loopback_push(&b.front, 5000);
    exchange_on_stop(&b.back.leg);
    assert_true(b.front.is_stopped);
    b.worker.now += b.settings.timeouts.response_head + 1000000;
    wheel_advance(&b.worker.wheel, b.worker.now);
    worker_end_turn(&b.worker);
    assert_int_equal(b.front.head_count, 1);
    assert_int_equal(b.front.heads[0]->status, 504);
    run(&b);
    tear_down(&b);
}

/* What a source still delivers in the turn in which its request was refused. */
static void a_refused_body_is_dropped(void **state) {
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_POST, 10000);
        make_response(&b, 200, 0);
        begin(&b);
        loopback_push(&b.front, 5000);
        exchange_refuse(&b.front.leg, ABORT_CLIENT_BODY_TIMEOUT, NULL);
        exchange_on_body(&b.front.leg, slice_borrow(&b.worker.pool, (const uint8_t *)b.request_body, 5000));
        assert_int_equal(b.exchange->request.bytes, 5000);
        if (ends)
            exchange_on_end(&b.front.leg, NULL);
        run(&b);
        assert_int_equal(b.logged_status, 408);
        assert_int_equal(b.logged_abort, ABORT_CLIENT_BODY_TIMEOUT);
        tear_down(&b);
    }
}

/* ---- the worker's budget ---- */

enum { SMALL_CREDIT = 16 << 10, LARGE_BUFFER = 256 << 10 };

/* Requests that wait for their origins reserve little; what the buffer allows is reserved once a body is there. */
static void a_waiting_exchange_reserves_little(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    b.settings.limits.buffer = LARGE_BUFFER;
    b.worker.buffer_limit = 2 * SMALL_CREDIT; /* enough for it to begin */
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 1000);
    begin(&b);
    assert_int_equal(b.worker.buffer_used, SMALL_CREDIT);
    assert_int_equal(exchange_credit(&b.back.leg), SMALL_CREDIT);
    b.worker.buffer_limit = LARGE_BUFFER;
    send_response_head(&b);
    assert_int_equal(exchange_credit(&b.back.leg), LARGE_BUFFER);
    assert_int_equal(b.worker.buffer_used, LARGE_BUFFER);
    run(&b);
    assert_received(&b.front, b.response_body, 1000);
    tear_down(&b);
}

/* Without room in the budget a response goes on with what it has. */
static void a_response_lives_on_little_when_the_budget_is_used_up(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    b.settings.limits.buffer = LARGE_BUFFER;
    b.worker.buffer_limit = 2 * SMALL_CREDIT;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 5 * LARGE_BUFFER);
    begin(&b);
    send_response_head(&b);
    assert_int_equal(exchange_credit(&b.back.leg), SMALL_CREDIT);
    run(&b);
    assert_received(&b.front, b.response_body, 5 * LARGE_BUFFER);
    tear_down(&b);
}

static void exchanges_have_a_budget_of_their_own(void **state) {
    (void)state;
    struct bench b;
    struct loopback other;
    set_up(&b);
    loopback_init(&other, &b.worker);
    b.worker.exchange_memory.limit = 2 * sizeof(struct exchange) - 1;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 10);
    begin(&b);
    assert_null(exchange_open(&b.worker, &other.leg, &b.origin));
    assert_null(arena_alloc(exchange_arena(b.exchange), sizeof(struct exchange)));
    b.worker.exchange_memory.limit = b.worker.exchange_memory.used; /* it ends all the same */
    send_response_head(&b);
    run(&b);
    assert_true(stats_read(&b.worker.stats->overload_total) > 0);
    loopback_finish(&other);
    tear_down(&b);
}

/* ---- no memory ---- */

static void scenario(struct bench *b) {
    struct exchange *x = exchange_open(&b->worker, &b->front.leg, &b->origin);
    if (!x)
        return;
    b->exchange = x;
    exchange_on_head(&b->front.leg, &b->request, false);
    for (unsigned idle = 0; b->front.leg.exchange && idle < 300;)
        idle = step(b) ? 0 : idle + 1;
    if (b->front.leg.exchange)
        exchange_on_abort(&b->front.leg, ABORT_CLIENT_GONE);
    worker_end_turn(&b->worker);
}

/* The slice at the head of a queue is larger than what is pulled, and cannot be cut. Nothing would wake the sink again. */
static void a_slice_that_cannot_be_cut_ends_the_exchange(void **state) {
    (void)state;
    for (int of_response = 0; of_response < 2; of_response++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_POST, of_response ? 0 : 8000);
        make_response(&b, 200, 8000);
        begin(&b);
        if (of_response)
            send_response_head(&b);
        struct loopback *source = of_response ? &b.back : &b.front, *sink = of_response ? &b.front : &b.back;
        loopback_push(source, 8000);
        while (b.worker.pool.free_slices) { /* so that one is needed from the heap */
            struct slice *s = b.worker.pool.free_slices;
            b.worker.pool.free_slices = s->next;
            b.worker.pool.kept_slices--;
            hg_free(s);
        }
        hg_alloc_fail_at(0, 1);
        assert_true(loopback_pull(sink, 100));
        hg_alloc_fail_at(-1, 0);
        assert_true(sink->received_abort);
        if (!of_response) /* as a codec does that cannot complete its message */
            exchange_on_abort(&sink->leg, ABORT_CLIENT_PROTOCOL);
        run(&b);
        assert_int_equal(b.logged_abort, ABORT_MEMORY);
        assert_int_equal(b.logged_status, of_response ? 200 : 503);
        tear_down(&b);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    uint64_t needed = 1;
    for (uint64_t i = 0; i <= needed; i++) {
        struct bench b;
        seed = 12345;
        set_up(&b);
        make_request(&b, METHOD_POST, 50000);
        make_response(&b, 200, 50000);
        uint64_t before = hg_alloc_count();
        hg_alloc_fail_at(i == 0 ? -1 : (long)i - 1, 0);
        scenario(&b);
        hg_alloc_fail_at(-1, 0);
        if (i == 0)
            needed = hg_alloc_count() - before;
        tear_down(&b);
    }
    assert_true(needed > 3);
}

int main(void) {
    seed = 88172645463325252ULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_arrive_whole),
        cmocka_unit_test(trailers_and_interim_heads_pass),
        cmocka_unit_test(interim_heads_lose_what_concerns_the_connection),
        cmocka_unit_test(only_an_address_becomes_the_client),
        cmocka_unit_test(stages_that_hold_complete),
        cmocka_unit_test(parked_exchanges_go_on),
        cmocka_unit_test(a_reply_passes_only_outer_layers),
        cmocka_unit_test(a_response_can_be_replaced),
        cmocka_unit_test(a_stage_that_takes_and_gives_nothing_gets_more),
        cmocka_unit_test(a_reset_before_the_answer_is_retried_or_502),
        cmocka_unit_test(a_reset_in_the_body_cuts_the_client),
        cmocka_unit_test(a_client_that_leaves_takes_everything_along),
        cmocka_unit_test(a_body_over_the_limit_is_413),
        cmocka_unit_test(an_early_response_stops_the_request),
        cmocka_unit_test(an_expected_continue_waits_for_the_origin),
        cmocka_unit_test(deadlines_answer_504),
        cmocka_unit_test(a_stopped_request_has_a_deadline),
        cmocka_unit_test(a_refused_body_is_dropped),
        cmocka_unit_test(a_waiting_exchange_reserves_little),
        cmocka_unit_test(a_response_lives_on_little_when_the_budget_is_used_up),
        cmocka_unit_test(exchanges_have_a_budget_of_their_own),
        cmocka_unit_test(a_slice_that_cannot_be_cut_ends_the_exchange),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
