/* What is asked of an API server after each kind of answer: where a watch goes on, and when it is listed again. */
#include "controlplane/kubernetes/reflector.c" /* before cmocka, whose `fail` is a macro */

#include "tests/unit/common/told.h"

/* ---- the API server: the functions of http/client.h, which stand here instead of the library's */

static char asked[1024];                /* the URL of the last call */
static unsigned call_count;
static const struct http_call_ops *answer;
static void *asker;

struct http_call *http_call_start(struct http_client *c, const struct http_request *request,
                                  const struct http_call_ops *ops, void *context) {
    (void)c;
    snprintf(asked, sizeof asked, "%s", request->url);
    call_count++;
    answer = ops;
    asker = context;
    return (struct http_call *)asked;   /* nobody looks into it */
}

void http_call_cancel(struct http_call *call) {
    (void)call;
}

void http_escape(struct str text, struct strbuf *out) {
    strbuf_add_str(out, text);
}

/* ---- who wants to know */

static struct kubernetes_server server = {.url = ""};
static struct reflector *r;
static void on_list(void *context) {
    (void)context;
    tell("list ");
}

static bool on_set(void *context, const cJSON *object) {
    (void)context;
    tell("+%s ", text_of(object, "name"));
    return true;
}

static void on_removed(void *context, const cJSON *object) {
    (void)context;
    tell("-%s ", text_of(object, "name"));
}

static void on_listed(void *context) {
    (void)context;
    tell("listed ");
}

static void on_watching(void *context) {
    (void)context;
    tell("watching ");
}

static void on_failed(void *context, const char *reason) {
    (void)context;
    tell("failed: %s ", reason);
}

static const struct reflector_ops ops = {.list = on_list, .set = on_set, .removed = on_removed, .listed = on_listed,
                                         .watching = on_watching, .failed = on_failed};

static int set_up(void **state) {
    (void)state;
    told[0] = '\0';
    call_count = 0;
    server.loop = ev_loop_new(EVFLAG_AUTO);
    r = reflector_create(&server, "/things", &ops, NULL);
    return r ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    reflector_destroy(r);
    ev_loop_destroy(server.loop);
    return 0;
}

/* The wait is over. */
static void ask_again(void) {
    unsigned before = call_count;
    assert_true(ev_is_active(&r->again));
    ev_timer_stop(server.loop, &r->again);
    ev_invoke(server.loop, &r->again, EV_TIMER);
    assert_int_equal(call_count, before + 1);
}

static bool is_watch_of(const char *version) {
    const char *at = strstr(asked, "&resourceVersion=");
    return strstr(asked, "watch=1") && at && strcmp(strchr(at, '=') + 1, version) == 0;
}

static bool is_list(void) {
    return strcmp(asked, "/things?limit=500") == 0;
}

static void begins(const char *text) {
    answer->head(asker, OK);
    answer->data(asker, OK, str_of(text));
}

static void answers(unsigned status, const char *text) {
    answer->head(asker, status);
    answer->data(asker, status, str_of(text));
    answer->done(asker, status, NULL);
}

#define LIST(version) "{\"metadata\": {\"resourceVersion\": \"" version "\"}, \"items\": [{\"name\": \"web\"}]}"
#define ADDED "{\"type\": \"ADDED\", \"object\": {\"name\": \"api\", \"metadata\": {\"resourceVersion\": \"8\"}}}\n"

/* The list is known, and what changes is asked for. */
static void list_once(void) {
    ask_again();
    assert_true(is_list());
    answers(OK, LIST("7"));
    assert_true(is_watch_of("7"));
    assert_told("list +web listed ");
}

static void a_watch_that_is_cut_goes_on(void **state) {
    (void)state;
    list_once();
    begins(ADDED);
    assert_told("watching +api ");
    answer->done(asker, OK, "connection reset");
    assert_told("failed: connection reset ");
    ask_again();
    assert_true(is_watch_of("8"));
    answer->done(asker, 0, "connection refused");
    ask_again();
    assert_true(is_watch_of("8"));
}

static void a_watch_that_is_refused_lists_again(void **state) {
    (void)state;
    static const unsigned statuses[] = {400, 403, 500, 504};
    ask_again();
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        char reason[128];
        assert_true(is_list());
        answers(OK, LIST("7"));
        assert_true(is_watch_of("7"));
        answers(statuses[i], "{\"message\": \"Too large resource version\"}");
        snprintf(reason, sizeof reason, "list +web listed failed: the API server answers %u: Too large resource version ",
                 statuses[i]);
        assert_told(reason);
        assert_true(r->retry == (uint64_t)RETRY_US << i && ev_timer_remaining(server.loop, &r->again) > 0.);
        ask_again();
    }
}

