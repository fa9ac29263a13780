/* Which rule a request meets, what the rule makes of it, and why; and tables that are refused. */
#include "tests/unit/dataplane/routing/tables.h"

#include "common/alloc.h"

static struct route_scratch *scratch;

static int set_up(void **state) {
    (void)state;
    scratch = route_scratch_create();
    return scratch ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    route_scratch_destroy(scratch);
    return 0;
}

/* ---- matching */

/* CONNECT has no path: no condition on one holds, not even of a pattern that takes everything. */
static void requests_without_a_path(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"CONNECT a.example", "tunnel"}, {"CONNECT a.example:443", "tunnel"}, {"CONNECT b.example", NULL},
        {"GET a.example/", "all"},
    };
    CHECK_MATCHES("host a.example\n"
                  "rule name=all regex=.* respond=200\n"
                  "rule name=root prefix=/ respond=200\n"
                  "rule name=exact exact=/ respond=200\n"
                  "rule name=tunnel respond=200\n"
                  "host b.example\n"
                  "rule name=root prefix=/ respond=200\n",
                  expected);
}

static void hosts_from_exact_to_any(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"GET example.com/", "exact"},
        {"GET EXAMPLE.com/", "exact"},
        {"GET example.com./", "exact"},
        {"GET example.com:8080/", "exact"},
        {"GET other.org/", "exact"},
        {"GET a.example.com/", "wild"},
        {"GET a.b.example.com/", "wild"},
        {"GET x.b.c.example.com/", "wild"},
        {"GET a.api.example.com/", "longer"},
        {"GET A.api.Example.com.:1/", "longer"},
        {"GET api.example.com/", "wild"},
        {"GET www.api.example.com/", "www"},
        {"GET com/", "any"},
        {"GET xexample.com/", "any"},
        {"GET 127.0.0.1/", "any"},
        {"GET [::1]:80/", "v6"},
        {"GET [::1]/", "v6"},
        {"GET [::2]/", "any"},
        {"GET /", "any"},
        {"GET "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com/",
         "any"},
    };
    CHECK_MATCHES("host * \n rule name=any respond=200\n"
                  "host *.example.com \n rule name=wild respond=200\n"
                  "host example.com other.org \n rule name=exact respond=200\n"
                  "host *.api.example.com \n rule name=longer respond=200\n"
                  "host www.api.example.com \n rule name=www respond=200\n"
                  "host [::1] \n rule name=v6 respond=200\n", expected);
    static const struct expectation closed[] = {{"GET a.com/", "0.0"}, {"GET b.com/", NULL}, {"GET /", NULL}};
    CHECK_MATCHES("host a.com \n rule respond=200", closed);
}

static void paths(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"GET a/x", "exact"}, {"GET a/x/", "slash"}, {"GET a/api", "api"}, {"GET a/api/", "api"}, {"GET a/api/v1", "v1"},
        {"GET a/api/v1/y", "v1"}, {"GET a/api/v2", "api"}, {"GET a/apix", "root"}, {"GET a/ap", "root"},
        {"GET a/item/17", "regex"}, {"GET a/item/17/x", "root"}, {"GET a/", "root-exact"}, {"GET a/zz", "root"},
        {"GET a*", "rest"}, {"GET a", "rest"}, {"GET a/x/y", "root"}, {"GET a/%2F", "root"},
    };
    CHECK_MATCHES("host *\n"
                  "rule name=exact exact=/x respond=200\n"
                  "rule name=slash exact=/x/ respond=200\n"
                  "rule name=v1 prefix=/api/v1 respond=200\n"
                  "rule name=api prefix=/api/ respond=200\n"
                  "rule name=regex regex=/item/[0-9]+ respond=200\n"
                  "rule name=root-exact exact=/ respond=200\n"
                  "rule name=root prefix=/ respond=200\n"
                  "rule name=rest respond=200\n", expected);
}

static void first_match_wins(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"GET a/api/v1/x", "early"}, {"POST a/api/v1/x", "post"}, {"PUT a/api/v1/x", "put"}, {"DELETE a/api/v1/x", "deep"},
        {"DELETE a/api/v2", "other"}, {"DELETE a/z", "last"}, {"OPTIONS *", "last"},
    };
    CHECK_MATCHES("host *\n"
                  "rule name=early prefix=/ method=GET respond=200\n"
                  "rule name=post prefix=/api method=POST respond=200\n"
                  "rule name=put regex=.* method=PUT respond=200\n"
                  "rule name=deep prefix=/api/v1 respond=200\n"
                  "rule name=other prefix=/api respond=200\n"
                  "rule name=never prefix=/api/v2 respond=200\n"
                  "rule name=last respond=200\n", expected);
}

