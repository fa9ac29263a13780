/* completion: scripts for shells, made of the table of commands. */
#include "controlplane/cli/command.h"
#include "proto/resource.h"

static void add_command_names(struct strbuf *out) {
    for (const struct command *c = commands; c->name; c++)
        strbuf_printf(out, "%s%s", c == commands ? "" : " ", c->name);
}

static void add_kinds(struct strbuf *out) {
    size_t count;
    const Headgate__Kind *kinds = kind_all(&count);
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%s%s/", i ? " " : "", kind_name(kinds[i]));
}

static void add_option_names(struct strbuf *out, const struct command *c) {
    struct option_spec room[COMMAND_OPTIONS_MAX];
    const struct option_spec *specs = command_options(c, room, COMMAND_OPTIONS_MAX);
    for (const struct option_spec *s = specs; s && s->name; s++)
        strbuf_printf(out, "%s--%s", s == specs ? "" : " ", s->name);
}

static bool wants_files(const struct command *c) {
    return c->completion == ARGUMENT_FILE || c->completion == ARGUMENT_RESOURCE_THEN_FILE;
}

static bool wants_resource(const struct command *c) {
    return c->completion == ARGUMENT_RESOURCE || c->completion == ARGUMENT_RESOURCE_THEN_FILE;
}

/* ---- bash ---- */

static void add_bash_case(struct strbuf *out, const struct command *c) {
    strbuf_printf(out, "    %s)\n        options=\"", c->name);
    add_option_names(out, c);
    strbuf_puts(out, "\"\n");
    if (wants_resource(c)) {
        strbuf_puts(out, "        words=\"");
        add_kinds(out);
        strbuf_puts(out, "\"\n");
    } else if (c->completion == ARGUMENT_COMMAND) {
        strbuf_puts(out, "        words=\"");
        add_command_names(out);
        strbuf_puts(out, "\"\n");
    }
    strbuf_printf(out, "        files=%d ;;\n", wants_files(c));
}

static void add_bash(struct strbuf *out) {
    strbuf_puts(
        out, "# bash completion for headgate\n_headgate() {\n"
             "    local current=${COMP_WORDS[COMP_CWORD]} options='' words='' files=0\n"
             "    COMPREPLY=()\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"");
    add_command_names(out);
    strbuf_puts(out, "\" -- \"$current\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n");
    for (const struct command *c = commands; c->name; c++)
        add_bash_case(out, c);
    strbuf_puts(
        out,
        "    esac\n    case $current in\n    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")) ;;\n"
        "    *)\n        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
        "        [ \"$files\" -eq 1 ] && COMPREPLY+=($(compgen -f -- \"$current\")) ;;\n"
        "    esac\n}\ncomplete -o nospace -o filenames -F _headgate headgate\n");
}

/* ---- zsh ---- */

/* Inside single quotes and brackets. */
static void add_zsh_text(struct strbuf *out, const char *text) {
    for (const char *c = text; *c; c++) {
        if (*c == '[' || *c == ']' || *c == ':' || *c == '\\')
            strbuf_putc(out, '\\');
        strbuf_puts(out, *c == '\'' ? "'\\''" : (char[]){*c, '\0'});
    }
}

static void add_zsh_options(struct strbuf *out, const struct command *c) {
    struct option_spec room[COMMAND_OPTIONS_MAX];
    const struct option_spec *specs = command_options(c, room, COMMAND_OPTIONS_MAX);
    for (const struct option_spec *s = specs; s && s->name; s++) {
        strbuf_printf(out, " \\\n            '*--%s[", s->name);
        add_zsh_text(out, s->help);
        strbuf_puts(out, s->argument ? "]:value:_files'" : "]'");
    }
}

static void add_zsh_case(struct strbuf *out, const struct command *c) {
    strbuf_printf(out, "    %s)\n        _arguments", c->name);
    add_zsh_options(out, c);
    if (wants_resource(c)) {
        strbuf_puts(out, " \\\n            '1:resource:(");
        add_kinds(out);
        strbuf_puts(out, ")'");
    } else if (c->completion == ARGUMENT_COMMAND) {
        strbuf_puts(out, " \\\n            '1:command:(");
        add_command_names(out);
        strbuf_puts(out, ")'");
    }
    if (wants_files(c))
        strbuf_puts(out, " \\\n            '*:file:_files'");
    strbuf_puts(out, " ;;\n");
}

static void add_zsh(struct strbuf *out) {
    strbuf_puts(out, "#compdef headgate\n_headgate() {\n    local -a names\n    names=(\n");
    for (const struct command *c = commands; c->name; c++) {
        strbuf_printf(out, "        '%s:", c->name);
        add_zsh_text(out, c->summary);
        strbuf_puts(out, "'\n");
    }
    strbuf_puts(
        out,
        "    )\n    if (( CURRENT == 2 )); then\n        _describe command names\n        return\n    fi\n"
        "    local name=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $name in\n");
    for (const struct command *c = commands; c->name; c++)
        add_zsh_case(out, c);
    strbuf_puts(out, "    esac\n}\n_headgate \"$@\"\n");
}

/* ---- fish ---- */

static void add_fish_text(struct strbuf *out, const char *text) {
    strbuf_putc(out, '\'');
    for (const char *c = text; *c; c++) {
        if (*c == '\'' || *c == '\\')
            strbuf_putc(out, '\\');
        strbuf_putc(out, *c);
    }
    strbuf_putc(out, '\'');
}

static void add_fish_command(struct strbuf *out, const struct command *c) {
    struct option_spec room[COMMAND_OPTIONS_MAX];
    const struct option_spec *specs = command_options(c, room, COMMAND_OPTIONS_MAX);
    strbuf_printf(out, "complete -c headgate -n __fish_use_subcommand -a %s -d ", c->name);
    add_fish_text(out, c->summary);
    strbuf_putc(out, '\n');
    for (const struct option_spec *s = specs; s && s->name; s++) {
        strbuf_printf(out, "complete -c headgate -n '__fish_seen_subcommand_from %s' -l %s%s -d ", c->name,
                      s->name, s->argument ? " -r" : "");
        add_fish_text(out, s->help);
        strbuf_putc(out, '\n');
    }
    if (!wants_files(c))
        strbuf_printf(out, "complete -c headgate -n '__fish_seen_subcommand_from %s' -f\n", c->name);
    if (!wants_resource(c))
        return;
    strbuf_printf(out, "complete -c headgate -n '__fish_seen_subcommand_from %s' -a '", c->name);
    add_kinds(out);
    strbuf_puts(out, "'\n");
}

static void add_fish(struct strbuf *out) {
    strbuf_puts(out, "# fish completion for headgate\ncomplete -c headgate -n __fish_use_subcommand -f\n");
    for (const struct command *c = commands; c->name; c++)
        add_fish_command(out, c);
}

int command_completion(struct cli *cli, const struct options *options) {
    static const struct {
        const char *name;
        void (*add)(struct strbuf *out);
    } shells[] = {{"bash", add_bash}, {"zsh", add_zsh}, {"fish", add_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(options->arguments[0], shells[i].name) != 0)
            continue;
        struct strbuf text = {0};
        shells[i].add(&text);
        fputs(text.failed ? "" : text.p, stdout);
        strbuf_finish(&text);
        return EXIT_DONE;
    }
    cli_error(cli, "completion is for bash, zsh or fish, not %s", options->arguments[0]);
    return EXIT_WRONG_USAGE;
}
