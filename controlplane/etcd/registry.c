#include "controlplane/etcd/registry.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/map.h"
#include "controlplane/config/endpoint_file.h"

struct etcd_service {
    struct etcd_registry         *registry;
    struct etcd_service_follower *followers;
    struct instance              *instances;
    size_t                        count;
    bool                          is_changed;
    size_t                        name_n;
    char                          name[];
};

struct instance {
    struct etcd_service   *service;
    struct instance       *next, **place;   /* of the service */
    struct instance       *after, **from;   /* of all */
    Headgate__EndpointSet *set;             /* with one endpoint; NULL: it was never right */
    char                  *fault;           /* NULL: it is right */
    uint64_t               round;
    size_t                 key_n;
    char                   key[];           /* "SERVICE/INSTANCE" */
};

struct etcd_registry {
    struct etcd          *etcd;
    struct etcd_follower *follower;         /* NULL: nobody has asked yet, or it was stopped */
    struct map            services, instances;
    struct instance      *first;            /* of all */
    uint64_t              round;            /* of lists: what a list does not name is gone at its end */
    bool                  is_listing, is_known, is_stopped;
    bool                  has_failed;       /* and followers were told */
    bool                  is_full;          /* an instance was left out for want of room */
};

/* ---- services ---- */

static struct str name_of(const struct etcd_service *s) {
    return (struct str){s->name, s->name_n};
}

static struct etcd_service *find_or_create(struct etcd_registry *r, struct str name) {
    struct etcd_service *s = map_get(&r->services, name);
    if (s || !(s = hg_calloc(1, sizeof *s + name.n + 1)))
        return s;
    s->registry = r;
    s->name_n = name.n;
    memcpy(s->name, name.p, name.n);
    if (map_set(&r->services, name_of(s), s) == 0)
        return s;
    hg_free(s);
    return NULL;
}

static void release(struct etcd_service *s) {
    if (s->followers || s->instances)
        return;
    map_remove(&s->registry->services, name_of(s));
    hg_free(s);
}

/* ---- instances ---- */

static struct str key_of(const struct instance *i) {
    return (struct str){i->key, i->key_n};
}

static void destroy(struct instance *i) {
    if (i->set)
        headgate__endpoint_set__free_unpacked(i->set, NULL);
    hg_free(i->fault);
    hg_free(i);
}

static void drop(struct etcd_registry *r, struct instance *i) {
    struct etcd_service *s = i->service;
    map_remove(&r->instances, key_of(i));
    *i->place = i->next;
    if (i->next)
        i->next->place = i->place;
    *i->from = i->after;
    if (i->after)
        i->after->from = i->from;
    s->count--;
    s->is_changed = true;
    destroy(i);
    release(s);
}

static struct instance *create(struct etcd_registry *r, struct str key, struct str service) {
    struct etcd_service *s = find_or_create(r, service);
    struct instance *i = s ? hg_calloc(1, sizeof *i + key.n) : NULL;
    if (!i) {
        if (s)
            release(s);
        return NULL;
    }
    i->service = s;
    i->key_n = key.n;
    memcpy(i->key, key.p, key.n);
    if (map_set(&r->instances, key_of(i), i) < 0) {
        hg_free(i);
        release(s);
        return NULL;
    }
    i->next = s->instances;
    i->place = &s->instances;
    if (i->next)
        i->next->place = &i->next;
    s->instances = i;
    i->after = r->first;
    i->from = &r->first;
    if (i->after)
        i->after->from = &i->after;
    r->first = i;
    s->count++;
    return i;
}

/* What is wrong with it, as one line with its key. */
static void note_fault(struct instance *i, const struct error_list *errors, const char *otherwise) {
    struct strbuf text = {0};
    if (errors->count)
        error_format(&errors->items[0], &text);
    else
        strbuf_printf(&text, ETCD_ENDPOINTS "%.*s: %s", STR_FMT(key_of(i)), otherwise);
    hg_free(i->fault);
    i->fault = strbuf_take(&text);
    strbuf_finish(&text);
}

/* What programs write is JSON, which is read fast. Anything else, and what is wrong with it, is the other reader's. */
static Headgate__EndpointSet *read_list(const char *path, struct str list, struct error_list *errors) {
    struct error_list ignored = {0};
    Headgate__EndpointSet *set = config_read_endpoints_json(path, list, &ignored);
    error_list_finish(&ignored);
    return set ? set : config_read_endpoints(path, list, errors);
}