static void headers(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"GET a/e x:1", "exact"},      {"GET a/e x:2", NULL},         {"GET a/e", NULL},
        {"GET a/e x:1 x:2", "joined"}, {"GET a/e x:1,%_2", "joined"}, {"GET a/e y:0 x:1 z:1 x:2", NULL},
        {"GET a/j x:1 x:2", "both"},   {"GET a/p x:abc", "prefix"},   {"GET a/p x:ab", "prefix"},
        {"GET a/p x:a", NULL},         {"GET a/s x:abc", "suffix"},   {"GET a/c x:xbcx", "contains"},
        {"GET a/c x:xbx", NULL},       {"GET a/r x:aaa", "regex"},    {"GET a/r x:aab", NULL},
        {"GET a/r x:", NULL},          {"GET a/here x:", "present"},  {"GET a/here", "gone"},
        {"GET a/n x:1", NULL},         {"GET a/n x:2", "not"},        {"GET a/n", "not"},
        {"GET a/two x:1", NULL},       {"GET a/two x:1 y:2", "two"},
    };
    CHECK_MATCHES(
        "host *\n"
        "rule name=exact exact=/e header=x:exact:1 respond=200\n"
        "rule name=joined exact=/e header=x:exact:1,%_2 method=GET header=y:absent respond=200 header=x:regex:1,.2\n"
        "rule name=both exact=/j header=x:exact:1,%_2 respond=200\n"
        "rule name=prefix exact=/p header=x:prefix:ab respond=200\n"
        "rule name=suffix exact=/s header=x:suffix:bc respond=200\n"
        "rule name=contains exact=/c header=x:contains:bc respond=200\n"
        "rule name=regex exact=/r header=x:regex:a+ respond=200\n"
        "rule name=present exact=/here header=x:present respond=200\n"
        "rule name=gone exact=/here header=x:!present respond=200\n"
        "rule name=not exact=/n header=x:!exact:1 respond=200\n"
        "rule name=two exact=/two header=x:exact:1 header=y:exact:2 respond=200\n",
        expected);
}

static void query(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"GET a/e?q=1", "exact"},     {"GET a/e?q=2", NULL},          {"GET a/e", NULL},
        {"GET a/e?", NULL},           {"GET a/e?q=2&q=1", "exact"},   {"GET a/e?x&q=%31", "exact"},
        {"GET a/e?%71=1", "exact"},   {"GET a/e?qq=1", NULL},         {"GET a/e?Q=1", NULL},
        {"GET a/e?q=1;x", NULL},
        {"GET a/e?q", NULL},          {"GET a/p?q", "present"},       {"GET a/p?q=", "present"},
        {"GET a/p?x=q", "gone"},      {"GET a/p?", "gone"},           {"GET a/s?k%20y=a%26b%3D%zz+c", "spaced"},
        {"GET a/r?q=x%61x", "regex"}, {"GET a/r?q=xbx&q=", NULL},     {"GET a/n?q=2", "not"},
        {"GET a/n?q=2&q=1", NULL},    {"GET a/e?=&&=1&q=1", "exact"},
    };
    CHECK_MATCHES("host *\n"
                  "rule name=exact exact=/e query=q:exact:1 respond=200\n"
                  "rule name=present exact=/p query=q:present respond=200\n"
                  "rule name=gone exact=/p query=q:absent respond=200\n"
                  "rule name=spaced exact=/s query=k%_y:exact:a&b=%zz+c respond=200\n"
                  "rule name=regex exact=/r query=q:regex:xax respond=200\n"
                  "rule name=not exact=/n query=q:!exact:1 respond=200\n", expected);
}

/* A pattern that never ends gives up, and so does the search: that rule may forbid what a later one allows. A rule that
 * something else says no to has not been looked for. */
static void limits_are_hit_not_passed(void **state) {
    (void)state;
    struct table_text t;
    struct request_text r;
    struct route_match match;
    table_text_init(&t,
                    "host *\nrule name=evil regex=/(a+)+[xy] respond=200\n"
                    "rule name=evil2 header=x:!regex:(a+)+[xy] respond=200\n"
                    "rule name=other header=x:regex:(a+)+[xy] header=y:exact:1 respond=200\n"
                    "rule name=all respond=200\n",
                    NULL);
    assert_non_null(t.table);
    route_table_match(
        t.table,
        request_text(&t, "GET h/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa! x:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac",
                     &r),
        scratch, &match);
    assert_null(match.route);
    assert_true(match.limit_hit);
    route_table_match(t.table, request_text(&t, "GET h/aax x:b", &r), scratch, &match);
    assert_string_equal(match.route->name.p, "evil");
    assert_false(match.limit_hit);
    request_text(&t, "GET h/ x:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", &r);
    route_table_match(t.table, &r.request, scratch, &match);
    assert_true(match.limit_hit && !match.route);
    table_text_finish(&t);
    table_text_init(&t, "host *\nrule header=x:regex:(a+)+[xy] header=y:exact:1 respond=200\nrule name=all respond=200\n",
                    NULL);
    request_text(&t, "GET h/ x:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", &r);
    route_table_match(t.table, &r.request, scratch, &match);
    assert_false(match.limit_hit);
    assert_string_equal(match.route->name.p, "all");
    table_text_finish(&t);
}

static void long_values_hit_a_limit(void **state) {
    (void)state;
    struct table_text t;
    struct request_text r;
    struct route_match match;
    struct strbuf text = {0};
    table_text_init(&t, "host *\nrule header=x:present query=q:contains:b respond=200", NULL);
    strbuf_puts(&text, "GET h/?q=%61");
    for (int i = 0; i < 65536; i++)
        strbuf_putc(&text, 'a');
    strbuf_puts(&text, " x:1");
    route_table_match(t.table, request_text(&t, text.p, &r), scratch, &match);
    assert_true(match.limit_hit && !match.route);
    strbuf_reset(&text);
    strbuf_puts(&text, "GET h/?q=b x:1 x:");
    for (int i = 0; i < 65536; i++)
        strbuf_putc(&text, 'a');
    route_table_match(t.table, request_text(&t, text.p, &r), scratch, &match);
    assert_true(match.limit_hit && !match.route);
    strbuf_finish(&text);
    table_text_finish(&t);
}

