/* A prefix that is followed: list, watch, and what is asked next when one of them breaks. */
#include "controlplane/etcd/follower.c" /* so that time passes when a test wants it to */

#include "tests/unit/controlplane/etcd/scripted_rpc.h"
#include "tests/unit/controlplane/etcd/told_ops.h"

static struct rpc_loop loop;
static struct etcd *e;
static struct etcd_follower *f;

static bool on_set(void *context, struct str key, struct str value, int64_t modified) {
    (void)context;
    (void)modified;
    tell("+%.*s=%.*s ", STR_FMT(key), STR_FMT(value));
    return true;
}

static void on_failed(void *context, const char *reason) {
    (void)context;
    tell("failed:%s ", reason);
}

static const struct etcd_mirror_ops ops = {.list = on_list, .set = on_set, .removed = on_removed, .settled = on_settled,
                                           .watching = on_watching, .failed = on_failed};

static int set_up(void **state) {
    struct error_list errors = {0};
    const struct etcd_options o = {.address = "etcd://a:1,b:2/p"};
    (void)state;
    told[0] = '\0';
    loop.ev = ev_loop_new(EVFLAG_AUTO);
    e = etcd_create(&loop, &o, &errors);
    f = e ? etcd_follow(e, "config/", &ops, NULL) : NULL;
    return f ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    etcd_unfollow(f);
    etcd_destroy(e);
    ev_loop_destroy(loop.ev);
    forget_calls();
    return 0;
}

/* Until one call more was made. */
static struct rpc_stream *next_call(void) {
    for (size_t before = call_count; call_count == before;)
        ev_run(loop.ev, EVRUN_ONCE);
    return newest();
}

static const char *const pairs[] = {"/p/config/a", "1", "/p/config/b", "2"};

/* The list is known, and the watch stands. */
static struct rpc_stream *begin_watch(void) {
    struct rpc_stream *range = next_call();
    assert_true(is_asked(range, "Range", "a:1"));
    replies_list(range, 10, pairs, 2);
    struct rpc_stream *watch = newest();
    assert_true(is_asked(watch, "Watch", "a:1") && watch->is_reading && watch->has_leader);
    says_created(watch);
    assert_told("list +a=1 +b=2 settled watching ");
    return watch;
}

/* The revision from which changes are wanted. */
static int64_t begins_at(const struct rpc_stream *watch) {
    Etcdserverpb__WatchRequest *request =
        (Etcdserverpb__WatchRequest *)request_of(watch, &etcdserverpb__watch_request__descriptor);
    int64_t revision = request->create_request->start_revision;
    protobuf_c_message_free_unpacked(&request->base, NULL);
    return revision;
}

static void what_changes_is_told(void **state) {
    (void)state;
    struct rpc_stream *watch = begin_watch();
    assert_int_equal(begins_at(watch), 11);
    says_event(watch, 11, "/p/config/a", "3");
    assert_true(watch->is_reading);
    says_event(watch, 12, "/p/config/b", NULL);
    assert_told("+a=3 settled -b settled ");
    struct etcd_follower_counters c = etcd_follower_counters(f);
    assert_true(c.lists == 1 && c.watches == 1 && c.events == 2 && c.failures == 0 && c.revision == 12);
}

/* Nothing is lost in between: a range says where the store is, and the watch goes on behind what was known. */
static void a_watch_that_breaks_goes_on(void **state) {
    (void)state;
    struct rpc_stream *watch = begin_watch();
    says_event(watch, 11, "/p/config/a", "3");
    ends(watch, GRPC_STATUS_UNAVAILABLE, "gone");
    assert_told("+a=3 settled failed:UNAVAILABLE: gone ");
    struct rpc_stream *check = next_call();
    assert_true(is_asked(check, "Range", "b:2"));
    replies_list(check, 14, NULL, 0);
    watch = newest();
    assert_true(is_asked(watch, "Watch", "b:2"));
    assert_int_equal(begins_at(watch), 12);
    says_created(watch);
    says_event(watch, 13, "/p/config/c", "4");
    assert_told("watching +c=4 settled ");
}

/* Others' keys have changed: no event, only how far etcd is. */
static void a_watch_goes_on_behind_a_progress_notification(void **state) {
    (void)state;
    struct rpc_stream *watch = begin_watch();
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__WatchResponse progress = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    header.revision = 500;
    progress.header = &header;
    says(watch, &progress.base);
    assert_int_equal(etcd_follower_counters(f).revision, 500);
    ends(watch, GRPC_STATUS_UNAVAILABLE, "gone");
    replies_list(next_call(), 500, NULL, 0);
    assert_int_equal(begins_at(newest()), 501);
    assert_int_equal(etcd_follower_counters(f).lists, 1);
    assert_told("failed:UNAVAILABLE: gone ");
}

