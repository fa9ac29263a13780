#include "dataplane/http/sections.h"

#include "dataplane/http/message.h"
#include "dataplane/routing/authority.h"

enum { COPY_CHUNK = 512 };

enum pseudo {
    PSEUDO_METHOD = 1, PSEUDO_SCHEME = 2, PSEUDO_AUTHORITY = 4, PSEUDO_PATH = 8, PSEUDO_STATUS = 16, PSEUDO_PROTOCOL = 32
};

static const struct {
    const char     *word;
    enum abort_code answer;
} errors[SECTION_ERROR_COUNT] = {
#define X(code, answer, word) [SECTION_##code] = {word, answer},
    SECTION_ERRORS(X)
#undef X
};

const char *section_error_word(enum section_error error) {
    return errors[error].word;
}

enum abort_code section_error_answer(enum section_error error) {
    return errors[error].answer;
}

/* ---- reading: begin */

static void begin(struct section_reader *r, enum section_kind section, struct arena *arena,
                  const struct section_limits *limits) {
    *r = (struct section_reader){.section = section, .arena = arena, .limits = limits,
                            .bytes_most = section == SECTION_TRAILERS ? limits->trailer_bytes : limits->header_bytes};
}

void section_begin_head(struct section_reader *r, enum section_kind section, uint8_t version, struct arena *arena,
                        const struct section_limits *limits, struct head *head) {
    begin(r, section, arena, limits);
    head_init(head);
    head->version = version;
    r->head = head;
    r->fields = &head->fields;
}

void section_begin_trailers(struct section_reader *r, struct arena *arena, const struct section_limits *limits,
                            struct fields *trailers) {
    begin(r, SECTION_TRAILERS, arena, limits);
    *trailers = (struct fields){0};
    r->fields = trailers;
}

/* ---- reading: fields */

/* Small copies lie behind each other. p is NULL without memory. */
static struct str copy(struct section_reader *r, struct str s) {
    char *at = r->room;
    if (s.n > r->room_left) {
        size_t size = s.n > COPY_CHUNK / 2 ? s.n : COPY_CHUNK;
        if (!(at = arena_alloc(r->arena, size)))
            return (struct str){NULL, 0};
        if (size == s.n)
            return (struct str){memcpy(at, s.p, s.n), s.n};
        r->room_left = size;
    }
    if (s.n == 0)
        return STR("");
    r->room = str_put(at, s);
    r->room_left -= s.n;
    return (struct str){at, s.n};
}

static enum section_error read_other_method(struct section_reader *r, struct str value) {
    for (size_t i = 0; i < value.n; i++)
        if (!field_token_lower[(uint8_t)value.p[i]])
            return SECTION_METHOD;
    if (value.n == 0 || value.n > SECTION_METHOD_MAX)
        return value.n ? SECTION_METHOD_TOO_LONG : SECTION_METHOD;
    r->head->method_text = copy(r, value);
    return r->head->method_text.p ? SECTION_OK : SECTION_MEMORY;
}

static enum section_error read_method(struct section_reader *r, struct str value) {
    struct head *head = r->head;
    head->method = method_lookup(value);
    if (head->method == METHOD_OTHER)
        return read_other_method(r, value);
    head->method_text = method_name(head->method);
    return SECTION_OK;
}

static enum section_error read_scheme(struct section_reader *r, struct str value) {
    if (str_eq(value, STR("https")) || str_eq_nocase(value, STR("https")))
        r->head->scheme = STR("https");
    else if (str_eq(value, STR("http")) || str_eq_nocase(value, STR("http")))
        r->head->scheme = STR("http");
    return r->head->scheme.n ? SECTION_OK : SECTION_SCHEME;
}

static enum section_error read_path(struct section_reader *r, struct str value) {
    if (value.n > r->limits->uri_bytes)
        return SECTION_TARGET_TOO_LONG;
    if (!message_target_is_valid(value))
        return SECTION_TARGET;
    r->head->target = copy(r, value);
    return r->head->target.p ? SECTION_OK : SECTION_MEMORY;
}

static enum section_error read_authority(struct section_reader *r, struct str value) {
    r->authority = copy(r, value);
    return r->authority.p ? SECTION_OK : SECTION_MEMORY;
}

