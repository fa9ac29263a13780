/* The intent in layers: who hides whom, what is refused, what a restart finds, and how sets wait. */
#include "tests/unit/controlplane/engine/layers.h"

#define KIND(name) HEADGATE__KIND__KIND_##name

static const char api[] = "clusters: [{name: api, endpoints: ['127.0.0.1:1']}]";
static const char api_again[] = "clusters: [{name: api, endpoints: ['127.0.0.1:2']}]";
static const char web[] = "clusters: [{name: web, endpoints: ['127.0.0.1:3']}]";
static const char api_and_web[] = "clusters: [{name: api, endpoints: ['127.0.0.1:1']},\n"
                                  "           {name: web, endpoints: ['127.0.0.1:3']}]";
static const char table[] = "clusters: [{name: web, endpoints: []}]\n"
                            "route-tables: [{name: site, hosts: [{domains: ['*'], rules: [{cluster: web}]}]}]";
static const char nothing[] = "{}";

static struct layer_answer xds(struct fixture *f, const char *yaml) {
    return layer_set(f, ENGINE_LAYER_XDS, yaml, NULL);
}

static void expect_pushed(const struct fixture *f, Headgate__PushReply__Outcome outcome, uint64_t version) {
    assert_non_null(f->reply);
    if (f->reply->outcome != outcome && f->reply->n_problems)
        print_message("%s\n", f->reply->problems[0]->message);
    assert_int_equal(f->reply->outcome, outcome);
    assert_int_equal(f->reply->version, version);
}

static void expect_layer(const struct layer_answer *a, Headgate__PushReply__Outcome outcome, uint64_t version) {
    if (a->outcome != outcome)
        print_message("%s: %s\n", a->resource, a->message);
    assert_int_equal(a->outcome, outcome);
    assert_int_equal(a->version, version);
}

static void delete_cluster(struct fixture *f, const char *name) {
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__DeleteOne one = HEADGATE__DELETE_ONE__INIT;
    one.has_kind = true;
    one.kind = KIND(CLUSTER);
    one.name = (char *)name;
    request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_DELETE;
    request.delete_ = &one;
    fixture_push_request(f, &request);
}

static void set_one(struct fixture *f, Headgate__Kind kind, const char *name, const char *yaml) {
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__SetOne one = HEADGATE__SET_ONE__INIT;
    Headgate__SourceFile file = HEADGATE__SOURCE_FILE__INIT;
    file.path = (char *)"one.yaml";
    file.has_text = true;
    file.text = (ProtobufCBinaryData){strlen(yaml), (uint8_t *)(uintptr_t)yaml};
    one.has_kind = true;
    one.kind = kind;
    one.name = (char *)name;
    one.file = &file;
    request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_SET;
    request.set = &one;
    fixture_push_request(f, &request);
}

static void reopen(struct fixture *f) {
    struct error_list errors = {0};
    engine_destroy(f->engine);
    f->engine = fixture_open(f, &errors);
    assert_non_null(f->engine);
}

static void assert_store_is_right(struct fixture *f) {
    struct error_list errors = {0};
    struct store_verify_result result;
    assert_int_equal(store_verify(engine_store(f->engine), NULL, NULL, &result, &errors), 0);
    assert_int_equal(result.faults, 0);
}

/* The port of the only endpoint that the intent has for the cluster. */
static int port_of(struct fixture *f, const char *cluster) {
    struct engine_view view = {0};
    struct error_list errors = {0};
    int port = 0;
    assert_int_equal(engine_view(f->engine, 0, &view, &errors), 0);
    const struct config_resource *r = config_resources_find(&view.set, KIND(ENDPOINT_SET), str_of(cluster));
    assert_non_null(r);
    Headgate__EndpointSet *set = headgate__endpoint_set__unpack(NULL, r->size, r->bytes);
    assert_int_equal(set->n_endpoints, 1);
    assert_int_equal(sscanf(set->endpoints[0]->address, "127.0.0.1:%d", &port), 1);
    headgate__endpoint_set__free_unpacked(set, NULL);
    engine_view_finish(&view);
    return port;
}

/* ---- beside each other ---- */

