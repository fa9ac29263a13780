/* One set of resources for the engine, and what it says of it. */
#include <assert.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/xds/pace.h"
#include "controlplane/xds/world_internal.h"

enum { LOST_TOLERATED = 2 };            /* a data plane may go away for reasons of its own so often in a row */

/* ---- the set ---- */

static int add_item(struct config_resources *set, const struct config_resource *from) {
    size_t name_size = strlen(from->name) + 1;
    if (hg_grow(&set->items, &set->capacity, set->count + 1, sizeof *set->items) < 0)
        return -1;
    char *block = arena_alloc(&set->arena, name_size + from->size);
    if (!block)
        return -1;
    memcpy(block, from->name, name_size);
    if (from->size)
        memcpy(block + name_size, from->bytes, from->size);
    struct config_resource *r = &set->items[set->count++];
    *r = *from;
    r->name = block;
    r->bytes = (const uint8_t *)block + name_size;
    return 0;
}

static int add_made(struct config_resources *set, const struct world_made *made) {
    int status = 0;
    for (size_t i = 0; status == 0 && i < made->resource_count; i++)
        status = add_item(set, &made->resources[i]);
    return status;
}

static int add_role(const struct xds_world *w, enum xds_role role, struct config_resources *set) {
    int status = 0;
    for (const struct world_item *it = w->roles[role].first; status == 0 && it; it = it->next)
        if (it->choice)
            status = add_made(set, it->choice);
    return status;
}

static int add_empty_routes(struct config_resources *set, const char *name) {
    Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    Headgate__Rule rule = HEADGATE__RULE__INIT, *rules[] = {&rule};
    Headgate__Respond respond = HEADGATE__RESPOND__INIT;
    char any[] = "*", *domains[] = {any};
    uint8_t bytes[64];
    respond.has_status = true;
    respond.status = 404;
    rule.action_case = HEADGATE__RULE__ACTION_RESPOND;
    rule.respond = &respond;
    host.domains = domains;
    host.rules = rules;
    table.hosts = hosts;
    host.n_domains = host.n_rules = table.n_hosts = 1;
    assert(headgate__route_table__get_packed_size(&table) <= sizeof bytes);
    size_t size = headgate__route_table__pack(&table, bytes);
    return config_resources_add(set, HEADGATE__KIND__KIND_ROUTE_TABLE, str_of(name), bytes, size);
}

/* What a listener names and nobody makes: a route table that answers 404, or a cluster without endpoints: 503. */
static int add_stand_in(struct config_resources *set, const struct world_slot *slot) {
    if (slot->kind == HEADGATE__KIND__KIND_ROUTE_TABLE)
        return add_empty_routes(set, slot->name);
    if (config_resources_add(set, HEADGATE__KIND__KIND_CLUSTER, str_of(slot->name), "", 0) < 0)
        return -1;
    return config_resources_add(set, HEADGATE__KIND__KIND_ENDPOINT_SET, str_of(slot->name), "", 0);
}

static int add_stand_ins(struct xds_world *w, struct config_resources *set) {
    const struct map_entry *entry;
    size_t position = 0;
    w->counters.stand_ins = 0;
    while ((entry = map_next(&w->slots, &position))) {
        const struct world_slot *slot = entry->value;
        if (slot->listened_in != w->decision || slot->provided_in == w->decision)
            continue;
        w->counters.stand_ins++;
        if (add_stand_in(set, slot) < 0)
            return -1;
    }
    return 0;
}

static int make_set(struct xds_world *w, struct config_resources *set) {
    int status = add_role(w, XDS_CLUSTERS, set);
    if (status == 0)
        status = add_role(w, XDS_ROUTES, set);
    if (status == 0)
        status = add_role(w, XDS_LISTENERS, set);
    if (status == 0)
        status = add_stand_ins(w, set);
    config_resources_sort(set);
    return status;
}

/* ---- giving it ---- */

typedef void for_item(struct xds_world *w, struct world_item *it);

static void for_all(struct xds_world *w, for_item *f) {
    static const enum xds_role order[] = {XDS_CLUSTERS, XDS_ROUTES, XDS_LISTENERS};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (struct world_item *it = w->roles[order[i]].first; it; it = it->next)
            f(w, it);
}

