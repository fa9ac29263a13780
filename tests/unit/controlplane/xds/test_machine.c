/* What the rules of the protocol do not say: ACKs that wait for READY, refusals by data planes, bounds, memory. */
#include "controlplane/xds/pace.h"
#include "tests/unit/controlplane/xds/machine.h"

/* Held ACKs; endpoints "a" and "b" are asked for. */
static void begin(struct machine *m) {
    m->is_held = true;
    assert_true(machine_create(m));
    want(m, CLUSTERS, "*");
    want(m, ENDPOINTS, "a");
    want(m, ENDPOINTS, "b");
    open_streams(m);
    flush(m, 0);
}

static void ready(struct machine *m) {
    xds_protocol_ready(m->p, xds_protocol_ticket(m->p));
}

static enum xds_result refuse(struct machine *m, size_t type, const char *name, uint64_t ticket) {
    return xds_protocol_refuse(m->p, type, str_of(name), ticket, STR("no port is free"), m->now);
}

static void test_an_ack_waits_for_ready(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    begin(&m);
    say(&m, ENDPOINTS, "1", "n1", "a=1");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
    assert_false(ask(&m, ENDPOINTS));
    assert_str(xds_protocol_version(m.p, ENDPOINTS), "");
    say(&m, ENDPOINTS, "2", "n2", "a=1");               /* nothing new, but what it says again is not in use yet */
    assert_false(ask(&m, ENDPOINTS));
    want(&m, ENDPOINTS, "c");                           /* what READY may wait for is asked meanwhile */
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "");
    assert_str(m.request.response_nonce, "n2");
    sent(&m, ENDPOINTS);
    ready(&m);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "1");
    assert_str(m.request.response_nonce, "n1");
    sent(&m, ENDPOINTS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "2");
    assert_str(m.request.response_nonce, "n2");
    assert_str(xds_protocol_version(m.p, ENDPOINTS), "2");
    xds_protocol_destroy(m.p);
}

static void test_ready_after_the_stream_is_gone(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    m.o.hold_max = 1000 * SECOND;
    begin(&m);
    say(&m, ENDPOINTS, "1", "n1", "a=1");
    reopen(&m, "");
    assert_true(ask(&m, CLUSTERS));
    sent(&m, CLUSTERS);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.version, "");                  /* not accepted yet: let the server send it again */
    sent(&m, ENDPOINTS);
    ready(&m);
    assert_str(xds_protocol_version(m.p, ENDPOINTS), "1");
    assert_false(ask(&m, ENDPOINTS));
    xds_protocol_destroy(m.p);
}

static void test_a_hold_is_bounded(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    m.o.holds_max = 2;
    m.o.resource_timeout = 0;
    begin(&m);
    say(&m, ENDPOINTS, "1", "n1", "a=1");
    say(&m, ENDPOINTS, "2", "n2", "a=2");
    assert_false(ask(&m, ENDPOINTS));
    say(&m, ENDPOINTS, "3", "n3", "a=3");
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.response_nonce, "n1");
    sent(&m, ENDPOINTS);
    assert_false(ask(&m, ENDPOINTS));
    assert_int_equal(xds_protocol_deadline(m.p), m.now + m.o.hold_max);
    pass_time(&m, m.o.hold_max);
    assert_int_equal(flush(&m, ENDPOINTS), 2);
    assert_int_equal(xds_protocol_counters(m.p)->holds_expired, 3);
    assert_int_equal(refuse(&m, ENDPOINTS, "a", xds_protocol_ticket(m.p)), XDS_LIMIT);
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "3");
    assert_state(&m, ENDPOINTS, "a", XDS_NACKED);
    assert_int_equal(xds_protocol_counters(m.p)->late_refusals, 1);
    xds_protocol_destroy(m.p);
}

