/* The seventeen rules that a client of xDS must keep, by their numbers; docs/xds.md lists them. */
#include <unistd.h>

#include "controlplane/xds/pace.h"
#include "tests/unit/controlplane/xds/machine.h"

static struct machine start(enum xds_form form, bool is_aggregated) {
    struct machine m = machine_defaults(form);
    m.o.is_aggregated = is_aggregated;
    return m;
}

static void begin(struct machine *m) {
    assert_true(machine_create(m));
}

/* Clusters by wildcard, endpoints "a" and "b" by name; both asked for. */
static void ask_for_all(struct machine *m) {
    begin(m);
    want(m, CLUSTERS, "*");
    want(m, ENDPOINTS, "a");
    want(m, ENDPOINTS, "b");
    open_streams(m);
    for (size_t i = 0; i < xds_protocol_stream_count(m->p); i++)
        flush(m, i);
}

static struct machine asked(enum xds_form form) {
    return start(form, true);
}

static void rule_01_the_first_request_has_the_node(void **state) {
    (void)state;
    for (int is_aggregated = 0; is_aggregated < 2; is_aggregated++) {
        struct machine m = start(XDS_STATE_OF_THE_WORLD, is_aggregated);
        begin(&m);
        want(&m, CLUSTERS, "*");
        want(&m, ENDPOINTS, "a");
        open_streams(&m);
        assert_true(ask(&m, CLUSTERS));
        assert_true(m.request.has_node);
        assert_str(m.request.type_url, CLUSTER_URL);
        sent(&m, CLUSTERS);
        assert_true(ask(&m, ENDPOINTS));
        assert_int_equal(m.request.has_node, !is_aggregated);
        sent(&m, ENDPOINTS);
        reopen(&m, "");
        assert_true(ask(&m, CLUSTERS));
        assert_true(m.request.has_node);
        xds_protocol_destroy(m.p);
    }
}

static void rule_02_each_type_has_its_version_and_nonce(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    ask_for_all(&m);
    assert_int_equal(say(&m, CLUSTERS, "c1", "n1", "x=1"), XDS_OK);
    assert_int_equal(say(&m, ENDPOINTS, "e1", "n2", "a=1"), XDS_OK);
    assert_true(ask(&m, CLUSTERS));
    assert_str(m.request.type_url, CLUSTER_URL);
    assert_str(m.request.version, "c1");
    assert_str(m.request.response_nonce, "n1");
    sent(&m, CLUSTERS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.type_url, ENDPOINT_URL);
    assert_str(m.request.version, "e1");
    assert_str(m.request.response_nonce, "n2");
    assert_asks_for(&m, "a b");
    xds_protocol_destroy(m.p);
}

static void rule_03_every_response_has_one_answer(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    ask_for_all(&m);
    say(&m, ENDPOINTS, "1", "n1", "a=1");
    say(&m, ENDPOINTS, "2", "n2", "a=bad");
    say(&m, ENDPOINTS, "3", "n3", "a=3");
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.response_nonce, "n1");
    assert_str(m.request.version, "1");
    assert_false(m.request.is_refusal);
    sent(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.response_nonce, "n2");
    assert_true(m.request.is_refusal);
    assert_str(m.request.error, "a: connect_timeout: not a duration");
    sent(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.response_nonce, "n3");
    assert_str(m.request.version, "3");
    sent(&m, ENDPOINTS);
    assert_false(ask(&m, ENDPOINTS));
    say(&m, ENDPOINTS, "4", "n4", "a=bad");
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "3");
    assert_true(m.request.is_refusal);
    assert_int_equal(xds_protocol_counters(m.p)->acks, 2);
    assert_int_equal(xds_protocol_counters(m.p)->nacks, 2);
    xds_protocol_destroy(m.p);
}

static void rule_04_a_change_has_the_latest_nonce_and_none_in_delta(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = asked(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        ask_for_all(&m);
        say(&m, ENDPOINTS, "1", "n1", "a=1@1");
        assert_int_equal(flush(&m, ENDPOINTS), 1);
        want(&m, ENDPOINTS, "c");
        xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("b"));
        assert_true(ask(&m, ENDPOINTS));
        assert_str(m.request.response_nonce, is_delta ? "" : "n1");
        assert_str(m.request.version, is_delta ? "" : "1");
        assert_asks_for(&m, is_delta ? "c" : "a c");
        assert_gives_up(&m, is_delta ? "b" : "");
        sent(&m, ENDPOINTS);
        assert_false(ask(&m, ENDPOINTS));
        xds_protocol_destroy(m.p);
    }
}

