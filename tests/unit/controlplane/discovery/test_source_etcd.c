/* Registrations in etcd as a source: what is said when they change, also while memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "controlplane/discovery/source.h"

struct fixture {
    struct ev_loop       *loop;
    struct etcd_registry *registry;     /* of no server: the test says what there is */
    struct source        *source;
    char                  found[64];    /* the first endpoint */
    unsigned              founds, starved;
};

static void note_found(void *context, const Headgate__EndpointSet *set) {
    struct fixture *f = context;
    f->founds++;
    assert_int_equal(set->n_endpoints, 1);
    snprintf(f->found, sizeof f->found, "%s", set->endpoints[0]->address);
}

static void note_failed(void *context, const char *reason) {
    (void)context;
    fail_msg("%s", reason);
}

static void note_no_memory(void *context) {
    ((struct fixture *)context)->starved++;
}

static int setup(void **state) {
    static struct fixture f;
    Headgate__Discovery m = HEADGATE__DISCOVERY__INIT;
    Headgate__EtcdDiscovery etcd = HEADGATE__ETCD_DISCOVERY__INIT;
    struct error_list errors = {0};
    f = (struct fixture){.loop = ev_loop_new(EVFLAG_AUTO), .registry = etcd_registry_create(NULL)};
    const struct source_config config = {.loop = f.loop, .registry = f.registry,
                                         .sink = {&f, note_found, note_failed, note_no_memory}};
    etcd.service = (char *)(uintptr_t)"web";
    m.kind_case = HEADGATE__DISCOVERY__KIND_ETCD;
    m.etcd = &etcd;
    f.source = source_etcd.create(&config, &m, &errors);
    *state = &f;
    return f.source ? 0 : -1;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    f->source->kind->destroy(f->source);
    etcd_registry_destroy(f->registry);
    ev_loop_destroy(f->loop);
    return 0;
}

/* The nth allocation fails while the source says what has changed. */
static void change(struct fixture *f, unsigned port, long nth) {
    char value[32];
    snprintf(value, sizeof value, "\"10.0.0.1:%u\"", port);
    etcd_registry_ops.list(f->registry);
    assert_true(etcd_registry_ops.set(f->registry, STR("web/a"), str_of(value), 1));
    hg_alloc_fail_at(nth, 1);
    etcd_registry_ops.settled(f->registry);
    hg_alloc_fail_at(-1, 0);
}

/* No change of etcd brings it again: the source has to be asked. */
static void a_change_without_memory_is_asked_for_again(void **state) {
    struct fixture *f = *state;
    bool is_done = false;
    for (unsigned nth = 0; !is_done; nth++) {
        char address[64];
        unsigned starved = f->starved;
        change(f, nth + 1, nth);
        is_done = f->starved == starved;
        if (!is_done)
            f->source->kind->refresh(f->source);
        assert_int_equal(f->founds, nth + 1);
        snprintf(address, sizeof address, "10.0.0.1:%u", nth + 1);
        assert_string_equal(f->found, address);
    }
    assert_true(f->starved > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_without_memory_is_asked_for_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
