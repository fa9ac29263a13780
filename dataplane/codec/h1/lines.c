#include "dataplane/codec/h1/lines.h"

#include "dataplane/codec/h1/bytes.h"
#include "dataplane/http/message.h"

enum { VERSION_LENGTH = 8 };

/* "HTTP/1.1" */
static enum h1_error read_version(const char *p, const char *end, struct head *head) {
    if (end - p != VERSION_LENGTH || memcmp(p, "HTTP/", 5) != 0 || p[6] != '.')
        return H1_VERSION;
    if (p[5] < '0' || p[5] > '9' || p[7] < '0' || p[7] > '9')
        return H1_VERSION;
    if (p[5] != '1')
        return H1_VERSION_UNSUPPORTED;
    head->version = p[7] == '0' ? VERSION_10 : VERSION_11; /* a later 1.x is read as 1.1 (RFC 9110 section 2.5) */
    return H1_OK;
}

static bool starts_nocase(struct str s, struct str prefix) {
    return s.n >= prefix.n && str_eq_nocase((struct str){s.p, prefix.n}, prefix);
}

/* RFC 9112 section 3.2. */
static enum h1_error read_form(struct head *head) {
    bool is_connect = head->method == METHOD_CONNECT;
    if (head->target.p[0] == '/' && !is_connect) {
        head->form = TARGET_ORIGIN;
        message_split_target(head);
        return H1_OK;
    }
    if (is_connect) {
        head->form = TARGET_AUTHORITY;
        return head->target.p[0] == '/' ? H1_TARGET_FORM : H1_OK;
    }
    if (str_eq(head->target, STR("*"))) {
        head->form = TARGET_ASTERISK;
        head->path = head->target;
        return head->method == METHOD_OPTIONS ? H1_OK : H1_TARGET_FORM;
    }
    head->form = TARGET_ABSOLUTE;
    if (starts_nocase(head->target, STR("http://")))
        head->scheme = STR("http");
    else if (starts_nocase(head->target, STR("https://")))
        head->scheme = STR("https");
    return head->scheme.n ? H1_OK : H1_TARGET_FORM;
}

enum h1_error h1_read_request_line(const char *line, const char *end, const struct h1_limits *limits, struct head *head) {
    const char *p = line;
    while (p < end && h1_is_token_byte(*p))
        p++;
    head->method_text = (struct str){line, (size_t)(p - line)};
    if (head->method_text.n > H1_METHOD_MAX)
        return H1_METHOD_TOO_LONG;
    if (p == end || p == line)
        return H1_START_LINE;
    if (*p != ' ')
        return H1_METHOD;
    head->method = method_lookup(head->method_text);

    const char *target = ++p;
    while (p < end && (h1_byte_class[(uint8_t)*p] & H1_TARGET_BYTE))
        p++;
    head->target = (struct str){target, (size_t)(p - target)};
    if (head->target.n > limits->uri_bytes)
        return H1_TARGET_TOO_LONG;
    if (p == end || head->target.n == 0)
        return H1_START_LINE;
    if (*p != ' ')
        return H1_TARGET;
    enum h1_error error = read_version(p + 1, end, head);
    return error ? error : read_form(head);
}

/* Above 9: none. */
static unsigned digit(char c) {
    return (uint8_t)(c - '0');
}

enum h1_error h1_read_status_line(const char *line, const char *end, struct head *head) {
    enum { STATUS_AT = VERSION_LENGTH + 1, REASON_AT = STATUS_AT + 3 };
    if (end - line < REASON_AT || line[VERSION_LENGTH] != ' ')
        return H1_START_LINE;
    enum h1_error error = read_version(line, line + VERSION_LENGTH, head);
    if (error)
        return error;
    unsigned hundreds = digit(line[STATUS_AT]), tens = digit(line[STATUS_AT + 1]), ones = digit(line[STATUS_AT + 2]);
    if (hundreds < 1 || hundreds > 5 || tens > 9 || ones > 9)
        return H1_STATUS;
    head->status = (uint16_t)(hundreds * 100 + tens * 10 + ones);
    const char *p = line + REASON_AT;
    if (p == end)
        return H1_OK; /* many origins leave out the space before an empty reason */
    if (*p != ' ')
        return H1_STATUS;
    head->reason = (struct str){p + 1, (size_t)(end - p - 1)};
    while (++p < end)
        if (!(h1_byte_class[(uint8_t)*p] & H1_TEXT_BYTE))
            return H1_REASON;
    return H1_OK;
}

/* The value from p on, without the white space around it. Returns the place behind the CRLF, or NULL with *ret_error. */
static char *read_value(char *p, char *end, struct field *field, enum h1_error *ret_error) {
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    const char *value = p, *at = p;
    while ((at = field_find_control(at, end)) < end && *at == '\t')
        at++;
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n') {
        *ret_error = at < end && *at == '\r' ? H1_BARE_CR : at < end && *at == '\n' ? H1_BARE_LF : H1_CONTROL_BYTE;
        return NULL;
    }
    p += at - value;
    const char *last = at;
    while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    field->value = value;
    field->value_len = (uint32_t)(last - value);
    return p + 2;
}

static char *read_field(char *p, char *end, struct field *field, enum h1_error *ret_error) {
    char *name = p;
    p = field_lower_token(p, end);
    size_t n = (size_t)(p - name);
    if (p == end || *p != ':' || n == 0 || n > UINT16_MAX) {
        *ret_error = n == 0 && p < end && (*p == ' ' || *p == '\t') ? H1_OBS_FOLD : H1_FIELD_NAME;
        return NULL;
    }
    field->name = name;
    field->name_len = (uint16_t)n;
    field->id = (uint16_t)field_lookup(name, n);
    return read_value(p + 1, end, field, ret_error);
}

enum h1_error h1_read_fields(char *p, char *end, struct h1_field_section *section) {
    struct fields *fields = section->fields;
    enum h1_error error = H1_OK;
    while (end - p > 2) {
        if (fields->count >= section->limit)
            return H1_TOO_MANY_FIELDS;
        if (fields_reserve(fields, section->arena, 1))
            return H1_MEMORY;
        struct field *field = &fields->v[fields->count];
        p = read_field(p, end - 2, field, &error);
        if (!p)
            return error;
        fields->count++;
        uint64_t bit = FIELD_BIT(field->id);
        section->repeated |= section->seen & bit;
        section->seen |= bit;
    }
    return end - p == 2 && memcmp(p, "\r\n", 2) == 0 ? H1_OK : H1_FIELD_NAME;
}
