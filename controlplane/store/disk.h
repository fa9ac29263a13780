/* disk.h — the ways in which a store reads and changes its folder.
 *
 * Every change is one of the steps below and goes through one function, so that a test can stop the process,
 * or fail the call, at each of them. Paths are relative to the folder. Functions return 0 or -1 with an error
 * (ERROR_IO with the system's words, or ERROR_MEMORY) that names the file. Thread: reading any; changing one
 * at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/str.h"

struct disk {
    int         root;   /* descriptor of the folder */
    const char *folder; /* its path, for messages */
};

enum disk_op {
    DISK_MAKE_FOLDER,
    DISK_CREATE,
    DISK_WRITE,
    DISK_SYNC_FILE,
    DISK_RENAME,
    DISK_REMOVE,
    DISK_SYNC_FOLDER, /* what was made, renamed and removed in one folder */
    DISK_SYNC_ALL,    /* everything on the file system (syncfs) */
};

struct disk_step {
    enum disk_op op;
    const char  *path;
    const char  *to;    /* of a rename */
    struct str   bytes; /* of a write */
};

/* For tests, process-wide: called before each step. Returns 0 to go on, or an errno that the step then fails
 * with. A write may be cut by lowering bytes.n. NULL takes it away. */
typedef int disk_hook(void *context, struct disk_step *step);
void disk_set_hook(disk_hook *hook, void *context);

/* Makes a folder of mode 0700; one that is there already is fine: *ret_made says which. `ret_made` may be
 * NULL. */
int disk_make_folder(const struct disk *d, const char *path, bool *ret_made, struct error_list *errors);
/* Writes a file of mode 0600 with the parts one after the other; with `sync` its bytes are durable. A file
 * that could not be written whole is removed again. */
int disk_write_file(const struct disk *d, const char *path, const struct str *parts, size_t count, bool sync,
                    struct error_list *errors);
int disk_rename(const struct disk *d, const char *from, const char *to, struct error_list *errors);
/* A file that is not there is fine. */
int disk_remove(const struct disk *d, const char *path, struct error_list *errors);
int disk_sync_folder(const struct disk *d, const char *path, struct error_list *errors);
int disk_sync_all(const struct disk *d, struct error_list *errors);

enum { DISK_MEMORY = -2 };

/* Reads up to `limit` bytes of a file; they are the caller's (hg_free). Returns 0, -1, DISK_MEMORY, or 1 when
 * there is no such file, without an error. A file that is larger gives its first `limit` bytes;
 * *ret_file_size (may be NULL) has its size. */
int disk_read_file(const struct disk *d, const char *path, size_t limit, struct str *ret_bytes,
                   uint64_t *ret_file_size, struct error_list *errors);
/* Size of a file, or -1 when it is not there or cannot be looked at. */
int64_t disk_file_size(const struct disk *d, const char *path);

/* Calls `visit` with each name in a folder except "." and "..", until one call does not return 0. Returns
 * what the last call did, or -1. The folder may be changed meanwhile: it is read first. */
int disk_list(const struct disk *d, const char *path, int (*visit)(void *context, const char *name),
              void *context, struct error_list *errors);

/* The names of a folder one after the other, each with its NUL, are added to `names`; none of them is "." or "..". */
int disk_names(const struct disk *d, const char *path, struct strbuf *names, struct error_list *errors);

/* Adds an error that names the file `path` of the folder (NULL: the folder). */
void disk_report(const struct disk *d, const char *path, enum error_code code, const char *message,
                 struct error_list *errors);
