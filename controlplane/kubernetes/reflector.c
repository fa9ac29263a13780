#include "controlplane/kubernetes/reflector.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"

enum {
    VERSION_MAX = 256,                  /* bytes of a resource version */
    WATCH_SECONDS = 300,                /* the least that a watch lasts; the most is twice that */
    SILENCE_US = 90000000,              /* bookmarks come each minute */
    LIST_TIMEOUT_US = 60000000,
    RETRY_US = 800000, RETRY_MAX_US = 30000000,
    SHORT_SECONDS = 10,                 /* a watch that ended earlier: the server does not want it */
    OK = 200, GONE = 410, TOO_MANY_REQUESTS = 429,
};

enum phase { WAITING, LISTING, WATCHING };

struct reflector {
    const struct kubernetes_server *server;
    const struct reflector_ops     *ops;
    void                           *context;
    char                           *path;
    enum phase                      phase;
    struct http_call               *call;
    ev_timer                        again;
    struct strbuf                   text;       /* of the page, or of the event that has begun */
    char                            version[VERSION_MAX]; /* where the watch goes on; empty: list */
    char                           *page;       /* the token of the next; NULL: the first */
    unsigned                        pages;      /* of this list, so far */
    uint64_t                        retry;      /* the last wait; 0: none since an event came */
    ev_tstamp                       began;      /* the call */
    bool                            is_gone;    /* a watch was told so */
    bool                            has_failed; /* what has come could not be used */
    struct reflector_counters       counters;
};

static void begin(struct reflector *r);

/* ---- what an answer says ---- */

