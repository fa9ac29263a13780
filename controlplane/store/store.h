/* store.h — the history of intent, on disk.
 *
 * A store is one folder: resource bytes by their SHA-256, versions that form a hash chain, a head that names
 * the newest version, and apart from them the last saved state. docs/internals/store.md has the files and the
 * order of writes.
 *
 * What holds for every function here:
 *  - Synchronous, and it writes with fsync: call from a thread that may wait for a disk.
 *  - One thread at a time per store; only store_read_object may run beside any other call.
 *  - 0, a pointer or true: done. -1 or NULL: at least one error was added to `errors`, the out-parameters are
 *    untouched, and the store, on disk and in memory, is as it was. One exception: when the disk fails in the
 *    very last step of a write (ERROR_IO, "may or may not be stored"), the store refuses all further writes
 *    until it is opened again.
 *  - A process that dies at any instruction, and a machine that loses power, leave the store as it was before
 *    the write or as it is after it. store_open removes what an unfinished write left behind. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/error.h"
#include "proto/resource.h"

enum {
    STORE_FORMAT = 2,           /* the newest that is known of the folder; a store of a newer one is refused */
    STORE_FORMAT_PLAIN = 1,     /* what a store has until something is stored that needs a newer one */
    STORE_LAYERS_MAX = 8,       /* layers are numbers below it */
    STORE_AUTHOR_MAX = 256,     /* bytes; a longer text is refused */
    STORE_MESSAGE_MAX = 4096,
    STORE_STATE_MAX = 512 << 20 /* bytes of all resources of a saved state */
};

struct store;

/* ---- open and close ---- */

/* Opens the store in `folder`, or makes one there: the folder itself is made (mode 0700) when it does not
 * exist, its parent must exist. Reads the head and the newest version, hash-checked.
 * Errors: ERROR_CONFLICT another process, or this one, has the store open; ERROR_UNSUPPORTED a newer format;
 * ERROR_INTEGRITY damaged head or newest version, or a folder that holds something else; ERROR_IO;
 * ERROR_MEMORY. */
struct store *store_open(const char *folder, struct error_list *errors);
/* Whether somebody has it open now. Not for who wants to open it next: another one may be faster. */
bool store_is_in_use(const char *folder);
/* NULL is allowed. A manifest that is still referenced stays readable; it keeps nothing from gc any more. */
void store_close(struct store *s);

/* LINEAGE_SIZE random bytes made with the store. Valid as long as the store. */
const uint8_t *store_lineage(const struct store *s);

/* ---- versions ---- */

/* What is known of one version without its resources. The texts live as long as what holds the struct. */
struct store_version {
    uint64_t           number;      /* from 1; there is a gap where gc has dropped what servers said */
    uint64_t           parent;      /* the version before; 0: none */
    uint64_t           restores;    /* a rollback: the version whose intent this repeats; otherwise 0 */
    uint64_t           time_us;     /* microseconds since 1970 */
    const char        *author;      /* never NULL */
    const char        *message;     /* never NULL */
    size_t             resources;   /* number of entries */
    unsigned           layer;       /* whose change made this version; 0: a push */
    uint64_t           pushed_before; /* the newest version before this one that a push made; 0: none */
    struct resource_id intent_hash; /* manifest_hash() over its entries */
    struct resource_id hash;        /* of the record, which has the hash of its parent's record in it */
};

struct store_entry {
    Headgate__Kind     kind;
    const char        *name;
    struct resource_id id;
    unsigned char      layer;       /* where it comes from; 0: it was pushed. What the others are is the caller's affair */
};

/* A version with its entries, immutable and counted. As long as one is referenced, store_gc keeps all its
 * objects, so that they can be read whatever happens meanwhile. */
struct store_manifest {
    struct store_version      version;
    const struct store_entry *entries; /* version.resources of them, sorted by kind, then name */
    const struct store_entry *hidden;  /* what another layer hides; sorted by kind, name, layer */
    size_t                    hidden_count;

    /* The store's own from here on. */
    unsigned               references;
    struct resource_id     pushed_hash; /* of the record of version.pushed_before */
    struct store_manifest *next, **link;
    struct arena           arena;
};

/* The newest version; NULL when the store has none yet. Not a new reference: valid until the next
 * store_commit or store_close, unless the caller takes one. */
