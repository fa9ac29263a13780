/* The loop's side: what is known of each endpoint, and the messages to and from the checker. */
#include "controlplane/health/health.h"

#include <sys/resource.h>

#include "common/address.h"
#include "common/alloc.h"
#include "common/map.h"
#include "controlplane/health/checker.h"
#include "proto/tls_choice.h"

struct known {
    uint64_t id;
    uint64_t failed_at;
    char    *failure;           /* NULL: none */
    uint8_t  health;
    char     address[];
};

struct known_cluster {
    struct cluster *cluster;    /* the checker's; here it is but a name for it */
    struct check_plan    *plan;
    struct map      endpoints;  /* struct known, by address */
    char            name[];
};

struct health {
    struct health_config   config;
    struct checker         checker;
    ev_async               arrived;
    struct map             clusters;    /* by name */
    struct health_counters counters;
    uint64_t               ids;         /* given so far */
};

/* ---- what is known ---- */

static struct known *known_create(const char *address, uint64_t id) {
    size_t n = strlen(address) + 1;
    struct known *k = hg_calloc(1, sizeof *k + n);
    if (!k)
        return NULL;
    k->id = id;
    memcpy(k->address, address, n);
    return k;
}

static void known_destroy(struct known *k) {
    hg_free(k->failure);
    hg_free(k);
}

static struct known *find(const struct health *h, const char *cluster, const char *address) {
    const struct known_cluster *c = map_get(&h->clusters, str_of(cluster));
    return c ? map_get(&c->endpoints, str_of(address)) : NULL;
}

Headgate__Endpoint__Health health_of(const struct health *h, const char *cluster, const char *address) {
    const struct known *k = find(h, cluster, address);
    return k ? (Headgate__Endpoint__Health)k->health : HEADGATE__ENDPOINT__HEALTH__UNKNOWN;
}

const struct health_counters *health_counters(const struct health *h) {
    return &h->counters;
}

const char *health_last_failure(const struct health *h, const char *cluster, const char *address, uint64_t *ret_at) {
    const struct known *k = find(h, cluster, address);
    if (!k || !k->failure)
        return NULL;
    *ret_at = k->failed_at;
    return k->failure;
}

/* ---- what arrives ---- */

/* True when the health has changed. News of an endpoint that has gone meanwhile, or is another one now, are dropped. */
static bool take_in(struct health *h, const struct news *n, struct health_change *change) {
    struct known *k = find(h, n->cluster, n->address);
    char *failure = k && n->reason ? hg_strdup(n->reason) : NULL;
    if (!k || k->id != n->id) {
        hg_free(failure);
        return false;
    }
    if (failure) {
        hg_free(k->failure);
        k->failure = failure;
        k->failed_at = n->failed_at;
    }
    bool is_changed = k->health != n->health;
    k->health = n->health;
    bool is_unhealthy = n->health == HEADGATE__ENDPOINT__HEALTH__UNHEALTHY;
    *change = (struct health_change){n->cluster, n->address, (Headgate__Endpoint__Health)n->health,
                                     is_unhealthy ? n->reason ? n->reason : "no memory for the reason" : NULL,
                                     n->changed_at};
    return is_changed;
}

static void on_arrived(struct ev_loop *loop, ev_async *arrived, int events) {
    struct health *h = arrived->data;
    struct batch *b = checker_take(&h->checker);
    size_t count = 0;
    (void)loop;
    (void)events;
    if (!b)
        return;
    h->counters = b->counters;
    for (size_t i = 0; i < b->count; i++)
        count += take_in(h, &b->news[i], &b->changes[count]);
    if (count > 0)
        h->config.changed(h->config.context, b->changes, count);
    hg_free(b);
}

/* ---- what is to be checked ---- */

/* The state of a cluster to come; either all of it is made, or none. */
struct making {
    struct health        *health;
    const struct health_way *way;
    struct known_cluster *before;       /* NULL: a new one */
    struct known_cluster *fresh;        /* of a new one */
    struct command       *command;
    struct map            endpoints;    /* struct known: those of before, and new ones */
};

static bool can_be_checked(const char *address) {
    struct address parsed;
    return address_parse(str_of(address), &parsed) == 0;
}

static int add_known(struct making *m, const char *address, uint64_t *ret_id) {
    struct str key = str_of(address);
    struct known *k = m->before ? map_get(&m->before->endpoints, key) : NULL;
    bool is_new = k == NULL;
    if (is_new)
        k = known_create(address, m->health->ids++);
    if (!k)
        return -1;
    *ret_id = k->id;
    if (map_set(&m->endpoints, (struct str){k->address, key.n}, k) == 0)
        return 0;
    if (is_new)
        known_destroy(k);
    return -1;
}

static int add_endpoint(struct making *m, const Headgate__Endpoint *message) {
    uint64_t id;
    if (!message->address || map_get(&m->endpoints, str_of(message->address)))
        return 0;
    if (add_known(m, message->address, &id) < 0)
        return -1;
    if (!can_be_checked(message->address))
        return 0;
    size_t transport = tls_choice_of(m->way->choices, m->way->choice_count, message->metadata, message->n_metadata);
    struct endpoint *e = endpoint_create(message->address, message->hostname, transport, id);
    if (e && map_set(&m->command->endpoints, str_of(e->address), e) == 0)
        return 0;
    if (e)
        endpoint_destroy(e);
    return -1;
}

