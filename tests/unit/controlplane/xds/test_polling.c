/* The machine when its server is polled: what a poll says, when the next is due, and what an answer does. */
#include "tests/unit/controlplane/xds/machine.h"

enum { WAIT = 500000 };

static void polled(struct machine *m, bool is_held) {
    *m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    m->o.is_aggregated = false;
    m->o.poll_wait = m->o.retry_wait = m->o.retry_wait_max = WAIT;
    m->is_held = is_held;
    assert_true(machine_create(m));
}

/* Asks, and has an answer. */
static void poll(struct machine *m, size_t type, const char *version, const char *said) {
    assert_true(ask(m, type));
    sent(m, type);
    assert_int_equal(say(m, type, version, "", said), XDS_OK);
}

static void with_endpoints(struct machine *m, bool is_held) {
    polled(m, is_held);
    want(m, ENDPOINTS, "a");
    open_streams(m);
    poll(m, ENDPOINTS, "1", "a=1");
}

static void wait_for_poll(struct machine *m, size_t type) {
    assert_false(ask(m, type));
    pass_time(m, WAIT - 1);
    assert_false(ask(m, type));
    assert_true(xds_protocol_deadline(m->p) < m->now + 1 + WAIT);
    pass_time(m, 1 + WAIT);
}

static void each_poll_says_all(void **state) {
    (void)state;
    struct machine m;
    polled(&m, false);
    want(&m, CLUSTERS, "*");
    open_streams(&m);
    assert_true(ask(&m, CLUSTERS));
    assert_true(m.request.has_node);
    assert_asks_for(&m, "");
    assert_str(m.request.version, "");
    assert_false(ask(&m, CLUSTERS)); /* one at a time */
    sent(&m, CLUSTERS);
    say(&m, CLUSTERS, "1", "", "x=1 y=1");
    assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "1");
    wait_for_poll(&m, CLUSTERS);
    assert_true(ask(&m, CLUSTERS));
    assert_true(m.request.has_node && !m.request.is_refusal);
    assert_str(m.request.version, "1");
    sent(&m, CLUSTERS);
    say(&m, CLUSTERS, "2", "", "x=2");
    assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "2");
    assert_null(held(&m, CLUSTERS, "y")->copy); /* an answer is complete */
    xds_protocol_destroy(m.p);
}

static void nothing_new_is_an_answer(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, false);
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "1");
    sent(&m, ENDPOINTS);
    xds_protocol_unchanged(m.p, ENDPOINTS);
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "1");
    xds_protocol_closed(m.p, ENDPOINTS, STR("no answer"), m.now);
    assert_str(xds_protocol_stream_error(m.p, ENDPOINTS), ""); /* it had answered before */
    xds_protocol_destroy(m.p);
}

static void only_that_nothing_is_new_is_an_answer_too(void **state) {
    (void)state;
    struct machine m;
    polled(&m, false);
    want(&m, CLUSTERS, "*");
    open_streams(&m);
    assert_true(ask(&m, CLUSTERS));
    sent(&m, CLUSTERS);
    assert_false(xds_protocol_has_answered(m.p, CLUSTERS));
    xds_protocol_unchanged(m.p, CLUSTERS);
    assert_true(xds_protocol_has_answered(m.p, CLUSTERS));
    xds_protocol_destroy(m.p);
}

/* A version that was given for other names would be answered by nothing. */
static void a_version_stands_for_its_names(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, false);
    want(&m, ENDPOINTS, "b");
    assert_true(ask(&m, ENDPOINTS)); /* at once */
    assert_asks_for(&m, "a b");
    assert_str(m.request.version, "");
    want(&m, ENDPOINTS, "c"); /* while the poll is under way */
    sent(&m, ENDPOINTS);
    say(&m, ENDPOINTS, "1", "", "a=1 b=1");
    assert_true(ask(&m, ENDPOINTS));
    assert_asks_for(&m, "a b c");
    assert_str(m.request.version, "");
    sent(&m, ENDPOINTS);
    say(&m, ENDPOINTS, "1", "", "a=1 b=1 c=1");
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "1");
    xds_protocol_destroy(m.p);
}