/* False: no memory. What is wrong with the value is noted, and what it was before stays. */
static bool read_value(struct instance *i, struct str value) {
    struct error_list errors = {0};
    struct strbuf path = {0}, list = {0};
    Headgate__EndpointSet *set = NULL;
    strbuf_printf(&path, ETCD_ENDPOINTS "%.*s", STR_FMT(key_of(i)));
    strbuf_printf(&list, "[%.*s]", STR_FMT(value));
    if (value.n <= ETCD_INSTANCE_BYTES_MAX && !path.failed && !list.failed)
        set = read_list(path.p, strbuf_str(&list), &errors);
    bool has_memory = !path.failed && !list.failed && !(errors.count && errors.items[0].code == ERROR_MEMORY) &&
                      (set || value.n > ETCD_INSTANCE_BYTES_MAX || errors.count);
    if (set && set->n_endpoints == 1) {
        if (i->set)
            headgate__endpoint_set__free_unpacked(i->set, NULL);
        i->set = set;
        hg_free(i->fault);
        i->fault = NULL;
    } else {
        note_fault(i, &errors, "one endpoint of at most 4096 bytes is expected");
        if (set)
            headgate__endpoint_set__free_unpacked(set, NULL);
    }
    strbuf_finish(&path);
    strbuf_finish(&list);
    error_list_finish(&errors);
    return has_memory;
}

/* ---- what etcd says ---- */

static void on_list(void *context) {
    struct etcd_registry *r = context;
    r->round++;
    r->is_listing = true;
    r->is_full = false;
}

/* Keys of another form are nobody's. */
static bool on_set(void *context, struct str key, struct str value, int64_t modified) {
    struct etcd_registry *r = context;
    struct str name = key, service = str_cut(&name, '/');
    struct instance *i = map_get(&r->instances, key);
    (void)modified;
    if (!name.n || !service.n || key.n > ETCD_INSTANCE_BYTES_MAX)
        return true;
    if (!i && r->instances.count == ETCD_INSTANCES_MAX) {
        r->is_full = true;
        return true;
    }
    if (!i && !(i = create(r, key, service)))
        return false;
    i->round = r->round;
    i->service->is_changed = true;
    return read_value(i, value);
}

static void on_removed(void *context, struct str key) {
    struct etcd_registry *r = context;
    struct instance *i = map_get(&r->instances, key);
    if (i)
        drop(r, i);
}

static void drop_old(struct etcd_registry *r) {
    for (struct instance *i = r->first, *after; i; i = after) {
        after = i->after;
        if (i->round != r->round)
            drop(r, i);
    }
}

static void tell(struct etcd_registry *r, bool is_all) {
    size_t position = 0;
    const struct map_entry *e;
    while ((e = map_next(&r->services, &position))) {
        struct etcd_service *s = e->value;
        bool is_due = is_all || s->is_changed;
        s->is_changed = false;
        for (struct etcd_service_follower *f = s->followers; is_due && f; f = f->next)
            f->changed(f->context);
    }
}

static void on_settled(void *context) {
    struct etcd_registry *r = context;
    bool is_first = !r->is_known;
    if (r->is_listing)
        drop_old(r);
    r->is_listing = false;
    r->is_known = true;
    tell(r, is_first);
}

static void on_watching(void *context) {
    struct etcd_registry *r = context;
    if (r->has_failed && r->is_known)
        tell(r, true);
    r->has_failed = false;
}

static void on_failed(void *context, const char *reason) {
    struct etcd_registry *r = context;
    size_t position = 0;
    const struct map_entry *e;
    r->has_failed = true;
    while ((e = map_next(&r->services, &position)))
        for (struct etcd_service_follower *f = ((struct etcd_service *)e->value)->followers; f; f = f->next)
            f->failed(f->context, reason);
}

/* There is room now for what was left out. */
static bool is_list_due(void *context) {
    const struct etcd_registry *r = context;
    return r->is_full && r->instances.count < ETCD_INSTANCES_MAX;
}

const struct etcd_mirror_ops etcd_registry_ops = {.list = on_list, .set = on_set, .removed = on_removed,
                                                  .settled = on_settled, .watching = on_watching, .failed = on_failed,
                                                  .is_list_due = is_list_due};

/* ---- followers ---- */

