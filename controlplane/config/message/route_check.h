/* route_check.h — the data plane's own compiler of route tables as a check, so that what passes here is not refused there.
 * Thread: one at a time. */
#pragma once

#include "controlplane/config/message/fill.h"

/* Builds the table as the data plane would, under these settings (NULL: all defaults), and reports its faults at their
 * places in the tree at `at`, from which the message was filled. `is_whole`: filling it found no fault. Otherwise nothing
 * more is said about rules that have one already, nor about what is outside of rules. */
void check_route_table(struct fill *f, const struct fill_at *at, const char *name, const ProtobufCMessage *table,
                       const ProtobufCMessage *settings, bool is_whole);
