#include "controlplane/http/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"

enum {
    CONNECT_TIMEOUT_US = 10000000,
    CONNECTIONS_KEPT = 16,
};

struct http_client {
    struct ev_loop *loop;
    CURLM          *multi;
    ev_timer        timer;              /* libcurl's */
};

struct http_call {
    struct http_client         *client;
    const struct http_call_ops *ops;
    void                       *context;
    CURL                       *easy;
    struct curl_slist          *fields;
    struct curl_slist          *reach;
    bool                        is_reading;     /* in `data` */
    bool                        is_cancelled;   /* there */
    bool                        is_refused;     /* by `data` */
    char                        error[CURL_ERROR_SIZE];
};

/* One for each socket of libcurl. */
struct http_socket {
    struct http_client *client;
    ev_io               io;
};

/* ---- the end of calls ---- */

static unsigned status_of(const struct http_call *call) {
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return (unsigned)status;
}

static void destroy_call(struct http_call *call) {
    curl_multi_remove_handle(call->client->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->fields);
    curl_slist_free_all(call->reach);
    hg_free(call);
}

static void end_call(struct http_call *call, CURLcode result) {
    char reason[CURL_ERROR_SIZE] = "refused by its reader";
    unsigned status = status_of(call);
    if (!call->is_refused && result != CURLE_OK)
        snprintf(reason, sizeof reason, "%s", call->error[0] ? call->error : curl_easy_strerror(result));
    const struct http_call_ops *ops = call->ops;
    void *context = call->context;
    bool is_told = !call->is_cancelled;
    destroy_call(call);
    if (is_told)
        ops->done(context, status, result == CURLE_OK ? NULL : reason);
}

static void end_calls(struct http_client *c) {
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(c->multi, &left))) {
        struct http_call *call = NULL;
        CURLcode result = m->data.result; /* the message goes with the handle */
        if (m->msg != CURLMSG_DONE || curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call) != CURLE_OK)
            continue;
        end_call(call, result);
    }
}

/* ---- sockets and time, for libcurl ---- */

static void act(struct http_client *c, curl_socket_t socket, int events) {
    int running;
    curl_multi_socket_action(c->multi, socket, events, &running);
    end_calls(c);
}

static void on_socket_ready(struct ev_loop *loop, ev_io *io, int events) {
    (void)loop;
    struct http_client *c = ((struct http_socket *)io->data)->client;
    act(c, io->fd, (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void forget_socket(struct http_client *c, curl_socket_t socket, struct http_socket *s) {
    curl_multi_assign(c->multi, socket, NULL);
    if (!s)
        return;
    ev_io_stop(c->loop, &s->io);
    hg_free(s);
}

/* Returns -1 without memory: then libcurl ends what uses the socket. */
static int watch_socket(CURL *easy, curl_socket_t socket, int what, void *client, void *known) {
    (void)easy;
    struct http_client *c = client;
    struct http_socket *s = known;
    if (what == CURL_POLL_REMOVE) {
        forget_socket(c, socket, s);
        return 0;
    }
    if (!s && !(s = hg_calloc(1, sizeof *s)))
        return -1;
    int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);
    if (known)
        ev_io_stop(c->loop, &s->io);
    s->client = c;
    ev_io_init(&s->io, on_socket_ready, socket, events);
    s->io.data = s;
    ev_io_start(c->loop, &s->io);
    curl_multi_assign(c->multi, socket, s);
    return 0;
}

static int set_timer(CURLM *multi, long milliseconds, void *client) {
    (void)multi;
    struct http_client *c = client;
    ev_timer_stop(c->loop, &c->timer);
    if (milliseconds < 0)
        return 0;
    ev_timer_set(&c->timer, (double)milliseconds / 1000, 0.);
    ev_timer_start(c->loop, &c->timer);
    return 0;
}

/* ---- one call ---- */

/* A line of a head, which an empty one ends. */
static size_t take_field(char *bytes, size_t size, size_t count, void *context) {
    struct http_call *call = context;
    bool is_end = size * count <= 2 && status_of(call) >= 200;
    if (!is_end || !call->ops->head)
        return size * count;
    (void)bytes;
    call->is_reading = true;
    call->ops->head(call->context, status_of(call));
    call->is_reading = false;
    return call->is_cancelled ? 0 : size * count;
}

static size_t take_data(char *bytes, size_t size, size_t count, void *context) {
    struct http_call *call = context;
    call->is_reading = true;
    call->is_refused = !call->ops->data(call->context, status_of(call), (struct str){bytes, size * count});
    call->is_reading = false;
    return call->is_refused || call->is_cancelled ? 0 : size * count; /* 0: libcurl ends the call */
}

/* 0, or -1 without memory. */
static int set_fields(struct http_call *call, const char *const *fields) {
    for (; fields && *fields; fields++) {
        struct curl_slist *more = curl_slist_append(call->fields, *fields);
        if (!more)
            return -1;
        call->fields = more;
    }
    return curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->fields) == CURLE_OK ? 0 : -1;
}

static int set_body(CURL *easy, struct str body) {
    if (!body.p)
        return 0;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body.p);
    return code == CURLE_OK ? 0 : -1;
}

