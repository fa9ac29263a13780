/* schema_cluster.h — what a cluster refers to of other files, and its checks that a table cannot say; called as schema.h
 * describes. */
#pragma once

#include "controlplane/config/schema/schema_tls.h"

/* schema_balancing.c */
extern const struct schema_word schema_balancers[];
extern const struct schema_object schema_balancing, schema_sticky, schema_outlier_detection, schema_circuit_breakers;
/* schema_cluster.c */
extern const struct schema_object schema_metadata;

void check_cluster(struct fill *f, const struct fill_at *at, const ProtobufCMessage *cluster);
void check_endpoint_set(struct fill *f, const struct fill_at *at, const ProtobufCMessage *set);
void check_http3_fallback(struct fill *f, const struct fill_at *at, const ProtobufCMessage *fallback);
void check_balancing(struct fill *f, const struct fill_at *at, const ProtobufCMessage *balancing);
void check_dns_discovery(struct fill *f, const struct fill_at *at, const ProtobufCMessage *dns);
/* What QUIC does not get to. `at` as below. */
void check_endpoints_over_quic(struct fill *f, const struct fill_at *at, const ProtobufCMessage *cluster,
                               const ProtobufCMessage *set);
/* check_tables.c: tables of hash balancers that these endpoints need are within the cluster's bound. `at` is the cluster, or
 * the endpoint set alone. Zones count only where a data plane prefers its own: it refuses what gets too large by that. */
void check_tables(struct fill *f, const struct fill_at *at, const ProtobufCMessage *cluster, const ProtobufCMessage *set);
