/* websocket.h — the handshake of RFC 6455 section 4, which HTTP/1.1 only has. Thread: any. */
#pragma once

#include "common/str.h"

enum { WEBSOCKET_KEY_SIZE = 24, WEBSOCKET_ACCEPT_SIZE = 28 };

/* The text of a Sec-WebSocket-Key from 16 random bytes. */
void websocket_key(const unsigned char random[16], char ret[WEBSOCKET_KEY_SIZE]);
/* What Sec-WebSocket-Accept must say to this key. 0, or -1 without memory. */
int  websocket_accept(struct str key, char ret[WEBSOCKET_ACCEPT_SIZE]);