static void note_pushed(struct xds_world *w, struct world_item *it) {
    (void)w;
    it->pushed_ticket = it->ticket;
    strbuf_reset(&it->blame);
    world_made_replace(&it->pushed, world_made_use(it->choice));
}

static void retry_later(struct xds_world *w) {
    uint64_t random = w->now | 1;
    w->failures += w->failures < UINT32_MAX;
    w->retry_at = w->now + backoff_wait(w->o.retry_wait, w->o.retry_wait_max, w->failures, &random);
    w->is_dirty = true;
}

/* ---- the answer ---- */

/* Names the item whose change it is about, if there is one. */
static struct world_item *item_of(struct xds_world *w, const char *resource) {
    struct world_slot *slot = resource ? map_get(&w->slots, str_of(resource)) : NULL;
    struct world_item *it = slot ? slot->provider : NULL;
    return it && it->pushed != it->used ? it : NULL;
}

static void add_text(struct strbuf *out, const char *before, const char *text) {
    if (out->n)
        strbuf_puts(out, "; ");
    if (before && before[0])
        strbuf_printf(out, "%s: ", before);
    strbuf_puts(out, text ? text : "refused");
}

/* What was made as a table, and the host in it that a path begins with; NULL: it is about none, or no memory. */
static Headgate__RouteTable *table_of_path(const struct world_made *made, const char *path, size_t *ret_host) {
    static const char word[] = "hosts[";
    const struct config_resource *r = NULL;
    if (!path || strncmp(path, word, sizeof word - 1) != 0)
        return NULL;
    for (size_t i = 0; i < made->resource_count && !r; i++)
        r = made->resources[i].kind == HEADGATE__KIND__KIND_ROUTE_TABLE ? &made->resources[i] : NULL;
    struct error_list errors = {0};
    ProtobufCMessage *m = r ? resource_decode(r->kind, str_of(r->name), r->bytes, r->size, &errors) : NULL;
    error_list_finish(&errors);
    *ret_host = strtoul(path + sizeof word - 1, NULL, 10);
    return (Headgate__RouteTable *)m;
}

/* A server knows its virtual hosts by their domains, not by our numbers. */
static void add_domain(const struct world_made *made, const char *path, struct strbuf *out) {
    size_t host;
    Headgate__RouteTable *table = table_of_path(made, path, &host);
    if (table && host < table->n_hosts && table->hosts[host]->n_domains > 0)
        strbuf_printf(out, " (the virtual host of %s)", table->hosts[host]->domains[0]);
    if (table)
        headgate__route_table__free_unpacked(table, NULL);
}

static bool is_of_the_engine(const Headgate__Problem *problem) {
    static const enum error_code own[] = {ERROR_STATE, ERROR_IO, ERROR_MEMORY, ERROR_INTERNAL, ERROR_INTEGRITY};
    for (size_t i = 0; problem->code && i < sizeof own / sizeof *own; i++)
        if (strcmp(problem->code, error_code_name(own[i])) == 0)
            return true;
    return false;
}

static void take_problem(struct xds_world *w, const Headgate__Problem *problem) {
    struct world_item *it = item_of(w, problem->resource);
    if (problem->is_warning)
        return;
    w->is_transient &= is_of_the_engine(problem);
    if (!it) {
        add_text(&w->complaint, problem->resource, problem->message);
        return;
    }
    add_text(&it->blame, problem->path, problem->message);
    if (it->pushed)
        add_domain(it->pushed, problem->path, &it->blame);
}

static void take_refusal(struct xds_world *w, const Headgate__PushReply *reply) {
    w->is_transient = true;
    w->is_lost = false;
    strbuf_reset(&w->complaint);
    for (size_t i = 0; i < reply->n_problems; i++)
        take_problem(w, reply->problems[i]);
    for (size_t i = 0; i < reply->n_data_planes; i++)
        w->is_lost |= reply->data_planes[i]->state == HEADGATE__DATA_PLANE_RESULT__STATE__LOST;
}