static void matching_allocates_nothing(void **state) {
    (void)state;
    struct table_text t;
    struct request_text r;
    struct route_match match;
    table_text_init(
        &t,
        "host *.a\nrule regex=/(x|y)+ header=h:regex:(1|2)+ query=q:exact:a respond=200\nrule prefix=/ respond=200\n",
        NULL);
    struct route_request *request = request_text(&t, "GET W.a/xyxyxy?q=%61 h:12121", &r);
    route_table_match(t.table, request, scratch, &match);
    uint64_t before = hg_alloc_count();
    for (int i = 0; i < 100; i++)
        route_table_match(t.table, request, scratch, &match);
    assert_int_equal(hg_alloc_count(), before);
    assert_string_equal(match.route->name.p, "0.0");
    table_text_finish(&t);
}

/* ---- what is inherited */

static void timeouts_and_limits(void **state) {
    (void)state;
    struct table_text t;
    struct request_text r;
    struct route_match match;
    Headgate__Settings settings = HEADGATE__SETTINGS__INIT;
    Headgate__Timeouts timeouts = HEADGATE__TIMEOUTS__INIT, own = HEADGATE__TIMEOUTS__INIT;
    Headgate__Limits limits = HEADGATE__LIMITS__INIT, own_limits = HEADGATE__LIMITS__INIT;
    settings.timeouts = &timeouts;
    settings.limits = &limits;
    timeouts.has_connect = timeouts.has_write = limits.has_body = 1;
    timeouts.connect = 7, timeouts.write = 8, limits.body = 9;
    table_text_init(&t, "host *\nrule exact=/own forward=a\nrule forward=a", &settings);
    route_table_free(t.table);
    t.message.hosts[0]->rules[0]->timeouts = &own;
    t.message.hosts[0]->rules[0]->limits = &own_limits;
    own.has_connect = own.has_request = own_limits.has_body = 1;
    own.connect = 0, own.request = 11, own_limits.body = 0;
    t.table = route_table_build(&t.message, "test", &settings, &t.errors);
    assert_non_null(t.table);
    route_table_match(t.table, request_text(&t, "GET h/own", &r), scratch, &match);
    assert_int_equal(match.route->timeouts.connect, 0);
    assert_int_equal(match.route->timeouts.request, 11);
    assert_int_equal(match.route->timeouts.write, 8);
    assert_int_equal(match.route->timeouts.response_head, 60000000);
    assert_int_equal(match.route->body_limit, 0);
    route_table_match(t.table, request_text(&t, "GET h/", &r), scratch, &match);
    assert_int_equal(match.route->timeouts.connect, 7);
    assert_int_equal(match.route->timeouts.request, 0);
    assert_int_equal(match.route->body_limit, 9);
    assert_int_equal(match.route->retry.retries, 0);
    table_text_finish(&t);
}

static void retries(void **state) {
    (void)state;
    struct table_text t;
    struct request_text r;
    struct route_match match;
    struct head head;
    Headgate__Retry__On on[] = {HEADGATE__RETRY__ON__RESET, HEADGATE__RETRY__ON__STATUS_503};
    table_text_init(&t, "host *\nrule exact=/d forward=a retries=2\nrule forward=a retries=3 retry-method=POST", NULL);
    route_table_free(t.table);
    t.message.hosts[0]->rules[1]->retry->on = on;
    t.message.hosts[0]->rules[1]->retry->n_on = 2;
    t.table = route_table_build(&t.message, "test", NULL, &t.errors);
    route_table_match(t.table, request_text(&t, "GET h/d", &r), scratch, &match);
    assert_true(match.route->retry.on_connect_failure && !match.route->retry.on_reset);
    assert_int_equal(match.route->retry.retries, 2);
    assert_int_equal(match.route->retry.method_count, 0);
    route_table_match(t.table, request_text(&t, "GET h/", &r), scratch, &match);
    assert_true(!match.route->retry.on_connect_failure && match.route->retry.on_reset);
    assert_true(retries_answer(&t, match.route, 503, NULL) && !retries_answer(&t, match.route, 502, NULL));
    assert_false(retries_answer(&t, match.route, 200, NULL));
    head.method_text = STR("POST");
    assert_int_equal(match.route->retry.method_count, 1);
    assert_true(route_retries_method(match.route, &head));
    head.method_text = STR("GET");
    assert_false(route_retries_method(match.route, &head));
    table_text_finish(&t);
}

/* ---- clusters */

static void weights_are_exact(void **state) {
    (void)state;
    struct table_text t;
    struct request_text r;
    struct route_match match;
    unsigned counts[3] = {0, 0, 0};
    table_text_init(&t, "host *\nrule exact=/one forward=c\nrule forward=a*95,b*0,c*5\nrule forward=a*4294967295", NULL);
    assert_int_equal(route_table_cluster_count(t.table), 3);
    assert_true(str_eq(route_table_cluster_name(t.table, 0), STR("c")));
    assert_true(str_eq(route_table_cluster_name(t.table, 1), STR("a")));
    assert_true(str_eq(route_table_cluster_name(t.table, 2), STR("b")));
    route_table_match(t.table, request_text(&t, "GET h/", &r), scratch, &match);
    assert_int_equal(match.route->action, ROUTE_FORWARD);
    for (uint32_t i = 0; i < 100; i++)
        counts[route_pick_cluster(match.route, (uint32_t)(((uint64_t)i << 32) / 100) + 1)]++;
    assert_int_equal(counts[1], 95);
    assert_int_equal(counts[2], 0);
    assert_int_equal(counts[0], 5);
    assert_int_equal(route_pick_cluster(match.route, UINT32_MAX), 0);
    assert_int_equal(route_pick_cluster(match.route, 0), 1);
    table_text_finish(&t);
}

