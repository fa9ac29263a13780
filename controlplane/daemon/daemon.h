/* daemon.h — headgate-controlplane as a whole: what it listens on, its signals, and its orderly end. Thread: main. */
#pragma once

#include "controlplane/daemon/options.h"

/* Runs until TERM or INT. Returns the exit code; reasons for a failure to start are logged. */
int daemon_run(const struct daemon_options *options);
