#include "dataplane/snapshot/resource_set.h"

#include <string.h>

#include "common/alloc.h"

/* ---- bodies ---- */

struct resource_body *resource_body_create(size_t size) {
    struct resource_body *body = hg_malloc(sizeof *body + size);
    if (!body)
        return NULL;
    *body = (struct resource_body){.refcount = 1, .size = size};
    return body;
}

struct resource_body *resource_body_ref(struct resource_body *body) {
    body->refcount++;
    return body;
}

void resource_body_unref(struct resource_body *body) {
    if (body && --body->refcount == 0)
        hg_free(body);
}

/* ---- resources ---- */

/* A message of many pieces is put together and freed at once, which takes a fraction of the time. For a small one an arena
 * would be too large. */
static bool is_large(const struct resource_body *body) {
    enum { LARGE = 1024 };
    return body->size >= LARGE;
}

struct resource *resource_create(Headgate__Kind kind, const char *name, struct resource_body *body,
                                 struct error_list *errors) {
    size_t name_size = strlen(name) + 1;
    struct resource *r = hg_malloc(sizeof *r + name_size);
    if (!r) {
        error_addf(errors, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    *r = (struct resource){.kind = kind, .refcount = 1, .id = body->id, .bytes = body->bytes, .size = body->size};
    memcpy(r->name, name, name_size);
    struct arena *arena = is_large(body) ? &r->arena : NULL;
    r->message = resource_decode_into(arena, kind, str_of(name), body->bytes, body->size, errors);
    if (!r->message) {
        arena_finish(&r->arena);
        hg_free(r);
        return NULL;
    }
    r->body = resource_body_ref(body);
    return r;
}

struct resource *resource_ref(struct resource *r) {
    r->refcount++;
    return r;
}

void resource_unref(struct resource *r) {
    if (!r || --r->refcount > 0)
        return;
    if (!is_large(r->body))
        protobuf_c_message_free_unpacked(r->message, NULL);
    arena_finish(&r->arena);
    resource_body_unref(r->body);
    hg_free(r);
}

/* ---- parts ---- */

int resource_key_compare(Headgate__Kind a_kind, const char *a_name, Headgate__Kind b_kind,
                         const char *b_name) {
    if (a_kind != b_kind)
        return a_kind < b_kind ? -1 : 1;
    return strcmp(a_name, b_name);
}

size_t resource_part_position(const struct resource_part *part, Headgate__Kind kind, const char *name) {
    size_t low = 0, high = part->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct resource *r = part->items[middle];
        if (resource_key_compare(r->kind, r->name, kind, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct resource *resource_part_find(const struct resource_part *part, Headgate__Kind kind, const char *name) {
    size_t at = resource_part_position(part, kind, name);
    if (at == part->count ||
        resource_key_compare(part->items[at]->kind, part->items[at]->name, kind, name) != 0)
        return NULL;
    return part->items[at];
}

struct resource_range resource_part_of_kind(const struct resource_part *part, Headgate__Kind kind) {
    size_t first = resource_part_position(part, kind, "");
    size_t end = resource_part_position(part, (Headgate__Kind)(kind + 1), "");
    return (struct resource_range){part->items ? part->items + first : NULL, end - first};
}

static struct entry_key key_of(const void *item) {
    const struct resource *r = item;
    return (struct entry_key){r->kind, r->name, r->id.bytes};
}

static void ref_item(void *item) {
    resource_ref(item);
}

static void unref_item(void *item) {
    resource_unref(item);
}

int resource_part_change(const struct resource_part *base, const struct shared_change *changes, size_t count,
                         struct resource_part *ret) {
    static const struct shared_ops ops = {.key = key_of, .ref = ref_item, .unref = unref_item};
    struct resource_part p = {0};
    if (shared_list_change(&base->list, &ops, changes, count, &p.list) < 0)
        return -1;
    p.items = hg_malloc((p.list.count + 1) * sizeof *p.items);
    if (!p.items) {
        shared_list_finish(&p.list);
        return -1;
    }
    for (size_t i = 0; i < p.list.group_count; i++)
        for (size_t j = 0; j < p.list.groups[i]->count; j++)
            p.items[p.count++] = p.list.groups[i]->items[j];
    *ret = p;
    return 0;
}

bool resource_part_share(struct resource_part *to, struct resource_part *from) {
    if (!from->count)
        return false;
    if (!from->users) {
        from->users = hg_malloc(sizeof *from->users);
        if (!from->users)
            return false;
        *from->users = 1;
    }
    ++*from->users;
    *to = *from;
    return true;
}

void resource_part_finish(struct resource_part *part) {
    bool is_last = !part->users || --*part->users == 0;
    if (is_last) {
        shared_list_finish(&part->list);
        hg_free(part->items);
        hg_free(part->users);
    }
    *part = (struct resource_part){0};
}

/* ---- sets ---- */

const struct resource *resource_set_find(const struct resource_set *set, Headgate__Kind kind,
                                         const char *name) {
    const struct resource *r = resource_part_find(&set->state, kind, name);
    return r ? r : resource_part_find(&set->intent, kind, name);
}

struct resource_set *resource_set_create(void) {
    struct resource_set *set = hg_calloc(1, sizeof *set);
    if (set)
        set->refcount = 1;
    return set;
}

struct resource_set *resource_set_ref(struct resource_set *set) {
    set->refcount++;
    return set;
}

void resource_set_unref(struct resource_set *set) {
    if (!set || --set->refcount > 0)
        return;
    resource_part_finish(&set->intent);
    resource_part_finish(&set->state);
    hg_free(set);
}
