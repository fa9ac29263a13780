/* schema_http3.h — the checks of HTTP/3 and QUIC that a table cannot say; called as schema.h describes. */
#pragma once

#include "controlplane/config/schema/schema.h"

void check_quic_server_id(struct fill *f, const struct fill_at *at, const ProtobufCMessage *server_id);
/* Of a listener that serves HTTP/3, and of one that does not. */
void check_http3(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener);
void check_without_http3(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener);
