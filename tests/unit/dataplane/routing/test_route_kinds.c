/* What rules from other gateways say: wildcards at both ends, ports, beginnings of paths, conditions on the request
 * line and on numbers, shares of the requests, further reasons to retry. */
#include "tests/unit/dataplane/routing/tables.h"

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

static void wildcards_at_both_ends(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"GET a.example.com/", "dot"}, {"GET x-eu.example.com/", "part"}, {"GET y.x-eu.example.com:1/", "part"},
        {"GET -eu.example.com/", "dot"}, {"GET example.org/", "front"}, {"GET example.org.uk/", "longer"},
        {"GET example./", "any"}, {"GET EXAMPLE.Net/", "front"}, {"GET other/", "any"}, {"GET example.com/", "front"},
    };
    CHECK_MATCHES("host *\nrule name=any respond=200\n"
                  "host *.example.com\nrule name=dot respond=200\n"
                  "host *-eu.example.com\nrule name=part respond=200\n"
                  "host example.*\nrule name=front respond=200\n"
                  "host example.org.*\nrule name=longer respond=200\n", expected);
}

static void ports_count_where_the_table_says_so(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"GET a/", "a"}, {"GET a:80/", "a80"}, {"GET a:81/", "any"}, {"GET x.a/", "wild"}, {"GET x.a:8080/", "wild8080"},
        {"GET x.a:1/", "any"}, {"GET b.c:1/", "front"}, {"GET [::1]:80/", "v6"}, {"GET [::1]/", "any"},
    };
    CHECK_MATCHES("ports\nhost *\nrule name=any respond=200\n"
                  "host a\nrule name=a respond=200\n"
                  "host a:80\nrule name=a80 respond=200\n"
                  "host *.a\nrule name=wild respond=200\n"
                  "host *.a:8080\nrule name=wild8080 respond=200\n"
                  "host b.*\nrule name=front respond=200\n"
                  "host [::1]:80\nrule name=v6 respond=200\n", expected);
}

static void beginnings_of_paths(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"GET a/api", "api"}, {"GET a/apix/y", "api"}, {"GET a/api/v2", "deep"}, {"GET a/api/v2.1/x", "deep"},
        {"GET a/api/v", "api"}, {"GET a/dir/", "dir"}, {"GET a/dir/x/y", "dir"}, {"GET a/dir", "rest"}, {"GET a/ap", "rest"},
        {"GET a/0123456789abcdefgh", "long"}, {"GET a/0123456789abcdefxx", "rest"}, {"GET a/0123456789abcdefg", "long2"},
        {"GET a/FoLder/x", "nocase"}, {"GET a/folderx", "rest"}, {"GET a/EXACT", "exact"}, {"GET a/startss", "starts"},
    };
    CHECK_MATCHES("host *\n"
                  "rule name=deep starts=/api/v2 respond=200\n"
                  "rule name=api starts=/api respond=200\n"
                  "rule name=dir starts=/dir/ respond=200\n"
                  "rule name=long starts=/0123456789abcdefgh respond=200\n"
                  "rule name=long2 starts=/0123456789abcdefg respond=200\n"
                  "rule name=nocase prefix=/folder ignore-case respond=200\n"
                  "rule name=exact exact=/exAct ignore-case respond=200\n"
                  "rule name=starts starts=/START ignore-case respond=200\n"
                  "rule name=rest starts=/ respond=200\n", expected);
}

static void conditions_on_the_request_line(void **state) {
    (void)state;
    static const struct expectation expected[] = {
        {"PUT a/x", "method"}, {"POST a/x", "method"}, {"GET a/x?q=1", "path"}, {"GET a:8080/y", "authority"},
        {"GET a/y x:15", "range"}, {"GET a/y x:20", "more"}, {"GET a/y x:9", "scheme"}, {"GET a/y x:1x", "scheme"},
        {"GET a/y w:ABC", "word"}, {"GET a/y w:xxaBc", "word"}, {"GET a/y w:ab", "scheme"},
    };
    CHECK_MATCHES("host *\n"
                  "rule name=method header=:method:regex:P.* respond=200\n"
                  "rule name=path header=:path:exact:/x?q=1 respond=200\n"
                  "rule name=authority header=:authority:suffix::8080 respond=200\n"
                  "rule name=tls header=:scheme:exact:https respond=200\n"
                  "rule name=range header=x:range:10..20 respond=200\n"
                  "rule name=more header=x:range:20.. respond=200\n"
                  "rule name=word header=w:~contains:bC header=w:~suffix:BC header=w:!~exact:q header=w:~prefix: "
                  "respond=200\n"
                  "rule name=scheme header=:scheme:exact:http respond=200\n", expected);
}