/* The server may have dropped them with their old nonce, and the answer that would repeat them waits for READY. Once is
 * enough: a server that has not got them is not asked for ever. */
static void rule_04_names_that_crossed_a_response_are_said_again(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    m.is_held = true;
    ask_for_all(&m);
    want(&m, ENDPOINTS, "c");
    assert_int_equal(flush(&m, ENDPOINTS), 1);
    say(&m, ENDPOINTS, "1", "n1", "a=1 b=1");
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.response_nonce, "n1");
    assert_str(m.request.version, "");
    assert_asks_for(&m, "a b c");
    sent(&m, ENDPOINTS);
    assert_false(ask(&m, ENDPOINTS));
    say(&m, ENDPOINTS, "1", "n2", "a=1 b=1");
    assert_false(ask(&m, ENDPOINTS));
    want(&m, ENDPOINTS, "d");
    assert_int_equal(flush(&m, ENDPOINTS), 1);
    say(&m, ENDPOINTS, "2", "n3", "a=1 b=1 c=1 d=1");
    assert_false(ask(&m, ENDPOINTS));
    xds_protocol_destroy(m.p);
}

static void rule_05_nonces_do_not_survive_the_stream(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = asked(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        ask_for_all(&m);
        say(&m, ENDPOINTS, "7", "n1", "a=1@v");
        reopen(&m, "");
        assert_true(ask(&m, CLUSTERS));
        sent(&m, CLUSTERS);
        assert_true(ask(&m, ENDPOINTS));
        assert_str(m.request.response_nonce, "");
        assert_str(m.request.version, is_delta ? "" : "7");
        assert_asks_for(&m, "a b");
        assert_int_equal(m.request.initial_version_count, is_delta);
        if (is_delta) {
            assert_str(m.request.initial_versions[0].name, "a");
            assert_str(m.request.initial_versions[0].version, "v");
        }
        sent(&m, ENDPOINTS);
        assert_false(ask(&m, ENDPOINTS));
        xds_protocol_destroy(m.p);
    }
}

static void rule_06_absence_deletes_clusters_and_no_endpoints(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    ask_for_all(&m);
    say(&m, CLUSTERS, "1", "n1", "x=1 y=1");
    say(&m, ENDPOINTS, "1", "n2", "a=1 b=1");
    say(&m, ENDPOINTS, "2", "n3", "b=2");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
    say(&m, CLUSTERS, "2", "n4", "y=1");
    assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "");
    assert_string_equal(bytes_of(&m, CLUSTERS, "y"), "1");
    say(&m, CLUSTERS, "3", "n5", "");
    assert_string_equal(bytes_of(&m, CLUSTERS, "y"), "");
    xds_protocol_destroy(m.p);
}

static void wildcard_in_the_world(void) {
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    begin(&m);
    want(&m, CLUSTERS, "*");
    open_streams(&m);
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "");
    sent(&m, CLUSTERS);
    want(&m, CLUSTERS, "x");
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "* x");
    sent(&m, CLUSTERS);
    xds_protocol_unsubscribe(m.p, CLUSTERS, STR("x"));
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "*");
    sent(&m, CLUSTERS);
    xds_protocol_unsubscribe(m.p, CLUSTERS, STR("*"));
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "");
    sent(&m, CLUSTERS);
    assert_false(ask(&m, CLUSTERS));
    reopen(&m, "");
    assert_false(ask(&m, CLUSTERS));
    xds_protocol_destroy(m.p);
}

/* Naming nothing would go on to mean everything, so that "*" has to be named before it is given up. */
static void legacy_wildcard_given_up(enum xds_form form) {
    struct machine m = asked(form);
    begin(&m);
    want(&m, CLUSTERS, "*");
    open_streams(&m);
    flush(&m, CLUSTERS);
    say(&m, CLUSTERS, "1", "n1", "x=1@1");
    flush(&m, CLUSTERS);
    xds_protocol_unsubscribe(m.p, CLUSTERS, STR("*"));
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "*");
    sent(&m, CLUSTERS);
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "");
    assert_gives_up(&m, form == XDS_DELTA ? "*" : "");
    sent(&m, CLUSTERS);
    assert_null(held(&m, CLUSTERS, "x"));
    xds_protocol_destroy(m.p);
}