static void test_a_refusal_becomes_a_nack(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    begin(&m);
    say(&m, ENDPOINTS, "1", "n1", "a=1 b=1");
    ready(&m);
    flush(&m, ENDPOINTS);
    say(&m, ENDPOINTS, "2", "n2", "a=2 b=2");
    assert_int_equal(refuse(&m, ENDPOINTS, "a", xds_protocol_ticket(m.p)), XDS_OK);
    assert_int_equal(refuse(&m, ENDPOINTS, "b", xds_protocol_ticket(m.p)), XDS_OK);
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
    assert_state(&m, ENDPOINTS, "a", XDS_NACKED);
    assert_str(held(&m, ENDPOINTS, "a")->error, "no port is free");
    assert_str(held(&m, ENDPOINTS, "a")->failed_version, "2");
    assert_true(ask(&m, ENDPOINTS));
    assert_true(m.request.is_refusal);
    assert_str(m.request.error, "a: no port is free; b: no port is free");
    assert_str(m.request.version, "1");
    assert_str(m.request.response_nonce, "n2");
    sent(&m, ENDPOINTS);
    ready(&m);
    assert_str(xds_protocol_version(m.p, ENDPOINTS), "1");
    say(&m, ENDPOINTS, "2", "n3", "a=2 b=2");           /* the next NACK in a row waits, though the ACK was held */
    refuse(&m, ENDPOINTS, "a", xds_protocol_ticket(m.p));
    assert_false(ask(&m, ENDPOINTS));
    assert_in_range(xds_protocol_deadline(m.p) - m.now, SECOND * 8 / 10, SECOND * 12 / 10);
    xds_protocol_destroy(m.p);
}

/* Two responses wait; which copy comes back depends on which of them is refused. */
static void test_refusals_of_one_of_two(void **state) {
    (void)state;
    for (int is_older = 0; is_older < 2; is_older++) {
        struct machine m = machine_defaults(XDS_DELTA);
        begin(&m);
        say(&m, ENDPOINTS, "", "n1", "a=1@1");
        ready(&m);
        say(&m, ENDPOINTS, "", "n2", "a=2@2");
        uint64_t older = xds_protocol_ticket(m.p);
        say(&m, ENDPOINTS, "", "n3", "a=3@3 b=1@1");
        uint64_t newer = xds_protocol_ticket(m.p);
        assert_int_equal(refuse(&m, ENDPOINTS, "a", is_older ? older : newer), XDS_OK);
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), is_older ? "3" : "2");
        assert_state(&m, ENDPOINTS, "a", is_older ? XDS_ACKED : XDS_NACKED);
        assert_int_equal(refuse(&m, ENDPOINTS, "a", newer), XDS_OK);
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
        assert_int_equal(refuse(&m, ENDPOINTS, "b", newer), XDS_OK);
        assert_string_equal(bytes_of(&m, ENDPOINTS, "b"), "");
        assert_int_equal(refuse(&m, ENDPOINTS, "b", newer), XDS_LIMIT);
        xds_protocol_destroy(m.p);
    }
}

/* A server takes who names the present version for one that has all of it. */
static void test_a_version_is_forgotten_when_more_is_wanted(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    assert_true(machine_create(&m));
    want(&m, CLUSTERS, "x");
    open_streams(&m);
    flush(&m, 0);
    say(&m, CLUSTERS, "1", "n1", "x=1");
    flush(&m, 0);
    want(&m, CLUSTERS, "*");
    assert_true(ask(&m, CLUSTERS));
    assert_str(m.request.version, "");
    sent(&m, CLUSTERS);
    say(&m, CLUSTERS, "1", "n2", "x=1");                /* perhaps sent before the server heard of it */
    flush(&m, 0);
    reopen(&m, "");
    assert_true(ask(&m, CLUSTERS));
    assert_str(m.request.version, "");
    sent(&m, CLUSTERS);
    say(&m, CLUSTERS, "1", "n3", "x=1 y=1");
    reopen(&m, "");
    assert_true(ask(&m, CLUSTERS));
    assert_str(m.request.version, "1");
    xds_protocol_destroy(m.p);
}

