/* schema_quic_pass.h — listeners that pass QUIC through. */
#pragma once

#include "controlplane/config/schema/schema.h"

extern const struct schema_object schema_quic_pass;

void check_quic_pass(struct fill *f, const struct fill_at *at, const ProtobufCMessage *quic_pass);
void check_quic_server_ids(struct fill *f, const struct fill_at *at, const ProtobufCMessage *server_ids);
/* What cannot stand beside it on a listener. */
void check_beside_quic_pass(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener);
