/* What a copy of a resource became: resources of ours, what they need, and secrets. */
#include "common/alloc.h"
#include "controlplane/xds/world_internal.h"

/* ---- slots: our resources by name ---- */

static struct world_slot *create_slot(struct xds_world *w, Headgate__Kind kind, struct str key) {
    struct world_slot *s = hg_malloc(sizeof *s + key.n + 1);
    if (!s)
        return NULL;
    *s = (struct world_slot){.kind = kind};
    memcpy(s->key, key.p, key.n + 1);
    s->name = strchr(s->key, '/') + 1;
    if (map_set(&w->slots, (struct str){s->key, key.n}, s) < 0) {
        hg_free(s);
        return NULL;
    }
    return s;
}

static struct world_slot *use_slot(struct xds_world *w, Headgate__Kind kind, const char *name) {
    struct strbuf key = {0};
    struct world_slot *s = NULL;
    strbuf_printf(&key, "%s/%s", kind_name(kind), name);
    if (!key.failed) {
        s = map_get(&w->slots, strbuf_str(&key));
        s = s ? s : create_slot(w, kind, strbuf_str(&key));
    }
    strbuf_finish(&key);
    if (s)
        s->uses++;
    return s;
}

static void drop_slot(struct xds_world *w, struct world_slot *s) {
    if (--s->uses > 0)
        return;
    map_remove(&w->slots, str_of(s->key));
    hg_free(s);
}

/* ---- secrets ---- */

static struct world_secret *use_secret(struct xds_world *w, const char *name) {
    struct world_secret *s = map_get(&w->secrets, str_of(name));
    if (s) {
        s->uses++;
        return s;
    }
    s = hg_malloc(sizeof *s + strlen(name) + 1);
    if (!s)
        return NULL;
    *s = (struct world_secret){.uses = 1};
    memcpy(s->name, name, strlen(name) + 1);
    if (map_set(&w->secrets, str_of(s->name), s) < 0) {
        hg_free(s);
        return NULL;
    }
    return s;
}

static void drop_secret(struct xds_world *w, struct world_secret *s) {
    if (--s->uses > 0)
        return;
    if (s->is_given && !w->is_destroyed)
        w->o.sink.drop_secret(w->o.sink.context, s->name);
    map_remove(&w->secrets, str_of(s->name));
    hg_free(s);
}

bool world_has_secrets(const struct world_made *made) {
    bool has_all = true;
    for (size_t i = 0; i < made->secret_count; i++)
        has_all &= made->secrets[i]->is_given;
    return has_all;
}

/* ---- the end ---- */

static void drop_need(struct xds_world *w, struct world_item *it) {
    it->needed--;
    if (!w->is_destroyed)
        world_touch(w, it);
}

static void drop_provided(struct xds_world *w, struct world_slot *s) {
    if (--s->provided == 0)
        s->provider = NULL;
    drop_slot(w, s);
}

static void destroy(struct world_made *made) {
    struct xds_world *w = made->world;
    for (size_t i = 0; i < made->provide_count; i++)
        drop_provided(w, made->provides[i]);
    for (size_t i = 0; i < made->reference_count; i++)
        drop_slot(w, made->references[i]);
    for (size_t i = 0; i < made->secret_count; i++)
        drop_secret(w, made->secrets[i]);
    for (size_t i = 0; i < made->need_count; i++)
        drop_need(w, made->needs[i]);
    if (made->listener)
        headgate__listener__free_unpacked(made->listener, NULL);
    hg_free(made->provides);
    hg_free(made->references);
    hg_free(made->secrets);
    hg_free(made->needs);
    hg_free(made->awaited);
    hg_free(made->resources);
    hg_free(made->bytes);
    strbuf_finish(&made->source);
    hg_free(made);
}

struct world_made *world_made_use(struct world_made *made) {
    if (made)
        made->uses++;
    return made;
}

void world_made_drop(struct world_made *made) {
    if (made && --made->uses == 0)
        destroy(made);
}

