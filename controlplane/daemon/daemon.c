#include "controlplane/daemon/daemon.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/folders.h"
#include "common/log.h"
#include "controlplane/admin/service.h"
#include "controlplane/channel/service.h"
#include "controlplane/daemon/management.h"
#include "controlplane/daemon/metrics.h"
#include "controlplane/engine/engine.h"
#include "controlplane/engine/file_source.h"
#include "controlplane/engine/layers.h"
#include "controlplane/etcd/layer.h"
#include "controlplane/rpc/server.h"

enum {
    ADMIN_MESSAGE_MAX = CONFIG_BYTES_MAX + (8 << 20),
    ADMIN_CALLS_MAX = 256,
    ADMIN_MEMORY_MAX = 512 << 20,
    CHANNEL_MEMORY_MAX = 512 << 20,
};

static const double STOP_SECONDS = 10.; /* until what is still open is cut */

/* Moves forward only. */
enum daemon_state { DAEMON_STARTING, DAEMON_RUNNING, DAEMON_FINISHING_PUSHES, DAEMON_CLOSING, DAEMON_CLOSED };

struct control_daemon {
    const struct daemon_options *options;
    enum daemon_state state;
    struct ev_loop *loop;
    struct rpc_loop rpc;
    bool has_rpc;
    struct kubernetes *kubernetes;  /* NULL: there is none */
    struct engine *engine;
    struct file_source *file_source;
    struct endpoint_feed *feed; /* of management servers; outlives the engine */
    struct management *management;  /* NULL: no management server is asked */
    struct etcd *etcd;              /* NULL: none is followed */
    struct etcd_layer *etcd_layer;  /* likewise */
    struct etcd_registry *registry; /* likewise; outlives the engine */
    struct channel_service channel_service;
    struct admin admin;
    struct rpc_server *channel_server, *admin_server;
    struct rpc_tls *tls; /* of the channel over TCP, or NULL */
    int servers_open;
    struct metrics_source metrics;
    struct admin_http *http;
    ev_signal term, interrupt, hangup;
    ev_check progress; /* while stopping: what is to be done next */
    ev_timer stop_deadline;
};

/* ---- starting ---- */

/* Health checks keep a connection for each endpoint: as many as are allowed. */
static void raise_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("the limit of open files stays as it is", LOG_S("reason", strerror(errno)));
}

/* Whether it worked is seen by who uses the folder. */
static void make_folder_of(const char *path) {
    char folder[256];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return;
    *slash = '\0';
    folder_make(folder, 0755);
}

static const struct engine_checks checks = {.create = health_create,
                                            .destroy = health_destroy,
                                            .set_cluster = health_set_cluster,
                                            .of = health_of,
                                            .counters = health_counters,
                                            .last_failure = health_last_failure};

/* Where there is an API server, or one is named. */
static int start_kubernetes(struct control_daemon *d, struct error_list *errors) {
    struct kubernetes_config config = d->options->kubernetes;
    config.loop = d->loop;
    if (!config.server && !kubernetes_is_around())
        return 0;
    d->kubernetes = kubernetes_create(&config, errors);
    return d->kubernetes ? 0 : -1;
}

static int start_engine(struct control_daemon *d, struct error_list *errors) {
    const struct daemon_options *o = d->options;
    if (start_kubernetes(d, errors) < 0)
        return -1;
    struct engine_config config = {.loop = d->loop,
                                   .state_dir = o->store_dir,
                                   .files_root = o->files_root,
                                   .files_base = o->files_base,
                                   .channel = channel_config_default,
                                   .checks = &checks,
                                   .kubernetes = d->kubernetes,
                                   .registry = d->registry,
                                   .feed = d->feed,
                                   .keep_versions = o->keep_versions,
                                   .wake = channel_service_wake,
                                   .end = channel_service_end,
                                   .may_be_called = channel_service_may_be_called};
    config.channel.prepare_timeout = o->prepare_timeout;
    config.channel.commit_timeout = o->commit_timeout;
    config.channel.data_planes_max = o->data_planes_max;
    make_folder_of(o->store_dir);
    d->engine = engine_create(&config, errors);
    if (!d->engine)
        return -1;
    channel_service_start(&d->channel_service, d->loop, engine_channel(d->engine));
    d->channel_service.takes_any_name = o->tls_any_name;
    return 0;
}

