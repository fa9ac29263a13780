#include "controlplane/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the folder and its lock ---- */

static int fail_here(const struct store *s, const char *verb, struct error_list *errors) {
    char message[256], reason[128];
    snprintf(message, sizeof message, "%s: %s", verb, strerror_r(errno, reason, sizeof reason));
    disk_report(&s->disk, NULL, ERROR_IO, message, errors);
    return -1;
}

/* So that a power cut right after the first commit does not take the whole folder. */
static int sync_parent(const struct store *s, struct error_list *errors) {
    int fd = openat(s->disk.root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = fd < 0 ? -1 : fsync(fd);
    if (status < 0)
        fail_here(s, "cannot make the new folder durable", errors);
    if (fd >= 0)
        close(fd);
    return status;
}

static int open_folder(struct store *s, struct error_list *errors) {
    bool made = mkdir(s->folder, 0700) == 0;
    if (!made && errno != EEXIST)
        return fail_here(s, "cannot make the folder of the store", errors);
    s->disk.root = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->disk.root < 0)
        return fail_here(s, "cannot open the folder of the store", errors);
    return made ? sync_parent(s, errors) : 0;
}

static int take_lock(struct store *s, struct error_list *errors) {
    s->lock = openat(s->disk.root, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock < 0)
        return fail_here(s, "cannot open the lock file of the store", errors);
    if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return fail_here(s, "cannot lock the store", errors);
    disk_report(&s->disk, NULL, ERROR_CONFLICT, "the store is in use by another daemon", errors);
    return -1;
}

/* ---- the format ---- */

static int report_format(const struct store *s, struct str text, struct error_list *errors) {
    uint64_t format;
    char message[128];
    struct str rest = text, name = str_cut(&rest, '\n'), line = str_cut(&rest, '\n');
    bool is_number = str_starts(line, STR("format ")) &&
                     str_to_uint64((struct str){line.p + 7, line.n - 7}, &format) == 0;
    if (!str_eq(name, STR("headgate store")) || !is_number || format <= STORE_FORMAT) {
        disk_report(&s->disk, FORMAT_FILE, ERROR_INTEGRITY,
                    "damaged: it does not name this store's format and lineage", errors);
        return -1;
    }
    snprintf(message, sizeof message, "the store has format %llu, and this program reads up to %d",
             (unsigned long long)format, STORE_FORMAT);
    disk_report(&s->disk, FORMAT_FILE, ERROR_UNSUPPORTED, message, errors);
    return -1;
}

/* Format and lineage: what the file says must be exactly what this build would write for both. */
static int check_format(struct store *s, struct str text, struct error_list *errors) {
    char expected[128];
    struct str hex = text;
    str_cut(&hex, '\n');
    str_cut(&hex, '\n');
    if (str_starts(hex, STR("lineage ")) && hex.n == 8 + 2 * LINEAGE_SIZE + 1)
        (void)hex_decode((struct str){hex.p + 8, 2 * LINEAGE_SIZE}, s->lineage, LINEAGE_SIZE);
    for (s->format = STORE_FORMAT_PLAIN; s->format <= STORE_FORMAT; s->format++) {
        format_text(s, expected);
        if (str_eq(text, str_of(expected)))
            return 0;
    }
    return report_format(s, text, errors);
}

/* ---- making a store ---- */

static int make_folders(struct store *s, struct error_list *errors) {
    char path[PATH_SIZE];
    bool made, made_any = false;
    if (disk_make_folder(&s->disk, TEMPORARY_FOLDER, NULL, errors) < 0 ||
        disk_make_folder(&s->disk, VERSIONS_FOLDER, NULL, errors) < 0 ||
        disk_make_folder(&s->disk, OBJECTS_FOLDER, NULL, errors) < 0)
        return -1;
    for (unsigned i = 0; i < FAN_OUT; i++) {
        path_of_fan_out(i, path);
        if (disk_make_folder(&s->disk, path, &made, errors) < 0)
            return -1;
        made_any |= made;
    }
    return made_any ? disk_sync_folder(&s->disk, OBJECTS_FOLDER, errors) : 0;
}

/* A folder without a format file is one that nobody finished making, or not a store at all. */
static int visit_unfinished(void *context, const char *name) {
    static const char *const own[] = {LOCK_FILE,       HEAD_FILE,      TEMPORARY_FOLDER,
                                      VERSIONS_FOLDER, OBJECTS_FOLDER, "lost+found"};
    const char **stranger = context;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(name, own[i]) == 0)
            return 0;
    *stranger = "the folder holds something else and is not made a store";
    return 1;
}

static int visit_version(void *context, const char *name) {
    const char **stranger = context;
    (void)name;
    *stranger = "the format file is missing, but there are versions";
    return 1;
}