static void a_server_with_too_much_to_do_does_not_list(void **state) {
    (void)state;
    list_once();
    answers(TOO_MANY_REQUESTS, "");
    assert_told("failed: the API server answers 429 ");
    ask_again();
    assert_true(is_watch_of("7"));
}

static void what_cannot_be_read_is_listed(void **state) {
    (void)state;
    static const char *const events[] = {"nonsense\n", "{\"type\": \"ERROR\", \"object\": {\"code\": 500}}\n"};
    list_once();
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        begins(events[i]);
        answer->done(asker, OK, "refused by its reader");
        assert_told("watching failed: the watch of the API server cannot be read ");
        ask_again();
        assert_true(is_list());
        answers(OK, LIST("7"));
        assert_told("list +web listed ");
    }
}

/* What is read of an answer that does not end. */
static size_t flood(void) {
    static char piece[1 << 20];
    size_t taken = 0;
    memset(piece, ' ', sizeof piece);
    answer->head(asker, OK);
    while (answer->data(asker, OK, (struct str){piece, sizeof piece}))
        taken += sizeof piece;
    answer->done(asker, OK, "refused by its reader");
    return taken;
}

/* From the same place it would come again. */
static void what_is_too_long_is_listed(void **state) {
    (void)state;
    ask_again();
    assert_int_equal(flood(), REFLECTOR_PAGE_BYTES_MAX);
    assert_told("failed: the list of the API server cannot be read ");
    list_once();
    assert_int_equal(flood(), REFLECTOR_EVENT_BYTES_MAX);
    assert_told("watching failed: the watch of the API server cannot be read ");
    assert_true(r->retry == (uint64_t)RETRY_US << 1);
    ask_again();
    assert_true(is_list());
}

/* The token of a page may be what the server objects to. */
static void a_page_that_is_refused_begins_the_list_anew(void **state) {
    (void)state;
    ask_again();
    answers(OK, "{\"metadata\": {\"continue\": \"more\"}, \"items\": [{\"name\": \"web\"}]}");
    assert_string_equal(asked, "/things?limit=500&continue=more");
    answers(400, "");
    assert_told("list +web failed: the API server answers 400 ");
    ask_again();
    assert_true(is_list());
}

#define PAGE(token) "{\"metadata\": {\"continue\": \"" token "\"}, \"items\": []}"

/* Of a cache that gives the first page whatever is asked for. */
static void a_page_that_comes_again_is_waited_for(void **state) {
    (void)state;
    ask_again();
    answers(OK, PAGE("a"));
    answers(OK, PAGE("b"));
    assert_told("list ");
    answers(OK, PAGE("b"));
    assert_told("failed: the list of the API server cannot be read ");
    ask_again();
    assert_true(is_list());
}

static void a_list_has_an_end(void **state) {
    char page[128];
    (void)state;
    ask_again();
    for (unsigned i = 0; i < REFLECTOR_PAGES_MAX; i++) {
        assert_false(ev_is_active(&r->again));
        snprintf(page, sizeof page, "{\"metadata\": {\"continue\": \"%u\"}, \"items\": []}", i);
        answers(OK, page);
    }
    assert_told("list failed: the list of the API server cannot be read ");
    ask_again();
    assert_true(is_list());
    answers(OK, PAGE("a"));
    assert_told("list ");
}

static void what_is_gone_is_listed_at_once(void **state) {
    (void)state;
    list_once();
    answers(GONE, "");
    assert_told("");
    ask_again();
    assert_true(is_list());
    answers(OK, LIST("9"));
    assert_told("list +web listed ");
    assert_true(is_watch_of("9"));
    struct reflector_counters c = {0};
    reflector_count(r, &c);
    assert_true(c.gone == 1 && c.failures == 0 && c.lists == 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_watch_that_is_cut_goes_on),
        TEST(a_watch_that_is_refused_lists_again),
        TEST(a_server_with_too_much_to_do_does_not_list),
        TEST(what_cannot_be_read_is_listed),
        TEST(what_is_too_long_is_listed),
        TEST(a_page_that_is_refused_begins_the_list_anew),
        TEST(what_is_gone_is_listed_at_once),
        TEST(a_page_that_comes_again_is_waited_for),
        TEST(a_list_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
