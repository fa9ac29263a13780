/* Registrations: whose they are, when they are told, what of them counts. */
#include "controlplane/etcd/registry.c" /* to be full without a quarter of a million of them */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

struct follower {
    struct etcd_service_follower f;
    int told, failed;
};

static void on_changed(void *context) {
    ((struct follower *)context)->told++;
}

static void note_failed(void *context, const char *reason) {
    assert_string_equal(reason, "away");
    ((struct follower *)context)->failed++;
}

static struct follower web, api;

static int setup(void **state) {
    struct etcd_registry *r = etcd_registry_create(NULL);
    web = (struct follower){.f = {.changed = on_changed, .failed = note_failed, .context = &web}};
    api = (struct follower){.f = {.changed = on_changed, .failed = note_failed, .context = &api}};
    *state = r;
    return !r || etcd_registry_join(r, "web", &web.f) < 0 || etcd_registry_join(r, "api", &api.f) < 0 ? -1 : 0;
}

static int teardown(void **state) {
    etcd_registry_leave(&web.f);
    etcd_registry_leave(&api.f);
    etcd_registry_destroy(*state);
    return 0;
}

static void put(struct etcd_registry *r, const char *key, const char *value) {
    assert_true(etcd_registry_ops.set(r, str_of(key), str_of(value), 1));
}

static void list(struct etcd_registry *r) {
    etcd_registry_ops.list(r);
}

static void settle(struct etcd_registry *r) {
    etcd_registry_ops.settled(r);
}

/* "10.0.0.1:80 10.0.0.2:80 !" with the first fault behind it. */
static const char *endpoints(const struct follower *f) {
    static char text[1024];
    struct arena arena = {0};
    struct error_list errors = {0};
    size_t n = 0;
    const Headgate__EndpointSet *set = etcd_registry_endpoints(&f->f, &arena, &errors);
    text[0] = '\0';
    for (size_t i = 0; set && i < set->n_endpoints; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "", set->endpoints[i]->address);
    if (errors.count)
        snprintf(text + n, sizeof text - n, "%s! %s", n ? " " : "", errors.items[0].message);
    arena_finish(&arena);
    error_list_finish(&errors);
    return text;
}

static void nothing_is_told_before_the_list_is_whole(void **state) {
    struct etcd_registry *r = *state;
    list(r);
    put(r, "web/b", "{\"address\": \"10.0.0.2:80\", \"weight\": 3}");
    put(r, "web/a", "\"10.0.0.1:80\"");
    put(r, "web/sub/part", "{\"address\": \"10.0.0.2:80\"}"); /* the same one again */
    put(r, "web", "{\"address\": \"10.0.0.9:80\"}");          /* nobody's */
    put(r, "web/", "{\"address\": \"10.0.0.9:80\"}");
    assert_true(web.told == 0 && !etcd_registry_is_known(&web.f));
    settle(r);
    assert_true(web.told == 1 && api.told == 1 && etcd_registry_is_known(&web.f));
    assert_string_equal(endpoints(&web), "10.0.0.1:80 10.0.0.2:80");
    assert_non_null(strstr(endpoints(&api), "! there is no registration of api"));
}

/* Whichever came first: all nodes have the same. */
static void of_two_with_one_address_the_lower_key_counts(void **state) {
    struct etcd_registry *r = *state;
    static const char *const keys[][2] = {{"web/a", "web/b"}, {"web/b", "web/a"}};
    for (size_t i = 0; i < 2; i++) {
        list(r);
        settle(r); /* nothing is there */
        for (size_t j = 0; j < 2; j++)
            put(r, keys[i][j], keys[i][j][4] == 'a' ? "{\"address\": \"10.0.0.2:80\", \"weight\": 3}"
                                                    : "{\"address\": \"10.0.0.2:80\", \"weight\": 5}");
        settle(r);
        struct arena arena = {0};
        struct error_list errors = {0};
        const Headgate__EndpointSet *set = etcd_registry_endpoints(&web.f, &arena, &errors);
        assert_true(set && set->n_endpoints == 1 && set->endpoints[0]->weight == 3);
        arena_finish(&arena);
    }
}

static void only_those_that_change_are_told(void **state) {
    struct etcd_registry *r = *state;
    list(r);
    settle(r);
    put(r, "web/a", "\"10.0.0.1:80\"");
    settle(r);
    assert_true(web.told == 2 && api.told == 1);
    etcd_registry_ops.removed(r, STR("web/a"));
    etcd_registry_ops.removed(r, STR("web/never"));
    settle(r);
    settle(r);
    assert_true(web.told == 3 && api.told == 1);
}

