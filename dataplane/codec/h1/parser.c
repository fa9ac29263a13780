/* Stage 2: a complete head, taken apart. See parser.h. */
#include "dataplane/codec/h1/parser.h"

#include "dataplane/codec/h1/bytes.h"
#include "dataplane/codec/h1/lines.h"
#include "dataplane/http/message.h"

struct parser {
    struct arena           *arena;
    const struct h1_limits *limits;
    struct head            *head;
    uint64_t                repeated;
};

static bool is_seen(const struct parser *p, enum field_id id) {
    return p->head->seen & FIELD_BIT(id);
}

static bool is_repeated(const struct parser *p, enum field_id id) {
    return p->repeated & FIELD_BIT(id);
}

/* Views into the head that is parsed: its bytes are ours to change. */
static char *mutable(const char *p) {
    return (char *)(uintptr_t)p;
}

/* ---- framing */

static enum h1_error read_content_length(struct parser *p) {
    if (is_repeated(p, FIELD_CONTENT_LENGTH))
        return H1_CONTENT_LENGTH_REPEATED;
    struct str value = field_value(fields_find(&p->head->fields, FIELD_CONTENT_LENGTH));
    return message_parse_length(value, &p->head->content_length) ? H1_CONTENT_LENGTH : H1_OK;
}

static bool is_token(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!h1_is_token_byte(s.p[i]))
            return false;
    return s.n > 0;
}

/* Only "chunked" is understood. A list of codings that ends in chunked has a length that can be told, so it is
 * 501; everything else is 400 (RFC 9112 sections 6.1 and 6.3). */
static enum h1_error judge_codings(struct str value) {
    struct str rest = value, coding = {NULL, 0};
    unsigned chunked = 0, members = 0;
    while (rest.p) {
        coding = str_trim(str_cut(&rest, ','));
        if (!is_token(coding))
            return H1_TRANSFER_ENCODING;
        members++;
        chunked += str_eq_nocase(coding, STR("chunked"));
    }
    bool ends_in_chunked = str_eq_nocase(coding, STR("chunked"));
    if (chunked != 1 || !ends_in_chunked)
        return H1_TRANSFER_ENCODING;
    return members == 1 ? H1_OK : H1_TRANSFER_CODING_UNKNOWN;
}

static enum h1_error read_transfer_encoding(struct parser *p) {
    if (p->head->version == VERSION_10)
        return H1_TRANSFER_ENCODING_OLD;
    if (is_repeated(p, FIELD_TRANSFER_ENCODING))
        return H1_TRANSFER_ENCODING;
    enum h1_error error = judge_codings(field_value(fields_find(&p->head->fields, FIELD_TRANSFER_ENCODING)));
    p->head->chunked = !error;
    return error;
}

static enum h1_error read_framing(struct parser *p) {
    bool has_length = is_seen(p, FIELD_CONTENT_LENGTH), has_coding = is_seen(p, FIELD_TRANSFER_ENCODING);
    if (has_length && has_coding)
        return H1_LENGTH_AND_CODING;
    if (has_coding)
        return read_transfer_encoding(p);
    return has_length ? read_content_length(p) : H1_OK;
}

/* ---- Connection and its relatives */

struct options {
    bool close, keep_alive, upgrade;
};

static void lower_in_place(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        mutable(s.p)[i] = (char)field_token_lower[(uint8_t)s.p[i]];
}

static enum h1_error nominate(struct parser *p, struct str name, uint32_t *capacity) {
    struct head *head = p->head;
    if (head->nominated_count == *capacity) {
        uint32_t grown = *capacity ? *capacity * 2 : 4;
        struct str *list = arena_alloc(p->arena, grown * sizeof *list);
        if (!list)
            return H1_MEMORY;
        if (head->nominated_count)
            memcpy(list, head->nominated, head->nominated_count * sizeof *list);
        head->nominated = list;
        *capacity = grown;
    }
    head->nominated[head->nominated_count++] = name;
    return H1_OK;
}

