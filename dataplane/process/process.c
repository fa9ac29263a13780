#include "dataplane/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ev.h>

#include "common/admin_http.h"
#include "common/clock.h"
#include "common/log.h"
#include "dataplane/admin/metrics.h"
#include "dataplane/admin/statsd.h"
#include "dataplane/codec/grpc_log/grpc_log.h"
#include "dataplane/holder/protocol.h"
#include "dataplane/process/observations.h"
#include "dataplane/process/reports.h"
#include "dataplane/process/sandbox.h"
#include "dataplane/snapshot/channel_client.h"
#include "dataplane/snapshot/dataplane.h"
#include "dataplane/snapshot/holder_client.h"
#include "dataplane/snapshot/lastgood.h"
#include "dataplane/snapshot/listen_sockets.h"
#include "dataplane/snapshot/log_output.h"
#include "dataplane/snapshot/members.h"
#include "dataplane/tls/allocator.h"
#include "dataplane/tls/kernel_tls.h"
#include "dataplane/tls/session.h"

enum { BOOT_TRIES = 10, ADMIN_BACKLOG = 64 };

static const double boot_retry_delay = 0.5, admin_retry_delay = 5; /* seconds */

struct process {
    const struct dataplane_options *options;
    struct ev_loop        *loop;
    struct holder_client  *holder;
    struct dataplane      *dataplane;
    struct listen_sockets *sockets;
    struct log_output     *log;
    struct lastgood       *lastgood;
    struct adopter         adopter;
    struct channel_client *channel;
    struct channel_tls    *tls;
    struct admin_http     *admin;
    struct statsd          statsd;
    struct reports         reports;
    struct observations    observations;
    struct process_usage   usage;
    uint64_t               started_at;       /* microseconds since 1970 */
    struct resource_set   *booting;          /* NULL: nothing to boot from, or done */
    enum lastgood_copy     copy;             /* that it came from */
    unsigned               boot_tries;
    bool                   is_draining;
    bool                   was_told;         /* to end, by a signal */
    bool                   has_failed;
    ev_signal              term, interrupt, hup, usr1;
    ev_timer               boot_retry, admin_retry;
};

static void end(struct process *p, bool has_failed) {
    p->has_failed |= has_failed;
    ev_break(p->loop, EVBREAK_ALL);
}

static void fail(struct process *p, const char *what, const char *reason) {
    log_error(what, LOG_S("reason", reason));
    end(p, true);
}

static void log_errors(const char *message, const struct error_list *errors) {
    for (size_t i = 0; i < errors->count; i++) {
        struct strbuf text = {0};
        error_format(&errors->items[i], &text);
        log_error(message, LOG_S("reason", text.p ? text.p : "out of memory"));
        strbuf_finish(&text);
    }
}

/* ---- probes and metrics ---- */

static bool is_ready(const struct process *p) {
    return p->adopter.serving && !p->is_draining;
}

static void answer_metrics(struct process *p, struct admin_http_answer *answer) {
    const struct metrics_source source = {
        .dataplane = p->dataplane,
        .adopter = &p->adopter,
        .channel = p->channel,
        .log = p->log,
        .usage = &p->usage,
        .started_at = p->started_at,
    };
    answer->status = 200;
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_render(&source, &answer->body);
}

static void answer_probe(struct admin_http_answer *answer, bool is_good, const char *otherwise) {
    answer->status = is_good ? 200 : 503;
    strbuf_puts(&answer->body, is_good ? "ok\n" : otherwise);
}

static void answer_admin(void *context, struct str path, struct admin_http_answer *answer) {
    struct process *p = context;
    if (str_eq(path, STR("/metrics")))
        answer_metrics(p, answer);
    else if (str_eq(path, STR("/livez")))
        answer_probe(answer, true, "");
    else if (str_eq(path, STR("/readyz")))
        answer_probe(answer, is_ready(p), p->is_draining ? "draining\n" : "no snapshot yet\n");
    else if (str_eq(path, STR("/startupz")))
        answer_probe(answer, p->adopter.serving != NULL, "no snapshot yet\n");
}

