/* Routes that are answered by the gateway: redirects and direct responses. */
#include <strings.h>

#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/values.h"

enum { LOCATION_MAX = 16384, BODY_MAX = 1 << 20, HEADERS_MAX = 64, VALUE_MAX = 16384 };

/* ---- what is read ---- */

const struct xds_fields xds_read_redirect = XDS_TABLE(envoy__config__route__v3__redirect_action,
    XDS_READ("https_redirect"), XDS_NOTE("scheme_redirect", "http or https"), XDS_READ("host_redirect"),
    XDS_READ("port_redirect"), XDS_NOTE("path_redirect", "begins with a slash"), XDS_READ("prefix_rewrite"),
    XDS_INSIDE("regex_rewrite", &xds_read_replacement), XDS_READ("response_code"), XDS_READ("strip_query"));

static const struct xds_fields source_table = XDS_TABLE(envoy__config__core__v3__data_source,
    XDS_READ("inline_bytes"), XDS_READ("inline_string"));

const struct xds_fields xds_read_direct_response = XDS_TABLE(envoy__config__route__v3__direct_response_action,
    XDS_NOTE("status", "200 to 599"), XDS_INSIDE("body", &source_table));

static const struct xds_fields value_table = XDS_TABLE(envoy__config__core__v3__header_value,
    XDS_READ("key"), XDS_NOTE("value", "with the commands that a rule's `request-headers` may have"), XDS_READ("raw_value"));

const struct xds_fields xds_read_changed_header = XDS_TABLE(envoy__config__core__v3__header_value_option,
    XDS_INSIDE("header", &value_table), XDS_READ("append"), XDS_READ("append_action"), XDS_READ("keep_empty_value"));

/* ---- redirects ---- */

static uint32_t redirect_status(Envoy__Config__Route__V3__RedirectAction__RedirectResponseCode code) {
    switch (code) {
    case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__FOUND: return 302;
    case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__SEE_OTHER: return 303;
    case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__TEMPORARY_REDIRECT: return 307;
    case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__PERMANENT_REDIRECT: return 308;
    default: return 301;
    }
}

static void redirect_path(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RedirectAction *from,
                          const Headgate__Rule *rule, Headgate__Redirect *to) {
    const Headgate__PathMatch *path = rule->match ? rule->match->path : NULL;
    switch (from->path_rewrite_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REDIRECT:
        value_text(m, XDS_AT(at, "path_redirect"), from->path_redirect, &text_location, LOCATION_MAX, &to->path);
        to->has_keep_query = to->keep_query = to->path != NULL;
        break;
    case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PREFIX_REWRITE:
        value_text(m, XDS_AT(at, "prefix_rewrite"), from->prefix_rewrite, &text_path, LOCATION_MAX, &to->prefix);
        if (to->prefix && (!path || path->kind_case == HEADGATE__PATH_MATCH__KIND_REGEX))
            making_unsupported(m, XDS_AT(at, "prefix_rewrite"), "the route does not match a prefix or a path");
        break;
    case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_REGEX_REWRITE:
        route_replacement(m, XDS_AT(at, "regex_rewrite"), from->regex_rewrite, &to->regex, &to->substitution);
        break;
    default: break;
    }
}

static void redirect_scheme(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RedirectAction *from,
                            Headgate__Redirect *to) {
    if (from->scheme_rewrite_specifier_case ==
        ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT)
        value_text(m, XDS_AT(at, "scheme_redirect"), from->scheme_redirect, &text_scheme, 8, &to->scheme);
    else if (from->scheme_rewrite_specifier_case ==
             ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_HTTPS_REDIRECT && from->https_redirect)
        to->scheme = (char *)"https";
    to->has_keep_port = to->keep_port = to->scheme != NULL;
}

void route_redirect(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                    Headgate__Rule *rule) {
    const Envoy__Config__Route__V3__RedirectAction *r = from->redirect;
    Headgate__Redirect *to = making_new(m, &headgate__redirect__descriptor);
    size_t faults = m->faults;
    if (!to)
        return;
    at = XDS_AT(at, "redirect");
    to->has_status = true;
    to->status = redirect_status(r->response_code);
    redirect_scheme(m, at, r, to);
    redirect_path(m, at, r, rule, to);
    value_text(m, XDS_AT(at, "host_redirect"), r->host_redirect, &text_host, LOCATION_MAX, &to->host);
    if (r->port_redirect)
        value_number(m, XDS_AT(at, "port_redirect"), r->port_redirect, 1, UINT16_MAX, &to->has_port, &to->port);
    to->has_strip_query = to->strip_query = r->strip_query;
    if (m->faults == faults && !to->scheme && !to->host && !to->port && !to->path && !to->prefix && !to->regex)
        making_unsupported(m, at, "it leads back to where the client was");
    rule->action_case = HEADGATE__RULE__ACTION_REDIRECT;
    rule->redirect = to;
}