static void what_is_given_up_needs_no_poll(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, false);
    want(&m, ENDPOINTS, "b");
    poll(&m, ENDPOINTS, "1", "a=1 b=1");
    xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("b"));
    assert_null(held(&m, ENDPOINTS, "b"));
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_asks_for(&m, "a");
    assert_str(m.request.version, "1");
    sent(&m, ENDPOINTS);
    say(&m, ENDPOINTS, "2", "", "a=2 b=2");
    assert_null(held(&m, ENDPOINTS, "b"));
    want(&m, ENDPOINTS, "b"); /* again: its copy has gone */
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "");
    sent(&m, ENDPOINTS);
    xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("a"));
    xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("b"));
    pass_time(&m, 10 * WAIT);
    assert_false(ask(&m, ENDPOINTS)); /* nothing is wanted */
    xds_protocol_destroy(m.p);
}

static void everything_may_be_wanted_and_given_up(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, false);
    want(&m, ENDPOINTS, "*");
    assert_true(ask(&m, ENDPOINTS));
    assert_asks_for(&m, "a *");
    assert_str(m.request.version, "");
    sent(&m, ENDPOINTS);
    say(&m, ENDPOINTS, "1", "", "a=1 z=1");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "z"), "1");
    xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("*"));
    assert_null(held(&m, ENDPOINTS, "z"));
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_asks_for(&m, "a");
    xds_protocol_destroy(m.p);
}

static void a_refusal_goes_with_the_next_poll(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, false);
    pass_time(&m, 2 * WAIT);
    poll(&m, ENDPOINTS, "2", "a=bad");
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_true(m.request.is_refusal);
    assert_str(m.request.error, "a: connect_timeout: not a duration");
    assert_str(m.request.version, "1");
    sent(&m, ENDPOINTS);
    assert_int_equal(xds_protocol_counters(m.p)->nacks, 1);
    say(&m, ENDPOINTS, "2", "", "a=bad"); /* the server has nothing else */
    pass_time(&m, 2 * m.o.nack_wait);
    assert_true(ask(&m, ENDPOINTS));
    assert_true(m.request.is_refusal);
    sent(&m, ENDPOINTS);
    say(&m, ENDPOINTS, "3", "", "a=3");
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_false(m.request.is_refusal);
    assert_str(m.request.version, "3");
    xds_protocol_destroy(m.p);
}

/* The pace of refusals grows, whatever the pace of polls. */
static void refusals_slow_down(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, false);
    for (int i = 0; i < 5; i++) {
        pass_time(&m, 200 * SECOND);
        poll(&m, ENDPOINTS, "2", "a=bad");
    }
    pass_time(&m, 5 * SECOND); /* the fourth wait is of 8 seconds, a fifth more or less */
    assert_false(ask(&m, ENDPOINTS));
    pass_time(&m, 5 * SECOND);
    assert_true(ask(&m, ENDPOINTS));
    xds_protocol_destroy(m.p);
}

static void no_poll_while_ready_is_awaited(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, true);
    pass_time(&m, 10 * WAIT);
    assert_false(ask(&m, ENDPOINTS));
    want(&m, ENDPOINTS, "b"); /* but for what is needed, since READY may wait for that */
    assert_true(ask(&m, ENDPOINTS));
    assert_asks_for(&m, "a b");
    sent(&m, ENDPOINTS);
    say(&m, ENDPOINTS, "1", "", "a=1 b=1");
    pass_time(&m, 10 * WAIT);
    assert_false(ask(&m, ENDPOINTS));
    xds_protocol_ready(m.p, xds_protocol_ticket(m.p));
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "1");
    assert_int_equal(xds_protocol_counters(m.p)->acks, 2);
    xds_protocol_destroy(m.p);
}

static void a_data_planes_refusal_is_told(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, true);
    xds_protocol_ready(m.p, xds_protocol_ticket(m.p));
    pass_time(&m, 2 * WAIT);
    poll(&m, ENDPOINTS, "2", "a=2");
    assert_int_equal(xds_protocol_refuse(m.p, ENDPOINTS, STR("a"), xds_protocol_ticket(m.p), STR("no"), m.now), XDS_OK);
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.error, "a: no");
    assert_str(m.request.version, "1");
    xds_protocol_destroy(m.p);
}

