#include "controlplane/config/source/watch.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "controlplane/config/source/include.h"

enum { LINKS_MAX = 40 };    /* as the kernel's own limit */

/* Kept without the slash at the end. */
static int add(struct config_sources *sources, const char *directory) {
    size_t n = strlen(directory);
    while (n > 1 && directory[n - 1] == '/')
        n--;
    char *copy = n ? hg_strndup(directory, n) : hg_strdup(".");
    if (!copy)
        return -1;
    if (hg_grow(&sources->directories, &sources->directory_capacity, sources->directory_count + 1, sizeof(char *)) < 0) {
        hg_free(copy);
        return -1;
    }
    sources->directories[sources->directory_count++] = copy;
    return 0;
}

/* Follows the path component by component. When one is a link, writes where it leads into `path`, adds its directory and
 * returns 1; 0 at the end; -1 without memory. */
static int follow(struct config_sources *sources, char path[PATH_MAX]) {
    char directory[PATH_MAX], link[PATH_MAX], target[PATH_MAX], joined[2 * PATH_MAX];
    size_t end = path[0] == '/' ? 1 : 0;
    for (;;) {
        size_t start = end;
        end += strcspn(path + end, "/");
        snprintf(directory, sizeof directory, "%.*s", (int)start, path);
        snprintf(link, sizeof link, "%.*s", (int)end, path);
        struct stat st;
        if (lstat(link, &st) < 0)
            return add(sources, directory);
        if (S_ISLNK(st.st_mode))
            break;
        if (path[end] == '\0')
            return add(sources, S_ISDIR(st.st_mode) ? link : directory);
        end++;
        if (path[end] == '\0')
            return add(sources, link);
    }
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (add(sources, directory) < 0)
        return -1;
    if (n <= 0)
        return 0;
    target[n] = '\0';
    int length = snprintf(joined, sizeof joined, "%s%s%s", target[0] == '/' ? "" : directory, target, path + end);
    if (length >= PATH_MAX)
        return 0;
    memcpy(path, joined, (size_t)length + 1);
    return 1;
}

int watch_path(struct config_sources *sources, const char *path) {
    char current[PATH_MAX];
    if (strlen(path) >= sizeof current)
        return 0;
    strcpy(current, path);
    int more = 1;
    for (int links = 0; more > 0 && links <= LINKS_MAX; links++)
        more = follow(sources, current);
    return more < 0 ? -1 : 0;
}

static int watch_matches(struct config_sources *sources, const char *pattern) {
    glob_t found = {0};
    int status = glob(pattern, GLOB_ONLYDIR, NULL, &found) == GLOB_NOSPACE ? -1 : 0;
    for (size_t i = 0; i < found.gl_pathc && status == 0; i++)
        status = watch_path(sources, found.gl_pathv[i]);
    globfree(&found);
    return status;
}

int watch_pattern(struct config_sources *sources, const char *pattern) {
    char directory[PATH_MAX];
    int status = 0;
    if (strlen(pattern) >= sizeof directory)
        return 0;
    strcpy(directory, pattern);
    while (status == 0 && include_is_pattern(directory)) {
        char *slash = strrchr(directory, '/');
        if (!slash)
            return add(sources, ".");
        slash[slash == directory] = '\0';
        status = include_is_pattern(directory) ? watch_matches(sources, directory) : watch_path(sources, directory);
    }
    return status;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void watch_sort(struct config_sources *sources) {
    size_t kept = 0;
    if (sources->directory_count)
        qsort(sources->directories, sources->directory_count, sizeof(char *), compare);
    for (size_t i = 0; i < sources->directory_count; i++) {
        if (kept && strcmp(sources->directories[kept - 1], sources->directories[i]) == 0)
            hg_free(sources->directories[i]);
        else
            sources->directories[kept++] = sources->directories[i];
    }
    sources->directory_count = kept;
}

bool watch_is_same(const struct config_sources *a, const struct config_sources *b) {
    if (a->directory_count != b->directory_count)
        return false;
    for (size_t i = 0; i < a->directory_count; i++)
        if (strcmp(a->directories[i], b->directories[i]) != 0)
            return false;
    return true;
}