/* RFC 9113 section 8.6: there is no 101. */
static enum section_error read_status(struct section_reader *r, struct str value) {
    uint64_t status;
    if (value.n != 3 || str_to_uint64(value, &status) || status < 100 || status == 101)
        return SECTION_STATUS;
    r->head->status = (uint16_t)status;
    return SECTION_OK;
}

/* RFC 8441 section 4. A token, as in Upgrade. */
static enum section_error read_protocol(struct section_reader *r, struct str value) {
    if (!r->takes_protocol || value.n == 0)
        return SECTION_PSEUDO_UNKNOWN;
    for (size_t i = 0; i < value.n; i++)
        if (!field_token_lower[(uint8_t)value.p[i]])
            return SECTION_PSEUDO_UNKNOWN;
    r->head->upgrade = copy(r, value);
    return r->head->upgrade.p ? SECTION_OK : SECTION_MEMORY;
}

struct pseudo_field {
    enum pseudo     bit;
    enum section_kind section;
    enum section_error (*read)(struct section_reader *, struct str);
};

static const struct pseudo_field *find_pseudo(struct str name) {
    static const struct pseudo_field method = {PSEUDO_METHOD, SECTION_REQUEST, read_method},
                                     path = {PSEUDO_PATH, SECTION_REQUEST, read_path},
                                     scheme = {PSEUDO_SCHEME, SECTION_REQUEST, read_scheme},
                                     authority = {PSEUDO_AUTHORITY, SECTION_REQUEST, read_authority},
                                     status = {PSEUDO_STATUS, SECTION_RESPONSE, read_status},
                                     protocol = {PSEUDO_PROTOCOL, SECTION_REQUEST, read_protocol};
    if (str_eq(name, STR(":path")))
        return &path;
    if (str_eq(name, STR(":authority")))
        return &authority;
    if (str_eq(name, STR(":method")))
        return &method;
    if (str_eq(name, STR(":scheme")))
        return &scheme;
    if (str_eq(name, STR(":status")))
        return &status;
    return str_eq(name, STR(":protocol")) ? &protocol : NULL;
}

static enum section_error read_pseudo(struct section_reader *r, struct str name, struct str value) {
    const struct pseudo_field *field = find_pseudo(name);
    if (!field || field->section != r->section)
        return SECTION_PSEUDO_UNKNOWN;
    if (r->in_fields)
        return SECTION_PSEUDO_LATE;
    if (r->pseudo & field->bit)
        return SECTION_PSEUDO_REPEATED;
    r->pseudo |= field->bit;
    return field->read(r, value);
}

/* RFC 9113 section 8.2.2. */
static enum section_error check_connection(enum field_id id, struct str value) {
    const uint64_t forbidden = FIELD_BIT(FIELD_CONNECTION) | FIELD_BIT(FIELD_PROXY_CONNECTION) |
                               FIELD_BIT(FIELD_KEEP_ALIVE) | FIELD_BIT(FIELD_TRANSFER_ENCODING) | FIELD_BIT(FIELD_UPGRADE);
    if (FIELD_BIT(id) & forbidden)
        return SECTION_CONNECTION_FIELD;
    return id == FIELD_TE && !str_eq(value, STR("trailers")) ? SECTION_TE : SECTION_OK;
}

static enum section_error read_regular(struct section_reader *r, struct str name, struct str value) {
    enum field_id id = field_lookup(name.p, name.n);
    r->in_fields = true;
    if (id == FIELD_OTHER && !field_name_is_valid(name))
        return SECTION_FIELD_NAME;
    if (!field_value_is_valid(value))
        return SECTION_FIELD_VALUE;
    enum section_error error = check_connection(id, value);
    if (error)
        return error;
    if (fields_reserve(r->fields, r->arena, 1))
        return SECTION_MEMORY;
    struct str kept_name = id == FIELD_OTHER ? copy(r, name) : field_id_name(id), kept_value = copy(r, value);
    if (!kept_name.p || !kept_value.p)
        return SECTION_MEMORY;
    r->fields->v[r->fields->count++] = (struct field){.name = kept_name.p, .name_len = (uint16_t)kept_name.n,
                                                      .value = kept_value.p, .value_len = (uint32_t)kept_value.n,
                                                      .id = (uint16_t)id};
    r->repeated |= r->seen & FIELD_BIT(id);
    r->seen |= FIELD_BIT(id);
    return SECTION_OK;
}

