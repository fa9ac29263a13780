/* process.h — the data plane as a process: booting, probes, signals, draining. Everything on the main
 * thread. */
#pragma once

#include "dataplane/process/options.h"

/* Runs until it is told to end, or the holder is gone. Returns the exit code: 0 after draining, otherwise the
 * holder starts a new data plane. */
int process_run(const struct dataplane_options *options);
