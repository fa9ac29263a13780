#include "controlplane/config/schema/text_form.h"

#include <ctype.h>
#include <stdio.h>

#include "common/address.h"
#include "common/prefix.h"
#include "dataplane/routing/authority.h"
#include "proto/resource.h"

/* RFC 9110 section 5.6.2: tchar. */
static bool is_token_char(char c) {
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

const char text_no_memory[] = "out of memory";

static bool is_token(struct str text) {
    for (size_t i = 0; i < text.n; i++)
        if (!is_token_char(text.p[i]))
            return false;
    return text.n > 0;
}

static const char *to_lower(struct arena *arena, struct str text, struct str *canonical) {
    char *lower = arena_memdup(arena, text.p, text.n + 1);
    if (!lower)
        return text_no_memory;
    for (size_t i = 0; i < text.n; i++)
        lower[i] = (char)tolower((unsigned char)lower[i]);
    *canonical = (struct str){lower, text.n};
    return NULL;
}

static bool has_control(struct str text) {
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return true;
    return false;
}

/* ---- plain texts ---- */

static const char *check_any(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return memchr(text.p, '\0', text.n) ? "a NUL byte in the text" : NULL;
}

static const char *check_body(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)text, (void)canonical;
    return NULL;
}

static const char *check_name(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return resource_name_is_valid(text) ? NULL : "not a valid name";
}

static const char *check_word(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return is_token(text) ? NULL : "not a single word";
}

static const char *check_file(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return text.n && !has_control(text) ? NULL : "not a path of a file";
}

/* Its length is for the key to bound, in digits. */
static const char *check_hex(struct arena *arena, struct str text, struct str *canonical) {
    for (size_t i = 0; i < text.n; i++)
        if (!isxdigit((unsigned char)text.p[i]))
            return "not hexadecimal digits";
    return text.n % 2 ? "half an octet is left over" : to_lower(arena, text, canonical);
}

const struct text_form text_hex = {"hex", "octets in hexadecimal such as 0a1b", "^([0-9A-Fa-f]{2})+$", check_hex, NULL};
const struct text_form text_any = {"text", "a text", NULL, check_any, NULL};
const struct text_form text_body = {"body", "a text", NULL, check_body, NULL};
const struct text_form text_name = {"name", "a name of letters, digits and - _ . : / @ *, at most 253 of them",
                                    "^[A-Za-z0-9._:/@*-]{1,253}$", check_name, NULL};
const struct text_form text_word = {"word", "a word of letters, digits and ! # $ % & ' * + - . ^ _ ` | ~",
                                    "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", check_word, NULL};
const struct text_form text_file = {"file", "the path of a file", NULL, check_file, NULL};

/* ---- addresses and hosts ---- */

static const char *format_address(struct arena *arena, const struct address *a, struct str *canonical) {
    char text[ADDRESS_TEXT_MAX];
    struct str copy = arena_str(arena, (struct str){text, address_format(a, text)});
    if (!copy.p)
        return text_no_memory;
    *canonical = copy;
    return NULL;
}

static const char *check_address(struct arena *arena, struct str text, struct str *canonical) {
    struct address a;
    if (has_control(text) || address_parse(text, &a) < 0)
        return "not an address";
    return format_address(arena, &a, canonical);
}

static const char *check_endpoint(struct arena *arena, struct str text, struct str *canonical) {
    struct address a;
    if (has_control(text) || address_parse(text, &a) < 0)
        return "not an address (names are for discovery)";
    if (a.u.any.sa_family != AF_UNIX && address_port(&a) == 0)
        return "port 0 cannot be connected to";
    return format_address(arena, &a, canonical);
}

static const char *check_udp(struct arena *arena, struct str text, struct str *canonical) {
    struct address a;
    if (address_parse(text, &a) < 0 || a.u.any.sa_family == AF_UNIX || address_port(&a) == 0)
        return "not an address that UDP can be sent to";
    return format_address(arena, &a, canonical);
}

static const char *check_prefix(struct arena *arena, struct str text, struct str *canonical) {
    struct prefix p;
    char formatted[PREFIX_TEXT_MAX];
    if (prefix_parse(text, &p) < 0)
        return "not a range of addresses";
    struct str copy = arena_str(arena, (struct str){formatted, prefix_format(&p, formatted)});
    if (!copy.p)
        return text_no_memory;
    *canonical = copy;
    return NULL;
}

/* The text in lower case as a host, and its port or 0. */
static const char *parse_host(struct arena *arena, struct str text, struct str *canonical, uint16_t *ret_port) {
    struct str host;
    char *lower = arena_memdup(arena, text.p, text.n + 1);
    if (!lower)
        return text_no_memory;
    if (authority_parse(lower, text.n, &host, ret_port) < 0)
        return "not a host";
    *canonical = (struct str){lower, text.n};
    return NULL;
}

static bool is_ascii(struct str text) {
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] >= 0x80)
            return false;
    return true;
}

