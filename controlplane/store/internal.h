/* internal.h — what the files of the store share. Thread: as store.h says. */
#pragma once

#include "common/alloc.h"
#include "common/map.h"
#include "controlplane/store/disk.h"
#include "controlplane/store/frame.h"
#include "controlplane/store/store.h"
#include "controlplane/store/store.pb-c.h"

enum {
    FAN_OUT = 16,              /* folders of objects; an ext4 folder holds tens of thousands of names with ease */
    PATH_SIZE = 96,            /* of every path below the folder */
    HEAD_FILE_MAX = 4096,
    RECORD_FRAME_MAX = 8192,   /* the first frame of a version file */
    VERSION_FILE_MAX = 512 << 20,
};

#define FORMAT_FILE "format"
#define LOCK_FILE "lock"
#define HEAD_FILE "HEAD"
#define STATE_FILE "state"
#define STATE_ASIDE TEMPORARY_FOLDER "/state.aside"
#define TEMPORARY_FOLDER "tmp"
#define VERSIONS_FOLDER "versions"
#define OBJECTS_FOLDER "objects"

struct head {
    uint64_t newest, oldest;
    uint64_t whole_from;        /* from it on there are all versions, before it only those that a push made */
    struct resource_id newest_hash;
    bool pinned;
};

/* Which versions there are. */
struct kept {
    uint64_t *pushed;           /* ascending, all before whole_from */
    size_t    count, capacity;
    uint64_t  whole_from;
};

struct store {
    struct disk disk;
    char *folder;
    int lock;
    uint8_t lineage[LINEAGE_SIZE];
    int format;                     /* of the folder */
    struct head head;
    struct kept kept;
    struct store_manifest *current; /* one reference; NULL without a version */
    struct store_manifest *live;    /* every referenced manifest, the current one too */
    bool is_uncertain;              /* it is not known what the disk has: nothing may be written */
};

/* ---- files.c: paths, and replacing whole files ---- */

void path_of_version(uint64_t number, char path[PATH_SIZE]);
/* The number of a file name in the folder of versions; 0 when it is not exactly such a name. */
uint64_t version_of_name(const char *name);
void path_of_object(const struct resource_id *id, char path[PATH_SIZE]);
/* The folder of the objects whose id begins with this hexadecimal digit. */
void path_of_fan_out(unsigned digit, char path[PATH_SIZE]);

int report_memory(const struct store *s, struct error_list *errors); /* adds ERROR_MEMORY, returns -1 */
/* -1 with an error when nothing may be written any more. */
int check_writable(const struct store *s, struct error_list *errors);
/* Puts a file in the place of `name` at the top of the folder, durably. When only the last step fails, the
 * store becomes uncertain. */
int replace_file(struct store *s, const char *name, const struct str *parts, size_t count,
                 struct error_list *errors);

int head_write(struct store *s, const struct head *head, struct error_list *errors);
int head_read(const struct store *s, struct head *ret_head, uint8_t ret_lineage[LINEAGE_SIZE],
              struct error_list *errors);
/* The exact bytes of the format file. */
void format_text(const struct store *s, char text[128]);

/* ---- kept.c ---- */

void kept_finish(struct kept *k);
/* In any order; sort when all are there. 0, or -1 without memory. */
int kept_add(struct kept *k, uint64_t number);
void kept_sort(struct kept *k);
int kept_copy(const struct kept *from, struct kept *ret);
/* Whatever the newest is. */
bool kept_has(const struct kept *k, uint64_t number);
/* The next older, 0: none; the next newer, which may be above the newest. */
uint64_t kept_before(const struct kept *k, uint64_t number);
uint64_t kept_after(const struct kept *k, uint64_t number);
/* Fills s->kept from the folder, and removes what an unfinished write left there. */
int kept_load(struct store *s, struct error_list *errors);

/* ---- manifest.c: manifests in memory, version files ---- */

