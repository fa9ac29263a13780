/* authority.h — "host" or "host:port" as Host, :authority and an absolute target carry it.
 *
 * Stricter than RFC 3986 where two parsers could differ: a name is labels of letters, digits, "-", "_" and "~" between
 * single dots (one dot may end it), at most 255 bytes; an address is IPv4 in that spelling or IPv6 in brackets without a
 * zone; a port is 1 to 5 digits with a value of 1..65535. No userinfo, no percent escape, no list. Thread: any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"

/* Lower-cases text in place. Returns 0, or -1 when it is not valid (the text may then be half lower-case).
 * *ret_host: the text without the port; *ret_port: 0 when there is none. */
int authority_parse(char *text, size_t n, struct str *ret_host, uint16_t *ret_port);
