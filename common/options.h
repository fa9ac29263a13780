/* options.h — command lines from a table: parsing, and the table's text for help.
 *
 * "--name value", "--name=value", "-n value", "-nvalue", flags without a value, "--" before arguments that begin with a
 * dash. Options may stand before and behind arguments. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/str.h"

struct option_spec {
    const char *name;               /* without dashes; NULL ends a table */
    char        letter;             /* '\0': none */
    const char *argument;           /* "FILE"; NULL: a flag */
    const char *help;               /* one phrase, no full stop */
};

enum { OPTIONS_MAX = 4096 };        /* options and arguments of one command line */

struct option_value {
    const struct option_spec *spec;
    const char               *value;    /* NULL: a flag */
};

/* A parsed command line; points into argv. */
struct options {
    struct option_value *values;
    size_t               value_count, value_capacity;
    const char         **arguments;
    size_t               argument_count, argument_capacity;
};

/* Parses argv[0 .. argc-1], which has no program name. Faults are added to `errors` (with the nearest known option).
 * Returns 0 or -1. Finish `ret` in both cases. */
int  options_parse(const struct option_spec *specs, int argc, char *const *argv, struct options *ret,
                   struct error_list *errors);
void options_finish(struct options *o);
/* The last value given, or NULL. */
const char *options_get(const struct options *o, const char *name);
bool        options_has(const struct options *o, const char *name);
/* The nth value given, from 0; NULL at the end. */
const char *options_get_nth(const struct options *o, const char *name, size_t nth);
/* A number from `least` to `most`; `absent`: when the option is not there. */
struct options_range {
    uint64_t least, most, absent;
};

/* A decimal number. -1 with an error. */
int options_number(const struct options *o, const char *name, const struct options_range *range, uint64_t *ret,
                   struct error_list *errors);
/* Aligned lines "  -m, --message TEXT   help". */
void options_describe(const struct option_spec *specs, struct strbuf *out);
