/* frames.h — the check of a peer's HTTP/2 frames in front of libnghttp2 (RFC 9113), and the count of what they cost.
 *
 * The library accepts some frames that the RFC forbids, above all on closed streams, and counts little. The check walks the
 * heads of frames as they come and says how many bytes may be handed on. It is a pure function of the peer's bytes: it does
 * not matter how they are cut, and nothing has to be told to it about streams. Those that we reset stay open for it, so that
 * what was in flight passes, and the library drops it (section 5.1). Limits go by a time that the caller passes.
 * No heap, no I/O, no clock. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/http/http2_faults.h"
#include "dataplane/http/http2_options.h"

const char *h2_fault_word(enum h2_fault fault);     /* static: "reset-flood" */
uint32_t    h2_fault_code(enum h2_fault fault);     /* an error code of HTTP/2 */
bool        h2_fault_ends_connection(enum h2_fault fault);

/* Who the peer is. */
enum h2_peer { H2_CLIENT, H2_ORIGIN };

enum { H2_WATCHED_STREAMS = 128 };

/* Members are the check's own. */
struct h2_frames {
    uint64_t streams[H2_WATCHED_STREAMS * 2 / 64]; /* two bits for each of the most recent odd ids */
    uint64_t resets_full_at, control_full_at; /* core/token_bucket.h */
    uint32_t left;                          /* payload of the frame that is still to pass */
    uint32_t id;                            /* of the frame */
    uint32_t last;                          /* highest id that the peer has used */
    uint32_t block_id, block_bytes;         /* of the header block that goes on; 0: none */
    uint16_t block_frames;
    uint16_t earned, earned_resets;         /* what may come without a token */
    uint8_t  bytes[9];                      /* of a frame's head, or of the beginning of its payload, until all are there */
    uint8_t  have;
    uint8_t  want;                          /* bytes at the beginning of the payload that a rule looks at; 0: none */
    uint8_t  type, flags;
    uint8_t  stage;
    uint8_t  preface;                       /* bytes of it that have come */
    uint8_t  begun;                         /* frames that have begun; not above 2 */
    uint8_t  fault;                         /* that has ended the connection */
    bool     is_origin, has_connect;
};
_Static_assert(sizeof(struct h2_frames) <= 96, "one for each connection");

/* A client's bytes begin with its preface. */
void h2_frames_init(struct h2_frames *, enum h2_peer peer);

struct h2_verdict {
    enum h2_fault fault;                    /* H2_FAULT_NONE: go on */
    uint32_t      stream;                   /* to be reset, when the fault does not end the connection */
};

/* Takes n bytes as they came and returns how many of them may be handed to the library; `now` in microseconds.
 * Without a fault that is all of them. With one that concerns a stream: hand them on, reset the stream with the fault's
 * code, and call again with the rest. With one that ends the connection: hand them on, terminate with the fault's code, drop
 * the rest and what comes later; a later call returns 0 with the same fault. */
size_t h2_frames_check(struct h2_frames *, const struct http2_limits *, const void *bytes, size_t n, uint64_t now,
                       struct h2_verdict *ret_verdict);

/* A RST_STREAM was sent for a fault of the peer (those that a verdict asked for included). Returns H2_FAULT_RESETS_CAUSED
 * when the connection has to end with it; frames that come later have the same fault. */
enum h2_fault h2_frames_reset_sent(struct h2_frames *, const struct http2_limits *, uint64_t now);

/* Frames that a peer sends in answer to ours are free. The caller tells what was sent: */
enum h2_sent {
    H2_SENT_HEAD,                           /* the final head of a response, or of a request */
    H2_SENT_CONTENT,                        /* DATA or trailers; not a DATA frame below H2_DRIBBLE that only the peer's
                                               window made so short: who opens it by crumbs earns nothing (CVE-2019-9511) */
};
enum { H2_DRIBBLE = 1024 };
void h2_frames_sent(struct h2_frames *, enum h2_sent what);