static void a_node_may_live_by_a_server_alone(void **state) {
    struct fixture *f = *state;
    struct layer_answer a = xds(f, api);
    expect_layer(&a, OUTCOME(STORED), 1);
    const struct store_manifest *m = store_current(engine_store(f->engine));
    assert_string_equal(m->version.author, "xds");
    assert_string_equal(m->version.message, "2 added, 0 changed, 0 removed");
    assert_int_equal(m->version.layer, ENGINE_LAYER_XDS);
    assert_int_equal(layer_owner(f, KIND(SETTINGS), "default"), ENGINE_LAYER_PUSHED);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "api"), ENGINE_LAYER_XDS);
    assert_int_equal(layer_owner(f, KIND(ENDPOINT_SET), "api"), ENGINE_LAYER_XDS);
    a = xds(f, api);
    expect_layer(&a, OUTCOME(UNCHANGED), 1);
    a = xds(f, api_again);
    expect_layer(&a, OUTCOME(STORED), 2);
    assert_string_equal(store_current(engine_store(f->engine))->version.message, "0 added, 1 changed, 0 removed");
    a = xds(f, nothing);
    expect_layer(&a, OUTCOME(STORED), 3);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "api"), -1);
}

static void each_replaces_its_own(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, web);
    struct layer_answer a = xds(f, api);
    expect_layer(&a, OUTCOME(STORED), 2);
    a = layer_set(f, ENGINE_LAYER_ETCD, "clusters: [{name: other, endpoints: ['127.0.0.1:7']}]", NULL);
    expect_layer(&a, OUTCOME(STORED), 3);
    fixture_push_text(f, "clusters: [{name: fresh, endpoints: ['127.0.0.1:4']}]");
    expect_pushed(f, OUTCOME(STORED), 4);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "web"), -1);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "fresh"), ENGINE_LAYER_PUSHED);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "api"), ENGINE_LAYER_XDS);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "other"), ENGINE_LAYER_ETCD);
    a = xds(f, nothing);
    expect_layer(&a, OUTCOME(STORED), 5);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "api"), -1);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "fresh"), ENGINE_LAYER_PUSHED);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "other"), ENGINE_LAYER_ETCD);
    assert_store_is_right(f);
}

static void data_planes_serve_it_before_the_answer(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, web);
    fixture_connect(f, 0);
    fixture_settle(&f->nodes[0]);
    struct layer_answer a;
    layer_begin(f, ENGINE_LAYER_XDS, api, NULL, &a);
    while (f->nodes[0].nonce < 2) {
        assert_int_equal(a.count, 0);
        ev_run(f->loop, EVRUN_NOWAIT);
        script_pull(&f->nodes[0]);
    }
    assert_int_equal(a.count, 0);
    layer_wait(f, &a);
    expect_layer(&a, OUTCOME(COMMITTED), 2);
    assert_int_equal(f->nodes[0].version, 2);
}

/* ---- who hides whom ---- */

static void what_is_pushed_hides_a_cluster_with_its_endpoints(void **state) {
    struct fixture *f = *state;
    struct layer_answer a = xds(f, web);
    expect_layer(&a, OUTCOME(STORED), 1);
    assert_int_equal(port_of(f, "web"), 3);
    fixture_push_port(f, 9);
    expect_pushed(f, OUTCOME(STORED), 2);
    assert_int_equal(port_of(f, "web"), 9);
    const struct store_manifest *m = store_current(engine_store(f->engine));
    assert_int_equal(m->hidden_count, 2);
    assert_int_equal(m->hidden[0].layer, ENGINE_LAYER_XDS);
    a = xds(f, api_and_web); /* goes on below */
    expect_layer(&a, OUTCOME(STORED), 3);
    assert_int_equal(port_of(f, "web"), 9);
    assert_int_equal(port_of(f, "api"), 1);
    delete_cluster(f, "web");
    expect_pushed(f, OUTCOME(STORED), 4);
    assert_int_equal(port_of(f, "web"), 3);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "web"), ENGINE_LAYER_XDS);
    assert_int_equal(store_current(engine_store(f->engine))->hidden_count, 0);
}

