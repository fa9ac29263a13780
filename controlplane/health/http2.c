#include "controlplane/health/http2.h"

#include <ctype.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/health/check_plan.h"

enum { FIELDS_MAX = 80, NAME_MAX_BYTES = 256, HEADER_LIST_MAX = 64 << 10, WINDOW = ANSWER_BODY_MAX + 16384 };

struct http2 {
    nghttp2_session *session;
    struct answer   *answer;
    struct str       body;              /* of the request, what is left */
    int32_t          stream;
    bool             is_over, is_long, is_unprocessed, is_leaving, has_no_memory;
    char             fault[96];
};

/* ---- memory ---- */

static void *memory_malloc(size_t n, void *context) {
    (void)context;
    return hg_malloc(n);
}

static void memory_free(void *block, void *context) {
    (void)context;
    hg_free(block);
}

static void *memory_calloc(size_t count, size_t size, void *context) {
    (void)context;
    return hg_calloc(count, size);
}

static void *memory_realloc(void *block, size_t n, void *context) {
    (void)context;
    return hg_realloc(block, n);
}

/* ---- what nghttp2 says ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *context) {
    struct http2 *h = context;
    struct str n = {(const char *)name, name_n}, v = {(const char *)value, value_n};
    uint64_t status;
    (void)session;
    (void)flags;
    if (frame->hd.stream_id != h->stream || !h->answer)
        return 0;
    if (str_eq(n, STR(":status")) && str_to_uint64(v, &status) == 0)
        h->answer->status = (unsigned)status; /* of an interim response: the last one counts */
    else
        answer_field(h->answer, n, v);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t n, void *context) {
    struct http2 *h = context;
    (void)session;
    (void)flags;
    if (stream != h->stream || !h->answer)
        return 0;
    if (!answer_body(h->answer, bytes, n)) {
        h->has_no_memory = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    h->is_long |= h->answer->body_size > ANSWER_BODY_MAX;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    struct http2 *h = context;
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        h->is_leaving = true;
        h->is_unprocessed |= frame->goaway.last_stream_id < h->stream;
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *context) {
    struct http2 *h = context;
    (void)session;
    if (stream != h->stream)
        return 0;
    h->is_over = true;
    h->is_unprocessed |= code == NGHTTP2_REFUSED_STREAM;
    if (code != NGHTTP2_NO_ERROR)
        snprintf(h->fault, sizeof h->fault, "stream reset: %s", nghttp2_http2_strerror(code));
    return 0;
}

static ssize_t on_read_body(nghttp2_session *session, int32_t stream, uint8_t *room, size_t n, uint32_t *flags,
                            nghttp2_data_source *source, void *context) {
    struct http2 *h = context;
    size_t take = h->body.n < n ? h->body.n : n;
    (void)session;
    (void)stream;
    (void)source;
    memcpy(room, h->body.p, take);
    h->body = (struct str){h->body.p + take, h->body.n - take};
    *flags |= h->body.n == 0 ? NGHTTP2_DATA_FLAG_EOF : 0;
    return (ssize_t)take;
}

/* ---- the session ---- */

static int start(struct http2 *h, nghttp2_session_callbacks *callbacks, nghttp2_option *option) {
    static const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
                                                      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX}};
    nghttp2_mem memory = {h, memory_malloc, memory_free, memory_calloc, memory_realloc};
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, 0); /* a kept connection costs less memory */
    if (nghttp2_session_client_new3(&h->session, callbacks, h, option, &memory) != 0)
        return -1;
    return nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
}

struct http2 *http2_create(void) {
    struct http2 *h = hg_calloc(1, sizeof *h);
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    bool has_room = h && nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0;
    int failed = has_room ? start(h, callbacks, option) : -1;
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (!failed)
        return h;
    http2_destroy(h);
    return NULL;
}

void http2_destroy(struct http2 *h) {
    if (h && h->session)
        nghttp2_session_del(h->session);
    hg_free(h);
}

/* ---- a request ---- */

