/* Secrets that servers give: in use, rotated, gone, after a restart. labels: threads */
#include "tests/unit/controlplane/secrets/maker.h"

#include "tests/unit/controlplane/engine/layers.h"

enum { TICKET_KEYS = 1, TEXT_MAX = 16384 };

static const char listener[] = "listeners: [{name: web, address: '127.0.0.1:1', route-table: site,\n"
                               "  tls: {certificates: [{certificate: 'sds:site', key: 'sds:site'}]}}]\n"
                               "route-tables: [{name: site, hosts: [{domains: ['*'], rules: [{respond: {status: 204}}]}]}]";
static const char cluster[] = "clusters: [{name: api, endpoints: ['127.0.0.1:1'], tls: {ca: 'sds:site'}}]";

struct given_world {
    struct fixture *fixture;
    struct folder *folder;
    char certificate[TEXT_MAX], key[TEXT_MAX];
};

static int given_setup(void **state) {
    struct given_world *w = calloc(1, sizeof *w);
    void *fixture = NULL, *folder = NULL;
    if (fixture_setup(&fixture) < 0 || folder_setup(&folder) < 0)
        return -1;
    w->fixture = fixture;
    w->folder = folder;
    *state = w;
    return 0;
}

static int given_teardown(void **state) {
    struct given_world *w = *state;
    void *fixture = w->fixture, *folder = w->folder;
    fixture_teardown(&fixture);
    folder_teardown(&folder);
    free(w);
    return 0;
}

static void read_text(const struct given_world *w, const char *name, char text[TEXT_MAX]) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->folder->path, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, TEXT_MAX - 1, file);
    text[n] = '\0';
    fclose(file);
}

/* A new pair each time. */
static struct given_secret new_pair(struct given_world *w) {
    folder_pair(w->folder, "pair", "DNS:site.example", false);
    read_text(w, "pair.pem", w->certificate);
    read_text(w, "pair.key", w->key);
    return (struct given_secret){
        .what = CONFIG_SECRET_KEY_PAIR, .certificate = str_of(w->certificate), .key = str_of(w->key)};
}

static void give(struct given_world *w, const char *name, const struct given_secret *content) {
    struct error_list errors = {0};
    assert_int_equal(engine_set_given_secret(w->fixture->engine, name, content, &errors), 0);
    assert_int_equal(errors.count, 0);
}

static void expect_fault(struct given_world *w, const char *name, const struct given_secret *content, const char *message) {
    struct error_list errors = {0};
    assert_int_equal(engine_set_given_secret(w->fixture->engine, name, content, &errors), -1);
    if (!strstr(errors.items[0].message, message))
        print_message("%s\n", errors.items[0].message);
    assert_non_null(strstr(errors.items[0].message, message));
    error_list_finish(&errors);
}

/* The secret as data planes get it; NULL: they do not. */
static Headgate__Secret *secret_in_state(const struct fixture *f, const char *name) {
    const struct part *state = channel_current(engine_channel(f->engine))->state;
    ssize_t at = part_find(state, HEADGATE__KIND__KIND_SECRET, name);
    const struct blob *body = at < 0 ? NULL : part_body(state, (size_t)at);
    return body ? headgate__secret__unpack(NULL, body->size, body->bytes) : NULL;
}

/* Whether data planes get what is in w->certificate now. */
static bool is_served(struct given_world *w, const char *name) {
    Headgate__Secret *m = secret_in_state(w->fixture, name);
    BIO *text = BIO_new_mem_buf(w->certificate, -1);
    X509 *x = PEM_read_bio_X509(text, NULL, NULL, NULL);
    uint8_t *der = NULL;
    int size = i2d_X509(x, &der);
    bool is_it = m && m->kind_case == HEADGATE__SECRET__KIND_KEY_PAIR && m->key_pair->chain[0].len == (size_t)size &&
                 memcmp(m->key_pair->chain[0].data, der, (size_t)size) == 0;
    OPENSSL_free(der);
    X509_free(x);
    BIO_free(text);
    if (m)
        headgate__secret__free_unpacked(m, NULL);
    return is_it;
}