static enum h1_error read_option(struct parser *p, struct str option, struct options *options, uint32_t *capacity) {
    if (!is_token(option))
        return H1_CONNECTION;
    lower_in_place(option);
    if (str_eq(option, STR("close")))
        options->close = true;
    else if (str_eq(option, STR("keep-alive")))
        options->keep_alive = true;
    else if (str_eq(option, STR("upgrade")))
        options->upgrade = true;
    else if (p->head->nominated_count >= p->limits->headers)
        return H1_CONNECTION; /* more names than a head may have fields */
    else
        return nominate(p, option, capacity);
    return H1_OK;
}

static enum h1_error read_connection(struct parser *p, struct options *options) {
    uint32_t capacity = 0;
    for (struct field *f = NULL; (f = fields_next(&p->head->fields, f, FIELD_CONNECTION));) {
        struct str rest = field_value(f), option;
        while (field_list_next(&rest, &option)) {
            enum h1_error error = read_option(p, option, options, &capacity);
            if (error)
                return error;
        }
    }
    return H1_OK;
}

static enum h1_error read_persistence(struct parser *p) {
    struct options options = {false, false, false};
    struct head *head = p->head;
    if (is_seen(p, FIELD_CONNECTION)) {
        enum h1_error error = read_connection(p, &options);
        if (error)
            return error;
    }
    head->keep_alive = !options.close && (head->version > VERSION_10 || options.keep_alive);
    if (options.upgrade && head->version > VERSION_10 && is_seen(p, FIELD_UPGRADE) && !is_repeated(p, FIELD_UPGRADE))
        head->upgrade = field_value(fields_find(&head->fields, FIELD_UPGRADE));
    return H1_OK;
}

/* RFC 9110 section 10.1.1: HTTP/1.0 has no expectations. */
static enum h1_error read_expect(struct parser *p) {
    struct head *head = p->head;
    if (head->version == VERSION_10)
        return H1_OK;
    bool has_content = head->chunked || head->content_length > 0;
    return is_repeated(p, FIELD_EXPECT) || !message_read_expect(head, has_content) ? H1_EXPECT : H1_OK;
}

/* ---- authority and target of a request */

static enum h1_error read_host(struct parser *p) {
    struct head *head = p->head;
    if (!is_seen(p, FIELD_HOST))
        return head->version > VERSION_10 ? H1_HOST_MISSING : H1_OK;
    if (is_repeated(p, FIELD_HOST))
        return H1_HOST_REPEATED;
    struct str value = field_value(fields_find(&head->fields, FIELD_HOST));
    return message_set_authority(head, value) ? H1_HOST : H1_OK;
}

/* The target's authority replaces Host (RFC 9112 section 3.2.2). */
static enum h1_error take_authority(struct parser *p, struct str authority) {
    return message_set_authority(p->head, authority) ? H1_AUTHORITY : H1_OK;
}

static enum h1_error finish_absolute(struct parser *p) {
    struct head *head = p->head;
    size_t at = head->scheme.n + strlen("://"), end = at;
    while (end < head->target.n && head->target.p[end] != '/' && head->target.p[end] != '?')
        end++;
    enum h1_error error = take_authority(p, (struct str){head->target.p + at, end - at});
    if (error)
        return error;
    struct str rest = {head->target.p + end, head->target.n - end};
    if (rest.n && rest.p[0] == '?') { /* an empty path is "/" */
        char *with_slash = arena_alloc(p->arena, rest.n + 1);
        if (!with_slash)
            return H1_MEMORY;
        with_slash[0] = '/';
        memcpy(with_slash + 1, rest.p, rest.n);
        rest = (struct str){with_slash, rest.n + 1};
    } else if (rest.n == 0 && head->method == METHOD_OPTIONS) {
        head->target = head->path = STR("*"); /* RFC 9112 section 3.2.4 */
        return H1_OK;
    }
    head->target = rest.n ? rest : STR("/");
    message_split_target(head);
    return H1_OK;
}

