#include "controlplane/config/tree/tree.h"

static void report(struct error_list *errors, enum error_code code, const struct tree_place *place, const char *what,
                   struct str name) {
    struct error *e = error_addf(errors, code, "%s: \"${%.*s}\"", what, (int)(name.n > 80 ? 80 : name.n), name.p);
    error_set_place(errors, e, place->file, place->line, place->column);
}

static bool is_name(struct str name) {
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.n > 0;
}

/* "NAME:-default" into its parts; fallback->p is NULL when there is none. */
static struct str split(struct str inside, struct str *ret_fallback) {
    const char *at = inside.n > 1 ? memmem(inside.p, inside.n, ":-", 2) : NULL;
    *ret_fallback = (struct str){NULL, 0};
    if (!at)
        return inside;
    size_t n = (size_t)(at - inside.p);
    *ret_fallback = (struct str){at + 2, inside.n - n - 2};
    return (struct str){inside.p, n};
}

static int add_variable(struct strbuf *out, struct str inside, const struct tree_variables *variables,
                        const struct tree_place *place, struct error_list *errors) {
    char name[256];
    struct str fallback, wanted = split(inside, &fallback);
    if (!is_name(wanted) || wanted.n >= sizeof name) {
        report(errors, ERROR_SYNTAX, place, "not a variable; write $${ for a plain ${", inside);
        return -1;
    }
    if (!variables || !variables->get) {
        report(errors, ERROR_UNSUPPORTED, place, "variables are not expanded in what comes from elsewhere", inside);
        return -1;
    }
    memcpy(name, wanted.p, wanted.n);
    name[wanted.n] = '\0';
    const char *value = variables->get(variables->context, name);
    if ((!value || !*value) && fallback.p)
        strbuf_add_str(out, fallback);
    else if (value)
        strbuf_puts(out, value);
    else {
        report(errors, ERROR_REFERENCE, place, "the variable is not set and has no default", inside);
        return -1;
    }
    return 0;
}

/* Takes one piece off the front of *text: plain text, the escape, or a variable. */
static int expand_piece(struct strbuf *out, struct str *text, const struct tree_variables *variables,
                        const struct tree_place *place, struct error_list *errors) {
    if (str_starts(*text, STR("$${"))) {
        strbuf_puts(out, "${");
        *text = (struct str){text->p + 3, text->n - 3};
        return 0;
    }
    if (!str_starts(*text, STR("${"))) {
        const char *next = memchr(text->p + 1, '$', text->n - 1);
        size_t n = next ? (size_t)(next - text->p) : text->n;
        strbuf_add(out, text->p, n);
        *text = (struct str){text->p + n, text->n - n};
        return 0;
    }
    const char *close = memchr(text->p, '}', text->n);
    if (!close) {
        report(errors, ERROR_SYNTAX, place, "a variable without its closing brace", (struct str){text->p + 2, text->n - 2});
        return -1;
    }
    struct str inside = {text->p + 2, (size_t)(close - text->p) - 2};
    *text = (struct str){close + 1, text->n - inside.n - 3};
    return add_variable(out, inside, variables, place, errors);
}

static int finish(struct arena *arena, struct strbuf *out, size_t size_before, struct tree_budget *budget,
                  const struct tree_place *place, struct str *ret, struct error_list *errors) {
    size_t grown = out->n > size_before ? out->n - size_before : 0;
    struct str copy = {NULL, 0};
    if (!out->failed && grown <= budget->expansion)
        copy = arena_str(arena, strbuf_str(out));
    if (copy.p) {
        budget->expansion -= grown;
        *ret = copy;
        return 0;
    }
    bool is_too_long = !out->failed && grown > budget->expansion;
    struct error *e = error_addf(errors, is_too_long ? ERROR_RANGE : ERROR_MEMORY,
                                 is_too_long ? "variables make the configuration too long" : "out of memory");
    error_set_place(errors, e, place->file, place->line, place->column);
    return -1;
}

int tree_expand(struct arena *arena, struct str text, const struct tree_variables *variables, struct tree_budget *budget,
                const struct tree_place *place, struct str *ret, struct error_list *errors) {
    if (!memmem(text.p, text.n, "${", 2)) {
        *ret = text;
        return 0;
    }
    struct strbuf out = {0};
    int status = 0;
    for (struct str left = text; left.n && status == 0;)
        status = expand_piece(&out, &left, variables, place, errors);
    if (status == 0)
        status = finish(arena, &out, text.n, budget, place, ret, errors);
    strbuf_finish(&out);
    return status;
}