static struct layer_answer xds(struct given_world *w, const char *yaml) {
    struct layer_answer a;
    layer_begin(w->fixture, ENGINE_LAYER_XDS, yaml, NULL, &a);
    while (a.count == 0)
        ev_run(w->fixture->loop, EVRUN_NOWAIT); /* secrets are checked on a thread */
    return a;
}

static void turn_until_served(struct given_world *w, const char *name) {
    while (!is_served(w, name))
        ev_run(w->fixture->loop, EVRUN_NOWAIT);
}

static void reopen(struct fixture *f) {
    struct error_list errors = {0};
    engine_stop(f->engine);
    engine_destroy(f->engine);
    f->engine = fixture_open(f, &errors);
    assert_non_null(f->engine);
}

/* ---- in use ---- */

static void one_that_is_not_there_is_refused(void **state) {
    struct given_world *w = *state;
    struct layer_answer a = xds(w, listener);
    assert_int_equal(a.outcome, OUTCOME(REFUSED));
    assert_string_equal(a.resource, "listener/web");
    assert_string_equal(a.path, "tls.certificates[0]");
    assert_string_equal(a.message, "no server has given the secret sds:site");
    struct given_secret pair = new_pair(w);
    give(w, "sds:site", &pair);
    a = xds(w, listener);
    assert_int_equal(a.outcome, OUTCOME(STORED));
    assert_true(is_served(w, "sds:site"));
}

static void another_content_is_a_generation(void **state) {
    struct given_world *w = *state;
    struct fixture *f = w->fixture;
    struct given_secret pair = new_pair(w);
    give(w, "sds:site", &pair);
    xds(w, listener);
    fixture_connect(f, 0);
    fixture_settle(&f->nodes[0]);
    uint64_t generation = channel_current(engine_channel(f->engine))->generation;
    give(w, "sds:site", &pair); /* nothing new */
    ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(channel_current(engine_channel(f->engine))->generation, generation);
    pair = new_pair(w);
    assert_false(is_served(w, "sds:site"));
    give(w, "sds:site", &pair);
    turn_until_served(w, "sds:site");
    fixture_settle(&f->nodes[0]);
    const struct snapshot *now = channel_current(engine_channel(f->engine));
    assert_int_equal(now->version, 1);
    assert_int_equal(now->generation, generation + 1);
    assert_int_equal(f->nodes[0].version, 1);
}

static void one_that_has_expired_is_used_with_a_warning(void **state) {
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    struct error_list errors = {0};
    give(w, "sds:site", &pair);
    struct secret_source source = {.now = clock_realtime_us() + UINT64_C(400) * 86400 * 1000000};
    struct config_resource made = {0};
    assert_int_equal(given_secret_make("sds:site", &pair, NULL, &made, &errors), 0);
    const struct config_resources set = {.items = &made, .count = 1}, nothing = {0};
    struct wish wish = {0};
    struct secret_set secrets = {0};
    struct error_list warnings = {0};
    wish_pair(&wish, "sds:site", "sds:site", "sds:site");
    wish.items[0].is_given = true;
    source.given = &set;
    source.previous = &nothing;
    assert_int_equal(secrets_make(&source, &wish.secrets, &secrets, &errors, &warnings), 0);
    assert_int_equal(secrets.count, 1);
    assert_int_equal(warnings.count, 1);
    assert_string_equal(warnings.items[0].message,
                        "sds:site has expired, and is used all the same, since a server gives it");
    secret_set_finish(&secrets);
    secret_free((void *)(uintptr_t)made.bytes);
    error_list_finish(&warnings);
}