/* ---- targets and locations */

static void check_target(const char *rule, const char *request, const char *expected) {
    struct table_text t;
    struct request_text r;
    struct route_match match;
    struct str target;
    char *text;
    assert_true(asprintf(&text, "host *\nrule forward=a %s", rule) > 0);
    table_text_init(&t, text, NULL);
    assert_non_null(t.table);
    request_text(&t, request, &r);
    route_table_match(t.table, &r.request, scratch, &match);
    assert_non_null(match.route);
    int result = route_rewrite_target(match.route, &match, r.request.path, r.request.query.p != NULL, r.request.query,
                                      scratch, &t.arena, &target);
    if (expected) {
        assert_int_equal(result, 0);
        if (!str_eq(target, str_of(expected)))
            fail_msg("%s %s: %.*s", rule, request, STR_FMT(target));
    } else {
        assert_int_equal(result, -1);
    }
    table_text_finish(&t);
    free(text);
}

static void targets(void **state) {
    (void)state;
    check_target("", "GET h/a/b", "/a/b");
    check_target("", "GET h/a/b?", "/a/b?");
    check_target("", "GET h/a/b?c=%20&d", "/a/b?c=%20&d");
    check_target("prefix=/api/ rewrite-prefix=/v1/", "GET h/api/x?y", "/v1/x?y");
    check_target("prefix=/api/ rewrite-prefix=/v1/", "GET h/api", "/v1");
    check_target("prefix=/api rewrite-prefix=/v1", "GET h/api/", "/v1/");
    check_target("prefix=/api rewrite-prefix=/", "GET h/api/x", "/x");
    check_target("prefix=/api rewrite-prefix=/", "GET h/api", "/");
    check_target("prefix=/api rewrite-prefix=/", "GET h/api?q", "/?q");
    check_target("prefix=/api rewrite-prefix=/", "GET h/api/", "/");
    check_target("prefix=/ rewrite-prefix=/v1", "GET h/x", "/v1/x");
    check_target("prefix=/ rewrite-prefix=/v1", "GET h/", "/v1/");
    check_target("rewrite-prefix=/v1/v2", "GET h/x/y", "/v1/v2/x/y");
    check_target("exact=/a/b rewrite-prefix=/c", "GET h/a/b", "/c");
    check_target("starts=/api rewrite-prefix=/v1", "GET h/apix?y", "/v1x?y");
    check_target("starts=/api/ rewrite-prefix=/v1/", "GET h/api/x", "/v1/x");
    check_target("starts=/api/ rewrite-prefix=/", "GET h/api/x", "/x");
    check_target("starts=/api rewrite-prefix=/", "GET h/api", "/");
    check_target("starts=/api rewrite-prefix=/", "GET h/api/x", "/x"); /* "//x" in canonical form */
    check_target("starts=/API ignore-case rewrite-prefix=/v1", "GET h/api/x", "/v1/x");
    check_target("starts=/a rewrite-prefix=/", "GET h/a../b", "/b"); /* never "/../b" */
    check_target("starts=/a rewrite-prefix=/v/", "GET h/a../b", "/b");
    check_target("rewrite-regex=^/item/([0-9]+) substitution=/v2/\\1/item", "GET h/item/17/x?a=b", "/v2/17/item/x?a=b");
    check_target("rewrite-regex=b substitution=c", "GET h/abab", "/acac");
    check_target("rewrite-regex=zz substitution=c", "GET h/abab", "/abab");
    check_target("rewrite-regex=x* substitution=-", "GET h/ax", NULL); /* "-/-a--" is no path */
    check_target("rewrite-regex=(?<=/)x* substitution=_", "GET h/ax/xx", "/_ax/_");
    check_target("rewrite-regex=(a)|(b) substitution=\\1\\2\\0", "GET h/ab", "/aabb");
    check_target("rewrite-regex=b substitution=../..", "GET h/a/b/c", "/c");
    check_target("rewrite-regex=b substitution=%2e%2e", "GET h/a/b/c", "/c");
    check_target("rewrite-regex=/ substitution=%00", "GET h/", NULL);
}

static void regex_rewrite_is_bounded(void **state) {
    (void)state;
    struct strbuf request = {0};
    strbuf_puts(&request, "GET h/");
    for (int i = 0; i < 100; i++)
        strbuf_putc(&request, 'a');
    check_target("rewrite-regex=a substitution=", request.p, "/");
    strbuf_putc(&request, 'a');
    check_target("rewrite-regex=a substitution=", request.p, NULL);
    strbuf_reset(&request);
    strbuf_puts(&request, "GET h/");
    for (int i = 0; i < 9000; i++)
        strbuf_putc(&request, 'a');
    check_target("rewrite-regex=^/(a+) substitution=/\\1\\1\\1\\1\\1\\1\\1\\1", request.p, NULL);
    check_target("rewrite-regex=(a+)+[xy] substitution=", request.p, NULL);
    strbuf_finish(&request);
}