static void etcd_hides_xds(void **state) {
    struct fixture *f = *state;
    xds(f, api);
    struct layer_answer a = layer_set(f, ENGINE_LAYER_ETCD, api_again, NULL);
    expect_layer(&a, OUTCOME(STORED), 2);
    assert_int_equal(port_of(f, "api"), 2);
    fixture_push_text(f, "clusters: [{name: api, endpoints: ['127.0.0.1:8']}]"); /* two layers hidden by a third */
    expect_pushed(f, OUTCOME(STORED), 3);
    assert_int_equal(store_current(engine_store(f->engine))->hidden_count, 4);
    reopen(f);
    delete_cluster(f, "api");
    expect_pushed(f, OUTCOME(STORED), 4);
    assert_int_equal(port_of(f, "api"), 2);
    a = layer_set(f, ENGINE_LAYER_ETCD, nothing, NULL);
    expect_layer(&a, OUTCOME(STORED), 5);
    assert_int_equal(port_of(f, "api"), 1);
    assert_store_is_right(f);
}

/* The data planes see no difference, and the history does. */
static void the_same_from_elsewhere_is_a_version(void **state) {
    struct fixture *f = *state;
    xds(f, web);
    fixture_push_text(f, web);
    expect_pushed(f, OUTCOME(STORED), 2);
    assert_int_equal(f->reply->change_count, 0);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "web"), ENGINE_LAYER_PUSHED);
    fixture_push_text(f, web);
    expect_pushed(f, OUTCOME(UNCHANGED), 2);
    struct layer_answer a = xds(f, nothing); /* only what is hidden goes */
    expect_layer(&a, OUTCOME(STORED), 3);
    assert_int_equal(store_current(engine_store(f->engine))->hidden_count, 0);
}

static void a_cluster_may_come_without_endpoints(void **state) {
    struct fixture *f = *state;
    struct config_resources both = layer_of(api, NULL), set = {0};
    struct layer_answer a = {0};
    const struct config_resource *r = config_resources_find(&both, KIND(CLUSTER), STR("api"));
    assert_int_equal(config_resources_add(&set, r->kind, str_of(r->name), r->bytes, r->size), 0);
    config_resources_finish(&both);
    assert_int_equal(engine_set_layer(f->engine, ENGINE_LAYER_XDS, &set, layer_on_reply, &a), 0);
    layer_wait(f, &a);
    expect_layer(&a, OUTCOME(STORED), 1);
    fixture_push_text(f, api_again);
    expect_pushed(f, OUTCOME(STORED), 2);
    assert_int_equal(port_of(f, "api"), 2);
}

/* ---- what is refused ---- */

static void people_do_not_change_what_servers_say(void **state) {
    struct fixture *f = *state;
    xds(f, api);
    delete_cluster(f, "api");
    expect_pushed(f, OUTCOME(REFUSED), 1);
    assert_string_equal(f->reply->problems[0]->message, "it comes from xds, and is changed there");
    assert_string_equal(f->reply->problems[0]->resource, "cluster/api");
    set_one(f, KIND(ENDPOINT_SET), "api", "endpoints: ['127.0.0.1:5']");
    expect_pushed(f, OUTCOME(REFUSED), 1);
    assert_string_equal(f->reply->problems[0]->message, "it comes from xds, and is changed there");
    delete_cluster(f, "nobody");
    assert_string_equal(f->reply->problems[0]->message, "there is no such resource");
    set_one(f, KIND(CLUSTER), "api", "endpoints: ['127.0.0.1:5']"); /* a cluster of their own */
    expect_pushed(f, OUTCOME(STORED), 2);
    assert_int_equal(port_of(f, "api"), 5);
}

static void settings_are_pushed(void **state) {
    struct fixture *f = *state;
    struct config_sources sources = {0};
    struct config_resources all = {0};
    struct error_list errors = {0};
    struct layer_answer a = {0};
    assert_int_equal(config_sources_add(&sources, STR("x"), str_of(api), &errors), 0);
    assert_int_equal(config_compile(&sources, NULL, &all, &errors, NULL), 0);
    config_sources_finish(&sources);
    assert_int_equal(engine_set_layer(f->engine, ENGINE_LAYER_XDS, &all, layer_on_reply, &a), 0);
    layer_wait(f, &a);
    expect_layer(&a, OUTCOME(REFUSED), 0);
    assert_string_equal(a.resource, "settings/default");
    assert_string_equal(a.message, "settings are pushed; xds can have none");
}