struct fields {
    nghttp2_nv items[FIELDS_MAX];
    size_t     count;
    char       names[FIELDS_MAX][NAME_MAX_BYTES];   /* lower case */
};

static void add(struct fields *f, const char *name, const char *value) {
    size_t n = strlen(name);
    if (f->count == FIELDS_MAX || n >= NAME_MAX_BYTES)
        return;
    char *lower = f->names[f->count];
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)tolower((unsigned char)name[i]);
    f->items[f->count++] = (nghttp2_nv){.name = (uint8_t *)lower, .namelen = n, .value = (uint8_t *)(uintptr_t)value,
                                        .valuelen = strlen(value)};
}

static void make_fields(struct fields *f, const struct http2_request *request) {
    add(f, ":method", request->method);
    add(f, ":scheme", request->scheme);
    add(f, ":authority", request->authority);
    add(f, ":path", request->path);
    if (request->is_grpc) {
        add(f, "te", "trailers");
        add(f, "content-type", "application/grpc");
    }
    if (request->user_agent)
        add(f, "user-agent", request->user_agent);
    for (size_t i = 0; i < request->field_count; i++)
        if (check_plan_sends(request->fields[i]))
            add(f, request->fields[i]->name, request->fields[i]->value ? request->fields[i]->value : "");
}

int http2_request(struct http2 *h, const struct http2_request *request, struct answer *a) {
    struct fields *f = hg_calloc(1, sizeof *f);
    nghttp2_data_provider provider = {.read_callback = on_read_body};
    if (!f)
        return -1;
    make_fields(f, request);
    h->answer = a;
    h->body = request->body;
    h->is_over = h->is_long = h->is_unprocessed = false;
    h->stream = nghttp2_submit_request(h->session, NULL, f->items, f->count, request->body.n ? &provider : NULL, NULL);
    hg_free(f);
    return h->stream < 0 ? -1 : 0;
}

struct str http2_output(struct http2 *h) {
    const uint8_t *bytes = NULL;
    ssize_t n = nghttp2_session_mem_send(h->session, &bytes);
    h->has_no_memory |= n == NGHTTP2_ERR_NOMEM;
    return n > 0 ? (struct str){(const char *)bytes, (size_t)n} : (struct str){NULL, 0};
}

static enum http2_status fail(struct http2 *h, const char *fault) {
    if (!h->fault[0])
        snprintf(h->fault, sizeof h->fault, "%s", fault);
    return HTTP2_FAILED;
}

enum http2_status http2_input(struct http2 *h, const void *bytes, size_t n) {
    if (n == 0)
        return fail(h, "closed without an answer");
    ssize_t taken = nghttp2_session_mem_recv(h->session, bytes, n);
    h->has_no_memory |= taken == NGHTTP2_ERR_NOMEM;
    h->is_leaving |= taken < 0;
    if (h->is_over || h->is_long)
        return h->is_over && h->fault[0] ? HTTP2_FAILED : HTTP2_DONE;
    if (taken < 0)
        return fail(h, "not an answer of HTTP/2");
    return h->is_unprocessed ? fail(h, "the server goes away") : HTTP2_MORE;
}

/* nghttp2 answers a breach of the protocol with GOAWAY, and wants nothing more once that has been sent. */
bool http2_is_broken(const struct http2 *h) {
    return !h->is_over && !nghttp2_session_want_read(h->session);
}

void http2_forget(struct http2 *h) {
    h->answer = NULL;
}

bool http2_is_reusable(const struct http2 *h) {
    enum { STREAM_MAX = INT32_MAX - 8 };
    return h->is_over && !h->is_long && !h->is_leaving && !h->has_no_memory && h->stream < STREAM_MAX &&
           nghttp2_session_want_read(h->session) && nghttp2_session_check_request_allowed(h->session);
}

bool http2_is_unprocessed(const struct http2 *h) {
    return h->is_unprocessed;
}

const char *http2_fault(const struct http2 *h) {
    return h->has_no_memory ? NULL : h->fault;
}
