#include "common/address.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>

static int parse_port(struct str text, in_port_t *ret) {
    uint64_t port;
    if (text.n > 5 || str_to_uint64(text, &port) < 0 || port > 65535)
        return -1;
    *ret = htons((uint16_t)port);
    return 0;
}

static int parse_unix(struct str path, struct address *ret) {
    struct address a = {.u.un = {.sun_family = AF_UNIX}};
    if (path.n == 0 || path.n >= sizeof a.u.un.sun_path || memchr(path.p, '\0', path.n))
        return -1;
    memcpy(a.u.un.sun_path, path.p, path.n);
    bool is_abstract = path.p[0] == '@';
    if (is_abstract && path.n == 1)
        return -1;
    if (is_abstract)
        a.u.un.sun_path[0] = '\0';
    a.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + !is_abstract);
    *ret = a;
    return 0;
}

static int parse_host(int family, struct str host, void *ret) {
    char text[INET6_ADDRSTRLEN];
    if (host.n == 0 || host.n >= sizeof text || memchr(host.p, '\0', host.n))
        return -1;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(family, text, ret) == 1 ? 0 : -1;
}

static int parse_v6(struct str text, struct address *ret) {
    const char *close = memchr(text.p, ']', text.n);
    if (!close || close + 1 >= text.p + text.n || close[1] != ':')
        return -1;
    struct address a = {.length = sizeof a.u.v6, .u.v6 = {.sin6_family = AF_INET6}};
    struct str host = {text.p + 1, (size_t)(close - text.p - 1)};
    struct str port = {close + 2, (size_t)(text.p + text.n - close - 2)};
    if (parse_host(AF_INET6, host, &a.u.v6.sin6_addr) < 0 || parse_port(port, &a.u.v6.sin6_port) < 0)
        return -1;
    *ret = a;
    return 0;
}

int address_parse(struct str text, struct address *ret) {
    if (str_starts(text, STR("unix:")))
        return parse_unix((struct str){text.p + 5, text.n - 5}, ret);
    if (text.n && text.p[0] == '[')
        return parse_v6(text, ret);
    struct address a = {.length = sizeof a.u.v4, .u.v4 = {.sin_family = AF_INET}};
    struct str host = str_cut(&text, ':');
    if (!text.p || parse_host(AF_INET, host, &a.u.v4.sin_addr) < 0 || parse_port(text, &a.u.v4.sin_port) < 0)
        return -1;
    *ret = a;
    return 0;
}

struct str address_host_in(struct str text) {
    const struct str nothing = {NULL, 0};
    struct in6_addr any;
    struct address with_port;
    if (parse_host(AF_INET, text, &any) == 0 || parse_host(AF_INET6, text, &any) == 0)
        return text;
    bool is_bracketed = text.n > 1 && text.p[0] == '[';
    struct str rest = is_bracketed ? (struct str){text.p + 1, text.n - 1} : text;
    struct str host = str_cut(&rest, is_bracketed ? ']' : ':');
    if (is_bracketed && rest.p && rest.n == 0)
        return parse_host(AF_INET6, host, &any) == 0 ? host : nothing;
    return str_starts(text, STR("unix:")) || address_parse(text, &with_port) < 0 ? nothing : host;
}

static size_t format_unix(const struct address *a, char *text) {
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t n = a->length > head ? a->length - head : 0;
    const char *path = a->u.un.sun_path;
    if (n && path[0] == '\0')
        return (size_t)snprintf(text, ADDRESS_TEXT_MAX, "unix:@%.*s", (int)n - 1, path + 1);
    return (size_t)snprintf(text, ADDRESS_TEXT_MAX, "unix:%.*s", (int)strnlen(path, n), path);
}

size_t address_format_host(const struct address *a, char text[ADDRESS_TEXT_MAX]) {
    text[0] = '\0';
    if (a->u.any.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->u.v4.sin_addr, text, ADDRESS_TEXT_MAX);
    else if (a->u.any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &a->u.v6.sin6_addr, text, ADDRESS_TEXT_MAX);
    else if (a->u.any.sa_family == AF_UNIX)
        memcpy(text, "unix:", sizeof "unix:");
    return strlen(text);
}

size_t address_format(const struct address *a, char text[ADDRESS_TEXT_MAX]) {
    char host[ADDRESS_TEXT_MAX];
    if (a->u.any.sa_family == AF_UNIX)
        return format_unix(a, text);
    address_format_host(a, host);
    const char *form = a->u.any.sa_family == AF_INET6 ? "[%.100s]:%u" : "%.100s:%u";
    return (size_t)snprintf(text, ADDRESS_TEXT_MAX, form, host, address_port(a));
}

bool address_equal(const struct address *a, const struct address *b) {
    if (a->u.any.sa_family != b->u.any.sa_family)
        return false;
    if (a->u.any.sa_family == AF_INET)
        return a->u.v4.sin_port == b->u.v4.sin_port && a->u.v4.sin_addr.s_addr == b->u.v4.sin_addr.s_addr;
    if (a->u.any.sa_family == AF_INET6)
        return a->u.v6.sin6_port == b->u.v6.sin6_port &&
               memcmp(&a->u.v6.sin6_addr, &b->u.v6.sin6_addr, sizeof a->u.v6.sin6_addr) == 0;
    return a->length == b->length && memcmp(&a->u, &b->u, a->length) == 0;
}

struct str address_key(const struct address *a) {
    size_t n = a->u.any.sa_family == AF_INET    ? offsetof(struct sockaddr_in, sin_addr) + sizeof a->u.v4.sin_addr
               : a->u.any.sa_family == AF_INET6 ? offsetof(struct sockaddr_in6, sin6_addr) + sizeof a->u.v6.sin6_addr
                                                : a->length;
    return (struct str){(const char *)&a->u, n};
}

unsigned address_port(const struct address *a) {
    if (a->u.any.sa_family == AF_INET)
        return ntohs(a->u.v4.sin_port);
    return a->u.any.sa_family == AF_INET6 ? ntohs(a->u.v6.sin6_port) : 0;
}

bool address_is_loopback(const struct address *a) {
    if (a->u.any.sa_family == AF_INET)
        return ntohl(a->u.v4.sin_addr.s_addr) >> 24 == 127;
    if (a->u.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&a->u.v6.sin6_addr);
    return a->u.any.sa_family == AF_UNIX;
}

void address_unmap(struct address *a) {
    if (a->u.any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->u.v6.sin6_addr))
        return;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = a->u.v6.sin6_port};
    memcpy(&v4.sin_addr, a->u.v6.sin6_addr.s6_addr + 12, sizeof v4.sin_addr);
    a->u.v4 = v4;
    a->length = sizeof v4;
}