static enum h1_error finish_target(struct parser *p) {
    switch (p->head->form) {
    case TARGET_ORIGIN:
    case TARGET_ASTERISK: return H1_OK;
    case TARGET_ABSOLUTE: return finish_absolute(p);
    case TARGET_AUTHORITY: break;
    }
    enum h1_error error = take_authority(p, p->head->target);
    return error ? error : p->head->port ? H1_OK : H1_AUTHORITY;
}

/* ---- whole heads */

/* `line` is the start line's end: its CR. */
static enum h1_error read_section(struct parser *p, char *line_end, char *end) {
    struct h1_field_section section = {.arena = p->arena, .fields = &p->head->fields, .limit = p->limits->headers};
    enum h1_error error = h1_read_fields(line_end + 2, end, &section);
    p->head->seen = section.seen;
    p->repeated = section.repeated;
    return error;
}

/* The CR that ends the first line; NULL when it is not followed by LF, or nothing follows. */
static char *find_line_end(char *bytes, size_t n) {
    char *at = n ? memchr(bytes, '\r', n) : NULL;
    return at && (size_t)(at - bytes) + 4 <= n && at[1] == '\n' ? at : NULL;
}

static enum h1_error interpret_request(struct parser *p) {
    enum h1_error error;
    if ((error = read_host(p)) || (error = finish_target(p)) || (error = read_framing(p)) ||
        (error = read_persistence(p)))
        return error;
    if (p->head->method == METHOD_CONNECT && (p->head->chunked || p->head->content_length > 0))
        return H1_CONNECT_CONTENT; /* RFC 9110 section 9.3.6 */
    if (is_seen(p, FIELD_TE))
        message_read_te(p->head);
    return is_seen(p, FIELD_EXPECT) ? read_expect(p) : H1_OK;
}

enum h1_error h1_parse_request(struct arena *arena, char *bytes, size_t n, const struct h1_limits *limits,
                               struct head *head) {
    struct parser p = {.arena = arena, .limits = limits, .head = head};
    head_init(head);
    char *line_end = find_line_end(bytes, n);
    enum h1_error error = n > limits->header_bytes ? H1_HEAD_TOO_LARGE : line_end ? H1_OK : H1_START_LINE;
    if (error || (error = h1_read_request_line(bytes, line_end, limits, head)) ||
        (error = read_section(&p, line_end, bytes + n)))
        return error;
    return interpret_request(&p);
}

/* 1xx and 204 never have content; one that announces some leaves the connection in doubt. */
static void distrust_length(struct head *head) {
    if ((head->status < 200 || head->status == 204) && (head->chunked || head->content_length > 0))
        head->keep_alive = false;
}

enum h1_error h1_parse_response(struct arena *arena, char *bytes, size_t n, const struct h1_limits *limits,
                                struct head *head) {
    struct parser p = {.arena = arena, .limits = limits, .head = head};
    head_init(head);
    char *line_end = find_line_end(bytes, n);
    enum h1_error error = n > limits->header_bytes ? H1_HEAD_TOO_LARGE : line_end ? H1_OK : H1_START_LINE;
    if (error || (error = h1_read_status_line(bytes, line_end, head)) ||
        (error = read_section(&p, line_end, bytes + n)) || (error = read_framing(&p)) ||
        (error = read_persistence(&p)))
        return error;
    distrust_length(head);
    return H1_OK;
}

enum h1_framing h1_request_framing(const struct head *request) {
    if (request->chunked)
        return H1_BODY_CHUNKED;
    return request->content_length > 0 ? H1_BODY_LENGTH : H1_BODY_NONE;
}

enum h1_framing h1_response_framing(const struct head *response, enum method request_method) {
    bool is_success = response->status >= 200 && response->status < 300;
    if (response->status == 101 || (request_method == METHOD_CONNECT && is_success))
        return H1_BODY_TUNNEL;
    if (request_method == METHOD_HEAD || response->status < 200 || response->status == 204 || response->status == 304)
        return H1_BODY_NONE;
    if (response->chunked)
        return H1_BODY_CHUNKED;
    if (response->content_length < 0)
        return H1_BODY_UNTIL_CLOSE;
    return response->content_length > 0 ? H1_BODY_LENGTH : H1_BODY_NONE;
}
