/* Calls of etcd: which member is asked, which failure is whose, tokens. */
#include "tests/unit/controlplane/etcd/scripted_rpc.h"

static void look_and_free(void *block);
#define hg_free look_and_free           /* what calls give back is looked at */
#include "controlplane/etcd/call.c"
#undef hg_free

struct asked {
    struct etcd_call call;
    unsigned         done;
    bool             has_reply;
    grpc_status_code status;
    char             text[128];
    struct asked    *then;              /* is begun when this one is done */
};

static struct rpc_loop loop;
static struct etcd *e;
static struct asked first, second;
static unsigned freed_logins, told_passwords; /* requests, and those that still had the password */

static void look_and_free(void *block) {
    if (block && block == e->login.request) {
        freed_logins++;
        told_passwords += contains((struct str){block, e->login.request_n}, "secret");
    }
    hg_free(block);
}

static void begin(struct asked *a);

static void on_done(void *context, const ProtobufCMessage *reply, grpc_status_code status, struct str text) {
    struct asked *a = context;
    a->done++;
    a->has_reply = reply != NULL;
    a->status = status;
    snprintf(a->text, sizeof a->text, "%.*s", STR_FMT(text));
    if (a->then)
        begin(a->then);
}

static int try_to_begin(struct asked *a, struct error_list *errors) {
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    return etcd_call_begin(e, &a->call, ETCD_RANGE, &request.base, errors);
}

static void begin(struct asked *a) {
    struct error_list errors = {0};
    assert_int_equal(try_to_begin(a, &errors), 0);
    assert_true(error_list_is_empty(&errors));
}

static void expect_refused(struct asked *a, const char *reason) {
    struct error_list errors = {0};
    assert_int_equal(try_to_begin(a, &errors), -1);
    assert_string_equal(errors.items[0].message, reason);
    error_list_finish(&errors);
}

static struct etcd *create(const char *address, const char *user) {
    struct error_list errors = {0};
    const struct etcd_options o = {.address = address, .user = user};
    setenv(ETCD_PASSWORD_VARIABLE, "secret", 1);
    struct etcd *made = etcd_create(&loop, &o, &errors);
    assert_true(!made == !error_list_is_empty(&errors));
    error_list_finish(&errors);
    return made;
}

static int set_up(void **state) {
    (void)state;
    first = (struct asked){.call = {.done = on_done, .context = &first}};
    second = (struct asked){.call = {.done = on_done, .context = &second}};
    e = create("etcd://a:1,b:2,c:3/p", NULL);
    return e ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    hg_alloc_fail_at(-1, 0);
    etcd_call_abandon(&first.call);
    etcd_call_abandon(&second.call);
    etcd_destroy(e);
    forget_calls();
    return 0;
}

static void log_in_as_me(void) {
    etcd_destroy(e);
    e = create("etcd://a:1,b:2/p", "me");
    assert_non_null(e);
}

static void replies_range(struct rpc_stream *s) {
    replies_list(s, 5, NULL, 0);
}

static void replies_token(struct rpc_stream *s, const char *token) {
    Etcdserverpb__AuthenticateResponse reply = ETCDSERVERPB__AUTHENTICATE_RESPONSE__INIT;
    reply.token = (char *)(uintptr_t)token;
    replies(s, &reply.base);
}

static struct etcd_member_status member(size_t i) {
    struct etcd_member_status s;
    etcd_member_status(e, i, &s);
    return s;
}

/* ---- members */

static void a_call_goes_to_the_member_that_answered_last(void **state) {
    (void)state;
    begin(&first);
    assert_true(is_asked(newest(), "Range", "a:1") && newest()->has_leader);
    assert_string_equal(newest()->token, "");
    replies_range(newest());
    assert_true(first.done == 1 && first.has_reply && member(0).is_used && member(0).answered_at);
    begin(&first);
    ends(newest(), GRPC_STATUS_UNAVAILABLE, "gone");
    assert_true(is_asked(newest(), "Range", "b:2"));
    replies_range(newest());
    assert_true(first.done == 2 && first.has_reply && member(1).is_used);
    assert_string_equal(member(0).error, "UNAVAILABLE: gone");
    begin(&first);
    assert_true(is_asked(newest(), "Range", "b:2"));
}

