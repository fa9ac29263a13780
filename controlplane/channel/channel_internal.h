/* channel_internal.h — what the files of the state machine share. */
#pragma once

#include "controlplane/channel/channel.h"
#include "controlplane/channel/transfer.h"

/* What is remembered of a node beyond its streams: how often it went away over one snapshot. */
struct node_record {
    char *node;
    struct snapshot *target;
    unsigned losses;
    uint64_t used_at;
};

enum { NODE_RECORDS_MAX = 256 };

struct channel {
    struct channel_config config;
    struct channel_events events;
    void *context;
    uint64_t now;
    struct snapshot *current;
    struct data_plane *first;
    size_t count;
    struct push *push;
    uint64_t last_nonce;
    uint64_t last_observe;
    struct channel_counters counters;
    struct node_record records[NODE_RECORDS_MAX];
    size_t record_count;
    struct away_node *away;
    size_t away_count;
    /* The message that channel_pull gave last. */
    Headgate__ControlPlaneMessage out;
    Headgate__Commit out_commit;
    Headgate__Abort out_abort;
    Headgate__Refuse out_refuse;
    Headgate__Confirm out_confirm;
    Headgate__Observe out_observe;
    Headgate__SnapshotId out_id;
    char *out_text;
};

/* channel.c */
void data_plane_end(struct channel *c, struct data_plane *dp, const char *reason, bool at_once);
/* An idle data plane that is not as it should be is sent the current snapshot. */
void data_plane_synchronize(struct channel *c, struct data_plane *dp);

/* away.c */
void away_add(struct channel *c, const struct data_plane *dp);
void away_remove(struct channel *c, const char *node); /* it is here again, or was never away */
void away_finish(struct channel *c);

/* greeting.c */
/* The live stream of a node other than `except`, or NULL. */
struct data_plane *greeting_find_node(const struct channel *c, const char *node, const struct data_plane *except);
void greeting_receive(struct channel *c, struct data_plane *dp, const Headgate__Hello *hello);
void greeting_destroy(struct greeting *g);

/* exchange.c */
void exchange_start(struct channel *c, struct data_plane *dp, struct snapshot *target, bool is_of_push, bool is_dry_run);
/* Whether it has to be told that what it serves is the current snapshot. */
bool exchange_owes_confirm(const struct channel *c, const struct data_plane *dp);
/* Ends the open transfer on our side; with a reason an Abort is sent for it. */
void exchange_cancel(struct channel *c, struct data_plane *dp, const char *abort_reason);
void exchange_commit(struct channel *c, struct data_plane *dp);
void exchange_ready(struct channel *c, struct data_plane *dp, const Headgate__Ready *m);
void exchange_nack(struct channel *c, struct data_plane *dp, const Headgate__Nack *m);
void exchange_ack(struct channel *c, struct data_plane *dp, const Headgate__Ack *m);

/* node_record.c */
void node_record_loss(struct channel *c, const struct data_plane *dp);
void node_record_success(struct channel *c, const struct data_plane *dp);
/* How often this node was lost over this snapshot. */
unsigned node_record_losses(const struct channel *c, const char *node, const struct snapshot *target);
void node_records_finish(struct channel *c);

/* push.c: what happens to a participant */
void push_participant_ready(struct channel *c, struct data_plane *dp, uint64_t build_us);
void push_participant_nacked(struct channel *c, struct data_plane *dp, Headgate__Nack *nack); /* takes the nack */
void push_participant_acked(struct channel *c, struct data_plane *dp, uint64_t switch_us);
void push_participant_lost(struct channel *c, struct data_plane *dp, const char *reason);
/* The transfer that the participant had to finish first is over. */
void push_participant_free(struct channel *c, struct data_plane *dp);