/* Kept, but not told of to the next stream's server: should it come back, it is to be sent whatever its version. */
static void test_a_removed_copy_is_not_told(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_DELTA);
    assert_true(machine_create(&m));
    want(&m, ENDPOINTS, "a");
    want(&m, ENDPOINTS, "b");
    open_streams(&m);
    flush(&m, 0);
    say(&m, ENDPOINTS, "", "n1", "a=1@1 b=1@1");
    say(&m, ENDPOINTS, "", "n2", "-a");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
    reopen(&m, "");
    assert_true(ask(&m, ENDPOINTS));
    assert_asks_for(&m, "a b");
    assert_int_equal(m.request.initial_version_count, 1);
    assert_str(m.request.initial_versions[0].name, "b");
    xds_protocol_destroy(m.p);
}

/* The valid part is in use, but the version that was refused is not the accepted one. */
static void test_ready_does_not_accept_what_was_nacked(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    begin(&m);
    say(&m, ENDPOINTS, "1", "n1", "a=1 b=bad");
    assert_true(ask(&m, ENDPOINTS));                    /* a NACK is not held */
    assert_true(m.request.is_refusal);
    sent(&m, ENDPOINTS);
    ready(&m);
    assert_str(xds_protocol_version(m.p, ENDPOINTS), "");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "1");
    xds_protocol_destroy(m.p);
}

/* What nobody named and nobody has a copy of is not remembered for ever. */
static void test_a_refused_cluster_is_forgotten_with_its_stream(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_DELTA);
    unsigned news;
    begin(&m);
    say(&m, CLUSTERS, "", "n1", "x=bad@1");
    assert_state(&m, CLUSTERS, "x", XDS_NACKED);
    reopen(&m, "");
    while (xds_protocol_take_news(m.p, &news))
        continue;
    assert_null(held(&m, CLUSTERS, "x"));
    xds_protocol_destroy(m.p);
}

/* An answer with an older nonce names all, too, but may be dropped: what is new does not count as told by it. */
static void test_a_stale_answer_tells_nothing(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    assert_true(machine_create(&m));
    want(&m, ENDPOINTS, "a");
    open_streams(&m);
    flush(&m, 0);
    say(&m, ENDPOINTS, "1", "n1", "a=1");
    say(&m, ENDPOINTS, "2", "n2", "a=2");
    want(&m, ENDPOINTS, "b");
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.response_nonce, "n1");
    sent(&m, ENDPOINTS);
    assert_int_equal(held(&m, ENDPOINTS, "b")->deadline, 0);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.response_nonce, "n2");
    assert_asks_for(&m, "a b");
    sent(&m, ENDPOINTS);
    assert_int_equal(held(&m, ENDPOINTS, "b")->deadline, m.now + m.o.resource_timeout);
    assert_false(ask(&m, ENDPOINTS));
    xds_protocol_destroy(m.p);
}

/* It was kept for its name's sake alone. */
static void test_a_removed_copy_goes_with_its_name(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_DELTA);
    assert_true(machine_create(&m));
    want(&m, CLUSTERS, "*");
    want(&m, CLUSTERS, "x");
    open_streams(&m);
    flush(&m, 0);
    say(&m, CLUSTERS, "", "n1", "x=1@1");
    say(&m, CLUSTERS, "", "n2", "-x");
    assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "1");
    xds_protocol_unsubscribe(m.p, CLUSTERS, STR("x"));
    assert_string_equal(bytes_of(&m, CLUSTERS, "x"), "");
    xds_protocol_destroy(m.p);
}

/* ---- a server that does not send again what it has sent on the stream before ---- */

static void begin_in_doubt(struct machine *m, const char *first_name) {
    assert_true(machine_create(m));
    want(m, ENDPOINTS, first_name);
    want(m, ENDPOINTS, "b");
    open_streams(m);
    flush(m, 0);
    say(m, ENDPOINTS, "1", "n1", "a=1@1 b=1@1");
    flush(m, 0);
}

static void pass_timeout(struct machine *m) {
    m->now += m->o.resource_timeout;
    xds_protocol_advance(m->p, m->now);
}