static void a_fraction_is_taken_by_the_number_of_the_request(void **state) {
    (void)state;
    struct table_text t;
    unsigned counts[3] = {0, 0, 0};
    table_text_init(&t, "host *\nrule fraction=30/100 respond=200\nrule fraction=1/2 respond=201\nrule respond=202", NULL);
    for (uint32_t i = 0; i < 1000; i++) {
        struct request_text r;
        struct route_match match;
        request_text(&t, "GET a/", &r)->random = i;
        route_table_match(t.table, &r.request, scratch, &match);
        counts[match.route->rule->respond->status - 200]++;
    }
    assert_int_equal(counts[0], 300);
    assert_int_equal(counts[1], 350);
    assert_int_equal(counts[2], 350);
    table_text_finish(&t);
}

static void statuses_of_all_kinds_are_retried(void **state) {
    (void)state;
    struct table_text t;
    struct request_text r;
    struct route_match match;
    uint32_t statuses[] = {425, 507}, grpc[] = {14};
    table_text_init(&t, "host *\nrule exact=/none forward=a\nrule forward=a retries=1", NULL);
    Headgate__Retry *retry = t.message.hosts[0]->rules[1]->retry;
    retry->statuses = statuses, retry->n_statuses = 2;
    retry->grpc_statuses = grpc, retry->n_grpc_statuses = 1;
    route_table_free(t.table);
    t.table = route_table_build(&t.message, "test", NULL, &t.errors);
    route_table_match(t.table, request_text(&t, "GET h/", &r), scratch, &match);
    assert_false(match.route->retry.on_connect_failure);
    assert_true(retries_answer(&t, match.route, 425, NULL) && retries_answer(&t, match.route, 507, NULL));
    assert_false(retries_answer(&t, match.route, 503, NULL));
    assert_true(retries_answer(&t, match.route, 200, "14"));
    assert_false(retries_answer(&t, match.route, 200, "1") || retries_answer(&t, match.route, 200, "x14"));
    route_table_match(t.table, request_text(&t, "GET h/none", &r), scratch, &match);
    assert_false(retries_answer(&t, match.route, 503, "14"));
    table_text_finish(&t);
}

/* Likewise the lengths of parts of segments: 16 at each level. */
static void parts_inside_each_other_are_bounded(void **state) {
    (void)state;
    for (int levels = 8; levels <= 9; levels++) {
        struct strbuf text = {0}, path = {0}, request = {0};
        struct table_text t;
        struct request_text r;
        struct route_match match;
        strbuf_puts(&text, "host *\n");
        for (int i = 0; i < levels; i++) {
            for (int n = 1; n <= 16; n++)
                strbuf_printf(&text, "rule starts=%s/%.*s method=X respond=200\n", path.p ? path.p : "", n,
                              "aaaaaaaaaaaaaaaa");
            strbuf_puts(&path, "/aaaaaaaaaaaaaaaa");
        }
        strbuf_printf(&text, "rule starts=%s name=last respond=200\n", path.p);
        table_text_init(&t, text.p, NULL);
        assert_int_equal(t.table != NULL, levels == 8);
        strbuf_printf(&request, "GET h%sz", path.p);
        if (t.table) {
            route_table_match(t.table, request_text(&t, request.p, &r), scratch, &match);
            assert_string_equal(match.route->name.p, "last");
        } else {
            assert_string_equal(t.errors.items[0].path, "hosts[0].rules");
        }
        table_text_finish(&t);
        strbuf_finish(&text);
        strbuf_finish(&path);
        strbuf_finish(&request);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wildcards_at_both_ends),
        cmocka_unit_test(ports_count_where_the_table_says_so),
        cmocka_unit_test(beginnings_of_paths),
        cmocka_unit_test(conditions_on_the_request_line),
        cmocka_unit_test(a_fraction_is_taken_by_the_number_of_the_request),
        cmocka_unit_test(statuses_of_all_kinds_are_retried),
        cmocka_unit_test(parts_inside_each_other_are_bounded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
