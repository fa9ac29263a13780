/* The configuration of etcd as a layer: what is handed on, what is told instead, and when it is tried again. */
#include "tests/unit/controlplane/etcd/scripted_rpc.h"

#include "common/log.h"
#include "controlplane/etcd/layer.c" /* to be full without 128 MiB, and to look again without a wait */

typedef void done_function(void *context, const Headgate__PushReply *reply);

struct sink {
    unsigned       asked;
    size_t         resources;           /* of what was handed on last */
    bool           is_short_of_memory;
    done_function *done;                /* NULL: it has been answered */
    void          *context;
};

static struct rpc_loop loop;
static struct etcd *e;
static struct etcd_layer *l;
static struct sink sink;

static int set_layer(void *context, struct config_resources *set, done_function *done, void *done_context) {
    struct sink *s = context;
    if (s->is_short_of_memory)
        return -1;
    s->asked++;
    s->resources = set->count;
    s->done = done;
    s->context = done_context;
    config_resources_finish(set);
    *set = (struct config_resources){0};
    return 0;
}

static void sink_answers(Headgate__PushReply__Outcome outcome, Headgate__Problem *problem) {
    Headgate__PushReply reply = HEADGATE__PUSH_REPLY__INIT;
    Headgate__Problem *problems[] = {problem};
    done_function *done = sink.done;
    reply.has_outcome = true;
    reply.outcome = outcome;
    reply.problems = problems;
    reply.n_problems = problem != NULL;
    assert_non_null(done);
    sink.done = NULL;
    done(sink.context, &reply);
}

static void sink_accepts(void) {
    sink_answers(HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED, NULL);
}

static struct etcd_layer_status status(void) {
    struct etcd_layer_status s;
    etcd_layer_status(l, &s);
    return s;
}

static struct rpc_stream *next_call(void) {
    for (size_t before = call_count; call_count == before;)
        ev_run(loop.ev, EVRUN_ONCE);
    return newest();
}

static int set_up(void **state) {
    struct error_list errors = {0};
    const struct etcd_options o = {.address = "etcd://a:1/p"};
    (void)state;
    sink = (struct sink){0};
    loop.ev = ev_loop_new(EVFLAG_AUTO);
    e = etcd_create(&loop, &o, &errors);
    l = e ? etcd_layer_create(e, &(const struct etcd_layer_sink){.set = set_layer, .context = &sink}) : NULL;
    return l ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    etcd_layer_destroy(l);
    etcd_destroy(e);
    ev_loop_destroy(loop.ev);
    forget_calls();
    return 0;
}

#define GENERATION(g) "/p/config/generations/" g "/cluster/web/0000"
#define WEB(port) "{\"name\": \"web\", \"endpoints\": [\"127.0.0.1:" port "\"]}"
#define CURRENT "/p/config/current"
#define POINTER(version, g) "{\"format\": 1, \"version\": " version ", \"generation\": \"" g "\", \"values\": 1}"

static const char *const one_cluster[] = {CURRENT, POINTER("3", "g"), GENERATION("g"), WEB("80")};

/* The watch that stands behind the list. */
static struct rpc_stream *list(const char *const *pairs, size_t count) {
    assert_int_equal(status().state, ETCD_LAYER_CONNECTING);
    replies_list(next_call(), 10, pairs, count);
    says_created(newest());
    return newest();
}

static void what_is_pushed_is_handed_on(void **state) {
    (void)state;
    struct rpc_stream *watch = list(one_cluster, 2);
    assert_true(status().state == ETCD_LAYER_APPLYING && sink.asked == 1 && sink.resources == 2 && status().version == 0);
    sink_accepts();
    assert_true(status().state == ETCD_LAYER_IN_USE && status().version == 3 && status().pushed.version == 3);
    says_event(watch, 11, GENERATION("other"), "does not count");
    assert_int_equal(sink.asked, 1);
    says_event(watch, 12, GENERATION("g"), WEB("81"));
    assert_int_equal(sink.asked, 2);
    sink_accepts();
    assert_int_equal(status().state, ETCD_LAYER_IN_USE);
}