static int make_cluster(struct making *m, const char *name) {
    size_t n = strlen(name) + 1;
    if (m->before)
        return 0;
    m->fresh = hg_calloc(1, sizeof *m->fresh + n);
    if (!m->fresh)
        return -1;
    memcpy(m->fresh->name, name, n);
    m->fresh->cluster = hg_calloc(1, sizeof *m->fresh->cluster);
    return m->fresh->cluster ? map_set(&m->health->clusters, (struct str){m->fresh->name, n - 1}, m->fresh) : -1;
}

static void free_endpoints(struct map *endpoints) {
    const struct map_entry *entry;
    size_t position = 0;
    while ((entry = map_next(endpoints, &position)))
        endpoint_destroy(entry->value);
    map_finish(endpoints);
}

static void abandon(struct making *m) {
    const struct map_entry *entry;
    size_t position = 0;
    while ((entry = map_next(&m->endpoints, &position)))
        if (!m->before || map_get(&m->before->endpoints, entry->key) != entry->value)
            known_destroy(entry->value);
    map_finish(&m->endpoints);
    if (m->command) {
        free_endpoints(&m->command->endpoints);
        check_plan_unref(m->command->plan);
    }
    hg_free(m->command);
    if (m->fresh) {
        map_remove(&m->health->clusters, str_of(m->fresh->name));
        hg_free(m->fresh->cluster);
    }
    hg_free(m->fresh);
}

static int make(struct making *m, const char *cluster, const struct health_way *way, const Headgate__EndpointSet *endpoints,
                struct error_list *errors) {
    size_t errors_before = errors->count;
    m->command = hg_calloc(1, sizeof *m->command);
    if (m->command)
        m->command->plan = check_plan_make(cluster, way, &m->health->config, m->before ? m->before->plan : NULL, errors);
    int status = m->command && m->command->plan ? make_cluster(m, cluster) : -1;
    for (size_t i = 0; status == 0 && i < endpoints->n_endpoints; i++)
        status = add_endpoint(m, endpoints->endpoints[i]);
    if (status < 0 && errors->count == errors_before)
        error_addf(errors, ERROR_MEMORY, "no memory for the health checks of cluster %s", cluster);
    return status;
}

/* Those that are not among the new ones go. */
static void replace_known(struct known_cluster *c, struct map *endpoints) {
    const struct map_entry *entry;
    size_t position = 0;
    while ((entry = map_next(&c->endpoints, &position)))
        if (!endpoints || map_get(endpoints, entry->key) != entry->value)
            known_destroy(entry->value);
    map_finish(&c->endpoints);
    c->endpoints = endpoints ? *endpoints : (struct map){0};
}

static void destroy_known(struct known_cluster *c) {
    replace_known(c, NULL);
    check_plan_unref(c->plan);
    hg_free(c);
}

static int forget_cluster(struct health *h, struct known_cluster *c, struct error_list *errors) {
    struct command *command = c ? hg_calloc(1, sizeof *command) : NULL;
    if (c && !command) {
        error_addf(errors, ERROR_MEMORY, "no memory for the health checks of cluster %s", c->name);
        return -1;
    }
    if (!c)
        return 0;
    command->cluster = c->cluster;
    checker_send(&h->checker, command);
    map_remove(&h->clusters, str_of(c->name));
    destroy_known(c);
    return 0;
}

int health_set_cluster(struct health *h, const char *cluster, const struct health_way *way,
                       const Headgate__EndpointSet *endpoints, struct error_list *errors) {
    struct making m = {.health = h, .way = way, .before = map_get(&h->clusters, str_of(cluster))};
    if (!way)
        return forget_cluster(h, m.before, errors);
    if (make(&m, cluster, way, endpoints, errors) < 0) {
        abandon(&m);
        return -1;
    }
    struct known_cluster *c = m.before ? m.before : m.fresh;
    check_plan_unref(c->plan);
    c->plan = check_plan_ref(m.command->plan);
    replace_known(c, &m.endpoints);
    m.command->cluster = c->cluster;
    checker_send(&h->checker, m.command);
    return 0;
}

/* ---- beginning and end ---- */

static size_t descriptors_of_process(void) {
    struct rlimit limit;
    enum { UNLIMITED = 1 << 20 };
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    return limit.rlim_cur > UNLIMITED ? UNLIMITED / 4 * 3 : (size_t)limit.rlim_cur / 4 * 3;
}

struct health *health_create(const struct health_config *config, struct error_list *errors) {
    struct health *h = hg_calloc(1, sizeof *h);
    if (!h) {
        error_addf(errors, ERROR_MEMORY, "no memory for health checks");
        return NULL;
    }
    h->config = *config;
    ev_async_init(&h->arrived, on_arrived);
    h->arrived.data = h;
    ev_async_start(config->loop, &h->arrived);
    size_t descriptors = config->descriptors ? config->descriptors : descriptors_of_process();
    if (checker_start(&h->checker, descriptors, config->loop, &h->arrived, errors) == 0)
        return h;
    ev_async_stop(config->loop, &h->arrived);
    hg_free(h);
    return NULL;
}

void health_destroy(struct health *h) {
    const struct map_entry *entry;
    size_t position = 0;
    if (!h)
        return;
    checker_stop(&h->checker);
    ev_async_stop(h->config.loop, &h->arrived);
    while ((entry = map_next(&h->clusters, &position)))
        destroy_known(entry->value);
    map_finish(&h->clusters);
    hg_free(h);
}
