#include "controlplane/engine/effective.h"

#include "common/map.h"

#define HEALTH(name) HEADGATE__ENDPOINT__HEALTH__##name

static void set_health(Headgate__Endpoint *e, Headgate__Endpoint__Health health) {
    e->has_health = health != HEALTH(UNKNOWN);
    e->health = health;
}

void effective_forget_checks(Headgate__EndpointSet *set) {
    for (size_t i = 0; i < set->n_endpoints; i++)
        if (set->endpoints[i]->health != HEALTH(DRAINING))
            set_health(set->endpoints[i], HEALTH(UNKNOWN));
}

/* Copies of the endpoints, which share everything else with the base. */
static Headgate__EndpointSet *copy_shallow(const Headgate__EndpointSet *base, struct arena *arena) {
    Headgate__EndpointSet *set = arena_memdup(arena, base, sizeof *base);
    Headgate__Endpoint *items = arena_alloc(arena, (base->n_endpoints + 1) * sizeof *items);
    Headgate__Endpoint **list = arena_alloc(arena, (base->n_endpoints + 1) * sizeof *list);
    if (!set || !items || !list)
        return NULL;
    for (size_t i = 0; i < base->n_endpoints; i++) {
        items[i] = *base->endpoints[i];
        list[i] = &items[i];
    }
    set->endpoints = list;
    return set;
}

/* Returns how many are not known. */
static size_t apply_checks(Headgate__EndpointSet *set, const struct effective_health *health) {
    size_t unknown = 0;
    for (size_t i = 0; i < set->n_endpoints; i++) {
        Headgate__Endpoint *e = set->endpoints[i];
        if (e->health == HEALTH(DRAINING))
            continue;
        set_health(e, health->of(health->context, e->address));
        unknown += e->health == HEALTH(UNKNOWN);
    }
    return unknown;
}

static int index_known(const Headgate__EndpointSet *set, struct map *by_address) {
    int status = 0;
    for (size_t i = 0; i < set->n_endpoints && status == 0; i++) {
        Headgate__Endpoint *e = set->endpoints[i];
        if (e->health == HEALTH(HEALTHY) || e->health == HEALTH(UNHEALTHY))
            status = map_set(by_address, str_of(e->address), e);
    }
    return status;
}

/* Before the first check of an endpoint counts what was known of it, perhaps before a restart. */
static int apply_before(Headgate__EndpointSet *set, struct str before) {
    struct map by_address = {0};
    Headgate__EndpointSet *old = headgate__endpoint_set__unpack(NULL, before.n, (const uint8_t *)before.p);
    int status = old ? index_known(old, &by_address) : -1;
    for (size_t i = 0; i < set->n_endpoints && by_address.count; i++) {
        Headgate__Endpoint *e = set->endpoints[i];
        const Headgate__Endpoint *known = map_get(&by_address, str_of(e->address));
        if (known && e->health == HEALTH(UNKNOWN))
            set_health(e, known->health);
    }
    map_finish(&by_address);
    if (old)
        headgate__endpoint_set__free_unpacked(old, NULL);
    return status;
}

int effective_encode(const Headgate__EndpointSet *base, const struct effective_health *health,
                     struct str before, struct arena *arena, struct str *ret) {
    Headgate__EndpointSet *set = copy_shallow(base, arena);
    if (!set)
        return -1;
    if (health && apply_checks(set, health) && before.n && apply_before(set, before) < 0)
        return -1;
    size_t size = headgate__endpoint_set__get_packed_size(set);
    uint8_t *bytes = arena_alloc(arena, size + 1);
    if (!bytes)
        return -1;
    headgate__endpoint_set__pack(set, bytes);
    *ret = (struct str){(const char *)bytes, size};
    return 0;
}