struct store_manifest *store_current(const struct store *s);
/* The number that the next store_commit gives. */
uint64_t store_next_version(const struct store *s);
/* The oldest version that gc has left; 0 when there is none. */
uint64_t store_oldest_version(const struct store *s);
/* How many there are. */
uint64_t store_version_count(const struct store *s);

struct store_manifest *store_manifest_ref(struct store_manifest *m);
void store_manifest_unref(struct store_manifest *m); /* NULL is allowed */
/* Binary search; NULL when the manifest has no such resource. */
const struct store_entry *store_manifest_find(const struct store_manifest *m, Headgate__Kind kind,
                                              struct str name);

/* Reads any kept version from disk, hash-checked (the newest comes from memory). The caller gets a reference.
 * Errors: ERROR_REFERENCE no such version, or no longer; ERROR_INTEGRITY; ERROR_IO; ERROR_MEMORY. */
struct store_manifest *store_read_version(struct store *s, uint64_t number, struct error_list *errors);

/* Versions newest first. */
struct store_log {
    struct store_version *items;
    size_t                count;
    struct arena          arena;
};

/* Up to `limit` versions, beginning with number `from` (0: the newest). A version that cannot be read is
 * added to `errors` and left out, the rest is still listed: check both. Returns -1 only for memory and for a
 * `from` that does not exist. */
int store_list(struct store *s, uint64_t from, size_t limit, struct store_log *ret_log,
               struct error_list *errors);
void store_log_finish(struct store_log *log); /* a zeroed struct is allowed */

/* ---- commit ---- */

struct store_resource {
    Headgate__Kind     kind;
    const char        *name;
    struct resource_id id;    /* SHA-256 of the bytes */
    const void        *bytes; /* may be NULL when the store has the object (it is in one of its manifests) */
    size_t             size;
    unsigned char      layer; /* in a commit */
};

struct store_commit {
    const struct store_resource *resources; /* the whole intent, in any order; the caller's, not kept */
    size_t                       count;     /* 0 is an intent without resources */
    const struct store_resource *hidden;    /* in any order, each once in its layer; no part of the intent's hash */
    size_t                       hidden_count;
    unsigned                     layer;     /* see store_version */
    const char                  *author;    /* NULL: empty */
    const char                  *message;   /* NULL: empty */
    uint64_t                     time_us;   /* 0: now */
    uint64_t                     parent;    /* the version it was made from (0: none); must be the newest */
    uint64_t                     restores;  /* a rollback: see store_version; otherwise 0 */
    bool                         pin;       /* pin intent to the new version; otherwise the pin is lifted */
};

/* Makes the next version, durable when it returns, and makes it store_current. Only objects that the newest
 * version does not have are written, plus one file with record and manifest, plus the head. A resource
 * without bytes that the newest version does not have is read back and checked first. Whether the intent
 * differs from the newest is not asked.
 * Errors: ERROR_STATE `parent` is not the newest version; ERROR_CONFLICT a (kind, name) given twice;
 * ERROR_SYNTAX a name; ERROR_UNSUPPORTED a kind; ERROR_RANGE too many, too large, text too long;
 * ERROR_INTEGRITY bytes that do not have the id; ERROR_REFERENCE neither bytes nor object; ERROR_IO (disk
 * full, read-only); ERROR_MEMORY. The first commit that has layers raises the format of the folder, which stays so when the
 * commit then fails. */
int store_commit(struct store *s, const struct store_commit *commit, struct error_list *errors);

/* The version that intent is pinned to, so that no source but a push moves it; 0: not pinned. */
uint64_t store_pinned_version(const struct store *s);
/* Pins to the newest version (`pin`), or lifts the pin. Durable when it returns. ERROR_STATE: no version to
 * pin to. */
int store_set_pin(struct store *s, bool pin, struct error_list *errors);

/* ---- objects ---- */

/* Reads an object; its bytes are checked against the id. They become the caller's (hg_free).
 * Errors: ERROR_REFERENCE no such object; ERROR_INTEGRITY; ERROR_IO; ERROR_MEMORY. Thread: any, beside any
 * other call. */
int store_read_object(const struct store *s, const struct resource_id *id, uint8_t **ret_bytes,
                      size_t *ret_size, struct error_list *errors);

