/* What followers of a Service are told while its namespace is listed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "controlplane/kubernetes/kubernetes.c" /* in the place of the API server: what a reflector calls */

struct fixture {
    struct ev_loop            *loop;
    struct kubernetes         *k;
    struct kubernetes_follower follower;
    unsigned                   changes, failures;
    const char                *failure; /* that is expected; NULL: none */
    bool                       has_failed; /* that was the last that was told */
};

static void on_changed(void *context) {
    struct fixture *f = context;
    f->changes++;
    f->has_failed = false;
}

static void on_follower_failed(void *context, const char *reason) {
    struct fixture *f = context;
    f->failures++;
    f->has_failed = true;
    assert_non_null(f->failure);
    assert_string_equal(reason, f->failure);
}

/* Follows the port 80 of the Service "web". */
static int setup(void **state) {
    static struct fixture f;
    struct error_list errors = {0};
    f = (struct fixture){.loop = ev_loop_new(EVFLAG_AUTO)};
    const struct kubernetes_config config = {.loop = f.loop, .server = "http://127.0.0.1:1"}; /* nobody is asked */
    f.k = kubernetes_create(&config, &errors);
    f.follower = (struct kubernetes_follower){
        .service = "web", .wants_services = true, .changed = on_changed, .failed = on_follower_failed, .context = &f};
    *state = &f;
    return f.k ? kubernetes_follow(f.k, "shop", &f.follower) : -1;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    kubernetes_leave(&f->follower);
    kubernetes_destroy(f->k);
    ev_loop_destroy(f->loop);
    return 0;
}

static void set_slice(struct fixture *f, const char *name, const char *endpoints) {
    char text[1024];
    snprintf(text, sizeof text, "{\"metadata\": {\"name\": \"%s\", \"labels\": {\"kubernetes.io/service-name\": \"web\"}}, "
             "\"ports\": [{\"name\": \"http\", \"port\": 8080}], \"endpoints\": [%s]}", name, endpoints);
    cJSON *object = cJSON_Parse(text);
    assert_non_null(object);
    assert_true(slice_ops.set(f->follower.in, object));
    cJSON_Delete(object);
}

static cJSON *service(void) {
    return cJSON_Parse("{\"metadata\": {\"name\": \"web\"}, "
                       "\"spec\": {\"ports\": [{\"name\": \"http\", \"port\": 80}]}}");
}

static void set_service(struct fixture *f) {
    cJSON *object = service();
    assert_true(service_ops.set(f->follower.in, object));
    cJSON_Delete(object);
}

static void remove_service(struct fixture *f) {
    cJSON *object = service();
    service_ops.removed(f->follower.in, object);
    cJSON_Delete(object);
}

static size_t endpoints_of(struct fixture *f) {
    struct arena arena = {0};
    struct error_list errors = {0};
    const Headgate__EndpointSet *set = kubernetes_endpoints(&f->follower, "80", &arena, &errors);
    size_t count = set ? set->n_endpoints : 0;
    arena_finish(&arena);
    error_list_finish(&errors);
    return count;
}

#define ONE "{\"addresses\": [\"10.0.0.1\"]}"
#define TWO "{\"addresses\": [\"10.0.0.2\"]}"

static void list_services(struct fixture *f) {
    service_ops.list(f->follower.in);
    set_service(f);
    service_ops.listed(f->follower.in);
    service_ops.watching(f->follower.in);
}

static void nothing_is_told_before_both_lists_are_whole(void **state) {
    struct fixture *f = *state;
    slice_ops.list(f->follower.in);
    set_slice(f, "web-a", ONE ", " TWO);
    list_services(f);
    assert_true(f->changes == 0 && !kubernetes_is_known(&f->follower));
    slice_ops.listed(f->follower.in);
    slice_ops.watching(f->follower.in);
    assert_true(f->changes == 1 && kubernetes_is_known(&f->follower));
    assert_int_equal(endpoints_of(f), 2);
}

/* An endpoint has moved into a slice that is on the next page: now none of them has it. */
static void half_a_list_is_not_told(void **state) {
    struct fixture *f = *state;
    slice_ops.list(f->follower.in);
    set_slice(f, "web-a", ONE ", " TWO);
    slice_ops.listed(f->follower.in);
    list_services(f);
    unsigned before = f->changes;
    slice_ops.list(f->follower.in);
    set_slice(f, "web-a", ONE);
    set_service(f);
    service_ops.watching(f->follower.in);
    assert_true(f->changes == before && !kubernetes_is_known(&f->follower));
    set_slice(f, "web-b", TWO);
    slice_ops.listed(f->follower.in);
    slice_ops.watching(f->follower.in);
    assert_int_equal(f->changes, before + 1);
    assert_int_equal(endpoints_of(f), 2);
}

static void list_all(struct fixture *f) {
    list_services(f);
    slice_ops.list(f->follower.in);
    set_slice(f, "web-a", ONE);
    slice_ops.listed(f->follower.in);
}

