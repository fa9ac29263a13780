/* headgate-dataplane: see docs/internals/processes.md. It is started by headgate-holder. */
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "dataplane/process/process.h"

enum { EXIT_USAGE = 2 };

static int print_help(void) {
    struct strbuf text = {0};
    strbuf_puts(&text, "usage: headgate-dataplane [options]\n\n"
                       "Serves traffic by the snapshots of the control plane. Started by headgate-holder.\n\n");
    options_describe(dataplane_option_specs, &text);
    strbuf_puts(&text, "\nSignals: TERM drains and ends, USR1 opens logs anew, HUP connects to the control plane "
                       "now.\n");
    int status = text.failed || fputs(text.p, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    strbuf_finish(&text);
    return status;
}

static int print_errors(const struct error_list *errors) {
    struct strbuf text = {0};
    for (size_t i = 0; i < errors->count; i++) {
        strbuf_puts(&text, "headgate-dataplane: ");
        error_format(&errors->items[i], &text);
        strbuf_putc(&text, '\n');
    }
    fputs(text.p ? text.p : "headgate-dataplane: out of memory\n", stderr);
    strbuf_finish(&text);
    return EXIT_USAGE;
}

static int run(const struct dataplane_options *options, const struct error_list *errors, int parsed) {
    if (options_has(&options->given, "help"))
        return print_help();
    if (options_has(&options->given, "version"))
        return puts("headgate " HG_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    return parsed < 0 ? print_errors(errors) : process_run(options);
}

int main(int argc, char **argv) {
    struct dataplane_options options;
    struct error_list errors = {0};
    log_init("dataplane");
    int parsed = dataplane_options_parse(argc - 1, argv + 1, &options, &errors);
    int status = run(&options, &errors, parsed);
    dataplane_options_finish(&options);
    error_list_finish(&errors);
    return status;
}
