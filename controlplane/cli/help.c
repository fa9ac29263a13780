/* help: the table of commands as text, as a man page, and as Markdown (docs/cli.md). */
#include "controlplane/cli/help.h"

#include <ctype.h>

#include "controlplane/cli/command.h"

enum { WRAP_COLUMNS = 100 };

static const char about[] =
    "Headgate is a gateway whose data plane keeps serving the last good snapshot whatever happens "
    "to its control plane. This program talks to the control plane; headgate run starts both.";

static const struct {
    int code;
    const char *meaning;
} exit_codes[] = {
    {EXIT_DONE, "done"},
    {EXIT_REFUSED, "refused, or the things compared differ"},
    {EXIT_WRONG_USAGE, "wrong usage"},
    {EXIT_UNREACHABLE, "the control plane cannot be reached"},
};

static const struct {
    const char *name, *meaning;
} variables[] = {
    {"HEADGATE_RUNTIME_DIR",
     "where sockets are; otherwise /run/headgate, or for a user $XDG_RUNTIME_DIR/headgate"},
    {"HEADGATE_STATE_DIR",
     "where state is kept; otherwise /var/lib/headgate, or for a user ~/.local/state/headgate"},
    {"HEADGATE_LOG", "text or json, for the daemons; otherwise text on a terminal and JSON elsewhere"},
    {"HEADGATE_LOG_LEVEL", "debug, info (the default), warning or error, for the daemons"},
    {"NO_COLOR", "no colours, when it is set"},
};

/* Words of `text`, wrapped behind `indent` blanks. */
static void add_wrapped(struct strbuf *out, const char *text, int indent) {
    struct str rest = str_of(text);
    size_t column = 0;
    while (rest.p && rest.n) {
        struct str word = str_cut(&rest, ' ');
        if (column && column + 1 + word.n > WRAP_COLUMNS) {
            strbuf_putc(out, '\n');
            column = 0;
        }
        if (column == 0)
            strbuf_printf(out, "%*s", indent, "");
        column += column == 0 ? (size_t)indent + word.n : 1 + word.n;
        strbuf_printf(out, "%s%.*s", column == (size_t)indent + word.n ? "" : " ", STR_FMT(word));
    }
    strbuf_putc(out, '\n');
}

/* ---- text ---- */

void help_add_overview(struct strbuf *out) {
    strbuf_puts(out, "usage: headgate COMMAND [options] [arguments]\n\n");
    add_wrapped(out, about, 0);
    strbuf_puts(out, "\n");
    for (const struct command *c = commands; c->name; c++)
        strbuf_printf(out, "  %-10s  %s\n", c->name, c->summary);
    strbuf_puts(out, "\nheadgate help COMMAND describes one.\n");
}

void help_add_command(const struct command *c, struct strbuf *out) {
    struct option_spec room[COMMAND_OPTIONS_MAX];
    const struct option_spec *options = command_options(c, room, COMMAND_OPTIONS_MAX);
    strbuf_printf(out, "usage: headgate %s [options]%s%s\n\n%c%s.\n", c->name, *c->arguments ? " " : "",
                  c->arguments, toupper((unsigned char)*c->summary), c->summary + 1);
    if (*c->description)
        add_wrapped(out, c->description, 0);
    strbuf_putc(out, '\n');
    if (options)
        options_describe(options, out);
}

/* ---- man page ---- */

/* Dashes as dashes, and no line that begins with a dot. */
static void add_roff(struct strbuf *out, const char *text) {
    for (const char *c = text; *c; c++) {
        if (*c == '-' || *c == '\\')
            strbuf_putc(out, '\\');
        if (*c == '.' && c == text)
            strbuf_puts(out, "\\&");
        strbuf_puts(out, *c == '\\' ? "e" : (char[]){*c, '\0'});
    }
}

static void add_man_options(struct strbuf *out, const struct option_spec *specs) {
    for (const struct option_spec *s = specs; s->name; s++) {
        strbuf_puts(out, ".TP\n\\fB");
        if (s->letter)
            strbuf_printf(out, "\\-%c\\fR, \\fB", s->letter);
        strbuf_puts(out, "\\-\\-");
        add_roff(out, s->name);
        strbuf_puts(out, "\\fR");
        if (s->argument)
            strbuf_printf(out, " \\fI%s\\fR", s->argument);
        strbuf_putc(out, '\n');
        add_roff(out, s->help);
        strbuf_putc(out, '\n');
    }
}

