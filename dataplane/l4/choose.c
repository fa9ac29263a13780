/* choose.c — where a flow goes. */
#include "dataplane/l4/pass_flow.h"
#include "dataplane/tls/names.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

const struct cluster_definition *choose_cluster_of_slot(const struct pass *p, uint32_t slot) {
    const struct pass_definition *d = pass_definition_of(p);
    for (uint32_t i = 0; i < d->cluster_count; i++)
        if (d->clusters[i]->slot == slot)
            return d->clusters[i];
    return NULL;
}

const struct cluster_definition *choose_cluster_of_name(const struct pass *p, struct str name) {
    const struct pass_definition *d = pass_definition_of(p);
    const struct cluster_definition *found = tls_names_find(&d->by_name, name);
    return found ? found : d->fallback;
}

static struct endpoint_runtime *find_endpoint(struct pass *p, const struct cluster_definition *cluster,
                                              const struct address *address, uint32_t place) {
    struct cluster_runtime *c = cluster ? cluster_of(p->worker, cluster) : NULL;
    return c ? cluster_find_endpoint(c, address, place) : NULL;
}

static bool choose_server(struct pass *p, const struct pass_packet *first, struct pass_choice *ret) {
    uint8_t id[QUIC_LB_BLOCK_MAX];
    if (!p->lb || !quic_lb_decode(p->lb, first->dcid, first->dcid_n, id))
        return false;
    const struct str key = {(const char *)id, p->lb_form.id_n};
    const struct pass_server *s = map_get(&pass_definition_of(p)->by_server, key);
    if (!s)
        return false;
    const struct address *address = &s->cluster->members->endpoints[s->place].address;
    *ret = (struct pass_choice){.cluster = s->cluster, .is_known = true,
                                .endpoint = find_endpoint(p, s->cluster, address, s->place)};
    return ret->endpoint != NULL;
}

bool choose_by_id(struct pass *p, const struct pass_packet *first, struct pass_choice *ret) {
    struct id_home home;
    if (choose_server(p, first, ret))
        return true;
    size_t n = id_directory_find(pass_directory(), first->dcid, first->dcid_n, p->worker->now, &home);
    if (n == 0)
        return false;
    const struct cluster_definition *cluster = choose_cluster_of_slot(p, home.slot);
    *ret = (struct pass_choice){.cluster = cluster, .is_known = true, .known_n = n,
                                   .endpoint = find_endpoint(p, cluster, &home.address, home.place)};
    return ret->endpoint != NULL;
}

/* The same in every process: after a restart a client finds its endpoint again. */
static uint64_t hash_of_client(const struct address *client) {
    struct address a = *client;
    address_unmap(&a);
    struct str key = address_key(&a);
    return XXH3_64bits(key.p, key.n);
}

struct endpoint_runtime *choose_in_cluster(struct pass *p, const struct cluster_definition *cluster,
                                           const struct address *client, const void *const *refused,
                                           unsigned refused_count) {
    struct cluster_runtime *c = cluster_of(p->worker, cluster);
    struct pick pick = {.hash = hash_of_client(client), .has_hash = true, .tried_count = refused_count};
    for (unsigned i = 0; i < refused_count; i++)
        pick.tried[i] = refused[i];
    return c ? cluster_pick(c, &pick) : NULL;
}