void world_made_replace(struct world_made **at, struct world_made *made) {
    struct world_made *before = *at;
    *at = made;
    world_made_drop(before);
}

void world_made_mark(const struct world_made *made) {
    for (size_t i = 0; made && i < made->reference_count; i++)
        made->references[i]->referrer = made->number;
}

bool world_made_refers(const struct world_made *made, const struct world_slot *slot) {
    return made && slot->referrer == made->number;
}

/* ---- filling ---- */

/* Names and bytes in one block; xds_made has a few kilobytes at least for each. */
static int copy_resources(struct world_made *made, const struct config_resources *set) {
    size_t size = 1, at = 0;
    for (size_t i = 0; i < set->count; i++)
        size += strlen(set->items[i].name) + 1 + set->items[i].size;
    made->bytes = hg_malloc(size);
    made->resources = hg_calloc(set->count + 1, sizeof *made->resources);
    if (!made->bytes || !made->resources)
        return -1;
    for (size_t i = 0; i < set->count; i++) {
        const struct config_resource *from = &set->items[i];
        size_t name_size = strlen(from->name) + 1;
        memcpy(made->bytes + at, from->name, name_size);
        if (from->size)
            memcpy(made->bytes + at + name_size, from->bytes, from->size);
        made->resources[i] = *from;
        made->resources[i].name = made->bytes + at;
        made->resources[i].bytes = (const uint8_t *)made->bytes + at + name_size;
        at += name_size + from->size;
    }
    made->resource_count = set->count;
    return 0;
}

static int decode_listener(struct world_made *made) {
    for (size_t i = 0; i < made->resource_count; i++)
        if (made->resources[i].kind == HEADGATE__KIND__KIND_LISTENER) {
            made->listener = headgate__listener__unpack(NULL, made->resources[i].size, made->resources[i].bytes);
            return made->listener ? 0 : -1;
        }
    return 0;
}

static int refuse_name(struct error_list *errors, const struct world_slot *slot) {
    error_addf(errors, ERROR_CONFLICT, "the %s \"%s\" that it becomes is there already, made of \"%s\"",
               kind_name(slot->kind), slot->name, slot->provider->name.p);
    return -1;
}

/* Two resources of the server cannot become the same one of ours. 0, or -1, with an error unless memory is short. */
static int provide(struct world_made *made, struct world_item *it, struct error_list *errors) {
    made->provides = hg_calloc(made->resource_count + 1, sizeof(struct world_slot *));
    if (!made->provides)
        return -1;
    for (size_t i = 0; i < made->resource_count; i++) {
        struct world_slot *s = use_slot(made->world, made->resources[i].kind, made->resources[i].name);
        if (!s)
            return -1;
        if (s->provider && s->provider != it) {
            refuse_name(errors, s);
            drop_slot(made->world, s);
            return -1;
        }
        s->provider = it;
        s->provided++;
        made->provides[made->provide_count++] = s;
    }
    return 0;
}

static int add_reference(void *context, Headgate__Kind kind, const char *name) {
    struct world_made *made = context;
    const struct config_resources *fixed = made->world->o.fixed;
    if (fixed && config_resources_find(fixed, kind, str_of(name)))
        return 0;
    if (hg_grow(&made->references, &made->reference_capacity, made->reference_count + 1, sizeof(struct world_slot *)) < 0)
        return -1;
    struct world_slot *s = use_slot(made->world, kind, name);
    if (!s)
        return -1;
    if (world_made_refers(made, s)) {
        drop_slot(made->world, s);
        return 0;
    }
    s->referrer = made->number;
    made->references[made->reference_count++] = s;
    return 0;
}

static enum xds_role role_of(const struct xds_world *w, const char *type) {
    int role = 0;
    while (role < XDS_ROLES && strcmp(w->o.translations[role].type, type) != 0)
        role++;
    return (enum xds_role)role;
}