static void a_failed_poll_begins_anew(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, false);
    wait_for_poll(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    xds_protocol_closed(m.p, ENDPOINTS, STR("the status 500"), m.now);
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1"); /* all is kept */
    for (int i = 0; i < 10; i++) { /* the pace stays, however often */
        assert_false(xds_protocol_is_due(m.p, ENDPOINTS, m.now));
        pass_time(&m, 2 * WAIT);
        assert_true(xds_protocol_is_due(m.p, ENDPOINTS, m.now));
        open_streams(&m);
        assert_true(ask(&m, ENDPOINTS));
        xds_protocol_closed(m.p, ENDPOINTS, STR("the status 500"), m.now);
        assert_str(xds_protocol_stream_error(m.p, ENDPOINTS), "the status 500");
    }
    pass_time(&m, 2 * WAIT);
    open_streams(&m);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, ""); /* another server may have come */
    sent(&m, ENDPOINTS);
    say(&m, ENDPOINTS, "1", "", "a=1");
    assert_str(xds_protocol_stream_error(m.p, ENDPOINTS), "");
    xds_protocol_destroy(m.p);
}

static void what_is_not_sent_does_not_exist_in_the_end(void **state) {
    (void)state;
    struct machine m;
    polled(&m, false);
    want(&m, ENDPOINTS, "a");
    open_streams(&m);
    poll(&m, ENDPOINTS, "1", "");
    for (uint64_t passed = 0; passed < m.o.resource_timeout - 2 * SECOND; passed += SECOND) {
        pass_time(&m, SECOND);
        assert_true(ask(&m, ENDPOINTS));
        sent(&m, ENDPOINTS);
        xds_protocol_unchanged(m.p, ENDPOINTS);
        assert_state(&m, ENDPOINTS, "a", XDS_REQUESTED);
    }
    pass_time(&m, 2 * SECOND);
    assert_state(&m, ENDPOINTS, "a", XDS_DOES_NOT_EXIST);
    poll(&m, ENDPOINTS, "2", "a=2");
    assert_state(&m, ENDPOINTS, "a", XDS_ACKED);
    xds_protocol_destroy(m.p);
}

static void what_cannot_be_read_is_refused_by_name(void **state) {
    (void)state;
    struct machine m;
    with_endpoints(&m, false);
    const struct xds_response_resource resources[] = {
        {.name = STR("a"), .fault = STR("endpoints: is no number")},
        {.name = STR("b"), .type_url = STR(ENDPOINT_URL), .bytes = STR("1"), .has_body = true}};
    const struct xds_response r = {.type_url = STR(ENDPOINT_URL), .version = STR("2"), .nonce = STR(""),
                                   .resources = resources, .resource_count = 2};
    want(&m, ENDPOINTS, "b");
    assert_true(ask(&m, ENDPOINTS));
    sent(&m, ENDPOINTS);
    assert_int_equal(xds_protocol_receive(m.p, ENDPOINTS, &r, m.now), XDS_OK);
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "b"), "1");
    assert_state(&m, ENDPOINTS, "a", XDS_NACKED);
    pass_time(&m, 2 * WAIT);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.error, "a: endpoints: is no number");
    xds_protocol_destroy(m.p);
}

/* Of a complete type the rest is gone, also when nothing of the answer could be read. */
static void absence_is_seen_beside_faults(void **state) {
    (void)state;
    struct machine m;
    polled(&m, false);
    const struct xds_response_resource bad = {.name = STR("x"), .fault = STR("no")};
    const struct xds_response r = {.type_url = STR(CLUSTER_URL), .version = STR("2"), .nonce = STR(""), .resources = &bad,
                                   .resource_count = 1};
    want(&m, CLUSTERS, "*");
    open_streams(&m);
    poll(&m, CLUSTERS, "1", "x=1 y=1");
    pass_time(&m, 2 * WAIT);
    assert_true(ask(&m, CLUSTERS));
    sent(&m, CLUSTERS);
    assert_int_equal(xds_protocol_receive(m.p, CLUSTERS, &r, m.now), XDS_OK);
    assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "1");
    assert_null(held(&m, CLUSTERS, "y")->copy);
    xds_protocol_destroy(m.p);
}

/* ---- a server that is changed at any time, as go-control-plane answers: a known version by nothing ---- */

enum { SEEDS = 200, STEPS = 400, NAMES = 6 };

struct play {
    struct machine m;
    uint64_t       random;
    unsigned       version, values[NAMES];     /* of the server; 0: it has none */
    bool           is_wanted[NAMES];
    bool           is_asked;                   /* a poll is under way */
    bool           is_known;                   /* it named the server's version */
    bool           asked_for[NAMES];
};

static unsigned draw(struct play *y, unsigned below) {
    y->random ^= y->random >> 12;
    y->random ^= y->random << 25;
    y->random ^= y->random >> 27;
    return (unsigned)((y->random * UINT64_C(2685821657736338717)) >> 33) % below;
}

static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f"};

