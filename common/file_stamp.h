/* file_stamp.h — has a file changed since it was read?
 *
 * Symbolic links are followed, so that a file that is reached by a link which now points elsewhere, as Kubernetes swaps
 * `..data`, is another one. Thread: any. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>

struct file_stamp {
    dev_t           device;
    ino_t           inode;          /* 0: there is no such file */
    off_t           size;
    struct timespec changed;
};

/* Take it before reading: a change after that shows the next time. */
struct file_stamp file_stamp_of(const char *path);
bool              file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);
