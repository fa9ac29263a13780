#include "dataplane/routing/authority.h"

#include <arpa/inet.h>

enum { HOST_MAX = 255 };

#define SAME(c)  [c] = (c)
#define LOWER(c) [c] = (c) | 0x20

/* A byte of a name in lower case; 0 for what no name holds. */
static const uint8_t name_lower[256] = {
    SAME('-'),  SAME('.'),  SAME('_'),  SAME('~'),  SAME('0'),  SAME('1'),  SAME('2'),  SAME('3'),  SAME('4'),
    SAME('5'),  SAME('6'),  SAME('7'),  SAME('8'),  SAME('9'),  SAME('a'),  SAME('b'),  SAME('c'),  SAME('d'),
    SAME('e'),  SAME('f'),  SAME('g'),  SAME('h'),  SAME('i'),  SAME('j'),  SAME('k'),  SAME('l'),  SAME('m'),
    SAME('n'),  SAME('o'),  SAME('p'),  SAME('q'),  SAME('r'),  SAME('s'),  SAME('t'),  SAME('u'),  SAME('v'),
    SAME('w'),  SAME('x'),  SAME('y'),  SAME('z'),  LOWER('A'), LOWER('B'), LOWER('C'), LOWER('D'), LOWER('E'),
    LOWER('F'), LOWER('G'), LOWER('H'), LOWER('I'), LOWER('J'), LOWER('K'), LOWER('L'), LOWER('M'), LOWER('N'),
    LOWER('O'), LOWER('P'), LOWER('Q'), LOWER('R'), LOWER('S'), LOWER('T'), LOWER('U'), LOWER('V'), LOWER('W'),
    LOWER('X'), LOWER('Y'), LOWER('Z'),
};

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Length of the name or address at the start of text, 0 when there is none. */
static size_t name_length(char *text, size_t n) {
    size_t i = 0;
    char before = '.', c;
    for (; i < n && (c = (char)name_lower[(uint8_t)text[i]]); i++) {
        if (c == '.' && before == '.')
            return 0; /* an empty label */
        text[i] = before = c;
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
    unsigned port = 0;
    if (n == 0) {
        *ret = 0;
        return 0;
    }
    if (text[0] != ':' || n > 6)
        return -1;
    for (size_t i = 1; i < n; i++) {
        unsigned digit = (uint8_t)(text[i] - '0');
        if (digit > 9)
            return -1;
        port = port * 10 + digit;
    }
    if (port == 0 || port > UINT16_MAX)
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
