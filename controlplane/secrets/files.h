/* files.h — files of certificates and keys, below a root, and several of them as they were at one moment.
 *
 * Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/str.h"

enum { SECRET_FILE_MAX = 4 << 20, SECRET_FILES_TOGETHER = 3, SECRET_WHY_MAX = 512 };

/* Where names of files lead. */
struct secret_root {
    char *root;                 /* absolute; nothing outside is read, whatever links say */
    char *base;                 /* absolute; names that are not absolute start here */
    int   fd;                   /* of the root; -1: the root is "/" */
};

/* `root` NULL: "/". `base` NULL: the root. 0, or -1 with an error. */
int  secret_root_open(const char *root, const char *base, struct secret_root *ret, struct error_list *errors);
void secret_root_close(struct secret_root *r); /* a zeroed struct is allowed, and fd 0 is then none */

/* Reads the files (NULL: none) so that all of them were under these names at one moment: while one of them is replaced, all
 * are read again, a few times. The bytes are in secret memory (secret_free). Returns 0, or -1 with nothing read, *ret_failed
 * the index and why[] a clause that does not name the file. */
int secret_files_read(const struct secret_root *r, const char *const names[SECRET_FILES_TOGETHER],
                      struct str ret[SECRET_FILES_TOGETHER], size_t *ret_failed, char why[SECRET_WHY_MAX]);
/* The absolute path, for a watch. -1: too long. */
int secret_file_path(const struct secret_root *r, const char *name, char *path, size_t size);
