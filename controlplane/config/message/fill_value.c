#include "controlplane/config/message/fill_value.h"

#include "common/alloc.h"
#include "common/plural.h"
#include "controlplane/config/schema/number.h"

enum { TEXT_MAX = 8192 };

static void expect(struct fill *f, struct error *e, const struct schema_key *k, const char *nearest) {
    if (!e)
        return; /* beyond the errors that are kept */
    struct strbuf expected = {0};
    schema_expected(k, &expected);
    error_set_expected(f->errors, e, expected.failed ? NULL : strbuf_str(&expected).p, nearest);
    strbuf_finish(&expected);
}

void fill_report_type(struct fill *f, const struct schema_key *k, const struct fill_at *at) {
    struct strbuf found = {0};
    tree_describe(at->node, &found);
    struct error *e = fill_report(f, at, ERROR_TYPE, "found %s", strbuf_str(&found).p);
    if (k->flags & SCHEMA_LIST && at->node->type == TREE_MAP && !(k->flags & SCHEMA_NAMED))
        error_set_expected(f->errors, e, "a list", NULL);
    else
        expect(f, e, k, NULL);
    strbuf_finish(&found);
}

static bool wrong_type(struct fill *f, const struct schema_key *k, const struct fill_at *at) {
    fill_report_type(f, k, at);
    return false;
}

/* ---- numbers ---- */

static bool is_allowed(const struct schema_key *k, uint64_t number) {
    const uint16_t *a = k->allowed;
    while (a && *a && *a != number)
        a++;
    if (a)
        return *a != 0;
    uint64_t max = k->max ? k->max : UINT32_MAX;
    return number >= k->min && number <= max;
}

static int parse_number(const struct schema_key *k, const struct tree_node *node, uint64_t *ret) {
    if (k->flags & SCHEMA_MAY_BE_OFF && str_eq(node->text, STR("off"))) {
        *ret = 0;
        return 0;
    }
    if (k->type == SCHEMA_DURATION)
        return duration_parse(node->text, ret);
    if (k->type == SCHEMA_SIZE)
        return size_parse(node->text, ret);
    return tree_is_text(node) ? -1 : str_to_uint64(node->text, ret);
}

static bool fill_number(struct fill *f, const struct schema_key *k, const struct fill_at *at, struct field_value *ret) {
    uint64_t number;
    if (parse_number(k, at->node, &number) < 0)
        return wrong_type(f, k, at);
    if (!is_allowed(k, number)) {
        struct error *e = fill_report(f, at, ERROR_RANGE, "%s is out of range", at->node->text.p);
        expect(f, e, k, NULL);
        return false;
    }
    ret->number = number;
    return true;
}

/* ---- words ---- */

static const char *nearest_word(const struct schema_key *k, struct str text) {
    const char *names[SCHEMA_KEYS_MAX];
    size_t count = 0;
    for (const struct schema_word *w = k->words; w->word && count < SCHEMA_KEYS_MAX; w++)
        if (w->value != SCHEMA_LATER)
            names[count++] = w->word;
    return str_nearest(text, names, count);
}

static bool fill_word(struct fill *f, const struct schema_key *k, const struct fill_at *at, struct field_value *ret) {
    struct str text = at->node->text;
    const struct schema_word *w = k->words;
    while (w->word && !str_eq(text, str_of(w->word)))
        w++;
    if (w->word && w->value != SCHEMA_LATER) {
        ret->number = (uint64_t)w->value;
        return true;
    }
    struct strbuf found = {0};
    tree_quote(text, &found);
    struct error *e = w->word ? fill_report(f, at, ERROR_UNSUPPORTED, "\"%s\" is not supported by this version", w->word)
                              : fill_report(f, at, ERROR_TYPE, "found %s", strbuf_str(&found).p);
    expect(f, e, k, w->word ? NULL : nearest_word(k, text));
    strbuf_finish(&found);
    return false;
}

/* ---- texts ---- */

struct seen {
    struct tree_place place;
    const char       *resource;
};

static void report_again(struct fill *f, const struct fill_at *at, struct str text, const struct seen *first) {
    if (!first->place.file)
        fill_report(f, at, ERROR_CONFLICT, "\"%s\" is already used by %s", text.p, first->resource);
    else
        fill_report(f, at, ERROR_CONFLICT, "\"%s\" already stands at %s:%u:%u", text.p, first->place.file, first->place.line,
                    first->place.column);
}

static bool is_first(struct fill *f, struct map *texts, const struct fill_at *at, struct str key, struct str text) {
    const struct seen *first = map_get(texts, key);
    if (first) {
        report_again(f, at, text, first);
        return false;
    }
    struct seen *seen = arena_alloc(f->arena, sizeof *seen);
    if (seen)
        *seen = (struct seen){at->node->place, f->resource};
    if (!seen || map_set(texts, key, seen) < 0) {
        fill_out_of_memory(f);
        return false;
    }
    return true;
}