static void wildcard_in_delta(void) {
    struct machine m = asked(XDS_DELTA);
    m.is_explicit = true;
    begin(&m);
    want(&m, CLUSTERS, "*");
    open_streams(&m);
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "*");
    sent(&m, CLUSTERS);
    want(&m, CLUSTERS, "x");
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "x");
    sent(&m, CLUSTERS);
    xds_protocol_unsubscribe(m.p, CLUSTERS, STR("*"));
    assert_true(ask(&m, CLUSTERS));
    assert_asks_for(&m, "");
    assert_gives_up(&m, "*");
    xds_protocol_destroy(m.p);
}

static void rule_07_wildcards_legacy_and_explicit(void **state) {
    (void)state;
    wildcard_in_the_world();
    legacy_wildcard_given_up(XDS_STATE_OF_THE_WORLD);
    legacy_wildcard_given_up(XDS_DELTA);
    wildcard_in_delta();
}

static void rule_08_unasked_is_ignored_and_twice_is_refused(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = asked(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        ask_for_all(&m);
        say(&m, ENDPOINTS, "1", "n1", "z=bad a=1");
        assert_null(held(&m, ENDPOINTS, "z"));
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
        assert_true(ask(&m, ENDPOINTS));
        assert_false(m.request.is_refusal);
        sent(&m, ENDPOINTS);
        say(&m, ENDPOINTS, "2", "n2", "a=2 b=2 a=3");
        assert_true(ask(&m, ENDPOINTS));
        assert_true(m.request.is_refusal);
        assert_str(m.request.error, "a: it is in the response twice");
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
        assert_string_equal(bytes_of(&m, ENDPOINTS, "b"), "");
        assert_int_equal(xds_protocol_counters(m.p)->ignored_resources, 1);
        xds_protocol_destroy(m.p);
    }
}

static void rule_09_what_is_not_sent_does_not_exist(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    begin(&m);
    want(&m, ENDPOINTS, "a");
    want(&m, ENDPOINTS, "b");
    open_streams(&m);
    assert_true(ask(&m, ENDPOINTS));
    pass_time(&m, 100 * SECOND);                /* it has not left yet */
    assert_state(&m, ENDPOINTS, "a", XDS_REQUESTED);
    sent(&m, ENDPOINTS);
    pass_time(&m, 10 * SECOND);
    say(&m, ENDPOINTS, "1", "n1", "b=1");
    reopen(&m, "cut");                          /* the wait begins anew */
    assert_true(ask(&m, ENDPOINTS));
    sent(&m, ENDPOINTS);
    pass_time(&m, 15 * SECOND - 1);
    assert_state(&m, ENDPOINTS, "a", XDS_REQUESTED);
    assert_int_equal(xds_protocol_deadline(m.p), m.now + 1);
    pass_time(&m, 1);
    assert_state(&m, ENDPOINTS, "a", XDS_DOES_NOT_EXIST);
    assert_state(&m, ENDPOINTS, "b", XDS_ACKED);
    say(&m, ENDPOINTS, "2", "n2", "a=late");
    assert_state(&m, ENDPOINTS, "a", XDS_ACKED);
    xds_protocol_destroy(m.p);
}

/* A server that would have said so is only slow; and one may be waited for without end. */
static void rule_09_how_long_is_for_the_server_to_say(void **state) {
    (void)state;
    for (int is_for_ever = 0; is_for_ever < 2; is_for_ever++) {
        struct machine m = asked(XDS_STATE_OF_THE_WORLD);
        m.o.is_timer_transient = true;
        m.o.resource_timeout = is_for_ever ? 0 : 30 * SECOND;
        ask_for_all(&m);
        pass_time(&m, 30 * SECOND - 1);
        assert_state(&m, ENDPOINTS, "a", XDS_REQUESTED);
        pass_time(&m, 1);
        assert_state(&m, ENDPOINTS, "a", is_for_ever ? XDS_REQUESTED : XDS_TIMEOUT);
        assert_int_equal(xds_protocol_counters(m.p)->timeouts, is_for_ever ? 0 : 2);
        xds_protocol_destroy(m.p);
    }
}