static void unchanged_targets_are_not_copied(void **state) {
    (void)state;
    struct table_text t;
    struct request_text r;
    struct route_match match;
    struct str target;
    struct arena none;
    table_text_init(&t, "host *\nrule forward=a", NULL);
    arena_init(&none, NULL, 0, 1);
    request_text(&t, "GET h/a?b", &r);
    route_table_match(t.table, &r.request, scratch, &match);
    assert_int_equal(
        route_rewrite_target(match.route, &match, r.request.path, true, r.request.query, scratch, &none, &target), 0);
    assert_ptr_equal(target.p, r.request.path.p);
    assert_int_equal(target.n, 4);
    assert_int_equal(route_rewrite_host(match.route).n, 0);
    assert_false(route_host_from_endpoint(match.route));
    arena_finish(&none);
    table_text_finish(&t);
}

static void check_location(const char *rule, const char *authority, const char *request, const char *expected) {
    struct table_text t;
    struct request_text r;
    struct route_match match;
    struct str location;
    char *text;
    assert_true(asprintf(&text, "host *\nrule redirect=308 %s", rule) > 0);
    table_text_init(&t, text, NULL);
    assert_non_null(t.table);
    request_text(&t, request, &r);
    route_table_match(t.table, &r.request, scratch, &match);
    assert_non_null(match.route);
    assert_int_equal(match.route->action, ROUTE_REDIRECT);
    r.request.authority = str_of(authority);
    assert_int_equal(route_redirect_location(match.route, &match, &r.request, r.request.query.p != NULL, scratch, &t.arena,
                                             &location), 0);
    if (!str_eq(location, str_of(expected)))
        fail_msg("%s %s: %.*s", rule, request, STR_FMT(location));
    table_text_finish(&t);
    free(text);
}

static void locations(void **state) {
    (void)state;
    check_location("prefix=/old/ to-prefix=/new/", "h:8080", "GET h/old/x?y=z", "http://h:8080/new/x?y=z");
    check_location("prefix=/old/ to-prefix=/new/", "h", "GET h/old", "http://h/new");
    check_location("to-scheme=https", "h:8080", "GET h/a?b", "https://h/a?b");
    check_location("to-scheme=https", "[::1]:8080", "GET h/a", "https://[::1]/a");
    check_location("to-scheme=https", "[::1]", "GET h/a", "https://[::1]/a");
    check_location("to-scheme=http", "h:8080", "GET h/a", "http://h:8080/a");
    check_location("to-scheme=https to-host=b:8443", "h:8080", "GET h/a", "https://b:8443/a");
    check_location("to-host=b", "h:8080", "GET h/a?", "http://b/a?");
    check_location("to-path=/x?y", "h", "GET h/a?b", "http://h/x?y");
    check_location("strip-query", "h", "GET h/a?b", "http://h/a");
    check_location("to-prefix=/x", "", "GET /a?b", "/x/a?b");
    check_location("to-path=/x keep-query", "h", "GET h/a?b", "http://h/x?b");
    check_location("to-path=/x keep-query strip-query", "h", "GET h/a?b", "http://h/x");
    check_location("to-path=/x?y keep-query", "h", "GET h/a?b", "http://h/x?y");
    check_location("to-path=/x keep-query", "h", "GET h/a", "http://h/x");
    check_location("to-port=8443", "h:8080", "GET h/a", "http://h:8443/a");
    check_location("to-port=8443 to-host=b", "[::1]", "GET h/a", "http://b:8443/a");
    check_location("to-port=8443 to-scheme=https", "[::1]:80", "GET h/a", "https://[::1]:8443/a");
    check_location("to-scheme=https keep-port", "h:8080", "GET h/a", "https://h:8080/a");
    check_location("to-scheme=https keep-port", "h:80", "GET h/a", "https://h/a");
    check_location("to-scheme=https keep-port", "h:443", "GET h/a", "https://h:443/a");
    check_location("to-scheme=https keep-port", "h", "GET h/a", "https://h/a");
    check_location("to-regex=^/a/(.*) to-substitution=/b/\\1", "h", "GET h/a/x?q", "http://h/b/x?q");
    check_location("starts=/ol to-prefix=/new", "h", "GET h/old", "http://h/newd");
    check_location("strip-query", "", "GET //evil.example/a?b", "/.//evil.example/a");
}

/* ---- tables that are refused */

struct fault {
    const char *text;
    enum error_code code;
    const char *path, *expected;
};

