/* By what a request is hashed: the first of a cluster's rules that it has. */
#include "dataplane/back/request_hash.h"
#include "tests/unit/common/cmocka_all.h"

static struct exchange x;
static struct head head;
static struct arena arena;
static struct hash_rule rules[4];
static Headgate__Rule message;
static struct route route = {.rule = &message};
static struct cluster_definition cluster = {.hash_rules = rules};

static int set_up(void **state) {
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    head_init(&head);
    memset(&x, 0, sizeof x);
    headgate__rule__init(&message);
    x.log_version = 11;
    x.route = &route;
    x.request.head = &head;
    x.path = STR("/shop/cart");
    x.client = STR("192.0.2.7");
    cluster.hash_rule_count = 0;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_finish(&arena);
    return 0;
}

static void add_rule(int kind, struct str name) {
    rules[cluster.hash_rule_count].kind = kind;
    rules[cluster.hash_rule_count++].name = name;
}

static void add_field(struct str name, struct str value) {
    enum field_id id = field_lookup(name.p, name.n);
    assert_int_equal(id == FIELD_OTHER ? fields_add(&head.fields, &arena, name, value)
                                       : fields_add_id(&head.fields, &arena, id, value), 0);
}

static uint64_t hash(void) {
    uint64_t value = 0;
    assert_true(request_hash(&x, &cluster, &value));
    return value;
}

static bool has_hash(void) {
    uint64_t value = 4711;
    bool has = request_hash(&x, &cluster, &value);
    assert_true(has || value == 4711);
    return has;
}

static void without_rules_there_is_none(void **state) {
    (void)state;
    assert_false(has_hash());
}

static void each_kind_looks_at_its_part_alone(void **state) {
    (void)state;
    static const struct { int kind; struct str name; } kinds[] = {
        {HASH_HEADER, {"x-user", 6}}, {HASH_COOKIE, {"user", 4}}, {HASH_QUERY, {"user", 4}},
        {HASH_ADDRESS, {"", 0}},      {HASH_PATH, {"", 0}},
    };
    enum { KINDS = sizeof kinds / sizeof *kinds };
    static const struct str values[2] = {{"joan", 4}, {"john", 4}};
    static const struct str cookies[2] = {{"a=1; user=joan; b=2", 19}, {"a=1; user=john; b=2", 19}};
    static const struct str queries[2] = {{"a=1&user=joan&b", 15}, {"a=1&user=john&b", 15}};
    for (unsigned kind = 0; kind < KINDS; kind++) {
        uint64_t seen[KINDS][2];
        for (unsigned part = 0; part < KINDS; part++)
            for (unsigned v = 0; v < 2; v++) {
                set_up(NULL);
                add_rule(kinds[kind].kind, kinds[kind].name);
                add_field(STR("x-user"), values[part == 0 && v]);
                add_field(STR("cookie"), cookies[part == 1 && v]);
                head.query = queries[part == 2 && v];
                x.client = part == 3 && v ? STR("192.0.2.8") : STR("192.0.2.7");
                x.path = part == 4 && v ? STR("/shop") : STR("/");
                seen[part][v] = hash();
                arena_finish(&arena);
            }
        for (unsigned part = 0; part < KINDS; part++)
            assert_true((seen[part][0] == seen[part][1]) == (part != kind));
    }
    set_up(NULL);
}

static void the_first_rule_that_applies_counts(void **state) {
    (void)state;
    add_rule(HASH_HEADER, STR("x-user"));
    add_rule(HASH_COOKIE, STR("user"));
    assert_false(has_hash());
    add_field(STR("cookie"), STR("user=joan"));
    uint64_t by_cookie = hash();
    add_field(STR("x-user"), STR("anna"));
    assert_true(hash() != by_cookie);
    head.fields.v[0].value = "user=john";
    uint64_t by_header = hash();
    head.fields.v[0].value = "user=jack";
    assert_true(hash() == by_header);
}

