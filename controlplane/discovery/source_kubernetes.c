/* A Service of Kubernetes: its EndpointSlices, followed. */
#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/discovery/source_state.h"

struct source_of_service {
    struct source              base;
    struct source_config       config;
    struct kubernetes_follower follower;
    char                      *service, *port;  /* port NULL: the only one */
    ev_timer                   first;           /* nobody can be asked: says so outside of `create` */
    struct source_state        state;
};

/* ---- what is found ---- */

static void fail(struct source_of_service *s, const char *reason) {
    source_note_failed(&s->state, reason);
    s->config.sink.failed(s->config.sink.context, reason);
}

static void on_changed(void *context) {
    struct source_of_service *s = context;
    struct error_list errors = {0};
    struct arena arena = {0};
    source_note_asked(&s->state);
    const Headgate__EndpointSet *set = kubernetes_endpoints(&s->follower, s->port, &arena, &errors);
    if (set) {
        source_note_found(&s->state, set->n_endpoints);
        s->config.sink.found(s->config.sink.context, set);
    } else if (source_lacks_memory(&errors)) {
        source_tell_no_memory(&s->state, &s->config.sink);
    } else {
        fail(s, errors.items[0].message);
    }
    arena_finish(&arena);
    error_list_finish(&errors);
}

static void on_failed(void *context, const char *reason) {
    struct source_of_service *s = context;
    source_note_asked(&s->state);
    fail(s, reason);
}

static void on_first(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    fail(timer->data, "no API server of Kubernetes is known: --kubernetes-server names one");
}

/* ---- life ---- */

static void service_refresh(struct source *source) {
    struct source_of_service *s = (struct source_of_service *)source;
    if (kubernetes_is_known(&s->follower))
        on_changed(s);
}

static void service_state(const struct source *s, struct source_state *ret) {
    *ret = ((const struct source_of_service *)s)->state;
}

static void service_destroy(struct source *source) {
    struct source_of_service *s = (struct source_of_service *)source;
    ev_timer_stop(s->config.loop, &s->first);
    kubernetes_leave(&s->follower);
    hg_free(s->service);
    hg_free(s->port);
    hg_free(s);
}

/* 0, or -1 without memory. */
static int follow(struct source_of_service *s, const Headgate__KubernetesDiscovery *m) {
    struct kubernetes *k = s->config.kubernetes;
    uint64_t number;
    const char *namespace = m->namespace_ ? m->namespace_ : k ? kubernetes_own_namespace(k) : "default";
    s->follower = (struct kubernetes_follower){
        .service = s->service, .changed = on_changed, .failed = on_failed, .context = s};
    s->follower.wants_services = s->port && str_to_uint64(str_of(s->port), &number) == 0;
    snprintf(s->state.target, sizeof s->state.target, "%s/%s%s%s", namespace, s->service, s->port ? ":" : "",
             s->port ? s->port : "");
    if (k)
        return kubernetes_follow(k, namespace, &s->follower);
    ev_timer_start(s->config.loop, &s->first);
    return 0;
}

static struct source *service_create(const struct source_config *config, const Headgate__Discovery *m,
                                     struct error_list *errors) {
    struct source_of_service *s = hg_calloc(1, sizeof *s);
    if (s) {
        s->base.kind = &source_kubernetes;
        s->config = *config;
        s->state.kind = source_kubernetes.name;
        ev_timer_init(&s->first, on_first, 0., 0.);
        s->first.data = s;
        s->service = hg_strdup(m->kubernetes->service);
        s->port = m->kubernetes->port ? hg_strdup(m->kubernetes->port) : NULL;
    }
    if (s && s->service && (s->port || !m->kubernetes->port) && follow(s, m->kubernetes) == 0)
        return &s->base;
    if (s)
        service_destroy(&s->base);
    error_addf(errors, ERROR_MEMORY, "no memory to follow a Service of Kubernetes");
    return NULL;
}

const struct source_kind source_kubernetes = {
    .name = "kubernetes", .create = service_create, .refresh = service_refresh, .state = service_state,
    .destroy = service_destroy,
};
