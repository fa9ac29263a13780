#include "controlplane/health/http1.h"

void http1_init(struct http1_reader *r, struct answer *a, bool is_to_head) {
    *r = (struct http1_reader){.answer = a, .is_to_head = is_to_head};
}

void http1_finish(struct http1_reader *r) {
    strbuf_finish(&r->line);
}

static enum http1_status fail(struct http1_reader *r, const char *fault) {
    r->fault = fault;
    return HTTP1_FAILED;
}

/* ---- the head ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* HTTP/1.1 200 OK */
static enum http1_status on_status_line(struct http1_reader *r, struct str line) {
    const char *p = line.p;
    if (!str_starts(line, STR("HTTP/1.")) || line.n < 12 || (p[7] != '0' && p[7] != '1') || p[8] != ' ' || !is_digit(p[9]) ||
        !is_digit(p[10]) || !is_digit(p[11]) || (line.n > 12 && p[12] != ' ') || p[9] < '1' || p[9] > '5')
        return fail(r, "not an answer of HTTP/1.1");
    r->is_10 = p[7] == '0';
    r->answer->status = (unsigned)(p[9] - '0') * 100 + (unsigned)(p[10] - '0') * 10 + (unsigned)(p[11] - '0');
    r->place = HTTP1_FIELDS;
    return HTTP1_MORE;
}

static bool is_token_char(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_value_char(char c) {
    return c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f);
}

static bool is_field(struct str name, struct str value) {
    for (size_t i = 0; i < name.n; i++)
        if (!is_token_char(name.p[i]))
            return false;
    for (size_t i = 0; i < value.n; i++)
        if (!is_value_char(value.p[i]))
            return false;
    return name.n > 0;
}

static void on_connection(struct http1_reader *r, struct str value) {
    while (value.p) {
        struct str option = str_trim(str_cut(&value, ','));
        r->is_closed |= str_eq_nocase(option, STR("close"));
        r->is_kept |= str_eq_nocase(option, STR("keep-alive"));
    }
}

static enum http1_status on_length(struct http1_reader *r, struct str value) {
    uint64_t length;
    if (str_to_uint64(value, &length) < 0 || (r->has_length && length != r->left))
        return fail(r, "a Content-Length that is not one number");
    r->has_length = true;
    r->left = length;
    return HTTP1_MORE;
}

static enum http1_status on_framing(struct http1_reader *r, struct str name, struct str value) {
    if (str_eq_nocase(name, STR("connection")))
        on_connection(r, value);
    if (str_eq_nocase(name, STR("content-length")))
        return on_length(r, value);
    if (!str_eq_nocase(name, STR("transfer-encoding")))
        return HTTP1_MORE;
    if (r->is_chunked || r->is_10 || !str_eq_nocase(value, STR("chunked")))
        return fail(r, "a Transfer-Encoding other than chunked");
    r->is_chunked = true;
    return HTTP1_MORE;
}

static enum http1_status on_field(struct http1_reader *r, struct str line) {
    struct str value = line, name = str_cut(&value, ':');
    if (!value.p || !is_field(name, value))
        return fail(r, "a malformed header");
    value = str_trim(value);
    if (r->answer->status >= 200)
        answer_field(r->answer, name, value);
    return r->place == HTTP1_TRAILERS ? HTTP1_MORE : on_framing(r, name, value);
}

static enum http1_status done(struct http1_reader *r) {
    bool is_persistent = r->is_10 ? r->is_kept : true;
    r->is_reusable = is_persistent && !r->is_closed && !r->is_to_end;
    return HTTP1_DONE;
}

/* Responses 1xx, but for 101, are passed over. */
static enum http1_status on_interim(struct http1_reader *r) {
    if (r->answer->status == 101 || ++r->interim > HTTP1_INTERIM_MAX)
        return fail(r, r->answer->status == 101 ? "status 101, which nobody asked for" : "too many interim answers");
    r->place = HTTP1_STATUS_LINE;
    r->answer->status = 0;
    r->is_kept = r->is_closed = r->has_length = r->is_chunked = false;
    return HTTP1_MORE;
}

static enum http1_status on_head_end(struct http1_reader *r) {
    unsigned status = r->answer->status;
    if (status < 200)
        return on_interim(r);
    if (r->has_length && r->is_chunked)
        return fail(r, "Content-Length beside Transfer-Encoding");
    if (r->is_to_head || status == 204 || status == 304)
        return done(r);
    r->is_to_end = !r->has_length && !r->is_chunked;
    r->place = r->is_chunked ? HTTP1_CHUNK_SIZE : HTTP1_BODY;
    return r->has_length && r->left == 0 ? done(r) : HTTP1_MORE;
}