static void names_are_compared_as_a_whole(void **state) {
    (void)state;
    add_rule(HASH_COOKIE, STR("user"));
    add_rule(HASH_QUERY, STR("user"));
    add_field(STR("cookie"), STR("user2=a; xuser=b; =user; user"));
    head.query = STR("user2=a&xuser=b&=user&");
    uint64_t empty = hash(); /* a cookie "user" without a value */
    head.fields.v[0].value = "user2=a; xuser=b; =user; usex";
    assert_false(has_hash());
    head.query = STR("user2=a&xuser=b&=user&user=");
    assert_true(hash() == empty);
}

/* Several Cookie fields, as HTTP/2 sends them. */
static void cookies_may_be_in_several_fields(void **state) {
    (void)state;
    struct str value;
    add_field(STR("cookie"), STR("a=1"));
    add_field(STR("cookie"), STR("b=2=3"));
    assert_true(request_cookie(&head.fields, STR("b"), &value));
    assert_true(str_eq(value, STR("2=3")));
    assert_false(request_cookie(&head.fields, STR("c"), &value));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* Each kind of a rule's own hash is what the same kind of the cluster is. */
static void what_a_rule_says_counts_before_the_cluster(void **state) {
    (void)state;
    Headgate__HashOn own[5], *list[5];
    uint64_t expected[5];
    add_field(STR("x-user"), STR("joan"));
    add_field(STR("cookie"), STR("c=1"));
    head.query = STR("q=2");
    const struct { int kind; struct str name; } kinds[] = {
        {HASH_HEADER, STR("x-user")}, {HASH_COOKIE, STR("c")}, {HASH_QUERY, STR("q")}, {HASH_ADDRESS, STR("")},
        {HASH_PATH, STR("")},
    };
    for (size_t i = 0; i < 5; i++) {
        cluster.hash_rule_count = 0;
        add_rule(kinds[i].kind, kinds[i].name);
        expected[i] = hash();
        headgate__hash_on__init(&own[i]);
        list[i] = &own[i];
    }
    own[0].kind_case = HEADGATE__HASH_ON__KIND_HEADER, own[0].header = (char *)"x-user";
    own[1].kind_case = HEADGATE__HASH_ON__KIND_COOKIE, own[1].cookie = (char *)"c";
    own[2].kind_case = HEADGATE__HASH_ON__KIND_QUERY, own[2].query = (char *)"q";
    own[3].kind_case = HEADGATE__HASH_ON__KIND_ADDRESS, own[3].address = true;
    own[4].kind_case = HEADGATE__HASH_ON__KIND_PATH, own[4].path = true;
    message.n_hash = 1;
    for (size_t i = 0; i < 5; i++) {
        message.hash = &list[i];
        assert_int_equal(hash(), expected[i]);
    }
    own[0].header = (char *)"x-absent"; /* the rule's, though the cluster has one that the request has */
    message.hash = list;
    assert_false(has_hash());
    message.n_hash = 2;
    assert_int_equal(hash(), expected[1]);
}

/* Whatever rules there are: it has nothing but its address. */
static void a_relayed_connection_goes_by_its_client(void **state) {
    (void)state;
    struct cluster_members members = {.rules.kind = BALANCE_ROUND_ROBIN};
    cluster.members = &members;
    add_rule(HASH_ADDRESS, STR(""));
    uint64_t of_request = hash();
    cluster.hash_rule_count = 0;
    add_rule(HASH_HEADER, STR("x-user"));
    x.log_version = 0;
    assert_false(has_hash());
    members.rules.kind = BALANCE_RING_HASH;
    assert_int_equal(hash(), of_request);
    members.rules.kind = BALANCE_MAGLEV;
    assert_int_equal(hash(), of_request);
    x.client = STR("192.0.2.8");
    assert_true(hash() != of_request);
    cluster.members = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(without_rules_there_is_none),        TEST(each_kind_looks_at_its_part_alone),
        TEST(the_first_rule_that_applies_counts), TEST(names_are_compared_as_a_whole),
        TEST(cookies_may_be_in_several_fields),   TEST(what_a_rule_says_counts_before_the_cluster),
        TEST(a_relayed_connection_goes_by_its_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
