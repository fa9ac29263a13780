/* Attempts of one exchange: nothing of one may reach into the next. The test has the clock, the client is a loopback leg,
 * and connections do what the test says. */
#include "tests/unit/dataplane/back/fake_codec.h"

#include "dataplane/back/proxy.h"
#include "dataplane/core/view.h"
#include "dataplane/net/conn.h"
#include "dataplane/snapshot/settings.h"

enum { SECOND = 1000000, PER_TRY = 1 * SECOND, RETRIES = 3 };

static struct definition origins;
static struct settings settings;
static struct listener_definition listener;
static struct bound_table routes;
static struct snapshot_view view;
static struct loopback front;
static struct exchange *exchange;
static struct head question, answers[8];
static unsigned answer_count;
static unsigned logged_status, logged_attempts;

/* ---- set-up ---- */

static void log_exchange(struct exchange *x) {
    logged_status = x->status;
    logged_attempts = x->attempts;
}

static void ignore_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
}

static void fill_rule(Headgate__Rule *rule) {
    static Headgate__WeightedCluster cluster = HEADGATE__WEIGHTED_CLUSTER__INIT, *clusters[] = {&cluster};
    static Headgate__Forward forward = HEADGATE__FORWARD__INIT;
    static Headgate__Retry retry = HEADGATE__RETRY__INIT;
    static Headgate__Retry__On on[] = {HEADGATE__RETRY__ON__CONNECT_FAILURE, HEADGATE__RETRY__ON__RESET,
                                       HEADGATE__RETRY__ON__STATUS_503};
    cluster.name = "c";
    forward.clusters = clusters, forward.n_clusters = 1;
    retry.has_retries = retry.has_per_try_timeout = true;
    retry.retries = RETRIES, retry.per_try_timeout = PER_TRY;
    retry.backoff = 0;
    retry.on = on, retry.n_on = sizeof on / sizeof *on;
    rule->action_case = HEADGATE__RULE__ACTION_FORWARD, rule->forward = &forward;
    rule->retry = &retry;
}

static const struct route_table *make_table(void) {
    static char *any[] = {"*"};
    static Headgate__Rule rule = HEADGATE__RULE__INIT, *rules[] = {&rule};
    static Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    static Headgate__RouteTable message = HEADGATE__ROUTE_TABLE__INIT;
    struct error_list errors = {0};
    fill_rule(&rule);
    host.domains = any, host.n_domains = 1, host.rules = rules, host.n_rules = 1;
    message.hosts = hosts, message.n_hosts = 1;
    struct route_table *built = route_table_build(&message, "test", NULL, &errors);
    error_list_finish(&errors);
    return built;
}

static int set_up(void **state) {
    static const struct exchange_hooks hooks = {.terminal = &proxy_terminal, .log = log_exchange};
    static const struct cluster_definition *bound[] = {&origins.cluster};
    static struct arena arena;
    if (back_set_up(state) < 0 || settings_fill(&settings, NULL, &arena) < 0)
        return -1;
    exchange_set_hooks(&hooks);
    proxy_init();
    define(&origins, 2, (const uint32_t[]){1, 1});
    origins.cluster.connection_lifetime = 0;
    complete(&origins);
    view = (struct snapshot_view){.references = 1, .quiet = ignore_quiet};
    worker.view = &view;
    worker.route_scratch = route_scratch_create();
    routes = (struct bound_table){.table = make_table(), .clusters = bound};
    listener = (struct listener_definition){.name = STR("web"), .settings = &settings, .timeouts = settings.timeouts,
                                            .routes = &routes};
    loopback_init(&front, &worker);
    answer_count = logged_status = logged_attempts = 0;
    return worker.route_scratch && routes.table ? 0 : -1;
}

static int tear_down(void **state) {
    if (front.leg.exchange)
        exchange_on_abort(&front.leg, ABORT_CLIENT_GONE);
    worker_end_turn(&worker);
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
    assert_int_equal(worker.buffer_used, 0);
    loopback_finish(&front);
    exchange_free_cache(&worker);
    route_table_free((struct route_table *)(uintptr_t)routes.table);
    route_scratch_destroy(worker.route_scratch);
    return back_tear_down(state);
}

/* ---- what happens ---- */

/* `forwarded_for`: what another proxy says; NULL: nothing. */
static void ask_with(const char *forwarded_for) {
    static const struct exchange_origin from = {.listener = &listener, .peer = STR("192.0.2.1"), .version = 11};
    head_init(&question);
    question.method = METHOD_GET;
    question.method_text = method_name(METHOD_GET);
    question.host = question.authority = STR("example.com");
    question.target = question.path = STR("/");
    exchange = exchange_open(&worker, &front.leg, &from);
    assert_non_null(exchange);
    front.has_ended = true;
    if (forwarded_for)
        assert_int_equal(fields_add_id(&question.fields, exchange_arena(exchange), FIELD_X_FORWARDED_FOR,
                                       str_of(forwarded_for)), 0);
    exchange_on_head(&front.leg, &question, true);
}

