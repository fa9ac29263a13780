/* schema_listener.h — the checks of listeners that a table cannot say; called as schema.h describes. */
#pragma once

#include "controlplane/config/schema/schema.h"

void check_listener(struct fill *f, const struct fill_at *at, const ProtobufCMessage *listener);
void check_scoped_routes(struct fill *f, const struct fill_at *at, const ProtobufCMessage *scoped_routes);
void check_tcp(struct fill *f, const struct fill_at *at, const ProtobufCMessage *tcp);
