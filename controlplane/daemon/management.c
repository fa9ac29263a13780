#include "controlplane/daemon/management.h"

#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/engine/layers.h"
#include "controlplane/xds/world.h"

struct management {
    struct engine *engine;
    struct xds_bootstrap bootstrap;
    struct xds_world *world;
    struct xds_options options;     /* of the client */
    struct xds_client *client;
    struct xds_csds csds;
    struct config_resources fixed;  /* of the static clusters of the bootstrap file; sorted */
    bool is_stopped;
};

/* ---- the world's sink: the engine ---- */

static int add_all(struct config_resources *to, const struct config_resources *from, const struct config_resources *but) {
    int status = 0;
    for (size_t i = 0; i < from->count && status == 0; i++) {
        const struct config_resource *r = &from->items[i];
        if (!but || !config_resources_find(but, r->kind, str_of(r->name)))
            status = config_resources_add(to, r->kind, str_of(r->name), r->bytes, r->size);
    }
    return status;
}

/* The server's resources and the static clusters, which count where both have one of a name, as in Envoy. */
static int set_layer(void *context, struct config_resources *set,
                     void (*done)(void *done_context, const Headgate__PushReply *reply), void *done_context) {
    struct management *m = context;
    struct config_resources all = {0};
    if (m->fixed.count == 0)
        return engine_set_layer(m->engine, ENGINE_LAYER_XDS, set, done, done_context);
    int status = add_all(&all, set, &m->fixed) | add_all(&all, &m->fixed, NULL);
    config_resources_sort(&all);
    if (status == 0)
        status = engine_set_layer(m->engine, ENGINE_LAYER_XDS, &all, done, done_context);
    config_resources_finish(&all);
    if (status == 0) {
        config_resources_finish(set);
        *set = (struct config_resources){0};
    }
    return status;
}

static int set_secret(void *context, const struct xds_given *given, struct error_list *errors) {
    struct management *m = context;
    const struct given_secret content = {.what = given->what, .certificate = given->certificate, .key = given->key,
                                         .ocsp = given->ocsp, .crl = given->crl, .rules = given->rules,
                                         .ticket_keys = given->ticket_keys, .ticket_key_count = given->ticket_key_count};
    return engine_set_given_secret(m->engine, given->name, &content, errors);
}

static void drop_secret(void *context, const char *name) {
    struct management *m = context;
    struct error_list errors = {0};
    engine_set_given_secret(m->engine, name, NULL, &errors); /* one that is still used stays */
    error_list_finish(&errors);
}

static void changed(void *context) {
    struct management *m = context;
    if (m->client && !m->is_stopped)
        xds_client_wake(m->client);
}

/* ---- the client's owner: the world ---- */

static enum xds_verdict judge(void *context, size_t type, struct str name, struct str bytes, struct strbuf *reasons) {
    struct management *m = context;
    return xds_world_judge(m->world, type, name, bytes, reasons);
}

static enum xds_result add_types(void *context, struct xds_protocol *p) {
    struct management *m = context;
    return xds_world_add_types(m->world, p);
}

static void use(void *context, struct xds_protocol *p, const char *server, uint64_t now) {
    struct management *m = context;
    xds_world_use(m->world, p, server, now);
}

static void follow(void *context, uint64_t now) {
    struct management *m = context;
    xds_world_follow(m->world, now);
}

static uint64_t deadline(const void *context) {
    const struct management *m = context;
    return xds_world_deadline(m->world);
}

/* ---- life ---- */

static int read_bootstrap(struct management *m, const char *file, struct error_list *errors) {
    struct error_list warnings = {0};
    int status = xds_bootstrap_read(file, &m->bootstrap, errors, &warnings);
    for (size_t i = 0; i < warnings.count; i++) {
        struct strbuf text = {0};
        error_format(&warnings.items[i], &text);
        log_warning("a part of the bootstrap file is not used", LOG_S("what", text.failed ? "" : text.p));
        strbuf_finish(&text);
    }
    error_list_finish(&warnings);
    return status;
}

/* ---- static clusters ---- */

