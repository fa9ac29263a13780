/* Which servers are asked and which of them counts, and when something is to be done. */
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/xds/client_internal.h"

static const double WAKE_MIN = .001;    /* seconds; a machine without memory says that something is due, again and again */

/* ---- machines ---- */

static void add_counters(struct xds_counters *sum, const struct xds_counters *more) {
    sum->requests += more->requests;
    sum->responses += more->responses;
    sum->acks += more->acks;
    sum->nacks += more->nacks;
    sum->ignored_types += more->ignored_types;
    sum->ignored_resources += more->ignored_resources;
    sum->timeouts += more->timeouts;
    sum->expired += more->expired;
    sum->deletions_ignored += more->deletions_ignored;
    sum->holds_expired += more->holds_expired;
    sum->late_refusals += more->late_refusals;
}

static void destroy_machine(struct server *s) {
    if (!s->protocol)
        return;
    xds_server_abandon(s);
    add_counters(&s->counters, xds_protocol_counters(s->protocol));
    xds_protocol_destroy(s->protocol);
    for (size_t i = 0; i < s->link_count; i++)
        strbuf_finish(&s->links[i].body);
    hg_free(s->links);
    s->protocol = NULL;
    s->links = NULL;
    s->link_count = 0;
    s->has_answered = s->is_failing = false;
}

static int make_links(struct server *s) {
    size_t count = xds_protocol_stream_count(s->protocol);
    s->links = hg_calloc(count, sizeof *s->links);
    if (!s->links)
        return -1;
    for (size_t i = 0; i < count; i++)
        s->links[i] = (struct link){.server = s, .number = i};
    s->link_count = count;
    return 0;
}

/* Returns 0, or -1 without memory. */
static int create_machine(struct server *s, uint64_t now) {
    const struct xds_client_owner *owner = &s->client->config.owner;
    struct xds_options o = s->client->options;
    o.fail_on_data_errors = s->config->fail_on_data_errors;
    o.ignore_resource_deletion = s->config->ignore_resource_deletion;
    o.is_timer_transient = s->config->is_timer_transient;
    s->protocol = xds_protocol_create(&o, owner->judge, owner->context, now);
    if (s->protocol && owner->add_types(owner->context, s->protocol) == XDS_OK && make_links(s) == 0)
        return 0;
    log_error("a management server cannot be asked", LOG_S("server", s->config->name), LOG_S("reason", "out of memory"));
    destroy_machine(s);
    return -1;
}

/* ---- which one counts ---- */

static void use(struct xds_client *c, size_t number, uint64_t now) {
    struct server *s = &c->servers[number];
    c->used = number;
    c->config.owner.use(c->config.owner.context, s->protocol, s->config->name, now);
}

static bool is_answering(const struct server *s) {
    for (size_t i = 0; i < s->link_count; i++)
        if (s->links[i].has_answered)
            return true;
    return false;
}

/* Something is wanted that was never received. */
static bool lacks_something(const struct xds_protocol *p) {
    for (size_t type = 0; type < xds_protocol_type_count(p); type++)
        for (const struct xds_resource *r = xds_protocol_next_resource(p, type, NULL); r;
             r = xds_protocol_next_resource(p, type, r))
            if (!r->copy && (r->state == XDS_REQUESTED || r->state == XDS_TIMEOUT))
                return true;
    return false;
}

static void fall_back(struct server *from, uint64_t now) {
    struct xds_client *c = from->client;
    struct server *next = from + 1;
    if (from->number != c->used || from->number + 1 == c->server_count ||
        (from->has_answered && !lacks_something(from->protocol)))
        return;
    if (create_machine(next, now) < 0)
        return;
    log_warning("another management server is asked", LOG_S("server", next->config->name),
                LOG_S("instead_of", from->config->name));
    use(c, next->number, now);
}

/* Those behind it are let go. */
static void come_back(struct server *to, uint64_t now) {
    struct xds_client *c = to->client;
    size_t last = c->used;
    log_info("the management server before answers again", LOG_S("server", to->config->name),
             LOG_S("instead_of", c->servers[last].config->name));
    use(c, to->number, now);
    for (size_t i = to->number + 1; i <= last; i++)
        destroy_machine(&c->servers[i]);
}

