#include "controlplane/kubernetes/slices.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/address.h"
#include "common/alloc.h"

#define SERVICE_LABEL "kubernetes.io/service-name"

enum { SLICE_ENDPOINTS_MAX = 10000 };   /* the API allows 1,000 */

struct slice_port {
    const char *name;                   /* "": none */
    uint32_t    number;
};

struct slice_endpoint {
    const char *ip;                     /* "[::1]" with brackets */
    const char *zone;                   /* NULL: none */
    bool        is_draining;
};

struct slice {
    char                  *name, *service;
    struct slice          *next, *prev; /* of the service */
    struct slice          *after, **place; /* of all */
    uint64_t               round;
    struct slice_port     *ports;
    size_t                 port_count;
    struct slice_endpoint *endpoints;
    size_t                 endpoint_count;
    struct arena           arena;       /* everything above */
};

/* ---- JSON ---- */

static const cJSON *member(const cJSON *object, const char *name) {
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *text_of(const cJSON *item) {
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool flag_of(const cJSON *object, const char *name, bool otherwise) {
    const cJSON *item = member(object, name);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

/* ---- one slice ---- */

static int take_port(struct slice *s, const cJSON *m) {
    const char *name = text_of(member(m, "name")), *protocol = text_of(member(m, "protocol"));
    const cJSON *number = member(m, "port");
    if ((protocol && strcmp(protocol, "TCP") != 0) || !cJSON_IsNumber(number) || number->valuedouble < 1 ||
        number->valuedouble > 65535)
        return 0;
    struct slice_port *p = &s->ports[s->port_count];
    *p = (struct slice_port){arena_strdup(&s->arena, name ? name : ""), (uint32_t)number->valuedouble};
    s->port_count++;
    return p->name ? 0 : -1;
}

static const char *zone_of(const cJSON *m) {
    const cJSON *hints = member(member(m, "hints"), "forZones");
    const char *hinted = text_of(member(cJSON_GetArrayItem(hints, 0), "name"));
    return hinted ? hinted : text_of(member(m, "zone"));
}

/* With brackets where it is IPv6; NULL: it is no IP address. */
static const char *write_ip(struct arena *arena, const char *ip, bool *ret_failed) {
    char text[ADDRESS_TEXT_MAX];
    struct address ignored;
    int n = snprintf(text, sizeof text, strchr(ip, ':') ? "[%s]" : "%s", ip);
    char with_port[ADDRESS_TEXT_MAX + 8];
    snprintf(with_port, sizeof with_port, "%s:1", text);
    if (n < 0 || (size_t)n >= sizeof text || strncmp(ip, "unix", 4) == 0 || address_parse(str_of(with_port), &ignored) < 0)
        return NULL;
    const char *copy = arena_strdup(arena, text);
    *ret_failed = !copy;
    return copy;
}

static int take_endpoint(struct slice *s, const cJSON *m) {
    const cJSON *conditions = member(m, "conditions");
    const char *ip = text_of(cJSON_GetArrayItem(member(m, "addresses"), 0)), *zone = zone_of(m);
    bool is_ready = flag_of(conditions, "ready", true), serves = flag_of(conditions, "serving", is_ready);
    bool terminates = flag_of(conditions, "terminating", false), failed = false;
    if (!ip || (!is_ready && !serves))
        return 0;
    struct slice_endpoint *e = &s->endpoints[s->endpoint_count];
    *e = (struct slice_endpoint){.ip = write_ip(&s->arena, ip, &failed), .is_draining = terminates || !is_ready};
    if (!e->ip)
        return failed ? -1 : 0;
    if (zone && !(e->zone = arena_strdup(&s->arena, zone)))
        return -1;
    s->endpoint_count++;
    return 0;
}

static size_t length_of(const cJSON *array) {
    int n = cJSON_IsArray(array) ? cJSON_GetArraySize(array) : 0;
    return n < SLICE_ENDPOINTS_MAX ? (size_t)n : SLICE_ENDPOINTS_MAX;
}

static int fill(struct slice *s, const cJSON *object) {
    const cJSON *ports = member(object, "ports"), *endpoints = member(object, "endpoints"), *item;
    size_t port_count = length_of(ports), endpoint_count = length_of(endpoints), taken = 0;
    s->ports = arena_calloc(&s->arena, port_count + 1, sizeof *s->ports);
    s->endpoints = arena_calloc(&s->arena, endpoint_count + 1, sizeof *s->endpoints);
    if (!s->ports || !s->endpoints)
        return -1;
    cJSON_ArrayForEach(item, ports)
        if (taken++ < port_count && take_port(s, item) < 0)
            return -1;
    taken = 0;
    cJSON_ArrayForEach(item, endpoints)
        if (taken++ < endpoint_count && take_endpoint(s, item) < 0)
            return -1;
    return 0;
}

static void destroy(struct slice *s) {
    arena_finish(&s->arena);
    hg_free(s);
}

/* NULL without memory. */
static struct slice *create(const char *name, const char *service, const cJSON *object) {
    struct slice *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->name = arena_strdup(&s->arena, name);
    s->service = arena_strdup(&s->arena, service);
    if (s->name && s->service && fill(s, object) == 0)
        return s;
    destroy(s);
    return NULL;
}

/* ---- all of them ---- */

/* While a list comes, those of before stand beside those of now and count no more: they may be gone at its end. */
static size_t room_of(const struct slices *all, const struct slice *s) {
    return s->round == all->round ? s->arena.heap : 0;
}

static void unlink_slice(struct slices *all, struct slice *s) {
    all->bytes -= room_of(all, s);
    map_remove(&all->by_name, str_of(s->name));
    *s->place = s->after;
    if (s->after)
        s->after->place = s->place;
    if (s->prev)
        s->prev->next = s->next;
    if (s->next)
        s->next->prev = s->prev;
    if (s->prev)
        return;
    map_remove(&all->by_service, str_of(s->service)); /* its key was that of the first */
    if (s->next)
        map_set(&all->by_service, str_of(s->next->service), s->next); /* has room: one was just removed */
}

/* Behind the first of its service, whose key the map has. 0, or -1 without memory, and nothing has changed. */
static int link_slice(struct slices *all, struct slice *s) {
    struct slice *first = map_get(&all->by_service, str_of(s->service));
    if (map_set(&all->by_name, str_of(s->name), s) < 0)
        return -1;
    if (!first && map_set(&all->by_service, str_of(s->service), s) < 0) {
        map_remove(&all->by_name, str_of(s->name));
        return -1;
    }
    all->bytes += room_of(all, s);
    s->after = all->first;
    s->place = &all->first;
    if (s->after)
        s->after->place = &s->after;
    all->first = s;
    s->next = s->prev = NULL;
    if (!first)
        return 0;
    s->prev = first;
    s->next = first->next;
    first->next = s;
    if (s->next)
        s->next->prev = s;
    return 0;
}

static void drop(struct slices *all, struct slice *s) {
    unlink_slice(all, s);
    all->changed(all->context, s->service);
    destroy(s);
}

static const char *name_of(const cJSON *object) {
    const char *name = text_of(member(member(object, "metadata"), "name"));
    return name ? name : "";
}

void slices_remove(struct slices *all, const cJSON *object) {
    struct slice *s = map_get(&all->by_name, str_of(name_of(object)));
    if (s)
        drop(all, s);
}

/* What it was before stays until the new one stands; told once when the service is the same. */
static bool replace(struct slices *all, struct slice *before, struct slice *s) {
    bool is_same = before && strcmp(before->service, s->service) == 0;
    if (before)
        unlink_slice(all, before);
    if (link_slice(all, s) < 0) {
        if (before && link_slice(all, before) < 0) /* cannot be: there was room for it */
            destroy(before);
        destroy(s);
        return false;
    }
    if (before && !is_same)
        all->changed(all->context, before->service);
    if (before)
        destroy(before);
    all->changed(all->context, s->service);
    return true;
}

/* In the place of the other, which may be NULL. */
static bool has_room(const struct slices *all, const struct slice *before, const struct slice *s) {
    return s->arena.heap <= SLICES_BYTES_MAX - all->bytes + (before ? room_of(all, before) : 0);
}

bool slices_set(struct slices *all, const cJSON *object) {
    const char *name = name_of(object), *type = text_of(member(object, "addressType"));
    const char *service = text_of(member(member(member(object, "metadata"), "labels"), SERVICE_LABEL));
    struct slice *before = map_get(&all->by_name, str_of(name));
    if (!*name || !service || (type && strcmp(type, "FQDN") == 0)) {
        if (before)
            drop(all, before);
        return true;
    }
    struct slice *s = create(name, service, object);
    if (!s)
        return false;
    if (!has_room(all, before, s)) {
        all->is_full = true;
        destroy(s);
        return false;
    }
    s->round = all->round;
    return replace(all, before, s);
}

void slices_list(struct slices *all) {
    all->is_full = false;
    all->bytes = 0;
    all->round++;
}

void slices_listed(struct slices *all) {
    for (struct slice *s = all->first, *after; s; s = after) {
        after = s->after;
        if (s->round != all->round)
            drop(all, s);
    }
}

void slices_finish(struct slices *all) {
    for (struct slice *s = all->first, *after; s; s = after) {
        after = s->after;
        destroy(s);
    }
    map_finish(&all->by_name);
    map_finish(&all->by_service);
}

/* ---- endpoints ---- */

static const struct slice_port *find_port(const struct slice *s, const char *port) {
    for (size_t i = 0; i < s->port_count; i++)
        if (!port || strcmp(s->ports[i].name, port) == 0)
            return &s->ports[i];
    return NULL;
}

static Headgate__Endpoint *make_endpoint(const struct slice_endpoint *e, uint32_t port, struct arena *arena) {
    char text[ADDRESS_TEXT_MAX + 8];
    Headgate__Endpoint *made = arena_alloc(arena, sizeof *made);
    snprintf(text, sizeof text, "%s:%u", e->ip, port);
    if (!made)
        return NULL;
    headgate__endpoint__init(made);
    made->address = arena_strdup(arena, text);
    made->zone = e->zone ? arena_strdup(arena, e->zone) : NULL;
    if (!made->address || (e->zone && !made->zone))
        return NULL;
    made->has_health = e->is_draining;
    made->health = e->is_draining ? HEADGATE__ENDPOINT__HEALTH__DRAINING : HEADGATE__ENDPOINT__HEALTH__UNKNOWN;
    return made;
}

/* By address; of the same one that which is used before that which drains. */
static int compare(const void *a, const void *b) {
    const Headgate__Endpoint *x = *(Headgate__Endpoint *const *)a, *y = *(Headgate__Endpoint *const *)b;
    int order = strcmp(x->address, y->address);
    return order ? order : (int)x->has_health - (int)y->has_health;
}

static void leave_each_once(Headgate__EndpointSet *set) {
    size_t kept = 0;
    qsort(set->endpoints, set->n_endpoints, sizeof *set->endpoints, compare);
    for (size_t i = 0; i < set->n_endpoints; i++)
        if (kept == 0 || strcmp(set->endpoints[kept - 1]->address, set->endpoints[i]->address) != 0)
            set->endpoints[kept++] = set->endpoints[i];
    set->n_endpoints = kept;
}

/* Nothing is ready: what terminates and still serves is better than nothing, as kube-proxy has it. */
static void use_all_that_serve(Headgate__EndpointSet *set) {
    for (size_t i = 0; i < set->n_endpoints; i++)
        if (!set->endpoints[i]->has_health)
            return;
    for (size_t i = 0; i < set->n_endpoints; i++) {
        set->endpoints[i]->has_health = 0;
        set->endpoints[i]->health = HEADGATE__ENDPOINT__HEALTH__UNKNOWN;
    }
}

static int gather(const struct slice *first, const char *port, Headgate__EndpointSet *set, struct arena *arena) {
    for (const struct slice *s = first; s; s = s->next) {
        const struct slice_port *p = find_port(s, port);
        for (size_t i = 0; p && i < s->endpoint_count; i++)
            if (!(set->endpoints[set->n_endpoints++] = make_endpoint(&s->endpoints[i], p->number, arena)))
                return -1;
    }
    leave_each_once(set);
    use_all_that_serve(set);
    return 0;
}

/* A slice without endpoints may have no ports: there is nothing that could have them. */
static bool check_port(const struct slice *first, const char *service, const char *port, struct error_list *errors) {
    bool has_endpoints = false, has_port = false;
    for (const struct slice *s = first; s; s = s->next) {
        has_endpoints |= s->endpoint_count > 0;
        has_port |= find_port(s, port) != NULL;
        if (!port && s->port_count > 1) {
            error_addf(errors, ERROR_REFERENCE, "service %s has several ports, and none is named", service);
            return false;
        }
    }
    if (has_endpoints && !has_port)
        error_addf(errors, ERROR_REFERENCE, "service %s has no TCP port%s%s", service, port ? " " : "", port ? port : "");
    return !has_endpoints || has_port;
}

Headgate__EndpointSet *slices_endpoints(const struct slices *all, const char *service, const char *port, struct arena *arena,
                                        struct error_list *errors) {
    const struct slice *first = map_get(&all->by_service, str_of(service));
    size_t most = 0;
    for (const struct slice *s = first; s; s = s->next)
        most += s->endpoint_count;
    if (!first)
        error_addf(errors, ERROR_REFERENCE, "there is no EndpointSlice of service %s", service);
    if (!first || !check_port(first, service, port, errors))
        return NULL;
    Headgate__EndpointSet *set = arena_alloc(arena, sizeof *set);
    if (set) {
        headgate__endpoint_set__init(set);
        set->endpoints = arena_calloc(arena, most + 1, sizeof *set->endpoints);
    }
    if (set && set->endpoints && gather(first, port, set, arena) == 0)
        return set;
    error_addf(errors, ERROR_MEMORY, "no memory for the endpoints of service %s", service);
    return NULL;
}
