/* Objects of an API server: lines of JSON, each set, removed or the beginning of a new list. What is made of them is
 * whole. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "controlplane/kubernetes/services.h"
#include "controlplane/kubernetes/slices.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static void check_endpoints(void *slices, const char *service) {
    struct arena arena = {0};
    struct error_list errors = {0};
    struct address a;
    const Headgate__EndpointSet *set = slices_endpoints(slices, service, NULL, &arena, &errors);
    CHECK(set || errors.count);
    for (size_t i = 0; set && i < set->n_endpoints; i++) {
        CHECK(address_parse(str_of(set->endpoints[i]->address), &a) == 0);
        CHECK(i == 0 || strcmp(set->endpoints[i - 1]->address, set->endpoints[i]->address) < 0);
    }
    error_list_finish(&errors);
    arena_finish(&arena);
}

/* The first byte of a line says what is done with the object. */
static void take_line(struct slices *slices, struct services *services, struct str line) {
    cJSON *object = cJSON_ParseWithLength(line.p + 1, line.n - 1);
    if (line.p[0] == 'L') {
        slices_list(slices);
        services_list(services);
    } else if (line.p[0] == 'E') {
        slices_listed(slices);
        services_listed(services);
    } else if (line.p[0] == '-') {
        slices_remove(slices, object);
        services_remove(services, object);
    } else {
        CHECK(slices_set(slices, object));
        CHECK(services_set(services, object));
    }
    cJSON_Delete(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct slices slices = {.changed = check_endpoints, .context = &slices};
    struct services services = {0};
    struct str rest = {(const char *)bytes, size};
    while (rest.p && rest.n) {
        struct str line = str_cut(&rest, '\n');
        if (line.n)
            take_line(&slices, &services, line);
    }
    services_port_name(&services, "web", 80);
    slices_finish(&slices);
    services_finish(&services);
    return 0;
}
