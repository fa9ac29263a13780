#include "controlplane/secrets/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/secret_memory.h"

enum { ROUNDS = 10 };

/* ---- the root ---- */

static char *absolute(const char *path) {
    char folder[PATH_MAX], joined[2 * PATH_MAX];
    if (path[0] == '/')
        return hg_strdup(path);
    if (!getcwd(folder, sizeof folder))
        return NULL;
    int n = snprintf(joined, sizeof joined, "%s%s%s", folder, *path && strcmp(path, ".") != 0 ? "/" : "",
                     strcmp(path, ".") != 0 ? path : "");
    return n < PATH_MAX ? hg_strdup(joined) : NULL;
}

static void cut_slashes(char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
}

int secret_root_open(const char *root, const char *base, struct secret_root *ret, struct error_list *errors) {
    struct secret_root r = {.root = absolute(root ? root : "/"), .fd = -1};
    r.base = absolute(base ? base : r.root ? r.root : "/");
    if (!r.root || !r.base) {
        error_addf(errors, ERROR_MEMORY, "no memory for the root of files");
        secret_root_close(&r);
        return -1;
    }
    cut_slashes(r.root);
    cut_slashes(r.base);
    if (strcmp(r.root, "/") != 0)
        r.fd = open(r.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *ret = r;
    return 0;
}

void secret_root_close(struct secret_root *r) {
    if (r->root && r->fd >= 0)
        close(r->fd);
    hg_free(r->root);
    hg_free(r->base);
    *r = (struct secret_root){.fd = -1};
}

int secret_file_path(const struct secret_root *r, const char *name, char *path, size_t size) {
    int n = name[0] == '/' ? snprintf(path, size, "%s", name)
                           : snprintf(path, size, "%s%s%s", r->base, r->base[1] ? "/" : "", name);
    return n > 0 && (size_t)n < size ? 0 : -1;
}

/* ---- one file ---- */

static int open_below(const struct secret_root *r, const char *path, char why[SECRET_WHY_MAX]) {
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    size_t n = strlen(r->root);
    if (strncmp(path, r->root, n) != 0 || path[n] != '/') {
        snprintf(why, SECRET_WHY_MAX, "outside of %s, below which the control plane reads files", r->root);
        return -1;
    }
    if (r->fd < 0) {
        snprintf(why, SECRET_WHY_MAX, "the folder %s, below which the control plane reads files, is not there", r->root);
        return -1;
    }
    int fd = (int)syscall(SYS_openat2, r->fd, path + n + 1, &how, sizeof how);
    if (fd < 0 && errno == EXDEV)
        snprintf(why, SECRET_WHY_MAX, "leads out of %s, below which the control plane reads files", r->root);
    else if (fd < 0)
        snprintf(why, SECRET_WHY_MAX, "cannot be read: %s", strerror(errno));
    return fd;
}

static int open_file(const struct secret_root *r, const char *name, char why[SECRET_WHY_MAX]) {
    char path[PATH_MAX];
    if (secret_file_path(r, name, path, sizeof path) < 0) {
        snprintf(why, SECRET_WHY_MAX, "the path is too long");
        return -1;
    }
    if (strcmp(r->root, "/") != 0)
        return open_below(r, path, why);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        snprintf(why, SECRET_WHY_MAX, "cannot be read: %s", strerror(errno));
    return fd;
}

static int read_whole(int fd, const struct stat *st, struct str *ret, char why[SECRET_WHY_MAX]) {
    size_t size = (size_t)st->st_size, n = 0;
    if (!S_ISREG(st->st_mode) || st->st_size > SECRET_FILE_MAX) {
        snprintf(why, SECRET_WHY_MAX, S_ISREG(st->st_mode) ? "larger than 4 MiB" : "not a file");
        return -1;
    }
    char *bytes = secret_alloc(size + 1);
    ssize_t got = bytes ? 1 : -1;
    while (bytes && n < size && (got = read(fd, bytes + n, size - n)) > 0)
        n += (size_t)got;
    if (got >= 0) {
        *ret = (struct str){bytes, n};
        return 0;
    }
    snprintf(why, SECRET_WHY_MAX, bytes ? "cannot be read: %s" : "no memory", strerror(errno));
    secret_free(bytes);
    return -1;
}

/* ---- links on the way ---- */

static uint64_t mix(uint64_t sum, uint64_t value) {
    return (sum ^ value) * 1099511628211u; /* FNV-1a, by words */
}

/* Replaces the link that ends at `end` by what it leads to. False when that is too long or cannot be read. */
static bool follow_link(char path[PATH_MAX], size_t start, size_t end) {
    char target[PATH_MAX], joined[2 * PATH_MAX], link[PATH_MAX];
    snprintf(link, sizeof link, "%.*s", (int)end, path);
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = '\0';
    int length = snprintf(joined, sizeof joined, "%.*s%s%s", target[0] == '/' ? 0 : (int)start, path, target, path + end);
    if (length >= PATH_MAX)
        return false;
    memcpy(path, joined, (size_t)length + 1);
    return true;
}

/* A sum over every symbolic link on the way to the file. A link that is swapped, and swapped back, is another link then:
 * what the file itself is does not show that. */
static uint64_t sum_of_links(const struct secret_root *r, const char *name) {
    enum { STEPS = 512 };
    char path[PATH_MAX], link[PATH_MAX];
    uint64_t sum = 14695981039346656037u;
    size_t start = 1;
    if (secret_file_path(r, name, path, sizeof path) < 0)
        return sum;
    for (int step = 0; step < STEPS && path[start]; step++) {
        struct stat st;
        size_t end = start + strcspn(path + start, "/");
        snprintf(link, sizeof link, "%.*s", (int)end, path);
        if (lstat(link, &st) < 0)
            return sum;
        if (!S_ISLNK(st.st_mode)) {
            start = path[end] ? end + 1 : end;
            continue;
        }
        sum = mix(mix(mix(sum, st.st_ino), (uint64_t)st.st_ctim.tv_sec), (uint64_t)st.st_ctim.tv_nsec);
        if (!follow_link(path, start, end))
            return sum;
        start = 1;
    }
    return sum;
}

/* ---- several ---- */

struct together {
    const struct secret_root *root;
    const char *const        *names;
    int                       fds[SECRET_FILES_TOGETHER];
    struct stat               stats[SECRET_FILES_TOGETHER];
    uint64_t                  links[SECRET_FILES_TOGETHER];
    struct str               *bytes;
};

static bool is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void look_at_links(struct together *t) {
    for (size_t i = 0; i < SECRET_FILES_TOGETHER; i++)
        if (t->names[i])
            t->links[i] = sum_of_links(t->root, t->names[i]);
}

static int open_all(struct together *t, size_t *failed, char why[SECRET_WHY_MAX]) {
    for (size_t i = 0; i < SECRET_FILES_TOGETHER; i++) {
        *failed = i;
        if (!t->names[i])
            continue;
        t->fds[i] = open_file(t->root, t->names[i], why);
        if (t->fds[i] < 0)
            return -1;
        if (fstat(t->fds[i], &t->stats[i]) < 0) {
            snprintf(why, SECRET_WHY_MAX, "cannot be read: %s", strerror(errno));
            return -1;
        }
    }
    return 0;
}

static int read_all(struct together *t, size_t *failed, char why[SECRET_WHY_MAX]) {
    for (size_t i = 0; i < SECRET_FILES_TOGETHER; i++) {
        *failed = i;
        if (t->names[i] && read_whole(t->fds[i], &t->stats[i], &t->bytes[i], why) < 0)
            return -1;
    }
    return 0;
}

/* Whether the names still lead to what was read: a link that was swapped in between shows here. */
static bool is_current(const struct together *t) {
    char ignored[SECRET_WHY_MAX];
    for (size_t i = 0; i < SECRET_FILES_TOGETHER; i++) {
        struct stat now;
        int fd = t->names[i] ? open_file(t->root, t->names[i], ignored) : -1;
        if (!t->names[i])
            continue;
        bool is_same = fd >= 0 && fstat(fd, &now) == 0 && is_same_file(&now, &t->stats[i]);
        if (fd >= 0)
            close(fd);
        if (!is_same || sum_of_links(t->root, t->names[i]) != t->links[i])
            return false;
    }
    return true;
}

static void close_all(struct together *t) {
    for (size_t i = 0; i < SECRET_FILES_TOGETHER; i++) {
        if (t->fds[i] >= 0)
            close(t->fds[i]);
        t->fds[i] = -1;
    }
}

static void free_all(struct together *t) {
    for (size_t i = 0; i < SECRET_FILES_TOGETHER; i++) {
        secret_free((void *)(uintptr_t)t->bytes[i].p);
        t->bytes[i] = (struct str){NULL, 0};
    }
}

int secret_files_read(const struct secret_root *r, const char *const names[SECRET_FILES_TOGETHER],
                      struct str ret[SECRET_FILES_TOGETHER], size_t *ret_failed, char why[SECRET_WHY_MAX]) {
    struct together t = {.root = r, .names = names, .bytes = ret, .fds = {-1, -1, -1}};
    bool is_read = false;
    memset(ret, 0, SECRET_FILES_TOGETHER * sizeof *ret);
    for (int round = 0; round < ROUNDS && !is_read; round++) {
        look_at_links(&t); /* of all files before the first is opened */
        is_read = open_all(&t, ret_failed, why) == 0 && read_all(&t, ret_failed, why) == 0;
        close_all(&t);
        if (is_read && is_current(&t))
            return 0;
        if (is_read)
            snprintf(why, SECRET_WHY_MAX, "is being replaced all the time");
        free_all(&t);
        is_read = false;
    }
    return -1;
}