static const struct fault faults[] = {
    {"host\nrule respond=200", ERROR_MISSING, "hosts[0].domains", NULL},
    {"host A.com\nrule respond=200", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host a.com b.com:80\nrule respond=200", ERROR_SYNTAX, "hosts[0].domains[1]", NULL},
    {"host a.com.", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host a.*.com", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host *.", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host *a*", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host a*b", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host **", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host a.*:80", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host *.a:80", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host a.*\nhost b a.*", ERROR_CONFLICT, "hosts[1].domains[1]", NULL},
    {"ports\nhost a:0", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host *\nrule starts=x respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.path.starts_with", NULL},
    {"host *\nrule regex=/x ignore-case respond=200", ERROR_CONFLICT, "hosts[0].rules[0].match.path.ignore_case",
     "(?i) in the regular expression"},
    {"host *\nrule header=x:~regex:a respond=200", ERROR_CONFLICT, "hosts[0].rules[0].match.headers[0]",
     "(?i) in the regular expression"},
    {"host *\nrule header=x:range:5..5 respond=200", ERROR_RANGE, "hosts[0].rules[0].match.headers[0]", NULL},
    {"host *\nrule header=:status:exact:1 respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.headers[0].name", NULL},
    {"host *\nrule fraction=1/0 respond=200", ERROR_RANGE, "hosts[0].rules[0].match.fraction", NULL},
    {"host *\nrule redirect=308 to-port=65536", ERROR_RANGE, "hosts[0].rules[0].redirect.port", NULL},
    {"host *\nrule redirect=308 to-regex=a", ERROR_MISSING, "hosts[0].rules[0].redirect.substitution", NULL},
    {"host *\nrule redirect=308 to-host=a keep-query", ERROR_CONFLICT, "hosts[0].rules[0].redirect.keep_query", NULL},
    {"host a_b/c", ERROR_SYNTAX, "hosts[0].domains[0]", NULL},
    {"host a\nhost b a", ERROR_CONFLICT, "hosts[1].domains[1]", NULL},
    {"host *.a\nhost *.a", ERROR_CONFLICT, "hosts[1].domains[0]", NULL},
    {"host *\nhost *", ERROR_CONFLICT, "hosts[1].domains[0]", NULL},
    {"host *\nrule prefix=/", ERROR_MISSING, "hosts[0].rules[0]", NULL},
    {"host *\nrule respond=200\nrule exact=a respond=200", ERROR_SYNTAX, "hosts[0].rules[1].match.path.exact", NULL},
    {"host *\nrule exact= respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.path.exact", NULL},
    {"host *\nrule prefix=* respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.path.prefix", NULL},
    {"host *\nrule exact=/a/../b respond=200", ERROR_RANGE, "hosts[0].rules[0].match.path.exact", "\"/b\""},
    {"host *\nrule prefix=/%7euser respond=200", ERROR_RANGE, "hosts[0].rules[0].match.path.prefix", "\"/~user\""},
    {"host *\nrule prefix=/a%zz respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.path.prefix", NULL},
    {"host *\nrule regex=/(a respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.path.regex", NULL},
    {"host *\nrule regex=/\\C respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.path.regex", NULL},
    {"host *\nrule no-path respond=200", ERROR_MISSING, "hosts[0].rules[0].match.path", NULL},
    {"host *\nrule method=G%_T respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.methods[0]", NULL},
    {"host *\nrule method=GET method= respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.methods[1]", NULL},
    {"host *\nrule header=X:exact:a respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.headers[0].name", NULL},
    {"host *\nrule header=x:exact:a header=y respond=200", ERROR_MISSING, "hosts[0].rules[0].match.headers[1]", NULL},
    {"host *\nrule header=x:regex:* respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.headers[0].regex", NULL},
    {"host *\nrule query=x:regex:[ respond=200", ERROR_SYNTAX, "hosts[0].rules[0].match.query[0].regex", NULL},
    {"host *\nrule respond=100", ERROR_RANGE, "hosts[0].rules[0].respond.status", NULL},
    {"host *\nrule respond=600", ERROR_RANGE, "hosts[0].rules[0].respond.status", NULL},
    {"host *\nrule respond=204 body=x", ERROR_CONFLICT, "hosts[0].rules[0].respond.body", NULL},
    {"host *\nrule respond=200 field=X:y", ERROR_SYNTAX, "hosts[0].rules[0].respond.headers[0]", NULL},
    {"host *\nrule respond=200 field=x:y%_", ERROR_SYNTAX, "hosts[0].rules[0].respond.headers[0]", NULL},
    {"host *\nrule respond=200 field=a:b field=transfer-encoding:y", ERROR_CONFLICT,
     "hosts[0].rules[0].respond.headers[1]", NULL},
    {"host *\nrule redirect=200 to-host=a", ERROR_RANGE, "hosts[0].rules[0].redirect.status", NULL},
    {"host *\nrule redirect=301", ERROR_MISSING, "hosts[0].rules[0].redirect", NULL},
    {"host *\nrule redirect=301 to-scheme=ftp", ERROR_RANGE, "hosts[0].rules[0].redirect.scheme", NULL},
    {"host *\nrule redirect=301 to-host=a/b", ERROR_SYNTAX, "hosts[0].rules[0].redirect.host", NULL},
    {"host *\nrule redirect=301 to-path=//a", ERROR_SYNTAX, "hosts[0].rules[0].redirect.path", NULL},
    {"host *\nrule redirect=301 to-path=/a%_b", ERROR_SYNTAX, "hosts[0].rules[0].redirect.path", NULL},
    {"host *\nrule redirect=301 to-path=/a to-prefix=/b", ERROR_CONFLICT, "hosts[0].rules[0].redirect.prefix", NULL},
    {"host *\nrule regex=/a redirect=301 to-prefix=/b", ERROR_CONFLICT, "hosts[0].rules[0].redirect.prefix", NULL},
    {"host *\nrule forward=", ERROR_MISSING, "hosts[0].rules[0].forward.clusters[0].name", NULL},
    {"host *\nrule forward=a*0,b*0", ERROR_RANGE, "hosts[0].rules[0].forward.clusters", NULL},
    {"host *\nrule forward=a*4294967295,b*1", ERROR_RANGE, "hosts[0].rules[0].forward.clusters", NULL},
    {"host *\nrule respond=200 rewrite-prefix=/a", ERROR_CONFLICT, "hosts[0].rules[0].rewrite", NULL},
    {"host *\nrule redirect=301 to-host=a retries=1", ERROR_CONFLICT, "hosts[0].rules[0].retry", NULL},
    {"host *\nrule forward=a retries=101", ERROR_RANGE, "hosts[0].rules[0].retry.retries", NULL},
    {"host *\nrule forward=a rewrite-prefix=/a/./b", ERROR_RANGE, "hosts[0].rules[0].rewrite.prefix", "\"/a/b\""},
    {"host *\nrule regex=/a forward=a rewrite-prefix=/a", ERROR_CONFLICT, "hosts[0].rules[0].rewrite.prefix", NULL},
    {"host *\nrule forward=a rewrite-prefix=/a rewrite-regex=a substitution=b", ERROR_CONFLICT,
     "hosts[0].rules[0].rewrite.regex", NULL},
    {"host *\nrule forward=a rewrite-regex=a", ERROR_MISSING, "hosts[0].rules[0].rewrite.substitution", NULL},
    {"host *\nrule forward=a substitution=a", ERROR_MISSING, "hosts[0].rules[0].rewrite.regex", NULL},
    {"host *\nrule forward=a rewrite-regex=( substitution=b", ERROR_SYNTAX, "hosts[0].rules[0].rewrite.regex", NULL},
    {"host *\nrule forward=a rewrite-regex=(a) substitution=\\2", ERROR_SYNTAX,
     "hosts[0].rules[0].rewrite.substitution", NULL},
    {"host *\nrule forward=a rewrite-regex=(a) substitution=b\\", ERROR_SYNTAX,
     "hosts[0].rules[0].rewrite.substitution", NULL},
    {"host *\nrule forward=a rewrite-regex=(a) substitution=b?c", ERROR_SYNTAX,
     "hosts[0].rules[0].rewrite.substitution", NULL},
    {"host *\nrule forward=a rewrite-host=a%_b", ERROR_SYNTAX, "hosts[0].rules[0].rewrite.host", NULL},
    {"host *\nrule forward=a rewrite-host=a host-from-endpoint", ERROR_CONFLICT, "hosts[0].rules[0].rewrite.host",
     NULL},
};

static void bad_tables_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct table_text t;
        table_text_init(&t, faults[i].text, NULL);
        assert_null(t.table);
        if (t.errors.count != 1)
            fail_msg("%s: %zu errors", faults[i].text, t.errors.count);
        const struct error *e = &t.errors.items[0];
        if (e->code != faults[i].code)
            fail_msg("%s: %s: %s", faults[i].text, error_code_name(e->code), e->message);
        assert_string_equal(e->resource, "route-table/test");
        assert_string_equal(e->path, faults[i].path);
        if (faults[i].expected)
            assert_string_equal(e->expected, faults[i].expected);
        table_text_finish(&t);
    }
}