static void add_man_command(struct strbuf *out, const struct command *c) {
    strbuf_puts(out, ".SS \"headgate ");
    strbuf_printf(out, "%s%s%s\"\n", c->name, *c->arguments ? " " : "", c->arguments);
    strbuf_printf(out, "%c", toupper((unsigned char)*c->summary));
    add_roff(out, c->summary + 1);
    strbuf_puts(out, ".\n");
    add_roff(out, c->description);
    strbuf_putc(out, '\n');
    add_man_options(out, c->options);
}

void help_add_man(struct strbuf *out) {
    strbuf_puts(out, ".TH HEADGATE 1 \"\" \"headgate " HG_VERSION
                     "\"\n.SH NAME\nheadgate \\- run and steer a gateway\n"
                     ".SH SYNOPSIS\n.B headgate\n\\fICOMMAND\\fR [options] [arguments]\n.SH DESCRIPTION\n");
    add_roff(out, about);
    strbuf_puts(out, "\n.SH COMMANDS\n");
    for (const struct command *c = commands; c->name; c++)
        add_man_command(out, c);
    strbuf_puts(out, ".SH OPTIONS\nEvery command has these:\n");
    add_man_options(out, common_options);
    strbuf_puts(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++)
        strbuf_printf(out, ".TP\n.B %d\n%s\n", exit_codes[i].code, exit_codes[i].meaning);
    strbuf_puts(out, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        strbuf_printf(out, ".TP\n.B %s\n%s\n", variables[i].name, variables[i].meaning);
}

/* ---- Markdown ---- */

static void add_markdown_options(struct strbuf *out, const struct option_spec *specs) {
    if (!specs->name)
        return;
    strbuf_puts(out, "\n| option | |\n|---|---|\n");
    for (const struct option_spec *s = specs; s->name; s++) {
        strbuf_puts(out, "| `");
        if (s->letter)
            strbuf_printf(out, "-%c`, `", s->letter);
        strbuf_printf(out, "--%s%s%s` | %s |\n", s->name, s->argument ? " " : "",
                      s->argument ? s->argument : "", s->help);
    }
}

static void add_markdown_command(struct strbuf *out, const struct command *c) {
    strbuf_printf(out, "\n## headgate %s\n\n    headgate %s [options]%s%s\n\n%c%s.\n", c->name, c->name,
                  *c->arguments ? " " : "", c->arguments, toupper((unsigned char)*c->summary),
                  c->summary + 1);
    if (*c->description)
        add_wrapped(out, c->description, 0);
    add_markdown_options(out, c->options);
}

void help_add_markdown(struct strbuf *out) {
    strbuf_puts(
        out,
        "# The command line\n\n<!-- Made by `headgate help --format markdown`; a test keeps it so. -->\n\n");
    add_wrapped(out, about, 0);
    strbuf_puts(out, "\n| command | |\n|---|---|\n");
    for (const struct command *c = commands; c->name; c++)
        strbuf_printf(out, "| [`%s%s%s`](#headgate-%s) | %s |\n", c->name, *c->arguments ? " " : "",
                      c->arguments, c->name, c->summary);
    strbuf_puts(out, "\nEvery command has these options:\n");
    add_markdown_options(out, common_options);
    strbuf_puts(out, "\n| exit code | |\n|---|---|\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++)
        strbuf_printf(out, "| %d | %s |\n", exit_codes[i].code, exit_codes[i].meaning);
    strbuf_puts(out, "\n| environment | |\n|---|---|\n");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        strbuf_printf(out, "| `%s` | %s |\n", variables[i].name, variables[i].meaning);
    for (const struct command *c = commands; c->name; c++)
        add_markdown_command(out, c);
}

/* ---- the command ---- */

static int add_topic(const struct cli *cli, const struct options *options, struct strbuf *out) {
    const char *format = options_get(options, "format");
    struct str name = options->argument_count ? str_of(options->arguments[0]) : STR("");
    const struct command *c = command_find(name);
    if (format && strcmp(format, "man") == 0)
        help_add_man(out);
    else if (format && strcmp(format, "markdown") == 0)
        help_add_markdown(out);
    else if (format && strcmp(format, "text") != 0)
        cli_error(cli, "--format is text, man or markdown, not %s", format);
    else if (name.n == 0)
        help_add_overview(out);
    else if (c)
        help_add_command(c, out);
    else
        cli_error(cli, "there is no command %.*s%s%s", STR_FMT(name),
                  command_nearest(name) ? "; did you mean " : "",
                  command_nearest(name) ? command_nearest(name) : "");
    return out->n ? EXIT_DONE : EXIT_WRONG_USAGE;
}

int command_help(struct cli *cli, const struct options *options) {
    struct strbuf text = {0};
    int exit_code = add_topic(cli, options, &text);
    if (text.p)
        fputs(text.p, stdout);
    strbuf_finish(&text);
    return exit_code;
}
