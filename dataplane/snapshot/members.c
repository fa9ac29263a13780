#include "dataplane/snapshot/members.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "dataplane/snapshot/cluster_tls.h"
#include "proto/tls_choice.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { WEIGHT_MOST = 65535, TABLE_MOST = 5000011, RING_MOST = 8388608, CHOICES_MOST = 64, SUBSET_KEYS_MOST = 16 };

static struct str own_zone;

void snapshot_set_zone(struct str zone) {
    own_zone = zone;
}

static void fault(struct error_list *errors, const char *kind, const char *name, const char *path, enum error_code code,
                  const char *message) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "%s/%s", kind, name);
    error_set_resource(errors, error_addf(errors, code, "%s", message), resource, path);
}

static const Headgate__Balancing *balancing_of(const Headgate__Cluster *m) {
    static const Headgate__Balancing defaults = HEADGATE__BALANCING__INIT;
    return m->balancing ? m->balancing : &defaults;
}

/* ---- rules ---- */

static enum balance_kind kind_of(const Headgate__Cluster *m) {
    switch (m->balancer) {
    case HEADGATE__CLUSTER__BALANCER__RANDOM: return BALANCE_RANDOM;
    case HEADGATE__CLUSTER__BALANCER__LEAST_REQUEST: return BALANCE_LEAST_REQUEST;
    case HEADGATE__CLUSTER__BALANCER__LEAST_CONNECTIONS: return BALANCE_LEAST_CONNECTIONS;
    case HEADGATE__CLUSTER__BALANCER__PEAK_EWMA: return BALANCE_PEAK_EWMA;
    case HEADGATE__CLUSTER__BALANCER__RING_HASH: return BALANCE_RING_HASH;
    case HEADGATE__CLUSTER__BALANCER__MAGLEV:
    case HEADGATE__CLUSTER__BALANCER__SOURCE_ADDRESS: return BALANCE_MAGLEV;
    case HEADGATE__CLUSTER__BALANCER__FIRST: return BALANCE_FIRST;
    default: return BALANCE_ROUND_ROBIN;
    }
}

static bool is_prime(uint32_t n) {
    for (uint32_t i = 2; (uint64_t)i * i <= n; i++)
        if (n % i == 0)
            return false;
    return n > 1;
}

static int check_rules(const Headgate__Balancing *b, const char *name, struct error_list *errors) {
    const struct {
        bool is_good;
        const char *path, *message;
    } checks[] = {
        {b->table_size > 2 && b->table_size <= TABLE_MOST && is_prime(b->table_size), "balancing.table_size",
         "a prime of at most 5000011 is needed"},
        {b->ring_size > 0 && b->ring_size <= RING_MOST, "balancing.ring_size", "1 to 8388608 points are possible"},
        {b->max_table_entries > 0, "balancing.max_table_entries", "more than 0 is needed"},
        {b->load_bound == 0 || b->load_bound >= 100, "balancing.load_bound",
         "less than 100 percent of the mean fits nobody"},
        {b->choices > 0 && b->choices <= CHOICES_MOST, "balancing.choices", "1 to 64 are possible"},
        {b->ewma_decay > 0, "balancing.ewma_decay", "more than 0 is needed"},
        {b->panic_threshold <= 100, "balancing.panic_threshold", "a percentage is needed"},
        {b->overprovisioning >= 100 && b->overprovisioning <= 10000, "balancing.overprovisioning",
         "100 to 10000 percent are possible"},
        {!b->slow_start || b->slow_start->window > 0, "balancing.slow_start.window", "more than 0 is needed"},
        {!b->slow_start || b->slow_start->aggression > 0, "balancing.slow_start.aggression", "more than 0 is needed"},
        {!b->slow_start || b->slow_start->min_percent <= 100, "balancing.slow_start.min_percent", "a percentage is needed"},
    };
    size_t before = errors->count;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (!checks[i].is_good)
            fault(errors, "cluster", name, checks[i].path, ERROR_RANGE, checks[i].message);
    return errors->count == before ? 0 : -1;
}

static void fill_rules(struct balance_rules *r, const Headgate__Cluster *m, const Headgate__Balancing *b) {
    *r = (struct balance_rules){
        .kind = kind_of(m), .table_size = b->table_size, .ring_size = b->ring_size,
        .max_table_entries = b->max_table_entries, .load_bound = b->load_bound,
        .choices = b->choices, .ewma_decay = b->ewma_decay, .panic_threshold = b->panic_threshold,
        .overprovisioning = b->overprovisioning};
    if (!b->slow_start)
        return;
    r->slow_start = b->slow_start->window;
    r->slow_start_power = 100.0 / b->slow_start->aggression;
    r->slow_start_least = b->slow_start->min_percent ? b->slow_start->min_percent / 100.0 : 0.001;
}

