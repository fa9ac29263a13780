/* The cookie that brings a client back: what is signed, what is believed, and what the client is given. */
#include "common/alloc.h"
#include "dataplane/snapshot/sticky.h"
#include "tests/unit/common/cmocka_all.h"
#include "tests/unit/dataplane/back/make_members.h"

enum { ENDPOINTS = 3, SECOND = 1000000 };

static Headgate__Cluster cluster_message;
static Headgate__StickyCookie sticky_message;
static Headgate__Secret secret_message;
static Headgate__TicketKeys ticket_keys;
static Headgate__TicketKey keys[2], *key_pointers[2];
static uint8_t key_bytes[2][32];
static struct resource *cluster, *secret;
static struct endpoint_definition endpoints[ENDPOINTS];
static struct cluster_definition definition;
static struct endpoint_runtime runtimes[ENDPOINTS];
static struct arena arena;
static struct error_list errors;
static struct exchange exchange;
static struct head request, response;

static struct resource *make_resource(const char *name, void *message) {
    struct resource *r = hg_calloc(1, sizeof *r + strlen(name) + 1);
    assert_non_null(r);
    memcpy(r->name, name, strlen(name) + 1);
    r->message = message;
    return r;
}

static struct cluster_members *members_of(const struct endpoint_definition *list, uint32_t count,
                                          const struct cluster_members *previous) {
    struct cluster_members *m = cluster_members_create(count);
    assert_non_null(m);
    m->rules = round_robin_rules;
    m->wants_ids = true;
    memcpy(m->endpoints, list, count * sizeof *list);
    assert_int_equal(cluster_members_complete(m, previous), 0);
    made_members[made_members_count++] = m;
    return m;
}

static void use_keys(unsigned count, unsigned first) {
    ticket_keys.n_keys = count;
    for (unsigned i = 0; i < count; i++)
        key_pointers[i] = &keys[(first + i) % 2];
}

static int set_up(void **state) {
    static const char *const texts[ENDPOINTS] = {"10.0.0.1:80", "10.0.0.2:80", "[::1]:80"};
    (void)state;
    headgate__cluster__init(&cluster_message);
    headgate__sticky_cookie__init(&sticky_message);
    headgate__secret__init(&secret_message);
    headgate__ticket_keys__init(&ticket_keys);
    cluster_message.sticky = &sticky_message;
    secret_message.ticket_keys = &ticket_keys;
    secret_message.kind_case = HEADGATE__SECRET__KIND_TICKET_KEYS;
    ticket_keys.keys = key_pointers;
    for (unsigned i = 0; i < 2; i++) {
        headgate__ticket_key__init(&keys[i]);
        memset(key_bytes[i], (int)(i + 1), sizeof key_bytes[i]);
        keys[i].mac_key = (ProtobufCBinaryData){sizeof key_bytes[i], key_bytes[i]};
    }
    use_keys(1, 0);
    cluster = make_resource("shop", &cluster_message);
    secret = make_resource("ticket-keys", &secret_message);
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        endpoints[i] = (struct endpoint_definition){.text = str_of(texts[i]), .weight = 1, .is_usable = true};
        runtimes[i] = (struct endpoint_runtime){.connections = 0};
        memcpy(runtimes[i].text, texts[i], strlen(texts[i]) + 1);
    }
    definition = (struct cluster_definition){.members = members_of(endpoints, ENDPOINTS, NULL)};
    arena_init(&exchange.arena, NULL, 0, 0);
    head_init(&request);
    head_init(&response);
    exchange.request.head = &request;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    members_finish();
    hg_free(cluster);
    hg_free(secret);
    arena_finish(&arena);
    arena_finish(&exchange.arena);
    arena = exchange.arena = (struct arena){0};
    error_list_finish(&errors);
    return 0;
}

static const struct sticky *make(const struct cluster_definition *previous) {
    definition.sticky = snapshot_sticky_make(&arena, cluster, secret, definition.members, previous, &errors);
    return definition.sticky;
}

/* The cookie's "name=value" for this endpoint, as the client would send it; NULL: it was given none. */
static const char *cookie_for(const struct pick *p, unsigned endpoint) {
    head_init(&response);
    assert_int_equal(sticky_write(&exchange, &definition, p, &runtimes[endpoint], &response), 0);
    const struct field *f = fields_find(&response.fields, FIELD_SET_COOKIE);
    if (!f)
        return NULL;
    struct str value = field_value(f);
    return arena_str(&exchange.arena, str_cut(&value, ';')).p;
}

static struct pick read_cookie(const char *text) {
    struct pick p = {.sticky = 0};
    head_init(&request);
    assert_int_equal(fields_add_id(&request.fields, &exchange.arena, FIELD_COOKIE, str_of(text)), 0);
    sticky_read(&exchange, &definition, &p);
    return p;
}

static void client_is_brought_back(void **state) {
    (void)state;
    const struct pick nothing = {.sticky = 0};
    assert_non_null(make(NULL));
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        const char *cookie = cookie_for(&nothing, i);
        assert_non_null(cookie);
        struct pick p = read_cookie(arena_printf(&exchange.arena, "a=b; %s; c=d", cookie));
        assert_true(p.sticky == endpoint_id(endpoints[i].text) && p.sticky_is_newest);
        assert_null(cookie_for(&p, i)); /* it has it already */
        assert_non_null(cookie_for(&p, (i + 1) % ENDPOINTS));
    }
}