static void retry_admin(struct process *p, const char *reason) {
    char text[ADDRESS_TEXT_MAX];
    address_format(&p->options->admin_listen, text);
    log_error("no admin listener; it is tried again", LOG_S("address", text), LOG_S("reason", reason));
    ev_timer_set(&p->admin_retry, admin_retry_delay, 0.);
    ev_timer_start(p->loop, &p->admin_retry);
}

static void start_admin(struct process *p, int fd, const struct address *bound) {
    struct error_list errors = {0};
    char text[ADDRESS_TEXT_MAX];
    const struct admin_http_config config = {.address = *bound,
                                             .listen_fd = fd,
                                             .metrics_token = p->options->metrics_token,
                                             .answer = answer_admin,
                                             .context = p};
    p->admin = admin_http_create(p->loop, &config, &errors);
    if (p->admin) {
        address_format(bound, text);
        log_info("admin listener", LOG_S("address", text));
    } else
        retry_admin(p, errors.count ? errors.items[0].message : "out of memory");
    error_list_finish(&errors);
}

static void on_admin_socket(void *owner, struct holder_answer *answer) {
    struct process *p = owner;
    if (answer->error || answer->count == 0) {
        retry_admin(p, strerror(answer->error));
        return;
    }
    /* One is enough, should there be several: the others are closed with the answer. */
    int fd = answer->fds[--answer->count];
    start_admin(p, fd, &answer->address);
}

static void ask_for_admin_socket(struct process *p) {
    if (!p->options->has_admin)
        return;
    if (holder_listen_admin(p->holder, &p->options->admin_listen, ADMIN_BACKLOG, on_admin_socket, p) < 0)
        retry_admin(p, "out of memory");
}

static void on_admin_retry(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    ask_for_admin_socket(timer->data);
}

/* ---- ending ---- */

static void on_drained(void *arg) {
    log_info("drained");
    end(arg, false);
}

static uint64_t drain_time(const struct process *p) {
    static const Headgate__Timeouts defaults = HEADGATE__TIMEOUTS__INIT;
    const struct snapshot *s = dataplane_snapshot(p->dataplane);
    return s ? s->settings.timeouts.drain : defaults.drain;
}

static void drain(struct process *p) {
    if (p->is_draining)
        return;
    if (!p->dataplane) {
        end(p, false);
        return;
    }
    p->is_draining = true;
    log_info("draining");
    dataplane_drain(p->dataplane, drain_time(p), on_drained, p);
}

static void on_term(struct ev_loop *loop, ev_signal *signal, int events) {
    struct process *p = signal->data;
    (void)loop;
    (void)events;
    if (p->was_told)
        end(p, false); /* told twice: at once */
    p->was_told = true;
    drain(p);
}

/* No signal, but one is about to come: that of our parent's death, which is no second one. */
static void on_holder_lost(void *owner) {
    log_error("the holder is gone");
    drain(owner);
}

static void on_hup(struct ev_loop *loop, ev_signal *signal, int events) {
    struct process *p = signal->data;
    (void)loop;
    (void)events;
    /* Configuration comes by the channel; certificates and tokens are read again when their files change. */
    if (p->channel)
        channel_client_retry_now(p->channel);
}

static void on_usr1(struct ev_loop *loop, ev_signal *signal, int events) {
    struct process *p = signal->data;
    (void)loop;
    (void)events;
    if (p->log)
        log_output_reopen(p->log);
}

/* ---- booting ---- */

static void on_serving(void *arg, struct resource_set *serving) {
    struct process *p = arg;
    statsd_configure(&p->statsd, serving);
}

static void fill_report(void *owner, Headgate__Report *report) {
    struct process *p = owner;
    reports_fill(&p->reports, p->adopter.serving, report);
}

static void fill_observation(void *owner, Headgate__Observation *observation) {
    struct process *p = owner;
    observations_fill(&p->observations, observation);
}

/* From here on the control plane has the say. */
static void finish_boot(struct process *p) {
    resource_set_unref(p->booting);
    p->booting = NULL;
    channel_client_start(p->channel, p->adopter.serving);
}

static void on_booted(void *owner, uint64_t switch_us, const char *persist_error) {
    struct process *p = owner;
    (void)persist_error; /* in the log already */
    log_info("serving the last-known-good snapshot", LOG_U("version", p->adopter.serving->id.version),
             LOG_U("generation", p->adopter.serving->id.generation), LOG_U("switch_us", switch_us));
    finish_boot(p);
}