static void test_a_name_that_does_not_come_again(void **state) {
    for (int form = XDS_STATE_OF_THE_WORLD; form <= XDS_DELTA; form++) {
        struct machine m = machine_defaults((enum xds_form)form);
        (void)state;
        begin_in_doubt(&m, "a");
        xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("a"));
        flush(&m, 0);
        want(&m, ENDPOINTS, "a");
        flush(&m, 0);
        assert_false(xds_protocol_must_reopen(m.p, 0, m.now));
        pass_timeout(&m);
        assert_true(xds_protocol_must_reopen(m.p, 0, m.now));
        assert_true(xds_protocol_deadline(m.p) <= m.now);
        reopen(&m, "");
        assert_false(xds_protocol_must_reopen(m.p, 0, m.now));
        flush(&m, 0);
        say(&m, ENDPOINTS, "1", "m1", "a=1@1");
        assert_state(&m, ENDPOINTS, "a", XDS_ACKED);
        xds_protocol_destroy(m.p);
    }
}

/* Not before a minute has passed since the last stream that was left for that. */
static void test_doubt_is_paced(void **state) {
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    (void)state;
    begin_in_doubt(&m, "a");
    uint64_t reopened_at = 0;
    for (int i = 0; i < 2; i++) {
        xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("a"));
        flush(&m, 0);
        want(&m, ENDPOINTS, "a");
        flush(&m, 0);
        pass_timeout(&m);
        if (i == 1) {
            assert_false(xds_protocol_must_reopen(m.p, 0, m.now));
            assert_int_equal(xds_protocol_deadline(m.p), reopened_at + m.o.reopen_wait);
            m.now = reopened_at + m.o.reopen_wait;
        }
        assert_true(xds_protocol_must_reopen(m.p, 0, m.now));
        reopened_at = m.now;
        xds_protocol_closed(m.p, 0, STR(""), m.now);
        m.now += 5 * SECOND;
        open_streams(&m);
        flush(&m, 0);
        say(&m, ENDPOINTS, "1", "n2", "a=1@1 b=1@1");
        flush(&m, 0);
    }
    xds_protocol_destroy(m.p);
}

/* A stream on which nothing was ever given up is beyond doubt, and so is one that has said nothing yet. */
static void test_no_doubt(void **state) {
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    (void)state;
    begin_in_doubt(&m, "a");
    want(&m, ENDPOINTS, "c");
    flush(&m, 0);
    pass_timeout(&m);
    assert_state(&m, ENDPOINTS, "c", XDS_DOES_NOT_EXIST);
    assert_false(xds_protocol_must_reopen(m.p, 0, m.now));
    reopen(&m, "");
    xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("a"));
    want(&m, ENDPOINTS, "d");
    flush(&m, 0);
    pass_timeout(&m);
    assert_state(&m, ENDPOINTS, "d", XDS_DOES_NOT_EXIST);
    assert_false(xds_protocol_must_reopen(m.p, 0, m.now));
    xds_protocol_destroy(m.p);
}

/* What is polled is answered by itself, and there is no stream that could be left. */
static void test_no_doubt_of_what_is_polled(void **state) {
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    (void)state;
    m.o.is_aggregated = false;
    m.o.poll_wait = SECOND;
    assert_true(machine_create(&m));
    want(&m, ENDPOINTS, "a");
    want(&m, ENDPOINTS, "b");
    open_streams(&m);
    for (int i = 0; i < 3; i++) {
        assert_true(ask(&m, ENDPOINTS));
        sent(&m, ENDPOINTS);
        say(&m, ENDPOINTS, "1", "", i == 0 ? "a=1 b=1" : "b=1");
        if (i == 0)
            xds_protocol_unsubscribe(m.p, ENDPOINTS, STR("a"));
        else
            want(&m, ENDPOINTS, "a");
        pass_time(&m, 3 * SECOND);
    }
    pass_time(&m, 15 * SECOND);
    assert_state(&m, ENDPOINTS, "a", XDS_DOES_NOT_EXIST);
    assert_false(xds_protocol_must_reopen(m.p, stream_of(&m, ENDPOINTS), m.now));
    xds_protocol_destroy(m.p);
}

