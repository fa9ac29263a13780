#include "dataplane/snapshot/grpc_stream.h"

#include <stdio.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "common/alloc.h"
#include "common/str.h"
#include "proto/resource.h"

enum {
    PREFIX_SIZE = 5,
    STREAM_WINDOW = 1 << 20,
    CONNECTION_WINDOW = 4 << 20,
    HEADER_LIST_MAX = 16384,
    KEPT_BUFFER = 65536,         /* larger ones are given back when they are empty */
    STATUS_UNKNOWN = 2,          /* gRPC's UNKNOWN: the peer ended the call without saying how */
};

struct grpc_stream {
    nghttp2_session *session;
    int32_t          id;
    grpc_on_message *on_message;
    void            *owner;
    bool             owner_gave_up;
    char             fault[160];       /* empty: none */
    /* out: messages with their prefixes */
    struct strbuf    out;
    size_t           out_at;
    /* in: the message that is arriving */
    uint8_t          prefix[PREFIX_SIZE];
    size_t           prefix_size;
    struct strbuf    in;
    size_t           in_need;
    /* the end */
    bool             has_ended;
    int              status;
    char             status_text[256];
    bool             awaits_pong;
};

/* ---- memory ---- */

static void *mem_malloc(size_t size, void *unused) {
    (void)unused;
    return hg_malloc(size);
}

static void mem_free(void *block, void *unused) {
    (void)unused;
    hg_free(block);
}

static void *mem_calloc(size_t count, size_t size, void *unused) {
    (void)unused;
    return hg_calloc(count, size);
}

static void *mem_realloc(void *old, size_t size, void *unused) {
    (void)unused;
    return hg_realloc(old, size);
}

/* nghttp2 wants it writable and keeps a copy. */
static nghttp2_mem memory = {NULL, mem_malloc, mem_free, mem_calloc, mem_realloc};

static void give_back(struct strbuf *b) {
    if (b->capacity > KEPT_BUFFER)
        strbuf_finish(b);
    else
        strbuf_reset(b);
}

/* ---- in ---- */