static int listen_tls(struct control_daemon *d, struct error_list *errors) {
    const struct daemon_options *o = d->options;
    d->tls = rpc_tls_create(&o->tls, errors);
    if (!d->tls)
        return -1;
    int port = rpc_server_listen_tcp(d->channel_server, o->dataplane_listen, rpc_tls_credentials(d->tls), errors);
    if (port > 0)
        log_info("listening for data planes over TLS", LOG_S("address", o->dataplane_listen),
                 LOG_I("port", port));
    return port > 0 ? 0 : -1;
}

static int start_channel_server(struct control_daemon *d, struct error_list *errors) {
    const struct daemon_options *o = d->options;
    const struct rpc_server_config config = {.methods = channel_service_methods,
                                             .context = &d->channel_service,
                                             .message_max = MESSAGE_MAX,
                                             .calls_max = (int)o->data_planes_max + 16,
                                             .memory_max = CHANNEL_MEMORY_MAX};
    d->channel_server = rpc_server_create(&d->rpc, &config, errors);
    if (!d->channel_server)
        return -1;
    make_folder_of(o->dataplane_socket);
    if (rpc_server_listen_unix(d->channel_server, o->dataplane_socket, o->dataplane_group >= 0 ? 0660 : 0600,
                               o->dataplane_group, errors) < 0)
        return -1;
    return o->dataplane_listen ? listen_tls(d, errors) : 0;
}

static int start_admin_server(struct control_daemon *d, struct error_list *errors) {
    const struct daemon_options *o = d->options;
    const struct rpc_server_config config = {.methods = admin_methods,
                                             .context = &d->admin,
                                             .message_max = ADMIN_MESSAGE_MAX,
                                             .calls_max = ADMIN_CALLS_MAX,
                                             .memory_max = ADMIN_MEMORY_MAX};
    d->admin = (struct admin){
        .engine = d->engine, .keep_versions = o->keep_versions, .started_at = clock_realtime_us()};
    d->admin_server = rpc_server_create(&d->rpc, &config, errors);
    if (!d->admin_server)
        return -1;
    make_folder_of(o->control_socket);
    return rpc_server_listen_unix(d->admin_server, o->control_socket, o->control_group >= 0 ? 0660 : 0600,
                                  o->control_group, errors);
}

static int start_http(struct control_daemon *d, struct error_list *errors) {
    const struct daemon_options *o = d->options;
    struct admin_http_config config = {
        .listen_fd = -1, .metrics_token = o->metrics_token, .answer = metrics_answer, .context = &d->metrics};
    char text[ADDRESS_TEXT_MAX];
    d->metrics.admin = &d->admin;
    if (!o->admin_listen)
        return 0;
    address_parse(str_of(o->admin_listen), &config.address);
    d->http = admin_http_create(d->loop, &config, errors);
    if (!d->http)
        return -1;
    address_format(admin_http_address(d->http), text);
    log_info("listening for probes and scrapers", LOG_S("address", text));
    return 0;
}

static int start_file_source(struct control_daemon *d, struct error_list *errors) {
    if (!d->options->config)
        return 0;
    d->file_source = file_source_create(d->loop, d->engine, d->options->config);
    d->admin.file_source = d->file_source;
    if (!d->file_source)
        error_addf(errors, ERROR_MEMORY, "no memory to watch %s", d->options->config);
    return d->file_source ? 0 : -1;
}

static int start_management(struct control_daemon *d, struct error_list *errors) {
    if (!d->options->xds_bootstrap)
        return 0;
    const struct management_limits limits = {d->options->xds_resources_max, d->options->xds_bytes_max};
    d->management = management_create(d->options->xds_bootstrap, &limits, &d->rpc, d->engine, d->feed, errors);
    if (!d->management)
        return -1;
    d->admin.xds = management_client(d->management);
    d->admin.csds = management_csds(d->management);
    management_start(d->management);
    return 0;
}

