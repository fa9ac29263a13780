#include "controlplane/store/internal.h"

#include "common/clock.h"

struct collection {
    struct store *store;
    bool dry_run;
    struct store_gc_result result;
    struct error_list *errors;
    struct arena arena; /* of the keys */
    struct map needed;  /* ids of objects that stay */
};

/* ---- what stays ---- */

/* 1, 0, or -1 with an error. A damaged record has no age, so it keeps nothing by it; but one that only could
 * not be read now, for want of memory or of an answer from the disk, must not be dropped for that. */
static int is_young(struct collection *c, uint64_t number, const struct store_retention *retention) {
    struct error_list found = {0};
    struct arena arena = {0};
    struct record r;
    uint64_t now = retention->now_us ? retention->now_us : clock_realtime_us();
    int status = record_read(c->store, number, &arena, &r, &found);
    int young = status == 0 && (r.version.time_us > now || now - r.version.time_us < retention->age_us);
    if (status < 0 && (found.count == 0 || found.items[0].code != ERROR_INTEGRITY)) {
        error_list_add(c->errors, found.count ? &found.items[0] : &(struct error){.code = ERROR_MEMORY});
        young = -1;
    }
    error_list_finish(&found);
    arena_finish(&arena);
    return young;
}

static int find_first_kept(struct collection *c, const struct store_retention *retention,
                           uint64_t *ret_number) {
    const struct head *head = &c->store->head;
    uint64_t keep = retention->versions ? retention->versions : 1, number = head->oldest;
    for (; number && head->newest - number >= keep; number++) {
        int young = retention->age_us ? is_young(c, number, retention) : 0;
        if (young < 0)
            return -1;
        if (young)
            break;
    }
    *ret_number = number;
    return 0;
}

static int need_all(struct collection *c, const struct store_manifest *m) {
    for (size_t i = 0; i < m->version.resources; i++) {
        struct str key = {(const char *)m->entries[i].id.bytes, RESOURCE_ID_SIZE};
        if (map_get(&c->needed, key))
            continue;
        key.p = arena_memdup(&c->arena, key.p, key.n);
        if (!key.p || map_set(&c->needed, key, c) < 0)
            return report_memory(c->store, c->errors);
    }
    return 0;
}

static int need_version(struct collection *c, uint64_t number) {
    struct store_manifest *m = version_read(c->store, number, NULL, c->errors);
    int status = m ? need_all(c, m) : -1;
    store_manifest_unref(m);
    return status;
}

/* The newest version is in memory, and so is all that somebody holds. */
static int find_needed(struct collection *c, uint64_t oldest) {
    for (const struct store_manifest *m = c->store->live; m; m = m->next)
        if (need_all(c, m) < 0)
            return -1;
    for (uint64_t number = oldest; number && number < c->store->head.newest; number++)
        if (need_version(c, number) < 0)
            return -1;
    return 0;
}

/* ---- what goes ---- */

static int drop_file(struct collection *c, const char *path, uint64_t *counter) {
    int64_t size = disk_file_size(&c->store->disk, path);
    if (!c->dry_run && disk_remove(&c->store->disk, path, c->errors) < 0)
        return -1;
    c->result.bytes += size > 0 ? (uint64_t)size : 0;
    *counter += 1;
    return 0;
}

/* The head goes first: from then on the dropped versions are leftovers that store_open removes, whatever
 * happens here. */
static int drop_versions(struct collection *c, uint64_t oldest) {
    uint64_t number = c->store->head.oldest;
    struct head head = c->store->head;
    head.oldest = oldest;
    if (number == oldest || (!c->dry_run && head_write(c->store, &head, c->errors) < 0))
        return number == oldest ? 0 : -1;
    for (; number < oldest; number++) {
        char path[PATH_SIZE];
        path_of_version(number, path);
        if (drop_file(c, path, &c->result.versions) < 0)
            return -1;
    }
    return 0;
}

static int drop_object(void *context, const char *path, const struct resource_id *id) {
    struct collection *c = context;
    if (!id || map_get(&c->needed, (struct str){(const char *)id->bytes, RESOURCE_ID_SIZE}))
        return 0;
    return drop_file(c, path, &c->result.objects);
}

int store_gc(struct store *s, const struct store_retention *retention, bool dry_run,
             struct store_gc_result *ret_result, struct error_list *errors) {
    struct collection c = {.store = s, .dry_run = dry_run, .errors = errors};
    if (check_writable(s, errors) < 0)
        return -1;
    uint64_t oldest;
    int status = find_first_kept(&c, retention, &oldest);
    if (status == 0)
        status = find_needed(&c, oldest);
    if (status == 0)
        status = drop_versions(&c, oldest);
    if (status == 0)
        status = objects_list(s, drop_object, &c, errors);
    map_finish(&c.needed);
    arena_finish(&c.arena);
    if (status == 0)
        *ret_result = c.result;
    return status;
}
