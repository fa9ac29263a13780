/* The endpoints of a service as a management server sends them, through the feed. */
#include <stdio.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "controlplane/discovery/endpoint_feed.h"
#include "controlplane/discovery/source_state.h"

struct followed {
    struct source               base;
    struct source_config        config;
    char                       *service;
    struct endpoint_feed_member member;
    ev_timer                    first;      /* the first look, outside of `create` */
    struct source_state         state;
};

static void on_found(void *owner, const Headgate__EndpointSet *set, uint64_t at) {
    struct followed *f = owner;
    f->state.received_at = at;
    source_note_found(&f->state, set->n_endpoints);
    f->config.sink.found(f->config.sink.context, set);
}

static void on_failed(void *owner, const char *reason) {
    struct followed *f = owner;
    source_note_failed(&f->state, reason);
    f->config.sink.failed(f->config.sink.context, reason);
}

static Headgate__EndpointSet *known(const struct source_config *config, const Headgate__Discovery *m) {
    return config->feed ? endpoint_feed_known(config->feed, m->xds->service, m->xds->locality_weighted) : NULL;
}

/* What nobody knows yet is asked for, and comes when it comes. */
static void look(struct followed *f) {
    source_note_asked(&f->state);
    if (!f->config.feed) {
        on_failed(f, "no management server is configured");
        return;
    }
    Headgate__EndpointSet *set = endpoint_feed_known(f->config.feed, f->service, f->member.is_locality_weighted);
    if (!set)
        return;
    on_found(f, set, clock_monotonic_us());
    headgate__endpoint_set__free_unpacked(set, NULL);
}

static void on_first(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    look(timer->data);
}

/* ---- life ---- */

static void xds_refresh(struct source *s) {
    look((struct followed *)s);
}

static void xds_state(const struct source *s, struct source_state *ret) {
    const struct followed *f = (const struct followed *)s;
    const char *server = f->config.feed ? endpoint_feed_name(f->config.feed) : "";
    *ret = f->state;
    snprintf(ret->target, sizeof ret->target, "%.120s @ %.120s", f->service, server[0] ? server : "no server");
}

static void xds_destroy(struct source *s) {
    struct followed *f = (struct followed *)s;
    ev_timer_stop(f->config.loop, &f->first);
    if (f->config.feed)
        endpoint_feed_leave(f->config.feed, &f->member);
    hg_free(f->service);
    hg_free(f);
}

static struct source *xds_create(const struct source_config *config, const Headgate__Discovery *m,
                                 struct error_list *errors) {
    struct followed *f = hg_calloc(1, sizeof *f);
    char *service = hg_strdup(m->xds->service);
    bool has_memory = f && service;
    if (has_memory) {
        f->member = (struct endpoint_feed_member){.owner = f, .is_locality_weighted = m->xds->locality_weighted,
                                                  .found = on_found, .failed = on_failed};
        has_memory = !config->feed || endpoint_feed_join(config->feed, &f->member, service) == 0;
    }
    if (!has_memory) {
        error_addf(errors, ERROR_MEMORY, "no memory to follow a service");
        hg_free(service);
        hg_free(f);
        return NULL;
    }
    f->base.kind = &source_xds;
    f->config = *config;
    f->service = service;
    f->state.kind = source_xds.name;
    ev_timer_init(&f->first, on_first, 0., 0.);
    f->first.data = f;
    ev_timer_start(config->loop, &f->first);
    return &f->base;
}

const struct source_kind source_xds = {
    .name = "xds", .create = xds_create, .refresh = xds_refresh, .state = xds_state, .known = known, .destroy = xds_destroy};