static void authorities_are_given_too(void **state) {
    struct given_world *w = *state;
    struct given_secret trust = new_pair(w);
    trust.what = CONFIG_SECRET_TRUST;
    trust.key = STR("");
    give(w, "sds:site", &trust);
    struct layer_answer a = xds(w, cluster);
    assert_int_equal(a.outcome, OUTCOME(STORED));
    Headgate__Secret *m = secret_in_state(w->fixture, "sds:site");
    assert_int_equal(m->kind_case, HEADGATE__SECRET__KIND_TRUST);
    assert_int_equal(m->trust->n_certificates, 1);
    headgate__secret__free_unpacked(m, NULL);
    a = xds(w, listener);
    assert_int_equal(a.outcome, OUTCOME(REFUSED));
    assert_string_equal(a.message, "the server has given sds:site as authorities, not a certificate with its key");
}

/* ---- keys of tickets ---- */

enum { TICKET_KEY = 80 };

/* Each byte says which key it is of, and which part. */
static struct str ticket_key(char room[TICKET_KEY], char which) {
    memset(room, which, TICKET_KEY);
    room[0] = 'n';
    room[16] = 'm';
    room[48] = 'e';
    return (struct str){room, TICKET_KEY};
}

static bool serves_ticket_keys(struct given_world *w, const char *which) {
    Headgate__Secret *m = secret_in_state(w->fixture, "sds:keys");
    bool is_it = m && m->kind_case == HEADGATE__SECRET__KIND_TICKET_KEYS && m->ticket_keys->n_keys == strlen(which);
    for (size_t i = 0; is_it && i < m->ticket_keys->n_keys; i++) {
        const Headgate__TicketKey *k = m->ticket_keys->keys[i];
        is_it = k->name.len == 16 && k->mac_key.len == 32 && k->encryption_key.len == 32 && k->name.data[0] == 'n' &&
                k->mac_key.data[0] == 'm' && k->encryption_key.data[0] == 'e' && k->name.data[1] == which[i];
    }
    if (m)
        headgate__secret__free_unpacked(m, NULL);
    return is_it;
}

static const char with_ticket_keys[] =
    "listeners: [{name: web, address: '127.0.0.1:1', route-table: site,\n"
    "  tls: {ticket-keys: 'sds:keys', certificates: [{certificate: 'sds:site', key: 'sds:site'}]}}]\n"
    "route-tables: [{name: site, hosts: [{domains: ['*'], rules: [{respond: {status: 204}}]}]}]";

static void keys_of_tickets_are_given_too(void **state) {
    struct given_world *w = *state;
    char room[2][TICKET_KEY];
    const struct str keys[] = {ticket_key(room[0], 'a'), ticket_key(room[1], 'b')};
    struct given_secret pair = new_pair(w), tickets = {
        .what = CONFIG_SECRET_TICKET_KEYS, .ticket_keys = keys, .ticket_key_count = 1};
    give(w, "sds:site", &pair);
    struct layer_answer a = xds(w, with_ticket_keys);
    assert_int_equal(a.outcome, OUTCOME(REFUSED));
    assert_string_equal(a.path, "tls.ticket-keys");
    give(w, "sds:keys", &pair);
    a = xds(w, with_ticket_keys);
    assert_int_equal(a.outcome, OUTCOME(REFUSED));
    assert_string_equal(a.message, "the server has given sds:keys as a certificate with its key, not keys of tickets");
    give(w, "sds:keys", &tickets);
    a = xds(w, with_ticket_keys);
    assert_int_equal(a.outcome, OUTCOME(STORED));
    assert_true(serves_ticket_keys(w, "a"));
    tickets.ticket_key_count = 2;
    give(w, "sds:keys", &tickets); /* a generation, not a version */
    while (!serves_ticket_keys(w, "ab"))
        ev_run(w->fixture->loop, EVRUN_NOWAIT);
    assert_int_equal(channel_current(engine_channel(w->fixture->engine))->version, 1);
}