/* A change of what is wanted takes a waiting NACK along, and starts no wait for what was heard of. */
static void test_a_change_takes_a_nack_along(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    assert_true(machine_create(&m));
    want(&m, ENDPOINTS, "a");
    open_streams(&m);
    flush(&m, 0);
    say(&m, ENDPOINTS, "1", "n1", "a=bad");
    assert_int_equal(flush(&m, ENDPOINTS), 1);
    say(&m, ENDPOINTS, "1", "n2", "a=bad");
    assert_int_equal(flush(&m, ENDPOINTS), 0);
    want(&m, ENDPOINTS, "b");
    assert_true(ask(&m, ENDPOINTS));
    assert_true(m.request.is_refusal);
    assert_str(m.request.response_nonce, "n2");
    assert_asks_for(&m, "a b");
    sent(&m, ENDPOINTS);
    assert_false(ask(&m, ENDPOINTS));
    assert_int_equal(held(&m, ENDPOINTS, "a")->deadline, 0);
    assert_int_equal(held(&m, ENDPOINTS, "b")->deadline, m.now + m.o.resource_timeout);
    xds_protocol_destroy(m.p);
}

static void test_news(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    unsigned news = 0;
    assert_true(machine_create(&m));
    want(&m, CLUSTERS, "*");
    open_streams(&m);
    flush(&m, 0);
    say(&m, CLUSTERS, "1", "n1", "x=1 y=1");
    assert_str(xds_protocol_take_news(m.p, &news)->name, "x");
    assert_true(news & XDS_NEWS_COPY);
    assert_str(xds_protocol_take_news(m.p, &news)->name, "y");
    assert_null(xds_protocol_take_news(m.p, &news));
    say(&m, CLUSTERS, "2", "n2", "x=1 y=bad");
    struct xds_resource *r = xds_protocol_take_news(m.p, &news);
    assert_str(r->name, "y");
    assert_int_equal(news, XDS_NEWS_ERROR);
    assert_str(r->copy->bytes, "1");
    assert_null(xds_protocol_take_news(m.p, &news));
    assert_int_equal(m.judged, 3);                      /* the same bytes are not judged again */
    say(&m, CLUSTERS, "3", "n3", "y=1");
    r = xds_protocol_take_news(m.p, &news);
    assert_str(r->name, "y");
    r = xds_protocol_take_news(m.p, &news);
    assert_str(r->name, "x");
    assert_null(r->copy);
    assert_null(xds_protocol_take_news(m.p, &news));
    assert_null(held(&m, CLUSTERS, "x"));
    xds_protocol_destroy(m.p);
}

/* Each change of one resource sends all of them again. */
static void test_what_has_not_changed_is_not_copied(void **state) {
    (void)state;
    static const char *const said[] = {"a=1", "a=1 b=1 c=1 d=1 e=1 f=1"};
    uint64_t counts[2];
    for (int i = 0; i < 2; i++) {
        struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
        assert_true(machine_create(&m));
        want(&m, CLUSTERS, "*");
        open_streams(&m);
        flush(&m, 0);
        say(&m, CLUSTERS, "1", "n1", said[i]);
        flush(&m, 0);
        uint64_t before = hg_alloc_count();
        say(&m, CLUSTERS, "2", "n2", said[i]);
        counts[i] = hg_alloc_count() - before;
        assert_str(held(&m, CLUSTERS, "a")->copy->version, "2");
        say(&m, CLUSTERS, "10", "n3", said[i]);         /* a longer one */
        assert_str(held(&m, CLUSTERS, "a")->copy->version, "10");
        assert_string_equal(bytes_of(&m, CLUSTERS, "a"), "1");
        xds_protocol_destroy(m.p);
    }
    assert_int_equal(counts[0], counts[1]);
}

