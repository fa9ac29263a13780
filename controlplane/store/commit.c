#include "controlplane/store/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"

/* ---- what is given ---- */

static int refuse(const struct store_resource *r, enum error_code code, const char *message,
                  struct error_list *errors) {
    char resource[RESOURCE_NAME_MAX + 32];
    const char *kind = kind_name(r->kind), *name = r->name ? r->name : "";
    if (kind)
        snprintf(resource, sizeof resource, "%s/%.*s", kind, RESOURCE_NAME_MAX, name);
    else
        snprintf(resource, sizeof resource, "kind %d/%.*s", (int)r->kind, RESOURCE_NAME_MAX, name);
    error_set_resource(errors, error_addf(errors, code, "%s", message), resource, NULL);
    return -1;
}

static int check_resource(const struct store_resource *r, struct error_list *errors) {
    if (!kind_name(r->kind))
        return refuse(r, ERROR_UNSUPPORTED, "unknown kind of resource", errors);
    if (!resource_name_is_valid(str_of(r->name)))
        return refuse(r, ERROR_SYNTAX, "not a valid resource name", errors);
    if (r->size > RESOURCE_BYTES_MAX)
        return refuse(r, ERROR_RANGE, "resource is too large", errors);
    if (r->layer >= STORE_LAYERS_MAX)
        return refuse(r, ERROR_RANGE, "of a layer that there cannot be", errors);
    return 0;
}

static int check_commit(const struct store *s, const struct store_commit *c, struct error_list *errors) {
    if (check_writable(s, errors) < 0)
        return -1;
    if (c->parent != s->head.newest) {
        error_addf(errors, ERROR_STATE, "made from version %" PRIu64 ", but the newest is %" PRIu64,
                   c->parent, s->head.newest);
        return -1;
    }
    if (c->count > RESOURCES_MAX || c->hidden_count > RESOURCES_MAX) {
        error_addf(errors, ERROR_RANGE, "%zu resources, at most %d", c->count > RESOURCES_MAX ? c->count : c->hidden_count,
                   RESOURCES_MAX);
        return -1;
    }
    if (strlen(c->author ? c->author : "") > STORE_AUTHOR_MAX) {
        error_addf(errors, ERROR_RANGE, "the author has more than %d bytes", STORE_AUTHOR_MAX);
        return -1;
    }
    if (strlen(c->message ? c->message : "") > STORE_MESSAGE_MAX) {
        error_addf(errors, ERROR_RANGE, "the message has more than %d bytes", STORE_MESSAGE_MAX);
        return -1;
    }
    int status = 0;
    for (size_t i = 0; i < c->count; i++)
        if (check_resource(&c->resources[i], errors) < 0)
            status = -1;
    for (size_t i = 0; i < c->hidden_count; i++)
        if (check_resource(&c->hidden[i], errors) < 0)
            status = -1;
    return status;
}

/* ---- sorting ---- */

static int compare_resources(const void *a, const void *b) {
    const struct store_resource *left = *(const struct store_resource *const *)a;
    const struct store_resource *right = *(const struct store_resource *const *)b;
    if (left->kind != right->kind)
        return left->kind < right->kind ? -1 : 1;
    return strcmp(left->name, right->name);
}

/* Pointers to the resources in the order of manifests, in `arena`; NULL with an error. */
static const struct store_resource **sort_resources(const struct store *s, const struct store_commit *c,
                                                    struct arena *arena, struct error_list *errors) {
    const struct store_resource **sorted = arena_alloc(arena, c->count * sizeof *sorted);
    bool in_order = true, has_twice = false;
    if (!sorted) {
        report_memory(s, errors);
        return NULL;
    }
    for (size_t i = 0; i < c->count; i++) {
        sorted[i] = &c->resources[i];
        if (i && compare_resources(&sorted[i - 1], &sorted[i]) > 0)
            in_order = false;
    }
    if (!in_order)
        qsort(sorted, c->count, sizeof *sorted, compare_resources);
    for (size_t i = 1; i < c->count; i++)
        if (compare_resources(&sorted[i - 1], &sorted[i]) == 0) {
            refuse(sorted[i], ERROR_CONFLICT, "given twice", errors);
            has_twice = true;
        }
    return has_twice ? NULL : sorted;
}

/* ---- the new manifest ---- */

