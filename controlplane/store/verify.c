#include "controlplane/store/internal.h"

#include <inttypes.h>
#include <stdio.h>

enum { PROGRESS_EVERY = 256 };

/* An object that some version names: by which resource first, and in which versions. */
struct use {
    struct resource_id id;
    Headgate__Kind kind;
    const char *name;
    uint64_t first, last;
    bool is_there;
};

/* The hash of the version before, as far as it is known. */
struct link {
    bool is_known;
    uint64_t number;
    struct resource_id hash;
};

/* Moves forward only. */
enum phase { TOP, VERSIONS, OBJECTS, MISSING, OVER };

struct store_verification {
    struct store *store;
    enum phase phase;
    size_t errors_before;
    uint64_t number;  /* VERSIONS: the one that is next */
    struct link link;
    struct object_cursor cursor;
    store_progress *progress;
    void *context;
    uint64_t done, total;
    struct store_verify_result result;
    struct error_list *errors;
    struct arena arena; /* of the uses */
    struct map uses;    /* by id */
};

static void step(struct store_verification *v) {
    v->done++;
    if (v->progress && v->done % PROGRESS_EVERY == 0)
        v->progress(v->context, v->done, v->total > v->done ? v->total : v->done);
}

static void fault(struct store_verification *v, const char *path, const char *message) {
    disk_report(&v->store->disk, path, ERROR_INTEGRITY, message, v->errors);
}

/* ---- single files at the top ---- */

static int check_top_name(void *context, const char *name) {
    static const char *const own[] = {FORMAT_FILE,      LOCK_FILE,       HEAD_FILE,      STATE_FILE,
                                      TEMPORARY_FOLDER, VERSIONS_FOLDER, OBJECTS_FOLDER, "lost+found"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(name, own[i]) == 0)
            return 0;
    fault(context, name, "not a file of the store");
    return 0;
}

static int check_temporary_name(void *context, const char *name) {
    char path[PATH_SIZE + 256];
    snprintf(path, sizeof path, TEMPORARY_FOLDER "/%s", name);
    if (strcmp(path, STATE_ASIDE) == 0)
        return 0; /* is being written beside this */
    fault(context, path, "left behind by an unfinished write");
    return 0;
}

static int check_format_file(struct store_verification *v) {
    char expected[128];
    struct str text;
    format_text(v->store, expected);
    int status = disk_read_file(&v->store->disk, FORMAT_FILE, 4096, &text, NULL, v->errors);
    if (status < 0)
        return 0;
    if (status > 0 || !str_eq(text, str_of(expected)))
        fault(v, FORMAT_FILE,
              status > 0 ? "missing" : "damaged: it does not name this store's format and lineage");
    if (status == 0) {
        v->result.bytes += text.n;
        hg_free((void *)text.p);
    }
    return 0;
}

static void check_head_file(struct store_verification *v) {
    const struct store *s = v->store;
    struct head head;
    uint8_t lineage[LINEAGE_SIZE];
    if (head_read(s, &head, lineage, v->errors) < 0)
        return;
    if (memcmp(lineage, s->lineage, LINEAGE_SIZE) != 0 || head.newest != s->head.newest ||
        head.oldest != s->head.oldest || head.whole_from != s->head.whole_from || head.pinned != s->head.pinned ||
        !resource_id_equal(&head.newest_hash, &s->head.newest_hash))
        fault(v, HEAD_FILE, "not the head that this daemon wrote");
}

static int check_state_file(struct store_verification *v) {
    struct store_state state;
    int loaded = store_load_state(v->store, &state, v->errors);
    if (loaded <= 0)
        return 0;
    for (size_t i = 0; i < state.count; i++) {
        const struct store_resource *r = &state.resources[i];
        struct resource_id id;
        if (resource_id_of(r->bytes, r->size, &id) < 0 || !resource_id_equal(&id, &r->id))
            fault(v, STATE_FILE, "a resource of the saved state does not have its id");
        v->result.bytes += r->size;
    }
    store_state_finish(&state);
    return 0;
}

