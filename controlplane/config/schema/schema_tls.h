/* schema_tls.h — the checks of TLS and what belongs to it that a table cannot say; called as schema.h describes. */
#pragma once

#include "controlplane/config/schema/schema.h"

void check_server_tls(struct fill *f, const struct fill_at *at, const ProtobufCMessage *tls);
void check_client_certificates(struct fill *f, const struct fill_at *at, const ProtobufCMessage *tls);
void check_name_match(struct fill *f, const struct fill_at *at, const ProtobufCMessage *name);
void check_pins(struct fill *f, const struct fill_at *at, const ProtobufCMessage *pins);
void check_client_tls(struct fill *f, const struct fill_at *at, const ProtobufCMessage *tls);
void check_proxy_protocol(struct fill *f, const struct fill_at *at, const ProtobufCMessage *proxy);
