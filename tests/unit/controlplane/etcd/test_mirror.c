/* What is asked of etcd, and what becomes of each answer. */
#include "tests/unit/controlplane/etcd/told_ops.h"

#include "common/alloc.h"

enum { CLUSTER = 77 };

static bool has_memory, is_due_now;

static bool on_set(void *context, struct str key, struct str value, int64_t modified) {
    (void)context;
    tell("+%.*s=%.*s@%lld ", STR_FMT(key), STR_FMT(value), (long long)modified);
    return has_memory;
}

static bool is_list_due(void *context) {
    (void)context;
    return is_due_now;
}

static const struct etcd_mirror_ops ops = {.list = on_list, .set = on_set, .removed = on_removed, .settled = on_settled,
                                           .watching = on_watching, .is_list_due = is_list_due};

static int setup(void **state) {
    static struct etcd_mirror m;
    told[0] = '\0';
    has_memory = true;
    is_due_now = false;
    *state = &m;
    return etcd_mirror_init(&m, "/p/config/", &ops, NULL);
}

static int teardown(void **state) {
    etcd_mirror_finish(*state);
    return 0;
}

/* ---- answers ---- */

static Mvccpb__KeyValue kv_of(const char *key, const char *value, int64_t modified) {
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)key, .len = strlen(key)};
    kv.value = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)value, .len = strlen(value)};
    kv.mod_revision = modified;
    return kv;
}

/* A page with one key; NULL: none. */
static const char *page(struct etcd_mirror *m, int64_t revision, const char *key, bool more) {
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__RangeResponse reply = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Mvccpb__KeyValue kv = kv_of(key ? key : "", "v", revision - 1), *kvs[] = {&kv};
    header.revision = revision;
    header.cluster_id = CLUSTER;
    reply.header = &header;
    reply.kvs = kvs;
    reply.n_kvs = key != NULL;
    reply.more = more;
    return etcd_mirror_take_range(m, &reply);
}

struct event {
    const char *put, *removed;
    int64_t     revision;
};

static const char *events(struct etcd_mirror *m, const struct event *list, size_t count, bool is_fragment) {
    Etcdserverpb__WatchResponse reply = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    Mvccpb__KeyValue kvs[4];
    Mvccpb__Event items[4], *pointers[4];
    bool is_due;
    for (size_t i = 0; i < count; i++) {
        kvs[i] = kv_of(list[i].put ? list[i].put : list[i].removed, list[i].put ? "w" : "", list[i].revision);
        mvccpb__event__init(&items[i]);
        items[i].type = list[i].put ? MVCCPB__EVENT__EVENT_TYPE__PUT : MVCCPB__EVENT__EVENT_TYPE__DELETE;
        items[i].kv = &kvs[i];
        pointers[i] = &items[i];
    }
    reply.events = pointers;
    reply.n_events = count;
    reply.fragment = is_fragment;
    return etcd_mirror_take_watch(m, &reply, &is_due);
}

static const char *created(struct etcd_mirror *m) {
    Etcdserverpb__WatchResponse reply = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    bool is_due;
    reply.created = true;
    return etcd_mirror_take_watch(m, &reply, &is_due);
}

static const char *progress(struct etcd_mirror *m, int64_t revision) {
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__WatchResponse reply = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    bool is_due;
    header.revision = revision;
    reply.header = &header;
    return etcd_mirror_take_watch(m, &reply, &is_due);
}

static const char *canceled(struct etcd_mirror *m, int64_t compacted, const char *reason, bool *ret_is_due) {
    Etcdserverpb__WatchResponse reply = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    reply.created = reply.canceled = true;
    reply.compact_revision = compacted;
    reply.cancel_reason = (char *)(uintptr_t)reason;
    return etcd_mirror_take_watch(m, &reply, ret_is_due);
}