static enum world_reply kind_of(const Headgate__PushReply *reply) {
    switch (reply->outcome) {
    case HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED:
    case HEADGATE__PUSH_REPLY__OUTCOME__STORED:
    case HEADGATE__PUSH_REPLY__OUTCOME__UNCHANGED: return WORLD_ACCEPTED;
    case HEADGATE__PUSH_REPLY__OUTCOME__REFUSED:   return WORLD_REFUSED;
    default:                                       return WORLD_UNANSWERED;
    }
}

/* May come from within set_layer: what follows of it is done by xds_world_follow. */
static void on_reply(void *context, const Headgate__PushReply *reply) {
    struct xds_world *w = context;
    w->reply = kind_of(reply);
    if (w->reply == WORLD_REFUSED)
        take_refusal(w, reply);
    w->o.sink.changed(w->o.sink.context);
}

void world_push(struct xds_world *w) {
    struct config_resources set = {0};
    int status = make_set(w, &set);
    if (status == 0) {
        for_all(w, note_pushed);
        w->is_pushing = true;
        w->pushed_epoch = w->epoch;
        w->pushed_ticket = w->ticket;
        status = w->o.sink.set_layer(w->o.sink.context, &set, on_reply, w);
    }
    config_resources_finish(&set);
    w->counters.layers += status == 0;
    if (status == 0)
        return;
    w->is_pushing = false;
    retry_later(w);
}

static void use_pushed(struct xds_world *w, struct world_item *it) {
    struct world_made *pushed = it->pushed;
    it->pushed = NULL;
    world_made_replace(&it->used, pushed);
    if (!it->used)
        world_touch(w, it);
}

static void forget_pushed(struct xds_world *w, struct world_item *it) {
    world_made_replace(&it->pushed, NULL);
    if (!it->used)
        world_touch(w, it);
}

static void accept(struct xds_world *w) {
    for_all(w, use_pushed);
    w->has_layer = true;
    w->differing = 0;
    w->is_dirty |= w->limit != SIZE_MAX;
    w->limit = SIZE_MAX;
    w->failures = 0;
    if (w->p && w->pushed_epoch == w->epoch)
        xds_protocol_ready(w->p, w->pushed_ticket);
}

static void refuse_blamed(struct xds_world *w, struct world_item *it) {
    if (it->blame.n)
        world_refuse(w, it, it->pushed_ticket, strbuf_str(&it->blame));
    strbuf_reset(&it->blame);
}

static bool is_any_blamed(const struct xds_world *w) {
    static const enum xds_role order[] = {XDS_CLUSTERS, XDS_ROUTES, XDS_LISTENERS};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (const struct world_item *it = w->roles[order[i]].first; it; it = it->next)
            if (it->blame.n)
                return true;
    return false;
}

/* Nobody knows whose fault it is: with fewer changes at a time the one is found, which is the last of the fewest that are
 * refused. */
static void search(struct xds_world *w) {
    if (w->changes > w->without_effect + 1) {
        w->limit = w->changes / 2 > w->without_effect ? w->changes / 2 : w->without_effect + 1;
        w->is_dirty = true;
    } else if (w->suspect) {
        w->limit = SIZE_MAX;
        world_refuse(w, w->suspect, w->suspect->pushed_ticket, strbuf_str(&w->complaint));
    } else {
        retry_later(w);
    }
}

static void refuse(struct xds_world *w) {
    bool is_blamed = is_any_blamed(w);
    w->counters.refused_layers++;
    log_warning("what a management server has is refused", LOG_U("changes", w->changes),
                LOG_S("reason", w->complaint.n ? w->complaint.p : "see the resources"));
    if (is_blamed) {
        w->failures = 0;
        for_all(w, refuse_blamed);
    } else if (w->is_transient && !(w->is_lost && w->failures >= LOST_TOLERATED)) {
        retry_later(w);
    } else {
        search(w);
    }
    for_all(w, forget_pushed);
}

void world_take_reply(struct xds_world *w) {
    enum world_reply reply = w->reply;
    w->reply = WORLD_NO_REPLY;
    if (!w->is_pushing || reply == WORLD_NO_REPLY)
        return;
    w->is_pushing = false;
    if (reply == WORLD_ACCEPTED)
        accept(w);
    else if (reply == WORLD_REFUSED)
        refuse(w);
    else {
        for_all(w, forget_pushed);
        retry_later(w);
    }
}