static void all_errors_are_told(void **state) {
    (void)state;
    struct table_text t;
    table_text_init(&t, "host A\nrule exact=b respond=99\nrule respond=200\nhost c\nrule\n", NULL);
    assert_null(t.table);
    assert_int_equal(t.errors.count, 4);
    table_text_finish(&t);
}

/* Prefixes inside each other are bounded, since each of them is a candidate. */
static void nesting_is_bounded(void **state) {
    (void)state;
    for (int levels = 60; levels <= 61; levels++) {
        struct strbuf text = {0}, path = {0}, request = {0};
        struct table_text t;
        struct request_text r;
        struct route_match match;
        strbuf_puts(&text, "host z\nhost *\n");
        for (int i = 0; i < levels; i++) {
            strbuf_puts(&path, "/a");
            strbuf_printf(&text, "rule prefix=%s respond=200 method=%s\n", path.p, i == 59 ? "GET" : "X");
        }
        strbuf_printf(&text, "rule exact=%s respond=200 method=PUT\nrule respond=200", path.p);
        table_text_init(&t, text.p, NULL);
        assert_int_equal(t.table != NULL, levels == 60);
        if (t.table) {
            strbuf_printf(&request, "GET h%s", path.p);
            route_table_match(t.table, request_text(&t, request.p, &r), scratch, &match);
            assert_string_equal(match.route->name.p, "1.59");
            request.p[0] = 'P', request.p[1] = 'U';
            route_table_match(t.table, request_text(&t, request.p, &r), scratch, &match);
            assert_string_equal(match.route->name.p, "1.60");
        } else {
            assert_string_equal(t.errors.items[0].path, "hosts[1].rules[60].match.path.prefix");
        }
        table_text_finish(&t);
        strbuf_finish(&text);
        strbuf_finish(&path);
        strbuf_finish(&request);
    }
}

/* ---- explain */

