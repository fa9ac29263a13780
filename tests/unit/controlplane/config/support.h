/* support.h — what the tests of the configuration share: compiling a text and looking at what came of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "controlplane/config/config.h"

struct outcome {
    int                     status;
    struct config_resources set;
    struct error_list       errors, warnings;
};

static inline void outcome_finish(struct outcome *o)
{
    config_resources_finish(&o->set);
    error_list_finish(&o->errors);
    error_list_finish(&o->warnings);
    *o = (struct outcome){0};
}

/* An environment that does not depend on the one of the test. */
static inline const char *test_variable(void *context, const char *name)
{
    (void)context;
    if (strcmp(name, "PORT") == 0) {
        return "9001";
    }
    if (strcmp(name, "EMPTY") == 0) {
        return "";
    }
    return strcmp(name, "YAML") == 0 ? "a]\nclusters: [x" : NULL;
}

static const struct config_options test_options = {.variable = test_variable};

static inline struct outcome compile_sources(const struct config_sources *sources)
{
    struct outcome o = {0};
    o.status = config_compile(sources, &test_options, &o.set, &o.errors, &o.warnings);
    return o;
}

static inline void add_source(struct config_sources *sources, const char *path, const char *text)
{
    struct error_list errors = {0};
    assert_int_equal(config_sources_add(sources, str_of(path), str_of(text), &errors), 0);
}

static inline struct outcome compile_bytes(struct str text)
{
    struct config_sources sources = {0};
    struct error_list errors = {0};
    assert_int_equal(config_sources_add(&sources, STR("test.yaml"), text, &errors), 0);
    struct outcome o = compile_sources(&sources);
    config_sources_finish(&sources);
    return o;
}

static inline struct outcome compile_text(const char *text)
{
    return compile_bytes(str_of(text));
}

/* All errors, then all warnings, a line each. */
static inline void format_problems(const struct outcome *o, struct strbuf *out)
{
    for (size_t i = 0; i < o->errors.count; i++) {
        error_format(&o->errors.items[i], out);
        strbuf_putc(out, '\n');
    }
    for (size_t i = 0; i < o->warnings.count; i++) {
        strbuf_puts(out, "warning: ");
        error_format(&o->warnings.items[i], out);
        strbuf_putc(out, '\n');
    }
}

static inline void assert_compiles(const struct outcome *o)
{
    if (o->status != 0) {
        struct strbuf text = {0};
        format_problems(o, &text);
        fail_msg("%s", text.p ? text.p : "no error was given");
    }
    assert_true(error_list_is_empty(&o->errors));
}

/* The one and only error, as text. */
static inline void assert_problems(const struct outcome *o, const char *expected)
{
    struct strbuf text = {0};
    format_problems(o, &text);
    assert_string_equal(text.p ? text.p : "", expected);
    strbuf_finish(&text);
}

static inline void assert_same_resources(const struct config_resources *a, const struct config_resources *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->items[i].kind, b->items[i].kind);
        assert_string_equal(a->items[i].name, b->items[i].name);
        assert_memory_equal(&a->items[i].id, &b->items[i].id, sizeof a->items[i].id);
    }
}

/* Reads a whole file; the text is the caller's (strbuf_finish). False when it is not there. */
static inline bool read_text(const char *path, struct strbuf *out)
{
    FILE *f = fopen(path, "rb");
    char piece[4096];
    if (!f) {
        return false;
    }
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;) {
        strbuf_add(out, piece, n);
    }
    fclose(f);
    return true;
}

static inline void write_text(const char *path, struct str text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    assert_int_equal(fclose(f), 0);
}

/* Compares with a committed file; with HEADGATE_UPDATE=1 in the environment it is written instead. */
static inline void assert_equals_file(struct str text, const char *path)
{
    struct strbuf committed = {0};
    const char *update = getenv("HEADGATE_UPDATE");
    if (update && strcmp(update, "1") == 0) {
        write_text(path, text);
        return;
    }
    if (!read_text(path, &committed)) {
        fail_msg("%s is missing; HEADGATE_UPDATE=1 writes it", path);
    }
    if (!str_eq(text, strbuf_str(&committed))) {
        fail_msg("%s differs from this (HEADGATE_UPDATE=1 rewrites it):\n%.*s", path, STR_FMT(text));
    }
    strbuf_finish(&committed);
}
