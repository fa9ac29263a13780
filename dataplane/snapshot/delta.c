#include "dataplane/snapshot/delta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "dataplane/snapshot/messages.h"

static int fail(struct error_list *errors, enum error_code code, const char *message) {
    error_addf(errors, code, "%s", message);
    return -1;
}

static int fail_memory(struct error_list *errors) {
    return fail(errors, ERROR_MEMORY, "out of memory");
}

static int fail_entry(struct error_list *errors, enum error_code code, const Headgate__Entry *e,
                      const char *message) {
    char resource[RESOURCE_NAME_MAX + 64];
    const char *kind = kind_name(e->kind), *name = e->name ? e->name : "";
    if (kind)
        snprintf(resource, sizeof resource, "%s/%.*s", kind, RESOURCE_NAME_MAX, name);
    else
        snprintf(resource, sizeof resource, "kind %d/%.*s", (int)e->kind, RESOURCE_NAME_MAX, name);
    struct error *error = error_addf(errors, code, "%s", message);
    error_set_resource(errors, error, resource, NULL);
    return -1;
}

/* ---- entries ---- */

static int check_entry(const Headgate__Entry *e, struct error_list *errors) {
    if (!e->has_kind || !e->name)
        return fail_entry(errors, ERROR_MISSING, e, "an entry without kind or name");
    if (!kind_name(e->kind))
        return fail_entry(errors, ERROR_UNSUPPORTED, e, "unknown kind of resource");
    if (!resource_name_is_valid(str_of(e->name)))
        return fail_entry(errors, ERROR_SYNTAX, e, "not a valid resource name");
    if (e->has_id && e->id.len != RESOURCE_ID_SIZE)
        return fail_entry(errors, ERROR_SYNTAX, e, "an id is 32 bytes");
    return 0;
}

int delta_add_entries(struct entry_list *list, Headgate__Entry **entries, size_t count,
                      struct error_list *errors) {
    int status = 0;
    if (count > RESOURCES_MAX - list->count)
        return fail(errors, ERROR_RANGE, "too many entries");
    if (count && hg_grow(&list->items, &list->capacity, list->count + count, sizeof *list->items) < 0)
        return fail_memory(errors);
    for (size_t i = 0; i < count; i++) {
        if (check_entry(entries[i], errors) < 0)
            status = -1;
        else
            list->items[list->count++] = entries[i];
    }
    return status;
}

static int compare_for_sort(const void *a, const void *b) {
    return entry_compare(*(Headgate__Entry *const *)a, *(Headgate__Entry *const *)b);
}

static int sort_entries(struct entry_list *list, struct error_list *errors) {
    int status = 0;
    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, compare_for_sort);
    for (size_t i = 1; i < list->count; i++)
        if (entry_compare(list->items[i - 1], list->items[i]) == 0)
            status = fail_entry(errors, ERROR_CONFLICT, list->items[i], "stands twice in one transfer");
    return status;
}

/* ---- bodies ---- */

static struct str id_key(const struct resource_id *id) {
    return (struct str){(const char *)id->bytes, sizeof id->bytes};
}

int delta_take_body(struct delta *d, struct resource_body *body, struct error_list *errors) {
    struct resource_id actual;
    char text[2 * RESOURCE_ID_SIZE + 1];
    int status = 0;
    if (resource_id_of(body->bytes, body->size, &actual) < 0)
        status = fail_memory(errors);
    else if (!resource_id_equal(&actual, &body->id)) {
        resource_id_format(&body->id, text);
        error_addf(errors, ERROR_INTEGRITY, "the body of %s has another hash", text);
        status = -1;
    } else if (map_get(&d->bodies, id_key(&body->id)))
        resource_body_unref(body); /* sent twice: the first stays */
    else if (map_set(&d->bodies, id_key(&body->id), body) < 0)
        status = fail_memory(errors);
    if (status < 0)
        resource_body_unref(body);
    return status;
}

/* The block of the open body, with room for `more` bytes behind what it has. */
static struct resource_body *make_room(struct delta *d, size_t more) {
    if (!d->open) {
        d->open_capacity = more;
        return d->open = resource_body_create(more);
    }
    size_t need = d->open->size + more;
    if (need <= d->open_capacity)
        return d->open;
    size_t capacity = need > 2 * d->open_capacity ? need : 2 * d->open_capacity;
    struct resource_body *larger = hg_realloc(d->open, sizeof *larger + capacity);
    if (!larger)
        return NULL;
    d->open_capacity = capacity;
    return d->open = larger;
}