static int check_unfinished(const struct store *s, struct error_list *errors) {
    const char *stranger = NULL;
    int status = disk_list(&s->disk, ".", visit_unfinished, &stranger, errors);
    if (status == 0 && disk_file_size(&s->disk, VERSIONS_FOLDER) >= 0)
        status = disk_list(&s->disk, VERSIONS_FOLDER, visit_version, &stranger, errors);
    if (status > 0)
        disk_report(&s->disk, NULL, ERROR_INTEGRITY, stranger, errors);
    return status == 0 ? 0 : -1;
}

static int remove_temporary(void *context, const char *name) {
    const struct store *s = context;
    char path[PATH_SIZE];
    struct error_list unused = {0};
    if (snprintf(path, sizeof path, TEMPORARY_FOLDER "/%s", name) < (int)sizeof path)
        disk_remove(&s->disk, path, &unused);
    error_list_finish(&unused);
    return 0;
}

/* The format file is the last to be written: until then the folder counts as empty. */
static int make_store(struct store *s, struct error_list *errors) {
    char text[128];
    if (check_unfinished(s, errors) < 0 || make_folders(s, errors) < 0 ||
        disk_list(&s->disk, TEMPORARY_FOLDER, remove_temporary, s, errors) < 0)
        return -1;
    if (getrandom(s->lineage, LINEAGE_SIZE, 0) != LINEAGE_SIZE)
        return fail_here(s, "cannot get random bytes", errors);
    if (head_write(s, &(struct head){0}, errors) < 0)
        return -1;
    s->format = STORE_FORMAT_PLAIN;
    format_text(s, text);
    struct str part = str_of(text);
    return replace_file(s, FORMAT_FILE, &part, 1, errors);
}

/* ---- opening ---- */

static int load_newest(struct store *s, struct error_list *errors) {
    char path[PATH_SIZE];
    if (s->head.newest == 0)
        return 0;
    struct store_manifest *m = version_read(s, s->head.newest, NULL, errors);
    if (!m)
        return -1;
    if (!resource_id_equal(&m->version.hash, &s->head.newest_hash)) {
        path_of_version(s->head.newest, path);
        disk_report(&s->disk, path, ERROR_INTEGRITY, "the newest version is not the one that HEAD names",
                    errors);
        store_manifest_unref(m);
        return -1;
    }
    manifest_enlist(s, m);
    s->current = m;
    return 0;
}

static int load(struct store *s, struct error_list *errors) {
    uint8_t lineage[LINEAGE_SIZE];
    if (head_read(s, &s->head, lineage, errors) < 0)
        return -1;
    if (memcmp(lineage, s->lineage, LINEAGE_SIZE) != 0) {
        disk_report(&s->disk, HEAD_FILE, ERROR_INTEGRITY, "of another lineage than the format file", errors);
        return -1;
    }
    if (load_newest(s, errors) < 0 || make_folders(s, errors) < 0 ||
        disk_list(&s->disk, TEMPORARY_FOLDER, remove_temporary, s, errors) < 0)
        return -1;
    return kept_load(s, errors);
}

static int open_or_make(struct store *s, struct error_list *errors) {
    struct str text;
    if (open_folder(s, errors) < 0 || take_lock(s, errors) < 0)
        return -1;
    int status = disk_read_file(&s->disk, FORMAT_FILE, 4096, &text, NULL, errors);
    if (status != 0)
        return status > 0 ? make_store(s, errors) : -1;
    status = check_format(s, text, errors);
    hg_free((void *)text.p);
    return status < 0 ? -1 : load(s, errors);
}

struct store *store_open(const char *folder, struct error_list *errors) {
    struct store *s = hg_calloc(1, sizeof *s);
    if (s)
        s->folder = hg_strdup(folder);
    if (!s || !s->folder) {
        error_addf(errors, ERROR_MEMORY, "out of memory");
        hg_free(s);
        return NULL;
    }
    s->disk = (struct disk){.root = -1, .folder = s->folder};
    s->lock = -1;
    if (open_or_make(s, errors) == 0)
        return s;
    store_close(s);
    return NULL;
}

bool store_is_in_use(const char *folder) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/" LOCK_FILE, folder) >= (int)sizeof path)
        return false;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool is_locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return is_locked;
}

void store_close(struct store *s) {
    if (!s)
        return;
    store_manifest_unref(s->current);
    while (s->live) {
        struct store_manifest *m = s->live;
        s->live = m->next;
        m->next = NULL;
        m->link = NULL;
    }
    if (s->lock >= 0)
        close(s->lock);
    if (s->disk.root >= 0)
        close(s->disk.root);
    kept_finish(&s->kept);
    hg_free(s->folder);
    hg_free(s);
}