/* What comes while the sink is asked is looked at once, afterwards. */
static void changes_gather_while_it_is_asked(void **state) {
    (void)state;
    struct rpc_stream *watch = list(one_cluster, 2);
    says_event(watch, 11, GENERATION("h"), WEB("81"));
    says_event(watch, 12, CURRENT, POINTER("4", "h"));
    says_event(watch, 13, CURRENT, POINTER("5", "h"));
    assert_int_equal(sink.asked, 1);
    sink_accepts();
    assert_true(sink.asked == 2 && status().version == 3 && status().state == ETCD_LAYER_APPLYING);
    sink_accepts();
    assert_true(sink.asked == 2 && status().version == 5 && status().state == ETCD_LAYER_IN_USE);
}

static void what_is_wrong_is_told_and_changes_nothing(void **state) {
    (void)state;
    struct rpc_stream *watch = list(one_cluster, 2);
    sink_accepts();
    says_event(watch, 11, GENERATION("g"), "{\"name\": \"web\", \"endpoint\": []}");
    assert_true(status().state == ETCD_LAYER_INVALID && sink.asked == 1 && status().version == 3);
    assert_string_equal(status().errors->items[0].file, "config/generations/g/cluster/web");
    says_event(watch, 12, CURRENT, POINTER("4", "nothing"));
    assert_int_equal(status().state, ETCD_LAYER_INVALID);
    says_event(watch, 13, CURRENT, NULL);
    assert_true(status().state == ETCD_LAYER_EMPTY && status().errors->count == 1 && sink.asked == 1);
    says_event(watch, 14, GENERATION("g"), WEB("82"));
    says_event(watch, 15, CURRENT, POINTER("6", "g"));
    sink_accepts();
    assert_true(status().state == ETCD_LAYER_IN_USE && status().version == 6 && status().errors->count == 0);
}

static void an_etcd_without_a_configuration_is_no_fault(void **state) {
    (void)state;
    list(NULL, 0);
    assert_true(status().state == ETCD_LAYER_EMPTY && status().errors->count == 0 && sink.asked == 0);
}

/* A second later at first. */
static void a_refusal_is_told_by_key_and_tried_again(void **state) {
    (void)state;
    Headgate__Problem problem = HEADGATE__PROBLEM__INIT;
    problem.message = (char *)(uintptr_t)"there is no such file";
    problem.resource = (char *)(uintptr_t)"cluster/web";
    problem.path = (char *)(uintptr_t)"tls.ca";
    list(one_cluster, 2);
    sink_answers(HEADGATE__PUSH_REPLY__OUTCOME__REFUSED, &problem);
    assert_true(status().state == ETCD_LAYER_REFUSED && status().version == 0);
    const struct error *told = &status().errors->items[0];
    assert_string_equal(told->file, "config/generations/g/cluster/web");
    assert_string_equal(told->path, "tls.ca");
    while (sink.asked == 1)
        ev_run(loop.ev, EVRUN_ONCE);
    sink_accepts();
    assert_true(sink.asked == 2 && status().state == ETCD_LAYER_IN_USE && status().errors->count == 0);
}

static void what_the_sink_cannot_take_is_tried_again(void **state) {
    (void)state;
    sink.is_short_of_memory = true;
    list(one_cluster, 2);
    assert_true(status().state == ETCD_LAYER_REFUSED && status().errors->count == 1);
    sink.is_short_of_memory = false;
    while (sink.asked == 0)
        ev_run(loop.ev, EVRUN_ONCE);
    sink_accepts();
    assert_int_equal(status().state, ETCD_LAYER_IN_USE);
}

static void feed(const char *key, const char *value) {
    struct str k = str_of(key), prefix = STR("/p/" ETCD_CONFIG);
    assert_true(on_set(l, (struct str){k.p + prefix.n, k.n - prefix.n}, str_of(value), 10));
}

/* Whether the sink was asked although the nth allocation of the first look failed. When there is memory again it is asked in
 * any case, without news of etcd. */