/* ---- check and clean ---- */

/* Called now and then with how many of the files have been looked at. Must not call the store. */
typedef void store_progress(void *context, uint64_t done, uint64_t total);

struct store_verify_result {
    uint64_t versions, objects, bytes; /* read */
    uint64_t faults;                   /* found */
};

/* Reads every file and checks it: hashes, the chain, that every resource of every version is there, the saved
 * state, and that nothing else lies in the folder. Each fault is added to `errors` (ERROR_INTEGRITY) with the
 * file, and with the version or resource it concerns. Returns 0 when all could be looked at, faults or not;
 * -1 for memory or a folder that cannot be read. `progress` may be NULL. */
int store_verify(struct store *s, store_progress *progress, void *context,
                 struct store_verify_result *ret_result, struct error_list *errors);

/* The same in steps, for a thread that has other things to do between them: at each step one version, or up to
 * STORE_STEP_FILES files, are looked at. Any call may come between two steps, but for another store_gc and store_close.
 * What is committed meanwhile is not a fault, and not all of it is looked at. */
enum { STORE_STEP_FILES = 64 };

struct store_verification;
/* `errors` is used until the end. NULL: memory. */
struct store_verification *store_verification_create(struct store *s, store_progress *progress, void *context,
                                                     struct error_list *errors);
/* 1: there is more to do; 0: done, with *ret_result; -1: as store_verify. */
int store_verification_step(struct store_verification *v, struct store_verify_result *ret_result);
void store_verification_destroy(struct store_verification *v); /* at any time; NULL is allowed */

/* What to keep: of the versions that a push made the newest `versions`, and those that are younger than `age_us`; of the
 * others the newest `discovered`, as far as they are newer than the oldest push that is kept. The newest of all, which may
 * be pinned, stays in any case. */
struct store_retention {
    uint64_t versions;
    uint64_t discovered; /* 0: as many as `versions` */
    uint64_t age_us; /* 0: age keeps nothing */
    uint64_t now_us; /* 0: now */
};

struct store_gc_result {
    uint64_t versions, objects, bytes; /* dropped; with dry_run: would be */
};

/* Drops the versions that retention does not keep, oldest first, then every
 * object that no kept version and no referenced manifest names. Refuses (ERROR_INTEGRITY) when a kept
 * manifest cannot be read, since then it is not known what is needed. Stopped in the middle, by death or by
 * an error, it goes on where it was when it is called again. */
int store_gc(struct store *s, const struct store_retention *retention, bool dry_run,
             struct store_gc_result *ret_result, struct error_list *errors);

/* The same in steps, as for a verification. What is committed meanwhile stays, and so does what is read. Left before its end
 * it has dropped a part, as when it is stopped. */
struct store_collection;
struct store_collection *store_collection_create(struct store *s, const struct store_retention *retention,
                                                 bool dry_run, struct error_list *errors);
int store_collection_step(struct store_collection *c, struct store_gc_result *ret_result);
void store_collection_destroy(struct store_collection *c);

/* ---- state ---- */

/* The state part of a snapshot, with the bytes of its resources in it: it has no history and is replaced
 * whole. */
struct store_state {
    uint64_t                     generation;
    uint64_t                     time_us;   /* microseconds since 1970; 0 when saving: now */
    const struct store_resource *resources; /* loaded ones come in the order they were saved in */
    size_t                       count;
    struct arena                 arena;     /* of a loaded one */
};

/* Replaces the saved state; durable when it returns. Writes all of it, so the caller gathers changes for a
 * second. The saved generation can therefore be behind what was pushed: after a restart go on above it and
 * above what data planes hold. */
int store_save_state(struct store *s, const struct store_state *state, struct error_list *errors);
/* The same on any thread, one at a time, beside any other call but store_save_state and store_close. A loss of power soon
 * after may bring the state before it back. */
int store_save_state_beside(const struct store *s, const struct store_state *state, struct error_list *errors);
/* 1: loaded, finish it with store_state_finish; 0: none was ever saved; -1: errors (a damaged one:
 * ERROR_INTEGRITY). */
int store_load_state(struct store *s, struct store_state *ret_state, struct error_list *errors);
void store_state_finish(struct store_state *state); /* a zeroed struct is allowed */
