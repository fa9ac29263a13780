/* address.h — socket addresses as users write them. Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

#include "common/str.h"

/* An IPv4, IPv6 or Unix-domain socket address. Zeroed: none (family AF_UNSPEC). */
struct address {
    socklen_t length;
    union {
        struct sockaddr     any;
        struct sockaddr_in  v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un  un;
    } u;
};

enum { ADDRESS_TEXT_MAX = 128 };

/* "127.0.0.1:8080", "[::1]:8080", "[::]:443", "unix:/run/x.sock", "unix:@abstract". The port is required,
 * decimal, 0..65535. Never resolves names. Returns 0, or -1 and leaves *ret untouched. */
int  address_parse(struct str text, struct address *ret);
/* The same text back, in canonical form; writes at most ADDRESS_TEXT_MAX bytes with the NUL. Returns the
 * length. */
size_t address_format(const struct address *a, char text[ADDRESS_TEXT_MAX]);
/* Only the host part ("127.0.0.1", "::1", "unix:"); same bounds. */
size_t address_format_host(const struct address *a, char text[ADDRESS_TEXT_MAX]);
/* The address in "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:80", without
 * brackets and port: a part of `text`. Empty when that is something else. */
struct str address_host_in(struct str text);
bool address_equal(const struct address *a, const struct address *b);
/* The bytes of `a` by which it is told from others, as the key of a map (map.h). Of addresses that address_parse made. */
struct str address_key(const struct address *a);
unsigned address_port(const struct address *a); /* host byte order; 0 for Unix-domain */
bool address_is_loopback(const struct address *a);
/* ::ffff:192.0.2.1 becomes 192.0.2.1: who came by IPv4 to an IPv6 socket is known by the IPv4 address. */
void address_unmap(struct address *a);