static int create_etcd(struct control_daemon *d, struct error_list *errors) {
    if (!d->options->etcd.address)
        return 0;
    d->etcd = etcd_create(&d->rpc, &d->options->etcd, errors);
    if (!d->etcd)
        return -1;
    d->registry = etcd_registry_create(d->etcd);
    if (!d->registry)
        error_addf(errors, ERROR_MEMORY, "no memory to follow etcd");
    return d->registry ? 0 : -1;
}

static int set_etcd_layer(void *context, struct config_resources *set,
                          void (*done)(void *done_context, const Headgate__PushReply *reply), void *done_context) {
    return engine_set_layer(context, ENGINE_LAYER_ETCD, set, done, done_context);
}

static int start_etcd(struct control_daemon *d, struct error_list *errors) {
    const struct etcd_layer_sink sink = {.set = set_etcd_layer, .context = d->engine};
    if (!d->etcd)
        return 0;
    d->etcd_layer = etcd_layer_create(d->etcd, &sink);
    d->admin.etcd = d->etcd_layer;
    d->admin.registry = d->registry;
    if (!d->etcd_layer)
        error_addf(errors, ERROR_MEMORY, "no memory to follow etcd");
    return d->etcd_layer ? 0 : -1;
}

static int create_feed(struct control_daemon *d, struct error_list *errors) {
    d->feed = endpoint_feed_create();
    if (!d->feed)
        error_addf(errors, ERROR_MEMORY, "no memory for discovery");
    return d->feed ? 0 : -1;
}

static int start(struct control_daemon *d, struct error_list *errors) {
    if (rpc_loop_init(&d->rpc, d->loop) < 0) {
        error_addf(errors, ERROR_INTERNAL, "cannot start a thread");
        return -1;
    }
    d->has_rpc = true;
    if (create_feed(d, errors) < 0 || create_etcd(d, errors) < 0 || start_engine(d, errors) < 0 ||
        start_channel_server(d, errors) < 0 || start_admin_server(d, errors) < 0 || start_http(d, errors) < 0 ||
        start_file_source(d, errors) < 0 || start_management(d, errors) < 0 || start_etcd(d, errors) < 0)
        return -1;
    rpc_server_start(d->channel_server);
    rpc_server_start(d->admin_server);
    d->state = DAEMON_RUNNING;
    d->metrics.is_started = true;
    log_info("control plane started", LOG_S("version", HG_VERSION),
             LOG_S("dataplane_socket", d->options->dataplane_socket),
             LOG_S("control_socket", d->options->control_socket));
    return 0;
}

/* ---- stopping: take no more, finish pushes, close streams and calls, leave the loop ---- */

/* After a start that failed, too: what has begun by then must not push while the servers close. */
static void take_no_more(struct control_daemon *d) {
    d->metrics.is_stopping = true;
    management_stop(d->management);
    etcd_layer_stop(d->etcd_layer);
    if (d->engine)
        engine_stop(d->engine);
    if (d->file_source)
        file_source_stop(d->file_source);
}

static void on_server_stopped(void *context) {
    struct control_daemon *d = context;
    if (--d->servers_open > 0)
        return;
    d->state = DAEMON_CLOSED;
    ev_break(d->loop, EVBREAK_ALL);
}

static void close_servers(struct control_daemon *d) {
    d->state = DAEMON_CLOSING;
    if (d->engine)
        channel_service_stop(&d->channel_service);
    d->servers_open = (d->channel_server != NULL) + (d->admin_server != NULL);
    if (d->channel_server)
        rpc_server_stop(d->channel_server, true, on_server_stopped, d);
    if (d->admin_server)
        rpc_server_stop(d->admin_server, false, on_server_stopped, d);
}

static void on_progress(struct ev_loop *loop, ev_check *watcher, int events) {
    struct control_daemon *d = watcher->data;
    (void)loop;
    (void)events;
    if (d->state == DAEMON_FINISHING_PUSHES && !engine_is_busy(d->engine))
        close_servers(d);
}

