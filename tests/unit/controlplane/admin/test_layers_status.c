/* Where resources come from, as status has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "controlplane/admin/layers.h"
#include "controlplane/engine/layers.h"

#define KIND(name) HEADGATE__KIND__KIND_##name

static const struct store_entry entries[] = {
    {.kind = KIND(LISTENER), .name = "web", .layer = ENGINE_LAYER_XDS},
    {.kind = KIND(CLUSTER), .name = "api", .layer = ENGINE_LAYER_ETCD},
    {.kind = KIND(CLUSTER), .name = "own", .layer = ENGINE_LAYER_PUSHED},
};
static const struct store_entry hidden[] = {
    {.kind = KIND(CLUSTER), .name = "own", .layer = ENGINE_LAYER_ETCD},
    {.kind = KIND(CLUSTER), .name = "own", .layer = ENGINE_LAYER_XDS},
    {.kind = KIND(ENDPOINT_SET), .name = "api", .layer = ENGINE_LAYER_XDS},
};

static const struct store_manifest manifest = {
    .version = {.number = 1, .resources = 3}, .entries = entries, .hidden = hidden, .hidden_count = 3};

static void layers_say_what_counts_and_what_is_hidden(void **state) {
    struct arena arena = {0};
    Headgate__StatusReply reply = HEADGATE__STATUS_REPLY__INIT;
    (void)state;
    admin_add_layers(&arena, &manifest, &reply);
    assert_int_equal(reply.n_layers, 3);
    const Headgate__LayerStatus *xds = reply.layers[0], *etcd = reply.layers[1], *pushed = reply.layers[2];
    assert_string_equal(xds->name, "xds");
    assert_int_equal(xds->resources, 1);
    assert_int_equal(xds->hidden, 2);
    assert_int_equal(xds->n_items, 3);
    assert_string_equal(xds->items[0]->name, "own");
    assert_string_equal(xds->items[0]->hidden_by, "pushed");
    assert_int_equal(xds->items[1]->kind, KIND(ENDPOINT_SET));
    assert_string_equal(xds->items[1]->hidden_by, "etcd"); /* with their cluster */
    assert_string_equal(xds->items[2]->name, "web");
    assert_null(xds->items[2]->hidden_by);
    assert_string_equal(etcd->name, "etcd");
    assert_int_equal(etcd->hidden, 1);
    assert_string_equal(pushed->name, "pushed");
    assert_int_equal(pushed->hidden, 0);
    arena_finish(&arena);
}

static void what_was_pushed_alone_needs_no_word(void **state) {
    const struct store_manifest plain = {.version = {.number = 1, .resources = 1}, .entries = &entries[2]};
    struct arena arena = {0};
    Headgate__StatusReply reply = HEADGATE__STATUS_REPLY__INIT;
    (void)state;
    admin_add_layers(&arena, &plain, &reply);
    admin_add_layers(&arena, NULL, &reply);
    assert_int_equal(reply.n_layers, 0);
    arena_finish(&arena);
}

static void each_resource_knows_its_layer(void **state) {
    (void)state;
    assert_string_equal(admin_layer_of(&manifest, KIND(CLUSTER), "api"), "etcd");
    assert_string_equal(admin_layer_of(&manifest, KIND(LISTENER), "web"), "xds");
    assert_null(admin_layer_of(&manifest, KIND(CLUSTER), "own"));
    assert_null(admin_layer_of(&manifest, KIND(CLUSTER), "nobody"));
    assert_null(admin_layer_of(NULL, KIND(CLUSTER), "own"));
}

static void without_memory_there_is_less(void **state) {
    (void)state;
    for (long nth = 0; nth < 20; nth++) {
        struct arena arena = {0};
        Headgate__StatusReply reply = HEADGATE__STATUS_REPLY__INIT;
        hg_alloc_fail_at(nth, 0);
        admin_add_layers(&arena, &manifest, &reply);
        hg_alloc_fail_at(-1, 0);
        assert_true(reply.n_layers <= 3);
        arena_finish(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_say_what_counts_and_what_is_hidden),
        cmocka_unit_test(what_was_pushed_alone_needs_no_word),
        cmocka_unit_test(each_resource_knows_its_layer),
        cmocka_unit_test(without_memory_there_is_less),
    };
    return cmocka_run_group_tests_name("layers in status", tests, NULL, NULL);
}