/* Lists of this kind are short. */
static bool is_first_in_list(struct fill *f, const struct schema_key *k, const struct fill_at *at, struct str text) {
    const struct tree_item *i = at->up && at->up->node->type == TREE_LIST ? at->up->node->first : NULL;
    for (; i && i != at->item; i = i->next) {
        struct str other = i->node->text;
        if (i->node->type != TREE_SCALAR || k->form->check(f->arena, other, &other) || !str_eq(other, text))
            continue;
        report_again(f, at, text, &(const struct seen){i->node->place, f->resource});
        return false;
    }
    return true;
}

bool fill_is_first(struct fill *f, const struct fill_at *at, struct str key, struct str text) {
    return is_first(f, &f->unique_in_all, at, key, text);
}

static bool add_reference(struct fill *f, const struct schema_key *k, const struct fill_at *at, struct str name) {
    const char *path = fill_path(f, at);
    if (!path || hg_grow(&f->references, &f->reference_capacity, f->reference_count + 1, sizeof *f->references) < 0) {
        fill_out_of_memory(f);
        return false;
    }
    f->references[f->reference_count++] =
        (struct fill_reference){.kind = k->kind, .name = name.p, .place = at->node->place, .path = path,
                                .from = f->resource};
    return true;
}

static bool is_long_enough(struct fill *f, const struct schema_key *k, const struct fill_at *at, size_t length) {
    size_t max = k->max && !(k->flags & SCHEMA_LIST) ? k->max : TEXT_MAX, min = k->flags & SCHEMA_LIST ? 0 : k->min;
    if (length > max)
        fill_report(f, at, ERROR_RANGE, "the text has %zu bytes; %zu are allowed", length, max);
    else if (length == 0 && min > 0)
        expect(f, fill_report(f, at, ERROR_RANGE, "the text is empty"), k, NULL);
    else if (length < min)
        fill_report(f, at, ERROR_RANGE, "the text has %zu byte%s; %zu are needed", length, plural(length), min);
    return length >= min && length <= max;
}

static const char *nearest_text(const struct schema_key *k, struct str text) {
    size_t count = 0;
    while (k->form->known && k->form->known[count])
        count++;
    return str_nearest(text, k->form->known, count);
}

static void report_text(struct fill *f, const struct schema_key *k, const struct fill_at *at, const char *why) {
    struct strbuf found = {0};
    tree_quote(at->node->text, &found);
    struct error *e = fill_report(f, at, ERROR_SYNTAX, "%s: %s", strbuf_str(&found).p, why);
    expect(f, e, k, nearest_text(k, at->node->text));
    strbuf_finish(&found);
}

static bool fill_text(struct fill *f, const struct schema_key *k, const struct fill_at *at, struct field_value *ret) {
    struct str canonical = at->node->text;
    if (tree_is_null(at->node))
        return wrong_type(f, k, at);
    if (!is_long_enough(f, k, at, canonical.n))
        return false;
    const char *why = k->form->check(f->arena, at->node->text, &canonical);
    if (why == text_no_memory) {
        fill_out_of_memory(f);
        return false;
    }
    if (why) {
        report_text(f, k, at, why);
        return false;
    }
    if (k->flags & SCHEMA_UNIQUE && !is_first(f, &f->unique, at, canonical, canonical))
        return false;
    if (k->flags & SCHEMA_DISTINCT && !is_first_in_list(f, k, at, canonical))
        return false;
    ret->text = canonical;
    return k->kind ? add_reference(f, k, at, canonical) : true;
}

/* ---- all ---- */

static bool fill_bool(struct fill *f, const struct schema_key *k, const struct fill_at *at, struct field_value *ret) {
    bool yes;
    if (!tree_is_bool(at->node, &yes))
        return wrong_type(f, k, at);
    ret->number = yes;
    return true;
}

bool fill_scalar(struct fill *f, const struct schema_key *k, const struct fill_at *at, struct field_value *ret) {
    *ret = (struct field_value){0};
    if (at->node->is_broken) {
        fill_adopt(f, at);
        return false;
    }
    if (at->node->type != TREE_SCALAR)
        return wrong_type(f, k, at);
    switch (k->type) {
    case SCHEMA_BOOL: return fill_bool(f, k, at, ret);
    case SCHEMA_WORD: return fill_word(f, k, at, ret);
    case SCHEMA_TEXT: return fill_text(f, k, at, ret);
    default: return fill_number(f, k, at, ret);
    }
}