static void ask(void) {
    ask_with(NULL);
}

static void pass(uint64_t microseconds) {
    worker.now += microseconds;
    wheel_advance(&worker.wheel, worker.now);
    worker_end_turn(&worker);
}

/* The connection that was begun last. */
static struct fake_connection *newest(unsigned count) {
    assert_int_equal(connection_count, count);
    return &connections[count - 1];
}

/* A response without a body. */
static void answer(struct fake_connection *c, unsigned status) {
    struct head *head = &answers[answer_count++];
    head_init(head);
    head->status = (uint16_t)status;
    head->content_length = 0;
    assert_ptr_equal(c->stream.leg.exchange, exchange);
    exchange_on_head(&c->stream.leg, head, true);
    if (c->stream.leg.exchange)
        exchange_on_end(&c->stream.leg, NULL);
    worker_end_turn(&worker);
}

static void assert_answered(unsigned status, unsigned attempts) {
    for (int i = 0; i < 20 && !front.received_end; i++) {
        loopback_pull(&front, 1000);
        worker_end_turn(&worker);
    }
    assert_true(front.received_end);
    assert_int_equal(front.head_count, 1);
    assert_int_equal(logged_status, status);
    assert_int_equal(logged_attempts, attempts);
}

/* The first attempt has been refused shortly before its deadline, and the second one connects. */
static struct fake_connection *refuse_late(void) {
    ask();
    struct fake_connection *first = newest(1);
    report_connected(&first->link);
    pass(PER_TRY * 9 / 10);
    answer(first, 503);
    return newest(2);
}

/* ---- tests ---- */

static void the_deadline_of_an_attempt_ends_with_it(void **state) {
    (void)state;
    struct fake_connection *second = refuse_late();
    pass(PER_TRY / 2); /* the deadline of the first one is over */
    assert_int_equal(exchange->attempts, 2);
    assert_int_equal(connection_count, 2);
    report_connected(&second->link);
    answer(second, 200);
    assert_answered(200, 2);
}

static void connecting_counts_for_the_deadline_of_an_attempt(void **state) {
    (void)state;
    struct fake_connection *second = refuse_late();
    pass(PER_TRY + SECOND / 10);
    struct fake_connection *third = newest(3);
    assert_true(is_open(&second->link));
    report_connected(&third->link);
    answer(third, 200);
    assert_answered(200, 3);
}

/* It goes to the pool: the exchange speaks to another one already. */
static void a_connection_that_comes_after_its_attempt_is_kept_for_others(void **state) {
    (void)state;
    struct fake_connection *second = refuse_late();
    pass(PER_TRY + SECOND / 10);
    struct fake_connection *third = newest(3);
    report_connected(&third->link);
    report_connected(&second->link);
    assert_null(second->stream.leg.exchange);
    assert_true(second->is_resting);
    assert_ptr_equal(third->stream.leg.exchange, exchange);
    answer(third, 200);
    assert_answered(200, 3);
}

static void a_connect_that_fails_after_its_attempt_is_no_failure(void **state) {
    (void)state;
    struct fake_connection *second = refuse_late();
    pass(PER_TRY + SECOND / 10);
    struct fake_connection *third = newest(3);
    second->is_open = false;
    second->link.owner->on_connect_failed(&second->link, ECONNREFUSED);
    assert_int_equal(connection_count, 3);
    report_connected(&third->link);
    answer(third, 200);
    assert_answered(200, 3);
}

/* The last attempt connects, and its deadline has passed: the client has an answer coming that is not the origin's. */
static struct fake_connection *run_out_of_attempts(void) {
    ask();
    for (unsigned i = 0; i <= RETRIES; i++)
        pass(PER_TRY + SECOND / 10);
    assert_non_null(front.leg.exchange);
    assert_int_equal(exchange->abort, ABORT_ORIGIN_TIMEOUT);
    return newest(RETRIES + 1);
}

static void a_connection_for_an_exchange_that_was_answered_is_kept_for_others(void **state) {
    (void)state;
    struct fake_connection *last = run_out_of_attempts();
    report_connected(&last->link);
    assert_null(last->stream.leg.exchange);
    assert_true(last->is_resting);
    assert_answered(504, RETRIES + 1);
}