static void test_bounds(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_STATE_OF_THE_WORLD);
    m.o.resources_max = 3;
    m.o.bytes_max = 2000;
    m.o.name_max = 8;
    m.o.answers_max = 2;
    m.o.request_tokens = 0;
    begin(&m);
    assert_int_equal(xds_protocol_subscribe(m.p, ENDPOINTS, STR("longer than eight")), XDS_LIMIT);
    assert_int_equal(xds_protocol_subscribe(m.p, ENDPOINTS, STR("")), XDS_LIMIT);
    assert_int_equal(say(&m, CLUSTERS, "1", "n1", "x=1 y=1"), XDS_OK);      /* the fourth resource */
    assert_true(ask(&m, CLUSTERS));
    assert_true(m.request.is_refusal);
    assert_str(m.request.error, "y: there is no room for it: the limit of names or of bytes is reached");
    sent(&m, CLUSTERS);
    char large[1500];
    memset(large, 'x', sizeof large);
    struct xds_response_resource in = {STR("a"), STR(ENDPOINT_URL), STR("1"), {large, sizeof large}, true, false, 0, {0}};
    struct xds_response r = {.type_url = STR(ENDPOINT_URL), .version = STR("1"), .nonce = STR("n"), .resources = &in,
                             .resource_count = 1};
    assert_int_equal(xds_protocol_receive(m.p, 0, &r, m.now), XDS_OK);
    assert_state(&m, ENDPOINTS, "a", XDS_NACKED);
    assert_true(xds_protocol_can_receive(m.p, 0));
    say(&m, ENDPOINTS, "1", "n", "b=1");
    assert_false(xds_protocol_can_receive(m.p, 0));
    assert_int_equal(say(&m, ENDPOINTS, "1", "n", "b=1"), XDS_LIMIT);
    assert_int_equal(say(&m, CLUSTERS, "1", "much too long", ""), XDS_PROTOCOL_ERROR);
    xds_protocol_destroy(m.p);
}

static void test_what_cannot_be_read(void **state) {
    (void)state;
    struct machine m = machine_defaults(XDS_DELTA);
    begin(&m);
    struct xds_response_resource in[3] = {
        {STR("a"), STR(CLUSTER_URL), STR("1"), STR("1"), true, false, 0, {0}},
        {STR("b"), STR(ENDPOINT_URL), STR("1"), STR("1"), true, false, 0, {0}},
        {STR("\xff"), STR(ENDPOINT_URL), STR("1"), STR("1"), true, false, 0, {0}}};
    struct xds_response r = {.type_url = STR(ENDPOINT_URL), .nonce = STR("n"), .resources = in, .resource_count = 2};
    assert_int_equal(xds_protocol_receive(m.p, 0, &r, m.now), XDS_OK);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.error, "a: it is of another type than its response");
    assert_string_equal(bytes_of(&m, ENDPOINTS, "b"), "1");
    sent(&m, ENDPOINTS);
    r.resource_count = 3;
    assert_int_equal(xds_protocol_receive(m.p, 0, &r, m.now), XDS_OK);
    assert_false(ask(&m, ENDPOINTS));                   /* the second NACK in a row waits */
    pass_time(&m, 2 * SECOND);
    assert_true(ask(&m, ENDPOINTS));
    assert_str(m.request.error, "a resource: its name is missing, too long, not UTF-8, or *");
    r.type_url = STR("type.googleapis.com/of.nobody");
    sent(&m, ENDPOINTS);
    assert_int_equal(xds_protocol_receive(m.p, 0, &r, m.now), XDS_OK);
    assert_int_equal(xds_protocol_counters(m.p)->ignored_types, 1);
    xds_protocol_destroy(m.p);
}

