/* choose.c — where a flow goes. */
#include "dataplane/core/stats.h"
#include "dataplane/l4/pass_flow.h"
#include "dataplane/tls/names.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { ENDPOINTS_ASKED = 4 };

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
                                              struct id_home *home) {
    struct cluster_runtime *c = cluster_of(p->worker, cluster);
    return c ? cluster_find_endpoint(c, &home->address, &home->place) : NULL;
}

/* One that drains keeps its connections for a while. */
static bool may_go_on(const struct pass *p, const struct endpoint_runtime *e) {
    return !e->leaving_since || p->worker->now < e->leaving_since + pass_definition_of(p)->drain_timeout;
}

static bool choose_server(struct pass *p, const struct pass_packet *first, struct pass_choice *ret) {
    uint8_t key[1 + QUIC_LB_BLOCK_MAX] = {first->dcid_n ? first->dcid[0] >> 5 : QUIC_LB_UNROUTABLE};
    const struct pass_ids *ids = key[0] < QUIC_LB_UNROUTABLE ? &p->ids[key[0]] : NULL;
    if (!ids || !ids->lb || !quic_lb_decode(ids->lb, first->dcid, first->dcid_n, key + 1))
        return false;
    const struct pass_server *s =
        map_get(&pass_definition_of(p)->by_server, (struct str){(const char *)key, 1u + ids->form.id_n});
    if (!s)
        return false;
    *ret = (struct pass_choice){.home = {.slot = s->cluster->slot, .place = s->place,
                                         .address = s->cluster->members->endpoints[s->place].address}};
    ret->endpoint = find_endpoint(p, s->cluster, &ret->home);
    return ret->endpoint && may_go_on(p, ret->endpoint);
}

/* Who knows the ID may find that the endpoint has left the cluster: its connections move all the same, as long as those that
 * do not may go on. */
static bool choose_known(struct pass *p, const struct pass_packet *first, struct pass_choice *ret) {
    struct pass_choice choice = {0};
    uint64_t now = p->worker->now;
    choice.known_n = id_directory_find(pass_directory(), first->dcid, first->dcid_n, now, &choice.home);
    const struct cluster_definition *cluster = choice.known_n ? choose_cluster_of_slot(p, choice.home.slot) : NULL;
    if (!cluster)
        return false;
    choice.endpoint = find_endpoint(p, cluster, &choice.home);
    if (!choice.endpoint && !choice.home.until)
        choice.home.until = now + pass_definition_of(p)->drain_timeout;
    *ret = choice;
    return choice.endpoint ? may_go_on(p, choice.endpoint) : now < choice.home.until;
}

bool choose_by_id(struct pass *p, const struct pass_packet *first, struct pass_choice *ret) {
    return choose_server(p, first, ret) || choose_known(p, first, ret);
}

/* The same in every process: after a restart a client finds its endpoint again. */
static uint64_t hash_of_client(const struct address *client) {
    struct address a = *client;
    address_unmap(&a);
    struct str key = address_key(&a);
    return XXH3_64bits(key.p, key.n);
}

/* Where one has as many connections as it may have, another one is asked. NULL, and what is lacking. */
static struct endpoint_runtime *pick_with_room(struct cluster_runtime *c, struct pick *pick, enum lack *ret_lack) {
    *ret_lack = LACK_ENDPOINT;
    for (int i = 0; i < ENDPOINTS_ASKED; i++) {
        struct endpoint_runtime *e = cluster_pick(c, pick);
        *ret_lack = e ? bounds_lack(e) : LACK_ENDPOINT;
        if (*ret_lack == LACK_NOTHING)
            return e;
        if (*ret_lack != LACK_ENDPOINT_CONNECTIONS)
            return NULL;
        pick_note_tried(pick, e);
    }
    return NULL;
}

bool choose_in_cluster(struct pass *p, const struct cluster_definition *cluster, const struct address *client,
                       const void *const *refused, unsigned refused_count, struct pass_choice *ret) {
    struct cluster_runtime *c = cluster_of(p->worker, cluster);
    struct pick pick = {.hash = hash_of_client(client), .has_hash = true, .is_repeated = refused_count > 0,
                        .tried_count = refused_count};
    enum lack lack;
    if (!c) {
        stats_add(&p->worker->stats->quic_pass_dropped_system_total, 1);
        return false;
    }
    for (unsigned i = 0; i < refused_count; i++)
        pick.tried[i] = refused[i];
    struct endpoint_runtime *e = pick_with_room(c, &pick, &lack);
    if (!e) {
        bounds_count_lack(c, lack);
        return false;
    }
    *ret = (struct pass_choice){.endpoint = e, .home = {.slot = cluster->slot, .address = e->address}};
    return true;
}