static int check_version_name(void *context, const char *name) {
    struct store_verification *v = context;
    const struct head *head = &v->store->head;
    char path[PATH_SIZE + 256];
    uint64_t number = version_of_name(name);
    if (number >= head->oldest && number <= head->newest && kept_has(&v->store->kept, number))
        return 0;
    snprintf(path, sizeof path, VERSIONS_FOLDER "/%s", name);
    fault(v, path, "not a version of this history");
    return 0;
}

static int check_top(struct store_verification *v) {
    const struct disk *disk = &v->store->disk;
    check_format_file(v);
    check_head_file(v);
    check_state_file(v);
    if (disk_list(disk, ".", check_top_name, v, v->errors) < 0 ||
        disk_list(disk, TEMPORARY_FOLDER, check_temporary_name, v, v->errors) < 0 ||
        disk_list(disk, VERSIONS_FOLDER, check_version_name, v, v->errors) < 0)
        return -1;
    v->phase = VERSIONS;
    return 0;
}

/* ---- versions ---- */

static struct use *add_use(struct store_verification *v, const struct store_entry *e, uint64_t version) {
    struct use *u = arena_calloc(&v->arena, 1, sizeof *u);
    if (!u)
        return NULL;
    *u = (struct use){
        .id = e->id, .kind = e->kind, .name = arena_strdup(&v->arena, e->name), .first = version};
    struct str key = {(const char *)u->id.bytes, RESOURCE_ID_SIZE};
    return u->name && map_set(&v->uses, key, u) == 0 ? u : NULL;
}

static int add_uses(struct store_verification *v, const struct store_manifest *m) {
    for (size_t i = 0; i < m->version.resources + m->hidden_count; i++) {
        const struct store_entry *e = manifest_entry(m, i);
        struct use *u = map_get(&v->uses, (struct str){(const char *)e->id.bytes, RESOURCE_ID_SIZE});
        if (!u)
            u = add_use(v, e, m->version.number);
        if (!u)
            return report_memory(v->store, v->errors);
        u->last = m->version.number;
    }
    return 0;
}

static bool ran_out_of_memory(const struct error_list *errors, size_t before) {
    for (size_t i = before; i < errors->count; i++)
        if (errors->items[i].code == ERROR_MEMORY)
            return true;
    return false;
}

/* Whether the version says of the one before it what that is: of its parent, or, where only pushed ones are left, of the
 * push before it. */
static bool follows(const struct link *link, const struct record *r) {
    if (link->number == r->version.parent)
        return resource_id_equal(&link->hash, &r->parent_hash);
    return link->number == r->version.pushed_before && resource_id_equal(&link->hash, &r->pushed_hash);
}

static void check_link(struct store_verification *v, const struct record *r) {
    struct link *link = &v->link;
    char path[PATH_SIZE];
    path_of_version(r->version.number, path);
    if (link->is_known && !follows(link, r))
        fault(v, path, "the chain is broken: not made from the version before it");
    *link = (struct link){.is_known = true, .number = r->version.number, .hash = r->version.hash};
}

static int check_version(struct store_verification *v, uint64_t number) {
    char path[PATH_SIZE];
    struct record r;
    size_t before = v->errors->count;
    step(v);
    struct store_manifest *m = version_read(v->store, number, &r, v->errors);
    if (!m) {
        v->link.is_known = false;
        return ran_out_of_memory(v->errors, before) ? -1 : 0;
    }
    path_of_version(number, path);
    v->result.versions++;
    v->result.bytes += (uint64_t)disk_file_size(&v->store->disk, path);
    check_link(v, &r);
    int status = add_uses(v, m);
    store_manifest_unref(m);
    return status;
}

/* Those that are committed meanwhile are looked at too. */
static int check_next_version(struct store_verification *v) {
    const struct head *head = &v->store->head;
    uint64_t number = v->number;
    if (number && number <= head->newest) {
        v->number = kept_after(&v->store->kept, number);
        return check_version(v, number);
    }
    if (v->link.is_known && !resource_id_equal(&v->link.hash, &head->newest_hash))
        fault(v, HEAD_FILE, "the newest version is not the one that HEAD names");
    v->total = v->done + v->uses.count;
    v->phase = OBJECTS;
    return 0;
}

