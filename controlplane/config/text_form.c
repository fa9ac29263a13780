#include "controlplane/config/text_form.h"

#include <ctype.h>
#include <stdio.h>

#include "common/address.h"
#include "proto/resource.h"

/* RFC 9110 section 5.6.2: tchar. */
static bool is_token_char(char c) {
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct str text) {
    for (size_t i = 0; i < text.n; i++)
        if (!is_token_char(text.p[i]))
            return false;
    return text.n > 0;
}

static const char *to_lower(struct arena *arena, struct str text, struct str *canonical) {
    char *lower = arena_memdup(arena, text.p, text.n + 1);
    if (!lower)
        return "out of memory";
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

const struct text_form text_any = {"text", "a text", NULL, check_any};
const struct text_form text_body = {"body", "a text", NULL, check_body};
const struct text_form text_name = {"name", "a name of letters, digits and - _ . : / @ *, at most 253 of them",
                                    "^[A-Za-z0-9._:/@*-]{1,253}$", check_name};
const struct text_form text_word = {"word", "a word of letters, digits and ! # $ % & ' * + - . ^ _ ` | ~",
                                    "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", check_word};
const struct text_form text_file = {"file", "the path of a file", NULL, check_file};

/* ---- addresses and hosts ---- */

static const char *format_address(struct arena *arena, const struct address *a, struct str *canonical) {
    char text[ADDRESS_TEXT_MAX];
    struct str copy = arena_str(arena, (struct str){text, address_format(a, text)});
    if (!copy.p)
        return "out of memory";
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
        return "not an address (names are not resolved by this version)";
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

/* Labels of 1 to 63 letters, digits, - and _, at most 253 bytes, no empty label. */
static bool is_host_name(struct str text) {
    if (text.n == 0 || text.n > 253)
        return false;
    while (text.p) {
        struct str label = str_cut(&text, '.');
        if (label.n == 0 || label.n > 63)
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (!isalnum((unsigned char)label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
                return false;
    }
    return true;
}

static bool is_ascii(struct str text) {
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] >= 0x80)
            return false;
    return true;
}

static const char *check_domain(struct arena *arena, struct str text, struct str *canonical) {
    if (str_eq(text, STR("*")))
        return NULL;
    if (!is_ascii(text))
        return "not ASCII; write an international domain in its xn-- form";
    struct str name = text;
    if (str_starts(name, STR("*.")))
        name = (struct str){text.p + 2, text.n - 2};
    if (memchr(text.p, ':', text.n))
        return "a domain is written without a port";
    return is_host_name(name) ? to_lower(arena, text, canonical) : "not a domain";
}

static bool is_v6_literal(struct str text) {
    char with_port[64];
    struct address a;
    int n = snprintf(with_port, sizeof with_port, "%.*s:1", (int)(text.n < 50 ? text.n : 50), text.p);
    return text.n && text.p[0] == '[' && address_parse((struct str){with_port, (size_t)n}, &a) == 0;
}

static bool is_port(struct str text) {
    uint64_t port;
    return text.n <= 5 && str_to_uint64(text, &port) == 0 && port > 0 && port <= 65535;
}

static const char *check_host(struct arena *arena, struct str text, struct str *canonical) {
    const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
    struct str host = text;
    if (colon && !(text.p[0] == '[' && text.p[text.n - 1] == ']')) {
        host.n = (size_t)(colon - text.p);
        if (!is_port((struct str){colon + 1, text.n - host.n - 1}))
            return "not a host: the port is wrong";
    }
    return is_host_name(host) || is_v6_literal(host) ? to_lower(arena, text, canonical) : "not a host";
}

static const char *check_scheme(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return str_eq(text, STR("http")) || str_eq(text, STR("https")) ? NULL : "not a scheme";
}

#define ADDRESS_PATTERN "^(unix:.+|\\[[0-9A-Fa-f:.]+\\]:[0-9]{1,5}|[0-9.]+:[0-9]{1,5})$"

const struct text_form text_address = {"address", "an address such as 0.0.0.0:8080, [::1]:8080 or unix:/run/x.sock",
                                       ADDRESS_PATTERN, check_address};
const struct text_form text_endpoint = {"endpoint-address", "an address such as 10.0.0.1:9001, [::1]:9001 or "
                                        "unix:/run/x.sock",
                                        ADDRESS_PATTERN, check_endpoint};
const struct text_form text_udp = {"udp-address", "an IP address with a port, such as 127.0.0.1:8125",
                                   "^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):[0-9]{1,5}$", check_udp};
const struct text_form text_domain = {"domain", "a domain such as example.com, *.example.com or *",
                                      "^(\\*|(\\*\\.)?[A-Za-z0-9_-]{1,63}(\\.[A-Za-z0-9_-]{1,63})*)$", check_domain};
const struct text_form text_host = {"host", "a host such as example.com or example.com:8443", NULL, check_host};
const struct text_form text_scheme = {"scheme", "http or https", "^https?$", check_scheme};

/* ---- HTTP ---- */

static const char *check_path(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    if (text.n == 0 || text.p[0] != '/')
        return "a path begins with a slash";
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= 0x20 || (unsigned char)text.p[i] >= 0x7f || strchr("?#\"<>\\^`{|}", text.p[i]))
            return "a path has no spaces, no ? or #, and other than plain characters are percent-encoded";
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

/* Fields that say where a message ends, or that belong to the connection, are ours alone. */
static const char *check_own_field_name(struct arena *arena, struct str text, struct str *canonical) {
    static const char *const reserved[] = {"connection", "content-length", "keep-alive", "proxy-connection",
                                           "te", "trailer", "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (str_eq_nocase(text, str_of(reserved[i])))
            return "this field is set by the gateway alone";
    return check_field_name(arena, text, canonical);
}

static const char *check_field_value(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    for (size_t i = 0; i < text.n; i++)
        if (((unsigned char)text.p[i] < 0x20 && text.p[i] != '\t') || text.p[i] == 0x7f)
            return "a field value has no line ends, no NUL and no other control characters";
    return str_trim(text).n == text.n ? NULL : "a field value has no space at its ends";
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

const struct text_form text_path = {"path", "a path such as /api/", "^/[^ ?#]*$", check_path};
const struct text_form text_method = {"method", "a method such as GET or POST", "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}$",
                                      check_method};
const struct text_form text_field_name = {"field-name", "a field name such as x-canary", "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
                                          check_field_name};
const struct text_form text_own_field_name = {"response-field-name", "a field name such as cache-control",
                                              "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", check_own_field_name};
const struct text_form text_field_value = {"field-value", "a field value on one line", NULL, check_field_value};
const struct text_form text_substitution = {"substitution", "a path in which \\1 is the first group of the regex", NULL,
                                            check_substitution};
