#include "common/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int print_path(char *text, size_t size, const char *folder, const char *name) {
    int n = snprintf(text, size, "%s%s", folder, name);
    return n >= 0 && (size_t)n < size ? 0 : -1;
}

static const char *from_environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

int default_state_dir(char *text, size_t size) {
    const char *dir = from_environment("HEADGATE_STATE_DIR"), *of_user = from_environment("XDG_STATE_HOME");
    const char *home = from_environment("HOME");
    if (dir)
        return print_path(text, size, dir, "");
    if (geteuid() != 0 && of_user)
        return print_path(text, size, of_user, "/headgate");
    if (geteuid() != 0 && home)
        return print_path(text, size, home, "/.local/state/headgate");
    return print_path(text, size, "/var/lib/headgate", "");
}

int default_runtime_dir(char *text, size_t size) {
    const char *dir = from_environment("HEADGATE_RUNTIME_DIR"),
               *of_user = from_environment("XDG_RUNTIME_DIR");
    if (dir)
        return print_path(text, size, dir, "");
    if (geteuid() != 0 && of_user)
        return print_path(text, size, of_user, "/headgate");
    return print_path(text, size, "/run/headgate", "");
}

int folder_make(const char *path, mode_t mode) {
    char text[PATH_MAX];
    struct stat st;
    if (print_path(text, sizeof text, path, "") < 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *slash = strchr(text + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(text, 0755); /* what is wrong shows at the last one */
        *slash = '/';
    }
    if (mkdir(text, mode) == 0)
        return 0;
    if (errno != EEXIST || stat(text, &st) < 0)
        return -1;
    errno = ENOTDIR;
    return S_ISDIR(st.st_mode) ? 0 : -1;
}

int folder_claim(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}
