/* Nodes that were here and are not: for people who ask where a data plane went. */
#include "common/alloc.h"
#include "controlplane/channel/channel_internal.h"

static void away_destroy(struct away_node *n) {
    hg_free(n->node);
    hg_free(n->software);
    hg_free(n);
}

static struct away_node **find(struct channel *c, const char *node) {
    struct away_node **link = &c->away;
    while (*link && strcmp((*link)->node, node) != 0)
        link = &(*link)->next;
    return link;
}

static void drop(struct channel *c, struct away_node **link) {
    struct away_node *n = *link;
    *link = n->next;
    c->away_count--;
    away_destroy(n);
}

static void drop_oldest(struct channel *c) {
    struct away_node **oldest = &c->away;
    for (struct away_node **link = &c->away; *link; link = &(*link)->next)
        if ((*link)->seen_at < (*oldest)->seen_at)
            oldest = link;
    drop(c, oldest);
}

static struct away_node *away_create(const struct data_plane *dp) {
    struct away_node *n = hg_calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->node = hg_strdup(dp->node);
    n->software = hg_strdup(dp->software);
    n->version = dp->held ? dp->held->version : 0;
    n->seen_at = dp->heard_at;
    if (n->node && n->software)
        return n;
    away_destroy(n);
    return NULL;
}

void away_add(struct channel *c, const struct data_plane *dp) {
    away_remove(c, dp->node);
    struct away_node *n = away_create(dp);
    if (!n)
        return; /* not remembered this time */
    if (c->away_count == CHANNEL_AWAY_MAX)
        drop_oldest(c);
    n->next = c->away;
    c->away = n;
    c->away_count++;
}

void away_remove(struct channel *c, const char *node) {
    struct away_node **link = find(c, node);
    if (*link)
        drop(c, link);
}

void away_finish(struct channel *c) {
    while (c->away)
        drop(c, &c->away);
}

const struct away_node *channel_away(const struct channel *c) {
    return c->away;
}
