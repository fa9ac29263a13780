#include "common/input_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_stdin(const char *path) {
    return strcmp(path, INPUT_FILE_STDIN) == 0;
}

static bool is_handed_over(const char *path) {
    return is_stdin(path) || strcmp(path, "/dev/stdin") == 0 || strncmp(path, "/dev/fd/", strlen("/dev/fd/")) == 0;
}

/* What standard input is need not have a path that can be opened: a socket has none. */
static int open_path(const char *path, bool may_wait) {
    if (is_stdin(path))
        return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (may_wait ? 0 : O_NONBLOCK));
}

/* 0, or an error; sockets are ENXIO for the system already. */
static int check_kind(int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return errno;
    return S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? EISDIR : ENXIO;
}

FILE *input_file_open(const char *path) {
    bool may_wait = is_handed_over(path);
    int fd = open_path(path, may_wait);
    if (fd < 0)
        return NULL;
    int error = may_wait ? 0 : check_kind(fd);
    FILE *file = error ? NULL : fdopen(fd, "r");
    if (file)
        return file;
    error = error ? error : errno;
    close(fd);
    errno = error;
    return NULL;
}

const char *input_file_reason(int error) {
    return error == ENXIO ? "it is a pipe, a socket or a device" : strerror(error);
}
