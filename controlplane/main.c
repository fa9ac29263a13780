/* headgate-controlplane: reads its command line and runs. */
#include <stdio.h>
#include <stdlib.h>

#include "common/dumps.h"
#include "common/log.h"
#include "controlplane/daemon/daemon.h"

static int print_help(void) {
    struct strbuf text = {0};
    strbuf_puts(&text,
                "usage: headgate-controlplane [options]\n\n"
                "Owns the configuration: validates it, keeps its history, and pushes it to data planes.\n\n");
    options_describe(daemon_option_specs, &text);
    strbuf_puts(&text,
                "\nSignals: TERM ends after the pushes under way, HUP reads the file of --config again.\n");
    int status = text.failed || fputs(text.p, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    strbuf_finish(&text);
    return status;
}

static int print_errors(const struct error_list *errors) {
    struct strbuf text = {0};
    for (size_t i = 0; i < errors->count; i++) {
        strbuf_puts(&text, "headgate-controlplane: ");
        error_format(&errors->items[i], &text);
        strbuf_putc(&text, '\n');
    }
    if (text.p)
        fputs(text.p, stderr);
    strbuf_finish(&text);
    return 2;
}

static int run(const struct daemon_options *options, const struct error_list *errors, int parsed) {
    if (options_has(&options->given, "help"))
        return print_help();
    if (options_has(&options->given, "version"))
        return puts("headgate " HG_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    return parsed < 0 ? print_errors(errors) : daemon_run(options);
}

int main(int argc, char **argv) {
    struct daemon_options options;
    struct error_list errors = {0};
    log_init("controlplane");
    if (dumps_forbid() < 0)
        log_warning("core files of this process cannot be ruled out: it will hold private keys");
    int parsed = daemon_options_parse(argc - 1, argv + 1, &options, &errors);
    int status = run(&options, &errors, parsed);
    daemon_options_finish(&options);
    error_list_finish(&errors);
    return status;
}
