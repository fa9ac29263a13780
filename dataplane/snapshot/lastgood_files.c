#include "dataplane/snapshot/lastgood_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "dataplane/snapshot/delta.h"
#include "dataplane/snapshot/messages.h"
#include "proto/message.h"

enum {
    MAGIC_SIZE = 16,
    HEAD_SIZE = MAGIC_SIZE + RESOURCE_ID_SIZE,
    MANIFEST_BYTES_MAX = 512 << 20,
    OBJECT_NAME_SIZE = 2 * RESOURCE_ID_SIZE + 1,
    SWEEP_SLACK = 64,                /* objects beyond twice the named ones before a sweep */
};

static const char magic[MAGIC_SIZE] = "headgate-lkg-1\n";
static const char *const manifest_names[] = {"manifest", "manifest.previous"};

/* ---- files ---- */

static int fail_errno(struct error_list *errors, const char *what, const char *name) {
    int error = errno;
    struct error *e = error_addf(errors, error == ENOMEM ? ERROR_MEMORY : ERROR_IO, "%s: %s", what,
                                 strerror(error));
    error_set_place(errors, e, name, 0, 0);
    return -1;
}

static int fail_file(struct error_list *errors, enum error_code code, const char *what, const char *name) {
    struct error *e = error_addf(errors, code, "%s", what);
    error_set_place(errors, e, name, 0, 0);
    return -1;
}

static int read_fully(int fd, uint8_t *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t n = read(fd, bytes + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n ? errno : EIO; /* shorter than it said */
            return -1;
        }
        at += (size_t)n;
    }
    return 0;
}

static int write_fully(int fd, const uint8_t *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, bytes + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    return 0;
}

/* Size of an open plain file that has at most `most` bytes, or -1. */
static ssize_t size_of(int fd, size_t most) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size > most) {
        errno = EFBIG;
        return -1;
    }
    return (ssize_t)st.st_size;
}

/* A descriptor that is to be synchronized later. */
static void remember_unsynced(struct lastgood_files *f, int fd) {
    f->has_unsynced = true;
    if (f->unsynced_count < LASTGOOD_UNSYNCED_MAX) {
        f->unsynced[f->unsynced_count++] = fd;
        return;
    }
    f->too_many_unsynced = true;
    close(fd);
}