static void explanations(void **state) {
    (void)state;
    static const char *const expected[] = {
        "path is \"/api/x\", expected exact \"/api\"",
        "path is \"/api/x\", expected prefix \"/v1\"",
        "path is \"/api/x\", expected regex \"/z+\"",
        "method is GET, expected POST or PUT",
        "header \"x-a\" is \"2\", expected exact \"1\"",
        "header \"x-b\" is absent, expected prefix \"1\"",
        "header \"x-a\" is \"2\", expected not present",
        "query \"q\" is \"7\", expected not contains \"7\"",
        "query \"p\" is absent, expected present",
        "header \"x-e\": regex \"(a+)+[xy]\" gave up at a limit",
    };
    struct table_text t;
    struct request_text r;
    struct route_explanation e;
    table_text_init(&t,
                    "host b.com\nrule respond=200\nhost *.a.com\n"
                    "rule exact=/api respond=200\nrule prefix=/v1/ respond=200\nrule regex=/z+ respond=200\n"
                    "rule prefix=/api method=POST method=PUT respond=200\nrule header=x-a:exact:1 respond=200\n"
                    "rule header=x-a:present header=x-b:prefix:1 respond=200\nrule header=x-a:absent respond=200\n"
                    "rule query=q:!contains:7 respond=200\nrule query=p:present respond=200\nrule "
                    "header=x-e:regex:(a+)+[xy] respond=200\n"
                    "rule name=it prefix=/ respond=200\nrule respond=200",
                    NULL);
    assert_non_null(t.table);
    request_text(&t, "GET x.a.com/api/x?q=7 x-a:2 x-e:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", &r);
    assert_int_equal(route_table_explain(t.table, &r.request, scratch, &t.arena, &e), 0);
    assert_true(e.has_host && e.match.limit_hit);
    assert_int_equal(e.host, 1);
    assert_true(str_eq(e.domain, STR("*.a.com")));
    assert_null(e.match.route);
    assert_int_equal(e.rule_count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < e.rule_count; i++) {
        assert_true(str_eq(e.rules[i].why_not, str_of(expected[i])));
        assert_false(e.rules[i].matches);
        assert_int_equal(e.rules[i].rule, i);
    }
    request_text(&t, "GET x.a.com/api/x?q=7 x-a:2 x-e:b", &r);
    assert_int_equal(route_table_explain(t.table, &r.request, scratch, &t.arena, &e), 0);
    assert_true(e.has_host && !e.match.limit_hit);
    assert_string_equal(e.match.route->name.p, "it");
    assert_int_equal(e.rule_count, sizeof expected / sizeof *expected + 1);
    assert_true(e.rules[e.rule_count - 1].matches);
    request_text(&t, "GET nowhere/", &r);
    assert_int_equal(route_table_explain(t.table, &r.request, scratch, &t.arena, &e), 0);
    assert_false(e.has_host);
    struct arena none;
    arena_init(&none, NULL, 0, 1);
    request_text(&t, "GET b.com/", &r);
    assert_int_equal(route_table_explain(t.table, &r.request, scratch, &none, &e), -1);
    arena_finish(&none);
    table_text_finish(&t);
}

/* ---- memory */

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    struct table_text t;
    table_text_init(
        &t,
        "host *.a b c d\nrule regex=/(a) query=q:regex:b respond=200\nrule prefix=/a/b/c/d/e/f/g forward=a,b\n"
        "rule exact=/%41 respond=200\nrule rewrite-regex=(a) substitution=\\1 forward=c\nhost *\nrule respond=200",
        NULL);
    assert_null(t.table);
    t.message.hosts[0]->rules[2]->match->path->exact[1] = 'x';
    t.message.hosts[0]->rules[2]->match->path->exact[2] = '\0';
    struct error_list none = {0};
    uint64_t before = hg_alloc_count();
    struct route_table *whole = route_table_build(&t.message, "test", NULL, &none);
    long total = (long)(hg_alloc_count() - before), failures = 0;
    assert_non_null(whole);
    route_table_free(whole);
    for (long i = 0; i < total; i++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(i, 0);
        struct route_table *table = route_table_build(&t.message, "test", NULL, &errors);
        hg_alloc_fail_at(-1, 0);
        if (!table) /* without memory for the JIT compiler it is built all the same */
            assert_int_equal(errors.items[errors.count - 1].code, ERROR_MEMORY);
        failures += table == NULL;
        route_table_free(table);
        error_list_finish(&errors);
    }
    assert_true(failures > 20);
    for (long i = 0;; i++) {
        hg_alloc_fail_at(i, 0);
        struct route_scratch *s = route_scratch_create();
        hg_alloc_fail_at(-1, 0);
        route_scratch_destroy(s);
        if (s)
            break;
        assert_true(i < 20);
    }
    table_text_finish(&t);
    route_table_free(NULL);
    route_scratch_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_without_a_path),
        cmocka_unit_test(hosts_from_exact_to_any),
        cmocka_unit_test(paths),
        cmocka_unit_test(first_match_wins),
        cmocka_unit_test(headers),
        cmocka_unit_test(query),
        cmocka_unit_test(limits_are_hit_not_passed),
        cmocka_unit_test(long_values_hit_a_limit),
        cmocka_unit_test(matching_allocates_nothing),
        cmocka_unit_test(timeouts_and_limits),
        cmocka_unit_test(retries),
        cmocka_unit_test(weights_are_exact),
        cmocka_unit_test(targets),
        cmocka_unit_test(regex_rewrite_is_bounded),
        cmocka_unit_test(unchanged_targets_are_not_copied),
        cmocka_unit_test(locations),
        cmocka_unit_test(bad_tables_are_refused),
        cmocka_unit_test(all_errors_are_told),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(explanations),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
