/* What etcd has below PREFIX/config/, and the values of a configuration. */
#include "controlplane/etcd/intent.h"

#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/config/schema/schema.h"
#include "controlplane/etcd/intent_internal.h"

/* ---- values ---- */

static int add_value(struct etcd_values *v, const char *resource, size_t part, struct str text) {
    if (hg_grow(&v->items, &v->capacity, v->count + 1, sizeof *v->items) < 0)
        return -1;
    struct etcd_value *value = &v->items[v->count];
    value->key = arena_printf(&v->arena, "%s/%04zu", resource, part);
    value->text = arena_str(&v->arena, text);
    v->count += value->key && value->text.p;
    return value->key && value->text.p ? 0 : -1;
}

static int add_parts(struct etcd_values *v, const char *resource, struct str text) {
    size_t part = 0;
    int status = 0;
    do {
        size_t n = text.n < ETCD_PART_MAX ? text.n : ETCD_PART_MAX;
        status = add_value(v, resource, part++, (struct str){text.p, n});
        text.p += n;
        text.n -= n;
    } while (status == 0 && text.n > 0);
    return status;
}

static int add_resource(struct etcd_values *v, const struct config_resources *set, const struct config_resource *r,
                        struct error_list *errors) {
    const struct config_render_options json = {.is_json = true};
    char resource[RESOURCE_NAME_MAX + 64];
    struct strbuf text = {0};
    snprintf(resource, sizeof resource, "%s/%s", kind_name(r->kind), r->name);
    int status = config_render_one(set, r->kind, str_of(r->name), &json, &text, errors);
    if (status == 0 && add_parts(v, resource, str_trim(strbuf_str(&text))) < 0) {
        error_addf(errors, ERROR_MEMORY, "out of memory");
        status = -1;
    }
    strbuf_finish(&text);
    return status;
}

/* A cluster has its endpoints in it. */
static bool has_value(Headgate__Kind kind) {
    return kind != HEADGATE__KIND__KIND_SETTINGS && kind != HEADGATE__KIND__KIND_ENDPOINT_SET;
}

int etcd_values_make(const struct config_resources *set, struct etcd_values *ret, struct error_list *errors) {
    *ret = (struct etcd_values){0};
    for (size_t i = 0; i < set->count; i++)
        if (has_value(set->items[i].kind) && add_resource(ret, set, &set->items[i], errors) < 0)
            return -1;
    return 0;
}

void etcd_values_finish(struct etcd_values *v) {
    hg_free(v->items);
    arena_finish(&v->arena);
}

/* ---- what etcd has ---- */

static size_t size_with(struct str key, struct str value) {
    return sizeof(struct etcd_entry) + key.n + value.n;
}

static void drop(struct etcd_intent *i, struct etcd_entry *e) {
    map_remove(&i->by_key, e->key);
    *e->place = e->next;
    if (e->next)
        e->next->place = e->place;
    i->bytes -= size_with(e->key, e->value);
    hg_free(e);
}

void etcd_intent_finish(struct etcd_intent *i) {
    while (i->first)
        drop(i, i->first);
    map_finish(&i->by_key);
}

void etcd_intent_list(struct etcd_intent *i) {
    i->round++;
    i->is_listing = true;
    i->left_out = 0;
}

static void leave_out(struct etcd_intent *i, size_t size) {
    if (i->left_out++ == 0 || size < i->room_due)
        i->room_due = size;
}

static struct etcd_entry *create_entry(struct str key, struct str value) {
    struct etcd_entry *e = hg_malloc(size_with(key, value));
    if (!e)
        return NULL;
    char *text = (char *)(e + 1);
    *e = (struct etcd_entry){.key = {text, key.n}, .value = {text + key.n, value.n}};
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, value.p, value.n);
    return e;
}

bool etcd_intent_set(struct etcd_intent *i, struct str key, struct str value, int64_t modified) {
    struct etcd_entry *old = map_get(&i->by_key, key);
    size_t size = size_with(key, value);
    if (old && old->modified == modified && str_eq(old->value, value)) {
        old->round = i->round;
        return true;
    }
    if (old)
        drop(i, old);
    if (i->bytes + size > ETCD_INTENT_MAX) {
        leave_out(i, size);
        return true;
    }
    struct etcd_entry *e = create_entry(key, value);
    if (!e || map_set(&i->by_key, e->key, e) < 0) {
        hg_free(e);
        return false;
    }
    e->modified = modified;
    e->round = i->round;
    e->next = i->first;
    e->place = &i->first;
    if (e->next)
        e->next->place = &e->next;
    i->first = e;
    i->bytes += size;
    return true;
}

void etcd_intent_removed(struct etcd_intent *i, struct str key) {
    struct etcd_entry *e = map_get(&i->by_key, key);
    if (e)
        drop(i, e);
    else
        i->room_due = 0; /* only what was left out is not known */
}

void etcd_intent_settled(struct etcd_intent *i) {
    for (struct etcd_entry *e = i->first, *next; i->is_listing && e; e = next) {
        next = e->next;
        if (e->round != i->round)
            drop(i, e);
    }
    i->is_listing = false;
    i->is_known = true;
}

bool etcd_intent_is_list_due(const struct etcd_intent *i) {
    return i->left_out > 0 && i->bytes + i->room_due <= ETCD_INTENT_MAX;
}

bool etcd_intent_has_current(const struct etcd_intent *i, int64_t *ret_modified) {
    const struct etcd_entry *e = map_get(&i->by_key, STR(ETCD_CURRENT));
    *ret_modified = e ? e->modified : 0;
    return e != NULL;
}
