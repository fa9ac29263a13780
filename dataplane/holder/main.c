/* headgate-holder: see docs/internals/processes.md. */
#include <stdlib.h>

#include "common/log.h"
#include "dataplane/holder/holder.h"

int main(int argc, char **argv) {
    struct holder_options options;
    log_init("holder");
    switch (holder_options_parse(argc, argv, &options)) {
    case OPTIONS_EXIT_OK: return EXIT_SUCCESS;
    case OPTIONS_EXIT_USAGE: return 2;
    case OPTIONS_RUN: break;
    }
    return holder_run(&options);
}