/* With something in the place of the wildcard it is a host. Whether a port may stand there is for check_route_table. */
static const char *check_domain(struct arena *arena, struct str text, struct str *canonical) {
    uint16_t port;
    struct str lower;
    if (str_eq(text, STR("*")))
        return NULL;
    if (!is_ascii(text))
        return "not ASCII; write an international domain in its xn-- form";
    char *name = arena_memdup(arena, text.p, text.n + 1);
    if (!name)
        return text_no_memory;
    if (text.n > 1 && name[0] == '*')
        name[0] = 'x';
    else if (text.n > 1 && name[text.n - 1] == '*')
        name[text.n - 1] = 'x';
    const char *wrong = parse_host(arena, (struct str){name, text.n}, &lower, &port);
    if (wrong || str_ends(text, STR(".")))
        return wrong == text_no_memory ? wrong : "not a domain";
    return to_lower(arena, text, canonical);
}

static const char *check_host(struct arena *arena, struct str text, struct str *canonical) {
    uint16_t port;
    return parse_host(arena, text, canonical, &port);
}

static const char *check_dns_name(struct arena *arena, struct str text, struct str *canonical) {
    struct prefix ignored;
    uint16_t port;
    struct str lower;
    if (!is_ascii(text))
        return "not ASCII; write an international domain in its xn-- form";
    const char *wrong = parse_host(arena, text, &lower, &port);
    if (wrong || port || text.p[0] == '[' || str_ends(text, STR(".")))
        return wrong == text_no_memory ? wrong : "not a name of a host";
    if (prefix_parse(text, &ignored) == 0)
        return "an address is not a name";
    return to_lower(arena, text, canonical);
}

static const char *check_server_name(struct arena *arena, struct str text, struct str *canonical) {
    struct str rest = text, ignored;
    if (!str_starts(text, STR("*.")))
        return check_dns_name(arena, text, canonical);
    rest.p += 2;
    rest.n -= 2;
    const char *wrong = check_dns_name(arena, rest, &ignored);
    return wrong ? wrong : to_lower(arena, text, canonical);
}

/* Of a Service or namespace of Kubernetes: RFC 1123 section 2.1. */
static const char *check_dns_label(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    if (text.n == 0 || text.n > 63)
        return "between 1 and 63 characters are allowed";
    for (size_t i = 0; i < text.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", text.p[i]))
            return "only lower-case letters, digits and hyphens are allowed";
    return text.p[0] == '-' || text.p[text.n - 1] == '-' ? "a hyphen stands neither first nor last" : NULL;
}

static const char *check_service_port(struct arena *arena, struct str text, struct str *canonical) {
    uint64_t number;
    if (str_to_uint64(text, &number) < 0)
        return check_dns_label(arena, text, canonical);
    return number >= 1 && number <= 65535 ? NULL : "not a port";
}

static const char *check_scheme(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return str_eq(text, STR("http")) || str_eq(text, STR("https")) ? NULL : "not a scheme";
}

#define ADDRESS_PATTERN "^(unix:.+|\\[[0-9A-Fa-f:.]+\\]:[0-9]{1,5}|[0-9.]+:[0-9]{1,5})$"

const struct text_form text_address = {"address", "an address such as 0.0.0.0:8080, [::1]:8080 or unix:/run/x.sock",
                                       ADDRESS_PATTERN, check_address, NULL};
const struct text_form text_endpoint = {"endpoint-address", "an address such as 10.0.0.1:9001, [::1]:9001 or "
                                        "unix:/run/x.sock",
                                        ADDRESS_PATTERN, check_endpoint, NULL};
const struct text_form text_udp = {"udp-address", "an IP address with a port, such as 127.0.0.1:8125",
                                   "^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):[0-9]{1,5}$", check_udp, NULL};
const struct text_form text_prefix = {"prefix", "a range of addresses such as 10.0.0.0/8 or fd00::/8",
                                      "^([0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$", check_prefix, NULL};
const struct text_form text_dns_name = {"dns-name", "a name such as api.internal", "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$",
                                        check_dns_name, NULL};
const struct text_form text_server_name = {"server-name", "a name such as example.com or *.example.com",
                                           "^(\\*\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", check_server_name, NULL};
const struct text_form text_dns_label = {"dns-label", "a name such as api", "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
                                         check_dns_label, NULL};
const struct text_form text_service_port = {"service-port", "a name such as http, or a number",
                                            "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", check_service_port, NULL};
const struct text_form text_domain = {"domain", "a domain such as example.com, *.example.com or *",
                                      "^(\\*|\\*?[A-Za-z0-9_~.-]+\\*?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$",
                                      check_domain, NULL};
const struct text_form text_host = {"host", "a host such as example.com or example.com:8443", NULL, check_host, NULL};
const struct text_form text_scheme = {"scheme", "http or https", "^https?$", check_scheme, NULL};

/* ---- HTTP ---- */

static const char *check_location(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    if (text.n == 0 || text.p[0] != '/')
        return "a path begins with a slash";
    if (text.n > 1 && text.p[1] == '/')
        return "a path that begins with two slashes leads to another host";
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= 0x20 || (unsigned char)text.p[i] >= 0x7f || text.p[i] == '#' || text.p[i] == '\\')
            return "a path has no spaces, no #, no \\ and no bytes beyond ASCII";
    return NULL;
}