static int fault(struct grpc_stream *s, const char *what) {
    snprintf(s->fault, sizeof s->fault, "%s", what);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int read_prefix(struct grpc_stream *s) {
    const uint8_t *p = s->prefix;
    s->in_need = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (p[0] != 0)
        return fault(s, "a compressed message, which was not asked for");
    return s->in_need > MESSAGE_MAX ? fault(s, "a message that is too large") : 0;
}

static int finish_message(struct grpc_stream *s) {
    struct str message = strbuf_str(&s->in);
    int status = s->on_message(s->owner, (const uint8_t *)message.p, message.n);
    s->prefix_size = 0;
    give_back(&s->in);
    if (status == 0)
        return 0;
    s->owner_gave_up = true;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Takes from the front of the bytes what the prefix or the message still lacks. */
static int take_bytes(struct grpc_stream *s, const uint8_t **bytes, size_t *size) {
    if (s->prefix_size < PREFIX_SIZE) {
        s->prefix[s->prefix_size++] = *(*bytes)++;
        --*size;
        if (s->prefix_size < PREFIX_SIZE)
            return 0;
        if (read_prefix(s) < 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    size_t n = s->in_need - s->in.n < *size ? s->in_need - s->in.n : *size;
    strbuf_add(&s->in, *bytes, n);
    *bytes += n;
    *size -= n;
    if (s->in.failed)
        return fault(s, "out of memory");
    return s->in.n == s->in_need ? finish_message(s) : 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t size,
                   void *user) {
    struct grpc_stream *s = user;
    int status = 0;
    (void)session;
    (void)flags;
    while (id == s->id && size && status == 0)
        status = take_bytes(s, &bytes, &size);
    return status;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name_bytes,
                     size_t name_size, const uint8_t *value_bytes, size_t value_size, uint8_t flags,
                     void *user) {
    struct grpc_stream *s = user;
    struct str name = {(const char *)name_bytes, name_size}, value = {(const char *)value_bytes, value_size};
    uint64_t status;
    (void)session;
    (void)flags;
    if (frame->hd.stream_id != s->id)
        return 0;
    if (str_eq(name, STR(":status")) && !str_eq(value, STR("200")))
        return fault(s, "the peer does not answer as a gRPC server does");
    if (str_eq(name, STR("content-type")) && !str_starts(value, STR("application/grpc")))
        return fault(s, "the peer answers with another content type than gRPC's");
    if (str_eq(name, STR("grpc-status")))
        s->status = str_to_uint64(value, &status) == 0 && status < 100 ? (int)status : STATUS_UNKNOWN;
    if (str_eq(name, STR("grpc-message")))
        snprintf(s->status_text, sizeof s->status_text, "%.*s", (int)(value.n < 255 ? value.n : 255),
                 value.p);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct grpc_stream *s = user;
    (void)session;
    if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK)
        s->awaits_pong = false;
    /* Trailers end the call, although our half of it is still open. */
    if (frame->hd.stream_id == s->id && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
        (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA))
        s->has_ended = true;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user) {
    struct grpc_stream *s = user;
    (void)session;
    if (id != s->id)
        return 0;
    s->has_ended = true;
    if (error_code && !s->status_text[0])
        snprintf(s->status_text, sizeof s->status_text, "stream closed: %s",
                 nghttp2_http2_strerror(error_code));
    return 0;
}

int grpc_stream_receive(struct grpc_stream *s, const uint8_t *bytes, size_t size, struct error_list *errors) {
    ssize_t taken = nghttp2_session_mem_recv(s->session, bytes, size);
    if (taken == (ssize_t)size)
        return 0;
    if (!s->owner_gave_up)
        error_addf(errors, ERROR_SYNTAX, "%s", s->fault[0] ? s->fault : nghttp2_strerror((int)taken));
    return -1;
}

/* ---- out ---- */

static ssize_t read_output(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t size,
                           uint32_t *flags, nghttp2_data_source *source, void *user) {
    struct grpc_stream *s = user;
    size_t left = s->out.n - s->out_at;
    (void)session;
    (void)id;
    (void)flags;
    (void)source;
    if (left == 0)
        return NGHTTP2_ERR_DEFERRED;
    if (left < size)
        size = left;
    memcpy(buffer, s->out.p + s->out_at, size);
    s->out_at += size;
    if (size == left) {
        give_back(&s->out);
        s->out_at = 0;
    }
    return (ssize_t)size;
}

int grpc_stream_send(struct grpc_stream *s, const uint8_t *message, size_t size) {
    uint8_t prefix[PREFIX_SIZE] = {0, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                                   (uint8_t)size};
    if (size > MESSAGE_MAX || s->out.n + PREFIX_SIZE + size > GRPC_OUTPUT_MAX)
        return -1;
    strbuf_add(&s->out, prefix, sizeof prefix);
    strbuf_add(&s->out, message, size);
    if (s->out.failed)
        return -1;
    int status = nghttp2_session_resume_data(s->session, s->id);
    return status == NGHTTP2_ERR_NOMEM ? -1 : 0; /* others: it is not waiting, or the stream has ended */
}

ptrdiff_t grpc_stream_output(struct grpc_stream *s, const uint8_t **ret) {
    return nghttp2_session_mem_send(s->session, ret);
}

size_t grpc_stream_waiting(const struct grpc_stream *s) {
    return s->out.n - s->out_at;
}

int grpc_stream_ping(struct grpc_stream *s) {
    s->awaits_pong = true;
    return nghttp2_submit_ping(s->session, NGHTTP2_FLAG_NONE, NULL) == 0 ? 0 : -1;
}

bool grpc_stream_awaits_pong(const struct grpc_stream *s) {
    return s->awaits_pong;
}

bool grpc_stream_has_ended(const struct grpc_stream *s, int *ret_status, const char **ret_message) {
    if (!s->has_ended && (nghttp2_session_want_read(s->session) || nghttp2_session_want_write(s->session)))
        return false;
    *ret_status = s->status;
    *ret_message = s->status_text;
    return true;
}

/* ---- the session ---- */

static int make_session(struct grpc_stream *s) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return -1;
    if (nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(callbacks);
        return -1;
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    int status = nghttp2_session_client_new3(&s->session, callbacks, s, option, &memory);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return status == 0 ? 0 : -1;
}

static nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int submit_settings(struct grpc_stream *s) {
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX},
    };
    if (nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, settings,
                                sizeof settings / sizeof *settings) != 0)
        return -1;
    return nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0
               ? 0
               : -1;
}

static int submit_call(struct grpc_stream *s, const char *scheme, const char *authority, const char *path) {
    const nghttp2_nv fields[] = {
        field(":method", "POST"),   field(":scheme", scheme),
        field(":path", path),       field(":authority", authority),
        field("te", "trailers"),    field("content-type", "application/grpc+proto"),
        field("user-agent", "headgate-dataplane/" HG_VERSION),
    };
    const nghttp2_data_provider provider = {.read_callback = read_output};
    s->id = nghttp2_submit_request(s->session, NULL, fields, sizeof fields / sizeof *fields, &provider, NULL);
    return s->id > 0 ? 0 : -1;
}

struct grpc_stream *grpc_stream_create(const char *scheme, const char *authority, const char *path,
                                       grpc_on_message *on_message, void *owner) {
    struct grpc_stream *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->on_message = on_message;
    s->owner = owner;
    s->status = STATUS_UNKNOWN;
    if (make_session(s) == 0 && submit_settings(s) == 0 && submit_call(s, scheme, authority, path) == 0)
        return s;
    grpc_stream_destroy(s);
    return NULL;
}

void grpc_stream_destroy(struct grpc_stream *s) {
    if (!s)
        return;
    nghttp2_session_del(s->session);
    strbuf_finish(&s->out);
    strbuf_finish(&s->in);
    hg_free(s);
}