/* "KEY..END@revision/limit" of the next range. */
static const char *asked(const struct etcd_mirror *m) {
    static char text[256];
    Etcdserverpb__RangeRequest r;
    etcd_mirror_range(m, &r);
    bool ends_in_nul = r.key.len && r.key.data[r.key.len - 1] == '\0';
    snprintf(text, sizeof text, "%.*s%s..%.*s@%lld/%lld%s", (int)(r.key.len - ends_in_nul), (char *)r.key.data,
             ends_in_nul ? "\\0" : "", (int)r.range_end.len, (char *)r.range_end.data, (long long)r.revision,
             (long long)r.limit, r.keys_only ? " keys" : "");
    return text;
}

static int64_t watched_from(const struct etcd_mirror *m) {
    Etcdserverpb__WatchCreateRequest r;
    assert_int_equal(m->step, ETCD_WATCH);
    etcd_mirror_watch(m, &r);
    assert_true(r.progress_notify && r.fragment);
    assert_memory_equal(r.key.data, "/p/config/", 10);
    assert_memory_equal(r.range_end.data, "/p/config0", 10);
    return r.start_revision;
}

/* ---- tests ---- */

static void pages_are_of_one_revision(void **state) {
    struct etcd_mirror *m = *state;
    assert_string_equal(asked(m), "/p/config/../p/config0@0/1000");
    assert_null(page(m, 10, "/p/config/a", true));
    assert_told("list +a=v@9 ");
    assert_string_equal(asked(m), "/p/config/a\\0../p/config0@10/1000");
    assert_null(page(m, 15, "/p/config/b", true)); /* the store goes on, the pages do not */
    assert_string_equal(asked(m), "/p/config/b\\0../p/config0@10/1000");
    assert_null(page(m, 16, "/p/config/c", false));
    assert_told("+b=v@14 +c=v@15 settled ");
    assert_int_equal(watched_from(m), 11);
}

static void an_empty_prefix_is_a_whole_list(void **state) {
    struct etcd_mirror *m = *state;
    assert_null(page(m, 3, NULL, false));
    assert_told("list settled ");
    assert_int_equal(watched_from(m), 4);
}

static void a_list_that_is_compacted_meanwhile_begins_anew(void **state) {
    struct etcd_mirror *m = *state;
    assert_null(page(m, 10, "/p/config/a", true));
    etcd_mirror_range_failed(m, true, false);
    assert_told("list +a=v@9 "); /* nothing was settled */
    assert_string_equal(asked(m), "/p/config/../p/config0@0/1000");
    assert_null(page(m, 20, NULL, false));
    assert_told("list settled ");
}

static void pages_that_are_too_big_become_smaller(void **state) {
    struct etcd_mirror *m = *state;
    for (int i = 0; i < 20; i++)
        etcd_mirror_range_failed(m, false, true);
    assert_string_equal(asked(m), "/p/config/../p/config0@0/1");
    assert_null(page(m, 10, NULL, false));
    assert_int_equal(m->page, ETCD_PAGE);
}

static void answers_without_sense(void **state) {
    struct etcd_mirror *m = *state;
    Etcdserverpb__RangeResponse reply = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    assert_non_null(etcd_mirror_take_range(m, &reply));
    assert_non_null(page(m, 10, NULL, true));           /* more, and not what */
    assert_non_null(page(m, 10, "/elsewhere", true));   /* not ours: it could go round for ever */
    assert_null(page(m, 10, "/p/config/b", true));
    assert_non_null(page(m, 10, "/p/config/b", true));  /* nor what was there before */
    assert_int_equal(m->step, ETCD_LIST);
    has_memory = false;
    assert_non_null(page(m, 10, "/p/config/a", false));
    assert_int_equal(m->step, ETCD_LIST);
}

static void listed(struct etcd_mirror *m, int64_t revision) {
    assert_null(page(m, revision, NULL, false));
    assert_null(created(m));
    assert_told("list settled watching ");
}

static void changes(void **state) {
    struct etcd_mirror *m = *state;
    listed(m, 10);
    const struct event some[] = {{"/p/config/a", NULL, 11}, {NULL, "/p/config/b", 11}, {"/other", NULL, 12}};
    assert_null(events(m, some, 3, false));
    assert_told("+a=w@11 -b settled ");
    etcd_mirror_watch_failed(m);
    assert_int_equal(m->step, ETCD_CHECK);
    assert_string_equal(asked(m), "/p/config/../p/config0@0/1 keys");
    assert_null(page(m, 30, "/p/config/a", true));
    assert_told(""); /* nothing but where the store is */
    assert_int_equal(watched_from(m), 13);
}

