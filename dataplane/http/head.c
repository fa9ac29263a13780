#include "dataplane/http/head.h"

static const struct {
    struct str name;
    bool       idempotent, safe;
} methods[METHOD_COUNT] = {
    [METHOD_OTHER] = {{NULL, 0}, false, false},
    [METHOD_GET] = {{"GET", 3}, true, true},
    [METHOD_HEAD] = {{"HEAD", 4}, true, true},
    [METHOD_POST] = {{"POST", 4}, false, false},
    [METHOD_PUT] = {{"PUT", 3}, true, false},
    [METHOD_DELETE] = {{"DELETE", 6}, true, false},
    [METHOD_CONNECT] = {{"CONNECT", 7}, false, false},
    [METHOD_OPTIONS] = {{"OPTIONS", 7}, true, true},
    [METHOD_TRACE] = {{"TRACE", 5}, true, true},
    [METHOD_PATCH] = {{"PATCH", 5}, false, false},
};

enum method method_lookup(struct str text) {
    if (text.n < 3 || text.n > 7)
        return METHOD_OTHER;
    for (unsigned m = METHOD_GET; m < METHOD_COUNT; m++)
        if (methods[m].name.n == text.n && memcmp(methods[m].name.p, text.p, text.n) == 0)
            return m;
    return METHOD_OTHER;
}

struct str method_name(enum method method) {
    return methods[method].name;
}

bool method_is_idempotent(enum method method) {
    return methods[method].idempotent;
}

bool method_is_safe(enum method method) {
    return methods[method].safe;
}

/* The registered phrases, by class: the index is the status less 100 times its class. */
static const char *const informational[] = {"Continue", "Switching Protocols", "Processing", "Early Hints"};
static const char *const success[] = {
    "OK", "Created", "Accepted", "Non-Authoritative Information", "No Content", "Reset Content", "Partial Content",
    "Multi-Status", "Already Reported", [26] = "IM Used",
};
static const char *const redirection[] = {
    "Multiple Choices", "Moved Permanently", "Found", "See Other", "Not Modified", "Use Proxy",
    [7] = "Temporary Redirect", [8] = "Permanent Redirect",
};
static const char *const client_error[] = {
    "Bad Request", "Unauthorized", "Payment Required", "Forbidden", "Not Found", "Method Not Allowed", "Not Acceptable",
    "Proxy Authentication Required", "Request Timeout", "Conflict", "Gone", "Length Required", "Precondition Failed",
    "Content Too Large", "URI Too Long", "Unsupported Media Type", "Range Not Satisfiable", "Expectation Failed",
    [21] = "Misdirected Request", [22] = "Unprocessable Content", [23] = "Locked", [24] = "Failed Dependency",
    [25] = "Too Early", [26] = "Upgrade Required", [28] = "Precondition Required", [29] = "Too Many Requests",
    [31] = "Request Header Fields Too Large", [51] = "Unavailable For Legal Reasons",
};
static const char *const server_error[] = {
    "Internal Server Error", "Not Implemented", "Bad Gateway", "Service Unavailable", "Gateway Timeout",
    "HTTP Version Not Supported", "Variant Also Negotiates", "Insufficient Storage", "Loop Detected",
    [10] = "Not Extended", [11] = "Network Authentication Required",
};

#define PHRASES(list) {list, sizeof(list) / sizeof *(list)}
static const struct {
    const char *const *phrases;
    size_t             count;
} classes[] = {
    [1] = PHRASES(informational), [2] = PHRASES(success), [3] = PHRASES(redirection),
    [4] = PHRASES(client_error), [5] = PHRASES(server_error),
};

struct str status_reason(unsigned status) {
    unsigned class = status / 100, index = status % 100;
    if (class >= sizeof classes / sizeof *classes || index >= classes[class].count)
        return STR("");
    const char *phrase = classes[class].phrases[index];
    return str_of(phrase ? phrase : "");
}

bool head_max_forwards(const struct head *head, uint64_t *ret) {
    if (head->method != METHOD_OPTIONS && head->method != METHOD_TRACE)
        return false;
    const struct field *f = fields_find(&head->fields, FIELD_MAX_FORWARDS);
    struct str digits = f ? field_value(f) : (struct str){NULL, 0};
    for (size_t i = 0; i < digits.n; i++)
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return false;
    if (digits.n && str_to_uint64(digits, ret) < 0)
        *ret = UINT64_MAX;
    return digits.n > 0;
}

static bool is_nominated(const struct head *head, const struct field *field) {
    if (field_id_has(field->id, FIELD_PINNED))
        return false;
    for (uint32_t i = 0; i < head->nominated_count; i++)
        if (field_is(field, head->nominated[i]))
            return true;
    return false;
}

void head_remove_hop_by_hop(struct head *head) {
    struct fields *fields = &head->fields;
    fields_remove_ids(fields, field_ids_with(FIELD_HOP_BY_HOP));
    if (!head->nominated_count)
        return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fields->count; i++)
        if (!is_nominated(head, &fields->v[i]))
            fields->v[kept++] = fields->v[i];
    fields->count = kept;
}