static void what_is_wrong_is_told_by_resource(void **state) {
    struct fixture *f = *state;
    struct layer_answer a = layer_set(f, ENGINE_LAYER_XDS, table, "cluster/web");
    expect_layer(&a, OUTCOME(REFUSED), 0);
    assert_int_equal(a.problems, 1);
    assert_string_equal(a.resource, "route-table/site");
    assert_string_equal(a.path, "hosts[0].rules[0].cluster");
    assert_string_equal(a.message, "there is no cluster \"web\"");
    assert_null(store_current(engine_store(f->engine)));
}

/* The listeners of both want one address, and the pushed one's name comes later: the discovered one is told. */
static void of_two_that_do_not_go_together_the_lower_is_told(void **state) {
    static const char listener[] = "listeners: [{name: %s, address: '127.0.0.1:80', route-table: %s}]\n"
                                   "route-tables: [{name: %s, hosts: [{domains: ['*'],"
                                   " rules: [{respond: {status: 204}}]}]}]";
    struct fixture *f = *state;
    char ours[300], theirs[300];
    snprintf(ours, sizeof ours, listener, "zulu", "ours", "ours");
    snprintf(theirs, sizeof theirs, listener, "alpha", "theirs", "theirs");
    fixture_push_text(f, ours);
    struct layer_answer a = xds(f, theirs);
    expect_layer(&a, OUTCOME(REFUSED), 1);
    assert_int_equal(a.problems, 1);
    assert_string_equal(a.resource, "listener/alpha");
    fixture_push_text(f, nothing);
    a = xds(f, theirs);
    expect_layer(&a, OUTCOME(STORED), 3);
    fixture_push_text(f, ours);
    expect_pushed(f, OUTCOME(REFUSED), 3);
    assert_string_equal(f->reply->problems[0]->resource, "listener/alpha");
    assert_string_equal(f->reply->problems[1]->message, "this does not go together with what comes from xds");
}

/* They may refer to what is pushed, and then it has to stay. */
static void a_layer_may_refer_to_what_wins(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, web);
    struct layer_answer a = layer_set(f, ENGINE_LAYER_XDS, table, "cluster/web");
    expect_layer(&a, OUTCOME(STORED), 2);
    delete_cluster(f, "web");
    expect_pushed(f, OUTCOME(REFUSED), 2);
    assert_string_equal(f->reply->problems[0]->resource, "route-table/site");
    assert_string_equal(f->reply->problems[0]->message, "there is no cluster \"web\"");
    fixture_push_text(f, table); /* a pushed one may only refer to what is pushed */
    expect_pushed(f, OUTCOME(STORED), 3);
    xds(f, api);
    set_one(f, KIND(ROUTE_TABLE), "other", "hosts: [{domains: ['*'], rules: [{cluster: api}]}]");
    expect_pushed(f, OUTCOME(REFUSED), 4);
}

static void what_data_planes_refuse_is_told_by_resource(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, web);
    fixture_connect(f, 0);
    fixture_settle(&f->nodes[0]);
    struct layer_answer a;
    layer_begin(f, ENGINE_LAYER_XDS, api, NULL, &a);
    while (f->nodes[0].nonce < 2) {
        ev_run(f->loop, EVRUN_NOWAIT);
        script_pull(&f->nodes[0]);
    }
    script_nack(&f->nodes[0], f->nodes[0].nonce, "cannot bind");
    assert_int_equal(a.count, 1);
    expect_layer(&a, OUTCOME(REFUSED), 1);
    assert_int_equal(a.problems, 1);
    assert_string_equal(a.resource, "listener/web");
    assert_string_equal(a.path, "addresses[0]");
    assert_string_equal(a.message, "data plane a: cannot bind");
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "api"), -1);
}

/* ---- waiting ---- */