static void toggle_wish(struct play *y) {
    unsigned i = draw(y, NAMES);
    y->is_wanted[i] = !y->is_wanted[i];
    if (y->is_wanted[i])
        want(&y->m, ENDPOINTS, names[i]);
    else
        xds_protocol_unsubscribe(y->m.p, ENDPOINTS, str_of(names[i]));
}

static void ask_server(struct play *y) {
    char version[16];
    open_streams(&y->m);
    if (y->is_asked || !ask(&y->m, ENDPOINTS))
        return;
    y->is_asked = true;
    for (unsigned i = 0; i < NAMES; i++) {
        y->asked_for[i] = false;
        for (size_t k = 0; k < y->m.request.name_count; k++)
            y->asked_for[i] |= str_eq(y->m.request.names[k], str_of(names[i]));
    }
    snprintf(version, sizeof version, "%u", y->version);
    y->is_known = str_eq(y->m.request.version, str_of(version));
}

/* What it has now, whatever it had when it was asked; but that a version is known is decided then. */
static void answer_poll(struct play *y) {
    char said[256] = "", version[16];
    size_t n = 0;
    if (!y->is_asked)
        return;
    y->is_asked = false;
    sent(&y->m, ENDPOINTS);
    if (y->is_known) {
        xds_protocol_unchanged(y->m.p, ENDPOINTS);
        return;
    }
    for (unsigned i = 0; i < NAMES; i++)
        if (y->asked_for[i] && y->values[i])
            n += (size_t)snprintf(said + n, sizeof said - n, "%s=%u ", names[i], y->values[i]);
    snprintf(version, sizeof version, "%u", y->version);
    assert_int_equal(say(&y->m, ENDPOINTS, version, "", said), XDS_OK);
}

static void cut_poll(struct play *y) {
    xds_protocol_closed(y->m.p, ENDPOINTS, STR("cut"), y->m.now);
    y->is_asked = false;
}

static void step(struct play *y) {
    switch (draw(y, 8)) {
    case 0: toggle_wish(y); break;
    case 1:
        y->values[draw(y, NAMES)] = ++y->version;
        break;
    case 2: cut_poll(y); break;
    case 3: xds_protocol_ready(y->m.p, xds_protocol_ticket(y->m.p)); break;
    case 4:
    case 5: answer_poll(y); break;
    default: ask_server(y);
    }
    pass_time(&y->m, draw(y, WAIT));
}

static void finish(struct play *y) {
    for (int i = 0; i < 8; i++) {
        xds_protocol_ready(y->m.p, xds_protocol_ticket(y->m.p));
        pass_time(&y->m, 2 * WAIT);
        ask_server(y);
        answer_poll(y);
    }
}

static void in_the_end_all_is_held(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct play y = {.random = seed * 7919, .version = 1};
        polled(&y.m, seed % 2);
        for (int i = 0; i < STEPS; i++)
            step(&y);
        finish(&y);
        for (unsigned i = 0; i < NAMES; i++) {
            char value[16] = "";
            if (y.values[i])
                snprintf(value, sizeof value, "%u", y.values[i]);
            if (y.is_wanted[i] && strcmp(bytes_of(&y.m, ENDPOINTS, names[i]), value) != 0)
                fail_msg("seed %u, %s: \"%s\", expected \"%s\"", seed, names[i], bytes_of(&y.m, ENDPOINTS, names[i]), value);
            if (!y.is_wanted[i])
                assert_null(held(&y.m, ENDPOINTS, names[i]));
        }
        xds_protocol_destroy(y.m.p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_poll_says_all), cmocka_unit_test(nothing_new_is_an_answer),
        cmocka_unit_test(only_that_nothing_is_new_is_an_answer_too), cmocka_unit_test(a_version_stands_for_its_names),
        cmocka_unit_test(what_is_given_up_needs_no_poll), cmocka_unit_test(everything_may_be_wanted_and_given_up),
        cmocka_unit_test(a_refusal_goes_with_the_next_poll), cmocka_unit_test(refusals_slow_down),
        cmocka_unit_test(no_poll_while_ready_is_awaited), cmocka_unit_test(a_data_planes_refusal_is_told),
        cmocka_unit_test(a_failed_poll_begins_anew), cmocka_unit_test(what_is_not_sent_does_not_exist_in_the_end),
        cmocka_unit_test(what_cannot_be_read_is_refused_by_name), cmocka_unit_test(absence_is_seen_beside_faults),
        cmocka_unit_test(in_the_end_all_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