/* A file or a text. */
static CURLcode set_pem(CURL *easy, const char *file, CURLoption file_option, const char *text, CURLoption text_option) {
    if (file)
        return curl_easy_setopt(easy, file_option, file);
    if (!text)
        return CURLE_OK;
    struct curl_blob blob = {.data = (void *)(uintptr_t)text, .len = strlen(text), .flags = CURL_BLOB_COPY};
    return curl_easy_setopt(easy, text_option, &blob);
}

static int set_trust(CURL *easy, const struct http_trust *t) {
    if (!t)
        return 0;
    CURLcode code = set_pem(easy, t->ca_file, CURLOPT_CAINFO, t->ca_text, CURLOPT_CAINFO_BLOB);
    if (code == CURLE_OK)
        code = set_pem(easy, t->certificate, CURLOPT_SSLCERT, t->certificate_text, CURLOPT_SSLCERT_BLOB);
    if (code == CURLE_OK)
        code = set_pem(easy, t->key, CURLOPT_SSLKEY, t->key_text, CURLOPT_SSLKEY_BLOB);
    return code == CURLE_OK ? 0 : -1;
}

/* 0, or -1 without memory. */
static int set_reach(struct http_call *call, const struct http_request *r) {
    char any[512];
    if (r->socket && curl_easy_setopt(call->easy, CURLOPT_UNIX_SOCKET_PATH, r->socket) != CURLE_OK)
        return -1;
    if (!r->reach)
        return 0;
    int n = snprintf(any, sizeof any, "::%s", r->reach); /* whatever the URL's host and port */
    call->reach = n > 0 && (size_t)n < sizeof any ? curl_slist_append(NULL, any) : NULL;
    return call->reach && curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->reach) == CURLE_OK ? 0 : -1;
}

static long milliseconds_of(uint64_t microseconds) {
    return (long)(microseconds / 1000);
}

static void set_times(CURL *easy, const struct http_request *r) {
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     milliseconds_of(r->connect_timeout ? r->connect_timeout : CONNECT_TIMEOUT_US));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds_of(r->timeout));
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, r->silence ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)(r->silence / 1000000));
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
}

/* 0, or -1 without memory. */
static int set_up(struct http_call *call, const struct http_request *r) {
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_field);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"); /* whom we talk to is configured, not in the environment */
    set_times(easy, r);
    if (r->is_http2)
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    if (curl_easy_setopt(easy, CURLOPT_URL, r->url) != CURLE_OK || set_body(easy, r->body) < 0 ||
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method) != CURLE_OK)
        return -1;
    return set_fields(call, r->fields) < 0 || set_trust(easy, r->trust) < 0 || set_reach(call, r) < 0 ? -1 : 0;
}

struct http_call *http_call_start(struct http_client *c, const struct http_request *request,
                                  const struct http_call_ops *ops, void *context) {
    struct http_call *call = hg_calloc(1, sizeof *call);
    CURL *easy = call ? curl_easy_init() : NULL;
    if (!easy) {
        hg_free(call);
        return NULL;
    }
    *call = (struct http_call){.client = c, .ops = ops, .context = context, .easy = easy};
    if (set_up(call, request) < 0 || curl_multi_add_handle(c->multi, easy) != CURLM_OK) {
        curl_easy_cleanup(easy);
        curl_slist_free_all(call->fields);
        curl_slist_free_all(call->reach);
        hg_free(call);
        return NULL;
    }
    return call;
}

void http_call_cancel(struct http_call *call) {
    if (!call)
        return;
    call->is_cancelled = true;
    if (!call->is_reading)
        destroy_call(call);
}

/* ---- life ---- */

struct http_client *http_client_create(struct ev_loop *loop) {
    struct http_client *c = hg_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->loop = loop;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        hg_free(c);
        return NULL;
    }
    c->multi = curl_multi_init();
    if (!c->multi) {
        curl_global_cleanup();
        hg_free(c);
        return NULL;
    }
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    ev_timer_init(&c->timer, on_timer, 0., 0.);
    c->timer.data = c;
    return c;
}

void http_client_destroy(struct http_client *c) {
    if (!c)
        return;
    curl_multi_cleanup(c->multi);
    ev_timer_stop(c->loop, &c->timer);
    curl_global_cleanup();
    hg_free(c);
}

void http_escape(struct str text, struct strbuf *out) {
    static const char kept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] && strchr(kept, text.p[i]))
            strbuf_putc(out, text.p[i]);
        else
            strbuf_printf(out, "%%%02X", (unsigned char)text.p[i]);
    }
}