static int take_made(struct management *m, const struct xds_made *made, const char *name, struct error_list *errors) {
    int status = 0;
    for (size_t i = 0; i < made->given_count; i++)
        status |= set_secret(m, &made->givens[i], errors);
    for (size_t i = 0; i < made->need_count; i++)
        if (strcmp(made->needs[i].type, "envoy.extensions.transport_sockets.tls.v3.Secret") == 0) {
            error_addf(errors, ERROR_UNSUPPORTED, "the static cluster %s needs the secret %s of a server: not supported",
                       name, made->needs[i].name);
            status = -1;
        }
    if (status == 0 && add_all(&m->fixed, &made->set, NULL) < 0) {
        error_addf(errors, ERROR_MEMORY, "no memory for static clusters");
        status = -1;
    }
    return status;
}

static int make_fixed(struct management *m, struct error_list *errors) {
    int status = 0;
    for (size_t i = 0; i < m->bootstrap.cluster_count; i++) {
        const Envoy__Config__Cluster__V3__Cluster *from = m->bootstrap.clusters[i];
        struct xds_made made = {0};
        status |= xds_translate_cluster(from, &made, errors) < 0 ? -1 : take_made(m, &made, from->name, errors);
        xds_made_finish(&made);
    }
    config_resources_sort(&m->fixed);
    return status;
}

static int create_world(struct management *m, struct endpoint_feed *feed, struct error_list *errors) {
    struct xds_world_options o;
    xds_world_options_defaults(&o);
    o.translations = xds_translations;
    o.sink = (struct xds_world_sink){.context = m, .set_layer = set_layer, .set_secret = set_secret,
                                     .drop_secret = drop_secret, .changed = changed};
    o.feed = feed;
    o.fixed = &m->fixed;
    o.wants_clusters = m->bootstrap.wants_clusters;
    o.wants_listeners = m->bootstrap.wants_listeners;
    o.layers = m->bootstrap.layers;
    o.layer_count = m->bootstrap.layer_count;
    m->world = xds_world_create(&o);
    if (!m->world)
        error_addf(errors, ERROR_MEMORY, "no memory for management servers");
    return m->world ? 0 : -1;
}

static int create_client(struct management *m, const struct management_limits *limits, struct rpc_loop *rpc,
                         struct error_list *errors) {
    const struct xds_client_config config = {
        .rpc = rpc, .bootstrap = &m->bootstrap, .options = &m->options,
        .owner = {.context = m, .judge = judge, .add_types = add_types, .use = use, .follow = follow, .deadline = deadline}};
    xds_options_defaults(&m->options);
    m->options.resources_max = limits->resources_max;
    m->options.bytes_max = limits->bytes_max;
    m->client = xds_client_create(&config, errors);
    return m->client ? 0 : -1;
}

struct management *management_create(const char *bootstrap, const struct management_limits *limits, struct rpc_loop *rpc,
                                     struct engine *engine, struct endpoint_feed *feed, struct error_list *errors) {
    struct management *m = hg_calloc(1, sizeof *m);
    if (!m) {
        error_addf(errors, ERROR_MEMORY, "no memory for management servers");
        return NULL;
    }
    m->engine = engine;
    if (read_bootstrap(m, bootstrap, errors) == 0 && make_fixed(m, errors) == 0 && create_world(m, feed, errors) == 0 &&
        create_client(m, limits, rpc, errors) == 0) {
        m->csds = (struct xds_csds){.world = m->world, .node = m->bootstrap.node};
        return m;
    }
    management_destroy(m);
    return NULL;
}

void management_start(struct management *m) {
    xds_client_start(m->client);
}

void management_stop(struct management *m) {
    if (!m || m->is_stopped)
        return;
    m->is_stopped = true;
    xds_client_stop(m->client);
}

void management_destroy(struct management *m) {
    if (!m)
        return;
    m->is_stopped = true;
    xds_client_destroy(m->client);
    xds_world_destroy(m->world);
    config_resources_finish(&m->fixed);
    xds_bootstrap_finish(&m->bootstrap);
    hg_free(m);
}

const struct xds_client *management_client(const struct management *m) {
    return m->client;
}

const struct xds_csds *management_csds(const struct management *m) {
    return &m->csds;
}
