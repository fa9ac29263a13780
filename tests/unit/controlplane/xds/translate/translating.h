/* translating.h — for tests of translations: a server's message as YAML in, ours as text out. */
#pragma once

#include "tests/unit/common/cmocka_all.h"

#include "common/alloc.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/translate/translate.h"

/* One translation; `m` is of the kind's message type. */
typedef int translation(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors);

/* What was made as text; appended to `out`. */
typedef void printing(const struct xds_made *made, struct strbuf *out);

struct translating {
    const ProtobufCMessageDescriptor *type;
    translation *translate;
    printing    *print;
};

static inline void add_errors(const struct error_list *errors, struct strbuf *out) {
    for (size_t i = 0; i < errors->count; i++) {
        error_format(&errors->items[i], out);
        strbuf_putc(out, '\n');
    }
}

static inline ProtobufCMessage *read_message(const struct translating *t, const char *yaml, struct arena *arena) {
    struct error_list errors = {0};
    struct strbuf text = {0};
    ProtobufCMessage *m = xds_json_parse(t->type, "t.yaml", str_of(yaml), arena, &errors);
    add_errors(&errors, &text);
    if (!m)
        fail_msg("%s\n%s", yaml, strbuf_str(&text).p);
    strbuf_finish(&text);
    error_list_finish(&errors);
    return m;
}

/* What was made, or all errors. */
static inline char *translated(const struct translating *t, const char *yaml) {
    struct arena arena;
    struct error_list errors = {0};
    struct xds_made made = {0};
    struct strbuf out = {0};
    arena_init(&arena, NULL, 0, 0);
    int status = t->translate(read_message(t, yaml, &arena), &made, &errors);
    assert_int_equal(status, error_list_is_empty(&errors) ? 0 : -1);
    if (status == 0)
        t->print(&made, &out);
    add_errors(&errors, &out);
    xds_made_finish(&made);
    error_list_finish(&errors);
    arena_finish(&arena);
    strbuf_puts(&out, "");
    return strbuf_take(&out);
}

static inline void assert_translated(const struct translating *t, const char *yaml, const char *expected) {
    char *found = translated(t, yaml);
    if (strcmp(found, expected) != 0)
        print_message("--- from ---\n%s\n", yaml);
    assert_string_equal(found, expected);
    hg_free(found);
}

/* Fails every allocation of the translation in turn; each failure is an error, and nothing leaks. */
static inline void assert_survives_failures(const struct translating *t, const char *yaml) {
    struct arena arena;
    arena_init(&arena, NULL, 0, 0);
    ProtobufCMessage *m = read_message(t, yaml, &arena);
    for (long i = 0, status = -1; status < 0; i++) {
        struct error_list errors = {0};
        struct xds_made made = {0};
        hg_alloc_fail_at(i, 0);
        status = t->translate(m, &made, &errors);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(status < 0, !error_list_is_empty(&errors));
        assert_true(i < 100000);
        xds_made_finish(&made);
        error_list_finish(&errors);
    }
    arena_finish(&arena);
}
