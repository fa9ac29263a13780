#include "common/options.h"

#include <inttypes.h>

#include "common/alloc.h"

static const struct option_spec *find_long(const struct option_spec *specs, struct str name) {
    for (; specs->name; specs++)
        if (str_eq(name, str_of(specs->name)))
            return specs;
    return NULL;
}

static const struct option_spec *find_letter(const struct option_spec *specs, char letter) {
    for (; specs->name; specs++)
        if (specs->letter && specs->letter == letter)
            return specs;
    return NULL;
}

static void report_unknown(const struct option_spec *specs, struct str name, struct error_list *errors) {
    const char *names[64];
    size_t count = 0;
    for (; specs->name && count < sizeof names / sizeof *names; specs++)
        names[count++] = specs->name;
    struct error *e = error_addf(errors, ERROR_UNKNOWN_KEY, "unknown option --%.*s", STR_FMT(name));
    error_set_expected(errors, e, NULL, str_nearest(name, names, count));
}

/* ---- parsing ---- */

struct parser {
    const struct option_spec *specs;
    int argc, at;
    char *const *argv;
    struct options *ret;
    struct error_list *errors;
};

static void add_value(struct parser *p, const struct option_spec *spec, const char *value) {
    struct options *o = p->ret;
    if (o->value_count == OPTIONS_MAX ||
        hg_grow(&o->values, &o->value_capacity, o->value_count + 1, sizeof *o->values) < 0)
        error_addf(p->errors, ERROR_RANGE, "too many options");
    else
        o->values[o->value_count++] = (struct option_value){spec, value};
}

static void add_argument(struct parser *p, const char *text) {
    struct options *o = p->ret;
    if (o->argument_count == OPTIONS_MAX ||
        hg_grow(&o->arguments, &o->argument_capacity, o->argument_count + 1, sizeof *o->arguments) < 0)
        error_addf(p->errors, ERROR_RANGE, "too many arguments");
    else
        o->arguments[o->argument_count++] = text;
}

/* The option's value: what is attached to it, or the next word. */
static void take_option(struct parser *p, const struct option_spec *spec, const char *attached) {
    if (!spec->argument && attached)
        error_addf(p->errors, ERROR_SYNTAX, "--%s takes no value", spec->name);
    else if (!spec->argument)
        add_value(p, spec, NULL);
    else if (attached)
        add_value(p, spec, attached);
    else if (p->at < p->argc)
        add_value(p, spec, p->argv[p->at++]);
    else
        error_addf(p->errors, ERROR_MISSING, "--%s wants %s", spec->name, spec->argument);
}

static void take_long(struct parser *p, const char *text) {
    struct str value = str_of(text);
    struct str name = str_cut(&value, '=');
    const struct option_spec *spec = find_long(p->specs, name);
    if (spec)
        take_option(p, spec, value.p);
    else
        report_unknown(p->specs, name, p->errors);
}

/* "-m", "-mTEXT", or several flags "-qv". */
static void take_letters(struct parser *p, const char *text) {
    for (; *text; text++) {
        const struct option_spec *spec = find_letter(p->specs, *text);
        if (!spec) {
            error_addf(p->errors, ERROR_UNKNOWN_KEY, "unknown option -%c", *text);
            return;
        }
        if (spec->argument) {
            take_option(p, spec, text[1] ? text + 1 : NULL);
            return;
        }
        add_value(p, spec, NULL);
    }
}

int options_parse(const struct option_spec *specs, int argc, char *const *argv, struct options *ret,
                  struct error_list *errors) {
    struct parser p = {.specs = specs, .argc = argc, .argv = argv, .ret = ret, .errors = errors};
    size_t faults = errors->count + errors->dropped;
    bool is_over = false;
    *ret = (struct options){0};
    while (p.at < argc) {
        const char *word = argv[p.at++];
        if (is_over || word[0] != '-' || word[1] == '\0')
            add_argument(&p, word);
        else if (strcmp(word, "--") == 0)
            is_over = true;
        else if (word[1] == '-')
            take_long(&p, word + 2);
        else
            take_letters(&p, word + 1);
    }
    return errors->count + errors->dropped == faults ? 0 : -1;
}

void options_finish(struct options *o) {
    hg_free(o->values);
    hg_free(o->arguments);
    *o = (struct options){0};
}

/* ---- what was given ---- */

const char *options_get_nth(const struct options *o, const char *name, size_t nth) {
    for (size_t i = 0; i < o->value_count; i++)
        if (strcmp(o->values[i].spec->name, name) == 0 && nth-- == 0)
            return o->values[i].value;
    return NULL;
}

const char *options_get(const struct options *o, const char *name) {
    for (size_t i = o->value_count; i > 0; i--)
        if (strcmp(o->values[i - 1].spec->name, name) == 0)
            return o->values[i - 1].value;
    return NULL;
}

bool options_has(const struct options *o, const char *name) {
    for (size_t i = 0; i < o->value_count; i++)
        if (strcmp(o->values[i].spec->name, name) == 0)
            return true;
    return false;
}

int options_number(const struct options *o, const char *name, const struct options_range *range, uint64_t *ret,
                   struct error_list *errors) {
    const char *text = options_get(o, name);
    uint64_t value = range->absent;
    if (text && (str_to_uint64(str_of(text), &value) < 0 || value < range->least || value > range->most)) {
        error_addf(errors, ERROR_RANGE, "--%s wants a number from %" PRIu64 " to %" PRIu64 ", not %s", name, range->least,
                   range->most, text);
        return -1;
    }
    *ret = value;
    return 0;
}

/* ---- help ---- */

static size_t describe_left(const struct option_spec *spec, struct strbuf *out) {
    size_t start = out->n;
    if (spec->letter)
        strbuf_printf(out, "  -%c, --%s", spec->letter, spec->name);
    else
        strbuf_printf(out, "      --%s", spec->name);
    if (spec->argument)
        strbuf_printf(out, " %s", spec->argument);
    return out->n - start;
}

void options_describe(const struct option_spec *specs, struct strbuf *out) {
    struct strbuf scratch = {0};
    size_t width = 0;
    for (const struct option_spec *s = specs; s->name; s++) {
        size_t n = describe_left(s, &scratch);
        width = n > width ? n : width;
    }
    strbuf_finish(&scratch);
    for (const struct option_spec *s = specs; s->name; s++) {
        size_t n = describe_left(s, out);
        strbuf_printf(out, "%*s%s\n", (int)(width - n + 2), "", s->help);
    }
}