static void the_last_set_that_waits_is_used(void **state) {
    struct fixture *f = *state;
    struct layer_answer first, second, third, etcd;
    fixture_connect(f, 0);
    fixture_push_port(f, 1); /* under way until the data plane answers */
    layer_begin(f, ENGINE_LAYER_XDS, api, NULL, &first);
    layer_begin(f, ENGINE_LAYER_ETCD, web, NULL, &etcd);
    layer_begin(f, ENGINE_LAYER_XDS, api_and_web, NULL, &second);
    layer_begin(f, ENGINE_LAYER_XDS, api_again, NULL, &third);
    assert_int_equal(first.outcome, OUTCOME(SUPERSEDED));
    assert_int_equal(second.outcome, OUTCOME(SUPERSEDED));
    assert_int_equal(third.count + etcd.count, 0);
    assert_int_equal(engine_pushes(f->engine), 3);
    layer_wait(f, &third);
    layer_wait(f, &etcd);
    assert_int_equal(f->replies, 1);
    assert_int_equal(third.outcome, OUTCOME(COMMITTED));
    assert_int_equal(etcd.outcome, OUTCOME(COMMITTED));
    assert_int_equal(store_current(engine_store(f->engine))->version.number, 3);
    assert_int_equal(port_of(f, "api"), 2);
    assert_false(engine_is_busy(f->engine));
}

/* Whatever their number, a storm of sets makes few versions. */
static void a_storm_makes_few_versions(void **state) {
    enum { SETS = 500 };
    struct fixture *f = *state;
    static struct layer_answer answers[SETS];
    char yaml[100];
    for (int i = 0; i < SETS; i++) {
        snprintf(yaml, sizeof yaml, "clusters: [{name: api, endpoints: ['127.0.0.1:%d']}]", i + 1);
        layer_begin(f, ENGINE_LAYER_XDS, yaml, NULL, &answers[i]);
    }
    layer_wait(f, &answers[SETS - 1]);
    for (int i = 0; i < SETS; i++)
        assert_int_equal(answers[i].count, 1);
    assert_int_equal(port_of(f, "api"), SETS);
    assert_int_equal(store_current(engine_store(f->engine))->version.number, 1);
}

static void pushes_go_on_between_sets(void **state) {
    struct fixture *f = *state;
    struct layer_answer first = xds(f, api), second;
    layer_begin(f, ENGINE_LAYER_XDS, api_again, NULL, &second); /* held back a while */
    fixture_push_port(f, 1);
    expect_pushed(f, OUTCOME(STORED), 2);
    layer_wait(f, &second);
    expect_layer(&first, OUTCOME(STORED), 1);
    expect_layer(&second, OUTCOME(STORED), 3);
}

static void a_stop_waits_for_sets_and_refuses_new_ones(void **state) {
    struct fixture *f = *state;
    struct layer_answer waiting, refused;
    xds(f, api);
    layer_begin(f, ENGINE_LAYER_XDS, api_again, NULL, &waiting);
    engine_stop(f->engine);
    assert_true(engine_is_busy(f->engine));
    layer_begin(f, ENGINE_LAYER_XDS, web, NULL, &refused);
    assert_int_equal(refused.outcome, OUTCOME(REFUSED));
    assert_string_equal(refused.message, "the control plane is stopping");
    layer_wait(f, &waiting);
    expect_layer(&waiting, OUTCOME(STORED), 2);
    assert_false(engine_is_busy(f->engine));
}

/* ---- history ---- */

static void a_restart_without_servers_finds_everything(void **state) {
    struct fixture *f = *state;
    xds(f, api_and_web);
    fixture_push_port(f, 9);
    reopen(f);
    assert_int_equal(port_of(f, "web"), 9);
    assert_int_equal(port_of(f, "api"), 1);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "api"), ENGINE_LAYER_XDS);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "web"), ENGINE_LAYER_PUSHED);
    struct layer_answer a = xds(f, api_and_web); /* the server is back and says the same */
    expect_layer(&a, OUTCOME(UNCHANGED), 2);
    fixture_push_text(f, nothing);
    expect_pushed(f, OUTCOME(STORED), 3);
    assert_int_equal(port_of(f, "web"), 3); /* was hidden, and is still known */
    a = xds(f, web);
    expect_layer(&a, OUTCOME(STORED), 4);
    assert_int_equal(layer_owner(f, KIND(CLUSTER), "api"), -1);
    assert_store_is_right(f);
}