static void a_connect_that_fails_for_an_exchange_that_was_answered_is_no_failure(void **state) {
    (void)state;
    struct fake_connection *last = run_out_of_attempts();
    last->is_open = false;
    last->link.owner->on_connect_failed(&last->link, ECONNREFUSED);
    assert_answered(504, RETRIES + 1);
    assert_int_equal(front.aborted, ABORT_NONE);
}

/* ---- refused by the origin (RFC 9113 section 8.7) */

/* The attempt ends before anything was looked at; the connection lives on. */
static void refuse(struct fake_connection *c) {
    exchange_on_abort(&c->stream.leg, ABORT_ORIGIN_REFUSED);
    c->link.owner->on_available(&c->link);
    worker_end_turn(&worker);
}

static void a_refused_request_goes_elsewhere_whatever_its_method(void **state) {
    (void)state;
    ask();
    question.method = METHOD_POST;
    struct fake_connection *first = newest(1);
    report_connected(&first->link);
    refuse(first);
    struct fake_connection *second = newest(2);
    assert_int_not_equal(port_of(first->link.endpoint), port_of(second->link.endpoint));
    report_connected(&second->link);
    answer(second, 200);
    assert_answered(200, 2);
}

static void refusals_do_not_use_up_retries_and_have_an_end(void **state) {
    (void)state;
    enum { ATTEMPTS = 4 };
    ask();
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        struct fake_connection *c = NULL;
        for (unsigned j = 0; j < connection_count; j++) {
            if (is_open(&connections[j].link) && !connections[j].link.is_connected)
                report_connected(&connections[j].link);
            if (connections[j].stream.leg.exchange)
                c = &connections[j];
        }
        assert_non_null(c);
        assert_int_equal(exchange->attempts, i + 1);
        refuse(c);
    }
    assert_int_equal(exchange->abort, ABORT_ORIGIN_REFUSED);
    assert_answered(503, ATTEMPTS);
    assert_int_equal(stats_read(&worker.stats->retries_total), ATTEMPTS - 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* ---- the PROXY header */

static bool fixed_ends(const struct leg *leg, struct conn_ends *ret) {
    (void)leg;
    *ret = (struct conn_ends){0};
    assert_int_equal(address_parse(STR("192.0.2.1:4096"), &ret->remote), 0);
    assert_int_equal(address_parse(STR("198.51.100.2:443"), &ret->local), 0);
    return true;
}

static void check_header(const char *expected) {
    struct fake_connection *c = newest(connection_count);
    assert_string_equal(c->preamble, expected);
    report_connected(&c->link);
    answer(c, 200);
    c->link.owner->on_available(&c->link);
    assert_answered(200, 1);
    assert_false(c->is_open);
}

static void each_exchange_has_a_connection_that_names_its_client(void **state) {
    (void)state;
    struct leg_ops ops = *front.leg.ops;
    origins.cluster.options.proxy_version = 1;
    ops.get_ends = fixed_ends;
    for (unsigned i = 1; i <= 2; i++) {
        loopback_finish(&front);
        loopback_init(&front, &worker);
        front.leg.ops = &ops;
        ask();
        assert_int_equal(connection_count, i);
        check_header("PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\r\n");
    }
}

static void client_that_another_proxy_names_has_no_port(void **state) {
    (void)state;
    struct leg_ops ops = *front.leg.ops;
    origins.cluster.options.proxy_version = 1;
    ops.get_ends = fixed_ends;
    front.leg.ops = &ops;
    settings.trusted_hops = 1;
    ask_with("2001:db8::7");
    check_header("PROXY TCP6 2001:db8::7 ::ffff:198.51.100.2 0 443\r\n");
}

static void client_that_is_not_known_is_not_named(void **state) {
    (void)state;
    origins.cluster.options.proxy_version = 1;
    ask();
    check_header("PROXY UNKNOWN\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_deadline_of_an_attempt_ends_with_it),
        TEST(connecting_counts_for_the_deadline_of_an_attempt),
        TEST(a_connection_that_comes_after_its_attempt_is_kept_for_others),
        TEST(a_connect_that_fails_after_its_attempt_is_no_failure),
        TEST(a_connection_for_an_exchange_that_was_answered_is_kept_for_others),
        TEST(a_connect_that_fails_for_an_exchange_that_was_answered_is_no_failure),
        TEST(a_refused_request_goes_elsewhere_whatever_its_method),
        TEST(refusals_do_not_use_up_retries_and_have_an_end),
        TEST(each_exchange_has_a_connection_that_names_its_client),
        TEST(client_that_another_proxy_names_has_no_port),
        TEST(client_that_is_not_known_is_not_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