static void a_list_takes_away_what_it_lacks(void **state) {
    struct etcd_registry *r = *state;
    list(r);
    put(r, "web/a", "\"10.0.0.1:80\"");
    put(r, "web/b", "\"10.0.0.2:80\"");
    put(r, "other/a", "\"10.0.0.3:80\"");
    settle(r);
    list(r);
    put(r, "web/b", "\"10.0.0.2:80\"");
    assert_string_equal(endpoints(&web), "10.0.0.1:80 10.0.0.2:80");
    settle(r);
    assert_string_equal(endpoints(&web), "10.0.0.2:80");
}

static void what_is_bad_counts_as_it_was(void **state) {
    struct etcd_registry *r = *state;
    static const char *const bad[] = {"", "{}", "{\"adress\": 1}", "\"10.0.0.7:80\", \"10.0.0.8:80\"", "nonsense",
                                      "[", "]", "null"};
    list(r);
    put(r, "web/a", "\"10.0.0.1:80\"");
    settle(r);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(r, "web/a", bad[i]);
        const char *text = endpoints(&web);
        assert_memory_equal(text, "10.0.0.1:80 ! ", 14);
        assert_non_null(strstr(text, "endpoints/web/a"));
        put(r, "api/a", bad[i]); /* was never right */
        assert_non_null(strstr(endpoints(&api), "! endpoints/api/a"));
    }
    char big[ETCD_INSTANCE_BYTES_MAX + 64];
    snprintf(big, sizeof big, "\"10.0.0.1:80\"%*s", ETCD_INSTANCE_BYTES_MAX, "");
    put(r, "web/a", big);
    assert_non_null(strstr(endpoints(&web), "at most 4096 bytes"));
    put(r, "web/a", "\"10.0.0.1:80\"");
    assert_string_equal(endpoints(&web), "10.0.0.1:80");
}

static void failures_are_told_and_their_end(void **state) {
    struct etcd_registry *r = *state;
    list(r);
    settle(r);
    etcd_registry_ops.failed(r, "away");
    assert_true(web.failed == 1 && api.failed == 1);
    etcd_registry_ops.watching(r);
    etcd_registry_ops.watching(r);
    assert_true(web.told == 2 && api.told == 2);
}

/* It is not kept, so it has to be told again as soon as one leaves. */
static void what_is_left_out_comes_when_there_is_room(void **state) {
    struct etcd_registry *r = *state;
    list(r);
    put(r, "web/a", "\"10.0.0.1:80\"");
    settle(r);
    assert_false(etcd_registry_ops.is_list_due(r));
    r->instances.count += ETCD_INSTANCES_MAX - 1;
    put(r, "web/b", "\"10.0.0.2:80\"");
    put(r, "web/a", "\"10.0.0.3:80\"");
    settle(r);
    assert_false(etcd_registry_ops.is_list_due(r));
    assert_string_equal(endpoints(&web), "10.0.0.3:80 ! there are more than 262144 registrations");
    r->instances.count -= ETCD_INSTANCES_MAX - 1;
    assert_true(etcd_registry_ops.is_list_due(r));
    list(r);
    put(r, "web/a", "\"10.0.0.3:80\"");
    put(r, "web/b", "\"10.0.0.2:80\"");
    settle(r);
    assert_false(etcd_registry_ops.is_list_due(r));
    assert_string_equal(endpoints(&web), "10.0.0.2:80 10.0.0.3:80");
}

static void without_memory(void **state) {
    (void)state;
    for (long nth = 0;; nth++) {
        struct etcd_registry *r = etcd_registry_create(NULL);
        hg_alloc_fail_at(nth, 1);
        bool is_set = etcd_registry_ops.set(r, STR("web/a"), STR("\"10.0.0.1:80\""), 1);
        hg_alloc_fail_at(-1, 0);
        etcd_registry_destroy(r);
        if (is_set)
            break;
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_told_before_the_list_is_whole),
        TEST(of_two_with_one_address_the_lower_key_counts), TEST(only_those_that_change_are_told),
        TEST(a_list_takes_away_what_it_lacks), TEST(what_is_bad_counts_as_it_was), TEST(failures_are_told_and_their_end),
        TEST(what_is_left_out_comes_when_there_is_room),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