static const char *text_of(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* The place at which a watch goes on. */
static void note_version(struct reflector *r, const cJSON *object) {
    const char *version = text_of(cJSON_GetObjectItemCaseSensitive(object, "metadata"), "resourceVersion");
    if (*version && strlen(version) < sizeof r->version)
        snprintf(r->version, sizeof r->version, "%s", version);
}

static cJSON *parse(const struct strbuf *text) {
    return cJSON_ParseWithLength(text->p ? text->p : "", text->n);
}

/* ---- again, later ---- */

static void wait(struct reflector *r, uint64_t microseconds) {
    r->phase = WAITING;
    ev_timer_stop(r->server->loop, &r->again);
    ev_timer_set(&r->again, (double)microseconds / 1e6, 0.);
    ev_timer_start(r->server->loop, &r->again);
}

static void raise_retry(struct reflector *r) {
    uint64_t next = r->retry ? r->retry * 2 : RETRY_US;
    r->retry = next < RETRY_MAX_US ? next : RETRY_MAX_US;
}

static void fail(struct reflector *r, const char *reason) {
    raise_retry(r);
    r->counters.failures++;
    wait(r, r->retry / 2 + arc4random_uniform((uint32_t)r->retry));
    r->ops->failed(r->context, reason);
}

/* What is asked next is a list, from its first page. */
static void forget_place(struct reflector *r) {
    r->version[0] = '\0';
    hg_free(r->page);
    r->page = NULL;
    r->pages = 0;
}

/* From the same place it would come again; the next is a list, which also has what a watch has missed. */
static void fail_unread(struct reflector *r) {
    const char *reason = r->phase == WATCHING ? "the watch of the API server cannot be read"
                                              : "the list of the API server cannot be read";
    forget_place(r);
    fail(r, reason);
}

/* The server no longer has what comes next: from the beginning, at once. One that says so again is waited for. */
static void start_over(struct reflector *r) {
    uint64_t before = r->retry;
    r->counters.gone++;
    forget_place(r);
    raise_retry(r);
    wait(r, before);
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    begin(timer->data);
}

/* ---- a list ---- */

static int take_item(struct reflector *r, const cJSON *item) {
    return r->ops->set(r->context, item) ? 0 : -1;
}

static int take_items(struct reflector *r, const cJSON *list) {
    const cJSON *item, *items = cJSON_GetObjectItemCaseSensitive(list, "items");
    if (!cJSON_IsArray(items) && !cJSON_IsNull(items))
        return -1;
    if (!r->page)
        r->ops->list(r->context);
    cJSON_ArrayForEach(item, items)
        if (take_item(r, item) < 0)
            return -1;
    return 0;
}

/* The same page again would come without end, from a cache that does not look at what is asked for, say. */
static int next_page(struct reflector *r, const char *token) {
    if (++r->pages == REFLECTOR_PAGES_MAX || (r->page && strcmp(r->page, token) == 0))
        return -1;
    hg_free(r->page);
    r->page = hg_strdup(token);
    return r->page ? 0 : -1;
}

/* The token of the next page, or the end of the list. 0, or -1 when it makes no sense. */
static int end_page(struct reflector *r, const cJSON *list) {
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(list, "metadata");
    const char *next = text_of(metadata, "continue");
    if (*next)
        return next_page(r, next);
    forget_place(r);
    note_version(r, list);
    if (!r->version[0])
        return -1;
    r->counters.lists++;
    r->ops->listed(r->context);
    return 0;
}

static void take_page(struct reflector *r) {
    cJSON *list = parse(&r->text);
    int status = list ? take_items(r, list) : -1;
    if (status == 0)
        status = end_page(r, list);
    cJSON_Delete(list);
    if (status < 0)
        fail_unread(r);
    else
        begin(r);
}

/* ---- a watch ---- */

static void take_error(struct reflector *r, const cJSON *status) {
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(status, "code");
    if (cJSON_IsNumber(code) && code->valueint == GONE)
        r->is_gone = true;
    else
        r->has_failed = true;
}

static void take_event(struct reflector *r, struct str line) {
    cJSON *event = cJSON_ParseWithLength(line.p, line.n);
    const char *type = text_of(event, "type");
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(event, "object");
    r->counters.events++;
    if (!cJSON_IsObject(object)) {
        r->has_failed = true;
    } else if (strcmp(type, "ERROR") == 0) {
        take_error(r, object);
    } else if (strcmp(type, "BOOKMARK") == 0) {
        r->counters.bookmarks++;
        note_version(r, object);
    } else if (strcmp(type, "DELETED") == 0) {
        r->ops->removed(r->context, object);
        note_version(r, object);
    } else if (take_item(r, object) == 0) {
        note_version(r, object);
    } else {
        r->has_failed = true;
    }
    if (!r->is_gone && !r->has_failed)
        r->retry = 0;
    cJSON_Delete(event);
}

/* Each line is an event; the last one may have come in part. */
static void take_lines(struct reflector *r) {
    struct str rest = strbuf_str(&r->text);
    const char *end;
    while (rest.n && !r->is_gone && !r->has_failed && (end = memchr(rest.p, '\n', rest.n))) {
        struct str line = {rest.p, (size_t)(end - rest.p)};
        rest = (struct str){end + 1, rest.n - line.n - 1};
        if (str_trim(line).n)
            take_event(r, line);
    }
    size_t left = rest.n;
    if (left && rest.p != r->text.p)
        memmove(r->text.p, rest.p, left);
    r->text.n = left;
}

/* ---- calls ---- */

static void on_head(void *context, unsigned status) {
    struct reflector *r = context;
    if (r->phase == WATCHING && status == OK)
        r->ops->watching(r->context);
}

static bool on_data(void *context, unsigned status, struct str piece) {
    struct reflector *r = context;
    bool is_event = r->phase == WATCHING && status == OK;
    size_t most = is_event ? REFLECTOR_EVENT_BYTES_MAX : REFLECTOR_PAGE_BYTES_MAX;
    strbuf_add_str(&r->text, piece);
    if (r->text.failed)
        return false;
    if (is_event)
        take_lines(r);
    r->has_failed |= r->text.n > most;
    return !r->is_gone && !r->has_failed;
}

/* What the server says of it, where it says something. It may object to the place that was asked for, a version that it has
 * not reached for instance, and would for ever; but one that has too much to do is not made to list. */
static void fail_with_status(struct reflector *r, unsigned status) {
    char reason[512];
    cJSON *told = parse(&r->text);
    const char *message = text_of(told, "message");
    snprintf(reason, sizeof reason, "the API server answers %u%s%.300s", status, *message ? ": " : "", message);
    cJSON_Delete(told);
    if (status != TOO_MANY_REQUESTS)
        forget_place(r);
    fail(r, reason);
}

static void on_done(void *context, unsigned status, const char *reason) {
    struct reflector *r = context;
    bool was_watch = r->phase == WATCHING;
    r->call = NULL;
    if (status == GONE || r->is_gone) {
        start_over(r);
    } else if (status != OK && status != 0) {
        fail_with_status(r, status);
    } else if (r->has_failed) {
        fail_unread(r);
    } else if (reason || status == 0) {
        fail(r, reason ? reason : "no answer");
    } else if (was_watch) {
        bool was_short = ev_now(r->server->loop) - r->began < SHORT_SECONDS;
        wait(r, was_short ? RETRY_US : 0); /* its time was over */
    } else {
        take_page(r);
    }
}

static const struct http_call_ops call_ops = {.head = on_head, .data = on_data, .done = on_done};

static void write_url(const struct reflector *r, struct strbuf *url) {
    strbuf_printf(url, "%s%s%c", r->server->url, r->path, strchr(r->path, '?') ? '&' : '?');
    if (r->phase == WATCHING) {
        strbuf_printf(url, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=",
                      WATCH_SECONDS + arc4random_uniform(WATCH_SECONDS));
        http_escape(str_of(r->version), url);
        return;
    }
    strbuf_printf(url, "limit=%d", REFLECTOR_PAGE);
    if (r->page) {
        strbuf_puts(url, "&continue=");
        http_escape(str_of(r->page), url);
    }
}

static struct http_call *call(struct reflector *r) {
    char authorization[TOKEN_MAX + 32];
    const char *const fields[] = {"Accept: application/json", r->server->token ? authorization : NULL, NULL};
    struct strbuf url = {0};
    struct http_call *started = NULL;
    write_url(r, &url);
    if (r->server->token)
        snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", token_file_get(r->server->token));
    const struct http_request request = {
        .method = "GET", .url = url.p, .fields = fields, .trust = &r->server->trust,
        .timeout = r->phase == WATCHING ? 0 : LIST_TIMEOUT_US, .silence = r->phase == WATCHING ? SILENCE_US : 0};
    if (!url.failed)
        started = http_call_start(r->server->http, &request, &call_ops, r);
    explicit_bzero(authorization, sizeof authorization);
    strbuf_finish(&url);
    return started;
}

static void begin(struct reflector *r) {
    r->phase = r->version[0] ? WATCHING : LISTING;
    r->began = ev_now(r->server->loop);
    r->is_gone = r->has_failed = false;
    strbuf_finish(&r->text);
    r->text = (struct strbuf){0};
    r->counters.watches += r->phase == WATCHING;
    r->call = call(r);
    if (!r->call)
        fail(r, "no memory to ask the API server");
}

/* ---- life ---- */

struct reflector *reflector_create(const struct kubernetes_server *server, const char *path,
                                   const struct reflector_ops *ops, void *context) {
    struct reflector *r = hg_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    *r = (struct reflector){.server = server, .ops = ops, .context = context, .path = hg_strdup(path)};
    if (!r->path) {
        hg_free(r);
        return NULL;
    }
    ev_timer_init(&r->again, on_again, 0., 0.);
    r->again.data = r;
    wait(r, 0);
    return r;
}

void reflector_destroy(struct reflector *r) {
    if (!r)
        return;
    http_call_cancel(r->call);
    ev_timer_stop(r->server->loop, &r->again);
    strbuf_finish(&r->text);
    hg_free(r->page);
    hg_free(r->path);
    hg_free(r);
}

void reflector_counters_add(struct reflector_counters *sum, const struct reflector_counters *c) {
    sum->lists += c->lists;
    sum->watches += c->watches;
    sum->events += c->events;
    sum->bookmarks += c->bookmarks;
    sum->gone += c->gone;
    sum->failures += c->failures;
}

void reflector_count(const struct reflector *r, struct reflector_counters *sum) {
    if (r)
        reflector_counters_add(sum, &r->counters);
}