static int add_piece(struct delta *d, const struct resource_id *id, const ProtobufCBinaryData *piece,
                     struct error_list *errors) {
    size_t before = d->open ? d->open->size : 0;
    if (piece->len > RESOURCE_BYTES_MAX - before)
        return fail(errors, ERROR_RANGE, "a resource is larger than 64 MiB");
    if (piece->len > DELTA_BYTES_MAX - d->bytes || d->pieces++ >= RESOURCES_MAX)
        return fail(errors, ERROR_RANGE, "too many bodies in one transfer, or more than 512 MiB of them");
    struct resource_body *body = make_room(d, piece->len);
    if (!body)
        return fail_memory(errors);
    if (piece->len)
        memcpy(body->bytes + before, piece->data, piece->len);
    body->size = before + piece->len;
    body->id = *id;
    d->bytes += piece->len;
    return 0;
}

int delta_add_body(struct delta *d, const Headgate__Body *body, struct error_list *errors) {
    struct resource_id id;
    if (!body->has_id || resource_id_from_bytes(&body->id, &id) < 0)
        return fail(errors, ERROR_SYNTAX, "a body without an id of 32 bytes");
    if (d->open && !resource_id_equal(&d->open->id, &id))
        return fail(errors, ERROR_SYNTAX, "a body in pieces is interrupted by another one");
    if (add_piece(d, &id, &body->bytes, errors) < 0)
        return -1;
    if (body->more)
        return 0;
    struct resource_body *whole = d->open;
    d->open = NULL;
    return delta_take_body(d, whole, errors);
}

/* ---- putting together ---- */

struct assembly {
    struct delta              *delta;
    struct resource_set       *base;
    struct resource_set       *result;
    struct map                 base_bodies;  /* by id; made when first asked for */
    bool                       has_base_bodies;
    struct error_list         *errors;
    int                        status;
};

static void index_bodies(struct assembly *a, const struct resource_part *part) {
    for (size_t i = 0; i < part->count; i++)
        if (map_set(&a->base_bodies, id_key(&part->items[i]->body->id), part->items[i]->body) < 0)
            a->status = fail_memory(a->errors);
}

static struct resource_body *find_body(struct assembly *a, struct str key) {
    struct resource_body *body = map_get(&a->delta->bodies, key);
    if (body)
        return body;
    if (!a->has_base_bodies) {
        a->has_base_bodies = true;
        index_bodies(a, &a->base->intent);
        index_bodies(a, &a->base->state);
    }
    return map_get(&a->base_bodies, key);
}

/* A resource of that kind, name and id that is decoded already. */
static struct resource *find_known(const struct assembly *a, const Headgate__Entry *e) {
    const struct resource_part *parts[] = {&a->base->intent, &a->base->state, &a->result->intent};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct resource *r = resource_part_find(parts[i], e->kind, e->name);
        if (r && memcmp(r->id.bytes, e->id.data, RESOURCE_ID_SIZE) == 0)
            return resource_ref(r);
    }
    return NULL;
}

static struct resource *obtain(struct assembly *a, const Headgate__Entry *e) {
    if (!e->has_id) {
        a->status = fail_entry(a->errors, ERROR_MISSING, e, "an entry without an id");
        return NULL;
    }
    struct resource *r = find_known(a, e);
    if (r)
        return r;
    struct resource_body *body = find_body(a, (struct str){(const char *)e->id.data, e->id.len});
    if (!body)
        a->status = fail_entry(a->errors, ERROR_MISSING, e, "its body was not sent and is not held");
    else if (!(r = resource_create(e->kind, e->name, body, a->errors)))
        a->status = -1;
    return r;
}

/* A part's upserts and removals in one order. Resources that come have a reference of ours. */
struct changes {
    struct shared_change *items;
    size_t                count;
};

static struct entry_key key_of(const Headgate__Entry *e) {
    return (struct entry_key){e->kind, e->name, e->id.data};
}

static void add_upsert(struct assembly *a, const Headgate__Entry *e, struct changes *c) {
    struct resource *r = obtain(a, e);
    if (r)
        c->items[c->count++] = (struct shared_change){key_of(e), r};
}

static void add_removal(struct assembly *a, const struct resource_part *base, const Headgate__Entry *e, bool is_also_set,
                        struct changes *c) {
    if (is_also_set || !resource_part_find(base, e->kind, e->name))
        a->status = fail_entry(a->errors, ERROR_CONFLICT, e, "is removed, but is not there or also set");
    else
        c->items[c->count++] = (struct shared_change){.key = key_of(e)};
}

