#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/plural.h"
#include "controlplane/cli/cli.h"
#include "proto/resource.h"

static const char *const codes[] = {
    [STYLE_PLAIN] = "",        [STYLE_GOOD] = "\033[32m", [STYLE_BAD] = "\033[31m",
    [STYLE_WARN] = "\033[33m", [STYLE_NAME] = "\033[36m", [STYLE_DIM] = "\033[2m",
    [STYLE_TITLE] = "\033[1m",
};

/* A character of UTF-8, but for those that part lines and columns. */
static bool is_control(const char *character) {
    const unsigned char *p = (const unsigned char *)character;
    return (p[0] < ' ' && p[0] != '\n' && p[0] != '\t') || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
}

/* Names, reasons and messages come from servers and from other people: nothing in them may steer the terminal. */
static void write_text(FILE *out, const char *text) {
    for (struct str rest = str_of(text); rest.n > 0;) {
        size_t n = utf8_length(rest.p, rest.n), taken = n ? n : 1;
        if (n == 0 || is_control(rest.p))
            putc('?', out);
        else
            fwrite(rest.p, 1, n, out);
        rest = (struct str){rest.p + taken, rest.n - taken};
    }
}

static void write_styled(bool has_colour, FILE *out, enum style style, const char *text) {
    bool is_coloured = has_colour && style != STYLE_PLAIN;
    fputs(is_coloured ? codes[style] : "", out);
    write_text(out, text);
    fputs(is_coloured ? "\033[0m" : "", out);
}

void cli_print(const struct cli *cli, enum style style, const char *format, ...) {
    struct strbuf text = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    if (text.p)
        write_styled(cli->has_colour, stdout, style, text.p);
    strbuf_finish(&text);
}

/* ---- errors ---- */

void cli_error(const struct cli *cli, const char *format, ...) {
    struct strbuf text = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    write_styled(cli->has_error_colour, stderr, STYLE_BAD, "headgate: ");
    write_text(stderr, text.p ? text.p : "out of memory");
    putc('\n', stderr);
    strbuf_finish(&text);
}

static void print_error(const struct cli *cli, const struct error *e, bool is_warning) {
    struct strbuf text = {0};
    fflush(stdout); /* both may be the same terminal */
    write_styled(cli->has_error_colour, stderr, is_warning ? STYLE_WARN : STYLE_BAD,
                 is_warning ? "warning: " : "error: ");
    error_format(e, &text);
    write_text(stderr, text.p ? text.p : "out of memory");
    putc('\n', stderr);
    strbuf_finish(&text);
}

int cli_fail(const struct cli *cli, const struct error_list *errors, int exit_code) {
    for (size_t i = 0; i < errors->count; i++)
        print_error(cli, &errors->items[i], false);
    if (errors->dropped)
        cli_error(cli, "and %zu more", errors->dropped);
    return exit_code;
}

struct error cli_problem_error(const Headgate__Problem *p) {
    return (struct error){.message = p->message ? p->message : "",
                          .file = p->file,
                          .line = p->line,
                          .column = p->column,
                          .resource = p->resource,
                          .path = p->path,
                          .expected = p->expected,
                          .nearest = p->nearest};
}

size_t cli_print_problems(const struct cli *cli, Headgate__Problem *const *problems, size_t count) {
    size_t errors = 0;
    for (size_t i = 0; i < count; i++) {
        const struct error e = cli_problem_error(problems[i]);
        print_error(cli, &e, problems[i]->is_warning);
        errors += !problems[i]->is_warning;
    }
    return errors;
}

/* ---- changes ---- */

static void print_value(const struct cli *cli, enum style style, const char *sign, const char *path,
                        const char *value) {
    cli_print(cli, style, "    %s %s%s%s\n", sign, path, *path ? ": " : "", value);
}

static void print_field(const struct cli *cli, const Headgate__FieldChange *f) {
    const char *path = f->path ? f->path : "";
    if (f->before)
        print_value(cli, STYLE_BAD, "-", path, f->before);
    if (f->after)
        print_value(cli, STYLE_GOOD, "+", path, f->after);
}

