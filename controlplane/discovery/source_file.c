/* A file with a list of endpoints, watched with every link on the way to it. */
#include <limits.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/secret_memory.h"
#include "controlplane/config/config.h"
#include "controlplane/config/endpoint_file.h"
#include "controlplane/config/source/watch.h"
#include "controlplane/discovery/source_state.h"
#include "controlplane/discovery/watch.h"

enum { ERRORS_TOLD = 3 };

struct file {
    struct source         base;
    struct source_config  config;
    char                 *path;     /* as it was given */
    struct watch          watch;
    struct config_sources folders;  /* that are watched */
    ev_timer              first;    /* the first look, outside of `create` */
    struct source_state   state;
};

/* ---- what is found ---- */

static void fail(struct file *f, const char *reason) {
    source_note_failed(&f->state, reason);
    f->config.sink.failed(f->config.sink.context, reason);
}

/* The first of them in one line; a fault in the middle of a file brings others with it. */
static void fail_with(struct file *f, const struct error_list *errors) {
    struct strbuf text = {0};
    for (size_t i = 0; i < errors->count && i < ERRORS_TOLD; i++) {
        if (i)
            strbuf_puts(&text, "; ");
        error_format(&errors->items[i], &text);
    }
    if (errors->count > ERRORS_TOLD)
        strbuf_printf(&text, "; and %zu more", errors->count - ERRORS_TOLD);
    fail(f, text.n ? text.p : "no memory");
    strbuf_finish(&text);
}

static void read_text(struct file *f, struct str text) {
    struct error_list errors = {0};
    Headgate__EndpointSet *set = config_read_endpoints(f->path, text, &errors);
    if (set) {
        source_note_found(&f->state, set->n_endpoints);
        f->config.sink.found(f->config.sink.context, set);
        headgate__endpoint_set__free_unpacked(set, NULL);
    } else if (source_lacks_memory(&errors)) {
        source_tell_no_memory(&f->state, &f->config.sink);
    } else {
        fail_with(f, &errors);
    }
    error_list_finish(&errors);
}

static void read_file(struct file *f) {
    const char *const names[SECRET_FILES_TOGETHER] = {f->path};
    struct str texts[SECRET_FILES_TOGETHER];
    char why[SECRET_WHY_MAX], reason[SECRET_WHY_MAX + PATH_MAX];
    size_t failed;
    source_note_asked(&f->state);
    if (secret_files_read(f->config.root, names, texts, &failed, why) < 0) {
        snprintf(reason, sizeof reason, "%s: %s", f->path, why);
        fail(f, reason);
        return;
    }
    read_text(f, texts[0]);
    secret_free((void *)(uintptr_t)texts[0].p);
}

/* ---- watching ---- */

/* Returns whether other folders are watched than before: what changed there in between was not seen. */
static bool watch_again(struct file *f) {
    struct config_sources folders = {0};
    char path[PATH_MAX];
    bool is_known = secret_file_path(f->config.root, f->path, path, sizeof path) == 0 && watch_path(&folders, path) == 0;
    watch_sort(&folders);
    if (!is_known || watch_is_same(&folders, &f->folders)) {
        config_sources_finish(&folders);
        return false;
    }
    config_sources_finish(&f->folders);
    f->folders = folders;
    watch_set(&f->watch, folders.directories, folders.directory_count);
    return true;
}

/* Watched first, then read: no change falls between. A link may be swapped while that is done. What has a folder's name by
 * now may be another folder, which nobody watches yet. */
static void look(struct file *f) {
    enum { ROUNDS = 5 };
    watch_set(&f->watch, f->folders.directories, f->folders.directory_count);
    for (int i = 0; i < ROUNDS && watch_again(f); i++)
        ;
    read_file(f);
}

static void on_changed(void *owner) {
    look(owner);
}

static void on_first(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    look(timer->data);
}

/* ---- life ---- */

static void file_refresh(struct source *s) {
    look((struct file *)s);
}

static void file_state(const struct source *s, struct source_state *ret) {
    *ret = ((const struct file *)s)->state;
}

static void file_destroy(struct source *s) {
    struct file *f = (struct file *)s;
    ev_timer_stop(f->config.loop, &f->first);
    watch_finish(&f->watch);
    config_sources_finish(&f->folders);
    hg_free(f->path);
    hg_free(f);
}

static struct source *file_create(const struct source_config *config, const Headgate__Discovery *m,
                                  struct error_list *errors) {
    struct file *f = hg_calloc(1, sizeof *f);
    char *path = hg_strdup(m->file->path);
    if (!f || !path) {
        error_addf(errors, ERROR_MEMORY, "no memory to watch a file of endpoints");
        hg_free(path);
        hg_free(f);
        return NULL;
    }
    f->base.kind = &source_file;
    f->config = *config;
    f->path = path;
    f->state.kind = source_file.name;
    snprintf(f->state.target, sizeof f->state.target, "%s", path);
    watch_init(&f->watch, config->loop, on_changed, f);
    ev_timer_init(&f->first, on_first, 0., 0.);
    f->first.data = f;
    ev_timer_start(config->loop, &f->first);
    return &f->base;
}

const struct source_kind source_file = {
    .name = "file", .create = file_create, .refresh = file_refresh, .state = file_state, .destroy = file_destroy};