static void one_name_is_one_thing(void **state) {
    static const char both[] = "clusters: [{name: api, endpoints: ['127.0.0.1:1'],"
                               " tls: {ca: 'sds:site', certificate: 'sds:site', key: 'sds:site'}}]";
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    give(w, "sds:site", &pair);
    struct layer_answer a = xds(w, both);
    assert_int_equal(a.outcome, OUTCOME(REFUSED));
    assert_string_equal(a.resource, "cluster/api");
    assert_non_null(strstr(a.message, "a certificate with its key in one place, and authorities in another"));
}

/* ---- faults ---- */

static void what_is_wrong_is_told(void **state) {
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    char certificate[TEXT_MAX];
    memcpy(certificate, w->certificate, sizeof certificate);
    expect_fault(w, "site", &pair, "site is no name of a secret that is given");
    expect_fault(w, "sds:", &pair, "sds: is no name");
    expect_fault(w, "sds:a b", &pair, "is no name");
    expect_fault(w, "sds:a*", &pair, "is no name");
    pair.key = STR("no key");
    expect_fault(w, "sds:site", &pair, "the key:1: ");
    pair = new_pair(w);
    pair.certificate = str_of(certificate); /* of another key */
    expect_fault(w, "sds:site", &pair, "the key:1: ");
    pair.what = CONFIG_SECRET_SYSTEM_TRUST;
    expect_fault(w, "sds:site", &pair, "only certificates with their keys, authorities, and keys of tickets can be given");
    pair.what = CONFIG_SECRET_TICKET_KEYS;
    expect_fault(w, "sds:site", &pair, "there must be 1 to 16 keys of tickets, of 80 bytes each");
    const struct str keys[] = {STR("short")};
    pair.ticket_keys = keys;
    pair.ticket_key_count = 1;
    expect_fault(w, "sds:site", &pair, "there must be 1 to 16 keys of tickets, of 80 bytes each");
    pair.what = CONFIG_SECRET_TRUST;
    pair.crl = STR("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    expect_fault(w, "sds:site", &pair, "the certificate:");
}

static void a_bad_one_leaves_the_good_one(void **state) {
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    give(w, "sds:site", &pair);
    xds(w, listener);
    pair.key = STR("no key");
    expect_fault(w, "sds:site", &pair, "the key:1: ");
    ev_run(w->fixture->loop, EVRUN_NOWAIT);
    assert_true(is_served(w, "sds:site"));
}

/* ---- users ---- */

static void expect_users_fault(struct fixture *f, const char *certificate, const char *key, const char *message) {
    char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "listeners: [{name: web, address: '127.0.0.1:1', route-table: site,\n"
             "  tls: {certificates: [{certificate: '%s', key: '%s'}]}}]\n"
             "route-tables: [{name: site, hosts: [{domains: ['*'], rules: [{respond: {status: 204}}]}]}]",
             certificate, key);
    int replies = f->replies;
    fixture_push_text(f, yaml);
    while (f->replies == replies)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(f->reply->outcome, OUTCOME(REFUSED));
    assert_int_equal(f->reply->n_problems, 1);
    if (!strstr(f->reply->problems[0]->message, message))
        print_message("%s\n", f->reply->problems[0]->message);
    assert_non_null(strstr(f->reply->problems[0]->message, message));
}

static void users_do_not_claim_one_by_accident(void **state) {
    struct given_world *w = *state;
    struct fixture *f = w->fixture;
    char path[256];
    expect_users_fault(f, "sds:x", "sds:x", "no server has given the secret sds:x");
    expect_users_fault(f, "sds:x", "x.key", "what begins with sds: is a secret that a server gives, whole");
    expect_users_fault(f, "x.pem", "sds:x", "what begins with sds: is a secret that a server gives, whole");
    expect_users_fault(f, "./sds:x", "./sds:x", "./sds:x: "); /* a file, which is not there */
    /* The end of a long path is what its secret is called by. */
    size_t cut = 128, n = 140;
    memset(path, 'a', n);
    path[0] = '/';
    path[n] = '\0';
    memcpy(path + n - cut, "sds:", 4);
    expect_users_fault(f, path, path, "aaa: ");
}

