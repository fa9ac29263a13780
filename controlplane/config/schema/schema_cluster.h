/* schema_cluster.h — what a cluster refers to of other files, and its checks that a table cannot say; called as schema.h
 * describes. */
#pragma once

#include "controlplane/config/schema/schema_tls.h"

void check_cluster(struct fill *f, const struct fill_at *at, const ProtobufCMessage *cluster);
void check_endpoint_set(struct fill *f, const struct fill_at *at, const ProtobufCMessage *set);
void check_dns_discovery(struct fill *f, const struct fill_at *at, const ProtobufCMessage *dns);
