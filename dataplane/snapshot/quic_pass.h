/* quic_pass.h — what a listener with quic-pass does, from its message. Thread: main. */
#pragma once

#include "dataplane/snapshot/build.h"

/* Sets d->pass, and d->opening.pass. 0, or -1: `errors` has more now, or memory is short. */
int  snapshot_build_quic_pass(struct snapshot *, const Headgate__Listener *, const char *name, struct listener_definition *d,
                              struct error_list *errors);
/* What they hold besides the snapshot's arena. */
void snapshot_drop_quic_passes(struct snapshot *);