/* In delta the server says that there is none; there is nothing to wait for then. */
static void rule_09_delta_says_what_does_not_exist(void **state) {
    (void)state;
    struct machine m = asked(XDS_DELTA);
    ask_for_all(&m);
    say(&m, ENDPOINTS, "1", "n1", "-a");
    assert_state(&m, ENDPOINTS, "a", XDS_DOES_NOT_EXIST);
    assert_state(&m, ENDPOINTS, "b", XDS_REQUESTED);
    assert_int_equal(held(&m, ENDPOINTS, "a")->deadline, 0);
    pass_time(&m, 15 * SECOND);                 /* kept for servers that do not */
    assert_state(&m, ENDPOINTS, "b", XDS_DOES_NOT_EXIST);
    assert_int_equal(xds_protocol_counters(m.p)->timeouts, 1);
    xds_protocol_destroy(m.p);
}

static void rule_10_the_valid_part_is_used(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = asked(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        ask_for_all(&m);
        want(&m, ENDPOINTS, "c");
        want(&m, ENDPOINTS, "d");
        assert_state(&m, ENDPOINTS, "a", XDS_REQUESTED);
        flush(&m, ENDPOINTS);
        say(&m, ENDPOINTS, "1", "n1", "a=1 b=1");
        say(&m, ENDPOINTS, "2", "n2", "a=bad b=2 c=bad !d");
        assert_state(&m, ENDPOINTS, "a", XDS_NACKED);
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
        assert_str(held(&m, ENDPOINTS, "a")->failed_version, "2");
        assert_str(held(&m, ENDPOINTS, "a")->error, "connect_timeout: not a duration");
        assert_state(&m, ENDPOINTS, "b", XDS_ACKED);
        assert_string_equal(bytes_of(&m, ENDPOINTS, "b"), "2");
        assert_state(&m, ENDPOINTS, "c", XDS_NACKED);
        assert_string_equal(bytes_of(&m, ENDPOINTS, "c"), "");
        assert_state(&m, ENDPOINTS, "d", XDS_RECEIVED_ERROR);
        xds_protocol_destroy(m.p);
    }
}

static void data_errors(bool is_failing) {
    struct machine m = asked(XDS_DELTA);
    m.o.fail_on_data_errors = is_failing;
    ask_for_all(&m);
    say(&m, ENDPOINTS, "1", "n1", "a=1@1 b=1@1");
    say(&m, ENDPOINTS, "2", "n2", "-a ?b");
    assert_state(&m, ENDPOINTS, "a", XDS_DOES_NOT_EXIST);
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), is_failing ? "" : "1");
    assert_state(&m, ENDPOINTS, "b", XDS_RECEIVED_ERROR);
    assert_string_equal(bytes_of(&m, ENDPOINTS, "b"), "1");
    say(&m, ENDPOINTS, "3", "n3", "-a !b");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "b"), is_failing ? "" : "1");
    assert_int_equal(xds_protocol_counters(m.p)->deletions_ignored, !is_failing);
    say(&m, ENDPOINTS, "4", "n4", "a=1@1 b=1@1");
    assert_state(&m, ENDPOINTS, "a", XDS_ACKED);
    assert_int_equal(held(&m, ENDPOINTS, "a")->error.n, 0);
    say(&m, ENDPOINTS, "5", "n5", "a=bad@2");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), is_failing ? "" : "1");
    xds_protocol_destroy(m.p);
}

static void rule_11_data_errors_keep_the_copy(void **state) {
    (void)state;
    data_errors(false);
    data_errors(true);
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    m.o.ignore_resource_deletion = true;
    ask_for_all(&m);
    say(&m, CLUSTERS, "1", "n1", "x=1");
    say(&m, CLUSTERS, "2", "n2", "");
    assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "1");
    assert_state(&m, CLUSTERS, "x", XDS_DOES_NOT_EXIST);
    xds_protocol_destroy(m.p);
}

/* How often what is in the log, which has been led into the file, has that text. */
static unsigned count_logged(FILE *log, const char *text) {
    char line[1024];
    unsigned count = 0;
    rewind(log);
    while (fgets(line, sizeof line, log))
        count += strstr(line, text) != NULL;
    return count;
}