static int fill_entries(struct store_manifest *m, const struct store_resource *const *sorted, size_t count) {
    struct store_entry *entries = arena_alloc(&m->arena, count * sizeof *entries);
    for (size_t i = 0; entries && i < count; i++) {
        char *name = arena_strdup(&m->arena, sorted[i]->name);
        if (!name)
            return -1;
        entries[i] = (struct store_entry){
            .kind = sorted[i]->kind, .name = name, .id = sorted[i]->id, .layer = sorted[i]->layer};
    }
    m->entries = entries;
    return entries ? 0 : -1;
}

static int compare_hidden(const void *a, const void *b) {
    return entry_compare_hidden(a, b);
}

static int sort_hidden(const struct store *s, struct store_manifest *m, struct store_entry *hidden,
                       struct error_list *errors) {
    if (m->hidden_count)
        qsort(hidden, m->hidden_count, sizeof *hidden, compare_hidden);
    for (size_t i = 1; i < m->hidden_count; i++)
        if (compare_hidden(&hidden[i - 1], &hidden[i]) == 0) {
            disk_report(&s->disk, NULL, ERROR_CONFLICT, "a hidden resource is given twice", errors);
            return -1;
        }
    return 0;
}

static int fill_hidden(const struct store *s, struct store_manifest *m, const struct store_commit *c,
                       struct error_list *errors) {
    struct store_entry *hidden = arena_alloc(&m->arena, c->hidden_count * sizeof *hidden);
    if (!hidden)
        return report_memory(s, errors);
    for (size_t i = 0; i < c->hidden_count; i++) {
        const struct store_resource *r = &c->hidden[i];
        char *name = arena_strdup(&m->arena, r->name);
        if (!name)
            return report_memory(s, errors);
        hidden[i] = (struct store_entry){.kind = r->kind, .name = name, .id = r->id, .layer = r->layer};
    }
    m->hidden = hidden;
    m->hidden_count = c->hidden_count;
    return sort_hidden(s, m, hidden, errors);
}

/* A discovered version passes on what it knows of the last push. */
static void follow_pushed(struct store_manifest *m, const struct store *s) {
    const struct store_manifest *parent = s->current;
    if (!parent)
        return;
    bool is_pushed = parent->version.layer == 0;
    m->version.pushed_before = is_pushed ? parent->version.number : parent->version.pushed_before;
    m->pushed_hash = is_pushed ? parent->version.hash : parent->pushed_hash;
}

static int fill_version(struct store_manifest *m, const struct store *s, const struct store_commit *c) {
    m->version = (struct store_version){
        .number = s->head.newest + 1,
        .parent = s->head.newest,
        .restores = c->restores,
        .time_us = c->time_us ? c->time_us : clock_realtime_us(),
        .author = arena_strdup(&m->arena, c->author ? c->author : ""),
        .message = arena_strdup(&m->arena, c->message ? c->message : ""),
        .resources = c->count,
        .layer = c->layer,
    };
    follow_pushed(m, s);
    return m->version.author && m->version.message ? 0 : -1;
}

/* ---- which objects are new ---- */

static struct str id_key(const struct resource_id *id) {
    return (struct str){(const char *)id->bytes, RESOURCE_ID_SIZE};
}

static int current_ids(const struct store *s, struct map *ids) {
    size_t count = s->current ? s->current->version.resources + s->current->hidden_count : 0;
    for (size_t i = 0; i < count; i++)
        if (map_set(ids, id_key(&manifest_entry(s->current, i)->id), s->current) < 0)
            return -1;
    return 0;
}

/* Bytes must have the id that they are given with: the name of an object is what verify trusts. */
static int check_bytes(const struct store *s, const struct store_resource *r, struct error_list *errors) {
    struct resource_id id;
    if (resource_id_of(r->bytes, r->size, &id) < 0)
        return report_memory(s, errors);
    if (!resource_id_equal(&id, &r->id))
        return refuse(r, ERROR_INTEGRITY, "the bytes do not have the id that they are given with", errors);
    return 0;
}

static int add_object(struct object_writer *w, const struct store_resource *r, struct error_list *errors) {
    if (!r->bytes) {
        if (object_check(w->store, &r->id, NULL, errors) == 0)
            return 0;
        return refuse(r, ERROR_REFERENCE, "is given without bytes, and the store does not have its object",
                      errors);
    }
    if (check_bytes(w->store, r, errors) < 0)
        return -1;
    if (hg_grow(&w->new_objects, &w->capacity, w->count + 1, sizeof *w->new_objects) < 0)
        return report_memory(w->store, errors);
    w->new_objects[w->count++] = r;
    return 0;
}