static void fragments_are_settled_by_the_last(void **state) {
    struct etcd_mirror *m = *state;
    listed(m, 10);
    const struct event first = {"/p/config/a", NULL, 11}, last = {"/p/config/b", NULL, 11};
    assert_null(events(m, &first, 1, true));
    assert_told("+a=w@11 ");
    etcd_mirror_watch_failed(m);
    assert_null(page(m, 30, NULL, false));
    assert_int_equal(watched_from(m), 11); /* the first comes again */
    assert_null(events(m, &first, 1, true));
    assert_null(events(m, &last, 1, false));
    assert_told("+a=w@11 +b=w@11 settled ");
}

static void progress_moves_the_place(void **state) {
    struct etcd_mirror *m = *state;
    listed(m, 10);
    assert_null(progress(m, 500));
    assert_null(progress(m, 400));
    assert_told("");
    etcd_mirror_watch_failed(m);
    assert_null(page(m, 500, NULL, false));
    assert_int_equal(watched_from(m), 501);
}

static void a_compacted_watch_is_a_list(void **state) {
    struct etcd_mirror *m = *state;
    bool is_due;
    listed(m, 10);
    assert_non_null(canceled(m, 50, "compacted", &is_due));
    assert_true(is_due);
    assert_string_equal(asked(m), "/p/config/../p/config0@0/1000");
    listed(m, 60);
    assert_string_equal(canceled(m, 0, "permission denied", &is_due), "permission denied");
    assert_false(is_due);
    assert_int_equal(m->step, ETCD_CHECK);
}

/* Without its being a failure; until then the watch goes on. */
static void who_wants_what_it_did_not_keep_has_a_list(void **state) {
    struct etcd_mirror *m = *state;
    Etcdserverpb__WatchResponse nothing = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    bool is_due;
    listed(m, 10);
    assert_null(etcd_mirror_take_watch(m, &nothing, &is_due));
    assert_false(is_due);
    is_due_now = true;
    assert_non_null(etcd_mirror_take_watch(m, &nothing, &is_due));
    assert_true(is_due);
    assert_string_equal(asked(m), "/p/config/../p/config0@0/1000");
    assert_null(page(m, 11, NULL, false)); /* what was gone by its end had taken the room */
    assert_non_null(created(m));
    assert_string_equal(asked(m), "/p/config/../p/config0@0/1000");
}

static void a_store_that_has_gone_back_is_listed_again(void **state) {
    struct etcd_mirror *m = *state;
    listed(m, 10);
    etcd_mirror_watch_failed(m);
    assert_null(page(m, 9, NULL, false));
    assert_told("");
    assert_string_equal(asked(m), "/p/config/../p/config0@0/1000");
    listed(m, 9);
    m->cluster++; /* another one */
    etcd_mirror_watch_failed(m);
    assert_null(page(m, 100, NULL, false));
    assert_int_equal(m->step, ETCD_LIST);
}

static void changes_without_memory_come_again(void **state) {
    struct etcd_mirror *m = *state;
    const struct event one = {"/p/config/a", NULL, 11};
    listed(m, 10);
    has_memory = false;
    assert_non_null(events(m, &one, 1, false));
    assert_told("+a=w@11 ");
    assert_int_equal(m->step, ETCD_CHECK);
    assert_null(page(m, 11, NULL, false));
    assert_int_equal(watched_from(m), 11);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(pages_are_of_one_revision), TEST(an_empty_prefix_is_a_whole_list),
        TEST(a_list_that_is_compacted_meanwhile_begins_anew), TEST(pages_that_are_too_big_become_smaller),
        TEST(answers_without_sense), TEST(changes), TEST(fragments_are_settled_by_the_last), TEST(progress_moves_the_place),
        TEST(a_compacted_watch_is_a_list), TEST(who_wants_what_it_did_not_keep_has_a_list),
        TEST(a_store_that_has_gone_back_is_listed_again),
        TEST(changes_without_memory_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
