/* hello.h — the server name of a ClientHello that comes in the CRYPTO frames of Initial packets, in any order. Pure. Thread:
 * any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

/* So many octets of handshake are looked at. A ClientHello has 300 to 2000. */
enum { PASS_HELLO_MAX = 16384 };

/* What has come of it. A zeroed struct is valid. */
struct pass_hello {
    size_t  n;                              /* octets that have come without a gap */
    uint8_t has[PASS_HELLO_MAX / 8];        /* bit by octet */
    uint8_t bytes[PASS_HELLO_MAX];
};

enum pass_frames { PASS_FRAMES_TAKEN, PASS_FRAMES_MALFORMED, PASS_FRAMES_TOO_MUCH };

/* Takes the frames of a client's Initial packet (RFC 9000 sections 12.4 and 19). */
enum pass_frames pass_hello_take(struct pass_hello *, const uint8_t *frames, size_t n);

enum pass_verdict {
    PASS_NAME_MORE,                         /* to come before anything can be said */
    PASS_NAME_FOUND,
    PASS_NAME_NONE,                         /* the client names no server */
    PASS_NAME_MALFORMED,                    /* no ClientHello (RFC 8446 section 4.1.2), or a bad name (RFC 6066 section 3) */
};

/* A verdict other than MORE is final, however much follows. The name points into `bytes`, as the client wrote it. */
enum pass_verdict pass_hello_name(const uint8_t *bytes, size_t n, struct str *ret_name);
