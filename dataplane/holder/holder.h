/* holder.h — the data plane's parent: one loop over signals, the child, and the child's requests. */
#pragma once

#include "dataplane/holder/options.h"

/* Runs until the data plane has ended on purpose: after TERM, or by itself with exit code 0 (done) or 2
 * (wrong usage). Returns the exit code for the process. */
int holder_run(const struct holder_options *options);
