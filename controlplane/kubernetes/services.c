#include "controlplane/kubernetes/services.h"

#include "common/alloc.h"
#include "common/arena.h"

enum { SERVICE_PORTS_MAX = 1000 };

struct service_port {
    const char *name;
    uint32_t    number;
};

struct service {
    char                *name;
    struct service      *after, **place;
    struct service_port *ports;
    size_t               port_count;
    uint64_t             round;
    struct arena         arena;         /* everything above */
};

static const cJSON *member(const cJSON *object, const char *name) {
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *text_of(const cJSON *item) {
    return cJSON_IsString(item) ? item->valuestring : "";
}

static int fill(struct service *s, const cJSON *ports) {
    const cJSON *item;
    int count = cJSON_IsArray(ports) ? cJSON_GetArraySize(ports) : 0;
    size_t most = count < SERVICE_PORTS_MAX ? (size_t)count : SERVICE_PORTS_MAX;
    s->ports = arena_calloc(&s->arena, most + 1, sizeof *s->ports);
    if (!s->ports)
        return -1;
    cJSON_ArrayForEach(item, ports) {
        const cJSON *number = member(item, "port");
        if (s->port_count == most || !cJSON_IsNumber(number))
            continue;
        struct service_port *p = &s->ports[s->port_count++];
        *p = (struct service_port){arena_strdup(&s->arena, text_of(member(item, "name"))), (uint32_t)number->valueint};
        if (!p->name)
            return -1;
    }
    return 0;
}

static void destroy(struct service *s) {
    arena_finish(&s->arena);
    hg_free(s);
}

static struct service *create(const char *name, const cJSON *object) {
    struct service *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->name = arena_strdup(&s->arena, name);
    if (s->name && fill(s, member(member(object, "spec"), "ports")) == 0)
        return s;
    destroy(s);
    return NULL;
}

/* As for slices: those that the list has not named yet do not count. */
static size_t room_of(const struct services *all, const struct service *s) {
    return s->round == all->round ? s->arena.heap : 0;
}

static void drop(struct services *all, struct service *s) {
    all->bytes -= room_of(all, s);
    map_remove(&all->by_name, str_of(s->name));
    *s->place = s->after;
    if (s->after)
        s->after->place = s->place;
    destroy(s);
}

const char *services_set(struct services *all, const cJSON *object) {
    struct service *s = create(text_of(member(member(object, "metadata"), "name")), object);
    if (!s)
        return NULL;
    struct service *before = map_get(&all->by_name, str_of(s->name));
    if (s->arena.heap > SERVICES_BYTES_MAX - all->bytes + (before ? room_of(all, before) : 0)) {
        all->is_full = true;
        destroy(s);
        return NULL;
    }
    if (before)
        drop(all, before);
    if (map_set(&all->by_name, str_of(s->name), s) < 0) {
        destroy(s);
        return NULL;
    }
    all->bytes += s->arena.heap;
    s->round = all->round;
    s->after = all->first;
    s->place = &all->first;
    if (s->after)
        s->after->place = &s->after;
    all->first = s;
    return s->name;
}

const char *services_remove(struct services *all, const cJSON *object) {
    const char *name = text_of(member(member(object, "metadata"), "name"));
    struct service *s = map_get(&all->by_name, str_of(name));
    if (!s)
        return NULL;
    drop(all, s);
    return name;
}

void services_list(struct services *all) {
    all->is_full = false;
    all->bytes = 0;
    all->round++;
}

void services_listed(struct services *all) {
    for (struct service *s = all->first, *after; s; s = after) {
        after = s->after;
        if (s->round != all->round)
            drop(all, s);
    }
}

void services_finish(struct services *all) {
    while (all->first)
        drop(all, all->first);
    map_finish(&all->by_name);
}

const char *services_port_name(const struct services *all, const char *service, uint32_t number) {
    const struct service *s = map_get(&all->by_name, str_of(service));
    for (size_t i = 0; s && i < s->port_count; i++)
        if (s->ports[i].number == number)
            return s->ports[i].name;
    return NULL;
}
