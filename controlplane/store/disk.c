#include "controlplane/store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"

static disk_hook *step_hook;
static void *step_context;

void disk_set_hook(disk_hook *hook, void *context) {
    step_hook = hook;
    step_context = context;
}

/* Returns 0, or -1 with errno set when the step is made to fail. */
static int before(struct disk_step *step) {
    int failure = step_hook ? step_hook(step_context, step) : 0;
    if (failure == 0)
        return 0;
    errno = failure;
    return -1;
}

void disk_report(const struct disk *d, const char *path, enum error_code code, const char *message,
                 struct error_list *errors) {
    char file[4096];
    snprintf(file, sizeof file, "%s%s%s", d->folder, path ? "/" : "", path ? path : "");
    error_set_place(errors, error_addf(errors, code, "%s", message), file, 0, 0);
}

static int fail(const struct disk *d, const char *path, const char *verb, struct error_list *errors) {
    char message[256], reason[128];
    snprintf(message, sizeof message, "%s: %s", verb, strerror_r(errno, reason, sizeof reason));
    disk_report(d, path, ERROR_IO, message, errors);
    return -1;
}

int disk_make_folder(const struct disk *d, const char *path, bool *ret_made, struct error_list *errors) {
    bool made = true;
    if (before(&(struct disk_step){.op = DISK_MAKE_FOLDER, .path = path}) < 0 ||
        mkdirat(d->root, path, 0700) < 0) {
        if (errno != EEXIST)
            return fail(d, path, "cannot make the folder", errors);
        made = false;
    }
    if (ret_made)
        *ret_made = made;
    return 0;
}

static int write_part(int fd, const char *path, struct str part) {
    while (part.n) {
        struct disk_step step = {.op = DISK_WRITE, .path = path, .bytes = part};
        if (before(&step) < 0)
            return -1;
        ssize_t n = write(fd, part.p, step.bytes.n);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            part = (struct str){part.p + n, part.n - (size_t)n};
    }
    return 0;
}

static int sync_file(int fd, const char *path) {
    return before(&(struct disk_step){.op = DISK_SYNC_FILE, .path = path}) < 0 ? -1 : fsync(fd);
}

static int write_parts(int fd, const char *path, const struct str *parts, size_t count, bool sync) {
    for (size_t i = 0; i < count; i++)
        if (write_part(fd, path, parts[i]) < 0)
            return -1;
    return sync ? sync_file(fd, path) : 0;
}

