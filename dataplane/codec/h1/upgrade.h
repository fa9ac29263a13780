/* upgrade.h — what both sides of HTTP/1.1 do for Upgrade (RFC 9110 section 7.8), WebSocket's keys above all (RFC 6455
 * section 4).
 *
 * The key of a WebSocket handshake belongs to one connection: the client's is answered here, and the origin gets one of
 * ours. */
#pragma once

#include "dataplane/http/head.h"
#include "dataplane/http/websocket.h"

struct worker;

/* Decides whether a request asks for an upgrade, and takes the client's key off its head. *ret_key: what is to be answered,
 * empty for other protocols than WebSocket. A request with content, or without one good key, asks for nothing. */
void h1_upgrade_read(struct head *request, bool has_content, struct str *ret_key);
/* Adds the answer to the client's key; `head` is our own copy. 0, or -1 without memory. */
int  h1_upgrade_answer(struct head *head, struct arena *arena, struct str key);
/* Adds a key of ours; `head` is our own copy. *ret_accept: what the origin must answer. 0, or -1 without memory. */
int  h1_upgrade_ask(struct head *head, struct arena *arena, struct worker *w, struct str *ret_accept);
/* Whether a 101 agrees to what was asked. Takes the origin's answer off the head. */
bool h1_upgrade_agreed(struct head *response, struct str asked, struct str accept);
