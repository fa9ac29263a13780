/* The registrations of a service in etcd, followed. */
#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/discovery/source_state.h"

struct source_of_registry {
    struct source                base;
    struct source_config         config;
    struct etcd_service_follower follower;
    ev_timer                     first;     /* the first look, outside of `create` */
    struct source_state          state;
};

/* ---- what is found ---- */

static void fail(struct source_of_registry *s, const char *reason) {
    source_note_failed(&s->state, reason);
    s->config.sink.failed(s->config.sink.context, reason);
}

/* What cannot be read of it is told behind the rest. */
static void on_changed(void *context) {
    struct source_of_registry *s = context;
    struct error_list errors = {0};
    struct arena arena = {0};
    source_note_asked(&s->state);
    const Headgate__EndpointSet *set = etcd_registry_endpoints(&s->follower, &arena, &errors);
    if (set) {
        source_note_found(&s->state, set->n_endpoints);
        s->config.sink.found(s->config.sink.context, set);
    }
    if (!set && source_lacks_memory(&errors))
        source_tell_no_memory(&s->state, &s->config.sink);
    else if (errors.count)
        fail(s, errors.items[0].message);
    arena_finish(&arena);
    error_list_finish(&errors);
}

static void on_failed(void *context, const char *reason) {
    struct source_of_registry *s = context;
    source_note_asked(&s->state);
    fail(s, reason);
}

static void on_first(struct ev_loop *loop, ev_timer *timer, int events) {
    struct source_of_registry *s = timer->data;
    (void)loop;
    (void)events;
    if (!s->config.registry)
        fail(s, "no etcd is known: --etcd names one");
    else if (etcd_registry_is_known(&s->follower))
        on_changed(s);
}

/* ---- life ---- */

static void etcd_refresh(struct source *source) {
    struct source_of_registry *s = (struct source_of_registry *)source;
    if (etcd_registry_is_known(&s->follower))
        on_changed(s);
}

static void etcd_state(const struct source *s, struct source_state *ret) {
    *ret = ((const struct source_of_registry *)s)->state;
}

static void etcd_destroy_source(struct source *source) {
    struct source_of_registry *s = (struct source_of_registry *)source;
    ev_timer_stop(s->config.loop, &s->first);
    etcd_registry_leave(&s->follower);
    hg_free(s);
}

static struct source *etcd_create_source(const struct source_config *config, const Headgate__Discovery *m,
                                         struct error_list *errors) {
    struct source_of_registry *s = hg_calloc(1, sizeof *s);
    if (s) {
        s->base.kind = &source_etcd;
        s->config = *config;
        s->state.kind = source_etcd.name;
        snprintf(s->state.target, sizeof s->state.target, ETCD_ENDPOINTS "%s", m->etcd->service);
        s->follower = (struct etcd_service_follower){.changed = on_changed, .failed = on_failed, .context = s};
        ev_timer_init(&s->first, on_first, 0., 0.);
        s->first.data = s;
        if (!config->registry || etcd_registry_join(config->registry, m->etcd->service, &s->follower) == 0) {
            ev_timer_start(config->loop, &s->first);
            return &s->base;
        }
        etcd_destroy_source(&s->base);
    }
    error_addf(errors, ERROR_MEMORY, "no memory to follow a service of etcd");
    return NULL;
}

const struct source_kind source_etcd = {.name = "etcd", .create = etcd_create_source, .refresh = etcd_refresh,
                                        .state = etcd_state, .destroy = etcd_destroy_source};
