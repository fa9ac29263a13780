/* writer.h — HTTP/1.1 heads and trailers as bytes.
 *
 * What frames the message and what concerns the connection is written from the typed members of the head, never from its
 * fields, so that a message cannot carry two opinions about its end: Host (authority), Content-Length
 * (content_length), Transfer-Encoding (chunked), Upgrade (upgrade), TE (te_trailers), Connection (the argument).
 * Fields with FIELD_HOP_BY_HOP, Host and Content-Length in head->fields are skipped. Fields that Connection
 * nominated are the caller's to remove (head_remove_hop_by_hop). Test builds assert that no value holds CR, LF
 * or NUL. Thread: any. */
#pragma once

#include <stddef.h>

#include "dataplane/http/head.h"

enum h1_connection {
    H1_CONNECTION_DEFAULT,    /* no Connection field: persistent in HTTP/1.1 */
    H1_CONNECTION_CLOSE,
    H1_CONNECTION_KEEP_ALIVE, /* towards an HTTP/1.0 client */
    H1_CONNECTION_UPGRADE,    /* writes head->upgrade too */
};

/* Each returns the exact length of the section. It has been written when that is at most `room`; otherwise out[0..room)
 * holds nothing of use. The version is always HTTP/1.1. A response without a reason gets the registered one. 1xx
 * and 204 carry no framing fields. In a request te_trailers adds "TE: trailers" and the TE option in Connection. */
size_t h1_write_request_head(const struct head *head, enum h1_connection connection, char *out, size_t room);
size_t h1_write_response_head(const struct head *head, enum h1_connection connection, char *out, size_t room);
/* Trailer fields and the empty line; `trailers` may be NULL. Fields with FIELD_NO_TRAILER or FIELD_BAD_TRAILER
 * are skipped. */
size_t h1_write_trailers(const struct fields *trailers, char *out, size_t room);
