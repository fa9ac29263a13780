#include "dataplane/codec/h1/writer.h"

#include <assert.h>

struct out {
    char  *p;
    size_t room, n; /* n goes on counting beyond room */
};

static void put(struct out *out, struct str s) {
    if (s.n && out->n + s.n <= out->room)
        memcpy(out->p + out->n, s.p, s.n);
    out->n += s.n;
}

#define PUT(out, literal) put((out), STR(literal))

/* Values were checked where they came in; this catches what the gateway itself makes up. */
static bool is_harmless(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
            return false;
    return true;
}

static void put_checked(struct out *out, struct str s) {
    assert(is_harmless(s));
    (void)is_harmless;
    put(out, s);
}

static void put_number(struct out *out, uint64_t value) {
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    put(out, (struct str){digits + at, sizeof digits - at});
}

static inline void put_field(struct out *out, struct str name, struct str value) {
    assert(name.n && is_harmless(name) && is_harmless(value));
    size_t length = name.n + value.n + 4;
    if (out->n + length <= out->room) {
        char *p = str_put(out->p + out->n, name);
        *p++ = ':';
        *p++ = ' ';
        p = str_put(p, value);
        *p++ = '\r';
        *p++ = '\n';
    }
    out->n += length;
}

static void put_fields(struct out *to, const struct fields *fields) {
    const uint64_t others = FIELD_BIT(FIELD_HOST) | FIELD_BIT(FIELD_CONTENT_LENGTH) | field_ids_with(FIELD_HOP_BY_HOP);
    struct out out = *to; /* in registers, as no byte that is written can change it */
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct field *f = &fields->v[i];
        if (!(FIELD_BIT(f->id) & others))
            put_field(&out, field_name(f), field_value(f));
    }
    *to = out;
}

static void put_framing(struct out *out, const struct head *head) {
    assert(!head->chunked || head->content_length < 0);
    if (head->chunked) {
        PUT(out, "transfer-encoding: chunked\r\n");
    } else if (head->content_length >= 0) {
        PUT(out, "content-length: ");
        put_number(out, (uint64_t)head->content_length);
        PUT(out, "\r\n");
    }
}

static void put_connection(struct out *out, const struct head *head, enum h1_connection connection, bool te) {
    static const struct str options[] = {
        [H1_CONNECTION_DEFAULT] = {"", 0},
        [H1_CONNECTION_CLOSE] = {"close", 5},
        [H1_CONNECTION_KEEP_ALIVE] = {"keep-alive", 10},
        [H1_CONNECTION_UPGRADE] = {"upgrade", 7},
    };
    struct str option = options[connection];
    if (option.n || te) {
        PUT(out, "connection: ");
        put(out, option);
        put(out, option.n && te ? STR(", te") : te ? STR("te") : STR(""));
        PUT(out, "\r\n");
    }
    if (connection == H1_CONNECTION_UPGRADE)
        put_field(out, STR("upgrade"), head->upgrade);
    if (te)
        PUT(out, "te: trailers\r\n");
}

size_t h1_write_request_head(const struct head *head, enum h1_connection connection, char *out, size_t room) {
    struct out o = {out, room, 0};
    assert(head->method_text.n && head->target.n);
    put_checked(&o, head->method_text);
    PUT(&o, " ");
    put_checked(&o, head->target);
    PUT(&o, " HTTP/1.1\r\n");
    put_field(&o, STR("host"), head->authority);
    put_fields(&o, &head->fields);
    put_framing(&o, head);
    put_connection(&o, head, connection, head->te_trailers);
    PUT(&o, "\r\n");
    return o.n;
}

size_t h1_write_response_head(const struct head *head, enum h1_connection connection, char *out, size_t room) {
    struct out o = {out, room, 0};
    assert(head->status >= 100 && head->status <= 999);
    PUT(&o, "HTTP/1.1 ");
    put_number(&o, head->status);
    PUT(&o, " ");
    put_checked(&o, head->reason.n ? head->reason : status_reason(head->status));
    PUT(&o, "\r\n");
    put_fields(&o, &head->fields);
    if (head->status >= 200 && head->status != 204)
        put_framing(&o, head);
    put_connection(&o, head, connection, false);
    PUT(&o, "\r\n");
    return o.n;
}

size_t h1_write_trailers(const struct fields *trailers, char *out, size_t room) {
    struct out o = {out, room, 0};
    for (uint32_t i = 0; trailers && i < trailers->count; i++) {
        const struct field *f = &trailers->v[i];
        if (!field_id_has(f->id, FIELD_NO_TRAILER | FIELD_BAD_TRAILER))
            put_field(&o, field_name(f), field_value(f));
    }
    PUT(&o, "\r\n");
    return o.n;
}