/* Whether it is in canonical form depends on the settings, and is found out by check_route_table. */
static const char *check_path(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    if (text.n == 0 || text.p[0] != '/')
        return "a path begins with a slash";
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= 0x20 || text.p[i] == '?' || text.p[i] == '#')
            return "a path has no spaces, no ? and no #";
    return NULL;
}

static const char *check_method(struct arena *arena, struct str text, struct str *canonical) {
    static const char *const standard[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    (void)arena, (void)canonical;
    if (!is_token(text) || text.n > 32)
        return "not a method";
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
        if (str_eq_nocase(text, str_of(standard[i])) && !str_eq(text, str_of(standard[i])))
            return "methods are written in upper case";
    return NULL;
}

static const char *check_field_name(struct arena *arena, struct str text, struct str *canonical) {
    if (!is_token(text) || text.n > 256)
        return "not a field name";
    return to_lower(arena, text, canonical);
}

static const char *check_condition_name(struct arena *arena, struct str text, struct str *canonical) {
    static const char *const own[] = {":method", ":authority", ":scheme", ":path"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (str_eq(text, str_of(own[i])))
            return NULL;
    return check_field_name(arena, text, canonical);
}

/* Fields that say where a message ends, or that belong to the connection, are ours alone. */
static const char *check_own_field_name(struct arena *arena, struct str text, struct str *canonical) {
    static const char *const reserved[] = {"connection", "content-length", "host", "keep-alive", "proxy-connection",
                                           "te", "trailer", "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (str_eq_nocase(text, str_of(reserved[i])))
            return "this field is set by the gateway alone";
    return check_field_name(arena, text, canonical);
}

/* What frames the request of a check or belongs to its connection is for the check to say. */
static const char *check_check_field_name(struct arena *arena, struct str text, struct str *canonical) {
    static const struct { const char *name, *instead; } reserved[] = {
        {"host", "the Host of a check is the key host, beside headers"},
        {"content-length", "a check has no body, and says so itself"},
        {"transfer-encoding", "a check has no body, and says so itself"},
        {"trailer", "a check has no body, and says so itself"},
        {"te", "a check says itself what it takes"},
        {"connection", "a check keeps its connection, or closes it, by itself"},
        {"keep-alive", "a check keeps its connection, or closes it, by itself"},
        {"proxy-connection", "a check keeps its connection, or closes it, by itself"},
        {"upgrade", "the protocol of a check is the cluster's protocol"},
    };
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (str_eq_nocase(text, str_of(reserved[i].name)))
            return reserved[i].instead;
    return check_field_name(arena, text, canonical);
}

static const char *check_field_value(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    for (size_t i = 0; i < text.n; i++)
        if (((unsigned char)text.p[i] < 0x20 && text.p[i] != '\t') || text.p[i] == 0x7f)
            return "a field value has no line ends, no NUL and no other control characters";
    return str_trim(text).n == text.n ? NULL : "a field value has no space at its ends";
}

static const char *check_upgrade(struct arena *arena, struct str text, struct str *canonical) {
    if (!is_token(text))
        return "not the name of a protocol";
    return to_lower(arena, text, canonical);
}

static const char *check_substitution(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    for (size_t i = 0; i < text.n; i++) {
        if (has_control((struct str){text.p + i, 1}) || text.p[i] == ' ')
            return "a path has no spaces and no control characters";
        if (text.p[i] == '\\' && (++i == text.n || !(isdigit((unsigned char)text.p[i]) || text.p[i] == '\\')))
            return "\\ is followed by a digit or another \\";
    }
    return NULL;
}

const struct text_form text_path = {"path", "a path such as /api/", "^/[^ ?#]*$", check_path, NULL};
const struct text_form text_location = {"location", "a path such as /new, with a query where wanted", "^/[^ #]*$",
                                        check_location, NULL};
const struct text_form text_method = {"method", "a method such as GET or POST", "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}$",
                                      check_method, NULL};
const struct text_form text_field_name = {"field-name", "a field name such as x-canary", "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
                                          check_field_name, NULL};
const struct text_form text_condition_name = {"condition-name", "a field name such as x-canary, or :method, :authority, "
                                              ":scheme or :path",
                                              "^(:(method|authority|scheme|path)|[A-Za-z0-9!#$%&'*+.^_`|~-]+)$",
                                              check_condition_name, NULL};
const struct text_form text_own_field_name = {"response-field-name", "a field name such as cache-control",
                                              "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", check_own_field_name, NULL};
const struct text_form text_check_field_name = {"check-field-name", "a field name such as x-canary",
                                                "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", check_check_field_name, NULL};
const struct text_form text_field_value = {"field-value", "a field value on one line", NULL, check_field_value, NULL};
const struct text_form text_substitution = {"substitution", "a path in which \\1 is the first group of the regex", NULL,
                                            check_substitution, NULL};
const struct text_form text_upgrade = {"upgrade", "the name of a protocol such as websocket, or *",
                                       "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", check_upgrade, NULL};
