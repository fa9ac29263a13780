/* headgate: finds the command in the table, parses its options, runs it. */
#include "controlplane/cli/command.h"
#include "controlplane/cli/help.h"
#include "controlplane/rpc/loop.h"

static int print_overview(FILE *out) {
    struct strbuf text = {0};
    help_add_overview(&text);
    fputs(text.failed ? "" : text.p, out);
    strbuf_finish(&text);
    return out == stdout ? EXIT_DONE : EXIT_WRONG_USAGE;
}

static int print_help(const struct command *c) {
    struct strbuf text = {0};
    help_add_command(c, &text);
    fputs(text.failed ? "" : text.p, stdout);
    strbuf_finish(&text);
    return EXIT_DONE;
}

static int check_arguments(const struct cli *cli, const struct command *c, const struct options *options) {
    size_t n = options->argument_count;
    if (n >= c->arguments_min && n <= c->arguments_max)
        return 0;
    cli_error(cli, "%s arguments; usage: headgate %s [options]%s%s", n < c->arguments_min ? "missing" : "too many", c->name,
              *c->arguments ? " " : "", c->arguments);
    return -1;
}

static int run(const struct command *c, const char *program, const struct options *options,
               struct error_list *errors) {
    struct cli cli;
    if (cli_init(&cli, program, options, errors) < 0)
        return cli_fail(&cli, errors, EXIT_WRONG_USAGE);
    int exit_code = check_arguments(&cli, c, options) < 0 ? EXIT_WRONG_USAGE : c->run(&cli, options);
    cli_finish(&cli);
    rpc_await_threads();
    if (fflush(stdout) != 0 && exit_code == EXIT_DONE)
        exit_code = EXIT_REFUSED;
    return exit_code;
}

static int parse_and_run(const struct command *c, int argc, char **argv) {
    struct option_spec room[COMMAND_OPTIONS_MAX];
    struct options options;
    struct error_list errors = {0};
    struct cli plain = {0};
    int exit_code;
    if (options_parse(command_options(c, room, COMMAND_OPTIONS_MAX), argc - 2, argv + 2, &options, &errors) <
        0)
        exit_code = cli_fail(&plain, &errors, EXIT_WRONG_USAGE);
    else if (options_has(&options, "help"))
        exit_code = print_help(c);
    else
        exit_code = run(c, argv[0], &options, &errors);
    options_finish(&options);
    error_list_finish(&errors);
    return exit_code;
}

int main(int argc, char **argv) {
    struct cli plain = {0};
    struct str name = argc > 1 ? str_of(argv[1]) : STR("");
    if (argc < 2)
        return print_overview(stderr);
    if (str_eq(name, STR("--help")) || str_eq(name, STR("-h")))
        return print_overview(stdout);
    if (str_eq(name, STR("--version")) || str_eq(name, STR("-V")))
        name = STR("version");
    const struct command *c = command_find(name);
    if (c)
        return parse_and_run(c, argc, argv);
    const char *nearest = command_nearest(name);
    cli_error(&plain, "there is no command %s%s%s%s; headgate help lists them", argv[1],
              nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    return EXIT_WRONG_USAGE;
}