/* A manifest with one reference and an arena, not yet in the list of live ones; NULL without memory. */
struct store_manifest *manifest_create(void);
/* Of all that it names: the entries, then what is hidden. */
const struct store_entry *manifest_entry(const struct store_manifest *m, size_t i);
/* From then on store_gc keeps its objects. */
void manifest_enlist(struct store *s, struct store_manifest *m);

enum { VERSION_FRAMES_MAX = 3 };

/* The frames of the file of version m->version, whose intent_hash and hash it sets. */
int version_encode(const struct store *s, struct store_manifest *m, const struct resource_id *parent_hash,
                   struct arena *arena, struct str ret_frames[VERSION_FRAMES_MAX], size_t *ret_count);

/* A record as read; texts and parent hash in `arena`. */
struct record {
    struct store_version version;
    bool has_parent_hash, has_layers;
    struct resource_id parent_hash, manifest_hash, layers_hash;
    struct resource_id pushed_hash; /* of version.pushed_before, when there is one */
    struct frame frame;
};

/* Decodes the record at the start of a version file and checks what it says of itself. Returns 0,
 * MESSAGE_MALFORMED or MESSAGE_MEMORY. */
int record_decode(const struct store *s, struct str file, uint64_t number, struct arena *arena,
                  struct record *ret_record);
/* Reads only the record; texts in `arena`. Returns 0, MESSAGE_MALFORMED or MESSAGE_MEMORY, with an error. */
int record_read(const struct store *s, uint64_t number, struct arena *arena, struct record *ret_record,
                struct error_list *errors);
/* Reads and checks the whole version file. `record` may be NULL. */
struct store_manifest *version_read(const struct store *s, uint64_t number, struct record *record,
                                    struct error_list *errors);

/* ---- layers.c ---- */

/* By kind, name and layer: the order of what is hidden. */
int entry_compare_hidden(const struct store_entry *a, const struct store_entry *b);
/* Whether a part of the version was not pushed. */
bool layers_has_any(const struct store_manifest *m);
int layers_encode(const struct store_manifest *m, struct arena *arena, struct str *ret_frame,
                  struct resource_id *ret_hash);
/* Gives the entries of `m` their layers, and sets what is hidden. Returns 0, MESSAGE_MALFORMED or MESSAGE_MEMORY. */
int layers_decode(struct store_manifest *m, struct store_entry *entries, const struct record *r, struct str bytes,
                  struct arena *arena);

/* ---- objects.c ---- */

/* What store_commit writes to the folder of objects. */
struct object_writer {
    struct store *store;
    const struct store_resource **new_objects; /* to be written */
    size_t count, capacity;
    size_t written, placed; /* steps done, to undo them */
    bool *existed;
};

/* Writes those objects durably. On failure what it made is removed again. */
int objects_write(struct object_writer *w, struct error_list *errors);
/* Removes what objects_write made: the commit failed later. */
void objects_undo(struct object_writer *w);
void object_writer_finish(struct object_writer *w);

/* Where a walk through all objects is; begins zeroed. */
struct object_cursor {
    unsigned digit;      /* of the folder */
    bool is_open;        /* its names are read */
    struct strbuf names; /* each with its NUL */
    size_t at;
};

/* Calls `visit` with the path below the folder and the id of the next objects, up to STORE_STEP_FILES; names that are
 * not an object's come with `id` NULL. 1: there are more; 0: those were the last; -1: the folder cannot be read, or `visit`
 * said so. */
typedef int object_visitor(void *context, const char *path, const struct resource_id *id);
int objects_visit(const struct store *s, struct object_cursor *c, object_visitor *visit, void *context,
                  struct error_list *errors);
void object_cursor_finish(struct object_cursor *c);
/* Whether the object is there and whole: 0; -1 with an error. */
int object_check(const struct store *s, const struct resource_id *id, uint64_t *ret_size,
                 struct error_list *errors);