/* All that needs memory, once. What fails is tried again as an owner would: a failed response costs the stream. */
static bool run_through(enum xds_form form) {
    struct machine m = machine_defaults(form);
    m.is_held = true;
    if (!machine_create(&m)) {
        xds_protocol_destroy(m.p);
        return false;
    }
    bool is_well = xds_protocol_subscribe(m.p, ENDPOINTS, STR("a")) == XDS_OK
                   && xds_protocol_subscribe(m.p, ENDPOINTS, STR("b")) == XDS_OK
                   && xds_protocol_subscribe(m.p, CLUSTERS, STR("*")) == XDS_OK;
    xds_protocol_opened(m.p, 0);
    is_well &= flush(&m, 0) == 2;
    is_well &= say(&m, CLUSTERS, "1", "n1", "x=1@1 y=1@1") == XDS_OK;
    is_well &= say(&m, ENDPOINTS, "1", "n2", "a=1@1 b=bad@1") == XDS_OK;
    xds_protocol_ready(m.p, xds_protocol_ticket(m.p));
    is_well &= flush(&m, 0) == 2;
    is_well &= say(&m, ENDPOINTS, "2", "n3", "a=2@2 b=2@2") == XDS_OK;
    is_well &= xds_protocol_refuse(m.p, ENDPOINTS, STR("a"), xds_protocol_ticket(m.p), STR("no"), m.now) == XDS_OK;
    xds_protocol_closed(m.p, 0, STR("no memory"), m.now);
    xds_protocol_opened(m.p, 0);
    is_well &= flush(&m, 0) == 2;
    is_well &= say(&m, ENDPOINTS, "3", "n4", "a=3@3 b=3@3") == XDS_OK;
    is_well &= say(&m, CLUSTERS, "3", "n5", "x=1@1") == XDS_OK;
    if (is_well) {
        assert_string_equal(bytes_of(&m, ENDPOINTS, "a"), "3");
        assert_string_equal(bytes_of(&m, ENDPOINTS, "b"), "3");
    }
    xds_protocol_destroy(m.p);
    return is_well;
}

static void test_without_memory(void **state) {
    (void)state;
    for (int form = 0; form < 2; form++) {
        uint64_t before = hg_alloc_count();
        assert_true(run_through((enum xds_form)form));
        long count = (long)(hg_alloc_count() - before);
        unsigned failed = 0;
        assert_true(count > 40);
        for (long i = 0; i < count; i++)
            for (int and_all_later = 0; and_all_later < 2; and_all_later++) {
                hg_alloc_fail_at(i, and_all_later);
                failed += !run_through((enum xds_form)form);
                hg_alloc_fail_at(-1, 0);
            }
        assert_true(failed > (unsigned)count);          /* some losses, of a text or a version, are survived */
    }
}

static void test_pace(void **state) {
    (void)state;
    struct token_bucket b;
    uint64_t random = 7;
    token_bucket_init(&b, 2, 10, 5 * SECOND);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(token_bucket_has(&b, 5 * SECOND));
        assert_int_equal(token_bucket_ready_at(&b), 0);
        token_bucket_take(&b);
    }
    assert_false(token_bucket_has(&b, 5 * SECOND + 99999));
    assert_int_equal(token_bucket_ready_at(&b), 5 * SECOND + 100000);
    assert_true(token_bucket_has(&b, 5 * SECOND + 100000));
    token_bucket_take(&b);
    assert_true(token_bucket_has(&b, UINT64_MAX));
    assert_int_equal(b.tokens, 2);
    for (unsigned i = 0; i < 1000; i++) {
        assert_in_range(backoff_wait(SECOND, 60 * SECOND, 3, &random), SECOND * 32 / 10, SECOND * 48 / 10);
        assert_in_range(backoff_wait(SECOND, 60 * SECOND, UINT32_MAX, &random), 48 * SECOND, 72 * SECOND);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ack_waits_for_ready),
        cmocka_unit_test(test_ready_after_the_stream_is_gone),
        cmocka_unit_test(test_a_hold_is_bounded),
        cmocka_unit_test(test_a_refusal_becomes_a_nack),
        cmocka_unit_test(test_refusals_of_one_of_two),
        cmocka_unit_test(test_a_version_is_forgotten_when_more_is_wanted),
        cmocka_unit_test(test_a_removed_copy_is_not_told),
        cmocka_unit_test(test_ready_does_not_accept_what_was_nacked),
        cmocka_unit_test(test_a_refused_cluster_is_forgotten_with_its_stream),
        cmocka_unit_test(test_a_stale_answer_tells_nothing),
        cmocka_unit_test(test_a_removed_copy_goes_with_its_name),
        cmocka_unit_test(test_a_change_takes_a_nack_along),
        cmocka_unit_test(test_a_name_that_does_not_come_again),
        cmocka_unit_test(test_doubt_is_paced),
        cmocka_unit_test(test_no_doubt),
        cmocka_unit_test(test_no_doubt_of_what_is_polled),
        cmocka_unit_test(test_news),
        cmocka_unit_test(test_what_has_not_changed_is_not_copied),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_what_cannot_be_read),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_pace),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