void xds_server_answered(struct server *s) {
    if (!s->has_answered || s->is_failing)
        log_info("a management server answers", LOG_S("server", s->config->name));
    s->has_answered = true;
    s->is_failing = false;
    s->answered_at = clock_realtime_us();
    if (s->number < s->client->used)
        come_back(s, clock_monotonic_us());
}

void xds_server_failed(struct server *s, struct str reason) {
    bool was_failing = s->is_failing;
    s->streams_failed++;
    s->failed_at = clock_realtime_us();
    strbuf_reset(&s->error);
    strbuf_add_str(&s->error, reason);
    s->is_failing = !is_answering(s);
    if (!was_failing)
        log_warning("a management server does not answer", LOG_S("server", s->config->name),
                    LOG_S("reason", s->error.failed ? "out of memory" : s->error.p));
    if (s->is_failing)
        fall_back(s, clock_monotonic_us());
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void set_timer(struct xds_client *c, uint64_t now) {
    struct ev_loop *ev = c->config.rpc->ev;
    uint64_t at = c->config.owner.deadline(c->config.owner.context);
    for (size_t i = 0; i <= c->used; i++)
        at = earlier(at, xds_protocol_deadline(c->servers[i].protocol));
    ev_timer_stop(ev, &c->timer);
    if (at == UINT64_MAX)
        return;
    double wait = at > now ? (double)(at - now) / 1e6 : 0;
    ev_now_update(ev);
    ev_timer_set(&c->timer, wait < WAKE_MIN ? WAKE_MIN : wait, 0);
    ev_timer_start(ev, &c->timer);
}

static void turn_once(struct xds_client *c, uint64_t now) {
    for (size_t i = 0; i <= c->used; i++)
        xds_protocol_advance(c->servers[i].protocol, now);
    c->config.owner.follow(c->config.owner.context, now);
    for (size_t i = 0; i <= c->used; i++) {
        if (c->http)
            xds_server_poll(&c->servers[i], now);
        else
            xds_server_pump(&c->servers[i], now);
    }
}

/* A stream that cannot be opened ends within the turn; what comes of that is another turn, after this one. */
void xds_client_turn(struct xds_client *c) {
    uint64_t now = clock_monotonic_us();
    c->is_again = true;
    if (c->is_turning || c->is_stopped)
        return;
    c->is_turning = true;
    while (c->is_again) {
        c->is_again = false;
        now = clock_monotonic_us();
        turn_once(c, now);
    }
    c->is_turning = false;
    set_timer(c, now);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events) {
    (void)ev;
    (void)events;
    xds_client_turn(timer->data);
}

void xds_client_wake(struct xds_client *c) {
    c->is_again = true;
    if (c->is_turning || c->is_stopped)
        return;
    ev_timer_stop(c->config.rpc->ev, &c->timer);
    ev_timer_set(&c->timer, 0., 0.);
    ev_timer_start(c->config.rpc->ev, &c->timer);
}

/* ---- life ---- */

/* What the bootstrap file says goes before what the caller has set. */
static void set_options(struct xds_client *c) {
    const struct xds_bootstrap *b = c->config.bootstrap;
    if (c->config.options)
        c->options = *c->config.options;
    else
        xds_options_defaults(&c->options);
    c->options.form = b->form;
    c->options.is_aggregated = b->is_aggregated;
    c->options.resource_timeout = b->resource_timeout;
    c->options.request_tokens = b->request_tokens;
    c->options.requests_per_second = b->requests_per_second;
    c->options.poll_wait = b->is_polled ? b->refresh_delay : 0;
    if (b->is_polled) /* the pace that the server is known to bear */
        c->options.retry_wait = c->options.retry_wait_max = b->refresh_delay;
    c->options.random = clock_realtime_us() ^ ((uint64_t)getpid() << 32);
}

/* A channel, unless the server is polled. */
static int make_server(struct xds_client *c, size_t number, struct error_list *errors) {
    const struct xds_server *config = &c->config.bootstrap->servers[number];
    struct rpc_channel_options o = config->channel;
    o.message_max = XDS_MESSAGE_MAX;
    o.user_agent = "headgate/" HG_VERSION;
    c->servers[number] = (struct server){.client = c, .config = config, .number = number};
    if (c->http)
        return 0;
    c->servers[number].channel = rpc_channel_create(c->config.rpc, &o, errors);
    return c->servers[number].channel ? 0 : -1;
}

static int make_servers(struct xds_client *c, struct error_list *errors) {
    const struct xds_bootstrap *b = c->config.bootstrap;
    int status = 0;
    c->servers = hg_calloc(b->server_count, sizeof *c->servers);
    c->http = b->is_polled ? http_client_create(c->config.rpc->ev) : NULL;
    if (!c->servers || (b->is_polled && !c->http)) {
        error_addf(errors, ERROR_MEMORY, "no memory for management servers");
        return -1;
    }
    c->server_count = b->server_count;
    for (size_t i = 0; i < c->server_count; i++)
        status |= make_server(c, i, errors);
    return status;
}

struct xds_client *xds_client_create(const struct xds_client_config *config, struct error_list *errors) {
    struct xds_client *c = hg_calloc(1, sizeof *c);
    if (!c) {
        error_addf(errors, ERROR_MEMORY, "no memory for management servers");
        return NULL;
    }
    c->config = *config;
    set_options(c);
    ev_timer_init(&c->timer, on_timer, 0., 0.);
    c->timer.data = c;
    if (make_servers(c, errors) == 0) {
        if (create_machine(&c->servers[0], clock_monotonic_us()) == 0)
            return c;
        error_addf(errors, ERROR_MEMORY, "no memory for management servers");
    }
    xds_client_destroy(c);
    return NULL;
}

void xds_client_start(struct xds_client *c) {
    use(c, 0, clock_monotonic_us());
    xds_client_turn(c);
}

void xds_client_stop(struct xds_client *c) {
    c->is_stopped = true;
    ev_timer_stop(c->config.rpc->ev, &c->timer);
    for (size_t i = 0; i < c->server_count; i++) {
        xds_server_abandon(&c->servers[i]);
        rpc_channel_destroy(c->servers[i].channel);
        c->servers[i].channel = NULL;
    }
    http_client_destroy(c->http);
    c->http = NULL;
}

void xds_client_destroy(struct xds_client *c) {
    if (!c)
        return;
    if (!c->is_stopped)
        xds_client_stop(c);
    for (size_t i = 0; i < c->server_count; i++) {
        destroy_machine(&c->servers[i]);
        strbuf_finish(&c->servers[i].error);
    }
    hg_free(c->servers);
    hg_free(c);
}

/* ---- for status and metrics ---- */

const char *xds_server_state_name(enum xds_server_state state) {
    switch (state) {
    case XDS_SERVER_IDLE: return "idle";
    case XDS_SERVER_CONNECTING: return "connecting";
    case XDS_SERVER_ANSWERING: return "answering";
    case XDS_SERVER_FAILING: return "failing";
    }
    return "unknown";
}

static enum xds_server_state state_of(const struct server *s) {
    return !s->protocol      ? XDS_SERVER_IDLE
           : is_answering(s) ? XDS_SERVER_ANSWERING
           : s->is_failing   ? XDS_SERVER_FAILING
                             : XDS_SERVER_CONNECTING;
}

size_t xds_client_server_count(const struct xds_client *c) {
    return c->server_count;
}

void xds_client_server_status(const struct xds_client *c, size_t server, struct xds_server_status *ret) {
    const struct server *s = &c->servers[server];
    *ret = (struct xds_server_status){
        .name = s->config->name, .state = state_of(s), .is_used = s->protocol && server == c->used,
        .is_connected = s->protocol && (s->channel ? rpc_channel_is_connected(s->channel) : is_answering(s)),
        .error = s->error.n && !s->error.failed ? strbuf_str(&s->error) : STR(""),
        .failed_at = s->failed_at, .answered_at = s->answered_at,
        .streams_opened = s->streams_opened, .streams_failed = s->streams_failed, .counters = s->counters};
    for (size_t i = 0; i < s->link_count; i++)
        ret->streams_open += s->links[i].stream || s->links[i].is_polling;
    if (s->protocol)
        add_counters(&ret->counters, xds_protocol_counters(s->protocol));
}