static void says_compacted(struct rpc_stream *watch) {
    Etcdserverpb__WatchResponse reply = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    reply.canceled = true;
    reply.compact_revision = 20;
    says(watch, &reply.base);
}

static void what_was_compacted_is_listed(void **state) {
    (void)state;
    struct rpc_stream *watch = begin_watch();
    says_compacted(watch);
    assert_true(watch->is_abandoned);
    assert_told(""); /* no failure */
    assert_int_equal(etcd_follower_counters(f).revision, 0);
    struct rpc_stream *range = next_call();
    assert_true(is_asked(range, "Range", "a:1"));
    replies_list(range, 30, pairs, 1);
    says_created(newest());
    assert_told("list +a=1 settled watching ");
    assert_int_equal(etcd_follower_counters(f).lists, 2);
}

/* A server for which everything is compacted at once: between two lists is a wait that grows. */
static void a_server_that_always_says_compacted_is_waited_for(void **state) {
    (void)state;
    struct rpc_stream *watch = begin_watch();
    ev_tstamp began = ev_time();
    for (unsigned i = 0; i < 4; i++) {
        says_compacted(watch);
        replies_list(next_call(), 30, pairs, 1);
        watch = newest();
        says_created(watch);
    }
    assert_true(ev_time() - began > 0.3); /* at least 0, 0.05, 0.1, 0.2 s but for the age of the loop's time */
    assert_int_equal(etcd_follower_counters(f).failures, 0);
}

static void what_cannot_be_read_ends_the_watch(void **state) {
    (void)state;
    struct rpc_stream *watch = begin_watch();
    says_bytes(watch, STR("\xff\xff\xff"));
    assert_true(watch->is_abandoned);
    assert_told("failed:an answer of etcd that cannot be read ");
    assert_true(is_asked(next_call(), "Range", "a:1"));
}

/* Nothing is asked again at once. */
static void failures_are_waited_for(void **state) {
    (void)state;
    next_call();
    for (unsigned i = 0; i < 4; i++) {
        size_t before = call_count;
        ends(newest(), GRPC_STATUS_PERMISSION_DENIED, "no");
        assert_told("failed:PERMISSION_DENIED: no ");
        assert_int_equal(call_count, before);
        assert_true(is_asked(next_call(), "Range", "a:1"));
    }
    assert_int_equal(etcd_follower_counters(f).failures, 4);
    replies_list(newest(), 10, pairs, 1);
    says_created(newest());
    assert_told("list +a=1 settled watching ");
}

static void a_call_that_cannot_be_made_is_tried_again(void **state) {
    (void)state;
    struct rpc_stream *range = next_call();
    refuses_calls = true;
    replies_list(range, 10, pairs, 1);
    assert_told("list +a=1 settled failed:no PEM certificate ");
    refuses_calls = false;
    assert_true(is_asked(next_call(), "Watch", "a:1"));
    says_created(newest());
    assert_told("watching ");
}

/* The member took the call and says nothing: the next one is asked. */
static void a_watch_that_is_not_confirmed_is_given_up(void **state) {
    (void)state;
    replies_list(next_call(), 10, pairs, 1);
    struct rpc_stream *watch = newest();
    assert_true(is_asked(watch, "Watch", "a:1"));
    assert_told("list +a=1 settled ");
    assert_true(ev_is_active(&f->again) && ev_timer_remaining(loop.ev, &f->again) > 9.);
    ev_invoke(loop.ev, &f->again, EV_TIMER);
    assert_true(watch->is_abandoned);
    assert_told("failed:DEADLINE_EXCEEDED: the watch is not confirmed ");
    struct rpc_stream *check = next_call();
    assert_true(is_asked(check, "Range", "b:2"));
    replies_list(check, 10, NULL, 0);
    watch = newest();
    assert_true(is_asked(watch, "Watch", "b:2"));
    says_created(watch);
    assert_told("watching ");
    assert_false(ev_is_active(&f->again)); /* one that stands may be silent for as long as nothing changes */
}

static void one_that_goes_asks_no_more(void **state) {
    (void)state;
    struct rpc_stream *watch = begin_watch();
    etcd_unfollow(f);
    f = NULL;
    assert_true(watch->is_abandoned);
    ev_run(loop.ev, EVRUN_NOWAIT);
    assert_told("");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_changes_is_told),
        TEST(a_watch_that_breaks_goes_on),
        TEST(a_watch_goes_on_behind_a_progress_notification),
        TEST(what_was_compacted_is_listed),
        TEST(a_server_that_always_says_compacted_is_waited_for),
        TEST(what_cannot_be_read_ends_the_watch),
        TEST(failures_are_waited_for),
        TEST(a_call_that_cannot_be_made_is_tried_again),
        TEST(a_watch_that_is_not_confirmed_is_given_up),
        TEST(one_that_goes_asks_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