static void a_rollback_is_about_what_was_pushed(void **state) {
    struct fixture *f = *state;
    struct store *store = engine_store(f->engine);
    fixture_push_port(f, 1);
    fixture_push_port(f, 2);
    xds(f, api);
    xds(f, api_again);
    fixture_rollback(f, 0);
    expect_pushed(f, OUTCOME(STORED), 5);
    assert_int_equal(port_of(f, "web"), 1);
    assert_int_equal(port_of(f, "api"), 2); /* as it is now */
    assert_int_equal(store_current(store)->version.restores, 1);
    assert_int_equal(store_pinned_version(store), 5);
    xds(f, api);
    assert_int_equal(store_pinned_version(store), 6); /* no push: the pin stays */
    fixture_rollback(f, 3); /* what was pushed by then */
    expect_pushed(f, OUTCOME(STORED), 7);
    assert_int_equal(port_of(f, "web"), 2);
    assert_int_equal(port_of(f, "api"), 1);
    fixture_push_port(f, 3);
    assert_int_equal(store_pinned_version(store), 0);
    assert_store_is_right(f);
}

static void whoever_looked_at_a_version_may_push_though_servers_spoke(void **state) {
    static const char text[] = "clusters: [{name: web, endpoints: ['127.0.0.1:7']}]";
    struct fixture *f = *state;
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__Sources sources = HEADGATE__SOURCES__INIT;
    Headgate__SourceFile file = HEADGATE__SOURCE_FILE__INIT, *list = &file;
    file.path = (char *)"x";
    file.has_text = true;
    file.text = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
    sources.n_files = 1;
    sources.files = &list;
    request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_SOURCES;
    request.sources = &sources;
    request.has_if_version = true;
    fixture_push_port(f, 1);
    fixture_push_port(f, 2);
    xds(f, api);
    request.if_version = 1;
    fixture_push_request(f, &request);
    expect_pushed(f, OUTCOME(REFUSED), 3);
    assert_string_equal(f->reply->problems[0]->message, "the current version is 3, not 1");
    request.if_version = 2;
    fixture_push_request(f, &request);
    expect_pushed(f, OUTCOME(STORED), 4);
}

/* ---- memory ---- */

/* A set with the nth allocation failing, for every n: it is taken and answered, or not taken; nothing is lost. */
static void survives_failing_allocations(void **state) {
    struct fixture *f = *state;
    bool is_done = false;
    fixture_push_port(f, 9);
    xds(f, api_and_web);
    for (long nth = 0; !is_done; nth++) {
        struct config_resources set = layer_of(api_again, NULL);
        struct layer_answer a = {0};
        hg_alloc_fail_at(nth, 0);
        if (engine_set_layer(f->engine, ENGINE_LAYER_XDS, &set, layer_on_reply, &a) == 0)
            layer_wait(f, &a);
        else
            config_resources_finish(&set);
        hg_alloc_fail_at(-1, 0);
        is_done = a.outcome == OUTCOME(STORED);
        assert_int_equal(port_of(f, "web"), 9);
        assert_int_equal(port_of(f, "api"), is_done ? 2 : 1);
        assert_true(nth < 20000);
    }
    reopen(f);
    assert_int_equal(port_of(f, "api"), 2);
    assert_store_is_right(f);
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_node_may_live_by_a_server_alone),
        TEST(each_replaces_its_own),
        TEST(data_planes_serve_it_before_the_answer),
        TEST(what_is_pushed_hides_a_cluster_with_its_endpoints),
        TEST(etcd_hides_xds),
        TEST(the_same_from_elsewhere_is_a_version),
        TEST(a_cluster_may_come_without_endpoints),
        TEST(people_do_not_change_what_servers_say),
        TEST(settings_are_pushed),
        TEST(what_is_wrong_is_told_by_resource),
        TEST(of_two_that_do_not_go_together_the_lower_is_told),
        TEST(a_layer_may_refer_to_what_wins),
        TEST(what_data_planes_refuse_is_told_by_resource),
        TEST(the_last_set_that_waits_is_used),
        TEST(a_storm_makes_few_versions),
        TEST(pushes_go_on_between_sets),
        TEST(a_stop_waits_for_sets_and_refuses_new_ones),
        TEST(a_restart_without_servers_finds_everything),
        TEST(a_rollback_is_about_what_was_pushed),
        TEST(whoever_looked_at_a_version_may_push_though_servers_spoke),
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
