/* schema_rule.h — the checks of a route's parts that a table cannot say; called as schema.h describes. */
#pragma once

#include "controlplane/config/schema/schema.h"

void check_hosts(struct fill *f, const struct fill_at *at, const ProtobufCMessage *host);
void check_rule(struct fill *f, const struct fill_at *at, const ProtobufCMessage *rule);
void check_respond(struct fill *f, const struct fill_at *at, const ProtobufCMessage *respond);
void check_redirect(struct fill *f, const struct fill_at *at, const ProtobufCMessage *redirect);
void check_rewrite(struct fill *f, const struct fill_at *at, const ProtobufCMessage *rewrite);
void check_header_change(struct fill *f, const struct fill_at *at, const ProtobufCMessage *change);