int etcd_registry_join(struct etcd_registry *r, const char *service, struct etcd_service_follower *f) {
    struct etcd_service *s = find_or_create(r, str_of(service));
    if (!s)
        return -1;
    if (!r->follower && !r->is_stopped && r->etcd)
        r->follower = etcd_follow(r->etcd, ETCD_ENDPOINTS, &etcd_registry_ops, r);
    if (!r->follower && !r->is_stopped && r->etcd) {
        release(s);
        return -1;
    }
    f->in = s;
    f->next = s->followers;
    f->place = &s->followers;
    if (f->next)
        f->next->place = &f->next;
    s->followers = f;
    return 0;
}

void etcd_registry_leave(struct etcd_service_follower *f) {
    struct etcd_service *s = f->in;
    if (!s)
        return;
    *f->place = f->next;
    if (f->next)
        f->next->place = f->place;
    f->in = NULL;
    release(s);
}

bool etcd_registry_is_known(const struct etcd_service_follower *f) {
    return f->in && f->in->registry->is_known;
}

/* ---- endpoints ---- */

static const char *address_of(const struct instance *i) {
    return i->set->endpoints[0]->address;
}

/* By address; those with the same one by key, so that all nodes of a fleet take the same. */
static int compare(const void *a, const void *b) {
    const struct instance *i = *(const struct instance *const *)a, *j = *(const struct instance *const *)b;
    int order = strcmp(address_of(i), address_of(j));
    return order ? order : str_cmp(key_of(i), key_of(j));
}

/* `right` has room for all of the service. */
static void gather(const struct etcd_service *s, const struct instance **right, Headgate__EndpointSet *set,
                   struct error_list *errors) {
    size_t count = 0;
    for (const struct instance *i = s->instances; i; i = i->next) {
        if (i->fault)
            error_addf(errors, ERROR_SYNTAX, "%s", i->fault);
        if (i->set)
            right[count++] = i;
    }
    if (count)
        qsort(right, count, sizeof *right, compare);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(address_of(right[i - 1]), address_of(right[i])) != 0)
            set->endpoints[set->n_endpoints++] = right[i]->set->endpoints[0];
}

Headgate__EndpointSet *etcd_registry_endpoints(const struct etcd_service_follower *f, struct arena *arena,
                                               struct error_list *errors) {
    const struct etcd_service *s = f->in;
    Headgate__EndpointSet *set = arena_alloc(arena, sizeof *set);
    Headgate__Endpoint **endpoints = arena_calloc(arena, s->count + 1, sizeof(Headgate__Endpoint *));
    const struct instance **right = arena_calloc(arena, s->count + 1, sizeof(struct instance *));
    if (!set || !endpoints || !right) {
        error_addf(errors, ERROR_MEMORY, "no memory for the endpoints of etcd");
        return NULL;
    }
    headgate__endpoint_set__init(set);
    set->endpoints = endpoints;
    gather(s, right, set, errors);
    if (s->registry->is_full)
        error_addf(errors, ERROR_RANGE, "there are more than %d registrations", ETCD_INSTANCES_MAX);
    if (set->n_endpoints)
        return set;
    if (!errors->count)
        error_addf(errors, ERROR_REFERENCE, "there is no registration of %s: the last endpoints are kept", s->name);
    return NULL;
}

/* ---- for metrics ---- */

size_t etcd_registry_count(const struct etcd_registry *r) {
    return r->instances.count;
}

void etcd_registry_counters(const struct etcd_registry *r, struct etcd_follower_counters *ret) {
    *ret = r->follower ? etcd_follower_counters(r->follower) : (struct etcd_follower_counters){0};
}

/* ---- life ---- */

struct etcd_registry *etcd_registry_create(struct etcd *e) {
    struct etcd_registry *r = hg_calloc(1, sizeof *r);
    if (r)
        r->etcd = e;
    return r;
}

void etcd_registry_stop(struct etcd_registry *r) {
    if (!r)
        return;
    r->is_stopped = true;
    etcd_unfollow(r->follower);
    r->follower = NULL;
}

void etcd_registry_destroy(struct etcd_registry *r) {
    size_t position = 0;
    const struct map_entry *e;
    if (!r)
        return;
    etcd_registry_stop(r);
    while ((e = map_next(&r->instances, &position)))
        destroy(e->value);
    position = 0;
    while ((e = map_next(&r->services, &position)))
        hg_free(e->value);
    map_finish(&r->instances);
    map_finish(&r->services);
    hg_free(r);
}