/* ---- chunks ---- */

static int hex_digit(char c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Extensions are passed over. */
static enum http1_status on_chunk_size(struct http1_reader *r, struct str line) {
    struct str size = str_trim(str_cut(&line, ';'));
    uint64_t n = 0;
    if (size.n == 0 || size.n > 15)
        return fail(r, "a malformed chunk");
    for (size_t i = 0; i < size.n; i++) {
        int digit = hex_digit(size.p[i]);
        if (digit < 0)
            return fail(r, "a malformed chunk");
        n = n << 4 | (uint64_t)digit;
    }
    r->left = n;
    r->place = n > 0 ? HTTP1_CHUNK : HTTP1_TRAILERS;
    return HTTP1_MORE;
}

/* ---- lines and bodies ---- */

static enum http1_status on_line(struct http1_reader *r, struct str line) {
    switch (r->place) {
    case HTTP1_STATUS_LINE: return on_status_line(r, line);
    case HTTP1_FIELDS: return line.n > 0 ? on_field(r, line) : on_head_end(r);
    case HTTP1_CHUNK_SIZE: return on_chunk_size(r, line);
    case HTTP1_TRAILERS: return line.n > 0 ? on_field(r, line) : done(r);
    default: break;
    }
    r->place = HTTP1_CHUNK_SIZE; /* behind a chunk stands an empty line */
    return line.n == 0 ? HTTP1_MORE : fail(r, "a malformed chunk");
}

/* Takes one line, or keeps what there is of it. */
static enum http1_status take_line(struct http1_reader *r, struct str *in) {
    const char *end = memchr(in->p, '\n', in->n);
    size_t n = end ? (size_t)(end - in->p) + 1 : in->n;
    if (r->place != HTTP1_CHUNK_SIZE && r->place != HTTP1_CHUNK_END) /* those are bounded as the body is */
        r->head += n;
    if (r->line.n + n > HTTP1_LINE_MAX || r->head > HTTP1_HEAD_MAX)
        return fail(r, "headers that are too long");
    struct str line = {in->p, n};
    if (!end || r->line.n > 0) {
        strbuf_add(&r->line, in->p, n);
        line = strbuf_str(&r->line);
    }
    *in = (struct str){in->p + n, in->n - n};
    if (r->line.failed)
        return fail(r, NULL); /* no memory */
    if (!end)
        return HTTP1_MORE;
    if (line.n < 2 || line.p[line.n - 2] != '\r')
        return fail(r, "a line that does not end in CR LF");
    enum http1_status status = on_line(r, (struct str){line.p, line.n - 2});
    strbuf_reset(&r->line);
    return status;
}

static enum http1_status take_body(struct http1_reader *r, struct str *in) {
    size_t n = !r->is_to_end && r->left < in->n ? (size_t)r->left : in->n;
    if (!answer_body(r->answer, in->p, n))
        return fail(r, NULL);
    *in = (struct str){in->p + n, in->n - n};
    r->left -= r->is_to_end ? 0 : n;
    if (r->answer->body_size > ANSWER_BODY_MAX)
        return HTTP1_DONE; /* not reusable: the rest is left unread */
    if (r->is_to_end || r->left > 0)
        return HTTP1_MORE;
    if (r->place == HTTP1_BODY)
        return done(r);
    r->place = HTTP1_CHUNK_END;
    return HTTP1_MORE;
}

enum http1_status http1_read(struct http1_reader *r, const char *bytes, size_t n) {
    struct str in = {bytes, n};
    enum http1_status status = HTTP1_MORE;
    r->has_begun |= n > 0;
    while (status == HTTP1_MORE && in.n > 0)
        status = r->place == HTTP1_BODY || r->place == HTTP1_CHUNK ? take_body(r, &in) : take_line(r, &in);
    if (status == HTTP1_DONE && in.n > 0)
        r->is_reusable = false; /* bytes that nobody asked for */
    return status;
}

enum http1_status http1_end(struct http1_reader *r) {
    if (r->place == HTTP1_BODY && r->is_to_end)
        return HTTP1_DONE;
    return fail(r, r->has_begun ? "closed in the middle of its answer" : "closed without an answer");
}