/* Writes a file that has no meaning yet. Returns its descriptor or -1. */
static int write_aside(int dir, const char *name, const struct str pieces[2]) {
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    if (write_fully(fd, (const uint8_t *)pieces[0].p, pieces[0].n) == 0 &&
        write_fully(fd, (const uint8_t *)pieces[1].p, pieces[1].n) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Gives the file its name. Takes the descriptor over. */
static int put_in_place(struct lastgood_files *f, int dir, const char *aside, const char *name, int fd) {
    if (renameat(dir, aside, dir, name) == 0) {
        remember_unsynced(f, fd);
        return 0;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* ---- lists of ids ---- */

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, RESOURCE_ID_SIZE);
}

/* Those of the entries that are of a secret, or all. Returns how many. */
static size_t take_ids(struct resource_id *ret, Headgate__Entry *const *const parts[2], const size_t counts[2],
                       bool only_secrets) {
    size_t count = 0;
    for (int part = 0; part < 2; part++)
        for (size_t i = 0; i < counts[part]; i++) {
            const Headgate__Entry *e = parts[part][i];
            bool is_asked = e->has_id && (!only_secrets || e->kind == HEADGATE__KIND__KIND_SECRET);
            count += is_asked && resource_id_from_bytes(&e->id, &ret[count]) == 0;
        }
    return count;
}

static int id_list_make(struct id_list *list, Headgate__Entry *const *const parts[2],
                        const size_t counts[2]) {
    struct resource_id *items = hg_malloc(2 * (counts[0] + counts[1]) * sizeof *items);
    size_t kept = 0;
    if (!items)
        return -1;
    size_t count = take_ids(items, parts, counts, false);
    qsort(items, count, sizeof *items, compare_ids);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !resource_id_equal(&items[i], &items[kept - 1]))
            items[kept++] = items[i];
    *list = (struct id_list){items, kept, take_ids(items + kept, parts, counts, true)};
    return 0;
}

static void id_list_finish(struct id_list *list) {
    hg_free(list->items);
    *list = (struct id_list){0};
}

static bool id_list_has(const struct id_list *list, const struct resource_id *id) {
    return list->count && bsearch(id, list->items, list->count, sizeof *id, compare_ids);
}

static int id_list_of_manifest(struct id_list *list, const Headgate__Manifest *m) {
    Headgate__Entry *const *const parts[] = {m->intent, m->state};
    return id_list_make(list, parts, (const size_t[]){m->n_intent, m->n_state});
}

/* ---- reading ---- */

static struct resource_body *read_body(int fd) {
    ssize_t size = size_of(fd, RESOURCE_BYTES_MAX);
    struct resource_body *body = size < 0 ? NULL : resource_body_create((size_t)size);
    if (!body || read_fully(fd, body->bytes, body->size) == 0)
        return body;
    resource_body_unref(body);
    return NULL;
}

/* The bytes under the name; NULL with errno. */
static struct resource_body *read_object(struct lastgood_files *f, const char *name) {
    int fd = openat(f->objects, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct resource_body *body = fd < 0 ? NULL : read_body(fd);
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return body;
}

/* A damaged object is of no use to anybody. */
static int load_object(struct lastgood_files *f, const struct resource_id *id, struct delta *delta,
                       struct error_list *errors) {
    char name[OBJECT_NAME_SIZE];
    resource_id_format(id, name);
    struct resource_body *body = read_object(f, name);
    if (!body)
        return fail_errno(errors, "cannot be read", name);
    body->id = *id;
    size_t before = errors->count;
    int status = delta_take_body(delta, body, errors);
    if (status < 0 && errors->count > before && errors->items[before].code == ERROR_INTEGRITY)
        unlinkat(f->objects, name, 0);
    return status;
}

static int load_objects(struct lastgood_files *f, const struct id_list *ids, struct delta *delta,
                        struct error_list *errors) {
    int status = 0;
    for (size_t i = 0; i < ids->count; i++)
        if (load_object(f, &ids->items[i], delta, errors) < 0)
            status = -1;
    return status;
}

static int load_resources(struct lastgood_files *f, const Headgate__Manifest *m, const struct id_list *ids,
                          struct resource_set **ret, struct error_list *errors) {
    struct delta delta = {0};
    struct snapshot_identity identity;
    int status = -1;
    if (!m->id)
        error_addf(errors, ERROR_MISSING, "the manifest has no identity");
    else if (snapshot_identity_read(m->id, &identity, errors) == 0 &&
             delta_add_entries(&delta.intent.upserts, m->intent, m->n_intent, errors) == 0 &&
             delta_add_entries(&delta.state.upserts, m->state, m->n_state, errors) == 0 &&
             load_objects(f, ids, &delta, errors) == 0)
        status = delta_apply(&delta, NULL, &identity, ret, errors);
    delta_finish(&delta);
    return status;
}

static Headgate__Manifest *decode_manifest(const uint8_t *bytes, size_t size, const char *name,
                                           struct error_list *errors) {
    struct resource_id actual;
    if (size < HEAD_SIZE || memcmp(bytes, magic, MAGIC_SIZE) != 0) {
        fail_file(errors, ERROR_INTEGRITY, "not a manifest of this program", name);
        return NULL;
    }
    if (resource_id_of(bytes + HEAD_SIZE, size - HEAD_SIZE, &actual) < 0 ||
        memcmp(actual.bytes, bytes + MAGIC_SIZE, RESOURCE_ID_SIZE) != 0) {
        fail_file(errors, ERROR_INTEGRITY, "its hash is not that of its contents", name);
        return NULL;
    }
    ProtobufCMessage *m;
    struct str message = {(const char *)bytes + HEAD_SIZE, size - HEAD_SIZE};
    int status = message_unpack(&headgate__manifest__descriptor, NULL, message, &m);
    if (status < 0) {
        fail_file(errors, status == MESSAGE_MEMORY ? ERROR_MEMORY : ERROR_SYNTAX,
                  "not a well-formed manifest", name);
        return NULL;
    }
    if (message_check_known(m, NULL, "", errors)) {
        protobuf_c_message_free_unpacked(m, NULL);
        return NULL;
    }
    return (Headgate__Manifest *)m;
}

/* 0 with *ret, NULL when there is no such file; or -1. */
static int read_manifest(struct lastgood_files *f, enum lastgood_copy copy, Headgate__Manifest **ret,
                         struct error_list *errors) {
    const char *name = manifest_names[copy];
    int fd = openat(f->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        *ret = NULL;
        return 0;
    }
    ssize_t size = fd < 0 ? -1 : size_of(fd, MANIFEST_BYTES_MAX);
    uint8_t *bytes = size < 0 ? NULL : hg_malloc((size_t)size);
    Headgate__Manifest *m = NULL;
    if (!bytes || read_fully(fd, bytes, (size_t)size) < 0)
        fail_errno(errors, "cannot be read", name);
    else
        m = decode_manifest(bytes, (size_t)size, name, errors);
    if (fd >= 0)
        close(fd);
    hg_free(bytes);
    if (!m)
        return -1;
    *ret = m;
    return 0;
}

int lastgood_files_load(struct lastgood_files *f, enum lastgood_copy copy, struct resource_set **ret,
                        struct error_list *errors) {
    Headgate__Manifest *m;
    struct id_list ids = {0};
    if (read_manifest(f, copy, &m, errors) < 0)
        return -1;
    if (!m) {
        *ret = NULL;
        return 0;
    }
    int status = id_list_of_manifest(&ids, m);
    if (status < 0)
        error_addf(errors, ERROR_MEMORY, "out of memory");
    else
        status = load_resources(f, m, &ids, ret, errors);
    if (status == 0 && copy == LASTGOOD_CURRENT)
        f->current_is_good = true;
    id_list_finish(&ids);
    protobuf_c_message_free_unpacked(&m->base, NULL);
    return status;
}

/* ---- writing ---- */

/* The name alone says nothing: after a loss of power a file can be there without its bytes. */
static bool has_bytes(struct lastgood_files *f, const char *name, const struct resource *r) {
    struct resource_body *body = read_object(f, name);
    bool is_same = body && body->size == r->size && memcmp(body->bytes, r->bytes, r->size) == 0;
    resource_body_unref(body);
    return is_same;
}

/* A whole one stays: it may be on the disk already, which its replacement is not. */
static int write_object(struct lastgood_files *f, const struct resource *r, struct error_list *errors) {
    char name[OBJECT_NAME_SIZE];
    resource_id_format(&r->id, name);
    bool is_new = faccessat(f->objects, name, F_OK, 0) < 0,
         is_trusted = f->current_is_good || id_list_has(&f->previous, &r->id);
    if (!is_new && is_trusted && has_bytes(f, name, r))
        return 0;
    const struct str pieces[] = {{(const char *)r->bytes, r->size}, {"", 0}};
    int fd = write_aside(f->objects, "new", pieces);
    if (fd < 0 || put_in_place(f, f->objects, "new", name, fd) < 0)
        return fail_errno(errors, "cannot be written", name);
    f->object_count += is_new;
    return 0;
}

/* Resources that `base` has too, being the very same, are on disk. */
static int write_objects(struct lastgood_files *f, const struct resource_part *part,
                         const struct resource_part *base, struct error_list *errors) {
    size_t at = 0;
    for (size_t i = 0; i < part->count; i++) {
        const struct resource *r = part->items[i];
        while (base && at < base->count &&
               resource_key_compare(base->items[at]->kind, base->items[at]->name, r->kind, r->name) < 0)
            at++;
        bool is_known = base && at < base->count && base->items[at] == r;
        if (!is_known && write_object(f, r, errors) < 0)
            return -1;
    }
    return 0;
}

static int write_manifest_aside(struct lastgood_files *f, const Headgate__Manifest *m) {
    uint8_t head[HEAD_SIZE], *bytes;
    size_t size;
    struct resource_id hash;
    errno = ENOMEM;
    if (resource_encode(&m->base, &bytes, &size) < 0)
        return -1;
    int fd = -1;
    if (resource_id_of(bytes, size, &hash) == 0) {
        memcpy(head, magic, MAGIC_SIZE);
        memcpy(head + MAGIC_SIZE, hash.bytes, RESOURCE_ID_SIZE);
        const struct str pieces[] = {{(const char *)head, sizeof head}, {(const char *)bytes, size}};
        fd = write_aside(f->dir, "manifest.new", pieces);
    }
    hg_free(bytes);
    return fd;
}

/* What is current becomes the previous copy. */
static void rotate(struct lastgood_files *f, struct id_list *ret_gone) {
    if (renameat(f->dir, manifest_names[LASTGOOD_CURRENT], f->dir, manifest_names[LASTGOOD_PREVIOUS]) < 0)
        return; /* then the previous one stays */
    *ret_gone = f->previous;
    f->previous = f->current;
    f->current = (struct id_list){0};
}

/* No manifest has this list any more. Keys that nobody names are not left lying about. */
static void let_go(struct lastgood_files *f, struct id_list *gone) {
    const struct resource_id *secrets = gone->items ? gone->items + gone->count : NULL;
    for (size_t i = 0; i < gone->secret_count && !f->has_old_secrets; i++)
        f->has_old_secrets = !id_list_has(&f->current, &secrets[i]) && !id_list_has(&f->previous, &secrets[i]);
    id_list_finish(gone);
}

static int write_manifest(struct lastgood_files *f, const Headgate__Manifest *m, bool rotates,
                          struct error_list *errors) {
    struct id_list ids, before_last = {0};
    errno = ENOMEM;
    if (id_list_of_manifest(&ids, m) < 0)
        return fail_errno(errors, "cannot be written", "manifest");
    int fd = write_manifest_aside(f, m);
    if (fd >= 0 && rotates)
        rotate(f, &before_last);
    if (fd < 0 || put_in_place(f, f->dir, "manifest.new", manifest_names[LASTGOOD_CURRENT], fd) < 0) {
        id_list_finish(&ids);
        let_go(f, &before_last);
        return fail_errno(errors, "cannot be written", "manifest");
    }
    struct id_list last = f->current;
    f->current = ids;
    let_go(f, &last);
    let_go(f, &before_last);
    f->current_is_good = true;
    return 0;
}

static int write_set(struct lastgood_files *f, const struct resource_set *set,
                     const struct entry_view *intent, const struct entry_view *state, bool rotates,
                     struct error_list *errors) {
    struct snapshot_identity identity = set->id;
    Headgate__SnapshotId id = snapshot_identity_message(&identity);
    Headgate__Manifest m = HEADGATE__MANIFEST__INIT;
    m.id = &id;
    m.intent = intent->pointers;
    m.n_intent = intent->count;
    m.state = state->pointers;
    m.n_state = state->count;
    return write_manifest(f, &m, rotates, errors);
}

int lastgood_files_write(struct lastgood_files *f, const struct resource_set *set,
                         const struct resource_set *base, struct error_list *errors) {
    struct entry_view intent = {0}, state = {0};
    bool rotates = f->current_is_good && !f->has_unsynced;
    int status = -1;
    if (!f->current_is_good)
        base = NULL;
    if (write_objects(f, &set->intent, base ? &base->intent : NULL, errors) == 0 &&
        write_objects(f, &set->state, base ? &base->state : NULL, errors) == 0) {
        if (entry_view_init(&intent, &set->intent) < 0 || entry_view_init(&state, &set->state) < 0)
            error_addf(errors, ERROR_MEMORY, "out of memory");
        else
            status = write_set(f, set, &intent, &state, rotates, errors);
    }
    entry_view_finish(&intent);
    entry_view_finish(&state);
    return status;
}

/* ---- reaching the disk, and cleaning up ---- */

/* Signals can interrupt it. EINVAL: the file system has no such thing. */
static int synchronize(int (*how)(int fd), int fd) {
    int status;
    do
        status = how(fd);
    while (status < 0 && errno == EINTR);
    return status < 0 && errno != EINVAL ? -1 : 0;
}

static int sync_folders(struct lastgood_files *f) {
    if ((f->too_many_unsynced && synchronize(syncfs, f->dir) < 0) || synchronize(fsync, f->objects) < 0 ||
        synchronize(fsync, f->dir) < 0)
        return -1;
    f->too_many_unsynced = f->has_unsynced = false;
    return 0;
}

static int sync_file(struct lastgood_files *f) {
    int fd = f->unsynced[--f->unsynced_count];
    int status = f->too_many_unsynced ? 0 : synchronize(fsync, fd);
    int error = errno;
    close(fd);
    errno = error;
    return status;
}

static void forget_unsynced(struct lastgood_files *f) {
    while (f->unsynced_count)
        close(f->unsynced[--f->unsynced_count]);
    f->too_many_unsynced = false;
}

/* Once it has failed, the next fsync(2) of the same file can succeed though its bytes are lost, and they can be
 * read until then: only another file helps. */
int lastgood_files_sync_step(struct lastgood_files *f, struct error_list *errors) {
    int status = f->unsynced_count ? sync_file(f) : f->has_unsynced ? sync_folders(f) : 0;
    if (status == 0)
        return f->has_unsynced;
    fail_errno(errors, "cannot be synchronized", "manifest, objects");
    forget_unsynced(f);
    f->current_is_good = false;
    return -1;
}

static bool is_named(const struct lastgood_files *f, const char *name) {
    struct resource_id id;
    if (hex_decode(str_of(name), id.bytes, sizeof id.bytes) < 0)
        return true; /* not an object: not ours to remove */
    return id_list_has(&f->current, &id) || id_list_has(&f->previous, &id);
}

/* Calls `act` for every object; returns how many there are. */
static size_t each_object(struct lastgood_files *f, void (*act)(struct lastgood_files *f, const char *name)) {
    int fd = openat(f->objects, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    size_t count = 0;
    if (!folder) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (strlen(entry->d_name) != OBJECT_NAME_SIZE - 1)
            continue;
        count++;
        if (act)
            act(f, entry->d_name);
    }
    closedir(folder);
    return count;
}

static void remove_unnamed(struct lastgood_files *f, const char *name) {
    if (!is_named(f, name))
        unlinkat(f->objects, name, 0);
}

void lastgood_files_sweep(struct lastgood_files *f) {
    bool are_many = f->object_count > 2 * (f->current.count + f->previous.count) + SWEEP_SLACK;
    if (!are_many && !f->has_old_secrets)
        return;
    f->has_old_secrets = false;
    each_object(f, remove_unnamed);
    f->object_count = each_object(f, NULL);
}

/* ---- the folder ---- */

/* What a manifest that cannot be read names is not known: it names nothing. */
static void learn_ids(struct lastgood_files *f, enum lastgood_copy copy, struct id_list *list) {
    struct error_list ignored = {0};
    Headgate__Manifest *m = NULL;
    if (read_manifest(f, copy, &m, &ignored) == 0 && m)
        id_list_of_manifest(list, m);
    if (m)
        protobuf_c_message_free_unpacked(&m->base, NULL);
    error_list_finish(&ignored);
}

int lastgood_files_init(struct lastgood_files *f, int dir, struct error_list *errors) {
    *f = (struct lastgood_files){.dir = dir, .objects = -1};
    if (mkdirat(dir, "objects", 0700) < 0 && errno != EEXIST)
        return fail_errno(errors, "cannot be made", "objects");
    f->objects = openat(dir, "objects", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (f->objects < 0)
        return fail_errno(errors, "cannot be opened", "objects");
    learn_ids(f, LASTGOOD_CURRENT, &f->current);
    learn_ids(f, LASTGOOD_PREVIOUS, &f->previous);
    f->object_count = each_object(f, NULL);
    f->has_old_secrets = true; /* who was killed may have left some, and files that are not on the disk */
    f->has_unsynced = f->too_many_unsynced = true;
    return 0;
}

void lastgood_files_finish(struct lastgood_files *f) {
    id_list_finish(&f->current);
    id_list_finish(&f->previous);
    forget_unsynced(f);
    if (f->objects >= 0)
        close(f->objects);
    f->objects = -1;
}