static void print_change(const struct cli *cli, const Headgate__Change *c, size_t shown) {
    const char *kind = kind_name(c->kind);
    const char *sign = c->what == HEADGATE__CHANGE__WHAT__ADDED     ? "+"
                       : c->what == HEADGATE__CHANGE__WHAT__REMOVED ? "-"
                                                                    : "~";
    enum style style = *sign == '+' ? STYLE_GOOD : *sign == '-' ? STYLE_BAD : STYLE_WARN;
    size_t fields = c->n_fields < shown ? c->n_fields : shown;
    cli_print(cli, style, "  %s %s/%s\n", sign, kind ? kind : "?", c->name ? c->name : "");
    for (size_t i = 0; i < fields; i++)
        print_field(cli, c->fields[i]);
    if (c->field_count > fields)
        cli_print(cli, STYLE_DIM, "    and %" PRIu64 " more field%s\n", c->field_count - fields,
                  plural(c->field_count - fields));
}

void cli_print_changes(const struct cli *cli, Headgate__Change *const *changes, size_t count, uint64_t total,
                       size_t shown) {
    size_t printed = count < shown ? count : shown;
    for (size_t i = 0; i < printed; i++)
        print_change(cli, changes[i], shown);
    if (total > printed)
        cli_print(cli, STYLE_DIM, "  and %" PRIu64 " more resource%s\n", total - printed, plural(total - printed));
}

/* ---- times ---- */

void cli_format_age(uint64_t then_us, char text[32]) {
    uint64_t now = clock_realtime_us(), s = now > then_us ? (now - then_us) / 1000000 : 0;
    if (s < 120)
        snprintf(text, 32, "%" PRIu64 " s", s);
    else if (s < 120 * 60)
        snprintf(text, 32, "%" PRIu64 " min", s / 60);
    else if (s < 48 * 3600)
        snprintf(text, 32, "%" PRIu64 " h", s / 3600);
    else
        snprintf(text, 32, "%" PRIu64 " d", s / 86400);
}

void cli_format_time(uint64_t time_us, char text[32]) {
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm local;
    if (!localtime_r(&seconds, &local) || strftime(text, 32, "%Y-%m-%d %H:%M:%S", &local) == 0)
        snprintf(text, 32, "?");
}

void cli_format_duration(uint64_t us, char text[32]) {
    if (us < 1000)
        snprintf(text, 32, "%" PRIu64 " us", us);
    else if (us < 1000000)
        snprintf(text, 32, "%.1f ms", (double)us / 1e3);
    else
        snprintf(text, 32, "%.1f s", (double)us / 1e6);
}

/* ---- tables ---- */

void table_init(struct table *t, size_t columns) {
    *t = (struct table){.columns = columns};
}

void table_add(struct table *t, enum style style, const char *format, ...) {
    struct strbuf text = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    if (hg_grow(&t->cells, &t->capacity, t->count + 1, sizeof *t->cells) < 0) {
        strbuf_finish(&text);
        return;
    }
    t->cells[t->count].style = style;
    t->cells[t->count++].text = strbuf_take(&text);
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static size_t width_of(const char *text) {
    size_t n = 0;
    for (; text && *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static size_t column_width(const struct table *t, size_t column) {
    size_t widest = 0;
    for (size_t i = column; i < t->count; i += t->columns) {
        size_t n = width_of(t->cells[i].text);
        widest = n > widest ? n : widest;
    }
    return widest;
}

void table_print(const struct cli *cli, const struct table *t) {
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % t->columns;
        const char *text = t->cells[i].text ? t->cells[i].text : "";
        bool is_last = column + 1 == t->columns;
        write_styled(cli->has_colour, stdout, t->cells[i].style, text);
        if (is_last)
            putchar('\n');
        else
            printf("%*s", (int)(column_width(t, column) - width_of(text) + 2), "");
    }
}

void table_finish(struct table *t) {
    for (size_t i = 0; i < t->count; i++)
        hg_free(t->cells[i].text);
    hg_free(t->cells);
    *t = (struct table){0};
}