static int by_bytes(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int fill_selectors(struct cluster_members *m, const Headgate__Balancing *b) {
    struct subset_selector *s = arena_calloc(&m->arena, b->n_subsets, sizeof *s);
    m->selectors = s;
    m->subset_fallback = b->subset_fallback;
    for (size_t i = 0; s && i < b->n_subsets; i++) {
        struct str *keys = arena_calloc(&m->arena, b->subsets[i]->n_keys, sizeof *keys);
        if (!keys)
            return -1;
        for (size_t k = 0; k < b->subsets[i]->n_keys; k++) {
            keys[k] = arena_str(&m->arena, str_of(b->subsets[i]->keys[k]));
            if (!keys[k].p)
                return -1;
        }
        qsort(keys, b->subsets[i]->n_keys, sizeof *keys, by_bytes);
        s[i] = (struct subset_selector){keys, (uint32_t)b->subsets[i]->n_keys};
        m->selector_count++;
    }
    return s ? 0 : -1;
}

static int check_selectors(const Headgate__Balancing *b, const char *name, struct error_list *errors) {
    char path[64];
    int status = 0;
    for (size_t i = 0; i < b->n_subsets; i++) {
        if (b->subsets[i]->n_keys > 0 && b->subsets[i]->n_keys <= SUBSET_KEYS_MOST)
            continue;
        snprintf(path, sizeof path, "balancing.subsets[%zu].keys", i);
        fault(errors, "cluster", name, path, ERROR_RANGE, "1 to 16 keys are possible");
        status = -1;
    }
    return status;
}

/* ---- endpoints ---- */

static int by_key(const void *a, const void *b) {
    return str_cmp(((const struct metadata *)a)->key, ((const struct metadata *)b)->key);
}

static int copy_metadata(struct arena *arena, Headgate__MetadataEntry *const *entries, size_t count, struct metadata *ret) {
    for (size_t i = 0; i < count; i++) {
        ret[i].key = arena_str(arena, str_of(entries[i]->key ? entries[i]->key : ""));
        ret[i].value = arena_str(arena, str_of(entries[i]->value ? entries[i]->value : ""));
        if (!ret[i].key.p || !ret[i].value.p)
            return -1;
    }
    qsort(ret, count, sizeof *ret, by_key);
    return 0;
}

static bool is_elsewhere(const Headgate__Endpoint *m, const Headgate__Balancing *b) {
    return b->prefer_zone && own_zone.n && !str_eq(str_of(m->zone), own_zone);
}

static uint64_t choice_of(const Headgate__Cluster *cluster, const Headgate__Endpoint *m) {
    size_t i = tls_choice_of(cluster->tls_choices, cluster->n_tls_choices, m->metadata, m->n_metadata);
    return i < cluster->n_tls_choices ? cluster_tls_id(cluster->tls_choices[i]) : 0;
}

/* 0, or -1 without memory. */
static int fill_endpoint(struct cluster_members *members, struct endpoint_definition *e, const Headgate__Endpoint *m,
                         const Headgate__Cluster *cluster) {
    char text[ADDRESS_TEXT_MAX];
    struct metadata *metadata = arena_calloc(&members->arena, m->n_metadata, sizeof *metadata);
    address_format(&e->address, text);
    e->text = arena_str(&members->arena, str_of(text));
    e->hostname = m->hostname ? arena_str(&members->arena, str_of(m->hostname)) : (struct str){NULL, 0};
    e->weight = m->weight;
    e->tls_choice = choice_of(cluster, m);
    e->is_draining = m->health == HEADGATE__ENDPOINT__HEALTH__DRAINING;
    e->is_usable = !e->is_draining && m->health != HEADGATE__ENDPOINT__HEALTH__UNHEALTHY && m->weight > 0;
    e->is_remote = is_elsewhere(m, balancing_of(cluster));
    e->priority = (uint8_t)m->priority;
    e->metadata = metadata;
    e->metadata_count = (uint32_t)m->n_metadata;
    if (!metadata || !e->text.p || (m->hostname && !e->hostname.p))
        return -1;
    return copy_metadata(&members->arena, m->metadata, m->n_metadata, metadata);
}

static void check_endpoint(const Headgate__Endpoint *m, size_t i, const char *name, struct endpoint_definition *e,
                           struct error_list *errors) {
    char path[64];
    snprintf(path, sizeof path, "endpoints[%zu].address", i);
    if (!m->address || address_parse(str_of(m->address), &e->address) < 0)
        fault(errors, "endpoint-set", name, path, ERROR_SYNTAX, "not an address and port");
    snprintf(path, sizeof path, "endpoints[%zu].weight", i);
    if (m->weight > WEIGHT_MOST)
        fault(errors, "endpoint-set", name, path, ERROR_RANGE, "weight is above 65535");
    snprintf(path, sizeof path, "endpoints[%zu].priority", i);
    if (m->priority >= BALANCE_PRIORITIES)
        fault(errors, "endpoint-set", name, path, ERROR_RANGE, "priority is above 127");
}

static int fill_endpoints(struct cluster_members *m, const struct resource *r, const Headgate__Cluster *cluster,
                          struct error_list *errors) {
    const Headgate__EndpointSet *set = (const Headgate__EndpointSet *)r->message;
    size_t before = errors->count;
    for (size_t i = 0; i < set->n_endpoints; i++) {
        check_endpoint(set->endpoints[i], i, r->name, &m->endpoints[i], errors);
        if (errors->count == before && fill_endpoint(m, &m->endpoints[i], set->endpoints[i], cluster) < 0)
            return -1;
    }
    return errors->count == before ? 0 : -1;
}

/* ---- the whole ---- */

uint64_t snapshot_members_print(const Headgate__Cluster *m) {
    uint64_t print = XXH3_64bits_withSeed(own_zone.p, own_zone.n, m->balancer * 2 + (m->sticky != NULL));
    for (size_t i = 0; i < m->n_tls_choices; i++) {
        uint64_t id = cluster_tls_id(m->tls_choices[i]);
        print = XXH3_64bits_withSeed(&id, sizeof id, print);
    }
    if (!m->balancing)
        return print;
    size_t size = headgate__balancing__get_packed_size(m->balancing);
    uint8_t *packed = hg_malloc(size + 1);
    if (!packed)
        return 0; /* the same as no other: made anew */
    print = XXH3_64bits_withSeed(packed, headgate__balancing__pack(m->balancing, packed), print);
    hg_free(packed);
    return print;
}

/* Each subset has a table of its own, and endpoints say how many there are. */
static void check_tables(const struct cluster_members *m, const char *name, struct error_list *errors) {
    char message[160];
    if (m->table_entries <= m->rules.max_table_entries)
        return;
    snprintf(message, sizeof message, "the tables of its %u groups and more need over %llu entries; smaller tables, fewer "
             "subsets or a higher bound are needed", m->group_count, (unsigned long long)m->rules.max_table_entries);
    fault(errors, "cluster", name, "balancing.max_table_entries", ERROR_RANGE, message);
}

struct cluster_members *snapshot_members_make(const struct resource *cluster, const struct resource *endpoints,
                                              const struct cluster_members *previous, struct error_list *errors) {
    const Headgate__Cluster *m = (const Headgate__Cluster *)cluster->message;
    const Headgate__Balancing *b = balancing_of(m);
    size_t count = endpoints ? ((const Headgate__EndpointSet *)endpoints->message)->n_endpoints : 0;
    int status = check_rules(b, cluster->name, errors) | check_selectors(b, cluster->name, errors);
    struct cluster_members *made = status == 0 ? cluster_members_create((uint32_t)count) : NULL;
    if (!made)
        return NULL;
    fill_rules(&made->rules, m, b);
    made->wants_ids = m->sticky != NULL;
    if (fill_selectors(made, b) == 0 && (!endpoints || fill_endpoints(made, endpoints, m, errors) == 0) &&
        cluster_members_complete(made, previous) == 0)
        return made;
    check_tables(made, cluster->name, errors);
    cluster_members_unref(made);
    return NULL;
}

static bool selects_by(const struct subset_selector *s, const struct metadata *entries, uint32_t count) {
    if (s->count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!str_eq(s->keys[i], entries[i].key))
            return false;
    return true;
}

int snapshot_find_subset(const struct cluster_members *m, Headgate__MetadataEntry *const *entries, size_t count,
                         uint64_t *ret) {
    struct metadata by_keys[SUBSET_KEYS_MOST];
    if (count == 0) {
        *ret = 0;
        return 0;
    }
    for (size_t i = 0; i < count && i < SUBSET_KEYS_MOST; i++)
        by_keys[i] = (struct metadata){str_of(entries[i]->key), str_of(entries[i]->value ? entries[i]->value : "")};
    if (count > SUBSET_KEYS_MOST)
        return -1;
    qsort(by_keys, count, sizeof *by_keys, by_key);
    for (uint32_t i = 0; i < m->selector_count; i++)
        if (selects_by(&m->selectors[i], by_keys, (uint32_t)count)) {
            *ret = cluster_subset(by_keys, (uint32_t)count);
            return 0;
        }
    return -1;
}
