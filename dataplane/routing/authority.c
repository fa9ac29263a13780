#include "dataplane/routing/authority.h"

#include <arpa/inet.h>

enum { HOST_MAX = 255 };

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* Length of the name or address at the start of text, 0 when there is none. */
static size_t name_length(char *text, size_t n) {
    size_t i = 0;
    for (; i < n; i++) {
        text[i] = lower(text[i]);
        if (!is_name_byte(text[i]))
            break;
        if (text[i] == '.' && (i == 0 || text[i - 1] == '.'))
            return 0; /* an empty label */
    }
    return i <= HOST_MAX ? i : 0;
}

static size_t ipv6_length(char *text, size_t n) {
    char copy[INET6_ADDRSTRLEN];
    size_t i = 1;
    for (; i < n && text[i] != ']'; i++) {
        if (i >= sizeof copy)
            return 0;
        copy[i - 1] = text[i] = lower(text[i]);
    }
    if (i == n)
        return 0;
    copy[i - 1] = '\0';
    struct in6_addr parsed;
    if (memchr(copy, '\0', i) != copy + i - 1 || inet_pton(AF_INET6, copy, &parsed) != 1)
        return 0;
    return i + 1;
}

/* ":8080" or nothing. */
static int parse_port(const char *text, size_t n, uint16_t *ret) {
    uint64_t port = 0;
    if (n == 0) {
        *ret = 0;
        return 0;
    }
    if (text[0] != ':' || n > 6 || str_to_uint64((struct str){text + 1, n - 1}, &port) || port == 0 || port > UINT16_MAX)
        return -1;
    *ret = (uint16_t)port;
    return 0;
}

int authority_parse(char *text, size_t n, struct str *ret_host, uint16_t *ret_port) {
    if (n == 0)
        return -1;
    size_t host = text[0] == '[' ? ipv6_length(text, n) : name_length(text, n);
    if (host == 0 || parse_port(text + host, n - host, ret_port))
        return -1;
    *ret_host = (struct str){text, host};
    return 0;
}
