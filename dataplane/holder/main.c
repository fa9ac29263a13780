/* headgate-holder: see docs/internals/processes.md. */
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "dataplane/holder/holder.h"

enum { EXIT_USAGE = 2 };

static int print_help(void) {
    struct strbuf text = {0};
    strbuf_puts(&text,
                "usage: headgate-holder --dataplane PROGRAM [options]\n\n"
                "Binds listening sockets, runs the data plane without privileges, and restarts it after a "
                "crash.\n\n");
    options_describe(holder_option_specs, &text);
    strbuf_puts(&text, "\nSignals: TERM drains and ends, HUP and USR1 (open logs anew) are passed on.\n");
    int status = text.failed || fputs(text.p, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    strbuf_finish(&text);
    return status;
}

static int print_errors(const struct error_list *errors) {
    struct strbuf text = {0};
    for (size_t i = 0; i < errors->count; i++) {
        strbuf_puts(&text, "headgate-holder: ");
        error_format(&errors->items[i], &text);
        strbuf_putc(&text, '\n');
    }
    fputs(text.p ? text.p : "headgate-holder: out of memory\n", stderr);
    strbuf_finish(&text);
    return EXIT_USAGE;
}

static int run(const struct holder_options *options, const struct error_list *errors, int parsed) {
    if (options_has(&options->given, "help"))
        return print_help();
    if (options_has(&options->given, "version"))
        return puts("headgate " HG_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    return parsed < 0 ? print_errors(errors) : holder_run(options);
}

int main(int argc, char **argv) {
    struct holder_options options;
    struct error_list errors = {0};
    log_init("holder");
    int parsed = holder_options_parse(argc - 1, argv + 1, &options, &errors);
    int status = run(&options, &errors, parsed);
    holder_options_finish(&options);
    error_list_finish(&errors);
    return status;
}