/* A token that may list and not watch: what a list has counts, and that the watch is refused is told behind it. */
static void a_list_counts_without_a_watch(void **state) {
    struct fixture *f = *state;
    f->failure = "the API server answers 403";
    list_all(f);
    assert_true(f->changes == 1 && endpoints_of(f) == 1 && f->failures == 0);
    slice_ops.failed(f->follower.in, f->failure);
    assert_true(f->has_failed);
    slice_ops.list(f->follower.in);
    set_slice(f, "web-a", ONE ", " TWO);
    slice_ops.listed(f->follower.in);
    assert_true(f->changes == 2 && endpoints_of(f) == 2 && f->has_failed);
    slice_ops.watching(f->follower.in);
    assert_true(f->changes == 3 && !f->has_failed); /* it may watch now */
    slice_ops.watching(f->follower.in);
    assert_int_equal(f->changes, 3); /* nothing new */
}

static void a_service_that_goes_is_told(void **state) {
    struct fixture *f = *state;
    list_all(f);
    slice_ops.watching(f->follower.in);
    unsigned before = f->changes;
    remove_service(f);
    assert_int_equal(f->changes, before + 1);
    assert_int_equal(endpoints_of(f), 0); /* the port has no name any more */
    remove_service(f);
    assert_int_equal(f->changes, before + 1);
}

/* A server that invents slices: what is known stays, and it is said why. */
static void more_slices_than_are_kept_are_told(void **state) {
    struct fixture *f = *state;
    list_all(f);
    unsigned before = f->changes;
    size_t others = SLICES_BYTES_MAX - f->follower.in->slices.bytes;
    f->follower.in->slices.bytes += others;
    cJSON *object = cJSON_Parse("{\"metadata\": {\"name\": \"web-b\", "
                                "\"labels\": {\"kubernetes.io/service-name\": \"web\"}}}");
    assert_false(slice_ops.set(f->follower.in, object));
    f->failure = "the EndpointSlices of the namespace take more than 256 MiB";
    slice_ops.failed(f->follower.in, "the watch of the API server cannot be read");
    assert_true(f->has_failed && f->changes == before && endpoints_of(f) == 1);
    f->follower.in->slices.bytes -= others;
    slice_ops.list(f->follower.in);
    assert_true(slice_ops.set(f->follower.in, object));
    slice_ops.listed(f->follower.in);
    slice_ops.watching(f->follower.in);
    assert_false(f->has_failed);
    cJSON_Delete(object);
}

/* Those that the list does not name will be gone at its end: they leave no less room for it. */
static void a_list_has_all_the_room(void **state) {
    struct fixture *f = *state;
    list_all(f);
    struct slices *slices = &f->follower.in->slices;
    slices->bytes = SLICES_BYTES_MAX;
    slice_ops.list(f->follower.in);
    set_slice(f, "web-b", ONE ", " TWO);
    slice_ops.listed(f->follower.in);
    assert_int_equal(endpoints_of(f), 2);
    assert_in_range(slices->bytes, 1, 1 << 20);
    f->failure = "connection refused";
    slice_ops.failed(f->follower.in, f->failure);
}

/* It names its port, and may be the only one that the API server lets be followed. */
struct other {
    struct kubernetes_follower follower;
    unsigned                   changes, failures;
};

static void on_other_changed(void *context) {
    ((struct other *)context)->changes++;
}

static void on_other_failed(void *context, const char *reason) {
    assert_non_null(reason);
    ((struct other *)context)->failures++;
}

static void follow_by_name(struct fixture *f, struct other *o) {
    *o = (struct other){.follower = {
        .service = "web", .changed = on_other_changed, .failed = on_other_failed, .context = o}};
    assert_int_equal(kubernetes_follow(f->k, "shop", &o->follower), 0);
}

static void services_that_cannot_be_read_are_the_matter_of_who_needs_them(void **state) {
    struct fixture *f = *state;
    struct other other;
    follow_by_name(f, &other);
    f->failure = "the API server answers 403";
    service_ops.failed(f->follower.in, f->failure);
    slice_ops.list(f->follower.in);
    set_slice(f, "web-a", ONE);
    slice_ops.listed(f->follower.in);
    assert_true(f->changes == 0 && f->failures == 1 && !kubernetes_is_known(&f->follower));
    assert_true(other.changes == 1 && other.failures == 0 && kubernetes_is_known(&other.follower));
    set_slice(f, "web-a", ONE ", " TWO);
    assert_int_equal(other.changes, 2);
    list_services(f);
    assert_true(f->changes > 0 && !f->has_failed && other.changes == 2);
    kubernetes_leave(&other.follower);
}

static void services_go_with_the_last_who_needs_them(void **state) {
    struct fixture *f = *state;
    struct other other;
    follow_by_name(f, &other);
    f->failure = "the API server answers 403";
    service_ops.failed(f->follower.in, f->failure);
    struct kubernetes_namespace *n = f->follower.in;
    assert_non_null(n->service_reflector);
    kubernetes_leave(&f->follower);
    assert_null(n->service_reflector);
    assert_int_equal(kubernetes_follow(f->k, "shop", &f->follower), 0);
    assert_non_null(n->service_reflector);
    list_all(f);
    assert_true(f->changes > 0 && !f->has_failed);
    kubernetes_leave(&other.follower);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_told_before_both_lists_are_whole),
        TEST(half_a_list_is_not_told),
        TEST(a_list_counts_without_a_watch),
        TEST(a_service_that_goes_is_told),
        TEST(more_slices_than_are_kept_are_told),
        TEST(a_list_has_all_the_room),
        TEST(services_that_cannot_be_read_are_the_matter_of_who_needs_them),
        TEST(services_go_with_the_last_who_needs_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