static void rule_11_an_ignored_deletion_is_logged_once_and_once_when_it_clears(void **state) {
    (void)state;
    struct machine m = asked(XDS_DELTA);
    FILE *log = tmpfile();
    int before = dup(STDERR_FILENO);
    assert_true(log && before >= 0 && dup2(fileno(log), STDERR_FILENO) == STDERR_FILENO);
    log_set_level(LOG_LEVEL_INFO);
    ask_for_all(&m);
    say(&m, ENDPOINTS, "1", "n1", "a=1@1");
    say(&m, ENDPOINTS, "2", "n2", "-a");
    say(&m, ENDPOINTS, "3", "n3", "-a");
    say(&m, ENDPOINTS, "4", "n4", "a=1@1");
    say(&m, ENDPOINTS, "5", "n5", "a=2@2");
    log_set_level(LOG_LEVEL_ERROR);
    dup2(before, STDERR_FILENO);
    close(before);
    assert_int_equal(count_logged(log, "the server has removed a resource, which is kept"), 1);
    assert_int_equal(count_logged(log, "a resource is back whose removal was ignored"), 1);
    fclose(log);
    xds_protocol_destroy(m.p);
}

static uint64_t wait_after_close(struct machine *m) {
    xds_protocol_closed(m->p, 0, STR("refused"), m->now);
    return xds_protocol_deadline(m->p) - m->now;
}

static void rule_12_an_end_without_a_response_is_an_error(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    m.o.resource_timeout = 0;
    ask_for_all(&m);
    uint64_t wait = 0;
    for (uint64_t base = SECOND; base < 200 * SECOND; base *= 2) {
        uint64_t bounded = base < 120 * SECOND ? base : 120 * SECOND;
        wait = wait_after_close(&m);
        assert_in_range(wait, bounded * 8 / 10, bounded * 12 / 10);
        assert_str(xds_protocol_stream_error(m.p, 0), "refused");
        assert_false(xds_protocol_is_due(m.p, 0, m.now + wait - 1));
        pass_time(&m, wait);
        assert_true(xds_protocol_is_due(m.p, 0, m.now));
        open_streams(&m);
        flush(&m, 0);
    }
    say(&m, CLUSTERS, "1", "n1", "x=1");
    assert_str(xds_protocol_stream_error(m.p, 0), "");
    assert_in_range(wait_after_close(&m), SECOND * 8 / 10, SECOND * 12 / 10);
    assert_str(xds_protocol_stream_error(m.p, 0), "");
    assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "1");
    xds_protocol_destroy(m.p);
}

/* Endpoints before their cluster, a cluster gone before its endpoints, names that come and go meanwhile. */
static void rule_13_any_order_is_survived(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = asked(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        ask_for_all(&m);
        say(&m, ENDPOINTS, "1", "n1", "a=1@1 b=1@1");
        say(&m, CLUSTERS, "1", "n2", "a=1@1");
        say(&m, CLUSTERS, "2", "n3", is_delta ? "-a b=1@1" : "b=1");
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
        xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("a"));
        say(&m, ENDPOINTS, "2", "n4", "a=2@2");
        want(&m, ENDPOINTS, "a");               /* before the server was told: what it sent meanwhile counts */
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "2");
        xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("a"));
        flush(&m, 0);
        assert_null(held(&m, ENDPOINTS, "a"));
        say(&m, ENDPOINTS, "3", "n5", "a=3@3");
        assert_null(held(&m, ENDPOINTS, "a"));
        xds_protocol_destroy(m.p);
    }
}

static void rule_14_a_heartbeat_prolongs_the_time_to_live(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = asked(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        ask_for_all(&m);
        say(&m, CLUSTERS, "1", "n1", "x=1@v+10 y=1@v");
        say(&m, ENDPOINTS, "1", "n2", "a=1@v+10");
        pass_time(&m, 9 * SECOND);
        say(&m, CLUSTERS, "1", "n3", "x@v+10");
        assert_string_equal(bytes_of(&m, CLUSTERS, "y"), "1");      /* heartbeats say nothing of the rest */
        pass_time(&m, 9 * SECOND);
        assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "1");
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "");
        assert_state(&m, ENDPOINTS, "a", XDS_DOES_NOT_EXIST);
        pass_time(&m, 1 * SECOND);
        assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "");
        assert_string_equal(bytes_of(&m, CLUSTERS, "y"), "1");
        flush(&m, 0);
        say(&m, CLUSTERS, "1", "n4", "y@other+10");
        assert_true(ask(&m, CLUSTERS));
        assert_true(m.request.is_refusal);
        xds_protocol_destroy(m.p);
    }
}

