#include "dataplane/net/proxy_protocol.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
enum { V2_HEAD = 16, V1_MAX = 107, COMMAND_LOCAL = 0, COMMAND_PROXY = 1, FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21 };

static struct address ipv4(const uint8_t bytes[4], uint16_t port) {
    struct address a = {.length = sizeof a.u.v4, .u.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    memcpy(&a.u.v4.sin_addr, bytes, 4);
    return a;
}

static struct address ipv6(const uint8_t bytes[16], uint16_t port) {
    struct address a = {.length = sizeof a.u.v6, .u.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    memcpy(&a.u.v6.sin6_addr, bytes, 16);
    return a;
}

static uint16_t number(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* ---- version 2 ---- */

static int read_v2(const uint8_t *bytes, size_t n, struct proxy_header *ret) {
    if (n < V2_HEAD)
        return 0;
    unsigned version = bytes[12] >> 4, command = bytes[12] & 15, family = bytes[13];
    size_t length = number(bytes + 14);
    if (version != 2 || command > COMMAND_PROXY || V2_HEAD + length > PROXY_HEADER_MAX)
        return -1;
    if (n < V2_HEAD + length)
        return 0;
    const uint8_t *p = bytes + V2_HEAD;
    *ret = (struct proxy_header){0};
    if (command == COMMAND_PROXY && (family == FAMILY_TCP4 || family == FAMILY_TCP6)) {
        size_t size = family == FAMILY_TCP4 ? 4 : 16;
        if (length < 2 * size + 4)
            return -1;
        uint16_t from = number(p + 2 * size), to = number(p + 2 * size + 2);
        ret->has_addresses = true;
        ret->source = size == 4 ? ipv4(p, from) : ipv6(p, from);
        ret->destination = size == 4 ? ipv4(p + 4, to) : ipv6(p + 16, to);
    }
    return (int)(V2_HEAD + length);
}

/* ---- version 1 ---- */

/* The next word of the line, ended by one space or by the line's end; after the last one the line is NULL. */
static bool take_word(struct str *line, struct str *ret) {
    *ret = str_cut(line, ' ');
    return ret->n > 0;
}

static bool read_address(struct str text, int family, uint8_t bytes[16]) {
    char copy[INET6_ADDRSTRLEN];
    if (text.n >= sizeof copy)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    return inet_pton(family, copy, bytes) == 1;
}

static bool read_port(struct str text, uint16_t *ret) {
    unsigned value = 0;
    if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0'))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.p[i] - '0');
    }
    *ret = (uint16_t)value;
    return value <= UINT16_MAX;
}

static bool read_line(struct str line, struct proxy_header *ret) {
    struct str word, from, to, from_port, to_port;
    uint8_t a[16], b[16];
    uint16_t p, q;
    *ret = (struct proxy_header){0};
    if (!take_word(&line, &word))
        return false;
    if (str_eq(word, STR("UNKNOWN")))
        return true;
    int family = str_eq(word, STR("TCP4")) ? AF_INET : str_eq(word, STR("TCP6")) ? AF_INET6 : AF_UNSPEC;
    if (family == AF_UNSPEC || !take_word(&line, &from) || !take_word(&line, &to) || !take_word(&line, &from_port) ||
        !take_word(&line, &to_port) || line.p)
        return false;
    if (!read_address(from, family, a) || !read_address(to, family, b) || !read_port(from_port, &p) ||
        !read_port(to_port, &q))
        return false;
    ret->has_addresses = true;
    ret->source = family == AF_INET ? ipv4(a, p) : ipv6(a, p);
    ret->destination = family == AF_INET ? ipv4(b, q) : ipv6(b, q);
    return true;
}

static int read_v1(const uint8_t *bytes, size_t n, struct proxy_header *ret) {
    size_t most = n < V1_MAX ? n : V1_MAX;
    const uint8_t *end = memchr(bytes, '\n', most);
    if (!end)
        return most == V1_MAX ? -1 : 0;
    if (end - bytes < 7 || end[-1] != '\r')
        return -1;
    struct str line = {(const char *)bytes + 6, (size_t)(end - bytes) - 7};
    return read_line(line, ret) ? (int)(end - bytes) + 1 : -1;
}

int proxy_header_read(const uint8_t *bytes, size_t n, struct proxy_header *ret) {
    if (memcmp(bytes, signature, n < sizeof signature ? n : sizeof signature) == 0)
        return n < sizeof signature ? 0 : read_v2(bytes, n, ret);
    if (memcmp(bytes, "PROXY ", n < 6 ? n : 6) == 0)
        return n < 6 ? 0 : read_v1(bytes, n, ret);
    return -1;
}

/* ---- writing ---- */

static bool is_ip(const struct address *a) {
    return a->u.any.sa_family == AF_INET || a->u.any.sa_family == AF_INET6;
}

/* A header has one family: beside an IPv6 address an IPv4 address is written in its mapped form. */
static struct address widened(const struct address *a) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t bytes[16];
    if (a->u.any.sa_family == AF_INET6)
        return *a;
    memcpy(bytes, mapped, sizeof mapped);
    memcpy(bytes + sizeof mapped, &a->u.v4.sin_addr, 4);
    return ipv6(bytes, (uint16_t)address_port(a));
}

static size_t write_v1(const struct address *from, const struct address *to, char *room) {
    if (!from)
        return (size_t)sprintf(room, "PROXY UNKNOWN\r\n");
    char a[ADDRESS_TEXT_MAX], b[ADDRESS_TEXT_MAX];
    address_format_host(from, a);
    address_format_host(to, b);
    const char *family = from->u.any.sa_family == AF_INET ? "TCP4" : "TCP6";
    return (size_t)snprintf(room, PROXY_WRITTEN_MAX, "PROXY %s %s %s %u %u\r\n", family, a, b, address_port(from),
                            address_port(to));
}

static size_t put_addresses(uint8_t *p, const struct address *from, const struct address *to) {
    bool is_v4 = from->u.any.sa_family == AF_INET;
    size_t size = is_v4 ? 4 : 16;
    memcpy(p, is_v4 ? (const void *)&from->u.v4.sin_addr : (const void *)&from->u.v6.sin6_addr, size);
    memcpy(p + size, is_v4 ? (const void *)&to->u.v4.sin_addr : (const void *)&to->u.v6.sin6_addr, size);
    memcpy(p + 2 * size, is_v4 ? &from->u.v4.sin_port : &from->u.v6.sin6_port, 2);
    memcpy(p + 2 * size + 2, is_v4 ? &to->u.v4.sin_port : &to->u.v6.sin6_port, 2);
    return 2 * size + 4;
}

static size_t write_v2(const struct address *from, const struct address *to, uint8_t *room) {
    size_t length = from ? put_addresses(room + V2_HEAD, from, to) : 0;
    memcpy(room, signature, sizeof signature);
    room[12] = from ? 0x20 | COMMAND_PROXY : 0x20 | COMMAND_LOCAL;
    room[13] = !from ? 0 : from->u.any.sa_family == AF_INET ? FAMILY_TCP4 : FAMILY_TCP6;
    room[14] = 0;
    room[15] = (uint8_t)length;
    return V2_HEAD + length;
}

size_t proxy_header_write(int version, const struct address *source, const struct address *destination,
                          uint8_t room[PROXY_WRITTEN_MAX]) {
    bool is_known = is_ip(source) && is_ip(destination);
    const struct address *from = is_known ? source : NULL, *to = is_known ? destination : NULL;
    struct address wide_from, wide_to;
    if (is_known && source->u.any.sa_family != destination->u.any.sa_family) {
        wide_from = widened(source);
        wide_to = widened(destination);
        from = &wide_from;
        to = &wide_to;
    }
    return version == 1 ? write_v1(from, to, (char *)room) : write_v2(from, to, room);
}

/* ---- trust ---- */

static bool to_bytes(const struct address *a, uint8_t bytes[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->u.any.sa_family == AF_INET6) {
        memcpy(bytes, &a->u.v6.sin6_addr, 16);
        return true;
    }
    memcpy(bytes, mapped, sizeof mapped);
    memcpy(bytes + 12, &a->u.v4.sin_addr, 4);
    return a->u.any.sa_family == AF_INET;
}

static bool has_prefix(const uint8_t bytes[16], const struct proxy_prefix *p) {
    unsigned whole = p->bits / 8, rest = p->bits % 8;
    if (memcmp(bytes, p->bytes, whole) != 0)
        return false;
    return rest == 0 || (bytes[whole] ^ p->bytes[whole]) >> (8 - rest) == 0;
}

bool proxy_is_trusted(const struct proxy_trust *trust, const struct address *peer) {
    uint8_t bytes[16];
    if (peer->u.any.sa_family == AF_UNIX)
        return trust->unix_sockets;
    if (!to_bytes(peer, bytes))
        return false;
    for (size_t i = 0; i < trust->count; i++)
        if (has_prefix(bytes, &trust->prefixes[i]))
            return true;
    return false;
}

int proxy_prefix_parse(struct str text, struct proxy_prefix *ret, bool *ret_unix) {
    if (str_eq(text, STR("unix:"))) {
        *ret_unix = true;
        return 0;
    }
    const char *slash = memchr(text.p, '/', text.n);
    struct str host = {text.p, slash ? (size_t)(slash - text.p) : text.n};
    struct str width = {slash ? slash + 1 : text.p, slash ? text.n - host.n - 1 : 0};
    bool is_v6 = memchr(host.p, ':', host.n) != NULL;
    uint16_t bits = is_v6 ? 128 : 32;
    uint8_t bytes[16] = {0};
    if (!read_address(host, is_v6 ? AF_INET6 : AF_INET, bytes) || (slash && !read_port(width, &bits)) ||
        bits > (is_v6 ? 128 : 32))
        return -1;
    struct address a = is_v6 ? ipv6(bytes, 0) : ipv4(bytes, 0);
    to_bytes(&a, ret->bytes);
    ret->bits = is_v6 ? bits : bits + 96u;
    return 0;
}