void section_read_field(struct section_reader *r, struct str name, struct str value) {
    r->bytes += name.n + value.n + SECTION_FIELD_OVERHEAD;
    if (r->error)
        return;
    bool is_pseudo = name.n && name.p[0] == ':';
    if (r->bytes > r->bytes_most)
        r->error = is_pseudo && name.n == 5 && value.n > r->limits->uri_bytes ? SECTION_TARGET_TOO_LONG
                                                                              : SECTION_HEAD_TOO_LARGE;
    else if (r->fields->count >= r->limits->headers && !is_pseudo)
        r->error = SECTION_TOO_MANY_FIELDS;
    else
        r->error = is_pseudo ? read_pseudo(r, name, value) : read_regular(r, name, value);
}

/* ---- reading: what the fields say together */

/* RFC 9113 section 8.2.3: for what follows Cookie is one field. Crumbs without content would leave white space at an end. */
static size_t join_values(const struct fields *fields, char *room) {
    char *at = room;
    for (const struct field *f = NULL; (f = fields_next(fields, f, FIELD_COOKIE));) {
        if (f->value_len == 0)
            continue;
        if (at != room)
            at = mempcpy(at, "; ", 2);
        at = mempcpy(at, f->value, f->value_len);
    }
    return (size_t)(at - room);
}

static enum section_error join_cookies(struct section_reader *r) {
    struct fields *fields = r->fields;
    size_t size = 0;
    for (const struct field *f = NULL; (f = fields_next(fields, f, FIELD_COOKIE));)
        size += f->value_len + 2;
    char *joined = arena_alloc(r->arena, size);
    if (!joined)
        return SECTION_MEMORY;
    struct str value = {joined, join_values(fields, joined)};
    return fields_set_id(fields, r->arena, FIELD_COOKIE, value) ? SECTION_MEMORY : SECTION_OK;
}

static char *mutable(struct str s) {
    return (char *)(uintptr_t)s.p;
}

/* Host and :authority name the same, or one of them is missing (RFC 9113 section 8.3.1). */
static enum section_error finish_authority(struct section_reader *r) {
    struct str authority = r->authority;
    if (r->repeated & FIELD_BIT(FIELD_HOST))
        return SECTION_HOST_REPEATED;
    struct field *host = r->seen & FIELD_BIT(FIELD_HOST) ? fields_find(r->fields, FIELD_HOST) : NULL;
    if (!host && !authority.p)
        return SECTION_AUTHORITY_MISSING;
    struct str value = host ? field_value(host) : authority;
    struct str other;
    uint16_t port;
    if (host && authority.p && authority_parse(mutable(value), value.n, &other, &port))
        return SECTION_AUTHORITY;
    if (message_set_authority(r->head, authority.p ? authority : value))
        return SECTION_AUTHORITY;
    return str_eq(value, r->head->authority) ? SECTION_OK : SECTION_HOST_DIFFERS;
}

/* RFC 9113 section 8.5. */
static enum section_error finish_connect(struct section_reader *r) {
    struct head *head = r->head;
    if (r->pseudo != (PSEUDO_METHOD | PSEUDO_AUTHORITY))
        return SECTION_PSEUDO_MISSING;
    enum section_error error = finish_authority(r);
    head->form = TARGET_AUTHORITY;
    head->target = head->authority;
    return error ? error : head->port ? SECTION_OK : SECTION_AUTHORITY;
}

/* RFC 8441 section 4: for what follows it is the GET with Upgrade that HTTP/1.1 has. */
static enum section_error finish_extended_connect(struct section_reader *r) {
    struct head *head = r->head;
    if (head->method != METHOD_CONNECT)
        return SECTION_PSEUDO_UNKNOWN;
    if (r->seen & FIELD_BIT(FIELD_CONTENT_LENGTH))
        return SECTION_CONTENT_LENGTH;
    fields_remove(r->fields, FIELD_SEC_WEBSOCKET_KEY); /* HTTP/1.1's, and there of one connection only */
    head->method = METHOD_GET;
    head->method_text = method_name(METHOD_GET);
    r->pseudo &= (uint8_t)~PSEUDO_PROTOCOL;
    return SECTION_OK;
}