static void on_boot_prepared(void *owner, const struct error_list *errors, uint64_t build_us) {
    struct process *p = owner;
    (void)build_us;
    if (error_list_is_empty(errors)) {
        adopt_commit(&p->adopter, p->copy == LASTGOOD_CURRENT, on_booted, p);
        return;
    }
    log_errors("the last-known-good snapshot cannot be served", errors);
    if (++p->boot_tries >= BOOT_TRIES) {
        finish_boot(p);
        return;
    }
    ev_timer_set(&p->boot_retry, boot_retry_delay, 0.); /* an address that is in use may become free */
    ev_timer_start(p->loop, &p->boot_retry);
}

static void try_to_boot(struct process *p) {
    if (p->booting)
        adopt_prepare(&p->adopter, p->booting, on_boot_prepared, p);
    else
        finish_boot(p);
}

static void on_boot_retry(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    try_to_boot(timer->data);
}

static struct resource_set *load_copy(struct process *p, enum lastgood_copy copy) {
    struct resource_set *set = NULL;
    struct error_list errors = {0};
    p->copy = copy;
    if (lastgood_load(p->lastgood, copy, &set, &errors) < 0)
        log_errors(copy == LASTGOOD_CURRENT ? "THE LAST-KNOWN-GOOD COPY IS DAMAGED; the one before is tried"
                                            : "THE PREVIOUS LAST-KNOWN-GOOD COPY IS DAMAGED TOO",
                   &errors);
    error_list_finish(&errors);
    return set;
}

static void boot(struct process *p) {
    p->booting = load_copy(p, LASTGOOD_CURRENT);
    if (!p->booting)
        p->booting = load_copy(p, LASTGOOD_PREVIOUS);
    if (lastgood_start(p->lastgood, p->copy == LASTGOOD_CURRENT ? p->booting : NULL) < 0)
        fail(p, "no thread for the last-known-good copy", strerror(errno));
    else
        try_to_boot(p);
}

/* ---- setting up ---- */

static int make_parts(struct process *p) {
    const struct dataplane_options *o = p->options;
    grpc_logs_set_node(o->node);
    p->dataplane = dataplane_create(p->loop, o->workers);
    p->sockets = listen_sockets_create(p->holder, p->loop, o->workers);
    p->log = log_output_create(p->holder, o->workers);
    if (!p->dataplane || !p->sockets || !p->log)
        return -1;
    p->adopter = (struct adopter){
        .ops = &adopt_real_ops,
        .loop = p->loop,
        .dataplane = p->dataplane,
        .workers = o->workers,
        .sockets = p->sockets,
        .log = p->log,
        .lastgood = p->lastgood,
        .on_serving = on_serving,
        .serving_arg = p,
    };
    p->reports = (struct reports){.dataplane = p->dataplane,
                                  .sockets = p->sockets,
                                  .usage = &p->usage,
                                  .started_us = clock_monotonic_us()};
    p->observations = (struct observations){.dataplane = p->dataplane, .started_us = p->reports.started_us};
    statsd_init(&p->statsd, p->loop, p->dataplane);
    const struct channel_client_config config = {
        .loop = p->loop,
        .holder = p->holder,
        .adopter = &p->adopter,
        .tls = p->tls,
        .fill_report = fill_report,
        .fill_observation = fill_observation,
        .owner = p,
        .self = {.node = o->node,
                 .software = "headgate " HG_VERSION,
                 .workers = o->workers,
                 .started_at = p->started_at},
    };
    p->channel = channel_client_create(&config);
    return p->channel ? 0 : -1;
}

static int enter_sandbox(const struct process *p, int state_dir) {
    const struct channel_tls_files *tls = &p->options->tls;
    const char *files[5], *const given[] = {tls->ca, tls->certificate, tls->key,
                                            options_get(&p->options->given, "metrics-token-file")};
    size_t count = 0;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i])
            files[count++] = given[i];
    files[count] = NULL;
    return sandbox_enter(state_dir, files);
}

/* The last thing that was missing from outside. No thread has been started yet: the sandbox holds for all
 * of them. */