static void rule_15_requests_are_paced(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    unsigned count = 0;
    assert_true(m.o.request_tokens == 100 && m.o.requests_per_second == 10); /* as in Envoy */
    m.o.request_tokens = 5;
    m.o.requests_per_second = 10;
    ask_for_all(&m);
    for (uint64_t step = 0; step < 1000; step++) {      /* one second, a change in each millisecond */
        char name[16];
        snprintf(name, sizeof name, "e%u", (unsigned)step);
        want(&m, ENDPOINTS, name);
        count += flush(&m, ENDPOINTS);
        pass_time(&m, SECOND / 1000);
    }
    assert_in_range(count, 12, 13);                     /* three tokens that were left, and ten a second */
    assert_true(xds_protocol_deadline(m.p) > m.now - SECOND / 1000);
    xds_protocol_destroy(m.p);
}

/* The second NACK waits for a second, unless an ACK is behind it: both go at once then, in the order of responses. One that
 * is held back does not hurry it. */
static void rule_15_an_ack_does_not_wait_for_a_nack(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = machine_defaults(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        m.is_held = true;
        assert_true(machine_create(&m));
        want(&m, ENDPOINTS, "a");
        open_streams(&m);
        flush(&m, ENDPOINTS);
        say(&m, ENDPOINTS, "1", "n1", "a=bad");
        assert_int_equal(flush(&m, ENDPOINTS), 1);
        say(&m, ENDPOINTS, "2", "n2", "a=bad");
        say(&m, ENDPOINTS, "3", "n3", "a=3@3");
        assert_int_equal(flush(&m, ENDPOINTS), 0);
        xds_protocol_ready(m.p, xds_protocol_ticket(m.p));
        assert_int_equal(xds_protocol_deadline(m.p), 0);
        assert_true(ask(&m, ENDPOINTS));
        assert_true(m.request.is_refusal);
        assert_str(m.request.response_nonce, "n2");
        sent(&m, ENDPOINTS);
        assert_true(ask(&m, ENDPOINTS));
        assert_false(m.request.is_refusal);
        assert_str(m.request.response_nonce, "n3");
        sent(&m, ENDPOINTS);
        assert_false(ask(&m, ENDPOINTS));
        xds_protocol_destroy(m.p);
    }
}

/* A server that says something bad every other second is read on: each NACK goes a second after the one before, but for the
 * last, which nothing has replaced. */
static void rule_15_a_nack_of_what_was_replaced_waits_less(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = asked(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        unsigned nacks = 0;
        ask_for_all(&m);
        for (unsigned second = 0; second < 120; second++) {
            assert_true(xds_protocol_can_receive(m.p, stream_of(&m, ENDPOINTS)));
            say(&m, ENDPOINTS, "1", "n", "a=bad");
            nacks += flush(&m, ENDPOINTS);
            pass_time(&m, 2 * SECOND);
        }
        assert_in_range(nacks, 119, 120);
        nacks = 0;
        assert_int_equal(say(&m, ENDPOINTS, "1", "n", "a=bad"), XDS_OK);
        assert_int_equal(flush(&m, ENDPOINTS), 1);
        while (xds_protocol_can_receive(m.p, stream_of(&m, ENDPOINTS))) /* and faster: one a second, however many wait */
            assert_int_equal(say(&m, ENDPOINTS, "1", "n", "a=bad"), XDS_OK);
        for (unsigned ms = 0; ms < 10000; ms++) {
            pass_time(&m, SECOND / 1000);
            nacks += flush(&m, ENDPOINTS);
        }
        assert_int_equal(nacks, 10);
        xds_protocol_destroy(m.p);
    }
}

static void rule_16_a_nack_keeps_the_stream(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    ask_for_all(&m);
    assert_int_equal(say(&m, ENDPOINTS, "1", "n1", "a=bad"), XDS_OK);
    assert_int_equal(flush(&m, ENDPOINTS), 1);
    assert_int_equal(say(&m, ENDPOINTS, "2", "n2", "a=1"), XDS_OK);
    assert_true(ask(&m, ENDPOINTS));
    assert_false(m.request.has_node);
    assert_str(m.request.version, "2");
    sent(&m, ENDPOINTS);
    reopen(&m, "UNAVAILABLE: going away");              /* what the stream ended with is nobody's resource */
    assert_state(&m, ENDPOINTS, "a", XDS_ACKED);
    assert_int_equal(held(&m, ENDPOINTS, "a")->error.n, 0);
    xds_protocol_destroy(m.p);
}

