/* stream.h — one stream to an access log service: the front of an exchange of our own, whose client nobody is. Its
 * request is a gRPC call that goes on for as long as it can, and whose answer says nothing.
 *
 * The owner sends with log_stream_send and is told by on_change when more can be sent, or the stream has ended; both at the
 * worker's flush. Thread: the worker's. */
#pragma once

#include "dataplane/http/exchange.h"

struct log_stream {
    struct leg       leg;                       /* first */
    struct flushable flushable;
    struct reapable  reapable;
    struct timer     limit;                     /* of one that has been left */
    struct worker   *worker;
    struct head      request;
    void           (*on_change)(void *owner);   /* NULL: it has been left */
    void            *owner;
    bool             has_head;                  /* of the answer */
    bool             has_ended;                 /* nothing more is sent */
    struct log_stream **list, *next, **link;    /* of all that are open on the worker */
};

/* Begins a call by the listener's only rule. NULL: no memory, or no budget. The stream frees itself some time after
 * log_stream_leave. */
struct log_stream *log_stream_open(struct worker *w, struct log_stream **list, const struct listener_definition *listener,
                                   struct str authority, void (*on_change)(void *owner), void *owner);
/* Whether there is somebody who takes bytes, or may soon be. */
static inline bool log_stream_is_open(const struct log_stream *s) { return s->leg.exchange && !s->has_ended; }
/* Sends as much of the bytes as there is credit and memory for. Returns how many. */
size_t log_stream_send(struct log_stream *s, struct str bytes);
/* Whether all that was sent is with the connection to the service. */
bool log_stream_is_empty(const struct log_stream *s);
/* Ends the request. The owner hears no more of it; the service has `patience` (us) to take what was sent. */
void log_stream_leave(struct log_stream *s, uint64_t patience);
/* Cuts all streams of a list that is not NULL. They are freed at the end of the turn. */
void log_streams_cut(struct log_stream *list);
