#include "common/alloc.h"
#include "controlplane/channel/channel_internal.h"

static struct node_record *find(const struct channel *c, const char *node) {
    for (size_t i = 0; i < c->record_count; i++)
        if (strcmp(c->records[i].node, node) == 0)
            return (struct node_record *)&c->records[i];
    return NULL;
}

static void clear(struct node_record *r) {
    hg_free(r->node);
    snapshot_unref(r->target);
    *r = (struct node_record){0};
}

/* A place for a new record: a free one, or that of the record that was used longest ago. */
static struct node_record *make_room(struct channel *c) {
    if (c->record_count < NODE_RECORDS_MAX)
        return &c->records[c->record_count++];
    struct node_record *oldest = &c->records[0];
    for (size_t i = 1; i < c->record_count; i++)
        if (c->records[i].used_at < oldest->used_at)
            oldest = &c->records[i];
    clear(oldest);
    return oldest;
}

void node_record_loss(struct channel *c, const struct data_plane *dp) {
    struct node_record *r = find(c, dp->node);
    if (!r) {
        char *node = hg_strdup(dp->node);
        if (!node)
            return; /* not counted this time */
        r = make_room(c);
        r->node = node;
    }
    if (!snapshot_is_same(r->target, dp->target)) {
        snapshot_unref(r->target);
        r->target = snapshot_ref(dp->target);
        r->losses = 0;
    }
    r->losses++;
    r->used_at = c->now;
}

void node_record_success(struct channel *c, const struct data_plane *dp) {
    struct node_record *r = find(c, dp->node);
    if (!r)
        return;
    clear(r);
    *r = c->records[--c->record_count];
    c->records[c->record_count] = (struct node_record){0};
}

unsigned node_record_losses(const struct channel *c, const char *node, const struct snapshot *target) {
    const struct node_record *r = find(c, node);
    return r && snapshot_is_same(r->target, target) ? r->losses : 0;
}

void node_records_finish(struct channel *c) {
    for (size_t i = 0; i < c->record_count; i++)
        clear(&c->records[i]);
    c->record_count = 0;
}
