#include "controlplane/store/internal.h"

#include "common/clock.h"

/* Moves forward only. */
enum phase { CHOOSE, MARK, DROP_HEAD, DROP_VERSIONS, DROP_OBJECTS, OVER };

struct store_collection {
    struct store *store;
    struct store_retention retention;
    bool dry_run;
    enum phase phase;
    uint64_t number; /* CHOOSE, DROP_VERSIONS: the version that is next; 0: none */
    uint64_t pushed, discovered; /* CHOOSE: how many stay, so far */
    struct kept before, stay; /* stay.whole_from is 0 until it is known */
    uint64_t oldest; /* the first that stays */
    uint64_t marked; /* up to here the versions that stay are marked */
    struct object_cursor objects;
    struct store_gc_result result;
    struct error_list *errors;
    struct arena arena; /* of the keys */
    struct map needed;  /* ids of objects that stay */
};

/* ---- what stays ---- */

/* What is to be known of a version to choose. A damaged one has no age, and counts as pushed: if it is to stay, that is
 * refused later. */
struct candidate {
    uint64_t number, next; /* next: the next older one */
    bool is_discovered, is_young;
};

/* 0, or -1 with an error: what only could not be read now, for want of memory or of an answer from the disk, must not be
 * dropped for that. */
static int look(struct store_collection *c, uint64_t number, struct candidate *ret) {
    const struct store_retention *retention = &c->retention;
    struct error_list found = {0};
    struct arena arena = {0};
    struct record r;
    uint64_t now = retention->now_us ? retention->now_us : clock_realtime_us();
    int status = record_read(c->store, number, &arena, &r, &found);
    *ret = (struct candidate){.number = number, .next = kept_before(&c->before, number)};
    if (status == 0) {
        ret->is_discovered = r.version.layer != 0;
        ret->is_young = !ret->is_discovered && (r.version.time_us > now || now - r.version.time_us < retention->age_us);
    }
    if (status < 0 && found.count && found.items[0].code == ERROR_INTEGRITY)
        status = 0;
    else if (status < 0)
        error_list_add(c->errors, found.count ? &found.items[0] : &(struct error){.code = ERROR_MEMORY});
    error_list_finish(&found);
    arena_finish(&arena);
    return status;
}

static void end_choice(struct store_collection *c) {
    if (c->stay.whole_from == 0)
        c->stay.whole_from = c->oldest;
    kept_sort(&c->stay);
    c->phase = MARK;
}

static int keep(struct store_collection *c, const struct candidate *v) {
    c->oldest = v->number;
    c->discovered += v->is_discovered;
    c->pushed += !v->is_discovered;
    if (c->stay.whole_from && kept_add(&c->stay, v->number) < 0)
        return report_memory(c->store, c->errors);
    return 0;
}

/* From the newest back. The first discovered one that does not stay is the end of what is whole. */
static int choose_one(struct store_collection *c) {
    uint64_t pushed = c->retention.versions ? c->retention.versions : 1;
    uint64_t discovered = c->retention.discovered ? c->retention.discovered : pushed;
    struct candidate v;
    if (look(c, c->number, &v) < 0)
        return -1;
    if (c->stay.whole_from == 0 && v.number < c->before.whole_from)
        c->stay.whole_from = c->before.whole_from;
    bool is_room = v.is_discovered ? c->discovered < discovered : c->pushed < pushed || v.is_young;
    bool is_newest = c->oldest == 0, is_beyond = c->pushed >= pushed && !v.is_young;
    c->number = v.next;
    if (is_newest || (is_room && !is_beyond))
        return keep(c, &v);
    if (is_beyond && c->retention.age_us == 0)
        c->number = 0;
    if (!v.is_discovered)
        c->number = 0;
    else if (c->stay.whole_from == 0)
        c->stay.whole_from = v.number + 1;
    return 0;
}

static int choose(struct store_collection *c) {
    int status = 0;
    for (int i = 0; i < STORE_STEP_FILES && c->number && status == 0; i++)
        status = choose_one(c);
    if (status == 0 && c->number == 0)
        end_choice(c);
    return status;
}

static int need_all(struct store_collection *c, const struct store_manifest *m) {
    for (size_t i = 0; i < m->version.resources + m->hidden_count; i++) {
        struct str key = {(const char *)manifest_entry(m, i)->id.bytes, RESOURCE_ID_SIZE};
        if (map_get(&c->needed, key))
            continue;
        key.p = arena_memdup(&c->arena, key.p, key.n);
        if (!key.p || map_set(&c->needed, key, c) < 0)
            return report_memory(c->store, c->errors);
    }
    return 0;
}

static int need_version(struct store_collection *c, uint64_t number) {
    struct store_manifest *m = version_read(c->store, number, NULL, c->errors);
    int status = m ? need_all(c, m) : -1;
    store_manifest_unref(m);
    return status;
}

static bool has_unmarked(const struct store_collection *c) {
    return c->marked < c->store->head.newest;
}

static int mark_next(struct store_collection *c) {
    c->marked = kept_after(&c->stay, c->marked);
    return c->marked == c->store->head.newest ? need_all(c, c->store->current) : need_version(c, c->marked);
}