/* ---- headers of an answer ---- */

/* The value without its commands, of which "%%" is the only one that is understood; NULL after an error. */
static char *plain_value(struct making *m, const struct xds_at *at, const char *value) {
    char *text = making_text(m, str_of(value)), *out = text;
    for (const char *in = value; text && *in; in++) {
        if (*in == '%' && *++in != '%') {
            making_unsupported(m, at, "commands in values are not filled in");
            return NULL;
        }
        *out++ = *in;
    }
    if (text)
        *out = '\0';
    return text;
}

static bool appends(const Envoy__Config__Core__V3__HeaderValueOption *h) {
    if (h->append)
        return h->append->value;
    return h->append_action == ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__APPEND_IF_EXISTS_OR_ADD;
}

/* The type of the content is there already, as text/plain; every other field is new. */
static void add_content_type(struct making *m, const struct xds_at *at,
                             const Envoy__Config__Core__V3__HeaderValueOption *from, char *value,
                             Headgate__Respond *to) {
    if (from->append_action == ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__ADD_IF_ABSENT &&
        !from->append)
        return;
    char *joined = appends(from) ? arena_printf(&m->arena, "%s,%s", to->content_type, value) : value;
    if (!joined)
        making_out_of_memory(m);
    else
        value_text(m, at, joined, &text_field_value, VALUE_MAX, &to->content_type);
}

static bool is_left_out(const Envoy__Config__Core__V3__HeaderValueOption *h, const char *value) {
    bool only_existing = !h->append && h->append_action ==
        ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS;
    return only_existing || (!value[0] && !h->keep_empty_value);
}

static void add_header(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__HeaderValueOption *from,
                       bool has_body, Headgate__Respond *to) {
    if (!from->header || !from->header->key[0]) {
        making_refuse(m, XDS_AT(at, "header.key"), ERROR_MISSING, "is missing");
        return;
    }
    bool is_raw = from->header->raw_value.len > 0;
    struct str raw = {(const char *)from->header->raw_value.data, from->header->raw_value.len};
    char *text = is_raw ? making_text(m, raw) : from->header->value;
    char *value = text ? plain_value(m, XDS_AT(at, is_raw ? "header.raw_value" : "header.value"), text) : NULL;
    Headgate__HeaderField *field = making_new(m, &headgate__header_field__descriptor);
    if (!value || !field)
        return;
    if (has_body && strcasecmp(from->header->key, "content-type") == 0) {
        add_content_type(m, XDS_AT(at, "header.value"), from, value, to);
        return;
    }
    if (is_left_out(from, value))
        return;
    field->value = (char *)"";
    value_text(m, XDS_AT(at, "header.key"), from->header->key, &text_own_field_name, 256, &field->name);
    value_text(m, XDS_AT(at, "header.value"), value, &text_field_value, VALUE_MAX, &field->value);
    to->headers[to->n_headers++] = field;
}

/* ---- direct responses ---- */

static void respond_body(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__DataSource *from,
                         Headgate__Respond *to) {
    struct str body = STR("");
    if (from && from->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING)
        body = str_of(from->inline_string);
    else if (from && from->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES)
        body = (struct str){(const char *)from->inline_bytes.data, from->inline_bytes.len};
    if (body.n > BODY_MAX)
        making_refuse(m, at, ERROR_RANGE, "has %zu bytes; %d are possible", body.n, BODY_MAX);
    if (body.n && (to->status == 204 || to->status == 205 || to->status == 304))
        making_refuse(m, at, ERROR_CONFLICT, "an answer with status %u has no body", to->status);
    to->has_body = body.n > 0;
    to->body = (ProtobufCBinaryData){body.n, (uint8_t *)body.p};
}

void route_respond(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                   Headgate__Rule *rule) {
    Headgate__Respond *to = making_new(m, &headgate__respond__descriptor);
    if (!to)
        return;
    rule->action_case = HEADGATE__RULE__ACTION_RESPOND;
    rule->respond = to;
    value_number(m, XDS_AT(at, "direct_response.status"), from->direct_response->status, 200, 599, &to->has_status,
                 &to->status);
    respond_body(m, XDS_AT(at, "direct_response.body"), from->direct_response->body, to);
    if (to->has_body)
        to->content_type = (char *)"text/plain";
    to->headers = making_array(m, from->n_response_headers_to_add, sizeof *to->headers);
    if (from->n_response_headers_to_add > HEADERS_MAX)
        making_refuse(m, XDS_AT(at, "response_headers_to_add"), ERROR_RANGE, "are %zu; %d are possible",
                      from->n_response_headers_to_add, HEADERS_MAX);
    for (size_t i = 0; to->headers && i < from->n_response_headers_to_add; i++)
        add_header(m, XDS_AT_ITEM(at, "response_headers_to_add", i), from->response_headers_to_add[i], to->has_body, to);
}