static int create(const struct disk *d, const char *path) {
    if (before(&(struct disk_step){.op = DISK_CREATE, .path = path}) < 0)
        return -1;
    return openat(d->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int disk_write_file(const struct disk *d, const char *path, const struct str *parts, size_t count, bool sync,
                    struct error_list *errors) {
    int fd = create(d, path);
    if (fd < 0)
        return fail(d, path, "cannot make the file", errors);
    int status = write_parts(fd, path, parts, count, sync);
    int failure = errno;
    /* A file system may report only here that there is no room (NFS). */
    if (close(fd) < 0 && status == 0) {
        failure = errno;
        status = -1;
    }
    if (status == 0)
        return 0;
    struct error_list unused = {0};
    disk_remove(d, path, &unused);
    error_list_finish(&unused);
    errno = failure;
    return fail(d, path, "cannot write the file", errors);
}

int disk_rename(const struct disk *d, const char *from, const char *to, struct error_list *errors) {
    if (before(&(struct disk_step){.op = DISK_RENAME, .path = from, .to = to}) < 0 ||
        renameat(d->root, from, d->root, to) < 0)
        return fail(d, to, "cannot put the file in its place", errors);
    return 0;
}

int disk_remove(const struct disk *d, const char *path, struct error_list *errors) {
    if (before(&(struct disk_step){.op = DISK_REMOVE, .path = path}) == 0 && unlinkat(d->root, path, 0) == 0)
        return 0;
    return errno == ENOENT ? 0 : fail(d, path, "cannot remove the file", errors);
}

static int open_folder(const struct disk *d, const char *path) {
    return openat(d->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int disk_sync_folder(const struct disk *d, const char *path, struct error_list *errors) {
    int fd = open_folder(d, path);
    int status = fd < 0 ? -1 : before(&(struct disk_step){.op = DISK_SYNC_FOLDER, .path = path});
    if (status == 0)
        status = fsync(fd);
    if (status < 0)
        fail(d, path, "cannot make changes of the folder durable", errors);
    if (fd >= 0)
        close(fd);
    return status;
}

int disk_sync_all(const struct disk *d, struct error_list *errors) {
    if (before(&(struct disk_step){.op = DISK_SYNC_ALL, .path = "."}) < 0 || syncfs(d->root) < 0)
        return fail(d, NULL, "cannot make changes of the file system durable", errors);
    return 0;
}

/* Fills the buffer from the file, or up to its end. */
static int read_whole(int fd, char *buffer, size_t size, size_t *ret_size) {
    size_t at = 0;
    while (at < size) {
        ssize_t n = read(fd, buffer + at, size - at);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -1;
        at += n > 0 ? (size_t)n : 0;
    }
    *ret_size = at;
    return 0;
}

static int read_open_file(const struct disk *d, int fd, const char *path, size_t limit, struct str *ret_bytes,
                          uint64_t *ret_file_size, struct error_list *errors) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return fail(d, path, "cannot read the file", errors);
    if (!S_ISREG(st.st_mode)) {
        disk_report(d, path, ERROR_INTEGRITY, "not a regular file", errors);
        return -1;
    }
    uint64_t file_size = (uint64_t)st.st_size;
    size_t size = file_size < limit ? (size_t)file_size : limit;
    char *buffer = hg_malloc(size);
    if (!buffer) {
        disk_report(d, path, ERROR_MEMORY, "out of memory", errors);
        return DISK_MEMORY;
    }
    if (read_whole(fd, buffer, size, &size) < 0) {
        fail(d, path, "cannot read the file", errors);
        hg_free(buffer);
        return -1;
    }
    *ret_bytes = (struct str){buffer, size};
    if (ret_file_size)
        *ret_file_size = file_size;
    return 0;
}

int disk_read_file(const struct disk *d, const char *path, size_t limit, struct str *ret_bytes,
                   uint64_t *ret_file_size, struct error_list *errors) {
    /* O_NONBLOCK: a FIFO put there must not stop the daemon. */
    int fd = openat(d->root, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 1 : fail(d, path, "cannot open the file", errors);
    int status = read_open_file(d, fd, path, limit, ret_bytes, ret_file_size, errors);
    close(fd);
    return status;
}

int64_t disk_file_size(const struct disk *d, const char *path) {
    struct stat st;
    return fstatat(d->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -1 : (int64_t)st.st_size;
}

/* The names in a folder, each with its NUL. */
int disk_names(const struct disk *d, const char *path, struct strbuf *names, struct error_list *errors) {
    int fd = open_folder(d, path);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        fail(d, path, "cannot read the folder", errors);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    struct dirent *e;
    while (errno = 0, (e = readdir(folder)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            strbuf_add(names, e->d_name, strlen(e->d_name) + 1);
    int status = errno ? fail(d, path, "cannot read the folder", errors) : 0;
    closedir(folder);
    if (status == 0 && names->failed) {
        disk_report(d, path, ERROR_MEMORY, "out of memory", errors);
        status = -1;
    }
    return status;
}

int disk_list(const struct disk *d, const char *path, int (*visit)(void *context, const char *name),
              void *context, struct error_list *errors) {
    struct strbuf names = {0};
    int status = disk_names(d, path, &names, errors);
    for (size_t at = 0; status == 0 && at < names.n; at += strlen(names.p + at) + 1)
        status = visit(context, names.p + at);
    strbuf_finish(&names);
    return status;
}