/* Versions that were committed between two steps. */
static int mark_new(struct store_collection *c) {
    int status = 0;
    while (status == 0 && has_unmarked(c))
        status = mark_next(c);
    return status;
}

static int mark(struct store_collection *c) {
    if (has_unmarked(c))
        return mark_next(c);
    c->phase = DROP_HEAD;
    return 0;
}

/* What somebody holds, though its version goes. From the new head on nobody can get another one. */
static int mark_held(struct store_collection *c) {
    int status = 0;
    for (const struct store_manifest *m = c->store->live; status == 0 && m; m = m->next)
        status = need_all(c, m);
    return status;
}

/* ---- what goes ---- */

static int drop_file(struct store_collection *c, const char *path, uint64_t *counter) {
    int64_t size = disk_file_size(&c->store->disk, path);
    if (!c->dry_run && disk_remove(&c->store->disk, path, c->errors) < 0)
        return -1;
    c->result.bytes += size > 0 ? (uint64_t)size : 0;
    *counter += 1;
    return 0;
}

/* The head goes first: from then on the dropped versions are leftovers that store_open removes, whatever
 * happens here. */
static int drop_head(struct store_collection *c) {
    struct store *s = c->store;
    struct head head = s->head;
    struct kept stay = {0};
    bool is_same = head.oldest == c->oldest && head.whole_from == c->stay.whole_from && s->kept.count == c->stay.count;
    c->number = head.oldest;
    head.oldest = c->oldest;
    head.whole_from = c->stay.whole_from;
    c->phase = DROP_VERSIONS;
    if (mark_held(c) < 0)
        return -1;
    if (is_same || c->dry_run)
        return 0;
    if (kept_copy(&c->stay, &stay) < 0)
        return report_memory(s, c->errors);
    if (head_write(s, &head, c->errors) < 0) {
        kept_finish(&stay);
        return -1;
    }
    kept_finish(&s->kept);
    s->kept = stay;
    return 0;
}

static int drop_versions(struct store_collection *c) {
    char path[PATH_SIZE];
    for (int i = 0; i < STORE_STEP_FILES && c->number < c->stay.whole_from; i++) {
        path_of_version(c->number, path);
        if (!kept_has(&c->stay, c->number) && drop_file(c, path, &c->result.versions) < 0)
            return -1;
        c->number = kept_after(&c->before, c->number);
    }
    if (c->number >= c->stay.whole_from)
        c->phase = DROP_OBJECTS;
    return 0;
}

static int visit_object(void *context, const char *path, const struct resource_id *id) {
    struct store_collection *c = context;
    if (!id || map_get(&c->needed, (struct str){(const char *)id->bytes, RESOURCE_ID_SIZE}))
        return 0;
    return drop_file(c, path, &c->result.objects);
}

static int drop_objects(struct store_collection *c) {
    int more = objects_visit(c->store, &c->objects, visit_object, c, c->errors);
    if (more == 0)
        c->phase = OVER;
    return more < 0 ? -1 : 0;
}

/* ---- step by step ---- */

struct store_collection *store_collection_create(struct store *s, const struct store_retention *retention,
                                                 bool dry_run, struct error_list *errors) {
    struct store_collection *c = hg_calloc(1, sizeof *c);
    if (!c) {
        report_memory(s, errors);
        return NULL;
    }
    c->store = s;
    c->retention = *retention;
    c->dry_run = dry_run;
    c->errors = errors;
    c->number = s->head.newest;
    if (kept_copy(&s->kept, &c->before) == 0)
        return c;
    report_memory(s, errors);
    hg_free(c);
    return NULL;
}

/* What was committed since the last step is marked first, once it is too late for MARK to come by. */
static int do_step(struct store_collection *c) {
    if (check_writable(c->store, c->errors) < 0 || (c->phase > MARK && mark_new(c) < 0))
        return -1;
    switch (c->phase) {
    case CHOOSE: return choose(c);
    case MARK: return mark(c);
    case DROP_HEAD: return drop_head(c);
    case DROP_VERSIONS: return drop_versions(c);
    case DROP_OBJECTS: return drop_objects(c);
    case OVER: break;
    }
    return 0;
}

int store_collection_step(struct store_collection *c, struct store_gc_result *ret_result) {
    if (do_step(c) < 0)
        return -1;
    if (c->phase != OVER)
        return 1;
    *ret_result = c->result;
    return 0;
}

void store_collection_destroy(struct store_collection *c) {
    if (!c)
        return;
    kept_finish(&c->before);
    kept_finish(&c->stay);
    object_cursor_finish(&c->objects);
    map_finish(&c->needed);
    arena_finish(&c->arena);
    hg_free(c);
}

int store_gc(struct store *s, const struct store_retention *retention, bool dry_run,
             struct store_gc_result *ret_result, struct error_list *errors) {
    struct store_collection *c = store_collection_create(s, retention, dry_run, errors);
    int status = c ? 1 : -1;
    while (status > 0)
        status = store_collection_step(c, ret_result);
    store_collection_destroy(c);
    return status;
}
