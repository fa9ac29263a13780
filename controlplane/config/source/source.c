#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "controlplane/config/config.h"

const char *config_variable_from_environment(void *context, const char *name) {
    (void)context;
    return getenv(name);
}

void config_sources_finish(struct config_sources *sources) {
    if (!sources)
        return;
    for (size_t i = 0; i < sources->count; i++) {
        hg_free(sources->items[i].path);
        hg_free(sources->items[i].bytes);
    }
    for (size_t i = 0; i < sources->directory_count; i++)
        hg_free(sources->directories[i]);
    hg_free(sources->items);
    hg_free(sources->directories);
    *sources = (struct config_sources){0};
}

static int refuse(struct error_list *errors, struct str path, enum error_code code, const char *message) {
    char file[4096];
    snprintf(file, sizeof file, "%.*s", (int)(path.n < sizeof file ? path.n : sizeof file - 1), path.p);
    struct error *e = error_addf(errors, code, "%s", message);
    error_set_place(errors, e, file, 0, 0);
    return -1;
}

int config_sources_add(struct config_sources *sources, struct str path, struct str bytes, struct error_list *errors) {
    if (bytes.n > CONFIG_FILE_MAX)
        return refuse(errors, path, ERROR_RANGE, "the file is larger than 16 MiB");
    if (bytes.n > CONFIG_BYTES_MAX - sources->bytes)
        return refuse(errors, path, ERROR_RANGE, "the files of the configuration are larger than 64 MiB together");
    if (sources->count == CONFIG_FILES_MAX)
        return refuse(errors, path, ERROR_RANGE, "the configuration has more than 1000 files");
    struct config_source source = {hg_strndup(path.p, path.n), hg_strndup(bytes.p, bytes.n), bytes.n, false};
    if (!source.path || !source.bytes ||
        hg_grow(&sources->items, &sources->capacity, sources->count + 1, sizeof *sources->items) < 0) {
        hg_free(source.path);
        hg_free(source.bytes);
        return refuse(errors, path, ERROR_MEMORY, "out of memory");
    }
    sources->items[sources->count++] = source;
    sources->bytes += bytes.n;
    return 0;
}
