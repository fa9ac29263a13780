/* What an etcd may have below a prefix: whatever keys and values come, they are read from their own bytes alone, what is
 * made of them is right by all rules, and what is not is told. */
#include <stdio.h>
#include <stdlib.h>

#include "controlplane/etcd/address.h"
#include "controlplane/etcd/intent.h"
#include "controlplane/etcd/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* Endpoints of a service that somebody follows. */
struct place {
    struct etcd_registry        *registry;
    struct etcd_service_follower follower;
    bool                         is_told;
};

static void on_changed(void *context) {
    struct place *p = context;
    struct error_list errors = {0};
    struct arena arena = {0};
    const Headgate__EndpointSet *set = etcd_registry_endpoints(&p->follower, &arena, &errors);
    CHECK(set ? set->n_endpoints > 0 : errors.count > 0);
    for (size_t i = 1; set && i < set->n_endpoints; i++)
        CHECK(strcmp(set->endpoints[i - 1]->address, set->endpoints[i]->address) < 0);
    p->is_told = true;
    arena_finish(&arena);
    error_list_finish(&errors);
}

/* A line is "+KEY VALUE", "-KEY", "!" (a list begins) or "." (settled); the last byte of a KEY that ends it is a space. */
static void apply(struct etcd_intent *i, struct place *p, struct str line) {
    char kind = line.n ? line.p[0] : '.';
    struct str value = {line.p + 1, line.n ? line.n - 1 : 0}, key = str_cut(&value, ' ');
    struct str text = {value.p ? value.p : "", value.n};
    if (kind == '+') {
        CHECK(etcd_intent_set(i, key, text, 1));
        CHECK(etcd_registry_ops.set(p->registry, key, text, 1));
    } else if (kind == '-') {
        etcd_intent_removed(i, key);
        etcd_registry_ops.removed(p->registry, key);
    } else if (kind == '!') {
        etcd_intent_list(i);
        etcd_registry_ops.list(p->registry);
    } else {
        etcd_intent_settled(i);
        etcd_registry_ops.settled(p->registry);
    }
}

static void check_made(const struct etcd_intent *i, int (*make)(const struct etcd_intent *, struct etcd_made *,
                                                                struct error_list *)) {
    struct etcd_made made;
    struct error_list errors = {0}, warnings = {0};
    int status = make(i, &made, &errors);
    CHECK((status < 0) == !error_list_is_empty(&errors));
    CHECK(status == 0 || made.set.count == 0);
    if (status == 0)
        CHECK(config_check_resources(&made.set, &errors, &warnings) == 0);
    etcd_made_finish(&made);
    error_list_finish(&errors);
    error_list_finish(&warnings);
}

static void check_address(struct str line) {
    char text[300];
    struct etcd_address a;
    struct error_list errors = {0};
    snprintf(text, sizeof text, "%.*s", (int)(line.n < 299 ? line.n : 299), line.n ? line.p : "");
    int status = etcd_address_parse(text, &a, &errors);
    CHECK(status == 0 ? a.member_count > 0 && a.prefix[0] == '/' : errors.count > 0);
    etcd_address_finish(&a);
    error_list_finish(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct etcd_intent intent = {0};
    struct place place = {.registry = etcd_registry_create(NULL)};
    struct str rest = {(const char *)bytes, size};
    CHECK(place.registry);
    place.follower = (struct etcd_service_follower){.changed = on_changed, .context = &place};
    CHECK(etcd_registry_join(place.registry, "web", &place.follower) == 0);
    check_address(rest);
    while (rest.p && rest.n)
        apply(&intent, &place, str_cut(&rest, '\n'));
    etcd_registry_ops.settled(place.registry);
    CHECK(place.is_told && etcd_registry_is_known(&place.follower));
    check_made(&intent, etcd_intent_make);
    check_made(&intent, etcd_intent_make_previous);
    etcd_intent_mark(&intent);
    etcd_registry_leave(&place.follower);
    etcd_registry_destroy(place.registry);
    etcd_intent_finish(&intent);
    return 0;
}
