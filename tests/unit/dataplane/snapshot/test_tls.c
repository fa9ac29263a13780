/* TLS of listeners and clusters in snapshots: built from the secrets of the state, taken over while nothing changed. */
#include "tests/unit/common/cmocka_all.h"

#include "tests/unit/dataplane/tls/certificates.h"

#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/tls.h"
#include "dataplane/tls/session.h"
#include "tests/unit/dataplane/snapshot/make_resource.h"

struct world {
    struct certificate   site, next;
    struct known_secrets secrets;
    struct error_list    errors;
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->site = certificate_make(&(struct certificate_wish){.name = "a", .alternatives = "DNS:a.example"});
    w->next = certificate_make(&(struct certificate_wish){.name = "a", .alternatives = "DNS:a.example", .serial = 2});
    secrets_init(&w->secrets);
    secret_add_trust(&w->secrets, "ca", &w->site);
    secret_add_pair(&w->secrets, "pair", &w->site, NULL);
    secret_add_tickets(&w->secrets, 2, 2);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    certificate_finish(&w->site);
    certificate_finish(&w->next);
    secrets_finish(&w->secrets);
    error_list_finish(&w->errors);
    tls_libraries_free();
    free(w);
    return 0;
}

/* ---- resources ---- */

static void put(struct resource_part *part, Headgate__Kind kind, const char *name, const ProtobufCMessage *m) {
    add_resource(part, make_resource(kind, name, m));
}

static void put_listener(struct resource_part *part, const char *certificate) {
    Headgate__Listener m = HEADGATE__LISTENER__INIT;
    Headgate__ServerTls tls = HEADGATE__SERVER_TLS__INIT;
    char *addresses[] = {(char *)"127.0.0.1:8443"}, *certificates[] = {(char *)(uintptr_t)certificate};
    m.addresses = addresses;
    m.n_addresses = 1;
    m.route_table = (char *)"routes";
    m.tls = &tls;
    tls.certificates = certificates;
    tls.n_certificates = 1;
    put(part, HEADGATE__KIND__KIND_LISTENER, "web", &m.base);
}

static void put_cluster(struct resource_part *part) {
    Headgate__Cluster m = HEADGATE__CLUSTER__INIT;
    Headgate__ClientTls tls = HEADGATE__CLIENT_TLS__INIT;
    tls.trust = (char *)"ca";
    m.tls = &tls;
    put(part, HEADGATE__KIND__KIND_CLUSTER, "app", &m.base);
}

static struct resource_set *make_set(const struct world *w, const char *certificate) {
    struct resource_set *set = resource_set_create();
    Headgate__RouteTable routes = HEADGATE__ROUTE_TABLE__INIT;
    put_listener(&set->intent, certificate);
    put(&set->intent, HEADGATE__KIND__KIND_ROUTE_TABLE, "routes", &routes.base);
    put_cluster(&set->intent);
    for (size_t i = 0; i < w->secrets.count; i++)
        put(&set->state, HEADGATE__KIND__KIND_SECRET, w->secrets.items[i].name, &w->secrets.items[i].message.base);
    return set;
}

static struct snapshot *build(struct world *w, const struct snapshot *previous, const char *certificate) {
    struct resource_set *set = make_set(w, certificate);
    struct snapshot *s = NULL;
    int status = snapshot_build(set, previous, &s, &w->errors);
    resource_set_unref(set);
    assert_int_equal(status == 0, s != NULL);
    return s;
}

/* ---- tests ---- */

static void test_definitions(void **state) {
    struct snapshot *s = build(*state, NULL, "pair");
    assert_non_null(s);
    assert_non_null(s->addresses[0].listener->opening.tls);
    assert_non_null(s->clusters[0]->options.tls);
    snapshot_free(s);
}

static void test_unchanged_ones_are_taken_over(void **state) {
    struct snapshot *first = build(*state, NULL, "pair"), *second = build(*state, first, "pair");
    assert_ptr_equal(first->addresses[0].listener->opening.tls, second->addresses[0].listener->opening.tls);
    assert_ptr_equal(first->clusters[0], second->clusters[0]);
    assert_int_equal(second->changed_count, 0);
    snapshot_free(first);
    snapshot_free(second);
}

/* A secret is rotated: whoever uses it is built anew, nobody else. */
static void test_rotation(void **state) {
    struct world *w = *state;
    struct snapshot *first = build(w, NULL, "pair");
    struct known_secret *pair = &w->secrets.items[1], *ca = &w->secrets.items[0];
    OPENSSL_free(pair->chain[0].data);
    OPENSSL_free(pair->pair.private_key.data);
    pair->chain[0] = der_of_certificate(&w->next);
    pair->pair.private_key = der_of_key(&w->next);
    struct snapshot *second = build(w, first, "pair");
    assert_non_null(second);
    assert_ptr_not_equal(first->addresses[0].listener->opening.tls, second->addresses[0].listener->opening.tls);
    assert_ptr_equal(first->clusters[0], second->clusters[0]);
    OPENSSL_free(ca->authorities[0].data);
    ca->authorities[0] = der_of_certificate(&w->next);
    struct snapshot *third = build(w, second, "pair");
    assert_ptr_equal(second->addresses[0].listener->opening.tls, third->addresses[0].listener->opening.tls);
    assert_ptr_not_equal(second->clusters[0], third->clusters[0]);
    assert_int_equal(third->changed_count, 1);
    snapshot_free(first);
    snapshot_free(second);
    snapshot_free(third);
}

static void test_faults_name_the_field(void **state) {
    struct world *w = *state;
    assert_null(build(w, NULL, "nowhere"));
    assert_int_equal(w->errors.count, 1);
    assert_string_equal(w->errors.items[0].resource, "listener/web");
    assert_string_equal(w->errors.items[0].path, "tls.certificates[0]");
    assert_int_equal(w->errors.items[0].code, ERROR_REFERENCE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_definitions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unchanged_ones_are_taken_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults_name_the_field, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