/* All names at once, no request without a type, and a server that sends again at each NACK gets few in a minute. */
static void rule_17_what_go_control_plane_does(void **state) {
    (void)state;
    struct machine m = asked(XDS_STATE_OF_THE_WORLD);
    unsigned answers = 0;
    ask_for_all(&m);
    say(&m, ENDPOINTS, "1", "n0", "a=1");
    flush(&m, ENDPOINTS);
    assert_int_equal(say(&m, ENDPOINTS, "2", "n", "a=bad"), XDS_OK);
    for (uint64_t step = 0; step < 60000; step++) {
        while (ask(&m, ENDPOINTS)) {
            assert_true(m.request.is_refusal);
            assert_true(m.request.type_url.n > 0);
            assert_asks_for(&m, "a b");
            assert_str(m.request.version, "1");
            sent(&m, ENDPOINTS);
            assert_int_equal(say(&m, ENDPOINTS, "2", "n", "a=bad"), XDS_OK);
            answers++;
        }
        pass_time(&m, SECOND / 1000);
    }
    assert_in_range(answers, 5, 9);
    xds_protocol_destroy(m.p);
}

/* What it has sent on a stream it may not send again there, given up or not. */
static void rule_17_a_name_that_does_not_come_back(void **state) {
    (void)state;
    for (int is_delta = 0; is_delta < 2; is_delta++) {
        struct machine m = asked(is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        ask_for_all(&m);
        say(&m, ENDPOINTS, "1", "n1", "a=1@1 b=1@1");
        xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("a"));
        flush(&m, ENDPOINTS);
        want(&m, ENDPOINTS, "a");
        flush(&m, ENDPOINTS);
        pass_time(&m, 15 * SECOND - 1);
        assert_false(xds_protocol_must_reopen(m.p, 0, m.now));
        pass_time(&m, 1);
        assert_true(xds_protocol_must_reopen(m.p, 0, m.now));
        xds_protocol_destroy(m.p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_01_the_first_request_has_the_node),
        cmocka_unit_test(rule_02_each_type_has_its_version_and_nonce),
        cmocka_unit_test(rule_03_every_response_has_one_answer),
        cmocka_unit_test(rule_04_a_change_has_the_latest_nonce_and_none_in_delta),
        cmocka_unit_test(rule_04_names_that_crossed_a_response_are_said_again),
        cmocka_unit_test(rule_05_nonces_do_not_survive_the_stream),
        cmocka_unit_test(rule_06_absence_deletes_clusters_and_no_endpoints),
        cmocka_unit_test(rule_07_wildcards_legacy_and_explicit),
        cmocka_unit_test(rule_08_unasked_is_ignored_and_twice_is_refused),
        cmocka_unit_test(rule_09_what_is_not_sent_does_not_exist),
        cmocka_unit_test(rule_09_how_long_is_for_the_server_to_say),
        cmocka_unit_test(rule_09_delta_says_what_does_not_exist),
        cmocka_unit_test(rule_10_the_valid_part_is_used),
        cmocka_unit_test(rule_11_data_errors_keep_the_copy),
        cmocka_unit_test(rule_11_an_ignored_deletion_is_logged_once_and_once_when_it_clears),
        cmocka_unit_test(rule_12_an_end_without_a_response_is_an_error),
        cmocka_unit_test(rule_13_any_order_is_survived),
        cmocka_unit_test(rule_14_a_heartbeat_prolongs_the_time_to_live),
        cmocka_unit_test(rule_15_requests_are_paced),
        cmocka_unit_test(rule_15_an_ack_does_not_wait_for_a_nack),
        cmocka_unit_test(rule_15_a_nack_of_what_was_replaced_waits_less),
        cmocka_unit_test(rule_16_a_nack_keeps_the_stream),
        cmocka_unit_test(rule_17_what_go_control_plane_does),
        cmocka_unit_test(rule_17_a_name_that_does_not_come_back),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