static int add_need(struct world_made *made, const struct xds_need *need, struct error_list *errors) {
    enum xds_role role = role_of(made->world, need->type);
    if (role == XDS_ROLES) {
        error_addf(errors, ERROR_UNSUPPORTED, "it needs the %s \"%s\", of a type that is not asked for", need->type,
                   need->name);
        return -1;
    }
    if (hg_grow(&made->needs, &made->need_capacity, made->need_count + 1, sizeof(struct world_item *)) < 0
        || hg_grow(&made->awaited, &made->awaited_capacity, made->need_count + 1, sizeof *made->awaited) < 0)
        return -1;
    struct world_item *it = world_item_get(made->world, role, str_of(need->name));
    if (!it)
        return -1;
    it->needed++;
    world_touch(made->world, it);
    made->awaited[made->need_count] = (unsigned char)need->awaited;
    made->needs[made->need_count++] = it;
    if (!world_is_part(role))
        return 0;
    made->has_parts = true;
    made->part_role = role;
    return 0;
}

/* Virtual hosts by themselves are a part of the protocol only where changes are sent. */
static int check_form(const struct world_made *made, struct error_list *errors) {
    const struct xds_protocol *p = made->world->p;
    if (!made->has_parts || made->part_role != XDS_HOSTS || !p || xds_protocol_is_delta(p))
        return 0;
    struct error *e = error_addf(errors, ERROR_UNSUPPORTED, "virtual hosts by themselves come over delta streams only");
    error_set_resource(errors, e, NULL, "vhds");
    return -1;
}

static int check_name(const struct world_item *it, struct error_list *errors) {
    if (it->role != XDS_HOSTS || memchr(it->name.p, '/', it->name.n))
        return 0;
    error_addf(errors, ERROR_SYNTAX, "a virtual host by itself is named ROUTE/HOST");
    return -1;
}

/* What has parts is made again with others, and a part is a part of what is made. */
static int keep_source(struct world_made *made, const struct world_item *it, struct str bytes) {
    if (made->has_parts || made->reads_runtime || world_is_part(it->role) || it->role == XDS_RUNTIMES)
        strbuf_add_str(&made->source, bytes);
    return made->source.failed ? -1 : 0;
}

static int add_secret(struct world_made *made, const char *name) {
    if (hg_grow(&made->secrets, &made->secret_capacity, made->secret_count + 1, sizeof(struct world_secret *)) < 0)
        return -1;
    struct world_secret *s = use_secret(made->world, name);
    if (!s)
        return -1;
    made->secrets[made->secret_count++] = s;
    return 0;
}

static int fill(struct world_made *made, struct world_item *it, const struct xds_made *from, struct error_list *errors) {
    const struct config_refers refers = {add_reference, made};
    int status = copy_resources(made, &from->set);
    if (status == 0)
        status = provide(made, it, errors);
    if (status == 0)
        status = config_references(&from->set, &refers, errors);
    if (status == 0)
        status = decode_listener(made);
    for (size_t i = 0; status == 0 && i < from->need_count; i++)
        status = add_need(made, &from->needs[i], errors);
    for (size_t i = 0; status == 0 && i < from->given_count; i++) {
        made->has_keys |= from->givens[i].what != CONFIG_SECRET_TRUST;
        status = add_secret(made, from->givens[i].name);
    }
    made->is_hollow = from->is_hollow;
    made->reads_runtime = from->reads_runtime;
    made->runtime_hash = made->world->runtime.hash;
    made->reads_stream_idle = it->role == XDS_ROUTES && from->reads_stream_idle;
    made->stream_idle = from->stream_idle;
    return status == 0 ? check_form(made, errors) : -1;
}

static int translate(struct xds_world *w, enum xds_role role, const struct xds_material *from, struct xds_made *ret,
                     struct error_list *errors) {
    w->counters.translations++;
    return w->o.translations[role].translate(from, ret, errors);
}