static void secrets_of_kubernetes_are_named_by_namespace_and_name(void **state) {
    static const struct {
        const char *text, *namespace, *name, *key; /* namespace NULL: no name */
    } cases[] = {
        {"kubernetes:shop/web-tls", "shop", "web-tls", ""},
        {"kubernetes:shop/web.tls/ca.crt", "shop", "web.tls", "ca.crt"},
        {"kubernetes:shop/web/Root_CA.pem", "shop", "web", "Root_CA.pem"},
        {"sds:shop/web", NULL, NULL, NULL},
        {"kubernetes:", NULL, NULL, NULL},
        {"kubernetes:shop", NULL, NULL, NULL},
        {"kubernetes:shop/", NULL, NULL, NULL},
        {"kubernetes:/web", NULL, NULL, NULL},
        {"kubernetes:shop/web/", NULL, NULL, NULL},
        {"kubernetes:shop//ca.crt", NULL, NULL, NULL},
        {"kubernetes:../web", NULL, NULL, NULL},
        {"kubernetes:shop/web?x", NULL, NULL, NULL},
        {"kubernetes:Shop/web", NULL, NULL, NULL},
        {"kubernetes:shop/web/ca.crt/", NULL, NULL, NULL},
        {"kubernetes:shop/web/ca.crt/more", NULL, NULL, NULL},
        {"kubernetes:shop/web/..", NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config_kubernetes_secret named = {0};
        bool is_one = config_kubernetes_secret(str_of(cases[i].text), &named);
        assert_int_equal(is_one, cases[i].namespace != NULL);
        if (!is_one)
            continue;
        assert_true(str_eq(named.namespace, str_of(cases[i].namespace)));
        assert_true(str_eq(named.name, str_of(cases[i].name)));
        assert_true(str_eq(named.key, str_of(cases[i].key)));
    }
}

static void users_name_secrets_of_kubernetes(void **state) {
    static const char whole[] = "what begins with kubernetes: is a Secret of Kubernetes, whole";
    struct given_world *w = *state;
    struct fixture *f = w->fixture;
    struct given_secret pair = new_pair(w);
    expect_users_fault(f, "kubernetes:shop/web", "kubernetes:shop/other", whole);
    expect_users_fault(f, "kubernetes:shop/web", "x.key", whole);
    expect_users_fault(f, "x.pem", "kubernetes:shop/web", whole);
    expect_users_fault(f, "kubernetes:web", "kubernetes:web", whole);
    expect_users_fault(f, "kubernetes:shop/web/ca.crt", "kubernetes:shop/web/ca.crt", whole);
    expect_users_fault(f, "kubernetes:shop/web", "kubernetes:shop/web", "kubernetes:shop/web: no API server is known");
    expect_fault(w, "kubernetes:web", &pair, "kubernetes:web is no name");
    give(w, "kubernetes:shop/web", &pair); /* by the state of an earlier time */
    struct layer_answer a = xds(w, "clusters: [{name: api, endpoints: ['127.0.0.1:1'],\n"
                                   "  tls: {certificate: 'kubernetes:shop/web', key: 'kubernetes:shop/web'}}]");
    assert_int_equal(a.outcome, OUTCOME(STORED));
    assert_true(is_served(w, "kubernetes:shop/web"));
}

/* ---- on disk ---- */

static void it_survives_a_restart(void **state) {
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    give(w, "sds:site", &pair);
    xds(w, listener);
    reopen(w->fixture);
    assert_true(is_served(w, "sds:site"));
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "%s\nclusters: [{name: api, endpoints: ['127.0.0.1:1'], tls: {certificate: 'sds:site', key: "
             "'sds:site'}}]", listener);
    struct layer_answer a = xds(w, yaml); /* and is known to whatever names it next */
    assert_int_equal(a.outcome, OUTCOME(STORED));
    assert_true(is_served(w, "sds:site"));
}