static bool asks_without_memory(long nth, int and_all_later) {
    assert_int_equal(set_up(NULL), 0);
    on_list(l);
    feed(one_cluster[0], one_cluster[1]);
    feed(one_cluster[2], one_cluster[3]);
    hg_alloc_fail_at(nth, and_all_later);
    on_settled(l);
    hg_alloc_fail_at(-1, 0);
    bool has_asked = sink.asked > 0;
    if (!has_asked) {
        assert_true(ev_is_active(&l->again));
        ev_invoke(loop.ev, &l->again, EV_TIMER);
    }
    assert_int_equal(sink.asked, 1);
    sink_accepts();
    assert_true(status().state == ETCD_LAYER_IN_USE && status().version == 3 && !ev_is_active(&l->again));
    tear_down(NULL);
    return has_asked;
}

static void a_moment_without_memory_is_no_fault_of_the_configuration(void **state) {
    long count = 0;
    (void)state;
    while (!asks_without_memory(count, 1))
        count++;
    for (long nth = 0; nth < count; nth++)
        asks_without_memory(nth, 0);
}

/* Only what is wrong with it is told then: it is not read again and again. */
static void what_is_wrong_waits_for_news(void **state) {
    (void)state;
    struct rpc_stream *watch = list(one_cluster, 2);
    sink_accepts();
    says_event(watch, 11, GENERATION("g"), "{}");
    assert_true(status().state == ETCD_LAYER_INVALID && !ev_is_active(&l->again));
}

/* What is left out is not kept: when there is room, etcd has to say it again. */
static void a_configuration_that_was_left_out_comes_when_there_is_room(void **state) {
    (void)state;
    struct rpc_stream *watch = list(one_cluster, 2);
    static const char *const then[] = {CURRENT, POINTER("4", "h"), GENERATION("h"), WEB("81")};
    sink_accepts();
    size_t others = ETCD_INTENT_MAX - l->intent.bytes;
    l->intent.bytes += others;
    says_event(watch, 11, GENERATION("h"), WEB("81"));
    says_event(watch, 12, CURRENT, POINTER("4", "h"));
    assert_true(status().state == ETCD_LAYER_INVALID && sink.asked == 1 && !watch->is_abandoned);
    l->intent.bytes -= others;
    says_event(watch, 13, GENERATION("g"), NULL);
    assert_true(watch->is_abandoned);
    replies_list(next_call(), 13, then, 2);
    assert_int_equal(sink.asked, 2);
    sink_accepts();
    assert_true(status().state == ETCD_LAYER_IN_USE && status().version == 4 && status().errors->count == 0);
}

static void why_etcd_is_not_followed_is_told(void **state) {
    (void)state;
    struct rpc_stream *watch = list(one_cluster, 2);
    sink_accepts();
    ends(watch, GRPC_STATUS_PERMISSION_DENIED, "no");
    assert_string_equal(status().failure, "PERMISSION_DENIED: no");
    assert_int_equal(status().state, ETCD_LAYER_IN_USE);
    replies_list(next_call(), 10, NULL, 0);
    says_created(newest());
    assert_string_equal(status().failure, "");
    assert_int_equal(sink.asked, 1);
}

/* The sink may answer when nothing is followed any more. */
static void the_end_may_come_before_the_answer(void **state) {
    (void)state;
    struct rpc_stream *watch = list(one_cluster, 2);
    says_event(watch, 11, CURRENT, POINTER("4", "g"));
    etcd_layer_stop(l);
    sink_accepts();
    assert_int_equal(sink.asked, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_pushed_is_handed_on),
        TEST(changes_gather_while_it_is_asked),
        TEST(what_is_wrong_is_told_and_changes_nothing),
        TEST(an_etcd_without_a_configuration_is_no_fault),
        TEST(a_refusal_is_told_by_key_and_tried_again),
        TEST(what_the_sink_cannot_take_is_tried_again),
        cmocka_unit_test(a_moment_without_memory_is_no_fault_of_the_configuration),
        TEST(what_is_wrong_waits_for_news),
        TEST(a_configuration_that_was_left_out_comes_when_there_is_room),
        TEST(why_etcd_is_not_followed_is_told),
        TEST(the_end_may_come_before_the_answer),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
