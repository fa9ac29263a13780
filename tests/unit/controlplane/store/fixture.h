/* fixture.h — a store in a folder of its own, and small intents to put into it. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "controlplane/store/disk.h"
#include "controlplane/store/store.h"

enum { FIXTURE_PATH = 512, JOINED_PATH = 1024 };

/* ---- folders ---- */

static inline void join_path(char joined[JOINED_PATH], const char *folder, const char *name) {
    int n = snprintf(joined, JOINED_PATH, "%s/%s", folder, name);
    assert_true(n > 0 && n < JOINED_PATH);
}

/* A new empty folder below TMPDIR; the store goes into "<folder>/store". */
static inline void make_folder(char folder[FIXTURE_PATH]) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, FIXTURE_PATH, "%s/headgate-store-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
}

/* A folder in memory where there is one: these tests write thousands of small files and need no durable disk.
 * */
static inline void make_fast_folder(char folder[FIXTURE_PATH]) {
    snprintf(folder, FIXTURE_PATH, "/dev/shm/headgate-store-XXXXXX");
    if (!mkdtemp(folder))
        make_folder(folder);
}

static inline void remove_tree(const char *path) {
    DIR *folder = opendir(path);
    struct dirent *e;
    while (folder && (e = readdir(folder))) {
        char child[JOINED_PATH];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        join_path(child, path, e->d_name);
        if (unlink(child) < 0)
            remove_tree(child);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

/* Copies regular files and folders; the store has nothing else. */
static inline void copy_tree(const char *from, const char *to) {
    DIR *folder = opendir(from);
    struct dirent *e;
    assert_non_null(folder);
    assert_int_equal(mkdir(to, 0700), 0);
    while ((e = readdir(folder))) {
        char source[JOINED_PATH], target[JOINED_PATH], bytes[65536];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        join_path(source, from, e->d_name);
        join_path(target, to, e->d_name);
        if (e->d_type == DT_DIR) {
            copy_tree(source, target);
            continue;
        }
        int in = open(source, O_RDONLY), out = open(target, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(in >= 0 && out >= 0);
        for (ssize_t n; (n = read(in, bytes, sizeof bytes)) > 0;)
            assert_int_equal(write(out, bytes, (size_t)n), n);
        close(in);
        close(out);
    }
    closedir(folder);
}

/* Calls `visit` with every regular file below the folder. */
static inline void each_file(const char *path, void (*visit)(void *context, const char *file),
                             void *context) {
    DIR *folder = opendir(path);
    struct dirent *e;
    assert_non_null(folder);
    while ((e = readdir(folder))) {
        char child[JOINED_PATH];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        join_path(child, path, e->d_name);
        if (e->d_type == DT_DIR)
            each_file(child, visit, context);
        else
            visit(context, child);
    }
    closedir(folder);
}

/* ---- errors ---- */

static inline void print_errors(const struct error_list *errors) {
    for (size_t i = 0; i < errors->count; i++) {
        struct strbuf text = {0};
        error_format(&errors->items[i], &text);
        print_message("  %s: %s\n", error_code_name(errors->items[i].code), text.p);
        strbuf_finish(&text);
    }
}

/* Fails the test, with the errors, unless there are none; empties the list. */
static inline void assert_no_errors(struct error_list *errors) {
    print_errors(errors);
    assert_true(error_list_is_empty(errors));
    error_list_finish(errors);
}

/* Expects that the first error has the code and a text with `part` in it; empties the list. */
static inline void assert_error(struct error_list *errors, enum error_code code, const char *part) {
    struct strbuf text = {0};
    assert_true(errors->count > 0);
    error_format(&errors->items[0], &text);
    if (errors->items[0].code != code || !strstr(text.p, part))
        print_errors(errors);
    assert_string_equal(error_code_name(errors->items[0].code), error_code_name(code));
    assert_non_null(strstr(text.p, part));
    strbuf_finish(&text);
    error_list_finish(errors);
}

static inline struct store *open_store(const char *folder) {
    struct error_list errors = {0};
    struct store *s = store_open(folder, &errors);
    assert_no_errors(&errors);
    assert_non_null(s);
    return s;
}

static inline void assert_verifies(struct store *s) {
    struct error_list errors = {0};
    struct store_verify_result result;
    assert_int_equal(store_verify(s, NULL, NULL, &result, &errors), 0);
    assert_no_errors(&errors);
    assert_int_equal(result.faults, 0);
}

/* ---- intents ---- */

enum { INTENT_MAX = 4000 };

struct intent {
    struct store_resource resources[INTENT_MAX];
    char names[INTENT_MAX][32];
    char *bytes[INTENT_MAX];
    size_t count;
};

/* Sets the bytes of the resource "cluster/<name>", or adds it. The store does not look into bytes. */
static inline void intent_set(struct intent *in, const char *name, const char *text) {
    size_t i = 0;
    while (i < in->count && strcmp(in->names[i], name) != 0)
        i++;
    if (i == in->count)
        in->count++;
    snprintf(in->names[i], sizeof in->names[i], "%s", name);
    free(in->bytes[i]);
    in->bytes[i] = strdup(text);
    struct store_resource *r = &in->resources[i];
    *r = (struct store_resource){.kind = HEADGATE__KIND__KIND_CLUSTER,
                                 .name = in->names[i],
                                 .bytes = in->bytes[i],
                                 .size = strlen(text)};
    assert_int_equal(resource_id_of(r->bytes, r->size, &r->id), 0);
}

static inline void intent_finish(struct intent *in) {
    for (size_t i = 0; i < in->count; i++)
        free(in->bytes[i]);
    memset(in, 0, sizeof *in);
}

static inline struct store_commit commit_of(const struct store *s, const struct intent *in) {
    return (struct store_commit){
        .resources = in->resources,
        .count = in->count,
        .author = "tester",
        .message = "a change",
        .time_us = 1000000 * store_next_version(s),
        .parent = store_next_version(s) - 1,
    };
}

static inline void commit_intent(struct store *s, const struct intent *in) {
    struct error_list errors = {0};
    struct store_commit c = commit_of(s, in);
    int status = store_commit(s, &c, &errors);
    assert_no_errors(&errors);
    assert_int_equal(status, 0);
}

/* The current version is exactly this intent, and all its objects read back with the given bytes. */
static inline void assert_current_is(struct store *s, const struct intent *in) {
    const struct store_manifest *m = store_current(s);
    assert_non_null(m);
    assert_int_equal(m->version.resources, in->count);
    for (size_t i = 0; i < in->count; i++) {
        const struct store_resource *r = &in->resources[i];
        const struct store_entry *e = store_manifest_find(m, r->kind, str_of(r->name));
        struct error_list errors = {0};
        uint8_t *bytes = NULL;
        size_t size = 0;
        assert_non_null(e);
        assert_true(resource_id_equal(&e->id, &r->id));
        assert_int_equal(store_read_object(s, &e->id, &bytes, &size, &errors), 0);
        assert_no_errors(&errors);
        assert_int_equal(size, r->size);
        assert_memory_equal(bytes, r->bytes, size);
        hg_free(bytes);
    }
}