static enum section_error finish_target(struct section_reader *r) {
    struct head *head = r->head;
    enum section_error error = r->pseudo & PSEUDO_PROTOCOL ? finish_extended_connect(r) : SECTION_OK;
    if (error)
        return error;
    if (!(r->pseudo & PSEUDO_METHOD))
        return SECTION_PSEUDO_MISSING;
    if (head->method == METHOD_CONNECT)
        return finish_connect(r);
    if ((r->pseudo | PSEUDO_AUTHORITY) != (PSEUDO_METHOD | PSEUDO_SCHEME | PSEUDO_PATH | PSEUDO_AUTHORITY))
        return SECTION_PSEUDO_MISSING;
    if (head->target.p[0] == '/') {
        message_split_target(head);
    } else if (head->method == METHOD_OPTIONS && str_eq(head->target, STR("*"))) {
        head->form = TARGET_ASTERISK;
        head->path = head->target;
    } else {
        return SECTION_TARGET;
    }
    return finish_authority(r);
}

static enum section_error finish_length(struct section_reader *r, bool end) {
    struct head *head = r->head;
    if (!(r->seen & FIELD_BIT(FIELD_CONTENT_LENGTH)))
        return SECTION_OK;
    if (r->repeated & FIELD_BIT(FIELD_CONTENT_LENGTH))
        return SECTION_CONTENT_LENGTH_REPEATED;
    if (message_parse_length(field_value(fields_find(r->fields, FIELD_CONTENT_LENGTH)), &head->content_length))
        return SECTION_CONTENT_LENGTH;
    return r->section == SECTION_REQUEST && end && head->content_length > 0 ? SECTION_CONTENT_LENGTH : SECTION_OK;
}

static enum section_error finish_request(struct section_reader *r, bool end) {
    struct head *head = r->head;
    enum section_error error;
    if ((error = finish_target(r)) || (error = finish_length(r, end)))
        return error;
    if (end && (head->upgrade.n || head->method == METHOD_CONNECT))
        return SECTION_TUNNEL_ENDS;
    if ((r->repeated & FIELD_BIT(FIELD_COOKIE)) && (error = join_cookies(r)))
        return error;
    if (r->seen & FIELD_BIT(FIELD_TE))
        message_read_te(head);
    if (!(r->seen & FIELD_BIT(FIELD_EXPECT)))
        return SECTION_OK;
    bool has_content = !end && head->content_length != 0;
    return (r->repeated & FIELD_BIT(FIELD_EXPECT)) || !message_read_expect(head, has_content) ? SECTION_EXPECT : SECTION_OK;
}

static enum section_error finish_response(struct section_reader *r, bool end) {
    if (!(r->pseudo & PSEUDO_STATUS))
        return SECTION_PSEUDO_MISSING;
    return finish_length(r, end);
}

static enum section_error finish_trailers(struct section_reader *r, bool end) {
    if (!end)
        return SECTION_TRAILER_NOT_LAST;
    return message_clean_trailers(r->fields) ? SECTION_OK : SECTION_TRAILER_FIELD;
}

enum section_error section_read_end(struct section_reader *r, bool end) {
    if (r->error)
        return r->error;
    if (r->head)
        r->head->seen = r->seen;
    switch (r->section) {
    case SECTION_REQUEST: r->error = finish_request(r, end); break;
    case SECTION_RESPONSE: r->error = finish_response(r, end); break;
    case SECTION_TRAILERS: r->error = finish_trailers(r, end); break;
    }
    return r->error;
}

/* ---- writing */

static struct field_pair pair(struct str name, struct str value) {
    return (struct field_pair){.name = (const uint8_t *)name.p, .name_n = name.n, .value = (const uint8_t *)value.p,
                               .value_n = value.n, .flags = PAIR_NAME_KEPT | PAIR_VALUE_KEPT};
}