static int choose_objects(struct object_writer *w, const struct store_commit *c, struct error_list *errors) {
    struct map ids = {0};
    int status = current_ids(w->store, &ids);
    if (status < 0)
        report_memory(w->store, errors);
    for (size_t i = 0; status == 0 && i < c->count + c->hidden_count; i++) {
        const struct store_resource *r = i < c->count ? &c->resources[i] : &c->hidden[i - c->count];
        if (!map_get(&ids, id_key(&r->id)))
            status = add_object(w, r, errors);
    }
    map_finish(&ids);
    return status;
}

/* ---- writing ---- */

/* The frames of a version file. */
struct frames {
    struct str items[VERSION_FRAMES_MAX];
    size_t count;
};

static int write_version(struct store *s, uint64_t number, const struct frames *frames, struct error_list *errors) {
    static const char temporary[] = TEMPORARY_FOLDER "/version";
    char path[PATH_SIZE];
    path_of_version(number, path);
    if (disk_write_file(&s->disk, temporary, frames->items, frames->count, true, errors) < 0)
        return -1;
    if (disk_rename(&s->disk, temporary, path, errors) < 0) {
        disk_remove(&s->disk, temporary, errors);
        return -1;
    }
    if (disk_sync_folder(&s->disk, VERSIONS_FOLDER, errors) == 0)
        return 0;
    disk_remove(&s->disk, path, errors);
    return -1;
}

/* The head is the last to be written: without it nothing of the new version counts. */
static int write_head(struct store *s, const struct store_manifest *m, bool pin, struct error_list *errors) {
    struct head head = {
        .newest = m->version.number,
        .oldest = s->head.oldest ? s->head.oldest : m->version.number,
        .whole_from = s->head.whole_from ? s->head.whole_from : m->version.number,
        .newest_hash = m->version.hash,
        .pinned = pin,
    };
    char path[PATH_SIZE];
    if (head_write(s, &head, errors) == 0)
        return 0;
    path_of_version(m->version.number, path);
    if (!s->is_uncertain)
        disk_remove(&s->disk, path, errors);
    return -1;
}

static int write_all(struct store *s, const struct store_commit *c, struct store_manifest *m,
                     const struct frames *frames, struct error_list *errors) {
    struct object_writer w = {.store = s};
    int status = choose_objects(&w, c, errors);
    if (status == 0)
        status = objects_write(&w, errors);
    if (status == 0) {
        status = write_version(s, m->version.number, frames, errors);
        if (status == 0)
            status = write_head(s, m, c->pin, errors);
        if (status < 0 && !s->is_uncertain)
            objects_undo(&w);
    }
    object_writer_finish(&w);
    return status;
}

/* From now on older programs refuse the folder. */
static int raise_format(struct store *s, struct error_list *errors) {
    char text[128];
    int before = s->format;
    if (before == STORE_FORMAT)
        return 0;
    s->format = STORE_FORMAT;
    format_text(s, text);
    struct str part = str_of(text);
    if (replace_file(s, FORMAT_FILE, &part, 1, errors) == 0)
        return 0;
    s->format = before;
    return -1;
}

static int commit_sorted(struct store *s, const struct store_commit *c,
                         const struct store_resource *const *sorted, struct store_manifest *m,
                         struct arena *arena, struct error_list *errors) {
    struct frames frames;
    const struct resource_id *parent_hash = s->head.newest ? &s->head.newest_hash : NULL;
    if (fill_hidden(s, m, c, errors) < 0)
        return -1;
    if (fill_entries(m, sorted, c->count) < 0 || fill_version(m, s, c) < 0 ||
        version_encode(s, m, parent_hash, arena, frames.items, &frames.count) < 0)
        return report_memory(s, errors);
    bool is_plain = !layers_has_any(m) && m->version.layer == 0 && m->version.pushed_before == m->version.parent;
    if (!is_plain && raise_format(s, errors) < 0)
        return -1;
    return write_all(s, c, m, &frames, errors);
}

int store_commit(struct store *s, const struct store_commit *commit, struct error_list *errors) {
    if (check_commit(s, commit, errors) < 0)
        return -1;
    struct arena arena = {0};
    const struct store_resource **sorted = sort_resources(s, commit, &arena, errors);
    struct store_manifest *m = sorted ? manifest_create() : NULL;
    int status = -1;
    if (m)
        status = commit_sorted(s, commit, sorted, m, &arena, errors);
    else if (sorted)
        report_memory(s, errors);
    arena_finish(&arena);
    if (status < 0) {
        store_manifest_unref(m);
        return -1;
    }
    manifest_enlist(s, m);
    store_manifest_unref(s->current);
    s->current = m;
    s->kept.whole_from = s->head.whole_from;
    return 0;
}