/* What takes too long is cut: data planes that do not answer first, then clients. */
static void on_stop_deadline(struct ev_loop *loop, ev_timer *timer, int events) {
    struct control_daemon *d = timer->data;
    (void)loop;
    (void)events;
    log_warning("stopping takes too long: open calls are cut");
    if (d->state == DAEMON_FINISHING_PUSHES)
        channel_service_stop(&d->channel_service);
    else
        rpc_server_cancel(d->admin_server);
}

static void on_stop_signal(struct ev_loop *loop, ev_signal *signal, int events) {
    struct control_daemon *d = signal->data;
    (void)events;
    if (d->state != DAEMON_RUNNING) {
        on_stop_deadline(loop, &d->stop_deadline, 0);
        return;
    }
    log_info("control plane stops");
    d->state = DAEMON_FINISHING_PUSHES;
    take_no_more(d);
    ev_timer_start(loop, &d->stop_deadline);
    ev_feed_event(loop, &d->progress, EV_CHECK);
}

static void on_hangup(struct ev_loop *loop, ev_signal *signal, int events) {
    struct control_daemon *d = signal->data;
    (void)loop;
    (void)events;
    if (d->file_source && d->state == DAEMON_RUNNING)
        file_source_reload(d->file_source);
}

static void watch_signals(struct control_daemon *d) {
    signal(SIGPIPE, SIG_IGN);
    ev_signal_init(&d->term, on_stop_signal, SIGTERM);
    ev_signal_init(&d->interrupt, on_stop_signal, SIGINT);
    ev_signal_init(&d->hangup, on_hangup, SIGHUP);
    ev_check_init(&d->progress, on_progress);
    ev_timer_init(&d->stop_deadline, on_stop_deadline, STOP_SECONDS, STOP_SECONDS);
    d->term.data = d->interrupt.data = d->hangup.data = d->progress.data = d->stop_deadline.data = d;
    ev_signal_start(d->loop, &d->term);
    ev_signal_start(d->loop, &d->interrupt);
    ev_signal_start(d->loop, &d->hangup);
    ev_check_start(d->loop, &d->progress);
}

/* ---- the whole ---- */

static void finish(struct control_daemon *d) {
    admin_http_destroy(d->http);
    file_source_destroy(d->file_source);
    rpc_server_destroy(d->channel_server);
    rpc_server_destroy(d->admin_server);
    rpc_tls_destroy(d->tls);
    management_stop(d->management);
    etcd_layer_stop(d->etcd_layer);
    etcd_registry_stop(d->registry);
    etcd_stop(d->etcd);
    if (d->has_rpc)
        rpc_loop_finish(&d->rpc);
    channel_service_finish(&d->channel_service);
    engine_destroy(d->engine);
    etcd_layer_destroy(d->etcd_layer);
    etcd_registry_destroy(d->registry);
    etcd_destroy(d->etcd);
    kubernetes_destroy(d->kubernetes);
    management_destroy(d->management);
    endpoint_feed_destroy(d->feed);
    ev_loop_destroy(d->loop);
    rpc_await_threads();
}

static void log_errors(const struct error_list *errors) {
    struct strbuf text = {0};
    for (size_t i = 0; i < errors->count; i++) {
        strbuf_reset(&text);
        error_format(&errors->items[i], &text);
        log_error("cannot start", LOG_S("reason", text.p));
    }
    strbuf_finish(&text);
}

int daemon_run(const struct daemon_options *options) {
    struct control_daemon d = {.options = options, .loop = ev_default_loop(EVFLAG_AUTO)};
    struct error_list errors = {0};
    if (!d.loop) {
        log_error("cannot start", LOG_S("reason", "no event loop"));
        return EXIT_FAILURE;
    }
    watch_signals(&d);
    raise_open_files();
    bool is_started = start(&d, &errors) == 0;
    log_errors(&errors);
    error_list_finish(&errors);
    if (!is_started) {
        take_no_more(&d);
        close_servers(&d); /* a server that has bound must be stopped before it is destroyed */
    }
    if (is_started || d.servers_open > 0)
        ev_run(d.loop, 0);
    finish(&d);
    if (is_started)
        log_info("control plane stopped");
    return is_started ? EXIT_SUCCESS : EXIT_FAILURE;
}
