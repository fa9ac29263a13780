/* watched.h — whether an epoll set of this process has a descriptor. */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>

/* One of the kernel's descriptions of descriptors; those of epoll sets have a line "tfd: N ..." for each that is in it. */
static bool describes_set_with(const char *path, int fd) {
    FILE *file = fopen(path, "re");
    char line[256];
    int target, found = 0;
    while (file && !found && fgets(line, sizeof line, file))
        found = sscanf(line, "tfd: %d", &target) == 1 && target == fd;
    if (file)
        fclose(file);
    return found;
}

static bool is_watched(int fd) {
    DIR *folder = opendir("/proc/self/fdinfo");
    bool found = false;
    for (struct dirent *entry; folder && !found && (entry = readdir(folder));) {
        char path[sizeof "/proc/self/fdinfo/" + sizeof entry->d_name];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%s", entry->d_name);
        found = describes_set_with(path, fd);
    }
    if (folder)
        closedir(folder);
    return found;
}