static void each_member_is_asked_once(void **state) {
    (void)state;
    static const char *const targets[] = {"a:1", "b:2", "c:3"};
    static const grpc_status_code reasons[] = {GRPC_STATUS_UNAVAILABLE, GRPC_STATUS_DEADLINE_EXCEEDED, GRPC_STATUS_UNKNOWN};
    begin(&first);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(first.done, 0);
        assert_true(is_asked(newest(), "Range", targets[i]));
        ends(newest(), reasons[i], "etcdserver: no leader");
    }
    assert_true(first.done == 1 && !first.has_reply && first.status == GRPC_STATUS_UNKNOWN && call_count == 3);
    assert_string_equal(first.text, "etcdserver: no leader");
    assert_true(member(0).is_used && member(0).failures == 1 && member(2).failures == 1);
}

/* What etcd refuses, another member would refuse too. */
static void a_refusal_is_the_answer(void **state) {
    (void)state;
    begin(&first);
    ends(newest(), GRPC_STATUS_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted");
    assert_true(first.done == 1 && first.status == GRPC_STATUS_OUT_OF_RANGE && call_count == 1);
    assert_true(member(0).failures == 0 && member(0).answered_at);
}

static void what_cannot_be_read_is_a_failure_of_the_member(void **state) {
    (void)state;
    begin(&first);
    says_bytes(newest(), STR("\xff\xff\xff"));
    ends(newest(), GRPC_STATUS_OK, "");
    assert_true(is_asked(newest(), "Range", "b:2") && first.done == 0);
    ends(newest(), GRPC_STATUS_OK, ""); /* without an answer */
    assert_true(is_asked(newest(), "Range", "c:3"));
    replies_range(newest());
    assert_true(first.done == 1 && first.has_reply);
    assert_string_equal(member(0).error, "INTERNAL: an answer that cannot be read");
    assert_string_equal(member(1).error, "INTERNAL: no answer");
}

/* It died between its answer and the end of the call. */
static void an_answer_of_a_member_that_fails_is_none(void **state) {
    (void)state;
    Etcdserverpb__RangeResponse reply = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    reply.more = true;
    begin(&first);
    for (unsigned i = 0; i < 2; i++) {
        says(newest(), &reply.base);
        ends(newest(), GRPC_STATUS_UNAVAILABLE, "gone");
    }
    assert_true(is_asked(newest(), "Range", "c:3") && first.done == 0);
    replies_range(newest());
    assert_true(first.done == 1 && first.has_reply);
}

static void one_may_be_begun_from_the_end_of_another(void **state) {
    (void)state;
    first.then = &second;
    begin(&first);
    replies_range(newest());
    assert_true(first.done == 1 && is_asked(newest(), "Range", "a:1") && call_count == 2);
    replies_range(newest());
    assert_int_equal(second.done, 1);
}

/* ---- tokens */

static void calls_wait_for_one_token(void **state) {
    (void)state;
    log_in_as_me();
    begin(&first);
    begin(&second);
    assert_true(call_count == 1 && is_asked(newest(), "Authenticate", "a:1"));
    Etcdserverpb__AuthenticateRequest *request =
        (Etcdserverpb__AuthenticateRequest *)request_of(newest(), &etcdserverpb__authenticate_request__descriptor);
    assert_string_equal(request->name, "me");
    assert_string_equal(request->password, "secret");
    protobuf_c_message_free_unpacked(&request->base, NULL);
    replies_token(newest(), "t1");
    assert_true(call_count == 3 && etcd_logins(e) == 1);
    for (size_t i = 1; i < 3; i++) {
        assert_string_equal(calls[i].token, "t1");
        replies_range(&calls[i]);
    }
    assert_true(first.has_reply && second.has_reply);
}

static void the_password_is_wiped_behind_a_login(void **state) {
    (void)state;
    freed_logins = told_passwords = 0;
    log_in_as_me();
    begin(&first);
    replies_token(newest(), "t1");
    assert_true(freed_logins == 1 && told_passwords == 0);
}

static void a_token_that_is_not_taken_is_renewed_once(void **state) {
    (void)state;
    static const struct {
        grpc_status_code status;
        const char      *text;
    } reasons[] = {{GRPC_STATUS_UNAUTHENTICATED, "etcdserver: invalid auth token"},
                   {GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: revision of auth store is old"},
                   {GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: user name is empty"}};
    log_in_as_me();
    begin(&first);
    replies_token(newest(), "t0");
    replies_range(newest());
    for (size_t i = 0; i < 3; i++) {
        char token[8];
        snprintf(token, sizeof token, "t%zu", i + 1);
        begin(&first);
        ends(newest(), reasons[i].status, reasons[i].text);
        assert_true(is_asked(newest(), "Authenticate", "a:1"));
        replies_token(newest(), token);
        assert_string_equal(newest()->token, token);
        replies_range(newest());
        assert_true(first.done == i + 2 && first.has_reply);
    }
    begin(&first);
    ends(newest(), GRPC_STATUS_UNAUTHENTICATED, "");
    replies_token(newest(), "t4");
    ends(newest(), GRPC_STATUS_UNAUTHENTICATED, "still");
    assert_true(first.done == 5 && !first.has_reply && first.status == GRPC_STATUS_UNAUTHENTICATED);
}

static void who_may_not_log_in_is_told_so(void **state) {
    (void)state;
    log_in_as_me();
    begin(&first);
    begin(&second);
    ends(newest(), GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password");
    assert_true(first.done == 1 && second.done == 1 && call_count == 1 && etcd_logins(e) == 0);
    assert_non_null(strstr(second.text, "invalid user"));
    begin(&first); /* asks anew */
    assert_true(is_asked(newest(), "Authenticate", "a:1"));
    ends(newest(), GRPC_STATUS_FAILED_PRECONDITION, "etcdserver: authentication is not enabled");
    assert_true(is_asked(newest(), "Range", "a:1"));
    assert_string_equal(newest()->token, "");
}

/* ---- the end */

static void an_abandoned_call_says_nothing(void **state) {
    (void)state;
    begin(&first);
    etcd_call_abandon(&first.call);
    assert_true(newest()->is_abandoned);
    log_in_as_me();
    begin(&first);
    begin(&second);
    etcd_call_abandon(&first.call);
    replies_token(newest(), "t");
    replies_range(newest());
    assert_true(first.done == 0 && second.done == 1);
    etcd_stop(e);
    expect_refused(&first, "etcd is asked no more");
}

static void without_memory(void **state) {
    (void)state;
    for (long i = 0;; i++) {
        struct error_list errors = {0};
        const struct etcd_options o = {.address = "etcd://a:1,b:2/p", .user = "me"};
        hg_alloc_fail_at(i, 0);
        struct etcd *made = etcd_create(&loop, &o, &errors);
        hg_alloc_fail_at(-1, 0);
        bool is_made = made != NULL;
        etcd_destroy(made);
        error_list_finish(&errors);
        if (is_made)
            break;
        assert_true(i < 100);
    }
    hg_alloc_fail_at(0, 0);
    expect_refused(&first, "no memory to ask etcd");
}

static void a_call_that_cannot_be_made_says_why(void **state) {
    (void)state;
    refuses_calls = true;
    expect_refused(&first, "no PEM certificate");
    refuses_calls = false;
    begin(&first);
    refuses_calls = true; /* the next member cannot be asked */
    ends(newest(), GRPC_STATUS_UNAVAILABLE, "gone");
    assert_true(first.done == 1 && first.status == GRPC_STATUS_UNAVAILABLE);
    log_in_as_me();
    expect_refused(&first, "no PEM certificate"); /* of the call for a token */
    refuses_calls = false;
    begin(&first);
    refuses_calls = true;
    replies_token(newest(), "t");
    assert_true(first.done == 2 && first.status == GRPC_STATUS_INTERNAL);
    assert_string_equal(first.text, "no PEM certificate");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_call_goes_to_the_member_that_answered_last),
        TEST(each_member_is_asked_once),
        TEST(a_refusal_is_the_answer),
        TEST(what_cannot_be_read_is_a_failure_of_the_member),
        TEST(an_answer_of_a_member_that_fails_is_none),
        TEST(one_may_be_begun_from_the_end_of_another),
        TEST(calls_wait_for_one_token),
        TEST(the_password_is_wiped_behind_a_login),
        TEST(a_token_that_is_not_taken_is_renewed_once),
        TEST(who_may_not_log_in_is_told_so),
        TEST(an_abandoned_call_says_nothing),
        TEST(without_memory),
        TEST(a_call_that_cannot_be_made_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