static void attributes_are_as_configured(void **state) {
    (void)state;
    const struct pick nothing = {.sticky = 0};
    sticky_message.name = (char *)"who", sticky_message.path = (char *)"/shop";
    sticky_message.has_max_age = true, sticky_message.max_age = 3600 * (uint64_t)SECOND;
    sticky_message.has_secure = sticky_message.secure = true;
    assert_non_null(make(NULL));
    assert_non_null(cookie_for(&nothing, 0));
    struct str text = field_value(fields_find(&response.fields, FIELD_SET_COOKIE));
    assert_true(str_starts(text, STR("who=")));
    assert_true(str_ends(text, STR("; Path=/shop; Max-Age=3600; HttpOnly; SameSite=Lax; Secure")));
    assert_int_equal(text.n, 4 + STICKY_VALUE + 58);
}

/* Every change of a single character, and what is too short, too long or not ours. */
static void forged_cookies_are_as_good_as_none(void **state) {
    (void)state;
    const struct pick nothing = {.sticky = 0};
    assert_non_null(make(NULL));
    char *cookie = arena_strdup(&exchange.arena, cookie_for(&nothing, 0));
    size_t begin = strcspn(cookie, "=") + 1;
    assert_true(read_cookie(cookie).sticky != 0);
    for (size_t i = begin; cookie[i]; i++) {
        char kept = cookie[i];
        cookie[i] = kept == '0' ? '1' : '0';
        assert_true(read_cookie(cookie).sticky == 0);
        cookie[i] = kept;
    }
    assert_true(read_cookie(arena_printf(&exchange.arena, "%s0", cookie)).sticky == 0);
    assert_true(read_cookie(arena_printf(&exchange.arena, "x%s", cookie)).sticky == 0);
    cookie[strlen(cookie) - 2] = '\0';
    assert_true(read_cookie(cookie).sticky == 0);
    assert_true(read_cookie("headgate-endpoint=").sticky == 0);
    assert_true(read_cookie("headgate-endpoint").sticky == 0);
}

static void cookie_of_another_cluster_is_not_ours(void **state) {
    (void)state;
    const struct pick nothing = {.sticky = 0};
    assert_non_null(make(NULL));
    const char *cookie = cookie_for(&nothing, 0);
    hg_free(cluster);
    cluster = make_resource("other", &cluster_message);
    assert_non_null(make(NULL));
    assert_true(read_cookie(cookie).sticky == 0);
}

/* An older key is believed while it is kept, and the client is given a cookie by the newest. */
static void keys_rotate(void **state) {
    (void)state;
    const struct pick nothing = {.sticky = 0};
    assert_non_null(make(NULL));
    const char *old = cookie_for(&nothing, 1);
    use_keys(2, 1);
    assert_non_null(make(NULL));
    struct pick p = read_cookie(old);
    assert_true(p.sticky == endpoint_id(endpoints[1].text) && !p.sticky_is_newest);
    const char *new = cookie_for(&p, 1);
    assert_non_null(new);
    assert_string_not_equal(new, old);
    assert_true(read_cookie(new).sticky_is_newest);
    use_keys(1, 1);
    assert_non_null(make(NULL));
    assert_true(read_cookie(old).sticky == 0);
    assert_true(read_cookie(new).sticky_is_newest);
}

/* Signatures of endpoints that stay are taken over, wherever these stand now; they are what would be computed. */
static void signatures_outlive_changes(void **state) {
    (void)state;
    const struct pick nothing = {.sticky = 0};
    assert_non_null(make(NULL));
    struct cluster_definition before = definition;
    const char *first = cookie_for(&nothing, 0), *last = cookie_for(&nothing, 2);
    struct endpoint_definition changed[2] = {endpoints[2], endpoints[1]};
    definition.members = members_of(changed, 2, before.members);
    assert_non_null(make(&before));
    assert_true(read_cookie(first).sticky == 0); /* it is gone */
    assert_true(read_cookie(last).sticky == endpoint_id(endpoints[2].text));
    const struct sticky *taken = definition.sticky, *computed = make(NULL);
    assert_memory_equal(taken->macs, computed->macs, 2 * sizeof *taken->macs);
}

static void faults_are_named(void **state) {
    (void)state;
    sticky_message.name = (char *)"a b";
    sticky_message.path = (char *)"/;x";
    assert_null(make(NULL));
    assert_int_equal(errors.count, 2);
    error_list_finish(&errors);
    errors = (struct error_list){0};
    sticky_message.name = (char *)"a", sticky_message.path = (char *)"/";
    ticket_keys.n_keys = 0;
    assert_null(make(NULL));
    assert_int_equal(errors.count, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(client_is_brought_back),   TEST(attributes_are_as_configured), TEST(forged_cookies_are_as_good_as_none),
        TEST(cookie_of_another_cluster_is_not_ours), TEST(keys_rotate),     TEST(signatures_outlive_changes),
        TEST(faults_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