static void what_waits_to_be_named_survives_too(void **state) {
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    fixture_push_port(w->fixture, 1);
    give(w, "sds:site", &pair);
    reopen(w->fixture); /* stopping saves */
    assert_false(is_served(w, "sds:site"));
    struct layer_answer a = xds(w, listener);
    assert_int_equal(a.outcome, OUTCOME(STORED));
    assert_true(is_served(w, "sds:site"));
}

static void what_nobody_gives_any_more_stays_while_it_is_named(void **state) {
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    give(w, "sds:site", &pair);
    xds(w, listener);
    give(w, "sds:site", NULL);
    ev_run(w->fixture->loop, EVRUN_NOWAIT);
    assert_true(is_served(w, "sds:site"));
    assert_int_equal(engine_secret_problems(w->fixture->engine)->count, 1);
    xds(w, "{}");
    struct layer_answer a = xds(w, listener);
    assert_int_equal(a.outcome, OUTCOME(REFUSED));
    assert_string_equal(a.message, "no server has given the secret sds:site");
    give(w, "sds:site", NULL); /* twice is nothing */
}

static size_t saved_secrets(struct fixture *f) {
    struct store_state state = {0};
    struct error_list errors = {0};
    size_t n = 0;
    assert_int_equal(store_load_state(engine_store(f->engine), &state, &errors), 1);
    for (size_t i = 0; i < state.count; i++)
        n += str_starts(str_of(state.resources[i].name), STR("sds:"));
    store_state_finish(&state);
    return n;
}

/* Otherwise each restart could leave keys behind for ever. */
static void what_is_not_given_again_after_a_restart_is_forgotten(void **state) {
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    give(w, "sds:site", &pair);
    give(w, "sds:old", &pair);
    xds(w, listener);
    reopen(w->fixture);
    assert_int_equal(saved_secrets(w->fixture), 2);
    give(w, "sds:new", &pair);
    struct layer_answer a = xds(w, cluster); /* names no pair: refused, and nothing is forgotten */
    assert_int_equal(a.outcome, OUTCOME(REFUSED));
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "%s\nclusters: [{name: api, endpoints: ['127.0.0.1:1']}]", listener);
    a = xds(w, yaml);
    assert_int_equal(a.outcome, OUTCOME(STORED));
    reopen(w->fixture);
    assert_int_equal(saved_secrets(w->fixture), 2); /* the one in use, and the new one */
    assert_true(is_served(w, "sds:site"));
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state) {
    struct given_world *w = *state;
    struct given_secret pair = new_pair(w);
    give(w, "sds:site", &pair);
    xds(w, listener);
    pair = new_pair(w);
    int status = -1;
    for (long nth = 0; status < 0; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 0);
        status = engine_set_given_secret(w->fixture->engine, "sds:site", &pair, &errors);
        hg_alloc_fail_at(-1, 0);
        error_list_finish(&errors);
        assert_false(is_served(w, "sds:site"));
        assert_true(nth < 2000);
    }
    turn_until_served(w, "sds:site");
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, given_setup, given_teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_that_is_not_there_is_refused),
        TEST(another_content_is_a_generation),
        TEST(one_that_has_expired_is_used_with_a_warning),
        TEST(authorities_are_given_too),
        TEST(keys_of_tickets_are_given_too),
        TEST(one_name_is_one_thing),
        TEST(what_is_wrong_is_told),
        TEST(a_bad_one_leaves_the_good_one),
        TEST(users_do_not_claim_one_by_accident),
        TEST(secrets_of_kubernetes_are_named_by_namespace_and_name),
        TEST(users_name_secrets_of_kubernetes),
        TEST(it_survives_a_restart),
        TEST(what_waits_to_be_named_survives_too),
        TEST(what_nobody_gives_any_more_stays_while_it_is_named),
        TEST(what_is_not_given_again_after_a_restart_is_forgotten),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("secrets that servers give", tests, NULL, NULL);
}
