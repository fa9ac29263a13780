#include "controlplane/store/internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* With more new objects than this, two syncfs calls are cheaper than an fsync for each. */
enum { SYNC_ALL_ABOVE = 16 };

/* ---- reading ---- */

static int report_object(const struct store *s, const char *path, enum error_code code, const char *message,
                         struct error_list *errors) {
    disk_report(&s->disk, path, code, message, errors);
    return -1;
}

int store_read_object(const struct store *s, const struct resource_id *id, uint8_t **ret_bytes,
                      size_t *ret_size, struct error_list *errors) {
    char path[PATH_SIZE];
    struct str bytes;
    uint64_t file_size;
    struct resource_id found;
    path_of_object(id, path);
    int status = disk_read_file(&s->disk, path, RESOURCE_BYTES_MAX, &bytes, &file_size, errors);
    if (status > 0)
        return report_object(s, path, ERROR_REFERENCE, "the object is missing", errors);
    if (status < 0)
        return -1;
    if (file_size != bytes.n || resource_id_of(bytes.p, bytes.n, &found) < 0 ||
        !resource_id_equal(&found, id)) {
        hg_free((void *)bytes.p);
        return report_object(s, path, ERROR_INTEGRITY,
                             "the object is damaged: its bytes do not have its hash", errors);
    }
    *ret_bytes = (uint8_t *)bytes.p;
    *ret_size = bytes.n;
    return 0;
}

int object_check(const struct store *s, const struct resource_id *id, uint64_t *ret_size,
                 struct error_list *errors) {
    uint8_t *bytes;
    size_t size;
    if (store_read_object(s, id, &bytes, &size, errors) < 0)
        return -1;
    hg_free(bytes);
    if (ret_size)
        *ret_size = size;
    return 0;
}

/* ---- listing ---- */

/* One name in the folder of `digit`. */
static int visit_name(unsigned digit, const char *name, object_visitor *visit, void *context) {
    char path[PATH_SIZE + NAME_MAX], canonical[PATH_SIZE], text[NAME_MAX + 2];
    struct resource_id id = {{0}};
    snprintf(path, sizeof path, OBJECTS_FOLDER "/%x/%s", digit, name);
    snprintf(text, sizeof text, "%x%s", digit, name);
    bool is_hex = hex_decode(str_of(text), id.bytes, RESOURCE_ID_SIZE) == 0;
    path_of_object(&id, canonical);
    return visit(context, path, is_hex && strcmp(path, canonical) == 0 ? &id : NULL);
}

static int open_next_folder(const struct store *s, struct object_cursor *c, struct error_list *errors) {
    char path[PATH_SIZE];
    path_of_fan_out(c->digit, path);
    strbuf_reset(&c->names);
    c->at = 0;
    c->is_open = true;
    return disk_names(&s->disk, path, &c->names, errors);
}

int objects_visit(const struct store *s, struct object_cursor *c, object_visitor *visit, void *context,
                  struct error_list *errors) {
    int status = c->is_open ? 0 : open_next_folder(s, c, errors);
    for (int i = 0; status == 0 && i < STORE_STEP_FILES && c->at < c->names.n; i++) {
        const char *name = c->names.p + c->at;
        c->at += strlen(name) + 1;
        status = visit_name(c->digit, name, visit, context);
    }
    if (status < 0)
        return -1;
    if (c->at == c->names.n) {
        c->is_open = false;
        c->digit++;
    }
    return c->digit < FAN_OUT;
}

void object_cursor_finish(struct object_cursor *c) {
    strbuf_finish(&c->names);
}

/* ---- writing ---- */

static void path_of_temporary(size_t index, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, TEMPORARY_FOLDER "/object-%zu", index);
}

static int write_temporaries(struct object_writer *w, bool sync, struct error_list *errors) {
    char path[PATH_SIZE];
    for (; w->written < w->count; w->written++) {
        const struct store_resource *r = w->new_objects[w->written];
        struct str bytes = {r->bytes, r->size};
        path_of_temporary(w->written, path);
        if (disk_write_file(&w->store->disk, path, &bytes, 1, sync, errors) < 0)
            return -1;
    }
    return 0;
}

static int place_objects(struct object_writer *w, struct error_list *errors) {
    char from[PATH_SIZE], to[PATH_SIZE];
    for (; w->placed < w->count; w->placed++) {
        path_of_temporary(w->placed, from);
        path_of_object(&w->new_objects[w->placed]->id, to);
        w->existed[w->placed] = disk_file_size(&w->store->disk, to) >= 0;
        if (disk_rename(&w->store->disk, from, to, errors) < 0)
            return -1;
    }
    return 0;
}

/* Each folder once: the objects come sorted by id. */
static int sync_fan_outs(const struct object_writer *w, struct error_list *errors) {
    char path[PATH_SIZE];
    int last = -1;
    for (size_t i = 0; i < w->count; i++) {
        int digit = w->new_objects[i]->id.bytes[0] >> 4;
        path_of_fan_out((unsigned)digit, path);
        if (digit != last && disk_sync_folder(&w->store->disk, path, errors) < 0)
            return -1;
        last = digit;
    }
    return 0;
}

static int write_steps(struct object_writer *w, struct error_list *errors) {
    const struct disk *disk = &w->store->disk;
    bool sync_all = w->count > SYNC_ALL_ABOVE;
    if (write_temporaries(w, !sync_all, errors) < 0)
        return -1;
    /* Bytes before names: a name that outlives a power cut must stand for whole bytes. */
    if (sync_all && disk_sync_all(disk, errors) < 0)
        return -1;
    if (place_objects(w, errors) < 0)
        return -1;
    return sync_all ? disk_sync_all(disk, errors) : sync_fan_outs(w, errors);
}

static int compare_ids(const void *a, const void *b) {
    const struct store_resource *const *left = a, *const *right = b;
    return memcmp((*left)->id.bytes, (*right)->id.bytes, RESOURCE_ID_SIZE);
}

/* Sorts by id and leaves each id once. */
static void sort_objects(struct object_writer *w) {
    size_t kept = 0;
    if (w->count > 1)
        qsort(w->new_objects, w->count, sizeof *w->new_objects, compare_ids);
    for (size_t i = 0; i < w->count; i++)
        if (i == 0 || compare_ids(&w->new_objects[i], &w->new_objects[kept - 1]) != 0)
            w->new_objects[kept++] = w->new_objects[i];
    w->count = kept;
}

int objects_write(struct object_writer *w, struct error_list *errors) {
    sort_objects(w);
    w->existed = hg_calloc(w->count, sizeof *w->existed);
    if (!w->existed)
        return report_memory(w->store, errors);
    if (write_steps(w, errors) == 0)
        return 0;
    objects_undo(w);
    return -1;
}

/* What cannot be removed now is removed by store_open (temporaries) or store_gc (objects). */
void objects_undo(struct object_writer *w) {
    struct error_list unused = {0};
    char path[PATH_SIZE];
    for (size_t i = w->placed; i < w->written; i++) {
        path_of_temporary(i, path);
        disk_remove(&w->store->disk, path, &unused);
    }
    for (size_t i = 0; i < w->placed; i++) {
        path_of_object(&w->new_objects[i]->id, path);
        if (!w->existed[i])
            disk_remove(&w->store->disk, path, &unused);
    }
    error_list_finish(&unused);
}

void object_writer_finish(struct object_writer *w) {
    hg_free(w->new_objects);
    hg_free(w->existed);
    *w = (struct object_writer){0};
}