static size_t put_fields(const struct head *head, struct field_pair *nv) {
    const uint64_t others = FIELD_BIT(FIELD_HOST) | FIELD_BIT(FIELD_CONTENT_LENGTH) | field_ids_with(FIELD_HOP_BY_HOP);
    size_t n = 0;
    for (uint32_t i = 0; i < head->fields.count; i++) {
        const struct field *f = &head->fields.v[i];
        if (!(FIELD_BIT(f->id) & others))
            nv[n++] = pair(field_name(f), field_value(f));
    }
    return n;
}

/* From the end of the room towards its beginning. */
static struct str number(char digits[32], uint64_t value) {
    size_t at = 32;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    return (struct str){digits + at, 32 - at};
}

static size_t put_length(const struct head *head, struct field_pair *nv, char digits[32]) {
    if (head->content_length < 0)
        return 0;
    nv[0] = pair(STR("content-length"), number(digits, (uint64_t)head->content_length));
    return 1;
}

size_t section_size(const struct field_pair *nv, size_t n) {
    enum { FIELD_MOST = 12, FRAME_HEAD = 9, FRAME_PAYLOAD = 16384, SECTION_MOST = 32 };
    size_t size = SECTION_MOST;
    for (size_t i = 0; i < n; i++)
        size += nv[i].name_n + nv[i].value_n + FIELD_MOST;
    return size + (size / FRAME_PAYLOAD + 1) * FRAME_HEAD;
}

/* No section of ours is as large as UINT32_MAX, and most peers state no limit: nothing is summed for them. */
bool section_is_within(const struct field_pair *nv, size_t n, uint64_t most) {
    uint64_t size = 0;
    if (most >= UINT32_MAX)
        return true;
    for (size_t i = 0; i < n; i++)
        size += nv[i].name_n + nv[i].value_n + SECTION_FIELD_OVERHEAD;
    return size <= most;
}

size_t section_write_request(const struct head *head, bool is_tls, struct field_pair *nv, char digits[32]) {
    size_t n = 0;
    nv[n++] = pair(STR(":method"), head->method_text);
    if (head->method != METHOD_CONNECT)
        nv[n++] = pair(STR(":scheme"), is_tls ? STR("https") : STR("http"));
    if (head->authority.n)
        nv[n++] = pair(STR(":authority"), head->authority);
    if (head->method != METHOD_CONNECT)
        nv[n++] = pair(STR(":path"), head->target);
    n += put_fields(head, nv + n);
    n += put_length(head, nv + n, digits);
    if (head->te_trailers)
        nv[n++] = pair(STR("te"), STR("trailers"));
    return n;
}

size_t section_write_tunnel(const struct head *head, bool is_tls, struct field_pair *nv) {
    size_t n = 0;
    nv[n++] = pair(STR(":method"), STR("CONNECT"));
    nv[n++] = pair(STR(":protocol"), head->upgrade);
    nv[n++] = pair(STR(":scheme"), is_tls ? STR("https") : STR("http"));
    nv[n++] = pair(STR(":authority"), head->authority);
    nv[n++] = pair(STR(":path"), head->target);
    return n + put_fields(head, nv + n);
}

size_t section_write_response(const struct head *head, struct field_pair *nv, char digits[32]) {
    size_t n = 0;
    unsigned status = head->status == 101 ? 200 : head->status; /* an open tunnel */
    digits[0] = (char)('0' + status / 100);
    digits[1] = (char)('0' + status / 10 % 10);
    digits[2] = (char)('0' + status % 10);
    nv[n++] = pair(STR(":status"), (struct str){digits, 3});
    n += put_fields(head, nv + n);
    if (head->status >= 200 && head->status != 204)
        n += put_length(head, nv + n, digits);
    return n;
}

size_t section_write_trailers(const struct fields *trailers, struct field_pair *nv) {
    size_t n = 0;
    for (uint32_t i = 0; i < trailers->count; i++) {
        const struct field *f = &trailers->v[i];
        if (field_id_has(f->id, FIELD_NO_TRAILER | FIELD_BAD_TRAILER))
            continue;
        nv[n] = pair(field_name(f), field_value(f));
        nv[n++].flags = PAIR_COPIED;
    }
    return n;
}