/* Both lists are sorted: one walk. */
static void collect(struct assembly *a, const struct resource_part *base, const struct delta_part *delta,
                    struct changes *c) {
    const struct entry_list *upserts = &delta->upserts, *removes = &delta->removes;
    size_t i = 0, j = 0;
    while (i < upserts->count || j < removes->count) {
        int order = i == upserts->count   ? 1
                    : j == removes->count ? -1
                                          : entry_compare(upserts->items[i], removes->items[j]);
        if (order >= 0)
            add_removal(a, base, removes->items[j++], order == 0, c);
        if (order <= 0)
            add_upsert(a, upserts->items[i++], c);
    }
}

static void apply_changes(struct assembly *a, const struct resource_part *base, const struct changes *c,
                          struct resource_part *out) {
    if (a->status == 0 && resource_part_change(base, c->items, c->count, out) < 0)
        a->status = fail_memory(a->errors);
    if (out->count > RESOURCES_MAX)
        a->status = fail(a->errors, ERROR_RANGE, "too many resources");
}

static void merge_part(struct assembly *a, struct resource_part *base, struct delta_part *delta,
                       struct resource_part *out) {
    size_t most = delta->upserts.count + delta->removes.count;
    struct changes c = {0};
    if (most == 0 && base->count && resource_part_share(out, base))
        return;
    if (sort_entries(&delta->upserts, a->errors) < 0 || sort_entries(&delta->removes, a->errors) < 0) {
        a->status = -1;
        return;
    }
    c.items = hg_malloc((most + 1) * sizeof *c.items);
    if (c.items)
        collect(a, base, delta, &c);
    else
        a->status = fail_memory(a->errors);
    apply_changes(a, base, &c, out);
    for (size_t i = 0; i < c.count; i++)
        resource_unref(c.items[i].item);
    hg_free(c.items);
}

static int matches_former_hash(const struct resource_part *part, const struct resource_id *announced) {
    struct entry_view view;
    if (entry_view_init(&view, part) < 0)
        return -1;
    int status = manifest_hash_matches(view.pointers, view.count, announced);
    entry_view_finish(&view);
    return status;
}

/* `before`: of the base, whose part may be the same. */
static void check_hash(struct assembly *a, const struct resource_part *part, const struct resource_part *base,
                       const struct resource_id *before, const struct resource_id *announced, const char *what) {
    bool is_shared = part->users && part->items == base->items;
    if ((is_shared && resource_id_equal(before, announced)) || resource_id_equal(&part->list.hash, announced))
        return;
    int status = matches_former_hash(part, announced);
    if (status < 0)
        a->status = fail_memory(a->errors);
    else if (status == 0) {
        error_addf(a->errors, ERROR_INTEGRITY, "the %s that results is not the one that was announced", what);
        a->status = -1;
    }
}

static void assemble(struct assembly *a) {
    if (a->delta->open)
        a->status = fail(a->errors, ERROR_SYNTAX, "the last body is not complete");
    merge_part(a, &a->base->intent, &a->delta->intent, &a->result->intent);
    merge_part(a, &a->base->state, &a->delta->state, &a->result->state);
    if (a->status < 0)
        return;
    const struct snapshot_identity *before = &a->base->id, *now = &a->result->id;
    check_hash(a, &a->result->intent, &a->base->intent, &before->intent_hash, &now->intent_hash, "intent");
    check_hash(a, &a->result->state, &a->base->state, &before->state_hash, &now->state_hash, "state");
}

int delta_apply(struct delta *d, struct resource_set *base, const struct snapshot_identity *identity,
                struct resource_set **ret, struct error_list *errors) {
    struct resource_set nothing = {0};
    struct assembly a = {
        .delta = d, .base = base ? base : &nothing, .result = resource_set_create(), .errors = errors};
    if (!a.result)
        return fail_memory(errors);
    a.result->id = *identity;
    assemble(&a);
    map_finish(&a.base_bodies);
    if (a.status < 0)
        resource_set_unref(a.result);
    else
        *ret = a.result;
    return a.status;
}

static void part_finish(struct delta_part *part) {
    hg_free(part->upserts.items);
    hg_free(part->removes.items);
}

void delta_finish(struct delta *d) {
    const struct map_entry *entry;
    part_finish(&d->intent);
    part_finish(&d->state);
    resource_body_unref(d->open);
    for (size_t at = 0; (entry = map_next(&d->bodies, &at));)
        resource_body_unref(entry->value);
    map_finish(&d->bodies);
    *d = (struct delta){0};
}