static void on_state_dir(void *owner, struct holder_answer *answer) {
    struct process *p = owner;
    struct error_list errors = {0};
    if (answer->error || answer->count != 1) {
        fail(p, "no folder for the last-known-good copy", strerror(answer->error));
        return;
    }
    answer->count = 0;
    if (enter_sandbox(p, answer->fds[0]) < 0)
        fail(p, "the sandbox cannot be entered", strerror(errno));
    p->lastgood = lastgood_create(p->loop, answer->fds[0], &errors);
    log_errors("no last-known-good copy", &errors);
    error_list_finish(&errors);
    if (p->has_failed || !p->lastgood || make_parts(p) < 0) {
        fail(p, "the data plane cannot be set up", "see above, or out of memory");
        return;
    }
    ask_for_admin_socket(p);
    boot(p);
}

static void watch_signal(struct process *p, ev_signal *watcher, int number,
                         void (*act)(struct ev_loop *, ev_signal *, int)) {
    ev_signal_init(watcher, act, number);
    watcher->data = p;
    ev_signal_start(p->loop, watcher);
}

/* Before the sandbox, which lets nobody listen. */
static void look_for_kernel_tls(const struct process *p) {
    const char *state = p->options->may_use_kernel_tls ? kernel_tls_detect() : "off";
    struct strbuf ciphers = {0};
    for (int i = 0; i < KERNEL_TLS_CIPHERS; i++)
        if (kernel_tls_has((enum kernel_tls_cipher)i))
            strbuf_printf(&ciphers, "%s%s", ciphers.n ? " " : "", kernel_tls_cipher_names[i]);
    log_info("kernel TLS", LOG_S("state", state), LOG_S("ciphers", ciphers.p ? ciphers.p : ""));
    strbuf_finish(&ciphers);
}

static int set_up(struct process *p) {
    struct error_list errors = {0};
    signal(SIGPIPE, SIG_IGN);
    look_for_kernel_tls(p);
    snapshot_set_zone(str_of(p->options->zone));
    p->loop = ev_default_loop(EVFLAG_NOENV);
    if (p->options->tls.certificate && !(p->tls = channel_tls_create(&p->options->tls, &errors))) {
        log_errors("no TLS for the control plane", &errors);
        error_list_finish(&errors);
        return -1;
    }
    p->holder = p->loop ? holder_client_create(p->loop, HOLDER_DESCRIPTOR, on_holder_lost, p) : NULL;
    if (!p->holder)
        return -1;
    process_usage_init(&p->usage);
    watch_signal(p, &p->term, SIGTERM, on_term);
    watch_signal(p, &p->interrupt, SIGINT, on_term);
    watch_signal(p, &p->hup, SIGHUP, on_hup);
    watch_signal(p, &p->usr1, SIGUSR1, on_usr1);
    ev_timer_init(&p->boot_retry, on_boot_retry, 0., 0.);
    ev_timer_init(&p->admin_retry, on_admin_retry, 0., 0.);
    p->boot_retry.data = p->admin_retry.data = p;
    return holder_open_state_dir(p->holder, on_state_dir, p);
}

/* Workers end before what they use. */
static void tear_down(struct process *p) {
    channel_client_destroy(p->channel);
    admin_http_destroy(p->admin);
    if (p->statsd.loop)
        statsd_finish(&p->statsd);
    if (p->adopter.ops)
        adopter_finish(&p->adopter);
    dataplane_destroy(p->dataplane);
    log_output_destroy(p->log);
    lastgood_destroy(p->lastgood);
    listen_sockets_destroy(p->sockets);
    holder_client_destroy(p->holder);
    channel_tls_destroy(p->tls);
    resource_set_unref(p->booting);
    reports_finish(&p->reports);
    observations_finish(&p->observations);
    process_usage_finish(&p->usage);
    tls_libraries_free();
}

int process_run(const struct dataplane_options *options) {
    struct process p = {.options = options, .started_at = clock_realtime_us(), .usage.statm_fd = -1};
    if (!tls_allocator_use())
        log_warning("TLS does without its own allocator: something has used OpenSSL before");
    if (set_up(&p) == 0)
        ev_run(p.loop, 0);
    else
        p.has_failed = true;
    tear_down(&p);
    return p.has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