static struct world_made *make(struct xds_world *w, struct world_item *it, const struct xds_material *material,
                               struct error_list *errors) {
    struct xds_made from = {0};
    struct world_made *made = hg_calloc(1, sizeof *made);
    int status = made ? translate(w, it->role, material, &from, errors) : -1;
    if (made) {
        made->world = w;
        made->uses = 1;
        made->number = ++w->made;
        made->hash = map_hash(material->bytes);
    }
    if (status == 0)
        status = check_name(it, errors);
    if (status == 0)
        status = fill(made, it, &from, errors);
    if (status == 0)
        status = keep_source(made, it, material->bytes);
    xds_made_finish(&from);
    if (status == 0)
        return made;
    if (error_list_is_empty(errors))
        error_addf(errors, ERROR_MEMORY, "no memory to translate it");
    world_made_drop(made);
    return NULL;
}

struct world_made *world_make(struct xds_world *w, struct world_item *it, struct str bytes, struct error_list *errors) {
    const struct xds_material material = {.bytes = bytes, .runtime = &w->runtime, .stream_idle = it->stream_idle};
    return make(w, it, &material, errors);
}

struct world_made *world_make_with(struct xds_world *w, struct world_item *it, struct str bytes,
                                   struct world_item *const *parts, size_t count, struct error_list *errors) {
    struct str *texts = hg_calloc(count + 1, sizeof *texts);
    struct world_made *made = NULL;
    for (size_t i = 0; texts && i < count; i++)
        texts[i] = strbuf_str(&parts[i]->held->source);
    if (texts)
        made = make(w, it, &(const struct xds_material){.bytes = bytes, .parts = texts, .part_count = count,
                                                        .runtime = &w->runtime, .stream_idle = it->stream_idle}, errors);
    else
        error_addf(errors, ERROR_MEMORY, "no memory to translate it");
    hg_free(texts);
    return made;
}

/* ---- giving secrets ---- */

static uint64_t hash_given(const struct xds_given *g) {
    const struct str parts[] = {g->certificate, g->key, g->ocsp, g->crl, g->rules};
    uint64_t hash = (uint64_t)g->what + 1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + map_hash(parts[i]);
    for (size_t i = 0; i < g->ticket_key_count; i++)
        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + map_hash(g->ticket_keys[i]);
    return hash;
}

static int give(struct xds_world *w, const struct xds_given *given, struct error_list *errors) {
    struct world_secret *s = map_get(&w->secrets, str_of(given->name));
    uint64_t hash = hash_given(given);
    if (!s || (s->is_given && s->hash == hash))
        return 0;
    if (w->o.sink.set_secret(w->o.sink.context, given, errors) < 0)
        return -1;
    s->is_given = true;
    s->hash = hash;
    return 0;
}

int world_give_secrets(struct xds_world *w, struct world_item *it, struct str bytes, struct error_list *errors) {
    struct xds_made from = {0};
    int status = translate(w, it->role, &(const struct xds_material){.bytes = bytes}, &from, errors);
    for (size_t i = 0; status == 0 && i < from.given_count; i++)
        status = give(w, &from.givens[i], errors);
    xds_made_finish(&from);
    if (status < 0 && error_list_is_empty(errors))
        error_addf(errors, ERROR_MEMORY, "no memory for its secrets");
    return status;
}

/* ---- errors as texts ---- */

bool world_lacks_memory(const struct error_list *errors) {
    bool lacks = errors->count == 0;
    for (size_t i = 0; i < errors->count; i++)
        lacks |= errors->items[i].code == ERROR_MEMORY;
    return lacks;
}

/* The server knows what it sent: its name stands in front already. */
void world_describe(const struct error_list *errors, struct strbuf *out) {
    for (size_t i = 0; i < errors->count; i++) {
        const struct error *e = &errors->items[i];
        if (out->n)
            strbuf_puts(out, "; ");
        if (e->path && e->path[0])
            strbuf_printf(out, "%s: ", e->path);
        strbuf_puts(out, e->message);
        if (e->expected)
            strbuf_printf(out, " (expected %s)", e->expected);
        if (e->nearest)
            strbuf_printf(out, " (did you mean \"%s\"?)", e->nearest);
    }
}