/* ---- objects ---- */

static void object_fault(struct store_verification *v, const char *path, const struct use *u, enum error_code code,
                         const char *message) {
    char place[4096], resource[RESOURCE_NAME_MAX + 32];
    snprintf(place, sizeof place, "%s/%s", v->store->folder, path);
    struct error *e = u ? error_addf(v->errors, code, "%s (in versions %" PRIu64 " to %" PRIu64 ")", message,
                                     u->first, u->last)
                        : error_addf(v->errors, code, "%s (in no version)", message);
    error_set_place(v->errors, e, place, 0, 0);
    if (!u)
        return;
    const char *kind = kind_name(u->kind);
    snprintf(resource, sizeof resource, "%s/%.*s", kind ? kind : "unknown", RESOURCE_NAME_MAX, u->name);
    error_set_resource(v->errors, e, resource, NULL);
}

static int check_object(void *context, const char *path, const struct resource_id *id) {
    struct store_verification *v = context;
    struct error_list found = {0};
    uint64_t size = 0;
    if (!id) {
        fault(v, path, "not the name of an object");
        return 0;
    }
    struct use *u = map_get(&v->uses, (struct str){(const char *)id->bytes, RESOURCE_ID_SIZE});
    if (u)
        u->is_there = true;
    step(v);
    v->result.objects++;
    if (object_check(v->store, id, &size, &found) < 0)
        object_fault(v, path, u, found.count ? found.items[0].code : ERROR_MEMORY,
                     found.count ? found.items[0].message : "out of memory");
    v->result.bytes += size;
    int status = ran_out_of_memory(&found, 0) ? -1 : 0;
    error_list_finish(&found);
    return status;
}

static int check_next_objects(struct store_verification *v) {
    int more = objects_visit(v->store, &v->cursor, check_object, v, v->errors);
    if (more == 0)
        v->phase = MISSING;
    return more < 0 ? -1 : 0;
}

static int check_missing(struct store_verification *v) {
    const struct map_entry *e;
    size_t position = 0;
    while ((e = map_next(&v->uses, &position))) {
        const struct use *u = e->value;
        char path[PATH_SIZE];
        path_of_object(&u->id, path);
        if (!u->is_there)
            object_fault(v, path, u, ERROR_INTEGRITY, "the object is missing");
    }
    v->phase = OVER;
    return 0;
}

/* ---- step by step ---- */

struct store_verification *store_verification_create(struct store *s, store_progress *progress, void *context,
                                                     struct error_list *errors) {
    struct store_verification *v = hg_calloc(1, sizeof *v);
    if (!v) {
        report_memory(s, errors);
        return NULL;
    }
    v->store = s;
    v->progress = progress;
    v->context = context;
    v->errors = errors;
    v->errors_before = errors->count + errors->dropped;
    v->number = s->head.oldest;
    v->total = store_version_count(s);
    return v;
}

static int do_step(struct store_verification *v) {
    switch (v->phase) {
    case TOP: return check_top(v);
    case VERSIONS: return check_next_version(v);
    case OBJECTS: return check_next_objects(v);
    case MISSING: return check_missing(v);
    case OVER: break;
    }
    return 0;
}

int store_verification_step(struct store_verification *v, struct store_verify_result *ret_result) {
    if (do_step(v) < 0)
        return -1;
    if (v->phase != OVER)
        return 1;
    if (v->progress)
        v->progress(v->context, v->done, v->done);
    v->result.faults = v->errors->count + v->errors->dropped - v->errors_before;
    *ret_result = v->result;
    return 0;
}

void store_verification_destroy(struct store_verification *v) {
    if (!v)
        return;
    object_cursor_finish(&v->cursor);
    map_finish(&v->uses);
    arena_finish(&v->arena);
    hg_free(v);
}

int store_verify(struct store *s, store_progress *progress, void *context,
                 struct store_verify_result *ret_result, struct error_list *errors) {
    struct store_verification *v = store_verification_create(s, progress, context, errors);
    int status = v ? 1 : -1;
    while (status > 0)
        status = store_verification_step(v, ret_result);
    store_verification_destroy(v);
    return status;
}
